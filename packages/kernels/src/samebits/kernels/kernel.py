"""Calls of compiled kernels on NumPy arrays.

A kernel takes one pointer, to a job: the rows to work on, the elements of a row, and where the arrays are (c/kernels.h).
ctypes gives the GIL back while it runs.
"""

import ctypes
import struct
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.kernels.pool import BLOCK, each_block

__all__ = ["Kernel", "address"]

SCRATCH = 2**14
"""Elements of a thread's scratch, as in c/kernels.h."""

Array = npt.NDArray[Any]

_NOT_FINITE = 1  # what a C function returns then; 2 means that NumPy must compute
_PACK = [struct.Struct(f"3q{count}P").pack for count in range(1, 18)]
_read = ctypes.c_void_p.from_address


class _Scratch(threading.local):
    """Memory that a kernel may use, each thread its own."""

    def __init__(self) -> None:
        self.array = np.empty(SCRATCH)
        self.address = self.array.ctypes.data


_SCRATCH = _Scratch()


def _offset() -> int | None:
    """Where in an array object NumPy keeps the address of its data, which follows Python's own part; None if it is not there."""
    arrays = [np.empty(n, dtype) for n, dtype in ((1, np.float32), (3, np.int64), (1000, np.float64))]
    for offset in (16, 32):  # with and without the GIL
        if all(_read(id(x) + offset).value == x.ctypes.data for x in arrays):
            return offset
    return None


_OFFSET = _offset()


def address(x: Array) -> int:
    """Return where the data of an array begins.

    ``x.ctypes.data`` takes longer than a kernel on a small array; reading the object is ten times as fast.

    >>> address(x := np.zeros(3)) == x.ctypes.data
    True
    """
    return (_read(id(x) + _OFFSET).value or 0) if _OFFSET is not None else x.ctypes.data


class Kernel:
    """A compiled function.

    ``kernel(rows, columns, arrays)`` fills the first of the arrays, for all rows, in threads where that is worth it. The
    arrays must be C-contiguous and of the dtypes and shapes that the C function expects: this is not checked. False means
    that it could not decide on some bits, and that NumPy must compute all.

    Raises FloatingPointError, without a message, if an argument that must be finite is not.

    Example:
        >>> Kernel("nothing", lambda job: 0)(1, 1, [np.zeros(1)])
        True
    """

    def __init__(self, name: str, function: Callable[[bytes], int]) -> None:
        self.name, self._function = name, function

    def __repr__(self) -> str:
        return f"Kernel({self.name!r})"

    def __call__(self, rows: int, columns: int, arrays: list[Array], group: int = 1) -> bool:
        pack, addresses, function = _PACK[len(arrays)], [address(x) for x in arrays], self._function
        if rows * columns <= BLOCK:
            found = function(pack(0, rows, columns, _SCRATCH.address, *addresses))
            if found == _NOT_FINITE:
                raise FloatingPointError
            return found == 0
        problems = []

        def run(start: int, stop: int) -> None:
            found = function(pack(start, stop, columns, _SCRATCH.address, *addresses))
            if found:
                problems.append(found)

        each_block(run, rows, columns, group)
        if _NOT_FINITE in problems:
            raise FloatingPointError
        return not problems
