"""Atomic file writes: a reader sees the old file or the new one, never a part of one.

    write to a temporary name in the same folder  ->  sync it to the disk  ->  rename it over the old file

Standard library only: the tools of the repository load this file where NumPy is not installed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["replace_file", "replace_text"]


@contextmanager
def replace_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a binary file that replaces ``path`` when the ``with`` block ends, and is deleted if the block raises.

    Until then it is ``<name>.new`` in the same folder. A killed process leaves that file; the next write overwrites it.

    Args:
        path: The file to create or to replace.

    Raises:
        OSError: The folder is missing or read-only, or the disk is full. The old file is intact.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replace_file(Path(folder, "text")) as file:
        ...         _ = file.write(b"whole")
        ...     Path(folder, "text").read_bytes(), len(list(Path(folder).iterdir()))
        (b'whole', 1)
    """
    path = Path(path)
    draft = path.with_name(f"{path.name}.new")
    try:
        with draft.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    if os.name == "posix":  # the rename is durable once its folder is synced
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


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
