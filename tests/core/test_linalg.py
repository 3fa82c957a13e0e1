"""Products are exact on their grids, whatever the order, the blocks and the layout, and follow NumPy's shapes."""

import math
import re
import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.core.definitions import FINITE, TAME, near_the_edge, normal, on_grid_by_definition, same

from samebits.core import blocks, grid, int16, linalg
from samebits.core.linalg import compact, dot, matmul, prepare, vecdot


def matmul_by_definition(a, b):
    rows = [on_grid_by_definition(row, 26) for row in a]
    columns = [on_grid_by_definition(column, 26) for column in b.T]
    result = np.zeros((len(rows), len(columns)), np.float32)
    for i, (row, u) in enumerate(rows):
        for j, (column, v) in enumerate(columns):
            units = sum(x * y for x, y in zip(row, column, strict=True))
            assert abs(units) <= 2**52
            with np.errstate(over="ignore"):
                result[i, j] = np.float64(float(units * Fraction(2) ** (u + v)))
    return result + np.float32(0)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(1, 7), st.integers(1, 4))
def test_matmul_is_what_its_definition_says_for_any_finite_operands(data, m, k, n):
    elements = data.draw(st.sampled_from([FINITE, TAME]))
    a = data.draw(hnp.arrays(np.float32, (m, k), elements=elements))
    b = data.draw(hnp.arrays(np.float32, (k, n), elements=elements))
    assert same(matmul(a, b), matmul_by_definition(a, b))


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 6), st.integers(1, 9), st.integers(1, 6))
def test_exchanging_the_operands_transposes_a_product_to_the_last_bit(data, m, k, n):
    elements = data.draw(st.sampled_from([FINITE, TAME]))
    a = data.draw(hnp.arrays(np.float32, (2, m, k), elements=elements))
    b = data.draw(hnp.arrays(np.float32, (2, k, n), elements=elements))
    product = matmul(a, b)
    assert same(product.swapaxes(1, 2), matmul(b.swapaxes(1, 2), a.swapaxes(1, 2)))
    assert same(product[0].T, matmul(b[0].T, prepare(a[0].T)))
    assert same(product[0].T, matmul(b[0].T, compact(a[0].T) or a[0].T))
    assert same(dot(a[0, 0], b[0, :, 0]), dot(b[0, :, 0], a[0, 0]))
    assert same(vecdot(a[0], b[0, :, 0]), vecdot(b[0, :, 0], a[0]))
    square = matmul(a, a.swapaxes(1, 2))
    assert same(square, square.swapaxes(1, 2))


@pytest.mark.parametrize("rows", [1, 16, 17, 300])
@pytest.mark.parametrize("k", [40, 3000])
def test_exchanging_longer_operands_changes_no_bit(rows, k):
    a, b = normal(rows, k, spread=6), normal(k, 50, seed=1, spread=6)
    product = matmul(a, b)
    assert same(product.T.copy(), matmul(b.T, a.T))
    assert same(product, matmul(a, compact(b)))
    assert same(product.T.copy(), matmul(b.T, compact(a.T)))
    assert same(product.T.copy(), matmul(np.ascontiguousarray(b.T), prepare(np.asfortranarray(a.T))))
    square = matmul(a, a.T)
    assert same(square, square.T.copy())


@pytest.mark.parametrize("spread", [0, 5, 20])
@pytest.mark.parametrize("k", [3, 64, 1000])
def test_matmul_is_what_its_definition_says_for_longer_operands(k, spread):
    a, b = normal(3, k, seed=1, spread=spread), normal(k, 3, seed=2, spread=spread)
    assert same(matmul(a, b), matmul_by_definition(a, b))


@pytest.mark.parametrize("k", [2, 64, 1023, 4096])
@pytest.mark.parametrize("kind", ["constant", "one large", "edge", "powers", "normal", "square"])
def test_gemm_on_the_grid_equals_integer_arithmetic(k, kind):
    """Operands that come near the bound of 2**52 units: parallel vectors, norms just below a power of two."""
    a = {
        "constant": np.full((3, k), 1 / 3, np.float32),
        "one large": np.where(np.arange(k) == k // 2, 1e30, 1e-3 * normal(3, k)).astype(np.float32),
        "edge": np.stack([near_the_edge(max(k, 5), seed)[:k] for seed in range(3)]),
        "powers": np.exp2(np.arange(3 * k) % 40 - 20).reshape(3, k).astype(np.float32),
        "normal": normal(3, k),
        "square": np.full((3, k), math.sqrt(0.9995 / k), np.float32),
    }[kind]
    rows = grid.grid_vectors(a[None], -1, 26)[0]
    columns = grid.grid_vectors(np.ascontiguousarray(a.T)[None], -2, 26)[0]
    product = rows @ columns
    exponents = [math.frexp(math.sqrt(math.fsum((row * row).tolist()) * (1 + 2**-11)))[1] for row in a.astype(np.float64)]
    for i, j in ((0, 0), (0, 1), (2, 1)):
        u, v = exponents[i] - 26, exponents[j] - 26
        x, y = np.ldexp(rows[i], -u).astype(np.int64), np.ldexp(columns[:, j], -v).astype(np.int64)
        assert np.array_equal(np.ldexp(x.astype(np.float64), u), rows[i])
        assert np.array_equal(np.ldexp(y.astype(np.float64), v), columns[:, j])
        assert math.fsum(np.abs(x * y).tolist()) <= 2**52  # so int64 is exact below
        assert np.ldexp(product[i, j], -u - v) == (x * y).sum()


@pytest.mark.parametrize("seed", range(20))
def test_order_of_the_contracted_axis_changes_no_bit_even_where_the_exponent_changes(seed):
    a = np.stack([near_the_edge(64, seed), normal(64, seed=seed)])
    b = np.stack([near_the_edge(64, seed + 100), normal(64, seed=seed + 100)], axis=1)
    rng = np.random.default_rng(seed)
    expected = matmul(a, b)
    assert same(expected, matmul_by_definition(a, b))
    for _ in range(10):
        order = rng.permutation(64)
        assert same(matmul(a[:, order], b[order]), expected)


def test_near_the_edge_a_sum_in_float64_would_choose_by_its_order():
    """The fallback of the exponent is required, and is used."""
    sides, unsure = set(), 0
    for seed in range(20):
        x = near_the_edge(64, seed).astype(np.float64)
        for shift in range(64):
            s = np.add.accumulate(np.roll(x * x, shift))[-1:]
            bits = (s * grid.MARGIN).view(np.int64)
            unsure += grid._half_exponents(bits - 2**30)[0] != grid._half_exponents(bits + 2**30)[0]
            sides.add((seed, int(grid._half_exponents(bits)[0])))
    assert unsure == 20 * 64
    assert len(sides) > 20  # some seeds come out on both sides


def test_a_row_depends_on_no_other_row_and_a_column_on_no_other_column():
    a, b = normal(300, 70, spread=4), normal(70, 90, seed=1, spread=4)
    whole = matmul(a, b)
    for rows in (slice(0, 1), slice(5, 8), slice(17, 290), slice(299, 300)):
        assert same(matmul(a[rows], b), whole[rows])
    for columns in (slice(0, 1), slice(3, 60)):
        assert same(matmul(a, b[:, columns]), np.ascontiguousarray(whole[:, columns]))
    assert same(matmul(a[7], b), whole[7])
    assert same(matmul(a, b[:, 5]), whole[:, 5].copy())


def test_blocks_change_no_bit(monkeypatch):
    a, b = normal(3, 50, 40, spread=3), normal(3, 40, 30, seed=1, spread=3)
    expected, matrix = matmul(a, b), matmul(a, b[0])
    for block, group, rows in [(1, 1, 1), (100, 1000, 7), (1300, 5000, 3)]:
        monkeypatch.setattr(blocks, "CACHE_BYTES", block * 8)
        monkeypatch.setattr(blocks, "PRODUCT_BYTES", group * 8)
        monkeypatch.setattr(linalg, "_PACKED_ROWS", rows)
        assert same(matmul(a, b), expected)
        assert same(matmul(a, b[0]), matrix)


def test_memory_layout_changes_no_bit():
    a, b = normal(4, 30, 20), normal(4, 20, 25, seed=1)
    expected = matmul(a, b)
    for x in (a, a.swapaxes(1, 2).copy().swapaxes(1, 2), np.asfortranarray(a), np.repeat(a, 2, axis=2)[..., ::2]):
        for y in (b, b.swapaxes(1, 2).copy().swapaxes(1, 2), np.asfortranarray(b), b[:, ::-1].copy()[:, ::-1]):
            assert same(matmul(x, y), expected)
            assert same(matmul(x[1], y[1]), expected[1])
    heads = normal(2, 7, 3, 5).swapaxes(1, 2)  # (B, T, H, D) seen as (B, H, T, D)
    assert same(matmul(heads, heads.swapaxes(2, 3)), matmul(heads.copy(), heads.swapaxes(2, 3).copy()))


SHAPES = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 4)),
    ((5, 1, 2, 3), (6, 3, 4)),
    ((1, 2, 3), (7, 3, 4)),
    ((1, 1), (1, 1)),
    ((2, 0), (0, 3)),
    ((0,), (0,)),
    ((0, 3), (3, 4)),
    ((2, 3), (3, 0)),
    ((0, 2, 3), (0, 3, 4)),
    ((4, 2, 0), (4, 0, 3)),
]


@pytest.mark.parametrize(("shape_a", "shape_b"), SHAPES)
def test_matmul_has_the_shapes_of_numpy(shape_a, shape_b):
    rng = np.random.default_rng(0)
    a, b = rng.integers(-9, 9, shape_a).astype(np.float32), rng.integers(-9, 9, shape_b).astype(np.float32)
    product, expected = matmul(a, b), np.matmul(a, b) + np.float32(0)
    assert type(product) is type(expected)
    assert same(product, expected)  # small integers: both are exact


@pytest.mark.parametrize(
    ("shape_a", "shape_b"),
    [
        *SHAPES[:8],
        ((2, 3), (4, 5, 3, 6)),
        ((2, 2, 3), (4, 3, 6)),
        ((2, 2, 3), (3, 6)),
        ((2, 0), (4, 0, 6)),
        ((2, 3), (0, 3, 6)),
    ],
)
def test_dot_has_the_shapes_of_numpy(shape_a, shape_b):
    rng = np.random.default_rng(0)
    a, b = rng.integers(-9, 9, shape_a).astype(np.float32), rng.integers(-9, 9, shape_b).astype(np.float32)
    if len(shape_b) < 3 or shape_a[-1] == shape_b[-2]:
        assert same(dot(a, b), np.dot(a, b) + np.float32(0))


def test_vecdot_is_the_product_of_each_pair():
    a, b = normal(5, 4, 9, spread=3), normal(4, 9, seed=1, spread=3)
    expected = np.array([[matmul(a[i, j], b[j]) for j in range(4)] for i in range(5)])
    assert same(vecdot(a, b), expected)
    assert same(vecdot(a.swapaxes(1, 2), b.T, axis=-2), expected)
    assert same(vecdot(a[0, 0], b[0]), expected[0, 0])
    assert same(vecdot(np.zeros((3, 0), np.float32), np.zeros((3, 0), np.float32)), np.zeros(3, np.float32))


def test_a_prepared_operand_gives_the_same_bits():
    a, b = normal(2, 30, 20), normal(20, 25, seed=1)
    for right in (b, np.asfortranarray(b)):
        prepared = prepare(right)
        assert same(matmul(a, prepared), matmul(a, b))
        assert same(matmul(a[0, 0], prepared), matmul(a[0, 0], b))
        with pytest.raises(ValueError, match="read-only"):
            prepared.values[0, 0] = 1
    assert same(matmul(np.ones((2, 0), np.float32), prepare(np.ones((0, 3), np.float32))), np.zeros((2, 3), np.float32))


def test_out_is_filled_and_may_overlap():
    a, b = normal(6, 6), normal(6, 6, seed=1)
    expected = matmul(a, b)
    for out in (np.full((6, 6), np.nan, np.float32), np.full((6, 12), np.nan, np.float32)[:, ::2]):
        assert matmul(a, b, out=out) is out
        assert np.array_equal(out, expected)
    memory = np.concatenate([a.ravel(), np.zeros(20, np.float32)])
    view = memory[:36].reshape(6, 6)
    matmul(view, b, out=memory[20:].reshape(6, 6))
    assert same(memory[20:].reshape(6, 6), expected)
    matmul(a, b, out=b)
    assert same(b, expected)
    scalar = np.empty((), np.float32)
    matmul(a[0], a[0], out=scalar)
    assert scalar == matmul(a[0], a[0])
    empty = np.full((2, 3), np.nan, np.float32)
    assert not matmul(np.ones((2, 0), np.float32), np.ones((0, 3), np.float32), out=empty).any()


def test_overflow_is_inf_and_silent_and_zeros_are_positive():
    huge = np.full((1, 4), 3e38, np.float32)
    tiny = np.full((1, 4), 1e-45, np.float32)
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        assert same(matmul(huge, -huge.T), np.array([[-np.inf]], np.float32))
        assert same(matmul(tiny, -tiny.T), np.zeros((1, 1), np.float32))
        assert same(matmul(-tiny, 0 * tiny.T), np.zeros((1, 1), np.float32))
        assert same(matmul(tiny, np.full((4, 1), 1, np.float32)), np.array([[4 * 1.4e-45]], np.float32))


@pytest.mark.parametrize("spread", [0, 3, 12])
def test_error_is_within_the_documented_bound(spread):
    a, b = normal(20, 384, spread=spread), normal(384, 20, seed=1, spread=spread)
    norms = np.linalg.norm(a.astype(np.float64), axis=1)[:, None] * np.linalg.norm(b.astype(np.float64), axis=0)
    true = np.array([[math.fsum((row * column).tolist()) for column in b.T.astype(np.float64)] for row in a.astype(np.float64)])
    bound = 3e-8 * math.sqrt(384) * norms + 2.0**-24 * np.abs(true)
    assert (np.abs(matmul(a, b) - true) <= bound).all()


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float32, st.integers(1, 8), elements=TAME))
def test_the_identity_keeps_elements_of_a_third_of_the_norm_and_loses_those_below_the_grid(x):
    kept, norm = matmul(x, np.eye(len(x), dtype=np.float32)), math.hypot(*x.tolist())
    assert np.array_equal(kept[np.abs(x) >= norm / 3], x[np.abs(x) >= norm / 3])
    assert not kept[np.abs(x) < 2.0**-27 * norm].any()
    assert (np.abs(kept - x.astype(np.float64)) <= 2.0**-26 * norm * (1 + 2.0**-11)).all()


def test_small_elements_beside_large_ones_are_lost():
    assert dot([1, 1e-9], [0, 1e9]) == 0  # as the docstring says; the true product is 1
    assert dot([1, 1e-6], [0, 1e6]) == pytest.approx(1, rel=0.016)
    m = np.array([[1, 1e-6]], np.float32)
    assert not np.array_equal(matmul(m, np.eye(2, dtype=np.float32)), m)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_non_finite_operands_are_refused_with_their_index(bad):
    a, b = normal(2, 3, 4), normal(2, 4, 5)
    a[1, 2, 3] = a[1, 2, 1] = bad
    message = re.escape(f"matmul: a[1, 2, 1] must be finite, got {np.float32(bad)}")
    for right in (b, b[0], prepare(b[0])):
        with pytest.raises(FloatingPointError, match=message):
            matmul(a, right)
    b[1, 0, 2] = bad
    with pytest.raises(FloatingPointError, match=re.escape(f"b[1, 0, 2] must be finite, got {np.float32(bad)}")):
        matmul(a[0], b)
    with pytest.raises(FloatingPointError, match=re.escape("prepare: b[0, 2] must be finite")):
        prepare(b[1])
    with pytest.raises(FloatingPointError, match=re.escape("vecdot: a[2, 1] must be finite")):
        vecdot(a[1], a[0])
    with pytest.raises(FloatingPointError, match=re.escape("dot: b[1, 0, 2] must be finite")):
        dot(a[0], b)


@pytest.mark.parametrize(
    ("a", "b", "error", "message"),
    [
        (
            np.ones((2, 3)),
            np.ones((3, 2), np.float32),
            TypeError,
            "matmul: a must be float32, got float64; convert with a.astype(np.float32)",
        ),
        (
            np.ones((2, 3), np.float32),
            np.ones((3, 2), np.int64),
            TypeError,
            "matmul: b must be float32, got int64; convert with b.astype(np.float32)",
        ),
        (np.ones((2, 3), np.float32), np.ones((3, 2), object), TypeError, "matmul: b must be float32, got object"),
        (
            np.ones((2, 3), np.float32),
            np.ones((4, 5), np.float32),
            ValueError,
            "matmul: axis 1 of a and axis 0 of b must have one length, got shapes (2, 3) and (4, 5)",
        ),
        (np.ones((2, 3), np.float32), np.ones(4, np.float32), ValueError, "must have one length, got shapes (2, 3) and (4,)"),
        (
            np.ones((2, 1, 3), np.float32),
            np.ones((5, 3, 1), np.float32),
            ValueError,
            "matmul: the leading axes of a and b must broadcast, got (2,) and (5,)",
        ),
        (
            np.float32(1),
            np.ones(3, np.float32),
            ValueError,
            "matmul: a and b must have at least one axis, got shapes () and (3,)",
        ),
    ],
)
def test_wrong_operands_are_named(a, b, error, message):
    with pytest.raises(error, match=re.escape(message)):
        matmul(a, b)


def test_vectors_that_do_not_fit_are_named_and_so_are_those_that_are_too_long():
    a, long = np.ones((2, 3), np.float32), np.broadcast_to(np.float32(1), 2**28 + 1)
    with pytest.raises(
        ValueError, match=re.escape("vecdot: axis 1 of a and axis 0 of b must have one length, got shapes (2, 3) and (4,)")
    ):
        vecdot(a, np.ones(4, np.float32))
    with pytest.raises(
        ValueError, match=re.escape("dot: axis 1 of a and axis 1 of b must have one length, got shapes (2, 3) and (2, 4, 3)")
    ):
        dot(a, np.ones((2, 4, 3), np.float32))
    with pytest.raises(ValueError, match="must have at most 268435456 elements, got 268435457"):
        matmul(long, long)


def test_prepare_refuses_what_is_not_a_matrix():
    a = np.ones((2, 2), np.float32)
    with pytest.raises(ValueError, match=re.escape("prepare: b must have 2 axes, got shape (2,)")):
        prepare(a[0])


def test_one_matrix_behind_axes_of_length_1_serves_every_batch():
    a, b = normal(5, 4, 6), normal(1, 6, 3)
    np.testing.assert_array_equal(linalg.matmul(a, b), linalg.matmul(a, b[0]))
    np.testing.assert_array_equal(linalg.matmul(a, b[None]), linalg.matmul(a, b[0])[None])


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        ([], TypeError, "matmul: out must be a float32 array, got list"),
        (np.empty((2, 2)), TypeError, "matmul: out must be float32, got float64"),
        (np.empty((2, 3), np.float32), ValueError, r"matmul: out must have shape \(2, 2\), got \(2, 3\)"),
        (np.broadcast_to(np.float32(0), (2, 2)), ValueError, "matmul: out must be writeable, got a read-only array"),
    ],
)
def test_a_wrong_out_is_named(out, error, message):
    with pytest.raises(error, match=message):
        linalg.matmul(normal(2, 5), normal(5, 2), out=out)


def test_masks_are_not_lost_silently():
    masked = np.ma.masked_array(normal(2, 2), mask=[[True, False], [False, False]])
    with pytest.raises(TypeError, match=r"matmul: b must not be a masked array; convert with b\.filled\(value\)"):
        linalg.matmul(normal(2, 2), masked)


@pytest.mark.parametrize("axis", [2, -3])
def test_an_axis_out_of_range_is_named(axis):
    with pytest.raises(np.exceptions.AxisError, match=f"vecdot: axis must be from -2 to 1 for a with 2 axes, got {axis}"):
        linalg.vecdot(normal(2, 2), normal(2, 2), axis=axis)


@pytest.mark.parametrize("rows", [1, 255, 256, 1000])
def test_large_results_begin_at_a_cache_line(rows: int) -> None:
    product = matmul(np.ones((rows, 2), np.float32), np.ones((2, 256), np.float32))
    assert rows < 256 or product.ctypes.data % blocks.CACHE_LINE == 0
    assert product.shape == (rows, 256)
    assert np.all(product == 2)


def test_products_without_terms_are_zeros_or_the_bias() -> None:
    a, b, bias = np.ones((2, 0), np.float32), np.ones((0, 3), np.float32), np.array([1, 2, 3], np.float32)
    for one in (linalg, int16):
        assert np.array_equal(one.linear(a, b), np.zeros((2, 3), np.float32))
        assert np.array_equal(one.linear(a, b, bias), [bias, bias])
