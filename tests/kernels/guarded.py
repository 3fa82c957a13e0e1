"""A plugin for pytest: kernels work on arrays between two pages that may not be touched.

    python -m pytest -p tests.kernels.guarded tests/kernels/test_pairs.py

A kernel that reads or writes outside of an array ends the process. Every kernel runs twice: on arrays that end where a
forbidden page begins, and on arrays that begin where one ends. `./nox -s sanitize` runs it.
"""

import ctypes
import mmap
from typing import Any

import numpy as np

from samebits.kernels import kernel

_PAGE = mmap.PAGESIZE
_PROTECT = ctypes.CDLL(None, use_errno=True).mprotect


class Guarded:
    """Memory for so many bytes between two forbidden pages."""

    def __init__(self, size: int) -> None:
        self.pages = -(-max(size, 1) // _PAGE)
        self.memory = mmap.mmap(-1, (self.pages + 2) * _PAGE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        for place in (0, (self.pages + 1) * _PAGE):
            self.protect(place, 0)

    def protect(self, place: int, allowed: int) -> None:
        if _PROTECT(ctypes.c_void_p(self.address + place), ctypes.c_size_t(_PAGE), allowed):
            raise OSError(ctypes.get_errno(), "mprotect")

    def array(self, x: Any, *, at_the_end: bool) -> Any:
        """A copy of x at the beginning or the end of the memory."""
        place = _PAGE + (self.pages * _PAGE - x.nbytes) * at_the_end
        copy = np.frombuffer(self.memory, x.dtype, x.size, place if x.size else _PAGE).reshape(x.shape)
        copy[...] = x
        return copy


def _guarded(self: kernel.Kernel, rows: int, columns: int, arrays: list[Any], *others: int) -> bool | None:
    for at_the_end in (True, False):
        copies = {id(x): Guarded(x.nbytes).array(x, at_the_end=at_the_end) for x in arrays}  # a result may be an argument
        found = _call(self, rows, columns, [copies[id(x)] for x in arrays], *others)
    for x in arrays:
        if x.flags.writeable:
            x[...] = copies[id(x)]
    return found


_call = kernel.Kernel.__call__
kernel.Kernel.__call__ = _guarded  # type: ignore[method-assign]
