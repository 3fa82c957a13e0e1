"""Attention with products of 16-bit integers, the weights between them in float32.

    s = q kᵀ / sqrt(D)        w = e^(s - max s)        out = sum(w v) / sum(w)

The operands of all products are rounded as in `int16`: each vector to a multiple of 2^(e - 15) that its own norm chooses, its K
axis in chunks of 256. A chunk's sum is an exact int32; it is rounded to float32, multiplied by the scale of its vectors, and chunks
are added in their order, in float32.

Keys are cut into spans of 64. In each, a row takes the weights relative to its largest score there, and sums them in 16 lanes;
the spans are then weighted by the powers of their largest scores. A row's weights in a span, w 2^e where v = 2^(e - 15) q, are
rounded to integers x on a grid chosen by their sum L and the largest e that the row sees in the span: with L (1 + 2^-9) < 2^b and
e at most `peak`,

    x = round(w 2^(e - peak) 2^(15 - b))        sum |x| < 2^15 (1 - 2^-10) + 64 / 2 <= 2^15        |q| < 2^15

so sum(x q) is below 2^31: exact in int32. How key j and value j are rounded depends on these alone, and a row on nothing but its own
query and the keys and values it sees. So a prompt has the same bits alone and in a batch, at once and in pieces, and a cache keeps
keys and values as integers.

The backward pass computes the weights again, p = e^(s - log-sum-exp), the latter a float32 and the power of the rest, and with dp = g vᵀ

    ds = p (dp - sum(p dp))        dv = pᵀ g        dq = ds k / sqrt(D)        dk = dsᵀ q / sqrt(D)

its sums over queries being cut into blocks of 64 queries of a head.

In the forward pass an element is at most (2^-14 (1 + 2^-8) |q| |k| + 2^-8 (1 + 2^-6)) |v| off, with the largest norms of a query, a
key and a value; typically 1e-3 of the values' size. Rounding a query and a key causes the first part. The second is that of 64
weights, each rounded up or down by 2^(b - 16) at most, while their sum L is about 2^(b - 1), and of values whose e is less than `peak`.
Vectors whose norm is below 2^-135 count as zeros in sums that become float32: of scores, and in the backward pass.
"""

# ruff: noqa: PLR0917 - the arguments of kernels are positional

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core import compiled, exponential, logarithm
from samebits.core.arithmetic import Float32, Float64, Int64
from samebits.core.compiled import pair
from samebits.core.int16 import BITS, CHUNK, WIDTH, Int16, as_integers, chunks
from samebits.core.mixing import power_of_two

Array = npt.NDArray[Any]
Bool = npt.NDArray[np.bool_]

ROWS = 64
"""The queries of a block of the backward pass."""
SPAN = 64
"""The keys whose weights have one grid."""

_LANES = 16
_LARGEST = np.float32(2.0**96)  # of a scale: a product of 2^31 of it is finite
_NO_WEIGHT = np.float32(-60)  # scores so far below the largest have no weight
_ROUND = np.float32(1.5 * 2.0**23)
_INV_LN2, _LN2_HIGH, _LN2_LOW = (np.float32(x) for x in (1.4426950216293335, 0.693359375, -0.00021219444170128554))
_POWER = [np.float32(x) for x in (0.008357246406376362, 0.04183413088321686, 0.16666631400585175, 0.49999746680259705)]
_SUM_MARGIN = np.float32(1 + 2.0**-9)
_ZERO, _ONE = np.float32(0), np.float32(1)
_NOTHING = np.int64(-511)  # the exponent of zeros


def power(x: Float32) -> Float32:
    """e^x for x up to about 1, to 5e-7; 0 below -60. Call it under np.errstate.

    Example:
        >>> power(np.array([0, -1, -61], np.float32))
        array([1.        , 0.36787948, 0.        ], dtype=float32)
    """
    steps = x * _INV_LN2 + _ROUND
    n = steps - _ROUND
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    y = ((_POWER[0] * r + _POWER[1]) * r + _POWER[2]) * r + _POWER[3]
    y = y * (r * r) + r + _ONE
    bits = y.view(np.int32) + (steps.view(np.int32) << np.int32(23))
    bits[x < _NO_WEIGHT] = 0
    found: Float32 = bits.view(np.float32)
    return found


# Operands and products


@dataclass(frozen=True, eq=False)
class _Operand:
    """Rows (..., rows, K) of integers, as float64, and the scales of their chunks (..., rows, chunks)."""

    values: Float64
    scales: Float64

    def __getitem__(self, index: Any) -> "_Operand":
        return _Operand(self.values[index], self.scales[index])


def _operand(x: Float32) -> _Operand:
    values, scales = as_integers(x.reshape(math.prod(x.shape[:-1]), x.shape[-1]))
    return _Operand(values.reshape(x.shape), scales.reshape(*x.shape[:-1], scales.shape[-1]))


def _scale(a: Float64, b: Float64) -> Float32:
    scale: Float32 = np.minimum(a.astype(np.float32) * b.astype(np.float32), _LARGEST)
    return scale


def _product(a: _Operand, b: _Operand) -> Float32:
    """A bᵀ (..., rows of a, rows of b)."""
    total = np.zeros((), np.float32)
    for i, chunk in enumerate(chunks(a.values.shape[-1])):
        term = np.matmul(a.values[..., chunk], b.values[..., chunk].swapaxes(-1, -2)).astype(np.float32)
        total = total + term * _scale(a.scales[..., i, None], b.scales[..., None, :, i])
    return total


def _lanes_sum(x: Float32) -> Float32:
    """The sums of the rows of x (..., n), in 16 lanes, then halving."""
    lanes = np.zeros((*x.shape[:-1], _LANES), np.float32)
    for start in range(0, x.shape[-1], _LANES):
        part = x[..., start : start + _LANES]
        lanes[..., : part.shape[-1]] += part
    while lanes.shape[-1] > 1:
        half = lanes.shape[-1] // 2
        lanes = lanes[..., :half] + lanes[..., half:]
    return lanes[..., 0]


def _scaled(q: Float32) -> Float32:
    scaled: Float32 = q * _channel_scale(q)
    return scaled


def _channel_scale(q: Float32) -> Any:
    return np.float32(1 / math.sqrt(q.shape[-1]))


# Contexts


@dataclass(frozen=True, eq=False)
class Context16:
    """Keys and values of a cache (B, G, S, D) as integers, packed as right operands are.

    ``keys`` (B, G, S / 16, D / 2, 16, 2) and ``values`` (B, G, D / 16, S / 2, 16, 2) int16, S and D being rounded up;
    ``key_scales`` and ``value_scales`` (B, G, S) float64 are 2^(e - 15).

    Example:
        >>> empty(1, 2, 40, 8).keys.shape
        (1, 2, 3, 4, 16, 2)
    """

    keys: Int16
    values: Int16
    key_scales: Float64
    value_scales: Float64
    places: int
    """S."""

    @property
    def arrays(self) -> list[Array]:
        """The arrays, in the order of the fields."""
        return [self.keys, self.values, self.key_scales, self.value_scales]

    def __getitem__(self, sequences: slice) -> "Context16":
        """A view of some sequences."""
        keys, values, key_scales, value_scales = (x[sequences] for x in self.arrays)
        return Context16(keys, values, key_scales, value_scales, self.places)

    def part(self, start: int, stop: int) -> list[Array]:
        """Views of all arrays at the places ``start`` to ``stop``, which are multiples of 16."""
        panels, pairs, places = slice(start // WIDTH, stop // WIDTH), slice(start // 2, stop // 2), slice(start, stop)
        scales = [x[:, :, places] for x in (self.key_scales, self.value_scales)]
        return [self.keys[:, :, panels], self.values[:, :, :, pairs], *scales]


def empty(batch: int, groups: int, places: int, width: int, _: npt.DTypeLike = np.float32) -> Context16:
    """Return a context of so many sequences, groups of heads, places and channels, all of them zeros."""
    if width > CHUNK:
        raise ValueError(f"KeyValueCache: channels must be at most {CHUNK} in int16 arithmetic, got {width}")
    panels = -(-places // WIDTH)
    return Context16(
        np.zeros((batch, groups, panels, -(-width // 2), WIDTH, 2), np.int16),
        np.zeros((batch, groups, -(-width // WIDTH), panels * WIDTH // 2, WIDTH, 2), np.int16),
        np.zeros((batch, groups, panels * WIDTH)),
        np.zeros((batch, groups, panels * WIDTH)),
        places,
    )


def append(kept: Context16, k: Float32, v: Float32, before: Int64, after: Int64) -> None:
    """Put k and v (B, G, T, D) at the places ``before`` to ``after`` (B,) of a context; see `mixing.append`."""
    batch, groups, time, width = k.shape
    sizes = compiled.integers(groups, time, width, kept.places)
    rows = [x.transpose(0, 2, 1, 3) for x in (k, v)]
    compiled.call(_append, kept.arrays, rows, [before, after, sizes], (batch * groups, time * width))


@pair("attention16_append", "h h d d f f q q q")
def _append(
    keys: Int16,
    values: Int16,
    key_scales: Float64,
    value_scales: Float64,
    k: Float32,
    v: Float32,
    before: Int64,
    after: Int64,
    _: Int64,
) -> None:
    key, value = (_operand(x.swapaxes(1, 2)) for x in (k, v))
    for b, (start, stop) in enumerate(zip(before.tolist(), after.tolist(), strict=True)):
        for t in range(stop - start):
            at, pairs = start + t, keys.shape[3]
            row = np.zeros((len(keys[b]), pairs * 2), np.int16)
            row[:, : k.shape[-1]] = key.values[b, :, t]
            keys[b, :, at // WIDTH, :, at % WIDTH] = row.reshape(-1, pairs, 2)
            wide = np.zeros((len(keys[b]), values.shape[2] * WIDTH), np.int16)
            wide[:, : k.shape[-1]] = value.values[b, :, t]
            values[b, :, :, at // 2, :, at % 2] = wide.reshape(-1, values.shape[2], WIDTH)
            key_scales[b, :, at], value_scales[b, :, at] = key.scales[b, :, t, 0], value.scales[b, :, t, 0]


# Forward


def cached(q: Float32, kept: Context16, offset: Int64, keys: int) -> Float32:
    """`forward` of queries (B, H, T, D) to the first keys of a cache, query t of sequence b seeing those up to offset[b] + t."""
    batch, heads, time, width = q.shape
    groups = kept.keys.shape[1]
    out = np.empty((batch, time, heads, width), np.float32)
    sizes = compiled.integers(heads, time, width, groups, keys, kept.places)
    work = batch * groups, heads // groups * time * keys * width // 16
    compiled.call(_cached, [out], [q.transpose(0, 2, 1, 3)], [*kept.arrays, offset, sizes], work)
    return out.transpose(0, 2, 1, 3)


@pair("attention16_cached", "f f h h d d q q")
def _cached(
    out: Float32, q: Float32, keys: Int16, values: Int16, key_scales: Float64, value_scales: Float64, offset: Int64, sizes: Int64
) -> None:
    count, width = int(sizes[4]), q.shape[-1]
    batch, groups, panels = keys.shape[:3]
    k = keys.swapaxes(3, 4).reshape(batch, groups, panels * WIDTH, -1)[:, :, :count, :width].astype(np.float64)
    v = values.transpose(0, 1, 3, 5, 2, 4).reshape(batch, groups, panels * WIDTH, -1)[:, :, :count, :width].astype(np.float64)
    key, value = (_Operand(x, s[:, :, :count, None]) for x, s in ((k, key_scales), (v, value_scales)))
    _attend(out, None, q, key, value, offset, None, 1.0)


def forward(
    q: Float32, k: Float32, v: Float32, offset: Int64, keep: Bool | None = None, rest: float = 1.0
) -> tuple[Float32, Float64]:
    """Mix the values v (B, G, S, D) for queries q (B, H, T, D) by the softmax of q kᵀ / sqrt(D).

    Args:
        q: Queries, float32.
        k: Keys (B, G, S, D), H a multiple of G.
        v: Values, likewise.
        offset: Query t of sequence b sees the keys up to offset[b] + t, (B,).
        keep: The weights that are not dropped, (B, H, T, S).
        rest: What the others are divided by.

    Returns:
        The result (B, H, T, D), in the memory order of (B, T, H, D), and the log-sum-exp of each row's scores (B, H, T), float64.

    FloatingPointError, without a message, if an argument is not finite; ValueError, if D is above 256.

    Example:
        >>> q = np.ones((1, 1, 2, 4), np.float32)
        >>> forward(q, q, q, np.array([0]))[0].shape
        (1, 1, 2, 4)
    """
    (batch, heads, time, width), (groups, keys) = q.shape, k.shape[1:3]
    if width > CHUNK:
        raise ValueError(f"attention: q must have at most {CHUNK} channels in int16 arithmetic, got {width}")
    out, logs = np.empty((batch, time, heads, width), np.float32), np.empty((batch, heads, time))
    shared = [offset, *_dropped(keep, rest), compiled.integers(heads, time, width, groups, keys)]
    rows = [x.transpose(0, 2, 1, 3) for x in (q, k, v)]
    work = batch * groups, heads // groups * time * keys
    compiled.call(_forward, [out, logs], rows, shared, work)
    return out.transpose(0, 2, 1, 3), logs


def _dropped(keep: Bool | None, rest: float) -> list[Array]:
    return [] if keep is None else [keep, np.array([rest], np.float32)]


def _kept(dropped: tuple[Array, ...]) -> tuple[Bool | None, Any]:
    """What `_dropped` made arrays of, from the last arguments of a kernel: those, and its sizes."""
    *given, _ = dropped
    return (given[0], given[1][0]) if given else (None, 1.0)


@pair("attention16", "f d f f f q q")
@pair("attention16_dropout", "f d f f f q ? f q")
def _forward(out: Float32, logs: Float64, q: Float32, k: Float32, v: Float32, offset: Int64, *dropped: Array) -> None:
    keep, rest = _kept(dropped)
    _attend(out, logs, q, _operand(k.swapaxes(1, 2)), _operand(v.swapaxes(1, 2)), offset, keep, rest)


def _attend(
    out: Float32, logs: Float64 | None, q: Float32, key: _Operand, value: _Operand, offset: Int64, keep: Bool | None, rest: Any
) -> None:
    """Fill out (B, T, H, D) and logs (B, H, T) from q (B, T, H, D), and keys and values (B, G, S, D)."""
    queries = q.swapaxes(1, 2)
    exponents = _exponents(value.scales[..., 0])
    for block in _blocks(queries, key, offset):
        scores = _product(_operand(_scaled(block.of(queries))), key[:, :, None])
        kept = None if keep is None else block.of(keep)
        mixed, log = _mixed(block, scores, value, exponents, kept, np.float32(rest))
        block.of(out.swapaxes(1, 2))[...] = mixed
        if logs is not None:
            block.of(logs)[...] = log


def _exponents(scales: Float64) -> Int64:
    """The e of scales 2^(e - 15)."""
    found = (scales.view(np.int64) >> np.int64(52)) - np.int64(1023 - BITS)
    return np.where(scales == 0, _NOTHING, found)


@dataclass(frozen=True, eq=False)
class _Block:
    """Queries of all groups: of some heads of each, ROWS of them."""

    groups: int
    heads: slice
    rows: slice
    last: Int64  # the last key that each query sees: (B, 1, 1, rows, 1)
    unseen: Bool  # (B, 1, 1, rows, S)

    def of(self, x: Array) -> Array:
        """The block's part of x (B, H, T, ...), a view (B, G, heads, rows, ...)."""
        return x.reshape(x.shape[0], self.groups, x.shape[1] // self.groups, *x.shape[2:])[:, :, self.heads, self.rows]


def _blocks(q: Float32, key: _Operand, offset: Int64, each: bool = False) -> Iterator[_Block]:
    """Cut the queries q (B, H, T, D) into blocks of all heads, or of one head of each group at a time."""
    (groups, keys), (heads, time) = key.values.shape[1:3], q.shape[1:3]
    count = heads // groups
    places = np.arange(keys, dtype=np.int64)
    for head in range(count if each else 1):
        for start in range(0, time, ROWS):
            rows = np.arange(start, min(start + ROWS, time), dtype=np.int64)
            last = np.minimum(offset[:, None] + rows, np.int64(keys - 1))[:, None, None, :, None]
            yield _Block(
                groups, slice(head, head + 1) if each else slice(None), slice(start, start + len(rows)), last, places > last
            )


def _mixed(
    block: _Block, scores: Float32, value: _Operand, exponents: Int64, keep: Bool | None, rest: np.float32
) -> tuple[Float32, Float64]:
    """The result and the log-sum-exp of scores (B, G, R, rows, S)."""
    np.copyto(scores, np.float32(-np.inf), where=block.unseen)
    parts = [slice(start, start + SPAN) for start in range(0, scores.shape[-1], SPAN)]
    tops = np.stack([np.maximum.reduce(scores[..., chunk], axis=-1) for chunk in parts], -1)
    top = np.maximum.reduce(tops, axis=-1)
    sees = np.isfinite(tops)  # the spans of which a row sees a key
    factors = power(np.where(sees, tops - top[..., None], np.float32(-np.inf)))
    weights = [power(scores[..., chunk] - np.where(sees, tops, _ZERO)[..., i, None]) for i, chunk in enumerate(parts)]
    totals = np.stack([_lanes_sum(w) for w in weights], -1)
    total = np.zeros_like(top)
    for i in range(len(parts)):
        total += totals[..., i] * factors[..., i]
    inverse = _ONE / (total * rest)
    result = np.zeros((*scores.shape[:-1], value.values.shape[-1]), np.float32)
    for i, (chunk, w) in enumerate(zip(parts, weights, strict=True)):
        e = exponents[:, :, None, None, chunk]
        place = np.clip(block.last - np.int64(chunk.start), np.int64(0), np.int64(w.shape[-1] - 1))
        peaks = np.take_along_axis(np.maximum.accumulate(e, axis=-1), place, -1)  # (B, G, 1, rows, 1)
        bits = ((totals[..., i] * _SUM_MARGIN).view(np.int32) >> np.int32(23)).astype(np.int64)[..., None] - np.int64(126)
        bits = np.where(sees[..., i, None], bits, np.int64(0))
        x = np.rint(w * power_of_two(e - peaks + np.int64(BITS) - bits))
        if keep is not None:
            x *= keep[..., chunk]
        size = power_of_two(peaks + bits - np.int64(2 * BITS))[..., 0]
        scale = ((factors[..., i] * inverse).astype(np.float64) * size).astype(np.float32)
        result += np.matmul(x, value.values[:, :, None, chunk]).astype(np.float32) * scale[..., None]
    logs = np.empty(total.shape)
    logarithm.log(total.astype(np.float64), logs)
    logs += top
    return result + _ZERO, logs


# Backward


def backward(
    g: Float32, q: Float32, k: Float32, v: Float32, logs: Float64, offset: Int64, keep: Bool | None = None, rest: float = 1.0
) -> tuple[Float32, Float32, Float32]:
    """Return the gradients of q, k and v, of the gradient g (B, H, T, D) of the result; logs and the others are as in `forward`.

    FloatingPointError, without a message, if an argument is not finite.
    """
    (batch, heads, time, width), (groups, keys) = q.shape, k.shape[1:3]
    shift = _shift(g, v)  # the gradient is linear in g; of usual sizes the steps do not overflow or underflow
    if shift:
        g = (g * power_of_two(np.array(-shift))).astype(np.float32)
    founds = [np.empty((batch, x.shape[2], x.shape[1], width), np.float32) for x in (q, k, k)]
    shared = [offset, *_dropped(keep, rest), compiled.integers(heads, time, width, groups, keys)]
    rows: list[Array] = [*[x.transpose(0, 2, 1, 3) for x in (g, q, k, v)], logs.astype(np.float64, copy=False)]
    work = batch * groups, heads // groups * time * keys
    compiled.call(_backward, founds, rows, shared, work)
    if shift:
        founds = [(x * power_of_two(np.array(shift))).astype(np.float32) for x in founds]
    to_q, to_k, to_v = (x.transpose(0, 2, 1, 3) for x in founds)
    return to_q, to_k, to_v


def _shift(g: Float32, v: Float32) -> int:
    """The exponent of the size of g v, or 0 where that is between 2^-60 and 2^60; g 2^-shift is at most 2^100, so finite."""
    sizes = [
        max(float(np.maximum.reduce(x, axis=None, initial=0)), -float(np.minimum.reduce(x, axis=None, initial=0))) for x in (g, v)
    ]
    if not all(map(math.isfinite, sizes)):
        raise FloatingPointError
    size = math.frexp(sizes[0])[1]
    exponent = size + max(math.frexp(sizes[1])[1], -100)
    return exponent if all(sizes) and abs(exponent) > 60 else 0


@pair("attention16_gradient", "f f f f f f f d q q")
@pair("attention16_gradient_dropout", "f f f f f f f d q ? f q")
def _backward(
    to_q: Float32,
    to_k: Float32,
    to_v: Float32,
    g: Float32,
    q: Float32,
    k: Float32,
    v: Float32,
    logs: Float64,
    offset: Int64,
    *dropped: Array,
) -> None:
    _pull((to_q, to_k, to_v), (g, q, k, v), logs, offset, *_kept(dropped))


def _pull(
    founds: tuple[Array, ...], arrays: tuple[Array, ...], logs: Float64, offset: Int64, keep: Bool | None, rest: Any
) -> None:
    """Fill the gradients (B, T, H, D) and (B, S, G, D)."""
    g, q, k, v = (x.swapaxes(1, 2) for x in arrays)
    k_rows, v_rows = _operand(k), _operand(v)
    k_columns = _operand(k.swapaxes(-1, -2))
    to_k, to_v = np.zeros((2, *k.shape), np.float32)
    stay = _ONE / np.float32(rest)
    for block in _blocks(q, k_rows, offset, each=True):
        rows, upward = _scaled(block.of(q)), block.of(g)
        scores = _product(_operand(rows), k_rows[:, :, None])
        np.copyto(scores, np.float32(-np.inf), where=block.unseen)
        log = block.of(logs)[..., None]
        near = log.astype(np.float32)
        exponential.exp_short(
            near.astype(np.float64) - log, rest_of := np.empty(log.shape)
        )  # a large log-sum-exp has few digits as a float32
        p = power(scores - near) * rest_of.astype(np.float32)
        dp = _product(_operand(upward), v_rows[:, :, None])
        spread = p
        if keep is not None:
            kept = np.where(block.of(keep), stay, _ZERO)
            dp *= kept
            spread = p * kept
        np.copyto(dp, _ZERO, where=block.unseen)
        total = np.zeros((*p.shape[:-1], 1), np.float32)
        for chunk in chunks(p.shape[-1]):
            total += _lanes_sum(p[..., chunk] * dp[..., chunk])[..., None]
        ds = p * (dp - total)
        to_v += _product(_operand(spread.swapaxes(-1, -2)), _operand(upward.swapaxes(-1, -2)))[:, :, 0]
        to_k += _product(_operand(ds.swapaxes(-1, -2)), _operand(rows.swapaxes(-1, -2)))[:, :, 0]
        to_q = _product(_operand(ds), k_columns[:, :, None])
        block.of(founds[0].swapaxes(1, 2))[...] = to_q * _channel_scale(q) + _ZERO
    for found, x in zip(founds[1:], (to_k, to_v), strict=True):
        found.swapaxes(1, 2)[...] = x + _ZERO
