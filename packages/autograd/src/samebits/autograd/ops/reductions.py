"""Reductions, and broadcasting, which is the other direction of `sum`.

``axis`` is an int, a tuple of ints or None (all axes); ``keepdims`` keeps reduced axes with length 1. Sums are taken in
float64 by a fixed tree and rounded once (`samebits.core.reductions`), in the rules too.

    sum:  (2, 3) -> (2,)    rule: stretch (2,) to (2, 3)    expand:  (2,) -> (2, 3)    rule: sum (2, 3) to (2,)
"""

# ruff: noqa: A001, PLW0108 - NumPy's names (do not use the built-in sum, max and min here); a rule's parameters say what it needs

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from samebits.autograd.graph import Array
from samebits.autograd.operations import operation
from samebits.autograd.ops.elementwise import divide, exp, multiply, raw, subtract
from samebits.autograd.ops.indexing import place
from samebits.autograd.ops.shapes import reshape
from samebits.autograd.tensor import Axis, Tensor
from samebits.core import current


def sum(x: Tensor, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    """The sum over ``axis``; of integers, and of truth values, an int64."""
    axes = _axes(x, axis)
    return _sum(x, axes, keepdims, x.shape)


@operation(lambda g, axes, shape: expand(_kept(g, axes, shape), shape))
def _sum(x: Array, axes: tuple[int, ...], keepdims: bool, shape: tuple[int, ...]) -> Array:  # noqa: ARG001
    if x.dtype.kind != "f":
        return _integer_sum(x, axes, keepdims)
    return current().sum(x, axis=axes, keepdims=keepdims)


def expand(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """X stretched to ``shape`` by NumPy's rules of broadcasting; -1 keeps a length.

    Raises:
        ValueError: It does not fit.
    """
    lead = len(shape) - x.ndim
    shape = tuple([x.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(shape)])
    return x if x.shape == shape else _expand(x, shape, x.shape)


@operation(lambda g, before: sum_to(g, before))
def _expand(x: Array, shape: tuple[int, ...], before: tuple[int, ...]) -> Array:  # noqa: ARG001
    return np.broadcast_to(x, shape)


def sum_to(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """X summed over the axes that `expand` would stretch ``shape`` along."""
    lead = x.ndim - len(shape)
    axes = tuple([i for i in range(x.ndim) if i < lead or (shape[i - lead] == 1 and x.shape[i] != 1)])
    return x if not axes else reshape(sum(x, axes), shape)


def mean(x: Tensor, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    """The mean over ``axis``; NaN over nothing."""
    return _mean(x, _axes(x, axis), keepdims, x.shape)


@operation(lambda g, axes, shape: expand(divide(_kept(g, axes, shape), float(_count(shape, axes))), shape))
def _mean(x: Array, axes: tuple[int, ...], keepdims: bool, shape: tuple[int, ...]) -> Array:  # noqa: ARG001
    return current().mean(x, axis=axes, keepdims=keepdims)


def var(x: Tensor, axis: Axis = None, *, ddof: int = 0, keepdims: bool = False) -> Tensor:
    """The mean squared distance from the mean; the sum is divided by the number of elements less ``ddof``."""
    return _var(x, _axes(x, axis), ddof, keepdims)


@operation(lambda g, x, axes, ddof: _var_rule(g, x, axes, ddof))
def _var(x: Array, axes: tuple[int, ...], ddof: int, keepdims: bool) -> Array:
    return current().var(x, axis=axes, ddof=ddof, keepdims=keepdims)


def _var_rule(g: Any, x: Any, axes: tuple[int, ...], ddof: int) -> Any:
    """2 (x - mean) / (n - ddof)."""
    free = _count(x.shape, axes) - ddof
    scale = multiply(_kept(g, axes, x.shape), 2 / free if free > 0 else math.inf)
    return multiply(subtract(x, mean(x, axes, keepdims=True)), scale)


def max(x: Tensor, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    """The maximum over ``axis``, NaN if there is one; equals share the gradient. ValueError over nothing."""
    return _max(x, _axes(x, axis), keepdims)


@operation(lambda g, x, out, axes: _extreme_rule(g, x, out, axes))
def _max(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    return _extreme(np.max, current().max, x, axes, keepdims)


def min(x: Tensor, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    """The minimum over ``axis``, NaN if there is one; equals share the gradient. ValueError over nothing."""
    return _min(x, _axes(x, axis), keepdims)


@operation(lambda g, x, out, axes: _extreme_rule(g, x, out, axes))
def _min(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    return _extreme(np.min, current().min, x, axes, keepdims)


def _extreme(whole: Callable[..., Any], floating: Callable[..., Any], x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    return (floating if x.dtype.kind == "f" else whole)(x, axis=axes, keepdims=keepdims)  # type: ignore[no-any-return]


def _extreme_rule(g: Any, x: Any, out: Any, axes: tuple[int, ...]) -> Any:
    """The gradient goes to the elements that are the extreme, in equal shares."""
    chosen = raw(x) == _kept(raw(out), axes, x.shape)
    shares = chosen.astype(x.dtype) / _integer_sum(chosen, axes, keepdims=True).astype(x.dtype)
    return multiply(_kept(g, axes, x.shape), shares)


def logsumexp(x: Tensor, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) over ``axis``, without overflow; -inf where all elements are. ValueError over nothing."""
    return _logsumexp(x, _axes(x, axis), keepdims)


@operation(lambda g, x, out, axes: multiply(_kept(g, axes, x.shape), exp(subtract(x, _kept(out, axes, x.shape)))))
def _logsumexp(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    return current().logsumexp(x, axis=axes, keepdims=keepdims)


def _axes(x: Any, axis: Axis) -> tuple[int, ...]:
    """The axes meant, none negative."""
    if axis is None:
        return tuple(range(x.ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    if not all(isinstance(i, int | np.integer) for i in axes):
        raise TypeError(f"axis is {axis!r}: an integer, a tuple of integers or None is needed")
    return tuple(sorted([place(x, i) for i in axes]))


def _kept(g: Any, axes: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    """``g`` with the reduced axes of ``shape`` back, of length 1."""
    return reshape(g, tuple([1 if i in axes else n for i, n in enumerate(shape)]))


def _integer_sum(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """The sum of integers or truth values, which is exact in any order."""
    total: Any = np.add
    return total.reduce(x, axis=axes, keepdims=keepdims, dtype=np.int64)  # type: ignore[no-any-return]


def _count(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    return math.prod([shape[i] for i in axes])
