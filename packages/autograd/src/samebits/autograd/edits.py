"""Edits: which arrays were modified in place, and when.

A backward pass must see the arrays that the forward pass saw. Arrays given to `Tensor` are copied and arrays returned by
``numpy()`` are read-only, so `Tensor.edit` is the only way to write. It records the time on the graph's clock here, by the
array that owns the memory, so that views of it are found too. A pass compares two numbers per node, and looks here only
where something was edited after the node was recorded.
"""

import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core.blocks import is_whole

__all__ = ["freeze", "note", "own", "owner", "stamp_of", "thaw"]

Array = npt.NDArray[Any]

last = 0
_edited: dict[int, tuple[weakref.ref[Array], int]] = {}
_frozen: dict[int, weakref.ref[Array]] = {}


def owner(array: Array) -> Array:
    """The array that owns the memory of a view."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def own(g: Array, seen: set[int]) -> Array:
    """``g``, copied if another gradient has its memory, or if it is a view into a larger array."""
    if not g.shape:
        return g[()]
    whole = owner(g)
    if id(whole) in seen or not is_whole(g, whole) or not (g.flags.c_contiguous and g.flags.writeable):
        return np.array(g, order="C")
    seen.add(id(whole))
    return g


def note(array: Array, stamp: int) -> None:
    """Record that the memory of ``array`` was modified at ``stamp``."""
    global last  # noqa: PLW0603 - one clock, one last edit
    whole = owner(array)
    key = id(whole)
    reference, _ = _edited.get(key, (None, 0))
    if reference is None or reference() is not whole:
        reference = weakref.ref(whole, lambda _: _edited.pop(key, None))
    _edited[key] = reference, stamp
    last = max(last, stamp)


def freeze(array: Array) -> None:
    """Make the array read-only until it is edited: for callers that cache what was computed from it."""
    if array.flags.writeable:
        key = id(array)
        array.flags.writeable = False
        _frozen[key] = weakref.ref(array, lambda _: _frozen.pop(key, None))


def thaw(array: Array) -> None:
    """Undo `freeze`."""
    if _frozen.pop(id(array), None) is not None:
        array.flags.writeable = True


def stamp_of(array: Array) -> int:
    """When the memory of ``array`` was last modified, 0 if never."""
    reference, stamp = _edited.get(id(owner(array)), (None, 0))
    return stamp if reference is not None and reference() is not None else 0
