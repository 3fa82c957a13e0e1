"""Reductions of float32 arrays over any axes: `sum`, `mean`, `var`, `std`, `norm`, `logsumexp`, `max`, `min`, `cumsum`.

Sums are taken in float64 by the halving tree (`summation`) over the reduced axes, read in C order, and rounded to float32
once. So the bits depend on the reduced values and their number, not on memory layout or on the other axes.

Results are float32, a NumPy scalar where no axis is left. Zeros are positive, and NaN is the quiet NaN 0x7fc00000. inf and
NaN follow IEEE 754, without warnings.
"""

# ruff: noqa: A001 - NumPy's names: do not use the built-in sum, max and min in this file

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from samebits.core import compiled, exponential, logarithm
from samebits.core.arguments import axes, axis_index, float_array, integer
from samebits.core.arithmetic import Float32, Float64, Int64
from samebits.core.compiled import pair
from samebits.core.grid import rounded
from samebits.core.summation import Part, fold

Axis = int | tuple[int, ...] | None

_WITHOUT_IDENTITY = {"max", "min", "logsumexp"}


def sum(x: ArrayLike, axis: Axis = None, *, keepdims: bool = False) -> Float32:
    """Sum over ``axis``; 0 over no elements.

    Args:
        x: float32 of any shape, or Python numbers.
        axis: The axes to reduce: an int, a tuple of ints, or None for all.
        keepdims: Keep the reduced axes, with length 1.

    Returns:
        float32, without the reduced axes.

    Raises:
        TypeError: ``x`` is not float32, or ``axis`` is no int.
        ValueError: ``x`` does not have the axis, or it is given twice.

    Example:
        >>> import numpy as np
        >>> sum(np.array([[1, 2], [3, 4]], np.float32), axis=0)
        array([4., 6.], dtype=float32)
    """
    return _reduced("sum", _totals, x, axis, keepdims=keepdims)


def mean(x: ArrayLike, axis: Axis = None, *, keepdims: bool = False) -> Float32:
    """Mean over ``axis``: the float64 sum divided by the number of elements. NaN over no elements.

    Args:
        x: float32 of any shape, or Python numbers.
        axis: The axes to reduce: an int, a tuple of ints, or None for all.
        keepdims: Keep the reduced axes, with length 1.

    Returns:
        float32, without the reduced axes.

    Raises:
        TypeError: ``x`` is not float32, or ``axis`` is no int.
        ValueError: ``x`` does not have the axis, or it is given twice.

    Example:
        >>> import numpy as np
        >>> mean(np.array([[1, 2], [3, 4]], np.float32), axis=1)
        array([1.5, 3.5], dtype=float32)
    """
    lanes = _Lanes("mean", x, axis)
    with np.errstate(all="ignore"):
        return lanes.rounded(_mean(lanes.values), keepdims=keepdims)


def var(x: ArrayLike, axis: Axis = None, *, ddof: int = 0, keepdims: bool = False) -> Float32:
    """Variance over ``axis``.

    The sum of ``(x - mean)**2`` divided by ``max(count - ddof, 0)``, with the mean in float64. As in NumPy, NaN over no
    elements, and inf or NaN if ``ddof`` leaves nothing to divide by.

    Args:
        x: float32 of any shape, or Python numbers.
        axis: The axes to reduce: an int, a tuple of ints, or None for all.
        ddof: Subtracted from the number of elements in the divisor: 1 for the sample variance.
        keepdims: Keep the reduced axes, with length 1.

    Returns:
        float32, without the reduced axes.

    Raises:
        TypeError: ``x`` is not float32, or ``axis`` or ``ddof`` is no int.
        ValueError: ``x`` does not have the axis, or it is given twice.

    Example:
        >>> import numpy as np
        >>> var(np.array([[1, 3], [3, 7]], np.float32), axis=1)
        array([1., 4.], dtype=float32)
    """
    lanes = _Lanes("var", x, axis)
    with np.errstate(all="ignore"):
        return lanes.rounded(_variance(lanes.values, integer("var", "ddof", ddof)), keepdims=keepdims)


def std(x: ArrayLike, axis: Axis = None, *, ddof: int = 0, keepdims: bool = False) -> Float32:
    """Standard deviation over ``axis``: the square root of the float64 variance of `var`.

    Args:
        x: float32 of any shape, or Python numbers.
        axis: The axes to reduce: an int, a tuple of ints, or None for all.
        ddof: Subtracted from the number of elements in the divisor: 1 for the sample variance.
        keepdims: Keep the reduced axes, with length 1.

    Returns:
        float32, without the reduced axes.

    Raises:
        TypeError: ``x`` is not float32, or ``axis`` or ``ddof`` is no int.
        ValueError: ``x`` does not have the axis, or it is given twice.

    Example:
        >>> import numpy as np
        >>> std(np.array([[1, 3], [3, 7]], np.float32), axis=1, keepdims=True)
        array([[1.],
               [2.]], dtype=float32)
    """
    lanes = _Lanes("std", x, axis)
    with np.errstate(all="ignore"):
        return lanes.rounded(np.sqrt(_variance(lanes.values, integer("std", "ddof", ddof))), keepdims=keepdims)


def norm(x: ArrayLike, axis: Axis = None, *, keepdims: bool = False) -> Float32:
    """2-norm over ``axis``: of all elements together, not a matrix norm.

    The squares are exact in float64 and cannot overflow.

    Args:
        x: float32 of any shape, or Python numbers.
        axis: The axes to reduce: an int, a tuple of ints, or None for all.
        keepdims: Keep the reduced axes, with length 1.

    Returns:
        float32, without the reduced axes.

    Raises:
        TypeError: ``x`` is not float32, or ``axis`` is no int.
        ValueError: ``x`` does not have the axis, or it is given twice.

    Example:
        >>> import numpy as np
        >>> print(norm(np.array([3e30, 4e30], np.float32)))
        5e+30
    """
    return _reduced("norm", _norms, x, axis, keepdims=keepdims)


def logsumexp(x: ArrayLike, axis: Axis = None, *, keepdims: bool = False) -> Float32:
    """log(sum(exp(x))) over ``axis``; -inf where all elements are -inf.

    Computed as ``m + log(sum(exp(x - m)))`` in float64, where ``m`` is the maximum (Blanchard, Higham and Higham, 2021,
    doi:10.1093/imanum/draa038).

    Args:
        x: float32 of any shape, or Python numbers.
        axis: The axes to reduce: an int, a tuple of ints, or None for all.
        keepdims: Keep the reduced axes, with length 1.

    Returns:
        float32, without the reduced axes.

    Raises:
        TypeError: ``x`` is not float32, or ``axis`` is no int.
        ValueError: ``x`` does not have the axis, it is given twice, or there are no elements to reduce.

    Example:
        >>> import numpy as np
        >>> print(logsumexp(np.array([1000, 1000], np.float32)))
        1000.6932
    """
    lanes = _Lanes("logsumexp", x, axis)
    with np.errstate(all="ignore"):
        top = np.maximum.reduce(lanes.values, axis=0).astype(np.float64)
        finite = np.isfinite(top)
        center = np.where(finite, top, 0.0)
        sums = _folded(_power_sums, lanes.values, center)
        return lanes.rounded(np.where(finite, center + logarithm.log(sums, sums), top), keepdims=keepdims)


def max(x: ArrayLike, axis: Axis = None, *, keepdims: bool = False) -> Float32:
    """Maximum over ``axis``; NaN if an element is.

    Args:
        x: float32 of any shape, or Python numbers.
        axis: The axes to reduce: an int, a tuple of ints, or None for all.
        keepdims: Keep the reduced axes, with length 1.

    Returns:
        float32, without the reduced axes.

    Raises:
        TypeError: ``x`` is not float32, or ``axis`` is no int.
        ValueError: ``x`` does not have the axis, it is given twice, or there are no elements to reduce.

    Example:
        >>> import numpy as np
        >>> max(np.array([[1, 2], [3, np.nan]], np.float32), axis=1)
        array([ 2., nan], dtype=float32)
    """
    return _reduced("max", _maxima, x, axis, keepdims=keepdims)


def min(x: ArrayLike, axis: Axis = None, *, keepdims: bool = False) -> Float32:
    """Minimum over ``axis``; NaN if an element is.

    Args:
        x: float32 of any shape, or Python numbers.
        axis: The axes to reduce: an int, a tuple of ints, or None for all.
        keepdims: Keep the reduced axes, with length 1.

    Returns:
        float32, without the reduced axes.

    Raises:
        TypeError: ``x`` is not float32, or ``axis`` is no int.
        ValueError: ``x`` does not have the axis, it is given twice, or there are no elements to reduce.

    Example:
        >>> import numpy as np
        >>> min(np.array([[1, 2], [3, np.nan]], np.float32), axis=0)
        array([ 1., nan], dtype=float32)
    """
    return _reduced("min", _minima, x, axis, keepdims=keepdims)


def cumsum(x: ArrayLike, axis: int | None = None) -> Float32:
    """Running sums along ``axis``, one after the other in float64, each rounded to float32 once.

    The last sum may differ from `sum`, which adds in another order, by one unit in the last place.

    Args:
        x: float32 of any shape, or Python numbers.
        axis: An int, or None to flatten ``x`` first.

    Returns:
        float32 of the shape of ``x``, or (x.size,) if ``axis`` is None.

    Raises:
        TypeError: ``x`` is not float32, or ``axis`` is no int.
        ValueError: ``x`` does not have the axis.

    Example:
        >>> import numpy as np
        >>> cumsum(np.array([1, 2, 3], np.float32))
        array([1., 3., 6.], dtype=float32)
    """
    x = float_array("cumsum", "x", x)
    x, axis = (x.reshape(-1), 0) if axis is None else (x, axis_index("cumsum", axis, x.ndim))
    n, inner = x.shape[axis], math.prod(x.shape[axis + 1 :])
    values, outer = np.empty(x.shape, np.float32), math.prod(x.shape[:axis])
    lanes = (outer, n, inner)
    sizes = compiled.integers(n, inner)
    compiled.call(_running_sums, [values.reshape(lanes)], [x.reshape(lanes)], [sizes], (outer, n * inner))
    return values


def _folded(function: Callable[..., None], values: Float32, *centers: Float64) -> Float64:
    """The sums (outer, inner) of values (n, outer, inner), by one of the next functions."""
    n, outer, inner = values.shape
    result = np.empty((outer, inner))
    sizes = compiled.integers(n, inner)
    compiled.call(function, [result], [values.swapaxes(0, 1), *centers], [sizes], (outer, n * inner))
    return result


@pair("sums", "d f q")
def _sums(sums: Float64, x: Float32, _: Int64) -> None:
    sums[...] = fold(x.swapaxes(0, 1))


@pair("distance_sums", "d f d q")
def _distance_sums(sums: Float64, x: Float32, center: Float64, _: Int64) -> None:
    def squared_distance(block: Float64, part: Part) -> None:
        block -= center[part]
        block *= block

    sums[...] = fold(x.swapaxes(0, 1), squared_distance)


@pair("power_sums", "d f d q")
def _power_sums(sums: Float64, x: Float32, center: Float64, _: Int64) -> None:
    def shifted(block: Float64, part: Part) -> None:
        block -= center[part]
        exponential.exp(block, block)

    sums[...] = fold(x.swapaxes(0, 1), shifted)


def _mean(values: Float32) -> Float64:
    return _folded(_sums, values) / np.float64(len(values))


def _variance(values: Float32, ddof: int) -> Float64:
    return _folded(_distance_sums, values, _mean(values)) / np.float64(np.maximum(len(values) - ddof, 0))


def _reduced(function: str, formula: Callable[..., None], x: ArrayLike, axis: Axis, *, keepdims: bool) -> Float32:
    lanes = _Lanes(function, x, axis)
    n, outer, inner = (values := lanes.values).shape
    out, sizes = np.empty((outer, inner), np.float32), compiled.integers(n, inner)
    compiled.call(formula, [out], [values.swapaxes(0, 1)], [sizes], (outer, n * inner))
    return lanes.shaped(out, keepdims=keepdims)


@pair("totals", "f f q")
def _totals(out: Float32, x: Float32, _: Int64) -> None:
    rounded(fold(x.swapaxes(0, 1)), out)


@pair("norms", "f f q")
def _norms(out: Float32, x: Float32, _: Int64) -> None:
    def square(values: Float64, _: Part) -> None:
        values *= values

    rounded(np.sqrt(fold(x.swapaxes(0, 1), square)), out)


@pair("maxima", "f f q")
def _maxima(out: Float32, x: Float32, _: Int64) -> None:
    rounded(np.maximum.reduce(x, axis=1), out)


@pair("minima", "f f q")
def _minima(out: Float32, x: Float32, _: Int64) -> None:
    rounded(np.minimum.reduce(x, axis=1), out)


@pair("running_sums", "f f q")
def _running_sums(out: Float32, x: Float32, _: Int64) -> None:
    rounded(np.add.accumulate(x.astype(np.float64), axis=1), out)


class _Lanes:
    """float32 x and the axes to reduce. A lane is what one element of the result is reduced from."""

    def __init__(self, function: str, x: ArrayLike, axis: Axis) -> None:
        self.x = float_array(function, "x", x)
        self.axes = axes(function, axis, self.x.ndim)
        self.kept = tuple(i for i in range(self.x.ndim) if i not in self.axes)
        self.n = math.prod(self.x.shape[i] for i in self.axes)
        if function in _WITHOUT_IDENTITY and self.n == 0:
            raise ValueError(f"{function}: x must have at least one element along the reduced axes, got shape {self.x.shape}")

    @property
    def values(self) -> Float32:
        """The array as (n, outer, inner): the reduced axes in C order, then the others; a view where NumPy can make one."""
        x, axes, kept = self.x, self.axes, self.kept
        if x.flags.c_contiguous and axes and axes[-1] - axes[0] + 1 == len(axes):
            outer = math.prod(x.shape[: axes[0]])
            return x.reshape(outer, self.n, math.prod(x.shape[axes[-1] + 1 :])).swapaxes(0, 1)
        lanes = math.prod(x.shape[i] for i in kept)
        in_rows = bool(axes) and bool(kept) and abs(x.strides[axes[-1]]) < abs(x.strides[kept[-1]])
        return x.transpose(axes + kept).reshape((self.n, lanes, 1) if in_rows else (self.n, 1, lanes))

    def rounded(self, values: Float64, *, keepdims: bool) -> Float32:
        return self.shaped(rounded(values), keepdims=keepdims)

    def shaped(self, values: Float32, *, keepdims: bool) -> Float32:
        shape = self.x.shape
        new = [1 if i in self.axes else n for i, n in enumerate(shape)] if keepdims else [shape[i] for i in self.kept]
        return values.reshape(new)[()]
