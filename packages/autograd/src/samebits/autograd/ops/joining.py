"""Joining tensors: `concatenate` and `stack`. The gradient is cut into the parts again."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from samebits.autograd.graph import Operation, recording
from samebits.autograd.operations import record
from samebits.autograd.ops.axes import either
from samebits.autograd.ops.indexing import getitem
from samebits.autograd.ops.shapes import expand_dims
from samebits.autograd.tensor import Tensor, wrap

_CONCATENATE = Operation("concatenate", joint=lambda g, places: [getitem(g, place) for place in places])


def concatenate(tensors: Sequence[Any], axis: int = 0, *, dim: int | None = None) -> Tensor:
    """Join tensors along an axis that they have.

    Raises:
        ValueError: There are none, or their other axes differ.
        TypeError: Their dtypes differ, or ``axis`` is None.

    Example:
        >>> concatenate([Tensor([1.0, 2.0]), [3.0]])
        Tensor([1., 2., 3.])
    """
    axis = either(axis, dim, 0)
    if axis is None:
        raise TypeError("concatenate: axis must be an int, got None; reshape the tensors to (-1,) for a flat result")
    parts = list(tensors)
    plain = all(isinstance(x, np.ndarray) for x in parts)
    given = [x if plain or isinstance(x, Tensor) else Tensor(x) for x in parts]
    arrays = [x.data if isinstance(x, Tensor) else x for x in given]
    if len({array.dtype for array in arrays}) > 1:
        names = ", ".join([str(array.dtype) for array in arrays])
        raise TypeError(f"concatenate: tensors must have one dtype, got {names}; convert with astype")
    data = np.concatenate(arrays, axis)
    nodes = tuple([x.node if isinstance(x, Tensor) else None for x in given])
    if not any(nodes) or not recording.get():
        return wrap(data, None) if any(isinstance(x, Tensor) for x in given) else data  # type: ignore[return-value]
    ends = list(itertools.accumulate([array.shape[axis] for array in arrays]))
    lead = (slice(None),) * (axis % data.ndim)
    return record(_CONCATENATE, nodes, [[(*lead, slice(a, b)) for a, b in itertools.pairwise([0, *ends])]], data)


def stack(tensors: Sequence[Any], axis: int = 0, *, dim: int | None = None) -> Tensor:
    """Join tensors of one shape along a new axis.

    Raises:
        ValueError: There are none, or their shapes differ.

    Example:
        >>> stack([Tensor([1.0, 2.0]), Tensor([3.0, 4.0])], axis=1)
        Tensor([[1., 3.],
                [2., 4.]])
    """
    axis = either(axis, dim, 0)
    given = [x if isinstance(x, Tensor | np.ndarray) else Tensor(x) for x in tensors]
    shapes = {x.shape for x in given}
    if len(shapes) != 1:
        found = ", ".join([str(x.shape) for x in given]) or "no tensors"
        raise ValueError(f"stack: tensors must have one shape, got {found}")
    return concatenate([expand_dims(x, axis) for x in given], axis)  # type: ignore[arg-type]
