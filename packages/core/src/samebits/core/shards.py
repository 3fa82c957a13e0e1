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

from samebits.core.arithmetic import Float32, Float64
from samebits.core.blocks import block_elements, narrow
from samebits.core.grid import grid_constants

__all__ = ["LARGEST", "grid_sum", "largest_exponents", "mean_of_shards", "rounded_mean"]

UInt8 = npt.NDArray[np.uint8]

LARGEST = 2**20
"""The largest number of shards: grids are at least 31 bits deep, more than the 24 digits of float32."""

_BIAS = np.int64(-126)  # of the exponent field of float32: |x| < 2**(field - 126), also where x is subnormal
_FIELDS = np.arange(256)
_MAGNITUDE = np.uint32(0x7FFF_FFFF)
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
    flat = [np.ascontiguousarray(part).reshape(-1) for part in parts]
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
    largest = np.zeros(parts[0].shape, np.uint32)
    for part in parts:
        np.maximum(largest, np.ascontiguousarray(part).view(np.uint32) & _MAGNITUDE, out=largest)
    return (largest >> np.uint32(23)).astype(np.uint8)


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
    table = grid_constants(_FIELDS + _BIAS, 51 - (count - 1).bit_length())
    total = np.zeros(exponents.size)
    flat = [np.ascontiguousarray(part).reshape(-1) for part in parts]
    fields, step = exponents.reshape(-1), block_elements()
    scratch = np.empty((2, min(step, total.size)))
    for start in range(0, total.size if flat else 0, step):
        block = total[start : start + step]
        constants, rounded = scratch[:, : block.size]
        np.take(table, fields[start : start + step], out=constants, mode="clip")  # no mode is as quick
        np.add(flat[0][start : start + step], constants, out=block)
        block -= constants
        for part in flat[1:]:
            np.add(part[start : start + step], constants, out=rounded)
            rounded -= constants
            block += rounded
    return total.reshape(exponents.shape)


def rounded_mean(total: Float64, count: int) -> Float32:
    """The sum of all shards divided by their number, rounded to float32.

    Example:
        >>> rounded_mean(np.array([1.0]), 3)
        array([0.33333334], dtype=float32)
    """
    return narrow(total / count, np.empty(total.shape, np.float32))


def _require_count(count: int) -> None:
    if not 1 <= count <= LARGEST:
        raise ValueError(f"the number of shards must be from 1 to {LARGEST}, got {count}")
