"""The floating-point environment of a thread: whether it is that of IEEE 754, and how to put it back.

A processor has two settings that change bits, for each thread: how to round, and whether to flush subnormal numbers to zero.
Any library can change them, often by the code that -Ofast and -ffast-math add to it, which runs when it is loaded. A few
operations show them: 64 elements, as NumPy computes short and long arrays by different instructions.

Importing this puts the settings back, before other modules compute their constants and Python caches some. So nothing here is
computed by an operation whose result the settings change: `math.ldexp` is exact, ``2.0**-53`` is not in every rounding mode.
"""

import ctypes
import math
import platform
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["changed", "flushes", "reset", "rounds_otherwise"]

Array = npt.NDArray[Any]
Probe = tuple[np.ufunc, Array, Array, bytes]

_FLUSH_AND_ROUND = 0x0300_0300  # of Windows' C library: _MCW_DN | _MCW_RC


def _subnormal_probes(floats: npt.DTypeLike, words: npt.DTypeLike, least: float) -> list[Probe]:
    """Subnormal numbers, below ``least``, as operands and as results. Their bits are integers, which no setting changes."""
    counts: Array = np.arange(1, 65).astype(words)
    tiny, one = counts.view(floats), np.ones(64, floats)
    normal = np.full(64, least, floats).view(words)
    above = (normal + counts).view(floats)
    return [
        (np.multiply, tiny, one, counts.tobytes()),
        (np.add, tiny, tiny, (counts + counts).tobytes()),
        (np.subtract, above, normal.view(floats), counts.tobytes()),
    ]


def _rounding_probes(floats: npt.DTypeLike, digits: int) -> list[Probe]:
    """Ties, which round to the even neighbor, up and down, of both signs; ``digits`` are those of a mantissa."""

    def signed(*values: float) -> Array:
        return np.tile(np.array([*values, *[-value for value in values]]), 16).astype(floats)

    half = math.ldexp(1.0, -digits)  # of the distance between 1 and the next number
    ties, sums = signed(half, 3 * half), signed(1, 1 + 4 * half).tobytes()
    probes: list[Probe] = [
        (np.add, signed(1, 1), ties, sums),
        (np.subtract, signed(1, 1), -ties, sums),
        (
            np.multiply,
            signed(1 + 2 * half, 1 + 6 * half),
            np.full(64, 1.5, floats),
            signed(1.5 + 4 * half, 1.5 + 8 * half).tobytes(),
        ),
    ]
    if floats is np.float64:  # above a tie by less than x87's 64 digits show: rounding twice makes it even
        probes.append((np.add, signed(1, 1), signed(half * (1 + math.ldexp(1.0, -25)), half), signed(1 + 2 * half, 1).tobytes()))
    return probes


_SUBNORMAL = _subnormal_probes(np.float32, np.int32, math.ldexp(1.0, -126)) + _subnormal_probes(
    np.float64, np.int64, math.ldexp(1.0, -1022)
)
_ROUNDING = _rounding_probes(np.float32, 24) + _rounding_probes(np.float64, 53)
# Python's own floats: terms and their sums, which Python must not add before
_PYTHON = [
    row
    for function, x, y, expected in _ROUNDING
    if function is np.add and x.dtype == np.float64
    for row in zip(x[:4].tolist(), y[:4].tolist(), np.frombuffer(expected)[:4].tolist(), strict=True)
]


# What `changed` computes with: named, so that Python does not compute the results when it compiles this
_LEAST, _NORMAL = np.array([1, 1 << 52], np.int64).view(np.float64).tolist()
_LARGE, _HALF, _ONE, _TWO = math.ldexp(1.0, 1023), 0.5, 1.0, 2.0
_TIE, _NEXT_TIE, _ABOVE = math.ldexp(1.0, -53), math.ldexp(3.0, -53), 1 + math.ldexp(1.0, -51)


def changed() -> bool:
    """Return whether the settings of this thread are others than those of IEEE 754, in a fraction of a microsecond.

    NumPy and Python compute with the same registers, so Python's own floats show it, where `flushes` and
    `rounds_otherwise` have said no once.
    """
    return not (
        _NORMAL * _HALF * _TWO == _NORMAL  # a subnormal result
        and _LEAST * _LARGE > 0  # a subnormal operand
        and _ONE + _TIE == _ONE
        and _ONE + _NEXT_TIE == _ABOVE
    )


def flushes() -> bool:
    """Return whether subnormal numbers are flushed to zero in this thread."""
    return not _agree(_SUBNORMAL)


def rounds_otherwise() -> bool:
    """Return whether sums or products of NumPy or Python are not rounded once, to the nearest number, in this thread."""
    return not _agree(_ROUNDING) or [x + y for x, y, _ in _PYTHON] != [total for _, _, total in _PYTHON]


def _agree(probes: Sequence[Probe]) -> bool:
    with np.errstate(all="ignore"):
        return all(function(x, y).tobytes() == expected for function, x, y, expected in probes)


def reset() -> None:
    """Put the settings of this thread back to those of IEEE 754, if the C library is one that is known here."""
    if sys.platform == "win32":
        ctypes.CDLL("ucrtbase")["_controlfp_s"](ctypes.byref(ctypes.c_uint()), 0, _FLUSH_AND_ROUND)
    elif sys.platform == "darwin":
        library = ctypes.CDLL(None)
        library.fesetenv(ctypes.byref(ctypes.c_char.in_dll(library, "_FE_DFL_ENV")))
    elif sys.platform == "linux" and not hasattr(sys, "getandroidapilevel"):
        ctypes.CDLL("libm.so.6" if platform.libc_ver()[0] == "glibc" else None).fesetenv(ctypes.c_void_p(-1))  # FE_DFL_ENV


if changed():
    reset()
