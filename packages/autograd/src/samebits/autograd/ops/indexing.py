"""Indexing, and its other direction, `scatter`: what was read more than once gets the sum of the gradients.

Integers, slices, None and ... read each element at most once, so the gradient is written where it belongs (`Part`).
Arrays of integers may repeat: the sums of repeated rows are the same-bit sums of `samebits.core.indexing`.
"""

# ruff: noqa: PLW0108 - a rule's parameters say what it needs

import math
from typing import Any

import numpy as np

from samebits.autograd.graph import Array, Part
from samebits.autograd.operations import operation
from samebits.autograd.tensor import Tensor
from samebits.core import current


def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index]: integers, slices, None, ..., arrays of integers or truth values, and tuples of these, as in NumPy."""
    return _getitem(x, index, x.shape)


@operation(
    lambda g, index, shape: scatter(g, index, shape) if isinstance(g, Tensor) or _is_fancy(index) else Part(g, index, shape)
)
def _getitem(x: Array, index: Any, shape: tuple[int, ...]) -> Array:  # noqa: ARG001
    return x[index]  # type: ignore[no-any-return]


def scatter(g: Tensor, index: Any, shape: tuple[int, ...]) -> Tensor:
    """Zeros of ``shape``, with ``g`` added at ``index``, repeated indices included."""
    return _scatter(g, index, shape)


@operation(lambda gg, index: getitem(gg, index))
def _scatter(g: Array, index: Any, shape: tuple[int, ...]) -> Array:
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
    places = np.arange(size, dtype=np.int64).reshape(shape)[index]
    sums = current().segment_sum(np.ascontiguousarray(g).reshape(-1), places.reshape(-1), size)
    return sums.reshape(shape)


def take(x: Tensor, indices: Any, axis: int | None = None) -> Tensor:
    """The elements at ``indices`` (integers of any shape) along ``axis``, or of x flattened."""
    ids = np.asarray(indices.data if isinstance(indices, Tensor) else indices)
    if axis is None:
        from samebits.autograd.ops.shapes import reshape

        return getitem(reshape(x, (math.prod(x.shape),)), ids)
    return getitem(x, (slice(None),) * place(x, axis) + (ids,))


def place(x: Tensor, axis: int) -> int:
    """The axis meant, not negative."""
    if not -x.ndim <= axis < x.ndim:
        raise np.exceptions.AxisError(axis, x.ndim)
    return axis % x.ndim


def _is_fancy(index: Any) -> bool:
    """Whether NumPy's advanced indexing is meant, which may read an element more than once."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(part, list | bool | np.bool_ | np.ndarray) for part in parts)


def _rows(index: Any, shape: tuple[int, ...]) -> tuple[int, np.ndarray[Any, np.dtype[np.int64]]] | None:
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
