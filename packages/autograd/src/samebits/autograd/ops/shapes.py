"""Operations that change shapes and keep the elements: their rules change the gradients' shapes back.

Results are views of their argument where NumPy can make one.
"""

# ruff: noqa: PLW0108 - a rule's parameters say what it needs

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from samebits.autograd.graph import Value
from samebits.autograd.operations import operation
from samebits.autograd.ops.axes import either, place
from samebits.autograd.tensor import Axis, Tensor


def reshape(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The elements in C order in another shape; one length may be -1.

    Example:
        >>> reshape(Tensor([1.0, 2.0, 3.0, 4.0]), (2, -1))
        Tensor([[1., 2.],
                [3., 4.]])
    """
    return x if x.shape == shape else _reshape(x, shape, x.shape)


@operation(lambda g, before: reshape(g, before))
def _reshape(x: Value, shape: tuple[int, ...], before: tuple[int, ...]) -> Any:  # noqa: ARG001
    return x.reshape(shape)


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from ``start_dim`` to ``end_dim``, both included, as one; by default all.

    Example:
        >>> flatten(Tensor([[1.0, 2.0], [3.0, 4.0]]))
        Tensor([1., 2., 3., 4.])
    """
    if not x.ndim:
        return reshape(x, (1,))
    start, end = place(x, start_dim), place(x, end_dim)
    if start > end:
        raise ValueError(f"flatten: start_dim must not come after end_dim, got {start_dim} and {end_dim}")
    return reshape(x, (*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :]))


def transpose(x: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    """The axes in another order, by default reversed.

    Example:
        >>> transpose(Tensor([[1.0, 2.0], [3.0, 4.0]]))
        Tensor([[1., 3.],
                [2., 4.]])
    """
    order = tuple(range(x.ndim))[::-1] if axes is None else tuple(operator.index(i) for i in axes)
    return _transpose(x, order)


@operation(lambda g, axes: transpose(g, _inverse(axes)))
def _transpose(x: Value, axes: tuple[int, ...]) -> Any:
    return x.transpose(axes)


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    order = [i % len(axes) for i in axes]
    return tuple([order.index(i) for i in range(len(axes))])


def swapaxes(x: Tensor, axis1: int, axis2: int) -> Tensor:
    """Two axes exchanged.

    Example:
        >>> swapaxes(Tensor([[[1.0, 2.0]]]), 0, 2).shape
        (2, 1, 1)
    """
    return _swapaxes(x, axis1, axis2)


@operation(lambda g, axis1, axis2: swapaxes(g, axis1, axis2))
def _swapaxes(x: Value, axis1: int, axis2: int) -> Any:
    return x.swapaxes(axis1, axis2)


def squeeze(x: Tensor, axis: Axis = None, *, dim: Axis = None) -> Tensor:
    """The tensor without its axes of length 1, or without those named.

    Raises:
        ValueError: A named axis has another length.

    Example:
        >>> squeeze(Tensor([[1.0, 2.0]]))
        Tensor([1., 2.])
    """
    return _squeeze(x, either(axis, dim), x.shape)


@operation(lambda g, before: reshape(g, before))
def _squeeze(x: Value, axis: Axis, before: tuple[int, ...]) -> Any:  # noqa: ARG001
    return x.squeeze(axis)


def expand_dims(x: Tensor, axis: Axis = None, *, dim: int | None = None) -> Tensor:
    """The tensor with new axes of length 1, at ``axis`` of the result. ``unsqueeze`` is the same function.

    Example:
        >>> expand_dims(Tensor([1.0, 2.0]), 0)
        Tensor([[1., 2.]])
    """
    meant = either(axis, dim)
    if meant is None:
        raise TypeError("expand_dims: axis must be an int or a tuple of ints, got None")
    new = meant if isinstance(meant, tuple) else (meant,)
    result = x.ndim + len(new)
    for i in new:
        if not -result <= i < result:
            raise np.exceptions.AxisError(i, result)
    at = {operator.index(i) % result for i in new}
    if len(at) < len(new):
        raise ValueError(f"expand_dims: axis must not name an axis twice, got {meant}")
    lengths = iter(x.shape)
    return reshape(x, tuple([1 if i in at else next(lengths) for i in range(result)]))
