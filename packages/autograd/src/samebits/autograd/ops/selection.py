"""Operations that select elements: `where`, `clip`, `relu`, the larger and the smaller of two, the extremes over axes.

The gradient goes to what was selected; equals share it.
"""

# ruff: noqa: A001, A002, PLW0108 - NumPy's names (do not use the built-in max and min in this file); a rule's parameters

import operator
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from samebits.autograd.graph import Array, Value
from samebits.autograd.operations import elementwise, operands, operation
from samebits.autograd.ops.axes import either, place, places
from samebits.autograd.ops.elementwise import multiply, raw
from samebits.autograd.ops.reductions import expand, integer_sum, kept
from samebits.autograd.tensor import Axis, Operand, Tensor, wrap
from samebits.core import current


def where(condition: Any, a: Operand, b: Operand) -> Tensor:
    """a where condition is true, b elsewhere; the three broadcast. No gradient passes what was not selected.

    Example:
        >>> where(Tensor([1.0, -2.0]) > 0, 10.0, Tensor([0.0, 1.0]))
        Tensor([10.,  1.])
    """
    chosen = np.asarray(raw(condition))
    x, y = operands("where", a, b)
    shape = np.broadcast_shapes(chosen.shape, x.shape, y.shape)
    return _where(expand(x, shape), expand(y, shape), chosen.astype(bool, copy=False))


@operation(lambda g, chosen: where(chosen, g, 0.0), lambda g, chosen: where(chosen, 0.0, g))
def _where(a: Value, b: Value, chosen: Array) -> Any:
    result: Any = np.where(chosen, a, b)
    return result[()]


@operation(lambda g, out: where(raw(out) <= 0, 0.0, g))
def relu(x: Value) -> Any:
    """max(x, 0); its gradient at 0 is 0.

    Example:
        >>> relu(Tensor([-1.0, 2.0]))
        Tensor([0., 2.])
    """
    return _positive_zeros(np.maximum(x, x.dtype.type(0)))


def clip(x: Tensor, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """x limited to the interval from ``min`` to ``max``, either of which may be None. ``clamp`` is the same function.

    The bounds broadcast, and may require gradients. On a bound the gradient is x's, as in PyTorch; NaN stays NaN.

    Example:
        >>> clip(Tensor([-2.0, 0.5, 2.0]), -1.0, 1.0)
        Tensor([-1. ,  0.5,  1. ])
    """
    if min is not None:
        x, low = operands("clip", x, min)
        x = where(raw(x) < raw(low), low, x)
    if max is not None:
        x, high = operands("clip", x, max)
        x = where(raw(x) > raw(high), high, x)
    return x


@elementwise(lambda g, a, b: g * _share(raw(a), raw(b)), lambda g, a, b: g * _share(raw(b), raw(a)))
def maximum(a: Value, b: Value) -> Any:
    """The larger of a and b, NaN if one is; equals share the gradient.

    Example:
        >>> maximum(Tensor([1.0, 5.0]), 3.0)
        Tensor([3., 5.])
    """
    return _positive_zeros(np.maximum(a, b))


@elementwise(lambda g, a, b: g * _share(raw(b), raw(a)), lambda g, a, b: g * _share(raw(a), raw(b)))
def minimum(a: Value, b: Value) -> Any:
    """The smaller of a and b, NaN if one is; equals share the gradient.

    Example:
        >>> minimum(Tensor([1.0, 5.0]), 3.0)
        Tensor([1., 3.])
    """
    return _positive_zeros(np.minimum(a, b))


def max(x: Tensor, axis: Axis = None, *, keepdims: bool = False, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """The maximum over ``axis``, NaN if there is one; equals share the gradient. ValueError over no elements.

    Example:
        >>> max(Tensor([[1.0, 5.0], [3.0, 4.0]]), axis=0)
        Tensor([3., 5.])
    """
    return _max(x, places("max", x, either(axis, dim)), keepdims or keepdim)


@operation(lambda g, x, out, axes: _extreme_rule(g, x, out, axes))
def _max(x: Value, axes: tuple[int, ...], keepdims: bool) -> Any:
    return _extreme(np.max, current().max, x, axes, keepdims)


def min(x: Tensor, axis: Axis = None, *, keepdims: bool = False, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """The minimum over ``axis``, NaN if there is one; equals share the gradient. ValueError over no elements.

    Example:
        >>> min(Tensor([[1.0, 5.0], [3.0, 4.0]]), axis=0)
        Tensor([1., 4.])
    """
    return _min(x, places("min", x, either(axis, dim)), keepdims or keepdim)


@operation(lambda g, x, out, axes: _extreme_rule(g, x, out, axes))
def _min(x: Value, axes: tuple[int, ...], keepdims: bool) -> Any:
    return _extreme(np.min, current().min, x, axes, keepdims)


def _extreme(whole: Callable[..., Any], floating: Callable[..., Any], x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    return (floating if x.dtype.kind == "f" else whole)(x, axis=axes, keepdims=keepdims)


def _extreme_rule(g: Any, x: Any, out: Any, axes: tuple[int, ...]) -> Any:
    """The gradient goes to the elements that are the extreme, in equal shares."""
    chosen = raw(x) == kept(raw(out), axes, x.shape)
    shares = chosen.astype(x.dtype) / integer_sum(chosen, axes, keepdims=True).astype(x.dtype)
    return multiply(kept(g, axes, x.shape), shares)


def argmax(
    x: Tensor, axis: int | None = None, *, keepdims: bool = False, dim: int | None = None, keepdim: bool = False
) -> Tensor:
    """The index of the first maximum along ``axis``, or in x flattened, as int64; the first NaN counts as the maximum.

    Example:
        >>> argmax(Tensor([[1.0, 5.0], [3.0, 4.0]]), axis=1)
        Tensor([1, 1])
    """
    return _position(np.argmax, x, either(axis, dim), keepdims=keepdims or keepdim)


def argmin(
    x: Tensor, axis: int | None = None, *, keepdims: bool = False, dim: int | None = None, keepdim: bool = False
) -> Tensor:
    """The index of the first minimum along ``axis``, or in x flattened, as int64; the first NaN counts as the minimum.

    Example:
        >>> argmin(Tensor([[1.0, 5.0], [3.0, 4.0]]), axis=1)
        Tensor([0, 0])
    """
    return _position(np.argmin, x, either(axis, dim), keepdims=keepdims or keepdim)


def _position(function: Callable[..., Any], x: Any, axis: int | None, *, keepdims: bool) -> Tensor:
    along = None if axis is None else place(x, operator.index(axis))
    found: Any = np.asarray(function(raw(x), axis=along, keepdims=keepdims)).astype(np.int64)
    return wrap(found[()], None) if isinstance(x, Tensor) else cast("Tensor", found[()])


def _positive_zeros(x: Array) -> Array:
    """Which zero is larger depends on the processor: both become +0."""
    result: Array = x + x.dtype.type(0)
    return result


def _share(winner: Any, loser: Any) -> Any:
    """How much of the gradient goes to ``winner``: 1, 0, and 1/2 where they are equal."""
    dtype = winner.dtype.type
    return np.where(winner == loser, dtype(0.5), np.where(winner < loser, dtype(0), dtype(1)))[()]
