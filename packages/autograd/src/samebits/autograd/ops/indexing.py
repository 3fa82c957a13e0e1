"""Indexing, and its transpose `scatter`: an element that was read more than once gets the sum of the gradients.

Integers, slices, None and ... read each element at most once, so the gradient is written in place (`Part`).
Arrays of integers may repeat: the gradients of repeated rows are added by ``segment_sum`` of the active arithmetic.
"""

# ruff: noqa: PLW0108 - a rule's parameters say what it needs

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from samebits.autograd.graph import Array, Part, Value
from samebits.autograd.operations import operation
from samebits.autograd.ops.axes import either, place
from samebits.autograd.ops.shapes import reshape
from samebits.autograd.tensor import Tensor
from samebits.core import current


def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index]: integers, slices, None, ..., arrays of integers or booleans, and tuples of these, as in NumPy."""
    return _getitem(x, index, x.shape)


@operation(
    lambda g, index, shape: scatter(g, index, shape) if isinstance(g, Tensor) or _is_fancy(index) else Part(g, index, shape)
)
def _getitem(x: Value, index: Any, shape: tuple[int, ...]) -> Any:  # noqa: ARG001
    return x[index]


def scatter(g: Tensor, index: Any, shape: tuple[int, ...]) -> Tensor:
    """Zeros of ``shape``, with ``g`` added at ``index``, repeated indices included."""
    return _scatter(g, index, shape)


@operation(lambda gg, index: getitem(gg, index))
def _scatter(g: Value, index: Any, shape: tuple[int, ...]) -> Any:
    if not _is_fancy(index):
        return Part(g, index, shape).dense()
    rows = _rows(index, shape)
    if rows is not None:
        axis, ids = rows
        values = np.moveaxis(g, range(axis, axis + ids.ndim), range(ids.ndim))
        rest = values.shape[ids.ndim :]
        sums = current().segment_sum(np.ascontiguousarray(values).reshape(ids.size, *rest), ids.reshape(-1), shape[axis])
        return np.moveaxis(sums, 0, axis)
    size = math.prod(shape)
    flat = np.arange(size, dtype=np.int64).reshape(shape)[index]
    sums = current().segment_sum(np.ascontiguousarray(g).reshape(-1), flat.reshape(-1), size)
    return sums.reshape(shape)


def take(x: Tensor, indices: Any, axis: int | None = None) -> Tensor:
    """The elements at ``indices`` (integers of any shape) along ``axis``, or of x flattened.

    Example:
        >>> take(Tensor([[1.0, 2.0], [3.0, 4.0]]), [1, 0], axis=1)
        Tensor([[2., 1.],
                [4., 3.]])
    """
    ids = np.asarray(indices.data if isinstance(indices, Tensor) else indices)
    if axis is None:
        return getitem(reshape(x, (math.prod(x.shape),)), ids)
    return getitem(x, (slice(None),) * place(x, axis) + (ids,))


def split(x: Tensor, sections: int | Sequence[int], axis: int = 0, *, dim: int | None = None) -> list[Tensor]:
    """Cut along an axis into ``sections`` equal parts, or before each of the given indices, as `numpy.split` does.

    Raises:
        ValueError: The length cannot be cut into that many equal parts.

    Example:
        >>> split(Tensor([1.0, 2.0, 3.0, 4.0]), 2)
        [Tensor([1., 2.]), Tensor([3., 4.])]
    """
    axis = place(x, either(axis, dim, 0))
    length = x.shape[axis]
    if isinstance(sections, int | np.integer):
        if sections < 1 or length % sections:
            raise ValueError(f"split: sections must divide the length {length} of axis {axis}, got {sections}")
        ends = [length // int(sections) * i for i in range(1, int(sections))]
    else:
        ends = [operator.index(i) for i in sections]
    lead = (slice(None),) * axis
    return [getitem(x, (*lead, slice(a, b))) for a, b in zip([0, *ends], [*ends, length], strict=True)]


def _is_fancy(index: Any) -> bool:
    """Whether it is NumPy's advanced indexing, which may read an element more than once."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(part, list | bool | np.bool_ | np.ndarray) for part in parts)


def _rows(index: Any, shape: tuple[int, ...]) -> tuple[int, Array] | None:
    """(axis, ids) if ``index`` is whole slices and then one array of integers, as for embeddings."""
    parts = index if isinstance(index, tuple) else (index,)
    *lead, last = parts
    if not isinstance(last, np.ndarray | list) or any(not isinstance(part, slice) or part != slice(None) for part in lead):
        return None
    ids = np.asarray(last)
    if ids.dtype.kind not in "iu":
        return None
    length = np.int64(shape[len(lead)])
    ids = ids.astype(np.int64)
    return len(lead), np.where(ids < 0, ids + length, ids)
