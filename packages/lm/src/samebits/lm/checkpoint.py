"""Checkpoints: named arrays in one file, written atomically and verified when read.

    save    digest -> the bytes of `safetensors` in a new file -> fsync -> replace the old file
    load    check the header -> read the arrays -> compute the digest again

If the process is killed, the previous checkpoint stays intact; a damaged file is refused. What a training run saves is in
`training`.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt

from samebits import core
from samebits.core.files import replace_file, require_file
from samebits.lm import safetensors
from samebits.lm.safetensors import Entry, SafetensorsError, portable, read_tensor, written

__all__ = ["Checkpoint", "CheckpointError", "digest", "load", "read_header", "save"]

Array = npt.NDArray[Any]
PathLike = str | os.PathLike[str]

DIGEST = "samebits.digest"
"""The name of the digest in the metadata."""


class CheckpointError(ValueError):
    """A file is damaged, is not a checkpoint, or belongs to another run; the message says which.

    Example:
        >>> import tempfile
        >>> from samebits.lm import load_model
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "x.safetensors")
        ...     path.write_bytes(b"short")
        ...     try:
        ...         load_model(path)
        ...     except CheckpointError as error:
        ...         print(str(error).rpartition("x.safetensors: ")[2])
        5
        truncated: it has 5 bytes, the length of the header takes 8
    """


class Checkpoint(NamedTuple):
    """The contents of a checkpoint, from `load`.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     digest = save(f"{folder}/a.safetensors", {"x": np.arange(3)}, {"by": "hand"})
        ...     found = load(f"{folder}/a.safetensors")
        >>> isinstance(found, Checkpoint), found.metadata, found.digest == digest
        (True, {'by': 'hand'}, True)
    """

    tensors: dict[str, Array]
    metadata: dict[str, str]
    digest: str
    """The digest of the contents; it was compared with the recorded one, if the file has one."""


def digest(tensors: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> str:
    """SHA-256 of named arrays and metadata, in 64 hexadecimal digits. It does not depend on the layout of the file.

    It is the digest of the JSON text of ``{"metadata": ..., "tensors": {name: samebits.core.digest(array)}}`` with sorted keys.

    Example:
        >>> import numpy as np
        >>> digest({"x": np.zeros(3, np.float32)})[:16]
        'afae00cd841cdff4'
    """
    contents = {"metadata": dict(metadata or {}), "tensors": {name: core.digest(tensors[name]) for name in tensors}}
    return hashlib.sha256(json.dumps(contents, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def save(path: PathLike, tensors: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> str:
    """Write a checkpoint atomically; the same contents give the same bytes.

    Args:
        path: The file. If it exists, it is replaced once the new one is on the disk; until then it has another name.
        tensors: Arrays by name: float16 to float64, signed and unsigned integers, booleans, of any shape and memory order.
        metadata: Strings by name.

    Returns:
        The digest of the contents, which is also in the metadata of the file as ``samebits.digest``.

    Raises:
        TypeError: A name or a value is not a string, or an array has another dtype.
        ValueError: A name is reserved or not valid Unicode, or the header would be too large.
        OSError: The file cannot be written; the previous one is unchanged.

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
        raise ValueError(f"save: metadata must not have the name {DIGEST!r}, which is reserved")
    arrays = {name: portable(name, array) for name, array in tensors.items()}
    found = digest(arrays, metadata)
    with replace_file(path) as file:
        file.writelines(written(arrays, {**metadata, DIGEST: found}))
    return found


def load(path: PathLike, *, digest_required: bool = False) -> Checkpoint:
    """Read and check a checkpoint, and verify its digest if it has one.

    Args:
        path: The file.
        digest_required: Whether to refuse a file without a digest, which `save` did not write.

    Files of the reference implementation can be read too. BF16 becomes float32, which can represent all its values.

    Raises:
        CheckpointError: The file is truncated or too long, its header is malformed or contradicts itself, its tensors overlap,
            leave gaps or have a dtype that NumPy does not have, or the contents have another digest.
        OSError: The file cannot be read, or is a folder or a pipe.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     digest = save(f"{folder}/a.safetensors", {"x": np.arange(3)})
        ...     load(f"{folder}/a.safetensors").tensors
        {'x': array([0, 1, 2])}
    """
    require_file(path)
    with _checked(), Path(path).open("rb") as file:
        entries, metadata = safetensors.read_header(file, str(path))
        # the header was checked: each tensor's bytes follow those of the one before
        tensors = {name: read_tensor(file, f"{path}: tensor {name!r}", entry) for name, entry in entries.items()}
    recorded = metadata.pop(DIGEST, None)
    found = digest(tensors, metadata)
    if recorded is None and digest_required:
        raise CheckpointError(
            f"{path}: its metadata must have the digest {DIGEST!r}, as those of every training run do; was it edited?"
        )
    if recorded is not None and recorded != found:
        raise CheckpointError(f"{path}: damaged or edited: the contents have the digest {found}, the metadata say {recorded}")
    return Checkpoint(tensors, metadata, found)


def read_header(path: PathLike) -> tuple[dict[str, Entry], dict[str, str]]:
    """The tensors' descriptions in the order of their bytes, and the metadata, without reading the arrays.

    Raises:
        CheckpointError: As in `load`; but the digest is not verified.
        OSError: The file cannot be read.
    """
    require_file(path)
    with _checked(), Path(path).open("rb") as file:
        return safetensors.read_header(file, str(path))


@contextmanager
def _checked() -> Iterator[None]:
    """Report a malformed file as a `CheckpointError`."""
    try:
        yield
    except SafetensorsError as error:
        raise CheckpointError(str(error)) from None
