"""Reproducible products of float32 arrays: `matmul`, `dot`, `vecdot`.

Each row of `a` and each column of `b` is rounded to a grid that its 2-norm chooses, 26 bits deep (`grid`). By
Cauchy-Schwarz no partial sum of their products, in any order, is larger than

    |row| |column| <= 2**ea 2**eb = 2**52 units of 2**(ea - 26) 2**(eb - 26)

so a float64 GEMM computes it without any rounding, whatever its kernel, FMA, blocks and threads are. One rounding to
float32 follows. No unit is below 2**-348, so nothing underflows on the way. This holds for every GEMM that adds
products of the operands' elements; Strassen's algorithm, which adds elements before it multiplies, is not covered.

Both operands have grids of the same depth, so a vector is rounded in the same way on either side of a product, and
products are symmetric to the last bit: x x^T is its own transpose, and (a b)^T = b^T a^T.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from samebits.core import blocks, compiled
from samebits.core.arguments import axis_index, check_out, float_array
from samebits.core.arithmetic import Float32, Float64
from samebits.core.compiled import pair
from samebits.core.grid import BUFFERS, LONGEST, Role, grid_vectors
from samebits.core.nonfinite import refuse_non_finite, require_finite

BITS = 26  # of the grids of both operands of a product: 52 together, of the 53 that float64 holds
_PACKED_ROWS = 256  # with fewer rows at a time, GEMM would spend its time packing `b`
_BATCH_BYTES = 2**20  # of matrices that are worked on together: they stay in a core's second-level cache
_FEW_ROWS = 16  # up to so many, a compact `b` is widened part by part, each part while it is in the cache
_ZERO = np.array(0, np.float32)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A right operand of `matmul`, its columns on their grids; made by `prepare` or `compact`.

    >>> isinstance(prepare(np.eye(2, dtype=np.float32)), Prepared)
    True
    """

    values: Float64 | Float32  # (K, n)

    @property
    def shape(self) -> tuple[int, ...]:
        """(K, n)."""
        return self.values.shape

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return int(self.values.nbytes)


P = TypeVar("P", bound=Prepared)
Fill = Callable[[Float32, "Float32 | Prepared", Float32, "Float32 | None"], None]


def prepare(b: ArrayLike, /) -> Prepared:
    """Put a float32 matrix b (K, n) on its grid once, for many products.

    matmul(a, prepare(b)) has the bits of matmul(a, b). It is a float64 copy of b, so later changes of b have no effect.
    Errors are those of `matmul`, and ValueError if b is not a matrix.

    >>> import numpy as np
    >>> weight = prepare(np.eye(2, dtype=np.float32))
    >>> matmul(np.array([[1, 2]], np.float32), weight)
    array([[1., 2.]], dtype=float32)
    """
    return prepare_by(_prepared, b)


def compact(b: Float32, /) -> Prepared | None:
    """Do as `prepare`, in half the memory and in the memory order of b; None in the rare case that float32 cannot hold it.

    A float32 number rounded to multiples of a power of two needs no more bits than before, so nothing is lost, unless
    the largest numbers of float32 are rounded up.
    """
    values = prepare(b).values
    with np.errstate(over="ignore"):
        narrowed = values.astype(np.float32)
    return Prepared(narrowed) if np.isfinite(narrowed).all() else None


def operand(x: Float32 | Float64, axis: Literal[-2, -1] = -1) -> Float64:
    """Put the rows of x (..., rows, K), or with axis -2 the columns of x (..., K, columns), on the grids of `multiply`.

    Raises FloatingPointError, without a message, if x is not finite.
    """
    return grid_vectors(x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:]), axis, BITS).reshape(x.shape)


def multiply(a: Float64, b: Float64) -> Float64:
    """Multiply matrices on grids: exactly, whatever the order of the sums, but for the sign of zeros. Float64."""
    product: Float64 = np.matmul(a, b)
    return product


def matmul(a: ArrayLike, b: ArrayLike | Prepared, /, out: Float32 | None = None) -> Float32:
    """The matrix product of float32 arrays, with np.matmul's rules for shapes.

    a (..., m, K) and b (..., K, n) give (..., m, n), leading axes broadcast; an `a` (K,) counts as one row, a `b` (K,)
    as one column, and the result lacks that axis (vector by vector gives a float32 scalar). `out` is float32, of the
    result's shape; it may overlap a and b.

    An element is the exact product of the gridded row and column, rounded once, then + 0.0 (so zeros are positive).
    It depends on its row and column alone: not on other rows, on how many there are, or on the order of the K terms.
    So matmul(a, b).T has the bits of matmul(b.T, a.T), and matmul(x, x.T) is symmetric. Beyond the float32 range an
    element is inf, as in np.matmul.

    How exact this is: the grid of a vector ends 26 bits below its 2-norm. Elements of at least a third of the norm are
    kept, smaller ones lose digits, and those below 2**-27 of the norm (7e-9) count as zero: dot([1, 1e-9], [0, 1e9]) is
    0. An element of the result is less than 3e-8 * sqrt(K) * |row| * |column| from the true product, before the last
    rounding; |row| * |column| is the largest value that a product of vectors of these norms can have. So where large
    terms cancel, or small elements stand beside large ones, few digits of a small result are right, and matmul(m, np.eye(n))
    is not always m: its small elements have lost the digits below the grid of their row.

    Raises FloatingPointError if a or b has an inf or NaN (with the first index in C order) and the result is not empty,
    TypeError if one is not float32, ValueError if the shapes do not match or K > 2**28. After a FloatingPointError the
    content of `out` is undefined.

    >>> import numpy as np
    >>> a = np.array([[1, 2], [3, 4]], np.float32)
    >>> matmul(a, a)
    array([[ 7., 10.],
           [15., 22.]], dtype=float32)
    """
    return matmul_by(_multiply, a, b, out)


def linear(a: Float32, b: Float32 | Prepared, bias: Float32 | None = None, /) -> Float32:
    """Multiply a (rows, K) and b (K, n), and add the bias (n,): ``matmul(a, b) + bias``, with its two roundings.

    Raises FloatingPointError, without a message, if an argument is not finite; `refuse_non_finite` has the message.

    >>> import numpy as np
    >>> linear(np.ones((1, 2), np.float32), np.eye(2, dtype=np.float32), np.array([0.5, 1], np.float32))
    array([[1.5, 2. ]], dtype=float32)
    """
    result = blocks.aligned((len(a), b.shape[1]), np.float32)
    if not _multiplied_few(a, b, result, bias):
        linear_by(_multiply, a, b, bias, result)
    return result


def dot(a: ArrayLike, b: ArrayLike, /) -> Float32:
    """The sum product over the last axis of a and the second-to-last of b (or its only one), with np.dot's shapes.

    a (..., K) and b (K,) give (...); a (..., K) and b (..., K, n) give the other axes of a, then those of b. The bits
    and the errors are those of `matmul`. (A product with a scalar needs no sum: use `*`.)

    >>> import numpy as np
    >>> dot(np.ones((2, 3), np.float32), np.ones((4, 3, 5), np.float32)).shape
    (2, 4, 5)
    """
    return dot_by(_multiply, a, b)


def vecdot(a: ArrayLike, b: ArrayLike, /, axis: int = -1) -> Float32:
    """The product of each vector along `axis` of a with that of b, the other axes broadcast: np.vecdot of NumPy 2.

    The bits are those of `matmul` of each pair of vectors, and so are the errors.

    >>> import numpy as np
    >>> vecdot(np.array([[1, 2], [3, 4]], np.float32), np.array([1, 10], np.float32))
    array([21., 43.], dtype=float32)
    """
    return vecdot_by(operand, multiply, a, b, axis)


# The same for any way to prepare an operand or to fill a result: fill(a, b, result, bias)


def prepare_by(make: Callable[[Float32], P], b: ArrayLike) -> P:
    """`prepare`, by ``make``."""
    b = float_array("prepare", "b", b)
    if b.ndim != 2:
        raise ValueError(f"prepare: b must have 2 axes, got shape {b.shape}")
    with np.errstate(all="ignore"):
        try:
            return make(b)
        except FloatingPointError:
            refuse_non_finite("prepare", b=b)


def matmul_by(fill: Fill, a: ArrayLike, b: ArrayLike | Prepared, out: Float32 | None = None) -> Float32:
    """`matmul`, computed by ``fill``."""
    a = float_array("matmul", "a", a)
    b = b if isinstance(b, Prepared) else float_array("matmul", "b", b)
    return _checked("matmul", a, b, out, fill)


def linear_by(fill: Fill, a: Float32, b: Float32 | Prepared, bias: Float32 | None, result: Float32) -> None:
    """`linear` into a C-ordered result, computed by ``fill``; zeros, or the bias, where K is 0."""
    with np.errstate(all="ignore"):
        if bias is not None:
            require_finite(bias)
        if not a.shape[-1]:
            result[...] = _ZERO if bias is None else bias
        elif result.size:
            fill(a, b, result, bias)


def dot_by(fill: Fill, a: ArrayLike, b: ArrayLike) -> Float32:
    """`dot`, computed by ``fill``."""
    a, b = float_array("dot", "a", a), float_array("dot", "b", b)
    if b.ndim <= 2:
        return _checked("dot", a, b, None, fill)
    _check_alignment("dot", a.shape, -1, b.shape, -2)
    others = b.shape[:-2] + b.shape[-1:]
    try:
        product = _checked("dot", a, np.moveaxis(b, -2, 0).reshape(b.shape[-2], math.prod(others)), None, fill)
    except FloatingPointError:
        refuse_non_finite("dot", a=a, b=b)
    return product.reshape(a.shape[:-1] + others)


def vecdot_by(
    operand: Callable[[Float32], Float64], multiply: Callable[[Float64, Float64], Float64], a: ArrayLike, b: ArrayLike, axis: int
) -> Float32:
    """`vecdot`, computed by the two functions."""
    a, b = float_array("vecdot", "a", a), float_array("vecdot", "b", b)
    for name, x in (("a", a), ("b", b)):
        axis_index("vecdot", axis, x.ndim, name)
    rows, columns = np.moveaxis(a, axis, -1)[..., None, :], np.moveaxis(b, axis, -1)[..., None, :]
    _check_alignment("vecdot", a.shape, axis, b.shape, axis)
    result = np.zeros(_broadcast("vecdot", rows.shape[:-2], columns.shape[:-2]), np.float32)
    if result.size and rows.size:
        with np.errstate(all="ignore"):
            try:
                left, right = operand(rows), operand(columns)
            except FloatingPointError:
                refuse_non_finite("vecdot", a=a, b=b)
            result[...] = multiply(left, right.swapaxes(-1, -2))[..., 0, 0]
        result += _ZERO
    return result[()]


def _checked(function: str, a: Float32, b: Float32 | Prepared, out: Float32 | None, fill: Fill) -> Float32:
    """Multiply float32 operands if their shapes match."""
    shape_b = b.shape
    _check_alignment(function, a.shape, -1, shape_b, -2 if len(shape_b) > 1 else -1)
    shape = _broadcast(function, a.shape[:-2], shape_b[:-2]) + a.shape[-2:-1] + shape_b[1:][-1:]
    operands = {"a": a} if isinstance(b, Prepared) else {"a": a, "b": b}
    result = blocks.aligned(shape, np.float32) if out is None else _writable(function, out, shape, operands)
    if not a.shape[-1]:
        result[...] = _ZERO
    elif result.size:
        with np.errstate(all="ignore"):
            try:
                fill(a, b, result, None)
            except FloatingPointError:
                refuse_non_finite(function, **operands)
    if out is None:
        return result[()]
    if result is not out:
        out[...] = result
    return out


def _writable(function: str, out: Float32, shape: tuple[int, ...], operands: dict[str, Float32]) -> Float32:
    """Return `out` if the product can be written straight to it, otherwise an array to copy from."""
    check_out(function, out, shape)
    if not out.flags.c_contiguous or any(np.may_share_memory(out, x) for x in operands.values()):
        return np.empty(shape, np.float32)
    return out


def _multiplied_few(a: Float32, b: Float32 | Prepared, result: Float32, bias: Float32 | None = None) -> bool:
    """Fill the C-ordered result, and return True, where `a` has few rows and `b` is compact."""
    if not isinstance(b, Prepared) or b.values.dtype != np.float32:
        return False
    length, columns = b.values.shape
    if not 0 < a.size <= _FEW_ROWS * length or not b.values.flags.f_contiguous:
        return False
    sizes = compiled.integers(a.size // length, length, columns)
    shared = [sizes] if bias is None else [bias, sizes]
    compiled.call(_multiply_few, [result], [a, b.values.T], shared, (columns, a.size))
    return True


def _multiply(a: Float32, b: Float32 | Prepared, result: Float32, bias: Float32 | None = None) -> None:
    """Fill the C-ordered result by groups: as many rows, or whole matrices, as stay in the cache."""
    if isinstance(b, Prepared) and b.values.dtype.kind != "f":
        raise TypeError(f"matmul: b must be prepared in exact arithmetic, as it is active, got {b.values.dtype} values")
    if _multiplied_few(a, b, result, bias):
        return
    a = np.atleast_2d(a)
    if not isinstance(b, Prepared) and math.prod(b.shape[:-2]) == 1:  # one matrix serves every batch
        b = _prepared(b[:, None] if b.ndim == 1 else b.reshape(b.shape[-2:]), "right")
    if isinstance(b, Prepared):
        a, columns = (a[None] if a.ndim == 2 else a.reshape(1, -1, a.shape[-1])), b.values.shape[1]
    else:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a, b, columns = _stacked(a, batch), _stacked(b, batch), b.shape[-1]
    batches, rows, length = a.shape
    target = result.reshape(batches, rows, columns)
    if isinstance(b, Prepared) and b.values.dtype == np.float32:
        b = Prepared(b.values.astype(np.float64))
    most = blocks.PRODUCT_BYTES // 8
    deep = _BATCH_BYTES // 8 // (rows * (length + columns) + length * columns) + 1
    tall = max(_PACKED_ROWS, most // (length + columns))
    for i in range(0, batches, deep):
        right = b.values if isinstance(b, Prepared) else grid_vectors(b[i : i + deep], -2, BITS, "right")
        for j in range(0, rows, tall):
            block = target[i : i + deep, j : j + tall]
            left = grid_vectors(a[i : i + deep, j : j + tall], -1, BITS, "left")
            product = np.matmul(left, right, out=BUFFERS.take("product", block.shape))
            if bias is None:
                compiled.call(_round, [block], [product], [], (block.size, 1))
            else:
                compiled.call(_round, [block], [product], [bias], (block.size // columns, columns))


@pair("round_product", "f d")
@pair("round_product_add", "f d f")
def _round(out: Float32, product: Float64, bias: Float32 | None = None) -> None:
    """Round a product, with positive zeros, and add the bias."""
    out[...] = product
    out += _ZERO
    if bias is not None:
        out += bias


@pair("multiply_few", "f f f q")
@pair("multiply_few_add", "f f f f q")
def _multiply_few(target: Float32, a: Float32, b: Float32, *more: Any) -> None:
    """Fill the target (rows, n) from a few rows (rows, K) and the columns of a compact matrix (n, K); add the bias (n,).

    Most of the time is spent reading the matrix.
    """
    *bias, (rows, length, columns) = more
    target, a = target.reshape(int(rows), int(columns)), a.reshape(int(rows), int(length))
    for one in bias:
        require_finite(one)
    step = max(1, blocks.PRODUCT_BYTES // 32 // b.shape[1])
    left = grid_vectors(a[None], -1, BITS, "left")[0]
    for start in range(0, len(b), step):
        part = b[start : start + step]
        wide = BUFFERS.take("right", part.shape)
        np.copyto(wide, part)
        target[:, start : start + step] = np.matmul(left, wide.T)
    target += _ZERO
    for one in bias:
        target += one


def _prepared(b: Float32, role: Role | None = None) -> Prepared:
    values = grid_vectors(b[None], -2, BITS, role)[0]
    values.setflags(write=False)
    return Prepared(values)


def _stacked(x: Float32, batch: tuple[int, ...]) -> Float32:
    """Broadcast x to `batch`, as (batches, rows, columns); rows or columns stay contiguous."""
    if abs(x.strides[-2]) < abs(x.strides[-1]):
        return _stacked(x.swapaxes(-1, -2), batch).swapaxes(-1, -2)
    matrix = x.shape[-2:]
    return np.broadcast_to(x, batch + matrix).reshape(-1, *matrix)


def _check_alignment(function: str, a: tuple[int, ...], axis_a: int, b: tuple[int, ...], axis_b: int) -> None:
    if not a or not b:
        raise ValueError(f"{function}: a and b must have at least one axis, got shapes {a} and {b}")
    if a[axis_a] != b[axis_b]:
        raise ValueError(
            f"{function}: axis {axis_a % len(a)} of a and axis {axis_b % len(b)} of b must have one length, got shapes {a} and {b}"
        )
    if a[axis_a] > LONGEST:
        raise ValueError(f"{function}: the vectors of a and b must have at most {LONGEST} elements, got {a[axis_a]}")


def _broadcast(function: str, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        raise ValueError(f"{function}: the leading axes of a and b must broadcast, got {a} and {b}") from None
