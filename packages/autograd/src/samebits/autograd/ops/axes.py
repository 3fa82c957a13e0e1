"""Axes: which axes of an array the arguments ``axis`` and ``dim`` mean."""

import math
import operator
from typing import Any

import numpy as np

from samebits.autograd.tensor import Axis


def either(axis: Any, dim: Any, default: int | None = None) -> Any:
    """``dim``, PyTorch's name for ``axis``, where it is given, otherwise ``axis``.

    Raises:
        TypeError: Both are given.
    """
    if dim is None:
        return axis
    if axis != default:
        raise TypeError(f"dim is another name for axis: pass one of them, got axis={axis!r} and dim={dim!r}")
    return dim


def place(x: Any, axis: int) -> int:
    """The axis of x meant, not negative."""
    if not -x.ndim <= axis < x.ndim:
        raise np.exceptions.AxisError(axis, x.ndim)
    return axis % x.ndim  # type: ignore[no-any-return]


def places(name: str, x: Any, axis: Axis) -> tuple[int, ...]:
    """The axes of x meant, none negative, in order; all for None."""
    if axis is None:
        return tuple(range(x.ndim))
    try:
        axes = tuple([operator.index(i) for i in (axis if isinstance(axis, tuple) else (axis,))])
    except TypeError:
        raise TypeError(f"{name}: axis must be an int, a tuple of ints or None, got {axis!r}") from None
    return tuple(sorted([place(x, i) for i in axes]))


def count(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    """How many elements are reduced to one."""
    return math.prod([shape[i] for i in axes])


def shape_of(lengths: tuple[Any, ...]) -> tuple[int, ...]:
    """One shape, of ``f(x, 2, 3)`` as of ``f(x, (2, 3))``."""
    return tuple(lengths[0]) if len(lengths) == 1 and isinstance(lengths[0], tuple | list) else lengths
