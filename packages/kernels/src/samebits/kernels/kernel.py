"""Calls of compiled kernels on NumPy arrays.

The library is given one pointer, to a call: the rows to work on, the elements of a row, the kernel, and the arrays (c/call.c).
ctypes gives the GIL back while the kernel runs.
"""

import ctypes
import struct
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.kernels.pool import BLOCK, each_block, threads

__all__ = ["Kernel", "layout"]

SCRATCH = 2**19
"""Elements of a thread's scratch, MEMORY in c/kernels.h."""

Array = npt.NDArray[Any]

_NOT_FINITE = 1  # what a C function returns then; 2 means that NumPy must compute
_UNFIT = 3  # what the library returns of arrays that have other dtypes or are not C-contiguous
_PACK = [struct.Struct(f"3q3P2q{count}P").pack for count in range(17)]
_read = ctypes.c_void_p.from_address


class _Scratch(threading.local):
    """Memory that a kernel may use, each thread its own."""

    def __init__(self) -> None:
        self.array = np.empty(SCRATCH)
        self.address = self.array.ctypes.data


_SCRATCH = _Scratch()


def _offset() -> int:
    """Where in an array object NumPy's part begins, after Python's own; -1 if it is not there, or not as c/call.c has it."""
    arrays = [np.empty(n, dtype)[::step] for n, dtype, step in ((4, np.float32, 1), (3, np.int64, 2), (1000, np.float64, 1))]
    for offset in (16, 32):  # with and without the GIL
        found = [[_read(id(x) + offset + place).value for place in (0, 40)] for x in arrays]
        flags = [ctypes.c_int.from_address(id(x) + offset + 48).value & 1 for x in arrays]
        if found == [[x.ctypes.data, id(x.dtype)] for x in arrays] and flags == [1, 0, 1]:
            return offset
    return -1


_OFFSET = _offset()


@cache
def layout(dtypes: tuple[np.dtype[Any], ...]) -> int:
    """Return what `Kernel.__call__` needs to check the dtypes of arrays, 0 where it cannot.

    Example:
        >>> layout((np.dtype(np.float32),)) >= 0
        True
    """
    if _OFFSET < 0:
        return 0
    table = (ctypes.c_void_p * len(dtypes))(*map(id, dtypes))
    _TABLES.append((table, dtypes))
    return ctypes.addressof(table)


_TABLES: list[Any] = []  # keeps those of `layout` alive


class Kernel:
    """A compiled function.

    ``kernel(rows, columns, arrays)`` fills the first of the arrays, for all rows, in threads where that is worth it. The
    arrays must be C-contiguous and of the dtypes and shapes that the C function expects. False means that it could not decide
    on some bits, and that NumPy must compute all. With a `layout`, None means that the arrays are not C-contiguous or of other
    dtypes; without, that is not checked.

    Raises FloatingPointError, without a message, if an argument that must be finite is not.

    Args:
        name: Its name in the library.
        call: The library's function that calls kernels.
        function: Its address.

    Example:
        >>> Kernel("nothing", lambda call: 0)(1, 1, [np.zeros(1)])
        True
    """

    def __init__(self, name: str, call: Callable[[bytes], int], function: int = 0) -> None:
        self.name, self._call, self._function = name, call, function

    def __repr__(self) -> str:
        return f"Kernel({self.name!r})"

    def __call__(self, rows: int, columns: int, arrays: list[Array], group: int = 1, dtypes: int = 0) -> bool | None:
        # `arrays` keeps the objects alive, and where an array's data are does not change
        places = map(id, arrays) if _OFFSET >= 0 else [x.ctypes.data for x in arrays]
        count = len(arrays)
        if rows * columns <= BLOCK or threads() == 1:
            job = _PACK[count](0, rows, columns, _SCRATCH.address, self._function, dtypes, _OFFSET, count, *places)
            found = self._call(job)
        else:
            found = self._by_blocks(rows, columns, group, [dtypes, _OFFSET, count, *places], arrays)
        if found == _NOT_FINITE:
            raise FloatingPointError
        return None if found == _UNFIT else found == 0

    def _by_blocks(self, rows: int, columns: int, group: int, rest: list[int], arrays: list[Array]) -> int:
        call, function, pack, problems = self._call, self._function, _PACK[rest[2]], []

        def run(start: int, stop: int, _: list[Array] = arrays) -> None:  # they must outlive a caller who is interrupted
            found = call(pack(start, stop, columns, _SCRATCH.address, function, *rest))
            if found:
                problems.append(found)

        each_block(run, rows, columns, group)
        return _NOT_FINITE if _NOT_FINITE in problems else problems[0] if problems else 0
