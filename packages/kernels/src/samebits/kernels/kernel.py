"""Calls of compiled kernels on NumPy arrays.

The library is given one pointer, to a call: the rows to work on, the elements of a row, the kernel, and the arrays (c/call.c).
ctypes gives the GIL back while the kernel runs.
"""

import ctypes
import struct
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.kernels.pool import BLOCK, each_block

__all__ = ["Kernel"]

SCRATCH = 2**14
"""Elements of a thread's scratch, as in c/kernels.h."""

Array = npt.NDArray[Any]

_NOT_FINITE = 1  # what a C function returns then; 2 means that NumPy must compute
_PACK = [struct.Struct(f"3q2P2q{count}P").pack for count in range(17)]
_read = ctypes.c_void_p.from_address


class _Scratch(threading.local):
    """Memory that a kernel may use, each thread its own."""

    def __init__(self) -> None:
        self.array = np.empty(SCRATCH)
        self.address = self.array.ctypes.data


_SCRATCH = _Scratch()


def _offset() -> int:
    """Where in an array object NumPy keeps the address of its data, which follows Python's own part; -1 if it is not there."""
    arrays = [np.empty(n, dtype) for n, dtype in ((1, np.float32), (3, np.int64), (1000, np.float64))]
    for offset in (16, 32):  # with and without the GIL
        if all(_read(id(x) + offset).value == x.ctypes.data for x in arrays):
            return offset
    return -1


_OFFSET = _offset()


class Kernel:
    """A compiled function.

    ``kernel(rows, columns, arrays)`` fills the first of the arrays, for all rows, in threads where that is worth it. The
    arrays must be C-contiguous and of the dtypes and shapes that the C function expects: this is not checked. False means
    that it could not decide on some bits, and that NumPy must compute all.

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

    def __call__(self, rows: int, columns: int, arrays: list[Array], group: int = 1) -> bool:
        if rows * columns > BLOCK:
            return self._by_blocks(rows, columns, arrays, group)
        found = self._call(_job(0, rows, columns, self._function, arrays))
        if found == _NOT_FINITE:
            raise FloatingPointError
        return found == 0

    def _by_blocks(self, rows: int, columns: int, arrays: list[Array], group: int) -> bool:
        call, function, problems = self._call, self._function, []

        def run(start: int, stop: int) -> None:
            found = call(_job(start, stop, columns, function, arrays))
            if found:
                problems.append(found)

        each_block(run, rows, columns, group)
        if _NOT_FINITE in problems:
            raise FloatingPointError
        return not problems


def _job(start: int, stop: int, columns: int, function: int, arrays: list[Array]) -> bytes:
    """Pack what a call of the library is given; ``arrays`` must stay alive, and where an array's data are does not change."""
    places = map(id, arrays) if _OFFSET >= 0 else [x.ctypes.data for x in arrays]
    count = len(arrays)
    return _PACK[count](start, stop, columns, _SCRATCH.address, function, _OFFSET, count, *places)
