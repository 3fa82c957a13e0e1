"""Sorts are stable; sums by id are those of a loop over runs of 64, rounded once."""

import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samebits.core import indexing
from samebits.core.indexing import argsort, bincount, embedding_gradient, scatter_add, segment_sum

QUIET_NAN = 0x7FC00000


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def same(x, y):
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


def total_by_definition(values, run=64):
    while len(values) > 1:
        sums = []
        for start in range(0, len(values), run):
            total = values[start]
            for v in values[start + 1 : start + run]:
                total = total + v
            sums.append(total)
        values = sums
    return values[0]


def segment_sum_by_definition(values, ids, segments):
    result = np.zeros((segments, *values.shape[1:]), np.float32)
    for i in set(ids.tolist()):
        result[i] = total_by_definition(list(values[ids == i].astype(np.float64)))
    return result + np.float32(0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 3.5]), max_size=50))
def test_argsort_is_stable_with_nan_last_and_equal_zeros(values):
    expected = sorted(range(len(values)), key=lambda i: (np.isnan(values[i]), 0 if np.isnan(values[i]) else values[i]))
    result = argsort(np.array(values, np.float32))
    assert result.dtype == np.int64
    assert result.tolist() == expected


def test_argsort_takes_axes_as_numpy_does():
    x = np.random.default_rng(0).integers(-3, 3, (6, 7, 8))
    for array in (x, x.astype(np.float32)):
        for axis in (None, 0, 1, 2, -1):
            assert np.array_equal(argsort(array, axis), np.argsort(array, axis=axis, kind="stable"))
    with pytest.raises(TypeError, match="argsort: x must be float32, got float64; convert with"):
        argsort(np.ones(3))
    with pytest.raises(np.exceptions.AxisError):
        argsort(x, 3)


@pytest.mark.parametrize("run", [2, 3, 64])
@pytest.mark.parametrize(
    ("n", "segments"), [(0, 0), (0, 3), (1, 1), (5, 9), (63, 1), (64, 1), (65, 1), (700, 3), (5000, 1), (300, 40)]
)
def test_segment_sum_is_a_loop_over_runs(monkeypatch, n, segments, run):
    monkeypatch.setattr(indexing, "_RUN", run)
    ids = np.random.default_rng(n).integers(0, segments, n) if segments else np.zeros(0, np.int64)
    for shape in ((n,), (n, 5), (n, 2, 3)):
        values = normal(*shape) * np.float32(1e3)
        expected = np.zeros((segments, *shape[1:]), np.float32)
        for i in range(segments):
            if (ids == i).any():
                expected[i] = total_by_definition(list(values[ids == i].astype(np.float64)), run)
        assert same(segment_sum(values, ids, segments), expected)


def test_a_segment_depends_on_no_other():
    values, ids = normal(500, 3), np.random.default_rng(0).integers(0, 4, 500)
    whole = segment_sum(values, ids, 4)
    for i in range(4):
        assert same(segment_sum(values[ids == i], ids[ids == i], 4)[i], whole[i])


def test_memory_layout_changes_no_bit():
    values, ids = normal(200, 6), np.random.default_rng(0).integers(0, 9, 200)
    expected = segment_sum(values, ids, 9)
    assert same(segment_sum(np.asfortranarray(values), ids, 9), expected)
    assert same(segment_sum(np.repeat(values, 2, axis=1)[:, ::2], np.repeat(ids, 2)[::2], 9), expected)


def test_embedding_gradient_is_the_segment_sum_of_the_rows():
    ids = np.random.default_rng(0).integers(0, 11, (4, 30))
    gradient = normal(4, 30, 7)
    expected = segment_sum_by_definition(gradient.reshape(-1, 7), ids.ravel(), 11)
    assert same(embedding_gradient(ids, gradient, 11), expected)
    one_hot = np.eye(11)[ids.ravel()]
    assert np.allclose(expected, one_hot.T @ gradient.reshape(-1, 7), atol=1e-5)
    assert same(embedding_gradient(np.zeros((0, 3), np.int64), np.zeros((0, 3, 2), np.float32), 4), np.zeros((4, 2), np.float32))
    assert same(embedding_gradient(ids[0, 0], gradient[0, 0], 11)[ids[0, 0]], gradient[0, 0])


def test_scatter_add_rounds_target_and_sum_once():
    target, values, ids = normal(5, 3), normal(100, 3, seed=1), np.random.default_rng(0).integers(0, 4, 100)
    expected = target.copy()
    for i in range(4):
        expected[i] = target[i].astype(np.float64) + total_by_definition(list(values[ids == i].astype(np.float64)))
    view = np.zeros((5, 6), np.float32)[:, ::2]
    view[...] = target
    assert scatter_add(view, ids, values) is None
    assert np.array_equal(view, expected)


def test_bincount_is_that_of_numpy():
    ids = np.array([3, 1, 3, 3, 0], np.int64)
    weights = np.array([0.1, 0.2, 0.3, 0.4, 3e38], np.float32)
    assert same(bincount(ids), np.array([1, 1, 0, 3], np.int64))
    assert same(bincount(ids, minlength=6), np.array([1, 1, 0, 3, 0, 0], np.int64))
    assert same(bincount(ids, weights), np.bincount(ids, weights).astype(np.float32))
    assert same(bincount(np.zeros(0, np.int64)), np.zeros(0, np.int64))
    assert same(bincount(np.zeros(0, np.int64), np.zeros(0, np.float32), 2), np.zeros(2, np.float32))
    many = np.random.default_rng(0).integers(0, 5, 3000)
    w = normal(3000) * np.float32(1e5)
    sums = [0.0] * 5
    for i, v in zip(many.tolist(), w.tolist(), strict=True):
        sums[i] += v
    assert same(bincount(many, w), np.array(sums, np.float32))


def test_inf_and_nan_are_kept_without_warnings():
    values = np.array([np.inf, -np.inf, np.nan, 1, np.inf, 3e38, 3e38, -0.0], np.float32)
    ids = np.array([0, 0, 1, 1, 2, 3, 3, 4], np.int64)
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        for result in (segment_sum(values, ids, 5), bincount(ids, values)):
            assert result.view(np.uint32)[:2].tolist() == [QUIET_NAN, QUIET_NAN]
            assert result[2:4].tolist() == [np.inf, np.inf]
            assert result.view(np.uint32)[4] == 0


FLOATS, IDS = np.ones(3, np.float32), np.array([0, 1, 2], np.int64)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: segment_sum(FLOATS, np.array([0, 3, -1], np.int64), 3),
            IndexError,
            "segment_sum: ids[1] must be at least 0 and below 3, got 3",
        ),
        (lambda: bincount(np.array([0, 3, -1], np.int64)), IndexError, "bincount: ids[2] must be at least 0 and below 4, got -1"),
        (
            lambda: scatter_add(FLOATS.copy(), IDS + 1, FLOATS),
            IndexError,
            "scatter_add: ids[2] must be at least 0 and below 3, got 3",
        ),
        (
            lambda: embedding_gradient(IDS, np.ones((3, 2), np.float32), 2),
            IndexError,
            "ids[2] must be at least 0 and below 2, got 2",
        ),
        (
            lambda: segment_sum(np.ones(3), IDS, 3),
            TypeError,
            "segment_sum: values must be float32, got float64; convert with values.astype(np.float32)",
        ),
        (
            lambda: segment_sum(FLOATS, FLOATS, 3),
            TypeError,
            "segment_sum: ids must be integers, got float32; convert with ids.astype(np.int64)",
        ),
        (lambda: segment_sum(FLOATS, IDS[None], 3), ValueError, "segment_sum: ids must have 1 axis, got shape (1, 3)"),
        (
            lambda: segment_sum(FLOATS[:2], IDS, 3),
            ValueError,
            "segment_sum: values must have 3 rows, one for each id, got shape (2,)",
        ),
        (lambda: segment_sum(FLOATS, IDS, -1), ValueError, "segment_sum: num_segments must be at least 0, got -1"),
        (
            lambda: scatter_add(np.ones((3, 2), np.float32), IDS, FLOATS),
            ValueError,
            "scatter_add: values must have shape (3, 2) to fit target (3, 2), got (3,)",
        ),
        (
            lambda: scatter_add(np.ones((3, 2), np.float32), IDS, np.ones((3, 1), np.float32)),
            ValueError,
            "scatter_add: values must have shape (3, 2) to fit target (3, 2), got (3, 1)",
        ),
        (
            lambda: scatter_add(np.ones((3, 1), np.float32), IDS, np.ones((3, 2), np.float32)),
            ValueError,
            "scatter_add: values must have shape (3, 1) to fit target (3, 1), got (3, 2)",
        ),
        (
            lambda: scatter_add([1, 2], IDS, FLOATS),
            TypeError,
            "scatter_add: target must be an array with at least one axis, got list",
        ),
        (
            lambda: embedding_gradient(IDS, FLOATS, 3),
            ValueError,
            "embedding_gradient: gradient must have the shape of ids, (3,), and one axis more, got (3,)",
        ),
        (lambda: bincount(IDS, FLOATS[:2]), ValueError, "bincount: weights must have shape (3,), as ids, got (2,)"),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()
