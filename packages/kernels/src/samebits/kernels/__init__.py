"""Compiled kernels: the hot loops in C, with the bits of their NumPy versions.

    samebits.core  ->  find("silu")  ->  a function of the library for this CPU's level, or None  ->  NumPy

`samebits.core` pairs them with their NumPy versions and decides which is called; nothing else knows of them.
"""

import ctypes
from functools import cache

from samebits.kernels.kernel import Kernel, layout
from samebits.kernels.library import LEVELS, choose, levels, load
from samebits.kernels.pool import begin_threads, threads

__all__ = ["LEVELS", "Kernel", "describe", "find", "layout", "level", "levels", "threads"]

_CHOSEN = choose()
if _CHOSEN.handle is not None:
    begin_threads(_CHOSEN.handle.standard_arithmetic)


def level() -> str | None:
    """Return the CPU level of the kernels in use: baseline, avx2 or avx512; None where NumPy computes.

    Example:
        >>> level() in {None, *LEVELS}
        True
    """
    return _CHOSEN.level


def describe() -> str:
    """Return one line: which kernels are in use, and why.

    Example:
        >>> describe().split()[0] in {"compiled,", "NumPy:"}
        True
    """
    if _CHOSEN.level is None:
        return f"NumPy: {_CHOSEN.reason}"
    count = threads()
    return f"compiled, {_CHOSEN.level} ({_CHOSEN.reason}), {count} thread{'s' * (count != 1)}"


@cache
def find(name: str, at: str | None = None) -> Kernel | None:
    """Return a kernel of the library in use, or of that for the level ``at``; None if there is none.

    Example:
        >>> find("no such kernel") is None
        True
    """
    library = _CHOSEN if at is None else load(at)
    function = getattr(library.handle, name, None)
    if function is None:
        return None
    return Kernel(name, library.handle.call_kernel, ctypes.cast(function, ctypes.c_void_p).value or 0)
