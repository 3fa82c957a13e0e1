"""Operations that move elements and leave them as they are: their rules move the gradients back.

Results are views of their argument where NumPy can make one.
"""

# ruff: noqa: PLW0108 - a rule's parameters say what it needs

import itertools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from samebits.autograd.graph import Array, Operation, recording
from samebits.autograd.operations import operation, record
from samebits.autograd.ops.indexing import getitem, place
from samebits.autograd.tensor import Axis, Tensor, wrap


def reshape(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The elements in C order in another shape; one length may be -1."""
    return x if x.shape == shape else _reshape(x, shape, x.shape)


@operation(lambda g, before: reshape(g, before))
def _reshape(x: Array, shape: tuple[int, ...], before: tuple[int, ...]) -> Array:  # noqa: ARG001
    return x.reshape(shape)


def transpose(x: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    """The axes in another order, by default reversed."""
    order = tuple(range(x.ndim))[::-1] if axes is None else tuple(operator.index(i) for i in axes)
    return _transpose(x, order)


@operation(lambda g, axes: transpose(g, _inverse(axes)))
def _transpose(x: Array, axes: tuple[int, ...]) -> Array:
    return x.transpose(axes)


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    order = [i % len(axes) for i in axes]
    return tuple([order.index(i) for i in range(len(axes))])


def swapaxes(x: Tensor, axis1: int, axis2: int) -> Tensor:
    """Two axes exchanged."""
    return _swapaxes(x, axis1, axis2)


@operation(lambda g, axis1, axis2: swapaxes(g, axis1, axis2))
def _swapaxes(x: Array, axis1: int, axis2: int) -> Array:
    return x.swapaxes(axis1, axis2)


def squeeze(x: Tensor, axis: Axis = None) -> Tensor:
    """Without the axes of length 1, or without those named.

    Raises:
        ValueError: A named axis has another length.
    """
    return _squeeze(x, axis, x.shape)


@operation(lambda g, before: reshape(g, before))
def _squeeze(x: Array, axis: Axis, before: tuple[int, ...]) -> Array:  # noqa: ARG001
    return x.squeeze(axis)


def concatenate(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """Tensors one after the other along an axis that they have.

    Raises:
        ValueError: There are none, or their other axes differ.
        TypeError: Their dtypes differ, or ``axis`` is None.
    """
    if axis is None:
        raise TypeError("concatenate: an axis is needed, not None: reshape the tensors to (-1,) for a flat one")
    parts = list(tensors)
    plain = all(isinstance(x, np.ndarray) for x in parts)
    given = [x if plain or isinstance(x, Tensor) else Tensor(x) for x in parts]
    arrays = [x.data if isinstance(x, Tensor) else x for x in given]
    if len({array.dtype for array in arrays}) > 1:
        raise TypeError(f"concatenate: the dtypes differ: {', '.join([str(array.dtype) for array in arrays])}; use astype")
    data = np.concatenate(arrays, axis)
    nodes = tuple([x.node if isinstance(x, Tensor) else None for x in given])
    if not any(nodes) or not recording.get():
        return wrap(data, None) if any(isinstance(x, Tensor) for x in given) else data  # type: ignore[return-value]
    ends = list(itertools.accumulate([array.shape[axis] for array in arrays]))
    lead = (slice(None),) * (axis % data.ndim)
    return record(_CONCATENATE, nodes, [[(*lead, slice(a, b)) for a, b in itertools.pairwise([0, *ends])]], data)


_CONCATENATE = Operation("concatenate", joint=lambda g, places: [getitem(g, place) for place in places])


def stack(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """Tensors of one shape one after the other along a new axis."""
    given = [x if isinstance(x, Tensor | np.ndarray) else Tensor(x) for x in tensors]
    shapes = {x.shape for x in given}
    if len(shapes) != 1:
        raise ValueError(
            f"stack: the shapes differ: {', '.join([str(x.shape) for x in given])}" if given else "stack: no tensors given"
        )
    (shape,) = shapes
    if not -len(shape) - 1 <= axis <= len(shape):
        raise np.exceptions.AxisError(axis, len(shape) + 1)
    axis %= len(shape) + 1
    return concatenate([reshape(x, (*shape[:axis], 1, *shape[axis:])) for x in given], axis)  # type: ignore[arg-type]


def split(x: Tensor, sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Cut along an axis into so many equal parts, or before each of the given indices, as in `numpy.split`.

    Raises:
        ValueError: The length cannot be cut into that many equal parts.
    """
    axis = place(x, axis)
    length = x.shape[axis]
    if isinstance(sections, int | np.integer):
        if sections < 1 or length % sections:
            raise ValueError(f"split: {length} elements along axis {axis} cannot be cut into {sections} equal parts")
        ends = [length // sections * i for i in range(1, int(sections))]
    else:
        ends = [operator.index(i) for i in sections]
    lead = (slice(None),) * axis
    return [getitem(x, (*lead, slice(a, b))) for a, b in zip([0, *ends], [*ends, length], strict=True)]
