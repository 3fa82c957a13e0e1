"""Attention with products of 16-bit integers: what the definition says, within int32, near the true values."""

from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from tests.core.definitions import normal, on_grid_by_definition, same

from samebits.core import attention16

SPAN, ROWS = 64, 64
f32 = np.float32


def heads(*shape: int, seed: int = 0, spread: float = 0.0) -> Any:
    """Normal values (B, H, T, D), in the memory order of (B, T, H, D)."""
    b, h, t, d = shape
    return normal(b, t, h, d, seed=seed, spread=spread).swapaxes(1, 2)


def power(x: Any) -> Any:
    with np.errstate(all="ignore"):
        return attention16.power(np.asarray(x, f32))


def lanes(x: Any) -> Any:
    sums = [f32(0)] * 16
    for i, value in enumerate(x):
        sums[i % 16] = sums[i % 16] + value
    while len(sums) > 1:
        half = len(sums) // 2
        sums = [a + b for a, b in zip(sums[:half], sums[half:], strict=True)]
    return sums[0]


def scaled_sum(total: int, unit: int) -> Any:
    """An exact integer, rounded to float32, times a power of two."""
    return f32(total) * f32(min(2.0**unit, 2.0**96))


def row_by_definition(q: Any, k: Any, v: Any) -> tuple[Any, Any]:
    """One query (D,) and the keys and values (S, D) it sees, in Python's integers: the result, and the log-sum-exp."""
    width = q.shape[0]
    query, unit = on_grid_by_definition(q * f32(1 / np.sqrt(width)), 15)
    scores = []
    for key in k:
        ints, other = on_grid_by_definition(key, 15)
        total = sum(x * y for x, y in zip(query, ints, strict=True))
        assert sum(abs(x * y) for x, y in zip(query, ints, strict=True)) < 2**31
        scores.append(scaled_sum(total, unit + other) if any(ints) and any(query) else f32(0))
    spans = [slice(start, start + SPAN) for start in range(0, len(k), SPAN)]
    tops = [max(scores[span]) for span in spans]
    factors = [power([top - max(tops)])[0] for top in tops]
    weights = [power([score - top for score in scores[span]]) for span, top in zip(spans, tops, strict=True)]
    totals = [lanes(w) for w in weights]
    total = f32(0)
    for part, factor in zip(totals, factors, strict=True):
        total = total + part * factor
    inverse, result = f32(1) / total, np.zeros(width, f32)
    for span, w, part, factor in zip(spans, weights, totals, factors, strict=True):
        gridded = [on_grid_by_definition(value, 15) for value in v[span]]
        sizes = [unit + 15 for _, unit in gridded]
        bits = next(b for b in range(20) if Fraction(float(part)) * Fraction(1 + 2**-9) < 2**b)
        x = [round(Fraction(float(a)) * Fraction(2) ** (e - max(sizes) + 15 - bits)) for a, e in zip(w, sizes, strict=True)]
        assert max(x) <= 32767
        assert sum(x) <= 2**15
        scale = f32(float(factor * inverse) * 2.0 ** (max(sizes) + bits - 30))
        for i in range(width):
            products = [a * ints[i] for a, (ints, _) in zip(x, gridded, strict=True)]
            assert sum(map(abs, products)) < 2**31
            result[i] = result[i] + f32(sum(products)) * scale
    return result + f32(0), f32(float(max(tops)) + float(mpmath.log(float(total))))


@pytest.mark.parametrize("kind", ["normal", "spread", "equal", "large", "zeros"])
@pytest.mark.parametrize("keys", [1, 15, 64, 65, 200])
def test_a_row_is_what_the_definition_says(keys: int, kind: str) -> None:
    q, k, v = (heads(1, 1, n, 6, seed=i, spread=8.0 if kind == "spread" else 0.0) for i, n in enumerate((1, keys, keys)))
    if kind == "equal":
        k, v = np.ones_like(k), np.ones_like(v)
    if kind == "large":
        q, k = q * f32(1e12), k * f32(1e12)
    if kind == "zeros":
        v[:, :, ::2], k[:, :, 3:5] = 0, 0
    out, logs = attention16.forward(q, k, v, np.array([keys - 1]))
    expected, log = row_by_definition(q[0, 0, 0], k[0, 0], v[0, 0])
    assert same(np.ascontiguousarray(out[0, 0, 0]), expected)
    assert abs(float(logs[0, 0, 0]) - float(log)) <= abs(float(log)) * 2.0**-23


def test_the_power_is_within_its_bound() -> None:
    x = np.concatenate([np.linspace(-60, 1, 20001), -(2.0 ** np.arange(-140, 5))]).astype(f32)
    found = power(x)
    with mpmath.workprec(80):
        errors = [abs(mpmath.mpf(float(y)) / mpmath.exp(float(given)) - 1) for given, y in zip(x, found, strict=True)]
    assert max(errors) < 5e-7
    assert power([0, -60.1, -np.inf, -1e30]).tolist() == [1, 0, 0, 0]


def gradients(arrays: list[Any], offset: Any, keep: Any, rest: float) -> list[Any]:
    """The result and the gradients in float64, straight from the formulas; of g, q, k and v."""
    g, q, k, v = (x.astype(np.float64) for x in arrays)
    batch, groups, keys, width = k.shape
    each = q.shape[1] // groups
    k_all, v_all = np.repeat(k, each, 1), np.repeat(v, each, 1)
    s = q @ k_all.swapaxes(-1, -2) / np.sqrt(width)
    s[np.broadcast_to(np.arange(keys) > offset[:, None, None, None] + np.arange(q.shape[2])[:, None], s.shape)] = -np.inf
    p = np.exp(s - s.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    stay = 1.0 if keep is None else keep / rest
    dp = g @ v_all.swapaxes(-1, -2) * stay
    ds = p * (dp - (p * dp).sum(-1, keepdims=True)) / np.sqrt(width)
    grouped = [(a.swapaxes(-1, -2) @ b).reshape(batch, groups, each, keys, width).sum(2) for a, b in ((ds, q), (p * stay, g))]
    return [(p * stay) @ v_all, ds @ k_all, *grouped]


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize(
    ("shape", "offset"), [((2, 4, 2, 90, 90, 16), (0, 0)), ((2, 2, 1, 70, 300, 33), (230, 5)), ((1, 1, 1, 40, 130, 64), (130,))]
)
def test_values_and_gradients_are_near_the_true_ones(shape: tuple[int, ...], offset: tuple[int, ...], dropout: bool) -> None:
    b, h, groups, t, s, d = shape
    q, k, v, g = heads(b, h, t, d), heads(b, groups, s, d, seed=1), heads(b, groups, s, d, seed=2), heads(b, h, t, d, seed=3)
    keep, places = (np.random.default_rng(0).random((b, h, t, s)) < 0.75 if dropout else None), np.array(offset)
    rest = 0.75 if dropout else 1.0
    out, logs = attention16.forward(q, k, v, places, keep, rest)
    found = [out, *attention16.backward(g, q, k, v, logs, places, keep, rest)]
    for rough, exact in zip(found, gradients([g, q, k, v], places, keep, rest), strict=True):
        assert np.sqrt(np.mean((rough - exact) ** 2) / np.mean(exact**2)) < 1e-3


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1e15, 1e28])
def test_gradients_of_any_size_are_as_near(size: float) -> None:
    q, k, v, g = (heads(1, 2, 40, 8, seed=i) for i in range(4))
    places, small = np.zeros(1, np.int64), f32(2.0 ** round(np.log2(size)))
    _, logs = attention16.forward(q, k, v, places)
    for found, one in zip(
        attention16.backward(g * small, q, k, v, logs, places), attention16.backward(g, q, k, v, logs, places), strict=True
    ):
        assert same(found, one * small)


@pytest.mark.parametrize("size", [1e-38, 1e-40, 1e-45])
def test_gradients_for_values_near_the_least_are_finite(size: float) -> None:
    q, k, v, g = (heads(1, 1, 5, 4, seed=i) for i in range(4))
    places = np.zeros(1, np.int64)
    v = v * f32(2.0 ** round(np.log2(size)))
    _, logs = attention16.forward(q, k, v, places)
    found = attention16.backward(g, q, k, v, logs, places)
    expected = gradients([g, q, k, v], places, None, 1.0)[1:]
    np.testing.assert_allclose(found[2], expected[2], rtol=0, atol=1e-3)
    for rough, exact in zip(found[:2], expected[:2], strict=True):
        np.testing.assert_allclose(rough, exact, rtol=0, atol=1e-3 * np.abs(exact).max() + 16 * 2.0**-149)


def test_an_element_is_as_near_as_the_bound_says_and_the_bound_is_near() -> None:
    """A span of one large weight, and 63 that are just small enough to become 0; their values have a smaller exponent."""
    keys, worst = 64, 0.0
    for rest in (0.49, 0.5, 0.99, 1.01):
        k, v = np.full((1, 1, keys, 1), np.log(rest * 2.0**-14), f32), np.full((1, 1, keys, 1), -0.9997, f32)
        k[0, 0, 0], v[0, 0, 0] = 0, 1
        q = np.ones((1, 1, 1, 1), f32)
        out, _ = attention16.forward(q, k, v, np.array([keys - 1]))
        exact = gradients([q, q, k, v], np.array([keys - 1]), None, 1.0)[0]
        bound = 2.0**-14 * (1 + 2.0**-8) * float(np.abs(k).max()) + 2.0**-8 * (1 + 2.0**-6)
        worst = max(worst, abs(float(out[0, 0, 0, 0]) - float(exact[0, 0, 0, 0])) / bound)
    assert 0.75 < worst < 1


def without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samebits.core.compiled.run", lambda *_, **__: False)


@pytest.mark.parametrize("numpy", [False, True])
@pytest.mark.parametrize(("batch", "queries", "keys"), [(0, 3, 3), (0, 0, 0), (2, 0, 3), (2, 0, 0)])
def test_arrays_may_be_empty(batch: int, queries: int, keys: int, numpy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if numpy:
        without_kernels(monkeypatch)
    q, k, places = heads(batch, 4, queries, 6), heads(batch, 2, keys, 6), np.zeros(batch, np.int64)
    out, logs = attention16.forward(q, k, k, places)
    assert out.shape == q.shape
    assert logs.shape == q.shape[:3]
    for found, x in zip(attention16.backward(q, q, k, k, logs, places), (q, k, k), strict=True):
        assert same(np.ascontiguousarray(found), np.zeros(x.shape, f32))


def test_huge_scores_and_values_stay_finite() -> None:
    q, k, v = (heads(1, 1, 70, 4, seed=i) for i in range(3))
    for one, other, third in ((f32(1e30), f32(1e30), f32(1)), (f32(1), f32(1), f32(3e37)), (f32(1e-40), f32(1e-40), f32(1e-40))):
        out, logs = attention16.forward(q * one, k * other, v * third, np.zeros(1, np.int64))
        assert np.isfinite(out).all()
        assert np.isfinite(logs).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("which", range(4))
def test_arguments_that_are_not_finite_are_refused(which: int, bad: float) -> None:
    arrays = [heads(1, 2, 20, 4, seed=i).copy() for i in range(4)]
    places = np.zeros(1, np.int64)
    _, logs = attention16.forward(*arrays[:3], places)
    arrays[which][0, 1, 7, 2] = bad
    q, k, v, g = arrays
    if which < 3:
        with pytest.raises(FloatingPointError):
            attention16.forward(q, k, v, places)
    with pytest.raises(FloatingPointError):
        attention16.backward(g, q, k, v, logs, places)


def test_heads_of_more_channels_are_refused() -> None:
    q = heads(1, 1, 2, 257)
    with pytest.raises(ValueError, match="attention: q must have at most 256 channels in int16 arithmetic, got 257"):
        attention16.forward(q, q, q, np.zeros(1, np.int64))
    with pytest.raises(ValueError, match="KeyValueCache: channels must be at most 256 in int16 arithmetic, got 257"):
        attention16.empty(1, 1, 4, 257)


@pytest.mark.parametrize("score", [1.0, 1e4, 1e7])
def test_weights_of_large_scores_add_up_to_1(score: float) -> None:
    """Also where a float32 would have no digits of the log-sum-exp's fraction left."""
    q, k, v = (np.full((1, 1, n, 1), x, f32) for n, x in ((1, score), (2, 1), (2, 1)))
    _, logs = attention16.forward(q, k, v, np.array([1]))
    _, _, to_v = attention16.backward(np.ones_like(q), q, k, v, logs, np.array([1]))
    assert np.abs(to_v - 0.5).max() < 1e-4


def test_a_cache_in_pieces_has_the_bits_of_the_whole() -> None:
    q, k, v = heads(2, 4, 90, 6), heads(2, 2, 90, 6, seed=1), heads(2, 2, 90, 6, seed=2)
    whole, _ = attention16.forward(q, k, v, np.zeros(2, np.int64))
    kept, start = attention16.empty(2, 2, 100, 6), 0
    for stop in (1, 70, 72, 90):
        before, after = np.full((2, 2), [[start], [stop]])
        attention16.append(kept, k[:, :, start:stop], v[:, :, start:stop], before, after)
        found = attention16.cached(q[:, :, start:stop], kept, before, stop)
        assert same(np.ascontiguousarray(found), np.ascontiguousarray(whole[:, :, start:stop]))
        start = stop


def test_parts_and_sequences_of_a_cache_are_views() -> None:
    k, v = heads(3, 2, 40, 6), heads(3, 2, 40, 6, seed=1)
    kept, small = attention16.empty(3, 2, 48, 6), attention16.empty(1, 2, 32, 6)
    attention16.append(kept, k, v, np.zeros(3, np.int64), np.full(3, 40))
    attention16.append(small, k[1:2, :, :32], v[1:2, :, :32], np.zeros(1, np.int64), np.full(1, 32))
    for start, stop in ((0, 32), (16, 32), (0, 16)):
        pairs = zip(kept[1:2].part(start, stop), small.part(start, stop), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)
    for x in kept[1:2].part(16, 32):
        x[...] = 0
    assert not kept.key_scales[1, :, 16:32].any() and kept.key_scales[1, :, :16].all() and kept.key_scales[0].any()
