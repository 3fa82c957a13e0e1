"""Memory that is freed and taken again, as in every step of a training.

glibc gives large freed arrays back to the system, and takes fresh pages for the next ones: thousands of page faults a step, a
twentieth to a sixth of its time. `keep_freed` tells it to keep them. That holds for the whole process, so only the command does it.
"""

import ctypes
import sys
from contextlib import suppress

__all__ = ["keep_freed"]

_TRIM, _MMAP = -1, -3  # options of glibc's mallopt: how much may stay freed, and what always comes fresh from the system


def keep_freed() -> None:
    """Let glibc keep up to 1 GiB of freed memory, in pieces of up to 32 MiB; other C libraries stay as they are."""
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):  # musl has no mallopt
            library = ctypes.CDLL(None)
            library.mallopt(_TRIM, 2**30)
            library.mallopt(_MMAP, 2**25)
