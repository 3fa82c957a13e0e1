"""Reductions, and broadcasting, which is the transpose of `sum`.

``axis`` is an int, a tuple of ints or None (all axes); ``keepdims`` keeps reduced axes with length 1. PyTorch's names ``dim``
and ``keepdim`` work too. Sums are taken in float64 by a fixed tree and rounded once (`samebits.core.reductions`), in the
rules too.

    sum:  (2, 3) -> (2,)    rule: stretch (2,) to (2, 3)    expand:  (2,) -> (2, 3)    rule: sum (2, 3) to (2,)
"""

# ruff: noqa: A001, PLW0108 - NumPy's names (do not use the built-in sum in this file); a rule's parameters say what it needs

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from samebits.autograd.graph import Array, Value
from samebits.autograd.operations import BROADCAST, operation
from samebits.autograd.ops.axes import count, either, place, places
from samebits.autograd.ops.elementwise import add, divide, multiply, raw, subtract
from samebits.autograd.ops.indexing import getitem
from samebits.autograd.ops.shapes import reshape
from samebits.autograd.tensor import Axis, Tensor
from samebits.core import Kernels, current


def sum(x: Tensor, axis: Axis = None, *, keepdims: bool = False, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """The sum over ``axis``; of integers and booleans, an int64.

    Example:
        >>> sum(Tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
        Tensor([4., 6.])
    """
    return _sum(x, places("sum", x, either(axis, dim)), keepdims or keepdim, x.shape)


@operation(lambda g, axes, shape: expand(kept(g, axes, shape), shape))
def _sum(x: Value, axes: tuple[int, ...], keepdims: bool, shape: tuple[int, ...]) -> Any:  # noqa: ARG001
    if x.dtype.kind != "f":
        return integer_sum(x, axes, keepdims)
    return current().sum(x, axis=axes, keepdims=keepdims)


def expand(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """x stretched to ``shape`` by NumPy's rules of broadcasting; -1 keeps a length.

    Raises:
        ValueError: x cannot be broadcast to ``shape``.

    Example:
        >>> expand(Tensor([1.0, 2.0]), (2, -1))
        Tensor([[1., 2.],
                [1., 2.]])
    """
    lead = len(shape) - x.ndim
    shape = tuple([x.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(shape)])
    return x if x.shape == shape else _expand(x, shape, x.shape)


@operation(lambda g, before: sum_to(g, before))
def _expand(x: Value, shape: tuple[int, ...], before: tuple[int, ...]) -> Any:  # noqa: ARG001
    return np.broadcast_to(x, shape)


def sum_to(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """x summed over the axes that `expand` would stretch ``shape`` along."""
    lead = x.ndim - len(shape)
    axes = tuple([i for i in range(x.ndim) if i < lead or (shape[i - lead] == 1 and x.shape[i] != 1)])
    return x if not axes else reshape(sum(x, axes), shape)


BROADCAST.rules = ((sum_to, (2,)),)


def mean(x: Tensor, axis: Axis = None, *, keepdims: bool = False, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """The mean over ``axis``; NaN over no elements.

    Example:
        >>> mean(Tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
        Tensor([2., 3.])
    """
    return _mean(x, places("mean", x, either(axis, dim)), keepdims or keepdim, x.shape)


@operation(lambda g, axes, shape: expand(divide(kept(g, axes, shape), float(count(shape, axes))), shape))
def _mean(x: Value, axes: tuple[int, ...], keepdims: bool, shape: tuple[int, ...]) -> Any:  # noqa: ARG001
    return current().mean(x, axis=axes, keepdims=keepdims)


def var(
    x: Tensor, axis: Axis = None, *, ddof: int = 0, keepdims: bool = False, dim: Axis = None, keepdim: bool = False
) -> Tensor:
    """The variance over ``axis``: the sum of (x - mean)^2, divided by the number of elements minus ``ddof``.

    Example:
        >>> var(Tensor([[1.0, 3.0], [3.0, 7.0]]), axis=1)
        Tensor([1., 4.])
    """
    return _var(x, places("var", x, either(axis, dim)), operator.index(ddof), keepdims or keepdim)


def _var_rule(g: Any, x: Any, axes: tuple[int, ...], ddof: int) -> Any:
    return multiply(kept(g, axes, x.shape), _deviations(x, axes, _per_free(x, axes, ddof, 2)))


@operation(_var_rule)
def _var(x: Value, axes: tuple[int, ...], ddof: int, keepdims: bool) -> Any:
    return current().var(x, axis=axes, ddof=ddof, keepdims=keepdims)


def std(
    x: Tensor, axis: Axis = None, *, ddof: int = 0, keepdims: bool = False, dim: Axis = None, keepdim: bool = False
) -> Tensor:
    """The standard deviation over ``axis``, the root of `var`; its gradient is 0 where it is 0.

    Example:
        >>> std(Tensor([[1.0, 3.0], [3.0, 7.0]]), axis=1)
        Tensor([1., 2.])
    """
    return _std(x, places("std", x, either(axis, dim)), operator.index(ddof), keepdims or keepdim)


def _std_rule(g: Any, x: Any, axes: tuple[int, ...], ddof: int) -> Any:
    return multiply(kept(g, axes, x.shape), _scores(x, axes, ddof))


@operation(_std_rule)
def _std(x: Value, axes: tuple[int, ...], ddof: int, keepdims: bool) -> Any:
    return current().std(x, axis=axes, ddof=ddof, keepdims=keepdims)


def _deviations_rule(g: Any, axes: tuple[int, ...], factor: float) -> Any:
    return _deviations(g, axes, factor)


@operation(_deviations_rule)
def _deviations(x: Value, axes: tuple[int, ...], factor: float) -> Any:
    """(x - mean(x)) * factor over ``axes``, rounded once: the mean is not rounded before. The map is its own transpose."""

    def formula(kernels: Kernels, out: Array, rows: Array) -> None:
        _center(kernels, rows, out)
        out *= out.dtype.type(factor)

    return over_rows("var", formula, axes, x)


@operation(lambda g, x, out, axes, ddof: _scores_rule(g, x, out, axes, ddof))
def _scores(x: Value, axes: tuple[int, ...], ddof: int) -> Any:
    """(x - mean(x)) / ((n - ddof) std(x)) over ``axes``, rounded once; 0 where std is 0."""
    free = count(x.shape, axes) - ddof

    def formula(kernels: Kernels, out: Array, rows: Array) -> None:
        _center(kernels, rows, out)
        if free <= 0:
            out /= out.dtype.type(0)
            return
        spread = np.sqrt(kernels.sum(out * out, -1) / out.dtype.type(free)) * out.dtype.type(free)
        out /= np.where(spread == 0, out.dtype.type(1), spread)[:, None]

    return over_rows("std", formula, axes, x)


def _scores_rule(g: Any, x: Any, out: Any, axes: tuple[int, ...], ddof: int) -> Any:
    """(deviations(g) / (n - ddof) - out sum(g out)) / std, 0 where std is 0."""
    spread = std(x, axes, ddof=ddof, keepdims=True)
    inner = subtract(_deviations(g, axes, _per_free(x, axes, ddof, 1)), multiply(out, sum(multiply(g, out), axes, keepdims=True)))
    flat = raw(spread) == 0
    return multiply(divide(inner, add(spread, flat.astype(x.dtype))), (~flat).astype(x.dtype))


def _center(kernels: Kernels, rows: Array, out: Array) -> None:
    """rows - their means, into ``out``: what rounding takes from the mean is the mean of the differences."""
    count = rows.dtype.type(rows.shape[-1])
    np.subtract(rows, (kernels.sum(rows, -1) / count)[:, None], out=out)
    out -= (kernels.sum(out, -1) / count)[:, None]


def over_rows(function: str, formula: Callable[..., object], axes: tuple[int, ...], *xs: Any) -> Any:
    """``formula(kernels, out, *rows)`` on the vectors over ``axes`` of arrays of one shape, as rows of the working dtype."""
    numerics = current().checked(function, **{("x", "g")[i]: np.asarray(x) for i, x in enumerate(xs)})
    last = tuple(range(-len(axes), 0))
    moved = [np.moveaxis(np.asarray(x), axes, last) for x in xs]
    out = np.empty(moved[0].shape, moved[0].dtype)
    if out.size:
        length = math.prod(out.shape[out.ndim - len(axes) :])
        result, *rows = [array.reshape(-1, length) for array in (out, *moved)]
        numerics.evaluate_rows(formula, [result], rows)
    return np.moveaxis(out, last, axes)[()]


def _per_free(x: Any, axes: tuple[int, ...], ddof: int, factor: int) -> float:
    """``factor`` divided by the number of elements minus ``ddof``."""
    free = count(x.shape, axes) - ddof
    return factor / free if free > 0 else math.inf


def cumsum(x: Tensor, axis: int | None = None, *, dim: int | None = None) -> Tensor:
    """The running sums along ``axis``, or of x flattened; of integers and booleans, in int64.

    Example:
        >>> cumsum(Tensor([1.0, 2.0, 3.0]))
        Tensor([1., 3., 6.])
    """
    meant = either(axis, dim)
    if meant is None:
        return _cumsum(reshape(x, (math.prod(x.shape),)), 0)
    return _cumsum(x, place(x, operator.index(meant)))


@operation(lambda g, axis: _reversed(cumsum(_reversed(g, axis), axis), axis))
def _cumsum(x: Value, axis: int) -> Any:
    if x.dtype.kind != "f":
        return np.add.accumulate(x, axis=axis, dtype=np.int64)
    return current().cumsum(x, axis=axis)


def _reversed(x: Any, axis: int) -> Any:
    index = (slice(None),) * axis + (slice(None, None, -1),)
    return getitem(x, index) if isinstance(x, Tensor) else x[index]


def kept(g: Any, axes: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    """``g`` with the reduced axes of ``shape`` again, with length 1."""
    return reshape(g, tuple([1 if i in axes else n for i, n in enumerate(shape)]))


def integer_sum(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """The sum of integers or booleans, which is exact in any order."""
    total: Any = np.add
    return total.reduce(x, axis=axes, keepdims=keepdims, dtype=np.int64)  # type: ignore[no-any-return]
