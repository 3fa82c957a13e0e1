"""Grids: float64 values rounded to multiples of a power of two, whose sums are exact.

A sum of multiples of one power of two is exact in float64, in any order, as long as no partial sum passes 2**53
multiples. For |x| < 2**e, two additions round x to a multiple of 2**(e - bits), ties to even:

    M = 1.5 * 2**(52 + e - bits)        (x + M) - M

`grid_vectors` puts whole rows or columns on a grid chosen by their 2-norm. `linalg` and `mixing` keep their sums within
the bound of 2**53.
"""

import math
import threading
from typing import Literal

import numpy as np

from samebits.core import blocks, compiled
from samebits.core.arithmetic import Float32, Float64, Int64
from samebits.core.blocks import block_elements, narrow
from samebits.core.compiled import pair
from samebits.core.nonfinite import require_finite

Role = Literal["left", "right", "product", "part"]

LONGEST = 2**28  # elements of a vector that `grid_vectors` takes

_ZERO = np.array(0, np.float32)
_STRIP = 256  # columns that threads take together
MARGIN = np.float64(1 + 2**-11)
_UNSURE = np.int64(2**30)  # units in the last place: between 2**-23 and 2**-22 of the value


class _Buffers(threading.local):
    """Buffers that a thread reuses: new memory costs a page fault every 4 KiB, more than the arithmetic on it."""

    def __init__(self) -> None:
        self.kept: dict[Role, Float64] = {}

    def take(self, role: Role, shape: tuple[int, ...]) -> Float64:
        """Return an array of that shape with any content; it is valid until the next one of that role is taken."""
        size = math.prod(shape)
        if size * 8 > blocks.PRODUCT_BYTES:
            return np.empty(shape)
        if role not in self.kept or self.kept[role].size < size:
            self.kept[role] = np.empty(size)
        return self.kept[role][:size].reshape(shape)


BUFFERS = _Buffers()


def rounded(values: Float64 | Float32, out: Float32 | None = None) -> Float32:
    """Round to float32, with positive zeros and no NaN but 0x7fc00000. It may overflow: call it under np.errstate."""
    result = narrow(values, np.empty(np.shape(values), np.float32) if out is None else out)
    result += _ZERO
    return result


def grid_constants(exponents: Int64, bits: int) -> Float64:
    """Return M = 1.5 * 2**(52 + e - bits) for each e, -900 <= e <= 900, from its bits, which is faster than ldexp."""
    biased = exponents + np.int64(1023 + 52 - bits)
    return ((biased << np.int64(52)) | np.int64(2**51)).view(np.float64)


def grid_vectors(x: Float32 | Float64, axis: Literal[-2, -1], bits: int, role: Role | None = None) -> Float64:
    """Put each vector along `axis` of x (batches, rows, columns) on a grid of its own, multiples of 2**(e - bits).

    e is the least integer with S * (1 + 2**-11) < 4**e, where S is the sum of the vector's squares, rounded once.

    The norm of the gridded vector is at most 2**e, for up to LONGEST elements and bits >= 26: before, it is below
    2**e * (1 - 2**-13); moving each element by at most 2**(e - 27) adds at most 2**14 * 2**(e - 27).

    e does not depend on the order of the elements. The squares of float32 numbers are exact in float64 (others are rounded
    once), and a sum of them in any order is less than 2**-24 of S off. So unless it comes within 2**-22 of where e changes, it gives the right e, whatever
    order BLAS took; there (one vector in a million) math.fsum rounds the true sum once.

    Returns float64 of the same shape, with the rows or the columns contiguous as in x: a buffer of that `role`, or new.
    Raises FloatingPointError, without a message, if x is not finite; `refuse_non_finite` has the message.
    """
    if abs(x.strides[-2]) < abs(x.strides[-1]):
        return grid_vectors(x.swapaxes(-1, -2), -2 if axis == -1 else -1, bits, role).swapaxes(-1, -2)
    values = BUFFERS.take(role, x.shape) if role else np.empty(x.shape)
    batches, rows, columns = x.shape
    if values.size and axis == -1:
        compiled.call(_grid_rows, [values], [x], [compiled.integers(bits)], (batches * rows, columns))
    elif values.size:
        strips = batches * -(-columns // _STRIP)
        compiled.call(_grid_columns, [values], [x], [compiled.integers(rows, columns, bits)], (strips, rows * _STRIP))
    return values


@pair("grid_rows", "d f q")
@pair("grid_rows_float64", "d d q")
def _grid_rows(values: Float64, x: Float32 | Float64, bits: Int64) -> None:
    np.copyto(values, x)
    _put_on_grids(values.reshape(1, -1, values.shape[-1]), -1, int(bits[0]))


@pair("grid_columns", "d f q")
@pair("grid_columns_float64", "d d q")
def _grid_columns(values: Float64, x: Float32 | Float64, sizes: Int64) -> None:
    np.copyto(values, x)
    _put_on_grids(values, -2, int(sizes[2]))


def exponents(matrices: Float64, axis: Literal[-2, -1]) -> Int64:
    """Find the e of `grid_vectors` for each vector along ``axis`` of (batches, rows, columns); it keeps length 1."""
    parts = _parts(matrices.shape)
    return _checked_exponents(matrices, axis, parts, BUFFERS.take("part", matrices[parts[0]].shape))


def _put_on_grids(matrices: Float64, axis: Literal[-2, -1], bits: int) -> None:
    """Put the rows or the columns of (batches, rows, columns) on grids, in place."""
    parts = _parts(matrices.shape)
    scratch = BUFFERS.take("part", matrices[parts[0]].shape)  # no later part is larger
    constants = grid_constants(_checked_exponents(matrices, axis, parts, scratch), bits)
    for batch, row in parts:
        block = matrices[batch, row]
        # NumPy adds a block filled with the constants twice as fast as it broadcasts them
        filled = scratch[: len(block), : block.shape[1]]
        np.copyto(filled, constants[batch, row] if axis == -1 else constants[batch])
        block += filled
        block -= filled


def _checked_exponents(x: Float64, axis: int, parts: list[tuple[slice, slice]], scratch: Float64) -> Int64:
    """Find the exponents of vectors; FloatingPointError if one is not finite."""
    squares = _squared_norms(x, axis, parts, scratch)
    require_finite(squares)
    return _exponents(squares, x, axis)


def _parts(shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Cut (batches, rows, columns) along its first two axes into blocks that fit the cache, the largest first."""
    batches, rows, columns = shape
    tall = min(rows, max(1, block_elements() // columns))
    deep = min(batches, max(1, block_elements() // (tall * columns)))
    return [
        (slice(batch, batch + deep), slice(row, row + tall)) for batch in range(0, batches, deep) for row in range(0, rows, tall)
    ]


def _squared_norms(x: Float64, axis: int, parts: list[tuple[slice, slice]], scratch: Float64) -> Float64:
    """Sum the squares along `axis`, which keeps length 1, in the order that BLAS chooses."""
    batches, rows, columns = x.shape
    result = np.zeros((batches, rows, 1) if axis == -1 else (batches, 1, columns))
    ones = np.ones((columns, 1) if axis == -1 else (1, rows))
    for batch, row in parts:
        block = x[batch, row]
        squares = np.multiply(block, block, out=scratch[: len(block), : block.shape[1]])
        if axis == -1:
            np.matmul(squares, ones, out=result[batch, row])
        else:
            result[batch] += np.matmul(ones[:, row], squares)
    return result


def _exponents(squares: Float64, x: Float64, axis: int) -> Int64:
    """Find the e of `grid_vectors` for each vector, -511 if it is all zeros."""
    bits = (squares * MARGIN).view(np.int64)
    exponents = _half_exponents(bits - _UNSURE)
    unsure = exponents != _half_exponents(bits + _UNSURE)
    if unsure.any():
        vectors = np.moveaxis(x, axis, -1)[np.moveaxis(unsure, axis, -1)[..., 0]]
        sums = np.array([math.fsum(v.tolist()) for v in vectors * vectors])
        exponents[unsure] = _half_exponents((sums * MARGIN).view(np.int64))
    return exponents


def _half_exponents(bits: Int64) -> Int64:
    """Find the least e with v < 4**e, from the bits of v >= 0: half the exponent field less 1021, rounded down."""
    return (bits - np.int64(1021 << 52)) >> np.int64(53)
