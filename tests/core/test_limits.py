"""Both sides of every documented limit: what is just inside is accepted, what is just outside is refused by name."""

import math

import numpy as np
import pytest
from tests.limits import Limit, check_both_sides, check_frozen

from samebits import core
from samebits.core import Stream, current, numerics
from samebits.core.grid import LONGEST
from samebits.core.linalg import _check_alignment
from samebits.core.records import Limits
from samebits.core.selftest import Outcome

TINY, ABOVE_1 = math.nextafter(0.0, 1.0), math.nextafter(1.0, 2.0)
MOST = float(np.finfo(np.float32).max)
HALF = float(np.nextafter(np.float32(0.5), np.float32(0)))
ONE, MATRIX = np.ones(1, np.float32), np.ones((2, 3), np.float32)


def stream() -> Stream:
    return Stream(1)


LIMITS: dict[str, Limit] = {
    "Stream: seed": (Stream, [0, 2**64 - 1], [-1, 2**64]),
    "split: name": (lambda v: stream().split(v), [0, 2**64 - 1], [-1, 2**64]),
    "words: count": (lambda v: stream().words(v), [0], [-1]),
    "uniform: size": (lambda v: stream().uniform(v), [0, (0, 3), ()], [-1, (2, -1)]),
    "uniform: low": (lambda v: stream().uniform(low=v, high=0.5), [HALF, -MOST], [0.5, 1.0, -math.inf]),
    "uniform: high": (lambda v: stream().uniform(high=v), [MOST], [1e39, math.nan]),
    "normal: std": (lambda v: stream().normal(std=v), [0, MOST], [-TINY, 1e39, math.nan]),
    "normal: mean": (lambda v: stream().normal(mean=v), [-MOST, MOST], [-1e39, math.inf]),
    "truncated_normal: std": (lambda v: stream().truncated_normal(std=v), [TINY, 1.0], [0, -1.0]),
    "truncated_normal: low": (lambda v: stream().truncated_normal(0, low=v, high=0.5), [HALF], [0.5, 0.75]),
    "integers: low must be below high, both": (lambda v: stream().integers(0, v), [1, 2**63], [0, -1, 2**63 + 1]),
    "integers: low": (lambda v: stream().integers(v, 2**63), [-(2**63), 2**63 - 1], [-(2**63) - 1, 2**63]),
    "permutation: x": (lambda v: stream().permutation(v), [0, 1], [-1]),
    "choice: x": (lambda v: stream().choice(v), [1], [0, -1]),
    "choice: size": (lambda v: stream().choice(3, v, replace=False), [0, 3], [4]),
    "choice: p": (lambda v: stream().choice(2, p=[1.0, v]), [0.0, TINY, 1e308], [-TINY, math.inf, math.nan]),
    "choice: the sum of p": (lambda v: stream().choice(2, p=[v, v]), [TINY, 5e307], [0.0, 1.7e308]),
    "bernoulli: p": (lambda v: stream().bernoulli(v), [0, 1], [-TINY, ABOVE_1, math.nan]),
    "segment_sum: num_segments": (lambda v: core.segment_sum(ONE[:0], [], v), [0], [-1]),
    "segment_sum: ids": (lambda v: core.segment_sum(ONE, [v], 3), [0, 2], [-1, 3]),
    "scatter_add: ids": (lambda v: core.scatter_add(np.zeros(3, np.float32), [v], ONE), [0, 2], [-1, 3]),
    "bincount: ids": (lambda v: core.bincount([v]), [0], [-1]),
    "bincount: minlength": (lambda v: core.bincount([1], minlength=v), [0, 5], [-1]),
    "embedding_gradient: vocabulary_size": (lambda v: core.embedding_gradient([], MATRIX[:0], v), [0], [-1]),
    "embedding_gradient: ids": (lambda v: core.embedding_gradient([v], MATRIX[:1], 3), [0, 2], [-1, 3]),
    "matmul: axis 1 of a": (lambda v: core.matmul(np.ones((2, v), np.float32), np.ones((3, 2), np.float32)), [3], [2, 4]),
    "dot: the vectors": (lambda v: _check_alignment("dot", (2, v), -1, (v,), 0), [LONGEST], [LONGEST + 1]),
    "prepare: b": (lambda v: core.prepare(np.ones((1,) * v, np.float32)), [2], [1, 3]),
}
LIMITS |= {
    f"{name}: axis": (lambda v, name=name: getattr(core, name)(MATRIX, axis=v), [-2, 1, (0, 1), (-2, -1), None], [-3, 2, (0, 2)])
    for name in ("sum", "mean", "var", "std", "max", "min", "norm", "logsumexp")
}
LIMITS |= {
    f"{name}: axis": (lambda v, name=name: getattr(core, name)(MATRIX, axis=v), [-2, 1, None], [-3, 2])
    for name in ("cumsum", "argsort")
}


@pytest.mark.parametrize("name", LIMITS)
def test_the_inside_of_a_limit_is_accepted_and_the_outside_is_refused_by_name(name: str) -> None:
    check_both_sides(LIMITS[name], name)


def test_vectors_longer_than_the_limit_are_refused_before_anything_is_computed() -> None:
    long = np.broadcast_to(np.float32(0), LONGEST + 1)  # one number in memory
    for call in (core.dot, core.vecdot):
        with pytest.raises(ValueError, match=f"must have at most {LONGEST} elements, got {LONGEST + 1}"):
            call(long, long)


def test_results_at_the_ends_of_intervals_are_those_of_the_ends() -> None:
    assert not stream().bernoulli(0, 100).any() and stream().bernoulli(1, 100).all()
    assert (stream().uniform(100, low=HALF, high=0.5) == np.float32(HALF)).all()
    assert (stream().normal(100, mean=2.0, std=0) == 2).all()
    assert (stream().integers(2**63 - 1, 2**63, 100) == 2**63 - 1).all()
    wide = stream().integers(-(2**63), 2**63, 100)
    assert wide.min() < -(2**61) and wide.max() > 2**61
    assert sorted(stream().choice(3, 3, replace=False).tolist()) == [0, 1, 2]
    assert (stream().choice(2, 100, p=[0.0, TINY]) == 1).all()
    assert stream().choice(0, 0).shape == stream().permutation(0).shape == (0,)


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_argsort_sorts_along_the_last_axis_by_default(mode: str) -> None:
    x = np.array([[3, 1, 2], [1, 3, 2], [2, 2, 1]], np.float32)
    with numerics(mode):
        found = current().argsort(x)
    assert found.tolist() == [[1, 2, 0], [0, 2, 1], [2, 0, 1]]
    assert core.argsort(x, axis=None).shape == (9,)


@pytest.mark.parametrize("kind", [core.BLAS, core.Machine, Limits, Outcome, type(core.current()), type(core.prepare(MATRIX))])
def test_an_object_that_others_may_hold_cannot_be_changed(kind: type) -> None:
    check_frozen(kind)
