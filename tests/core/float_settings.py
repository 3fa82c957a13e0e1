"""Change the floating-point settings of this thread, as other code does; on x86-64 with glibc."""

import ctypes
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

KNOWN = platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc"
only_where_known = pytest.mark.skipif(not KNOWN, reason="the layout of glibc's fenv_t on x86-64")

# bits of the register MXCSR
SETTINGS = {
    "flush results": 0x8000,
    "flush operands": 0x0040,
    "flush both": 0x8040,
    "round down": 0x2000,
    "round up": 0x4000,
    "round to zero": 0x6000,
    "flush and round up": 0xC040,
}
CHANGED = pytest.mark.parametrize("bits", SETTINGS.values(), ids=SETTINGS)


def change(bits: int) -> None:
    """Set bits of MXCSR."""
    library, environment = ctypes.CDLL("libm.so.6"), ctypes.create_string_buffer(32)
    library.fegetenv(environment)
    (register,) = struct.unpack_from("<I", environment, 28)
    struct.pack_into("<I", environment, 28, register | bits)
    library.fesetenv(environment)


@contextmanager
def kept_settings() -> Iterator[None]:
    """Put the settings back at the end."""
    library, environment = ctypes.CDLL("libm.so.6"), ctypes.create_string_buffer(32)
    library.fegetenv(environment)
    try:
        yield
    finally:
        library.fesetenv(environment)
