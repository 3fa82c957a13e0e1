"""Sums over shards: the mean of arrays that may be in several processes, exact, so that their order does not matter.

A batch is cut into n shards, and a step needs the mean of their gradients. float32 sums depend on their order; these do not:

    e    =  the least integer with |x| < 2**e for the element's values x in all n shards
    sum  =  each x rounded to a multiple of 2**(e - bits), added in float64        bits = 51 - ceil(log2 n)
    mean =  sum / n, rounded to float32

The sum is at most 2**51 multiples, so no partial sum is rounded, whatever the order and the grouping: in one process, or in
parts by MPI (`grid`). Every element has a grid of its own. Processes exchange the largest exponents first, a byte for each
element (`largest_exponents`), then sums in float64 (`grid_sum`).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from samebits.core import compiled
from samebits.core.arithmetic import Float32, Float64, Int64
from samebits.core.blocks import block_elements, narrow
from samebits.core.compiled import pair
from samebits.core.grid import grid_constants

__all__ = ["LARGEST", "grid_sum", "largest_exponents", "mean_of_shards", "rounded_mean"]

UInt8 = npt.NDArray[np.uint8]

LARGEST = 2**20
"""The largest number of shards: grids are at least 31 bits deep, more than the 24 digits of float32."""

_BIAS = np.int64(-126)  # of the exponent field of float32: |x| < 2**(field - 126), also where x is subnormal
_FIELDS = np.arange(256)
_NOT_FINITE = 255


def mean_of_shards(parts: Sequence[Float32]) -> Float32:
    """The mean of arrays of one shape, each element for itself. The mean of one array is that array.

    Its distance from the true mean is at most 2**(2 ceil(log2 n) - 52) of the element's largest magnitude in the n arrays,
    and the last rounding. For two arrays it is their true mean, rounded once.

    Args:
        parts: n float32 arrays of one shape, in any order.

    Returns:
        float32 of that shape.

    Raises:
        FloatingPointError: A number is not finite; without a message.
        ValueError: There are no arrays, or more than LARGEST.

    Example:
        >>> parts = [np.array([x, 3.0], np.float32) for x in (2.0**30, 1.0, -(2.0**30), 1.0)]
        >>> mean_of_shards(parts)  # float32 sums in this order would have 0.25
        array([0.5, 3. ], dtype=float32)
    """
    count = len(parts)
    _require_count(count)
    if count == 1:
        return parts[0]
    flat = [_flat(part) for part in parts]
    result, step = np.empty(flat[0].size, np.float32), block_elements()
    for start in range(0, result.size, step):
        block = [part[start : start + step] for part in flat]
        result[start : start + step] = rounded_mean(grid_sum(block, largest_exponents(block), count), count)
    return result.reshape(parts[0].shape)


def largest_exponents(parts: Sequence[Float32]) -> UInt8:
    """The largest exponent field of each element in float32 arrays of one shape, uint8; 255 where a number is not finite.

    Example:
        >>> largest_exponents([np.array([0, 1, np.inf], np.float32), np.array([0, 4, 1], np.float32)])
        array([  0, 129, 255], dtype=uint8)
    """
    largest = np.zeros(parts[0].size, np.uint8)
    for part in parts:
        compiled.call(_raise_exponents, [largest], [_flat(part)], [])
    return largest.reshape(parts[0].shape)


@pair("raise_exponents", "B f")
def _raise_exponents(exponents: UInt8, x: Float32) -> None:
    fields = x.view(np.uint32) >> np.uint32(23)
    np.maximum(exponents, fields.astype(np.uint8), out=exponents)  # the sign is cut off


def grid_sum(parts: Sequence[Float32], exponents: UInt8, count: int) -> Float64:
    """The exact sum of some of the shards on the grids of all; sums of other shards may be added to it, in any order.

    Args:
        parts: float32 arrays of one shape, of some of the shards.
        exponents: The largest exponents of all shards, from `largest_exponents`.
        count: The number of all shards.

    Returns:
        float64 of that shape.

    Raises:
        FloatingPointError: A number is not finite; without a message.
        ValueError: ``count`` is below 1 or above LARGEST.

    Example:
        >>> x = np.array([1 / 3], np.float32)
        >>> grid_sum([x, x], largest_exponents([x]), 3)
        array([0.66666669])
    """
    _require_count(count)
    if exponents.size and exponents.max() == _NOT_FINITE:
        raise FloatingPointError
    total, fields = np.zeros(exponents.size), exponents.reshape(-1)
    bits = compiled.integers(51 - (count - 1).bit_length())
    for part in parts:
        compiled.call(_add_on_grids, [total], [_flat(part), fields], [bits])
    return total.reshape(exponents.shape)


@pair("add_on_grids", "d f B q")
def _add_on_grids(total: Float64, x: Float32, exponents: UInt8, bits: Int64) -> None:
    table, step = grid_constants(_FIELDS + _BIAS, int(bits[0])), block_elements()
    scratch = np.empty((2, min(step, total.size)))
    for start in range(0, total.size, step):
        part = slice(start, start + step)
        constants, rounded = scratch[:, : total[part].size]
        np.take(table, exponents[part], out=constants, mode="clip")  # no mode is as quick
        np.add(x[part], constants, out=rounded)
        rounded -= constants
        total[part] += rounded


def rounded_mean(total: Float64, count: int) -> Float32:
    """The sum of all shards divided by their number, rounded to float32.

    Example:
        >>> rounded_mean(np.array([1.0]), 3)
        array([0.33333334], dtype=float32)
    """
    mean = np.empty(total.shape, np.float32)
    compiled.call(_rounded_mean, [mean.reshape(-1)], [total.reshape(-1)], [np.array([count], np.float64)])
    return mean


@pair("rounded_mean", "f d d")
def _rounded_mean(mean: Float32, total: Float64, count: Float64) -> None:
    narrow(total / count, mean)


def _flat(x: Float32) -> Float32:
    return np.ascontiguousarray(x).reshape(-1)


def _require_count(count: int) -> None:
    if not 1 <= count <= LARGEST:
        raise ValueError(f"the number of shards must be from 1 to {LARGEST}, got {count}")
