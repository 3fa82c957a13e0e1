"""Products of 16-bit integers: exact sums in int32, of operands with 15 bits.

    the K axis in chunks of 256        x = q 2^(e - 15) in each chunk of a row or a column, q an integer below 2^15
    sum(q q') in int32        result = the sum over chunks, in order, of sum(q q') 2^(e + e' - 30)

e is that of `grid`: the least integer with S (1 + 2^-11) < 4^e, where S is the sum of the squares of the vector's chunk. So a
chunk of x has a norm below 2^e (1 - 2^-12), each |q| is below 2^15 (1 - 2^-12) + 1/2 < 32768, and by Cauchy-Schwarz

    |sum(q q')| <= |q| |q'| < (2^15 (1 - 2^-12) + sqrt(256) / 2)^2 = (2^15)^2

which is below 2^31: int32 holds every partial sum in any order, and so does float64, in which the NumPy version computes.
A chunk's sum is rounded to float64 when chunks are added, and the result once more to float32.

All else is as in exact arithmetic. Here rounding changes an element of a chunk by about 2^-15 of the chunk's norm at most, a chunk
about as rounding to TF32 does: an element of a result is less than 2^-14 (1 + 2^-9) sqrt(min(K, 256)) |row| |column| from the true
one, typically 3e-4 of it.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from samebits.core import compiled, grid, linalg
from samebits.core.arithmetic import Float32, Float64, Int64
from samebits.core.blocks import aligned, store
from samebits.core.compiled import pair
from samebits.core.linalg import Prepared
from samebits.core.mixing import power_of_two
from samebits.core.nonfinite import require_finite

Array = npt.NDArray[Any]
Int16 = npt.NDArray[np.int16]

CHUNK = 256
"""The elements of a row or a column that have one exponent."""
BITS = 15
WIDTH = 16
"""The columns of a panel."""

_HALF = np.array(1.5 * 2.0**52)  # adding and subtracting it rounds to integers
_ZERO = np.array(0, np.float32)
_FEW_ROWS = 4
_GROUP = 48  # rows that the compiled version multiplies together


def chunks(length: int) -> list[slice]:
    """Cut an axis into chunks.

    Example:
        >>> chunks(300)
        [slice(0, 256, None), slice(256, 300, None)]
    """
    return [slice(start, min(start + CHUNK, length)) for start in range(0, length, CHUNK)]


# Operands


@dataclass(frozen=True, eq=False)
class Panels(Prepared):
    """A right operand (K, n) as integers: ``values`` (panels, K / 2, 16, 2) int16 in panels of 16 columns, two rows together.

    ``scales`` (chunks, 16 panels) float64 are 2^(e - 15). What is beyond K and n is padding.
    """

    values: Any
    scales: Float64
    sizes: tuple[int, int]

    @property
    def shape(self) -> tuple[int, ...]:
        """(K, n)."""
        return self.sizes

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return int(self.values.nbytes + self.scales.nbytes)


def as_integers(x: Float32 | Float64) -> tuple[Float64, Float64]:
    """The q of the rows of x (rows, K), as float64, and their scales (rows, chunks)."""
    wide = np.array(x, np.float64, order="C")
    scales = np.empty((len(x), len(chunks(x.shape[1]))))
    if not x.size:
        return wide, scales
    for i, chunk in enumerate(chunks(x.shape[1])):
        part = wide[:, chunk]
        exponents = grid.exponents(part[None], -1)[0]
        scales[:, i] = power_of_two(exponents[:, 0] - np.int64(BITS))
        part *= power_of_two(np.int64(BITS) - exponents)
    wide += _HALF
    wide -= _HALF
    return wide, scales


def operand(x: Float32 | Float64, axis: Literal[-2, -1] = -1) -> Float64:
    """Round the rows of x (..., rows, K), or with axis -2 the columns of x (..., K, columns), to 15 bits in each chunk.

    Raises FloatingPointError, without a message, if x is not finite.
    """
    whole = x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])
    if x.shape[axis] <= CHUNK:
        return grid.grid_vectors(whole, axis, BITS).reshape(x.shape)
    parts = [
        grid.grid_vectors(whole[:, chunk] if axis == -2 else whole[..., chunk], axis, BITS) for chunk in chunks(x.shape[axis])
    ]
    return np.concatenate(parts, axis).reshape(x.shape)


def multiply(a: Float64, b: Float64) -> Float64:
    """Multiply rounded operands (..., m, K) and (..., K, n), chunk by chunk; exactly where there is one."""
    first, *rest = chunks(a.shape[-1])
    result: Float64 = np.matmul(a[..., first], b[..., first, :])
    for chunk in rest:
        result += np.matmul(a[..., chunk], b[..., chunk, :])
    return result


def prepare(b: npt.ArrayLike, /) -> Panels:
    """Round a right operand (K, n) once, for many products; see `linalg.prepare`."""
    return linalg.prepare_by(compact, b)


def compact(b: Float32, /) -> Panels:
    """Do as `prepare`; FloatingPointError has no message."""
    (length, columns), panels = b.shape, -(-b.shape[1] // WIDTH)
    values = aligned((panels, -(-length // 2), WIDTH, 2), np.int16)
    scales = np.empty((len(chunks(length)), panels * WIDTH))
    sizes = compiled.integers(length, columns)
    by_columns = abs(b.strides[0]) > abs(b.strides[1])
    function = _pack_columns if by_columns else _pack
    compiled.call(function, [values, scales], [b if by_columns else b.T], [sizes], (panels, length * WIDTH))
    return Panels(values, scales, (length, columns))


@pair("pack16", "h d f q")
def _pack(values: Int16, scales: Float64, b: Float32, _: Int64) -> None:
    """b has the columns as its rows (n, K)."""
    n, length = b.shape
    integers, found = as_integers(b)
    scales[...] = 1.0
    scales[:, :n] = found.T
    padded = np.zeros((scales.shape[1], values.shape[1] * 2), np.int16)
    padded[:n, :length] = integers
    values[...] = padded.reshape(len(values), WIDTH, values.shape[1], 2).swapaxes(1, 2)


@pair("pack16_columns", "h d f q")
def _pack_columns(values: Int16, scales: Float64, b: Float32, sizes: Int64) -> None:
    _pack(values, scales, b.T, sizes)


def _unpacked(b: Panels) -> Float64:
    """The integers (K, n), as float64."""
    panels, pairs = b.values.shape[:2]
    columns = b.values.swapaxes(1, 2).reshape(panels * WIDTH, pairs * 2).astype(np.float64)
    integers: Float64 = columns[: b.shape[1], : b.shape[0]].T
    return integers


# Products


def matmul(a: npt.ArrayLike, b: npt.ArrayLike | Prepared, /, out: Float32 | None = None) -> Float32:
    """The matrix product; shapes and errors are those of `linalg.matmul`, the rounding is that of this module."""
    return linalg.matmul_by(_multiply, a, b, out)


def linear(a: Float32, b: Float32 | Prepared, bias: Float32 | None = None, /) -> Float32:
    """Multiply a (rows, K) and b (K, n), and add the bias (n,); FloatingPointError has no message."""
    result = aligned((len(a), b.shape[1]), np.float32)
    if result.size and a.size:
        _multiply(a, b, result, bias)
    else:
        linalg.linear_by(_multiply, a, b, bias, result)
    return result


def dot(a: npt.ArrayLike, b: npt.ArrayLike, /) -> Float32:
    """The product with np.dot's shapes; see `linalg.dot`."""
    return linalg.dot_by(_multiply, a, b)


def vecdot(a: npt.ArrayLike, b: npt.ArrayLike, /, axis: int = -1) -> Float32:
    """The products of vectors; see `linalg.vecdot`."""
    return linalg.vecdot_by(operand, multiply, a, b, axis)


def _multiply(a: Float32, b: Float32 | Prepared, result: Float32, bias: Float32 | None = None) -> None:
    """Fill the C-ordered result."""
    a = a if a.ndim > 1 else a[None]
    if isinstance(b, Prepared) or math.prod(b.shape[:-2]) == 1:  # one matrix serves every batch
        if not isinstance(b, Prepared):
            b = compact(b[:, None] if b.ndim == 1 else b.reshape(b.shape[-2:]))
        if not isinstance(b, Panels):
            raise TypeError(f"matmul: b must be prepared in int16 arithmetic, as it is active, got {b.values.dtype} values")
        _multiply_matrix(a if a.ndim == 2 else a.reshape(-1, a.shape[-1]), b, result, bias)
        return
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = [np.broadcast_to(x, batch + x.shape[-2:]).reshape(-1, *x.shape[-2:]) for x in (a, b)]
    results = result.reshape(len(a), a.shape[1], b.shape[2])
    for left, right, part in zip(a, b, results, strict=True):
        _multiply_matrix(left, compact(right), part, bias)


def _multiply_matrix(a: Float32, b: Panels, result: Float32, bias: Float32 | None) -> None:
    rows, length = a.shape
    shared = [b.values, b.scales, compiled.integers(rows, *b.shape)]
    if bias is not None:
        shared.insert(0, bias)
    if rows <= _FEW_ROWS:  # the panels are shared among threads
        compiled.call(_multiply_few, [result], [a], shared, (len(b.values), rows * length * WIDTH))
        return
    by_columns = bias is None and abs(a.strides[0]) < abs(a.strides[1])
    function = _multiply_panels_columns if by_columns else _multiply_panels
    compiled.call(function, [result], [a.T if by_columns else a], shared, (rows, length * b.shape[1]), group=_GROUP)


@pair("multiply16", "f f h d q")
@pair("multiply16_add", "f f f h d q")
def _multiply_panels(result: Float32, a: Float32, *shared: Any) -> None:
    *bias, values, scales, sizes = shared
    for one in bias:
        require_finite(one)
    rows, length, columns = map(int, sizes)
    right = _unpacked(Panels(values, scales, (length, columns)))
    left, found = as_integers(a)
    total = np.zeros((rows, columns))
    for i, chunk in enumerate(chunks(length)):
        total += np.matmul(left[:, chunk], right[chunk]) * (found[:, i, None] * scales[i, :columns])
    store(total, result.reshape(rows, columns))
    result += _ZERO
    for one in bias:
        result += one


@pair("multiply16_few", "f f h d q")
@pair("multiply16_few_add", "f f f h d q")
def _multiply_few(result: Float32, a: Float32, *shared: Any) -> None:
    _multiply_panels(result, a, *shared)


@pair("multiply16_columns", "f f h d q")
def _multiply_panels_columns(result: Float32, a: Float32, *shared: Any) -> None:
    _multiply_panels(result, a.T, *shared)
