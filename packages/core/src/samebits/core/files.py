"""Atomic file writes: a reader sees the old file or the new one, never a part of one.

    write to a temporary name in the same folder  ->  sync it to the disk  ->  rename it over the old file

Standard library only: the tools of the repository load this file where NumPy is not installed.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["replace_file", "replace_text", "require_file"]


@contextmanager
def replace_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a binary file that replaces ``path`` when the ``with`` block ends, and is deleted if the block raises.

    Until then it has a new name in the same folder, ``.<name>.<random>.new``, which no other process can have opened. The
    permissions of the old file are kept.

    Args:
        path: The file to create or to replace.

    Raises:
        OSError: The folder is missing or read-only, ``path`` is a folder or no regular file, or the disk is full; the
            message names ``path``. The old file is intact.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replace_file(Path(folder, "text")) as file:
        ...         _ = file.write(b"whole")
        ...     Path(folder, "text").read_bytes(), len(list(Path(folder).iterdir()))
        (b'whole', 1)
    """
    path = Path(path)
    if os.path.lexists(path) and not path.is_symlink():
        require_file(path)
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
    with _named(path):
        number, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(number, "w+b") as file:
            yield file
            with _named(path):
                file.flush()
                os.fsync(file.fileno())
        with _named(path):
            draft.chmod(0o666 & ~_umask() if mode is None else mode)
            draft.replace(path)
    except OSError as error:
        if error.filename is None and error.errno is not None:  # of a write in the block: a full disk, a limit on sizes
            raise type(error)(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        draft.unlink(missing_ok=True)
    if os.name == "posix":  # the rename is durable once its folder is synced
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def require_file(path: str | os.PathLike[str]) -> None:
    """Check that ``path`` is a regular file, or a link to one, before it is opened: opening a pipe would block.

    Raises:
        FileNotFoundError: There is no such file, or it is a link to a file that does not exist.
        OSError: It is a folder, a pipe or a device.

    Example:
        >>> require_file("/")
        Traceback (most recent call last):
        OSError: / must be a file, but is a folder
    """
    path = Path(path)
    if path.is_symlink() and not path.exists():
        raise FileNotFoundError(f"{path} is a link to {path.readlink()}, which does not exist")
    kind = path.stat().st_mode
    if not stat.S_ISREG(kind):
        raise OSError(f"{path} must be a file, but is a {'folder' if stat.S_ISDIR(kind) else 'pipe or device'}")


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name ``path`` in errors, instead of the temporary file or nothing."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(error.errno, error.strerror, str(path)) from error


def _umask() -> int:
    """The permissions that new files do not get."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def replace_text(path: str | os.PathLike[str], text: str) -> None:
    r"""Write ``text`` to ``path`` as UTF-8 with ``\n`` line ends, replacing an older file in one step.

    Args:
        path: The file to create or to replace.
        text: Its whole content.

    Raises:
        OSError: As for `replace_file`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     replace_text(f"{folder}/a.txt", "a\n")
        ...     Path(folder, "a.txt").read_bytes()
        b'a\n'
    """
    with replace_file(path) as file:
        file.write(text.encode())
