"""Positional encodings: their formulas and gradients, and that the encoding of a position depends on it alone."""

import math
from functools import partial
from typing import Any

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest

from samebits.autograd import Tensor, gradient_check
from samebits.core import Stream, numerics
from samebits.nn.positions import LearnedPositions, Rotary, SinusoidalPositions, llama3_factors, rotate


def normal(*shape: int, name: str = "normal") -> Any:
    return np.asarray(Stream(0).split(name).normal(size=shape))


def test_sinusoidal_positions_are_the_papers_formula_rounded_once() -> None:
    found = SinusoidalPositions(6)(Tensor(np.zeros((1, 400, 6), np.float32))).numpy()[0]
    with mpmath.workdps(40):
        for position in (0, 1, 2, 50, 399):
            for i in range(3):
                angle = position * mpmath.power(10000, -mpmath.mpf(2 * i) / 6)
                assert found[position, 2 * i] == np.float32(mpmath.sin(angle))
                assert found[position, 2 * i + 1] == np.float32(mpmath.cos(angle))


def turned(x: Any, offset: int, base: float = 10000.0) -> Any:
    """The halves of the last axis as complex numbers, multiplied with e^(i angle)."""
    half = x.shape[-1] // 2
    angle = (offset + np.arange(x.shape[2]))[:, None] * base ** (-np.arange(half) / half)
    z = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angle)
    return np.concatenate([z.real, z.imag], axis=-1)


@pytest.mark.parametrize("base", [10000.0, 500000.0])
def test_rotary_rotates_pairs_of_channels(base: float) -> None:
    x = normal(2, 3, 50, 8)
    for offset in (0, 1000):
        found = Rotary(8, base=base)(Tensor(x), offset).numpy()
        np.testing.assert_allclose(found, turned(x.astype(np.float64), offset, base), rtol=0, atol=2.5e-7)  # half a unit of 4


def test_factors_slow_rotations_down() -> None:
    x = Tensor(normal(1, 1, 9, 8))
    halved = Rotary(8, factors=np.full(4, 0.5))
    assert halved(x).numpy()[:, :, ::2].tobytes() == Rotary(8)(Tensor(x.numpy()[:, :, ::2].copy())).numpy().tobytes()
    for wrong in (np.ones(3), [1, 1, 1, 0], [1, 1, 1, math.inf]):
        with pytest.raises(ValueError, match="Rotary: factors must be 4 finite numbers above 0, got"):
            Rotary(8, factors=wrong)


def test_factors_of_llama_3_are_those_of_its_code() -> None:
    found = llama3_factors(128, 500000.0, factor=8.0, low=1.0, high=4.0, context=8192)
    for i, factor in enumerate(found.tolist()):
        wavelength = 2 * math.pi * 500000.0 ** (2 * i / 128)
        smooth = (8192 / wavelength - 1) / 3
        right = 1.0 if wavelength < 8192 / 4 else 1 / 8 if wavelength > 8192 else (1 - smooth) / 8 + smooth
        assert math.isclose(factor, right, rel_tol=1e-12)
    assert found[0] == 1 and found[-1] == 1 / 8 and ((found > 1 / 8) & (found < 1)).sum() > 5


def test_products_of_rotated_vectors_depend_on_their_distance() -> None:
    rotary, q, k = Rotary(8), normal(1, 1, 1, 8), normal(1, 1, 1, 8, name="k")

    def product(i: int, j: int) -> float:
        return float((rotary(Tensor(q), i).numpy() * rotary(Tensor(k), j).numpy()).sum())

    assert math.isclose(product(3, 10), product(103, 110), abs_tol=2e-6)
    assert not math.isclose(product(3, 10), product(3, 11), abs_tol=1e-3)


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_a_token_has_the_same_bits_for_every_first_position(mode: Any) -> None:
    x, y = normal(3, 2, 30, 8), normal(3, 30, 8)
    with numerics(mode):
        for make, whole in ((Rotary, x), (SinusoidalPositions, y), (partial(LearnedPositions, 64, stream=Stream(1)), y)):
            all_at_once = make(8)(Tensor(whole)).numpy()
            for start in (0, 29, 1, 17):
                layer = make(8)
                part = Tensor(whole[..., start:, :])
                expected = all_at_once[..., start:, :].tobytes()
                assert layer(part, start).numpy().tobytes() == expected
                assert layer(part, np.full(3, start)).numpy().tobytes() == expected


def test_sequences_may_have_offsets_of_their_own() -> None:
    places = np.array([5, 0, 11])
    for layer, x in (
        (Rotary(8), normal(3, 2, 4, 8)),
        (SinusoidalPositions(8), normal(3, 4, 8)),
        (LearnedPositions(64, 8, stream=Stream(1)), normal(3, 4, 8)),
    ):
        found = layer(Tensor(x), places).numpy()
        for i, place in enumerate(places):
            assert layer(Tensor(x[i : i + 1]), int(place)).numpy()[0].tobytes() == found[i].tobytes()


def test_gradients_are_those_of_central_differences() -> None:
    gradient_check(Rotary(4), normal(2, 2, 3, 4))
    gradient_check(lambda x: Rotary(4)(x, np.array([2, 5])), normal(2, 2, 3, 4))
    gradient_check(SinusoidalPositions(4), normal(2, 3, 4))


@pytest.mark.parametrize("offset", [2, np.array([2, 3])])
def test_learned_rows_get_the_sums_of_their_tokens_gradients(offset: Any) -> None:
    layer, g = LearnedPositions(8, 4, stream=Stream(1)), normal(2, 3, 4)
    layer(Tensor(normal(2, 3, 4)), offset).backward(g)
    expected = np.zeros((8, 4))
    for i, start in enumerate(np.broadcast_to(offset, 2)):
        expected[start : start + 3] += g[i]
    assert layer.weight.grad is not None
    np.testing.assert_allclose(layer.weight.grad.numpy(), expected, rtol=1e-6)
    assert [name for name, _ in layer.named_tensors()] == ["weight"]


def test_tables_are_not_part_of_the_state() -> None:
    rotary = Rotary(4)
    rotary(Tensor(normal(1, 1, 3, 4)))
    assert rotary.state_dict() == {}


def test_errors_name_the_argument() -> None:
    x = Tensor(normal(2, 3, 4))
    with pytest.raises(ValueError, match="LearnedPositions: positions must be below 8, got 8"):
        LearnedPositions(8, 4, stream=Stream(0))(x, 6)
    for layer in (LearnedPositions(8, 4, stream=Stream(0)), SinusoidalPositions(4)):
        with pytest.raises(ValueError, match="offset must not be negative, got -1"):
            layer(x, -1)
        with pytest.raises(ValueError, match=r"offset must be an int, or one for each of 2 sequences, got shape \(3,\)"):
            layer(x, np.zeros(3, np.int64))
        with pytest.raises(ValueError, match=r"x must have shape \(B, T, 4\), got"):
            layer(Tensor(normal(2, 3, 5)))
    with pytest.raises(ValueError, match=r"Rotary: x must have shape \(B, H, T, 4\), got \(2, 3, 4\)"):
        Rotary(4)(x)
    with pytest.raises(ValueError, match="Rotary: offset must not be negative, got -1"):
        Rotary(4)(Tensor(normal(2, 2, 3, 4)), -1)
    with pytest.raises(ValueError, match="Rotary: channels must be even, got 3"):
        Rotary(3)
    with pytest.raises(ValueError, match="base must be finite and above 1, got 1"):
        SinusoidalPositions(4, base=1)
    with pytest.raises(ValueError, match="LearnedPositions: entries must be at least 1, got 0"):
        LearnedPositions(0, 4, stream=Stream(0))


def test_tables_that_are_too_small_are_refused() -> None:
    x, table = Tensor(normal(2, 1, 5, 4)), np.ones((9, 2))
    assert rotate(x, table, table, [4, 0]).shape == x.shape
    for cosine, sine, starts in [
        (table, table, [5, 0]),
        (table, table, [-1, 0]),
        (table, table, [0, 0, 0]),
        (table, table, []),
        (table[:4], table, [0]),
        (table, table[:4], [0]),
        (table[:, :1], table[:, :1], [0]),
    ]:
        with pytest.raises(ValueError, match="rotate: "):
            rotate(x, cosine, sine, starts)
    with pytest.raises(ValueError, match="rotate: "):
        rotate(Tensor(normal(2, 1, 5, 3)), table, table, [0])
