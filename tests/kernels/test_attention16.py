"""The kernels of attention with 16-bit integers give the bytes of their NumPy versions, at every CPU level of this machine."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from samebits import kernels
from samebits.core import attention16, compiled

pytestmark = pytest.mark.once

Using = Callable[[str | None], Any]
# batch, heads, groups, queries, keys, channels, offsets
SHAPES = [
    (2, 2, 2, 5, 5, 4, (0, 0)),
    (2, 4, 2, 70, 70, 16, (0, 0)),
    (1, 2, 1, 100, 300, 24, (200,)),
    (2, 2, 2, 130, 130, 64, (0, 0)),
    (2, 2, 1, 33, 600, 8, (500, 3)),
    (1, 2, 2, 90, 300, 33, (300,)),
    (3, 1, 1, 1, 1, 1, (0, 0, 0)),
    (1, 1, 1, 2, 700, 256, (698,)),
]
KINDS = ["normal", "spread", "zeros", "tiny", "huge"]


def arrays(shape: tuple[Any, ...], kind: str) -> list[Any]:
    """q, k, v and g, some of them strided."""
    b, h, groups, t, s, d, _ = shape
    rng = np.random.default_rng(t)
    found = [
        rng.standard_normal((b, n, one, d)).astype(np.float32).swapaxes(1, 2)
        for one, n in ((h, t), (groups, s), (groups, s), (h, t))
    ]
    found[1] = np.ascontiguousarray(found[1])
    if kind == "spread":
        found = [x * np.exp2(rng.standard_normal(x.shape) * 12).astype(np.float32) for x in found]
    if kind == "zeros":
        found[2][:, :, : s // 2], found[1][:, :, s // 3], found[0][:, :, 0] = 0, 0, 0
    if kind == "tiny":
        found = [x * np.float32(1e-38) for x in found]
    if kind == "huge":
        found = [x * np.float32(1e35) for x in found]
    return found


def same_bytes(using: Using, level: str, compute: Callable[[], list[Any]]) -> None:
    with using(None):
        expected = compute()
    with using(level):
        found = compute()
    assert [x.tobytes() for x in found] == [x.tobytes() for x in expected]


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_both_ways_are_those_of_numpy(shape: tuple[Any, ...], kind: str, dropout: bool, level: str, using: Using) -> None:
    q, k, v, g = arrays(shape, kind)
    offset = np.array(shape[-1])
    keep = np.random.default_rng(1).random((*q.shape[:3], k.shape[2])) < 0.8 if dropout else None
    rest = 0.8 if dropout else 1.0

    def compute() -> list[Any]:
        out, logs = attention16.forward(q, k, v, offset, keep, rest)
        return [out, logs, *attention16.backward(g, q, k, v, logs, offset, keep, rest)]

    same_bytes(using, level, compute)


@pytest.mark.parametrize("width", [1, 5, 16, 40, 64])
def test_a_cache_has_the_same_integers_and_results(width: int, level: str, using: Using) -> None:
    rng = np.random.default_rng(width)

    def compute() -> list[Any]:
        kept = attention16.empty(2, 2, 150, width)
        lengths, results = np.array([0, 3]), []
        for time in (1, 70, 2, 9):
            k, v = (rng.standard_normal((2, 2, time, width)).astype(np.float32) for _ in range(2))
            q = rng.standard_normal((2, 4, time, width)).astype(np.float32)
            counts = np.array([time, time // 2])
            attention16.append(kept, k, v, lengths, lengths + counts)
            results += [attention16.cached(q, kept, lengths, int((lengths + counts).max())), *[x.copy() for x in kept.arrays]]
            lengths = lengths + counts
        return results

    state = rng.bit_generator.state

    def again() -> list[Any]:
        rng.bit_generator.state = state
        return compute()

    same_bytes(using, level, again)


def test_values_too_far_apart_are_for_numpy(level: str) -> None:
    """Their relative sizes would underflow."""
    found = kernels.find("attention16", level)
    assert found is not None
    q, k, v = (np.ones((1, 40, 1, 4), np.float32) for _ in range(3))
    v[0, 3], v[0, 9] = 1e-25, 1e25
    arrays = [np.empty_like(q), np.empty((1, 1, 40)), q, k, v, np.array([40]), compiled.integers(1, 40, 4, 1, 40)]
    assert not found(1, 40, arrays)
    v[0, 9] = 1e-20
    assert found(1, 40, arrays)


def test_more_keys_than_memory_holds_are_for_numpy(level: str) -> None:
    found = kernels.find("attention16", level)
    assert found is not None
    keys = 20000
    q, k = np.ones((1, 1, 1, 64), np.float32), np.ones((1, keys, 1, 64), np.float32)
    arrays = [np.empty_like(q), np.empty((1, 1, 1)), q, k, k, np.array([keys]), compiled.integers(1, 1, 64, 1, keys)]
    assert not found(1, keys, arrays)


@pytest.mark.parametrize("which", range(4))
def test_numbers_that_are_not_finite_are_refused(which: int, level: str, using: Using) -> None:
    given = [x.copy() for x in arrays((1, 2, 1, 70, 70, 8, (0,)), "normal")]
    with using(level):
        _, logs = attention16.forward(*given[:3], np.zeros(1, np.int64))
        given[which][0, 0, 66, 7] = np.nan
        q, k, v, g = given
        if which < 3:
            with pytest.raises(FloatingPointError):
                attention16.forward(q, k, v, np.zeros(1, np.int64))
        with pytest.raises(FloatingPointError):
            attention16.backward(g, q, k, v, logs, np.zeros(1, np.int64))
