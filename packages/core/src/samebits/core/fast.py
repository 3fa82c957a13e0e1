"""Plain NumPy and BLAS under the names of our own functions: fast, in float32 and float64, without reproducible bits.

This is the one module that may use NumPy's functions whose bits differ between machines. `modes` says when it is used.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core import exponential, indexing
from samebits.core.mixing import Context, pull_with

Array = npt.NDArray[Any]
Axis = int | tuple[int, ...] | None
Function = Callable[..., Array]

_LOW, _HIGH = 1e-30, 1e30  # between these, a sum of e^x has lost nothing in float32
_SMALL, _LARGE = 1e-15, 1e15  # between these, the squares that make a norm have lost nothing in float32
_MILD = 50  # scores whose powers, and sums of as many as a row may have, are far from the ends of float32

matmul: Function = np.matmul
dot: Function = np.dot
sum: Function = np.sum  # noqa: A001
mean: Function = np.mean
var: Function = np.var
std: Function = np.std
max: Function = np.max  # noqa: A001
min: Function = np.min  # noqa: A001
cumsum: Function = np.cumsum
exp: Function = np.exp
expm1: Function = np.expm1
exp2: Function = np.exp2
log: Function = np.log
log1p: Function = np.log1p
log2: Function = np.log2
log10: Function = np.log10
tanh: Function = np.tanh
sin: Function = np.sin
cos: Function = np.cos
sqrt: Function = np.sqrt


def prepare(b: Array) -> Array:
    """Return ``b`` itself."""
    return b


def linear(a: Array, b: Array, bias: Array | None = None) -> Array:
    """Multiply a (rows, K) and b (K, n), and add the bias (n,)."""
    result: Array = np.matmul(a, b)
    if bias is not None:
        result += bias
    return result


def operand(x: Array, axis: int = -1) -> Array:  # noqa: ARG001 - exact arithmetic has use for the axis
    """Return ``x`` itself, as an operand of `matmul`."""
    return x


def sigmoid(x: Array, out: Array | None = None) -> Array:
    """1 / (1 + e^-x)."""
    with np.errstate(over="ignore"):
        result = exp(np.negative(x), out)
    return np.divide(1, np.add(result, 1, out=out), out=out)


def rsqrt(x: Array, out: Array | None = None) -> Array:
    """1 / sqrt(x)."""
    return np.reciprocal(sqrt(x, out), out=out)


def erf(x: Array, out: Array | None = None) -> Array:
    """The error function; NumPy has none, so it is computed by the float64 kernel."""
    wide = np.array(x, np.float64, ndmin=1)
    exponential.erf(wide, result := np.empty_like(wide))
    result = result.reshape(np.shape(x)).astype(x.dtype)
    if out is None:
        return result
    out[...] = result
    return out


def norm(x: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """The 2-norm over ``axis``; of values divided by their largest where squares would overflow or vanish."""
    with np.errstate(over="ignore", under="ignore"):
        result: Array = sqrt(sum(np.square(x), axis=axis, keepdims=True))
    if x.size and not ((result > _SMALL) & (result < _LARGE)).all():
        top = np.abs(x).max(axis=axis, keepdims=True)
        top = np.where((top > 0) & np.isfinite(top), top, x.dtype.type(1))
        result = sqrt(sum(np.square(x / top), axis=axis, keepdims=True)) * top
    return result if keepdims else np.squeeze(result, axis=axis)[()]


def logsumexp(x: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """log(sum(exp(x))) about the maximum."""
    top = max(x, axis=axis, keepdims=True)
    center = np.where(np.isfinite(top), top, 0).astype(x.dtype)
    result: Array = log(sum(exp(x - center), axis=axis, keepdims=True)) + center
    return result if keepdims else np.squeeze(result, axis=axis)


def vecdot(a: Array, b: Array, axis: int = -1) -> Array:
    """The product of each vector along ``axis`` of ``a`` with that of ``b``; NumPy 1.26 has no ``vecdot``."""
    rows, columns = np.moveaxis(a, axis, -1)[..., None, :], np.moveaxis(b, axis, -1)[..., None]
    products: Array = np.matmul(rows, columns)
    return products[..., 0, 0]


def argsort(x: Array, axis: int | None = -1) -> Array:
    """The indices that sort; equal elements keep their order here too."""
    return np.argsort(x, axis=axis, kind="stable").astype(np.int64, copy=False)


def segment_sum(values: Array, ids: Array, num_segments: int) -> Array:
    """The sums of ``values`` (N, ...) with the same id."""
    result = np.zeros((num_segments, *values.shape[1:]), values.dtype)
    scatter_add(result, ids, values)
    return result


def bincount(ids: Array, weights: Array | None = None, minlength: int = 0) -> Array:
    """How often each id occurs, or the sums of their weights in the weights' dtype."""
    counts = np.bincount(ids, weights, minlength)
    return counts.astype(np.int64 if weights is None else weights.dtype, copy=False)


def scatter_add(target: Array, ids: Array, values: Array) -> None:
    """``target[ids] += values``, repeated ids included."""
    found, sums = indexing.totals("scatter_add", values, ids, len(target), values.dtype)
    target[found] += sums


def embedding_gradient(ids: Array, gradient: Array, vocabulary_size: int) -> Array:
    """The gradient of ``embedding[ids]``."""
    return segment_sum(gradient.reshape(ids.size, gradient.shape[-1]), ids.reshape(-1), vocabulary_size)


def total(x: Array, axis: int = -1) -> Array:
    """Sum inside a kernel."""
    return sum(x, axis=axis)


def row_sums(x: Array, factors: Array | None = None) -> Array:
    """Sum the rows of ``x`` (rows, columns), or their products with ``factors`` (columns,)."""
    return matmul(x, np.ones(x.shape[1], x.dtype) if factors is None else factors)


def group_sums(x: Array) -> Array:
    """Sum all rows of ``x`` (rows, columns): one group, (1, columns)."""
    return matmul(np.ones((1, len(x)), x.dtype), x)


def exp_sums(x: Array) -> tuple[Array, Array, Array]:
    """Sum e^(x - shift) over each row of ``x`` (rows, columns), and take the logarithm; most rows need no maxima."""
    totals, shifts = row_sums(exp(x)), np.zeros(len(x), x.dtype)
    wild = np.flatnonzero(~((totals > _LOW) & (totals < _HIGH)))
    if len(wild):
        rows = x[wild]
        tops = max(rows, axis=1)
        shifts[wild] = np.where(np.isfinite(tops), tops, x.dtype.type(0))
        totals[wild] = row_sums(exp(rows - shifts[wild, None]))
    return shifts, totals, log(totals)


def accept(x: Array) -> None:
    """Do nothing: infinities and NaN are as good as other numbers here."""


def context(k: Array, v: Array) -> Context:
    """Make the context of k and v (B, G, S, D), unchanged."""
    return Context(k, v)


def empty(batch: int, groups: int, places: int, width: int, dtype: npt.DTypeLike = np.float32) -> Context:
    """Return a context of so many sequences, groups of heads, places and channels, all of them zeros."""
    return Context(*np.zeros((2, batch, groups, places, width), dtype))


def append(kept: Context, k: Array, v: Array, before: Array, after: Array) -> None:
    """Put k and v (B, G, T, D) at the places ``before`` to ``after`` (B,) of a context."""
    kept.write(before, after, context(k, v))


def powers(scores: Array, shifts: Array) -> None:
    """e^(scores - shifts), in place."""
    scores -= shifts
    exp(scores, scores)


def weigh(scores: Array) -> tuple[Array, Array]:
    """Turn scores (..., keys) into weights, in place; return their sums and the log-sum-exp of the scores, (..., 1).

    Where all scores are small no maxima are subtracted. Every row sees key 0.
    """
    mild = scores.size and scores.max() <= _MILD and scores[..., 0].min() >= -_MILD
    shifts = np.zeros((), scores.dtype) if mild else max(scores, axis=-1, keepdims=True)
    if not mild:
        scores -= shifts
    exp(scores, scores)
    totals = matmul(scores, np.ones((scores.shape[-1], 1), scores.dtype))
    return totals, log(totals) + shifts


def mix(weights: Array, totals: Array, seen: Context, last: Array) -> Array:  # noqa: ARG001 - exact arithmetic has use for them
    """Multiply weights (b, g, R rows, keys) and the values of the keys (b, g, keys, D)."""
    return matmul(weights, seen.values[..., : weights.shape[-1], :])


def pull(p: Array, dp: Array) -> None:
    """Turn the gradient of weights p (..., keys) into that of the scores, in place, as `mixing.pull`."""
    pull_with(row_sums, dp, p)
