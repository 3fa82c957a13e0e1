"""Weighted sums of values, as in attention: exact in any order.

Row t mixes values v_j with the weights e^(s_tj - max s_t) over the keys j that it sees. With w these weights, L their sum
and v_j = 2^(e_j) u_j, all |u_j| < 1,

    L    is summed from w on multiples of 2^-36: exact in any order, and the 0 of a masked key changes nothing
    w v  is the product of w_j 2^(e_j), on a grid chosen by L and the largest e the row sees, with u_j on 2^-24

Every partial sum of that product is a whole number of its units below 2^53, so a float64 GEMM makes no rounding error.
How key j and value j are rounded depends on key j and value j alone, so a cache keeps them rounded: a `Context`. Rows
do not influence each other, and keys that a row does not see change nothing.
"""

# ruff: noqa: PLR0917 - the arguments of kernels are positional

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core import compiled, exponential, logarithm
from samebits.core.arithmetic import Float32, Float64, Int64
from samebits.core.grid import grid_constants
from samebits.core.linalg import multiply, operand
from samebits.core.nonfinite import require_finite
from samebits.core.summation import row_sums

__all__ = ["MOST_KEYS", "Context"]

Array = npt.NDArray[Any]

MOST_KEYS = 2**17
"""As many weights on multiples of 2^-36 as can be summed exactly."""

_WEIGHT_BITS = 29  # of the grid of weights; values have 24
_MARGIN = np.array(1 + 2.0**-9)  # more than rounding adds to a sum of weights
_WEIGHT_STEP = np.array(1.5 * 2.0**16)  # adding and subtracting it rounds to multiples of 2^-36
_VALUE_STEP = np.array(1.5 * 2.0**28)  # and this one to multiples of 2^-24
_LEAST_SCORE = np.array(-700.0)  # for masked keys, and for scores so far below the maximum: e^-700 is 0 on the grid
_LEAST_EXPONENT = np.array(-150)  # that of a value of zeros


@dataclass(frozen=True, eq=False)
class Context:
    """Keys and values as `Numerics.mixing` takes them, in the working dtype: (B, G, S, D), sizes and peaks (B, G, S).

    In exact arithmetic keys are on their grids, values are the u of v = 2^e u on multiples of 2^-24, ``sizes`` is 2^e and
    ``peaks`` is the largest e so far. In fast arithmetic keys and values are unchanged, and there is no more.

    Example:
        >>> seen = context(np.ones((1, 1, 2, 1), np.float32), np.array([6, -40], np.float32).reshape(1, 1, 2, 1))
        >>> seen.values.reshape(2), seen.sizes, seen.peaks
        (array([ 0.75 , -0.625]), array([[[ 8., 64.]]]), array([[[3, 6]]]))
    """

    keys: Array
    values: Array
    sizes: Array | None = None
    peaks: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(B, G, S, D)."""
        return self.keys.shape

    @property
    def arrays(self) -> list[Array]:
        """The arrays that there are, in the order of the fields."""
        return [x for x in (self.keys, self.values, self.sizes, self.peaks) if x is not None]

    def __getitem__(self, index: Any) -> "Context":
        """Index every array; the index must not name the last axis."""
        return Context(*[x[index] for x in self.arrays])

    def part(self, start: int, stop: int) -> list[Array]:
        """Views of all arrays at the places ``start`` to ``stop``."""
        return [x[:, :, start:stop] for x in self.arrays]

    def zeros(self, places: int) -> "Context":
        """Return a context of the same kind and sizes, with so many places, all of them zeros."""
        return Context(*[np.zeros((*x.shape[:2], places, *x.shape[3:]), x.dtype) for x in self.arrays])

    def write(self, before: Int64, after: Int64, new: "Context") -> None:
        """Put the first of ``new`` at the places ``before`` to ``after`` (B,) of each sequence; those before must be written."""
        for sequence, (start, stop) in enumerate(zip(before.tolist(), after.tolist(), strict=True)):
            for x, given in zip(self.arrays, new.arrays, strict=True):
                x[sequence, :, start:stop] = given[sequence, :, : stop - start]
            if self.peaks is not None and start:
                part = self.peaks[sequence, :, start:stop]
                np.maximum(part, self.peaks[sequence, :, start - 1 : start], out=part)


def context(k: Float32, v: Float32) -> Context:
    """Make the context of k and v (B, G, S, D). FloatingPointError, without a message, if one is not finite."""
    values, exponents = np.empty(v.shape), np.empty(v.shape[:-1], np.int64)
    compiled.call(_split, [values, exponents], [v], [], _rows(v))
    return Context(operand(k), values, power_of_two(exponents), np.maximum.accumulate(exponents, axis=-1))


def empty(batch: int, groups: int, places: int, width: int, dtype: npt.DTypeLike = np.float32) -> Context:
    """Return a context of so many sequences, groups of heads, places and channels, all of them zeros."""
    token = np.zeros((batch, groups, 1, width), dtype)
    return context(token, token).zeros(places)


def append(kept: Context, k: Float32, v: Float32, before: Int64, after: Int64) -> None:
    """Put the context of k and v (B, G, T, D) at the places ``before`` to ``after`` (B,) of a context that is C-contiguous.

    FloatingPointError, without a message, if one is not finite; places from ``before`` on are then undefined.
    """
    batch, groups, time, width = k.shape
    sizes = compiled.integers(groups, time, width, kept.shape[2])
    compiled.call(_append, kept.arrays, [k, v], [before, after, sizes], (batch * groups, time * width))


@compiled.pair("attention_append", "d d d q f f q q q")
def _append(
    keys: Float64, values: Float64, sizes: Float64, peaks: Int64, k: Float32, v: Float32, before: Int64, after: Int64, _: Int64
) -> None:
    Context(keys, values, sizes, peaks).write(before, after, context(k, v))


@compiled.pair("attention_values", "d q f")
def _split(values: Float64, exponents: Int64, v: Float32) -> None:
    """v = 2^e u, with u on multiples of 2^-24 and |u| < 1."""
    exponents[...] = exponents_above(largest(v))
    np.multiply(v, power_of_two(-exponents)[..., None], out=values)
    values += _VALUE_STEP
    values -= _VALUE_STEP


def powers(scores: Float64, shifts: Float64) -> None:
    """e^(scores - shifts), in place."""
    compiled.call(_powers, [scores], [shifts], [], _rows(scores))


@compiled.pair("attention_powers", "d d")
def _powers(scores: Float64, shifts: Float64) -> None:
    scores -= shifts
    np.maximum(scores, _LEAST_SCORE, out=scores)
    exponential.exp_short(scores, scores)


def weigh(scores: Float64) -> tuple[Float64, Float64]:
    """Turn scores (..., keys) into weights, in place; return their sums and the log-sum-exp of the scores, (..., 1)."""
    totals, logs = np.empty((2, *scores.shape[:-1], 1))
    compiled.call(_weigh, [scores, totals, logs], [], [], _rows(scores))
    return totals, logs


@compiled.pair("attention_weights", "d d d")
def _weigh(scores: Float64, totals: Float64, logs: Float64) -> None:
    shifts = np.maximum.reduce(scores, axis=-1, keepdims=True)
    powers(scores, shifts)
    scores += _WEIGHT_STEP
    scores -= _WEIGHT_STEP
    totals[...] = multiply(scores, np.ones((scores.shape[-1], 1)))
    logarithm.log(totals, logs)
    logs += shifts


def _rows(scores: Float32 | Float64) -> tuple[int, int]:
    """How many rows there are, and how long."""
    keys = scores.shape[-1]
    return scores.size // max(1, keys), keys


def mix(weights: Float64, totals: Float64, seen: Context, last: Int64) -> Float64:
    """Multiply weights (b, g, R rows, keys) and the values of the keys (b, g, keys, D).

    Args:
        weights: Weights of `weigh`, some of them perhaps set to 0. They are overwritten.
        totals: Their sums as `weigh` returned them, (b, g, R rows, 1).
        seen: The context, of at least as many keys.
        last: The last key that a row sees, (b or 1, rows).
    """
    keys = weights.shape[-1]
    sizes: Any = seen.sizes
    peaks: Any = seen.peaks
    shape = compiled.integers(*weights.shape[:3], last.shape[1], len(last))
    compiled.call(_grid_weights, [weights], [totals], [sizes[..., :keys], peaks[..., :keys], last, shape], _rows(weights))
    return multiply(weights, seen.values[..., :keys, :])


@compiled.pair("attention_grids", "d d d q q q")
def _grid_weights(weights: Float64, totals: Float64, sizes: Float64, peaks: Int64, last: Int64, _: Int64) -> None:
    """w 2^e, each row on a grid chosen by the sum of its weights and the largest e it sees."""
    weights *= sizes[..., None, :]
    exponents = ((totals * _MARGIN).view(np.int64) >> np.int64(52)) - np.int64(1022)  # the sum is below 2^e, gridded too
    peaks = np.take_along_axis(peaks, last[:, None], axis=-1)  # (b, g, rows)
    exponents = exponents.reshape(*peaks.shape[:2], -1, peaks.shape[2]) + peaks[:, :, None]
    constants = grid_constants(exponents.reshape(totals.shape), _WEIGHT_BITS)
    weights += constants
    weights -= constants


def pull(p: Float64, dp: Float64) -> None:
    """Turn the gradient of weights p (..., keys) into that of the scores, p (dp - sum(p dp)), in place.

    dp is taken relative to its value at the largest weight, which changes nothing, so that no digits are lost where that is
    near 1. The result of `attention` is rounded, and would not do.
    """
    compiled.call(_pull, [dp], [p], [], _rows(p))


@compiled.pair("attention_pull", "d d")
def _pull(dp: Float64, p: Float64) -> None:
    pull_with(row_sums, dp, p)


def pull_with(row_sums: Callable[[Array], Array], dp: Array, p: Array) -> None:
    """`pull`, with the row sums of an arithmetic."""
    p, dp = [x.reshape(-1, x.shape[-1]) for x in (p, dp)]
    dp -= dp[np.arange(len(p), dtype=np.int64), np.argmax(p, axis=-1)][:, None]
    dp -= row_sums(p * dp)[:, None]
    dp *= p


def exp_sums(x: Float64) -> tuple[Float64, Float64, Float64]:
    """Sum e^(x - shift) over each row of x (rows, columns), its shift being its maximum, or 0 where that is not finite.

    Returns:
        The shifts, the sums, and their logarithms. A sum is 1, the power of the maximum, and the rest; its logarithm is
        log1p(rest), which keeps the digits of a rest that is tiny.
    """
    tops = np.argmax(x, axis=1)
    here = np.arange(len(x), dtype=np.int64), tops
    shifts = np.where(np.isfinite(x[here]), x[here], 0.0)
    powers = np.empty_like(x)
    exponential.exp_short(x - shifts[:, None], powers)
    own = powers[here]
    powers[here] = 0.0
    rests = row_sums(powers)
    logs = np.empty_like(rests)
    logarithm.log1p(np.where(own == 1, rests, rests + own - 1), logs)
    return shifts, rests + own, logs


def largest(v: Float32) -> Float64:
    """Return the largest |v| of each row (..., n). FloatingPointError, without a message, if one is not finite."""
    top: Float64 = np.maximum(np.maximum.reduce(v, axis=-1, initial=0), -np.minimum.reduce(v, axis=-1, initial=0)).astype(
        np.float64
    )
    require_finite(top)
    return top


def exponents_above(sizes: Float64) -> Int64:
    """Return the least e with size < 2^e, at least -150, for each size."""
    exponents: Int64 = np.maximum((sizes.view(np.int64) >> np.int64(52)) - np.int64(1022), _LEAST_EXPONENT)
    return exponents


def power_of_two(exponents: Int64) -> Float64:
    """Return 2^e for each e, from its bits."""
    return ((exponents + np.int64(1023)) << np.int64(52)).view(np.float64)
