"""Comparisons and logic: tensors of booleans, which have no gradients.

``&``, ``|``, ``^`` and ``~`` are for booleans and for the bits of integers, as in NumPy.
"""

# ruff: noqa: A001 - NumPy's names

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from samebits.autograd.operations import operands
from samebits.autograd.ops.axes import either, places
from samebits.autograd.tensor import Axis, Tensor, wrap


def any(x: Tensor, axis: Axis = None, *, keepdims: bool = False, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """Whether an element along ``axis`` is true, which is not zero; False over no elements.

    Example:
        >>> any(Tensor([[1.0, -1.0], [2.0, 3.0]]) < 0, axis=1)
        Tensor([ True, False])
    """
    axes = places("any", x, either(axis, dim))
    return _reduced(np.any, x, axes, keepdims or keepdim)


def all(x: Tensor, axis: Axis = None, *, keepdims: bool = False, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """Whether all elements along ``axis`` are true, which is not zero; True over no elements.

    Example:
        >>> all(Tensor([[1.0, -1.0], [2.0, 3.0]]) > 0, axis=1)
        Tensor([False,  True])
    """
    axes = places("all", x, either(axis, dim))
    return _reduced(np.all, x, axes, keepdims or keepdim)


def compared(function: np.ufunc) -> Callable[[Any, Any], Tensor]:
    """The operator for one of NumPy's comparisons."""

    def compare(a: Tensor, b: Any) -> Tensor:
        if not isinstance(b, Tensor | np.ndarray | np.generic | bool | int | float | list | tuple):
            return NotImplemented  # type: ignore[no-any-return]
        x, y = operands(function.__name__, a, b)
        return wrap(function(x.data, y.data), None)

    return compare


def logical(function: np.ufunc) -> Callable[[Any, Any], Tensor]:
    """The operator for one of NumPy's functions of bits."""

    def combine(a: Tensor, b: Any) -> Tensor:
        x, y = operands(function.__name__, a, b)
        _refuse_floating(function.__name__, x, y)
        return wrap(function(x.data, y.data), None)

    return combine


def invert(x: Tensor) -> Tensor:
    """not x, of booleans; the bits of integers inverted."""
    _refuse_floating("invert", x)
    return wrap(np.invert(x.data), None)


def _refuse_floating(name: str, *tensors: Tensor) -> None:
    for x in tensors:
        if x.dtype.kind == "f":
            raise TypeError(f"{name}: operands must be bool or int64, got {x.dtype}; compare first, as in (x > 0) & (y > 0)")


def _reduced(function: Callable[..., Any], x: Any, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    """A tensor, if x is one."""
    result: Any = function(x.data if isinstance(x, Tensor) else x, axis=axes, keepdims=keepdims)
    return wrap(result, None) if isinstance(x, Tensor) else cast("Tensor", result)
