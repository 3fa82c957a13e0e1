"""Scaled dot-product attention: softmax(q kᵀ / sqrt(D)) v, computed for a few heads and rows at a time.

With causal masking, row t sees the keys up to its own position. The scores of a block of rows fit the processor's cache, and
no array of size T x T is allocated, except for dropout's mask; the backward pass computes the scores again from q, k and the
log-sum-exp of each row.

In exact arithmetic a row depends on its own query and the keys and values it sees, and on nothing else: neither on how
many keys come later, nor on other rows or sequences. So a prompt has the same bits alone and in a batch, at once and token
by token. `samebits.core.mixing` explains the exact weighted sums.
"""

# ruff: noqa: PLR0917 - the arguments of kernels are positional

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.autograd import Tensor, kernel
from samebits.core import GROUP_ROWS, Context, Numerics, Stream, compiled, current, refuse_non_finite, row_blocks
from samebits.core.mixing import MOST_KEYS
from samebits.core.random import require_stream
from samebits.nn.arguments import integers, number_within

__all__ = ["attend", "attention"]

Array = npt.NDArray[Any]
Int64 = npt.NDArray[np.int64]
Offset = npt.ArrayLike

_FEW_ROWS = 8  # queries of a head, of more of which BLAS makes up for the calls


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    causal: bool = True,
    offset: Offset | None = None,
    *,
    dropout: float = 0.0,
    stream: Stream | None = None,
) -> Tensor:
    """softmax(q kᵀ / sqrt(D)) v (Vaswani et al., 2017, section 3.2.1), with grouped queries (Ainslie et al., 2023).

    Args:
        q: Queries, floating, (B, H, T, D).
        k: Keys, (B, G, S, D), H a multiple of G: each key serves H / G consecutive heads.
        v: Values, (B, G, S, D).
        causal: Whether query t sees only the keys up to ``offset + t``; otherwise it sees all.
        offset: The position of the first query among the keys, for all sequences or for each (B,); by default S - T, so that
            the last query sees all keys.
        dropout: The probability of setting a weight to 0, from 0 to below 1; the others are divided by 1 - dropout.
        stream: Dropout draws from it; required if ``dropout`` is above 0.

    Returns:
        (B, H, T, D). Its memory layout is that of (B, T, H, D), so that joining the heads requires no copy.

    Raises:
        FloatingPointError: In exact arithmetic, an infinity or a NaN in an argument, or in the gradient.
        TypeError: The dtypes differ.
        ValueError: The shapes do not fit, a query has no key, there are more than 2^17 keys, or dropout has no stream.

    Example:
        >>> q, k, v = [Tensor(np.ones((1, 2, 3, 4), np.float32)) for _ in range(3)]
        >>> attention(q, k, v).shape
        (1, 2, 3, 4)
    """
    current().checked("attention", **{name: x.data if isinstance(x, Tensor) else x for name, x in (("q", q), ("k", k), ("v", v))})
    check_shapes(q.shape, k.shape, v.shape)
    (batch, heads, time, _), keys = q.shape, k.shape[2]
    places = checked_offset(keys - time if offset is None else offset, batch, keys) if causal and time else None
    keep = None
    dropout = number_within("attention", "dropout", dropout, below=1)
    if dropout:
        if stream is None:
            raise ValueError("attention: stream must be a Stream with dropout, got None; write stream=Stream(0)")
        stream = require_stream("attention", stream)
        keep = stream.bernoulli(1 - dropout, (batch, heads, time, keys))
    return _attention(q, k, v, _View(places, keep, 1 - dropout))


def check_shapes(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...]) -> None:
    """Raise ValueError unless q is (B, H, T, D) and k and v are (B, G, S, D), with whole groups of heads."""
    fits = len(q) == len(k) == 4 and k == v and (q[0], q[3]) == (k[0], k[3]) and min(q[1], k[1], q[3]) >= 1 and q[1] % k[1] == 0
    if not fits:
        raise ValueError(
            "attention: q, k and v must have shapes (B, H, T, D), (B, G, S, D) and (B, G, S, D), H a multiple of G, "
            f"got {q}, {k} and {v}"
        )
    if k[2] > MOST_KEYS:
        raise ValueError(f"attention: k must have at most {MOST_KEYS} keys, which can be summed exactly, got {k[2]}")
    if q[2] and not k[2]:
        raise ValueError(f"attention: k must have at least one key for {q[2]} queries, got none")


def checked_offset(offset: Offset, batch: int, keys: int) -> Int64:
    """The offsets of all sequences; ValueError if one is not the position of a key."""
    given = integers("attention", "offset", offset)
    if given.shape not in {(), (1,), (batch,)}:
        raise ValueError(f"attention: offset must be an int, or one for each of {batch} sequences, got shape {given.shape}")
    places = np.broadcast_to(given, (batch,))
    if ((places < 0) | (places >= keys)).any():
        raise ValueError(f"attention: offset must be from 0 to {keys - 1}, with {keys} keys, got {places.tolist()}")
    return places


# Blocks


@dataclass(frozen=True, eq=False)
class _View:
    """Which keys rows see: up to ``offset + t`` (all if None), and of their weights those to ``keep``, divided by ``rest``."""

    offset: Int64 | None
    keep: Array | None = None
    rest: float = 1.0

    def places(self, k: Array) -> Int64:
        """The offsets of all sequences, so large where there are none that all keys are seen."""
        return np.full(len(k), k.shape[2], np.int64) if self.offset is None else np.ascontiguousarray(self.offset)


@dataclass(frozen=True, eq=False)
class _Fresh:
    """Keys and values outside of a cache: the `Context` of a part is computed when it is indexed."""

    k: Array
    v: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.k.shape

    def __getitem__(self, group: tuple[slice, slice]) -> Context:
        return current().mixing.context(self.k[group], self.v[group])


@dataclass(frozen=True, eq=False)
class _Block:
    """Some groups of heads and rows, and the keys they see."""

    group: tuple[slice, slice]  # of (B, G)
    rows: slice
    keys: int
    last: Array  # the last key that each row sees: (b or 1, rows)
    mask: Array | None  # True where a key is not seen: (b or 1, 1, 1, rows, keys from ``free`` on)
    free: int  # keys that all rows see

    def of(self, x: Array) -> Array:
        """The block's part of x (B, G, R, T, ...)."""
        return x[(*self.group, slice(None), self.rows)]

    def kept(self, keep: Array, groups: int) -> Array:
        """The block's part of ``keep`` (B, H, T, S), (b, g, R rows, keys)."""
        return _flat(self.of(_grouped(keep, groups))[..., : self.keys])

    def hide(self, x: Array, value: float) -> None:
        """Put ``value`` into x (b, g, R rows, keys) where a key is not seen."""
        if self.mask is not None:
            split = x.reshape(*x.shape[:2], -1, self.rows.stop - self.rows.start, x.shape[-1])
            np.copyto(split[..., self.free :], x.dtype.type(value), where=self.mask)


def _groups(q: Array, shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """Cut the (B, G) of ``shape``, that of the keys, into parts whose scores take two blocks: products of few rows are slow."""
    batch, groups, keys, _ = shape
    scores = q.shape[1] // max(1, groups) * min(q.shape[2], GROUP_ROWS) * keys  # of a group of heads
    itemsize = current().working(q.dtype).itemsize
    wide = row_blocks(groups, scores // 2, itemsize)
    deep = row_blocks(batch, groups * scores // 2, itemsize)
    return itertools.product(deep, wide)


def _blocks(group: tuple[slice, slice], time: int, keys: int, offset: Array | None, backward: bool = False) -> Iterator[_Block]:
    """Cut the rows of a group into blocks of GROUP_ROWS, which define the order of sums in the backward pass.

    There the sums over keys have a fixed order too: a block has the keys that the last of all sequences sees.
    """
    places = None if offset is None else offset[group[0]]
    for start in range(0, time, GROUP_ROWS):
        stop = min(start + GROUP_ROWS, time)
        if places is None:
            yield _Block(group, slice(start, stop), keys, np.full((1, stop - start), keys - 1, np.int64), None, keys)
            continue
        low, high = int(places.min()), int(places.max() if offset is None or not backward else offset.max())
        seen, free = min(high + stop, keys), min(low + start + 1, keys)
        limits = (places[:1] if low == high else places)[:, None] + np.arange(start, stop, dtype=np.int64)
        mask = None
        if free < seen:
            mask = (np.arange(free, seen, dtype=np.int64) > limits[..., None])[:, None, None]
        last = np.minimum(limits, np.int64(keys - 1)) if high + stop > keys else limits
        yield _Block(group, slice(start, stop), seen, last, mask, free)


def _grouped(x: Array, groups: int) -> Array:
    """(B, H, ...) as (B, G, R, ...), without a copy."""
    return x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])


def _scores(numerics: Numerics, q: Array, keys: Array, block: _Block) -> Array:
    """q kᵀ (b, g, R rows, keys) of operands, -inf where a key is not seen."""
    scores: Array = numerics.products.multiply(q, keys.swapaxes(-1, -2))
    block.hide(scores, -math.inf)
    return scores


def _flat(x: Array) -> Array:
    """(b, g, R, rows, D) as (b, g, R rows, D)."""
    return x.reshape(*x.shape[:2], -1, x.shape[-1])


# Forward


def attend(q: Array, kept: Any, offset: Int64, keys: int) -> Array:
    """Causal `attention` of queries (B, H, T, D) to the first keys of the context of a cache; nothing is kept for gradients.

    Few rows are the work of one kernel: each of its steps by itself would take less time than its call.
    """
    batch, heads, time, width = q.shape
    try:
        if (numerics := current()).attention is not None:
            return numerics.attention.cached(q, kept, offset, keys)
        if kept.peaks is None or time > _FEW_ROWS:
            return _forward(q, kept[:, :, :keys], _View(offset))[0]
        out = np.empty((batch, time, heads, width), q.dtype)
        sizes = compiled.integers(heads, time, width, *kept.shape[1:3], keys)
        compiled.call(_attend, [out], [q], [*kept.arrays, offset, sizes], (batch * heads * time, keys * width))
        return out.transpose(0, 2, 1, 3)
    except FloatingPointError:
        refuse_non_finite("attention", q=q)


@compiled.pair("attention_few", "f f d d d q q q")
def _attend(out: Array, q: Array, keys: Array, values: Array, sizes: Array, peaks: Array, offset: Int64, shape: Int64) -> None:
    seen = Context(keys, values, sizes, peaks)[:, :, : int(shape[5])]
    out[...] = _forward(q, seen, _View(offset))[0].transpose(0, 2, 1, 3)


def _forward(q: Array, source: Context | _Fresh, view: _View) -> tuple[Array, Array]:
    """The result of `attention` on arrays, and the log-sum-exp of every row's scores, (B, H, T)."""
    numerics, (batch, heads, time, width), (groups, keys) = current(), q.shape, source.shape[1:3]
    products, mixing = numerics.products, numerics.mixing
    out = np.empty((batch, time, heads, width), q.dtype).transpose(0, 2, 1, 3)
    q5, out5 = _grouped(q, groups), _grouped(out, groups)
    logs = np.empty((batch, heads, time), numerics.working(q.dtype))
    logs5 = _grouped(logs, groups)
    with np.errstate(all="ignore"):
        for group in _groups(q, source.shape):
            seen = source[group]
            for block in _blocks(group, time, keys, view.offset):
                rows = products.operand(_flat(block.of(q5)) * _scale(q))
                weights = _scores(numerics, rows, seen.keys[..., : block.keys, :], block)
                totals, log = mixing.weigh(weights)
                if view.keep is not None:
                    weights *= block.kept(view.keep, groups)
                mixed = mixing.mix(weights, totals, seen, block.last)
                mixed /= totals * totals.dtype.type(view.rest)
                target = block.of(out5)
                target[...] = mixed.reshape(target.shape)
                block.of(logs5)[...] = log.reshape(target.shape[:-1])
        out += q.dtype.type(0)
    return out, logs


def _scale(q: Array) -> Any:
    return q.dtype.type(1 / math.sqrt(q.shape[-1]))


# Backward


def _attention_rule(g: Array, arrays: tuple[Array, ...], logs: Array, view: _View) -> tuple[Array, ...]:
    numerics = current().checked("attention", gradient=g)
    q, k, v = arrays
    found = np.empty_like(q), np.empty_like(k), np.empty_like(v)
    with np.errstate(all="ignore"):
        try:
            if numerics.attention is not None:
                return numerics.attention.backward(g, q, k, v, logs, view.places(k), view.keep, view.rest)
            for group in _groups(q, k.shape):
                _backward(numerics, (g, q, k[group], v[group], logs), group, view, found)
        except FloatingPointError:
            refuse_non_finite("the gradient of attention", gradient=g, q=q, k=k, v=v)
        found[0][...] += q.dtype.type(0)  # as for out: the sign of a zero product is not defined
    return found


def _backward(
    numerics: Numerics, arrays: tuple[Array, ...], group: tuple[slice, slice], view: _View, found: tuple[Array, ...]
) -> None:
    """The gradients of a group of heads: with p = e^(s - log-sum-exp) and dp = g vᵀ, ds = p (dp - sum(p dp)).

    dv = pᵀ g        dq = ds k / sqrt(D)        dk = dsᵀ q / sqrt(D)
    """
    g, q, k, v, logs = arrays
    groups, keys = found[1].shape[1:3]
    g5, q5, logs5, to_q5 = (_grouped(x, groups) for x in (g, q, logs, found[0]))
    operand, multiply = numerics.products.operand, numerics.products.multiply
    k_rows, k_columns, v_rows = operand(k), operand(k, -2), operand(v)
    to_k, to_v = np.zeros_like(k_rows), np.zeros_like(v_rows)
    for block in _blocks(group, q.shape[2], keys, view.offset, backward=True):
        rows, upward = _flat(block.of(q5)) * _scale(q), _flat(block.of(g5))
        p = _scores(numerics, operand(rows), k_rows[..., : block.keys, :], block)
        numerics.mixing.powers(p, block.of(logs5).reshape(*p.shape[:-1], 1))
        block.hide(p, 0.0)
        ds = multiply(operand(upward), v_rows[..., : block.keys, :].swapaxes(-1, -2))
        spread = p
        if view.keep is not None:
            stay = block.kept(view.keep, groups) * p.dtype.type(1 / view.rest)
            ds *= stay
            spread = p * stay
        numerics.mixing.pull(p, ds)
        to_v[..., : block.keys, :] += multiply(operand(spread, -2).swapaxes(-1, -2), operand(upward, -2))
        to_k[..., : block.keys, :] += multiply(operand(ds, -2).swapaxes(-1, -2), operand(rows, -2))
        to_q = multiply(operand(ds), k_columns[..., : block.keys, :])
        to_q *= _scale(q)
        part = block.of(to_q5)
        part[...] = to_q.reshape(part.shape)
    found[1][group] = to_k
    found[2][group] = to_v


@kernel(_attention_rule)
def _attention(q: Any, k: Any, v: Any, view: _View) -> tuple[Array, tuple[Any, ...]]:
    numerics = current()
    try:
        if numerics.attention is not None:
            out, logs = numerics.attention.forward(q, k, v, view.places(k), view.keep, view.rest)
        else:
            out, logs = _forward(q, _Fresh(k, v), view)
    except FloatingPointError:
        refuse_non_finite("attention", q=q, k=k, v=v)
    return out, ((q, k, v), logs, view)
