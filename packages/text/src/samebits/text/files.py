"""Files that are there whole or not at all: written under another name, brought to the disk, then moved into place."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["replacing"]


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file to write and read, which becomes ``path`` when the block ends, and goes away when it fails.

    Until then it is beside it as ``<name>.new``, which is what is left if the process is killed; the next one uses that again.

    Raises:
        OSError: the folder is missing or may not be written, or the disk is full.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(Path(folder, "text")) as file:
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
    if os.name == "posix":  # the new name is on the disk when its folder is
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
