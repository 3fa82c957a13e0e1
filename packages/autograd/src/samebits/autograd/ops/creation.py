"""Tensors from shapes and numbers: `zeros`, `ones`, `full`, `arange`."""

import math
import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.autograd.tensor import Tensor


def zeros(shape: int | tuple[int, ...], dtype: npt.DTypeLike = np.float32, *, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros.

    Example:
        >>> zeros((2, 2))
        Tensor([[0., 0.],
                [0., 0.]])
    """
    return _filled("zeros", shape, 0, dtype, requires_grad)


def ones(shape: int | tuple[int, ...], dtype: npt.DTypeLike = np.float32, *, requires_grad: bool = False) -> Tensor:
    """A tensor of ones.

    Example:
        >>> ones(3, dtype="int64")
        Tensor([1, 1, 1])
    """
    return _filled("ones", shape, 1, dtype, requires_grad)


def full(
    shape: int | tuple[int, ...], value: float, dtype: npt.DTypeLike | None = None, *, requires_grad: bool = False
) -> Tensor:
    """A tensor of one value. By default a Python float becomes float32, an int int64.

    Example:
        >>> full((2,), 0.5)
        Tensor([0.5, 0.5])
    """
    number = value.item() if isinstance(value, np.generic) else value
    return _filled("full", shape, number, Tensor(number).dtype if dtype is None else dtype, requires_grad)


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1,
    dtype: npt.DTypeLike | None = None,
    *,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, start + 2 step, ... below ``stop`` (above it, for a negative step); ``arange(n)`` starts at 0.

    Element i is start + i step in float64, rounded once. By default integers give int64, Python floats float32.

    Raises:
        ValueError: ``step`` is 0.

    Example:
        >>> arange(3)
        Tensor([0, 1, 2])
        >>> arange(1.0, 2.0, 0.25)
        Tensor([1.  , 1.25, 1.5 , 1.75])
    """
    first, end = (0, start) if stop is None else (start, stop)
    if step == 0:
        raise ValueError("arange: step must not be 0, got 0")
    whole = all(isinstance(x, int | np.integer) for x in (first, end, step))
    if whole:
        places: Any = np.arange(int(first), int(end), int(step), dtype=np.int64)
    else:
        count = max(0, math.ceil((float(end) - float(first)) / float(step)))
        places = np.arange(count, dtype=np.int64) * float(step) + float(first)
    return Tensor(places, (np.int64 if whole else np.float32) if dtype is None else dtype, requires_grad=requires_grad)


def _filled(name: str, shape: Any, value: float, dtype: npt.DTypeLike, requires_grad: bool) -> Tensor:
    try:
        lengths = tuple([operator.index(n) for n in (shape if isinstance(shape, tuple | list) else (shape,))])
    except TypeError:
        raise TypeError(f"{name}: shape must be an int or a tuple of ints, got {shape!r}") from None
    return Tensor(np.full(lengths, value), dtype, requires_grad=requires_grad)
