"""Sums follow the halving tree whatever the layout and the blocks; the rest follows NumPy."""

import itertools
import math
import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from samebits.core import blocks, reductions, summation
from samebits.core.reductions import cumsum, logsumexp, mean, norm, std, var
from samebits.core.summation import fold, pairwise_sum

NAMES = ["sum", "mean", "var", "std", "norm", "logsumexp", "max", "min"]
QUIET_NAN = 0x7FC00000


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def same(x, y):
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


def tree_by_definition(values):
    terms = [float(v) for v in values]
    while len(terms) > 1:
        half = len(terms) // 2
        last = terms[-half:]
        terms = terms[:-half]
        for i, v in enumerate(last):
            terms[i] += v
    return terms[0] if terms else 0.0


def numpy_counterpart(name):
    if name == "norm":
        return lambda x, **k: np.sqrt(np.sum(x * x, **k))
    if name == "logsumexp":
        return lambda x, **k: np.log(np.sum(np.exp(x), **k))
    return getattr(np, name)


def test_the_tree_of_nine_terms_is_the_one_in_the_documentation():
    assert pairwise_sum(np.array(list("012345678"), dtype=object)) == "053827164"


@pytest.mark.parametrize("n", [1, 2, 3, 5, 9, 64, 65, 384, 1000, 4097])
def test_pairwise_sum_is_its_definition(n):
    x = normal(n, 3).astype(np.float64) ** 3
    expected = np.array([tree_by_definition(column) for column in x.T])
    assert same(pairwise_sum(x.copy(), axis=0), expected)
    assert same(pairwise_sum(x.T.copy()).copy(), expected)
    assert same(pairwise_sum(x.copy().T, axis=1), expected)
    assert same(np.asarray(pairwise_sum(x[:, 0].copy())), expected[0])
    assert same(pairwise_sum(x.T.copy()[:, :0]), np.zeros(3))
    kept = x.copy()
    for axis in (0, 1):
        pairwise_sum(kept, axis)[...] = 0
        assert same(kept, x)


@pytest.mark.parametrize("block", [1, 7, 100, 65536])
@pytest.mark.parametrize("shape", [(1000, 1, 1), (129, 1, 5), (77, 6, 1), (50, 4, 3), (1, 9, 9), (2, 300, 1)])
def test_fold_is_the_same_tree_for_any_shape_layout_and_block(monkeypatch, block, shape):
    monkeypatch.setattr(blocks, "CACHE_BYTES", block * 8)
    monkeypatch.setattr(summation, "_LANES", max(1, block // 20))
    x = normal(*shape)
    expected = np.array([tree_by_definition(x[:, i, j]) for i in range(shape[1]) for j in range(shape[2])]).reshape(shape[1:])
    for order in itertools.permutations(range(3)):
        back = tuple(order.index(i) for i in range(3))
        assert same(fold(x.transpose(order).copy().transpose(back)), expected)


@settings(max_examples=60, deadline=None)
@given(st.data(), hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=6))
def test_sum_over_any_axes_is_the_tree_of_the_elements_in_c_order(data, shape):
    x = data.draw(hnp.arrays(np.float32, shape, elements=st.floats(width=32)))
    axes = data.draw(st.one_of(st.none(), st.lists(st.integers(0, len(shape) - 1), unique=True).map(tuple)))
    x = np.asfortranarray(x) if data.draw(st.booleans()) else x
    reduced = tuple(sorted(axes)) if axes is not None else tuple(range(x.ndim))
    kept = tuple(i for i in range(x.ndim) if i not in reduced)
    lanes = x.transpose(kept + reduced).reshape(*(x.shape[i] for i in kept), math.prod(x.shape[i] for i in reduced))
    expected = np.zeros(lanes.shape[:-1], np.float32)
    with np.errstate(all="ignore"):
        for index in np.ndindex(expected.shape):
            expected[index] = np.float32(tree_by_definition(lanes[index])) + np.float32(0)
    expected[np.isnan(expected)] = np.uint32(QUIET_NAN).view(np.float32)
    result = reductions.sum(x, axes)
    assert np.asarray(result).tobytes() == expected.tobytes()


SHAPES = [(), (1,), (5,), (3, 4), (7, 1, 5), (2, 3, 4, 5), (0, 3), (3, 0, 2), (0,), (70, 130), (300, 65)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", SHAPES)
def test_axes_and_shapes_are_those_of_numpy(name, shape):
    ours, theirs = getattr(reductions, name), numpy_counterpart(name)
    for x in (normal(*shape), normal(*shape[::-1]).T, normal(*shape, 2)[..., 0]):
        all_axes = [c for k in range(x.ndim + 1) for c in itertools.combinations(range(x.ndim), k)]
        for axis in [None, *range(-x.ndim, x.ndim), *all_axes]:
            for keepdims in (False, True):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    try:
                        expected = theirs(x.astype(np.float64), axis=axis, keepdims=keepdims)
                    except ValueError:
                        expected = None
                try:
                    result = ours(x, axis, keepdims=keepdims)
                except ValueError:
                    reduced = range(x.ndim) if axis is None else np.atleast_1d(np.array(axis, int))
                    assert name in {"max", "min", "logsumexp"} and 0 in [x.shape[i] for i in reduced]
                    continue
                assert result.dtype == np.float32 and result.shape == expected.shape
                assert isinstance(result, np.ndarray) == isinstance(expected, np.ndarray)
                # one rounding to float32; near 0, in sums and logsumexp, float64 rounding shows
                np.testing.assert_allclose(result, expected, rtol=2.0**-23, atol=1e-7)


@pytest.mark.parametrize("name", [*NAMES, "cumsum"])
def test_memory_layout_and_other_lanes_change_no_bit(name):
    ours = getattr(reductions, name)
    x = normal(60, 90)
    for axis in (0, 1):
        expected = ours(x, axis)
        assert same(np.ascontiguousarray(ours(np.asfortranarray(x), axis)), expected)
        assert same(np.ascontiguousarray(ours(np.repeat(x, 2, axis=1)[:, ::2], axis)), expected)
        assert same(np.ascontiguousarray(ours(x.T.copy(), 1 - axis)), np.ascontiguousarray(expected.T))
        one = x[:, 5] if axis == 0 else x[5]
        assert same(np.ascontiguousarray(ours(one, 0)), np.ascontiguousarray(expected[..., 5] if axis == 0 else expected[5]))
    assert same(np.asarray(ours(x)), np.asarray(ours(np.asfortranarray(x))))


@pytest.mark.parametrize("ddof", [0, 1, 2, 3])
def test_var_and_std_take_ddof_as_numpy_does(ddof):
    for n in (1, 2, 5):
        x = normal(n, 4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = np.var(x.astype(np.float64), axis=0, ddof=ddof)
        np.testing.assert_allclose(var(x, 0, ddof=ddof), expected, rtol=2.0**-23)
        np.testing.assert_allclose(std(x, 0, ddof=ddof), np.sqrt(expected), rtol=2.0**-23)
    assert math.isclose(var(np.float32([1e8, 1e8 + 8])), 16)  # two passes: nothing cancels


def test_inf_and_nan_follow_ieee_without_warnings():
    inf, nan = np.inf, np.nan
    cases = {
        "sum": [([inf, 1], inf), ([inf, -inf], nan), ([nan, 1], nan), ([3e38, 3e38], inf), ([3e38, 3e38, -3e38], 3e38)],
        "mean": [([3e38, 3e38], 3e38), ([], nan), ([-inf], -inf)],
        "var": [([inf, 1], nan), ([], nan), ([3e38, -3e38], inf)],
        "norm": [([inf, 1], inf), ([3e38, 3e38], inf), ([1e-45, 0], 1e-45), ([], 0)],
        "logsumexp": [
            ([-inf, -inf], -inf),
            ([inf, 1], inf),
            ([inf, -inf], inf),
            ([nan, inf], nan),
            ([3e38, 0], 3e38),
            ([-3e38], -3e38),
        ],
        "max": [([nan, inf], nan), ([-inf], -inf)],
        "min": [([1, nan], nan), ([inf, -inf], -inf)],
        "cumsum": [([inf, -inf], [inf, nan])],
    }
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        for name, pairs in cases.items():
            for values, expected in pairs:
                result = getattr(reductions, name)(np.array(values, np.float32))
                np.testing.assert_array_equal(result, np.float32(expected), err_msg=f"{name} {values}")


def test_nan_is_always_the_quiet_one_and_zeros_are_positive():
    nans = np.array([0xFFC00000, 0x7F800001, 0xFFFFFFFF], np.uint32).view(np.float32)
    zeros = np.array([-0.0, 0.0, -0.0], np.float32)
    for name in NAMES:
        ours = getattr(reductions, name)
        for x in (nans, nans[:1], nans[::-1]):
            assert np.asarray(ours(x)).view(np.uint32) == QUIET_NAN
        if name != "logsumexp":
            for x in (zeros, zeros[:1], zeros[::-1]):
                assert np.asarray(ours(x)).view(np.uint32) == 0
    assert (cumsum(nans).view(np.uint32) == QUIET_NAN).all()
    assert (cumsum(zeros[:1]).view(np.uint32) == 0).all()


def test_sums_are_rounded_once():
    x = normal(100_001) * np.float32(1e3)
    exact = math.fsum(x.tolist())
    assert reductions.sum(x) == np.float32(exact)
    assert mean(x) == np.float32(exact / len(x))
    assert norm(x) == np.float32(math.sqrt(math.fsum((x.astype(np.float64) ** 2).tolist())))


def test_logsumexp_is_shifted_by_the_maximum():
    x = normal(5, 200)
    assert np.allclose(logsumexp(x + np.float32(1e4), 1), logsumexp(x, 1) + 1e4, atol=1e-3)


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_cumsum_is_a_loop(axis):
    x = normal(30, 40) * np.float32(1e3)
    lanes = x.reshape(1, -1) if axis is None else np.moveaxis(x, axis, -1)
    expected = np.zeros(lanes.shape, np.float32)
    for i, lane in enumerate(lanes.tolist()):
        expected[i] = list(itertools.accumulate(lane))
    expected = expected[0] if axis is None else np.ascontiguousarray(np.moveaxis(expected, -1, axis))
    assert same(np.ascontiguousarray(cumsum(x, axis)), expected)
    assert same(np.ascontiguousarray(cumsum(np.asfortranarray(x), axis)), expected)
    assert cumsum(np.zeros((0, 3), np.float32), 0).shape == (0, 3)


@pytest.mark.parametrize("name", [*NAMES, "cumsum"])
def test_wrong_arguments_are_named(name):
    ours = getattr(reductions, name)
    with pytest.raises(TypeError, match=rf"{name}: x must be float32, got float64; convert with x\.astype\(np\.float32\)"):
        ours(np.ones(3))
    with pytest.raises(np.exceptions.AxisError, match=f"{name}: axis must be from -2 to 1 for x with 2 axes, got 2"):
        ours(np.ones((2, 2), np.float32), 2)
    if name != "cumsum":
        with pytest.raises(ValueError, match=re.escape(f"{name}: axis must name each axis once, got (0, -2)")):
            ours(np.ones((2, 2), np.float32), (0, -2))
    if name in {"max", "min", "logsumexp"}:
        with pytest.raises(
            ValueError, match=re.escape(f"{name}: x must have at least one element along the reduced axes, got shape (2, 0)")
        ):
            ours(np.ones((2, 0), np.float32))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: reductions.sum(x, 5), np.exceptions.AxisError, "sum: axis must be from -2 to 1 for x with 2 axes, got 5"),
        (lambda x: reductions.mean(x, [0]), TypeError, r"mean: axis must be an int, a tuple of ints or None, got \[0\]"),
        (lambda x: reductions.max(x, (0, 0)), ValueError, r"max: axis must name each axis once, got \(0, 0\)"),
        (lambda x: reductions.cumsum(x, (0, 1)), TypeError, r"cumsum: axis must be an int, got \(0, 1\)"),
        (lambda x: reductions.sum(x, True), TypeError, "sum: axis must be an int, a tuple of ints or None, got True"),
        (lambda x: reductions.sum(x, 1.0), TypeError, r"sum: axis must be an int, a tuple of ints or None, got 1\.0"),
        (lambda x: reductions.var(x, ddof=1.5), TypeError, r"var: ddof must be an int, got 1\.5"),
        (lambda x: reductions.cumsum(x, ()), TypeError, r"cumsum: axis must be an int, got \(\)"),
        (
            lambda x: reductions.var(np.ma.masked_array(x, mask=x > 0)),
            TypeError,
            r"var: x must not be a masked array; convert with x\.filled",
        ),
    ],
)
def test_wrong_axes_and_masks_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call(np.ones((2, 3), np.float32))
