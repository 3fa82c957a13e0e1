"""Keep freed pages for reuse (malloc tuning).

Every training step frees large arrays and allocates them again. By default glibc returns freed pages to the system and requests fresh
ones: thousands of page faults a step, a twentieth to a sixth of its time. The setting holds for the whole process, so only the command
makes it.
"""

import ctypes
import sys
from contextlib import suppress

__all__ = ["keep_freed_pages"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # options of glibc's mallopt: freed memory to keep, sizes that are always mapped afresh


def keep_freed_pages() -> None:
    """Let glibc keep up to 1 GiB of freed memory, in pieces of up to 32 MiB. Other C libraries are left alone."""
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):  # musl has no mallopt
            library = ctypes.CDLL(None)
            library.mallopt(_TRIM_THRESHOLD, 2**30)
            library.mallopt(_MMAP_THRESHOLD, 2**25)
