"""Attention in int16 arithmetic: a row's bits depend on what it sees alone, also where its keys lie in several chunks."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from samebits import nn
from samebits.autograd import Tensor, no_grad
from samebits.core import Mode, Stream, numerics
from samebits.nn.scaled_dot_product import attend

KEYS = 600


@pytest.fixture(autouse=True)
def arithmetic() -> Iterator[None]:
    with numerics("int16"):
        yield


def normal(*shape: int, name: str = "normal") -> Any:
    return np.asarray(Stream(0).split(name).normal(size=shape))


def rows(q: Any, k: Any, v: Any, **options: Any) -> Any:
    return nn.attention(Tensor(q), Tensor(k), Tensor(v), **options).numpy()


def test_later_keys_and_other_rows_change_no_bit() -> None:
    q, k, v = normal(2, 4, KEYS, 8), normal(2, 2, KEYS, 8, name="k"), normal(2, 2, KEYS, 8, name="v")
    whole = rows(q, k, v)
    for stop in (1, 255, 256, 257, 513):
        assert rows(q[1:, :, :stop], k[1:, :, :stop], v[1:, :, :stop]).tobytes() == whole[1:, :, :stop].tobytes()


@pytest.mark.parametrize("pieces", [(600,), (255, 1, 1, 343), (1, 299, 300), (256, 256, 88)])
def test_a_cache_changes_no_bit(pieces: tuple[int, ...]) -> None:
    q, k, v = normal(2, 4, KEYS, 8), normal(2, 2, KEYS, 8, name="k"), normal(2, 2, KEYS, 8, name="v")
    whole, cache, start = rows(q, k, v), nn.KeyValueCache(2, 2, 640, 8), 0
    for piece in pieces:
        part = slice(start, start + piece)
        offset = cache.append(k[:, :, part], v[:, :, part])
        found = attend(q[:, :, part], cache.context(), offset, start + piece)
        assert np.ascontiguousarray(found).tobytes() == np.ascontiguousarray(whole[:, :, part]).tobytes()
        start += piece


def test_values_and_gradients_are_near_those_of_exact_arithmetic() -> None:
    arrays = normal(1, 2, 300, 16), normal(1, 2, 300, 16, name="k"), normal(1, 2, 300, 16, name="v")
    found: list[list[Any]] = []
    for mode in ("int16", "exact"):
        with numerics(mode):  # type: ignore[arg-type]
            tensors = [Tensor(x, requires_grad=True) for x in arrays]
            y = nn.attention(*tensors)
            y.backward(normal(1, 2, 300, 16, name="g"))
            found.append([y.numpy(), *[t.grad.numpy() for t in tensors if t.grad is not None]])
    for rough, exact in zip(*found, strict=True):
        error = np.sqrt(np.mean(np.square(rough - exact, dtype=np.float64)) / np.mean(np.square(exact, dtype=np.float64)))
        assert 1e-6 < error < 3e-3


def test_a_weight_is_not_shared_between_arithmetics() -> None:
    layer, x = nn.Linear(300, 5, stream=Stream(0)), Tensor(normal(2, 300))
    with no_grad():
        first = [layer(x).numpy().tobytes() for _ in range(3)]
        with numerics("exact"):
            exact = [layer(x).numpy().tobytes() for _ in range(3)]
        assert [layer(x).numpy().tobytes() for _ in range(3)] == first
    assert len(set(first)) == len(set(exact)) == 1
    assert set(first) != set(exact)


@pytest.mark.parametrize("forward", ["exact", "int16", "fast"])
@pytest.mark.parametrize("backward", ["exact", "int16", "fast"])
def test_gradients_may_be_computed_in_another_arithmetic(forward: Mode, backward: Mode) -> None:
    q, k, v, g = normal(2, 4, 70, 8), normal(2, 2, 70, 8, name="k"), normal(2, 2, 70, 8, name="v"), normal(2, 4, 70, 8, name="g")
    found: list[list[Any]] = []
    for modes in ((forward, backward), ("exact", "exact")):
        tensors = [Tensor(x, requires_grad=True) for x in (q, k, v)]
        with numerics(modes[0]):
            y = nn.attention(*tensors)
        with numerics(modes[1]):
            y.backward(g)
        found.append([t.grad.numpy() for t in tensors if t.grad is not None])
    for rough, exact in zip(*found, strict=True):
        np.testing.assert_allclose(rough, exact, rtol=0, atol=2e-3 * np.abs(exact).max())


def test_a_cache_of_too_many_channels_is_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match="KeyValueCache: channels must be at most 256 in int16 arithmetic, got 257"):
        nn.KeyValueCache(1, 1, 4, 257)
