"""Run lock: one process at a time changes the folder of a run.

    open .lock  ->  lock the file, without waiting  ->  write who holds it  ->  ...  ->  delete it and let go

The operating system frees the lock when the process ends, however it ends, so that a killed run can be continued at once.
A library such as filelock would serve the command alone: this package needs only NumPy, and trainers in a program are protected too.
"""

import errno
import os
import platform
import stat
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["LOCK", "FolderInUseError", "locked"]

LOCK = ".lock"
"""The name of the lock's file in a run's folder; it exists only while the folder is in use."""

_BUSY = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
_held: dict[Path, tuple[int, object]] = {}
"""The folders that this process has locked: the thread that did, and something to know the outermost block by."""


class FolderInUseError(OSError):
    """Another process or thread trains in the folder; the message names it.

    Example:
        >>> raise FolderInUseError("runs/tiny is in use by process 4711 on laptop")
        Traceback (most recent call last):
            ...
        samebits.lm.run_lock.FolderInUseError: runs/tiny is in use by process 4711 on laptop
    """


@contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the lock of a folder during a ``with`` block; the thread that holds it may lock it again.

    Args:
        folder: The folder; it is created if needed, and removed at the end if nothing was written to it.

    Raises:
        FolderInUseError: Another process or another thread of this one holds it.
        OSError: The folder cannot be created, or is not writable.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with locked(folder), locked(folder):
        ...         (Path(folder) / LOCK).exists()
        ...     (Path(folder) / LOCK).exists()
        True
        False
    """
    folder = Path(folder)
    key, mine = folder.resolve(), (threading.get_ident(), object())
    owner = _held.setdefault(key, mine)  # one operation: of two threads, one is first
    if owner[0] != mine[0]:
        raise FolderInUseError(f"{folder} is in use by another thread of this process")
    if owner is not mine:  # locked further out
        yield
        return
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        number = _open(folder)
        try:
            yield
        finally:
            _release(number, folder / LOCK)
    finally:
        del _held[key]
        with suppress(OSError):  # the rest is not empty
            for one in new:
                one.rmdir()


def _open(folder: Path) -> int:
    """Lock the file in a folder, and return its descriptor."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            number = os.open(folder / LOCK, flags, 0o666)
        except FileNotFoundError:  # the process before removed the folder just now
            continue
        try:
            if _try_lock(number, folder):
                os.ftruncate(number, 0)
                os.write(number, f"process {os.getpid()} on {platform.node() or 'this machine'}".encode())
                return number
        except BaseException:
            os.close(number)
            raise
        os.close(number)


def _try_lock(number: int, folder: Path) -> bool:
    """Whether the file is locked now; False if the process before deleted it meanwhile."""
    if not stat.S_ISREG(os.fstat(number).st_mode):
        raise OSError(f"{folder / LOCK} must be a file, but is a pipe or device")
    try:
        _lock(number)
    except OSError as error:
        if error.errno in _BUSY:
            holder = os.read(number, 200).decode("utf-8", "replace") or "another process"
            raise FolderInUseError(f"{folder} is in use by {holder}; wait until it has ended, or use another folder") from None
        warnings.warn(f"{folder}: files cannot be locked here ({error.strerror}); start one process at a time", stacklevel=2)
    try:
        return os.path.samestat(os.fstat(number), (folder / LOCK).stat())
    except FileNotFoundError:
        return False


def _release(number: int, path: Path) -> None:
    """Delete the file, then unlock it: whoever opened it before sees that it was deleted."""
    if sys.platform == "win32":  # an open file cannot be deleted there, nor one that another process has opened
        os.close(number)
        with suppress(OSError):
            path.unlink()
    else:
        path.unlink(missing_ok=True)
        os.close(number)


if sys.platform == "win32":
    import msvcrt

    def _lock(number: int) -> None:
        os.lseek(number, 2**30, os.SEEK_SET)  # behind the text, which others may read
        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
        os.lseek(number, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(number: int) -> None:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
