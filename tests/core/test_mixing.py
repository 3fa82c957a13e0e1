"""Weighted sums of values: the formula, sums that no order of the keys changes, contexts that grow; and what is not finite."""

from typing import Any

import numpy as np
import pytest

from samebits.core import Context, Stream, refuse_non_finite, refuse_rows
from samebits.core.modes import EXACT, FAST, Numerics

Array = np.ndarray[Any, Any]
K, V = (Stream(0).split(name).normal(size=(2, 3, 40, 8)) for name in "kv")
SPREAD = (V * np.exp(6 * Stream(1).normal(size=(2, 3, 40, 1)))).astype(np.float32)


def mixed(numerics: Numerics, scores: Array, seen: Context, last: Array) -> tuple[Array, Array]:
    """The weighted means of the values, and the log-sum-exp of the scores."""
    weights = scores.astype(numerics.working(np.float32))
    totals, logs = numerics.mixing.weigh(weights)
    return numerics.mixing.mix(weights, totals, seen, last) / totals, logs


def masked(rows: int, keys: int, last: Array, scale: float = 1.0) -> Array:
    scores = np.asarray(Stream(2).normal(size=(2, 3, rows, keys))) * np.float32(scale)
    return np.where(np.arange(keys) > last[:, None, :, None], -np.inf, scores)


LAST = np.array([[4, 9, 39, 0]], np.int64)


@pytest.mark.parametrize("scale", [1.0, 300.0])
@pytest.mark.parametrize("values", [V, SPREAD])
def test_the_weighted_mean_is_the_formulas(scale: float, values: Array) -> None:
    scores = masked(4, 40, LAST, scale)
    tops = scores.max(axis=-1, keepdims=True)
    powers = np.exp(scores.astype(np.float64) - tops)
    expected = powers / powers.sum(axis=-1, keepdims=True) @ values.astype(np.float64)
    sizes = np.abs(powers / powers.sum(axis=-1, keepdims=True) @ np.abs(values).astype(np.float64))
    for numerics in (EXACT, FAST):
        found, logs = mixed(numerics, scores, numerics.mixing.context(K, values), LAST)
        assert (np.abs(found - expected) <= 1e-5 * sizes.max(axis=-1, keepdims=True)).all()
        np.testing.assert_allclose(logs, np.log(powers.sum(axis=-1, keepdims=True)) + tops, rtol=1e-5, atol=1e-6)


def test_neither_the_order_of_the_keys_nor_unseen_keys_change_a_bit() -> None:
    order = Stream(3).permutation(40)
    last = np.full((1, 4), 39, np.int64)
    scores = masked(4, 40, last, 5.0)
    expected = mixed(EXACT, scores, EXACT.mixing.context(K, SPREAD), last)
    found = mixed(EXACT, scores[..., order], EXACT.mixing.context(K[:, :, order], SPREAD[:, :, order]), last)
    assert [x.tobytes() for x in found] == [x.tobytes() for x in expected]
    last = np.array([[4, 9, 11, 0]], np.int64)
    scores = masked(4, 40, last, 5.0)
    expected = mixed(EXACT, scores, EXACT.mixing.context(K, SPREAD), last)
    found = mixed(EXACT, scores[..., :12], EXACT.mixing.context(K[:, :, :12], SPREAD[:, :, :12]), last)
    assert [x.tobytes() for x in found] == [x.tobytes() for x in expected]


@pytest.mark.parametrize("numerics", [EXACT, FAST])
def test_a_context_written_in_pieces_is_that_of_the_whole(numerics: Numerics) -> None:
    whole = numerics.mixing.context(K, SPREAD)
    grown = whole[:, :, :1].zeros(50)
    assert grown.shape == (2, 3, 50, 8)
    for start, stop in ((0, 7), (7, 8), (8, 40)):
        numerics.mixing.append(
            grown, K[:, :, start:stop], SPREAD[:, :, start:stop], np.full(len(K), start), np.full(len(K), stop)
        )
    for found, expected in zip(grown[:, :, :40].arrays, whole.arrays, strict=True):
        assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("numerics", [EXACT, FAST])
def test_powers_are_those_of_the_differences(numerics: Numerics) -> None:
    scores = masked(4, 40, LAST).astype(numerics.working(np.float32))
    shifts = scores.max(axis=-1, keepdims=True)
    expected = np.exp(scores - shifts)
    numerics.mixing.powers(scores, shifts)
    np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-300)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_a_context_refuses_what_is_not_finite(bad: float) -> None:
    for place in ("k", "v"):
        k, v = K.copy(), V.copy()
        {"k": k, "v": v}[place][1, 2, 3, 4] = bad
        with pytest.raises(FloatingPointError):
            EXACT.mixing.context(k, v)
        FAST.mixing.context(k, v)


def test_errors_name_the_first_place_that_is_not_finite() -> None:
    x = np.zeros((2, 3), np.float32)
    x[1, 2] = np.nan
    with pytest.raises(FloatingPointError, match=r"f: x\[1, 2\] must be finite, got nan"):
        refuse_non_finite("f", y=np.zeros(2), x=x)
    with pytest.raises(FloatingPointError, match=r"f: x must be finite, got inf"):
        refuse_non_finite("f", x=np.array(np.inf))
    with pytest.raises(FloatingPointError, match=r"f: row \[1\] of x must have a finite maximum, got nan"):
        refuse_rows("f", "x", x)
    x[0] = -np.inf
    with pytest.raises(FloatingPointError, match=r"f: row \[0\] of x must have a finite maximum, got -inf"):
        refuse_rows("f", "x", x)
    with pytest.raises(FloatingPointError, match=r"f: row \[1\] of x must have a finite maximum, got nan"):
        refuse_rows("f", "x", x, np.array([False, True]))
    with pytest.raises(FloatingPointError, match=r"f: row \[\] of x must have a finite maximum, got nan"):
        refuse_rows("f", "x", x[1])


def test_a_part_of_a_context_is_a_view_of_its_places() -> None:
    seen = EXACT.mixing.context(K, V)
    for part, x in zip(seen.part(8, 24), seen.arrays, strict=True):
        assert np.array_equal(part, x[:, :, 8:24]) and part.base is not None
