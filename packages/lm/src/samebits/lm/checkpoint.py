"""Checkpoints: named arrays in one file, never half written and never half read.

    save    digest, the bytes of `safetensors` under another name, fsync, moved into place
    load    everything checked, then read, then the digest computed again

A process killed at any moment leaves the last good file, and no damage to a file goes unseen. What is in a checkpoint is left to
whoever saves one: `training` says what a run's has.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt

from samebits import core
from samebits.core.files import replace_file
from samebits.lm import safetensors
from samebits.lm.safetensors import CheckpointError, Entry, portable, read_tensor, written

__all__ = ["Checkpoint", "CheckpointError", "digest", "load", "read_header", "save"]

Array = npt.NDArray[Any]
PathLike = str | os.PathLike[str]

DIGEST = "samebits.digest"
"""Where the metadata have the digest."""


class Checkpoint(NamedTuple):
    """What `load` gives."""

    tensors: dict[str, Array]
    metadata: dict[str, str]
    digest: str
    """Of the contents, as computed; it is the recorded one if there was one."""


def digest(tensors: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> str:
    """SHA-256 of named arrays and metadata, in 64 hexadecimal digits: of what is said, not of how the file lays it out.

    It is that of the JSON text of ``{"metadata": ..., "tensors": {name: samebits.core.digest(array)}}``, keys sorted.

    Example:
        >>> import numpy as np
        >>> digest({"x": np.zeros(3, np.float32)})[:16]
        'afae00cd841cdff4'
    """
    contents = {"metadata": dict(metadata or {}), "tensors": {name: core.digest(tensors[name]) for name in tensors}}
    return hashlib.sha256(json.dumps(contents, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def save(path: PathLike, tensors: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> str:
    """Write a checkpoint, whole or not at all; the same contents give the same bytes.

    Args:
        path: The file, which may exist: it is replaced in one moment, once the new one is on the disk. Until then the
            new one is beside it as ``<name>.new``, which is what is left if the process is killed; the next save uses it again.
        tensors: Arrays by name: float16 to float64, signed and unsigned integers, booleans, any shape and memory order.
        metadata: Texts by name.

    Returns:
        The digest of the contents, which the metadata of the file have under ``samebits.digest``.

    Raises:
        TypeError: A name or a value is not text, or an array has another dtype.
        ValueError: A name is reserved or has no UTF-8 form, or there are more than a header has room for.
        OSError: The file cannot be written; what was there before is there still.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     digest = save(f"{folder}/a.safetensors", {"x": np.arange(3)}, {"by": "hand"})
        ...     load(f"{folder}/a.safetensors").tensors
        {'x': array([0, 1, 2])}
    """
    metadata = dict(metadata or {})
    if DIGEST in metadata:
        raise ValueError(f"metadata has {DIGEST!r}, which is written here: leave it out")
    arrays = {name: portable(name, array) for name, array in tensors.items()}
    found = digest(arrays, metadata)
    with replace_file(path) as file:
        file.writelines(written(arrays, {**metadata, DIGEST: found}))
    return found


def load(path: PathLike) -> Checkpoint:
    """Read a checkpoint, check it all, and verify its digest if it records one.

    Files of the reference are read too. BF16 becomes float32, which has all its values.

    Raises:
        CheckpointError: The file is truncated or too long, its header is no JSON of the right form or contradicts itself, its
            tensors overlap, leave holes or have a dtype that NumPy has not, or the contents have another digest.
        OSError: The file cannot be read.
    """
    with Path(path).open("rb") as file:
        entries, metadata = safetensors.read_header(file, str(path))
        # the bytes of one tensor follow those of the one before, which the header was checked for
        tensors = {name: read_tensor(file, f"{path}: tensor {name!r}", entry) for name, entry in entries.items()}
    recorded = metadata.pop(DIGEST, None)
    found = digest(tensors, metadata)
    if recorded is not None and recorded != found:
        raise CheckpointError(
            f"{path}: the contents have the digest {found}, the file records {recorded}: it was damaged or edited"
        )
    return Checkpoint(tensors, metadata, found)


def read_header(path: PathLike) -> tuple[dict[str, Entry], dict[str, str]]:
    """The tensors' descriptions in the order of their bytes, and the metadata, of a file of any size.

    Raises:
        CheckpointError: As `load` has it, but for the digest, which it does not compute.
        OSError: The file cannot be read.
    """
    with Path(path).open("rb") as file:
        return safetensors.read_header(file, str(path))
