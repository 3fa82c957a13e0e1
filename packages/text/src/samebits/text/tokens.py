"""Token files: the ids of a text on disk, read without being loaded.

A header of 128 bytes, then the ids, little-endian, in two bytes each where the vocabulary allows it and in four otherwise:

    magic 16 | version 4 | bytes an id 4 | vocabulary 8 | count 8 | SHA-256 of the ids 32 | of the tokenizer 32 | of the above 24

(the last cut to 24 bytes). So opening a file proves that its header is whole and that its length is right, at once and however
long it is, and `Tokens.verify` proves the rest. The ids are mapped into memory: the system reads what is used, and drops it again.
"""

import hashlib
import operator
import os
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from samebits.core.files import replace_file

__all__ = ["TokenFileError", "Tokens", "open_tokens", "write_tokens"]

Ids = npt.NDArray[np.integer[Any]]

_MAGIC = b"samebits tokens\n"
_VERSION = 1
_HEADER = struct.Struct("<16sIIQQ32s32s24s")
_LARGEST = 2**32  # the largest vocabulary
_BLOCK = 2**20  # ids that are checked and written at once


class TokenFileError(ValueError):
    """What is no token file, or a damaged one."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """An open token file: the ids (N,), uint16 or uint32, memory-mapped and read-only, and what its header says."""

    path: Path
    ids: Ids
    vocabulary_size: int
    digest: str
    tokenizer: str

    def __len__(self) -> int:
        return self.ids.size

    def verify(self) -> None:
        """Read all ids and prove that they are those that were written.

        Raises:
            TokenFileError: they are not.
        """
        state = hashlib.sha256()
        for start in range(0, self.ids.size, _BLOCK):
            state.update(self.ids[start : start + _BLOCK].tobytes())
        if state.hexdigest() != self.digest:
            raise TokenFileError(f"{self.path} is damaged: its ids have the SHA-256 {state.hexdigest()}, not {self.digest}")


def write_tokens(
    path: str | os.PathLike[str], tokens: Ids | Iterable[npt.ArrayLike], *, vocabulary_size: int, tokenizer: str = ""
) -> Tokens:
    """Write a token file, in one step however long it takes, and open it.

    Args:
        path: Where to write it. What is there stays as it is until the new file is complete.
        tokens: Ids (N,), or an iterable of such arrays or lists, one a document for instance: they are written as they come,
            so the whole need not fit in memory.
        vocabulary_size: The number of different ids, from 1 to 2^32. Up to 65,536 an id takes two bytes, beyond that four.
        tokenizer: The digest of the tokenizer that made the ids, 64 hexadecimal digits, or "" if there is none.

    Raises:
        OSError: the file cannot be written.
        TypeError: ``tokens`` are not integers.
        ValueError: an id is outside the vocabulary (the message says which), or an argument is out of range.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tokens = write_tokens(Path(folder, "tokens"), ([1, 2], [3]), vocabulary_size=4)
        ...     tokens.ids.tolist(), tokens.ids.dtype.name, tokens.path.stat().st_size
        ...     del tokens
        ([1, 2, 3], 'uint16', 134)
    """
    if not 1 <= operator.index(vocabulary_size) <= _LARGEST:
        raise ValueError(f"vocabulary_size is {vocabulary_size}: a number from 1 to 2^32 is needed")
    if not re.fullmatch(r"([0-9a-f]{64})?", tokenizer):
        raise ValueError(f"tokenizer is {tokenizer!r}: a digest of 64 hexadecimal digits, or '', is needed")
    dtype = _dtype(vocabulary_size)
    state, count = hashlib.sha256(), 0
    with replace_file(path) as file:
        file.write(bytes(_HEADER.size))
        for block in _blocks(tokens):
            _refuse_foreign(block, count, vocabulary_size)
            content = block.astype(dtype).tobytes()
            file.write(content)
            state.update(content)
            count += block.size
        file.seek(0)
        known = bytes.fromhex(tokenizer) or bytes(32)
        file.write(_signed(_MAGIC, _VERSION, dtype.itemsize, vocabulary_size, count, state.digest(), known))
    return open_tokens(path)


def open_tokens(path: str | os.PathLike[str]) -> Tokens:
    """Open a token file. This takes the same short time for any length: see `Tokens.verify`.

    Raises:
        OSError: the file cannot be read.
        TokenFileError: it is no token file, its header is damaged, or its length is not what the header says.
    """
    path = Path(path)
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
        if not header.startswith(_MAGIC):
            raise TokenFileError(f"{path} is no token file: it begins with {header[:16]!r}, not {_MAGIC!r}")
        if len(header) < _HEADER.size:
            raise TokenFileError(f"{path} is damaged: it has {len(header)} bytes, fewer than its header of {_HEADER.size}")
        _, version, itemsize, vocabulary_size, count, digest, tokenizer, _ = _HEADER.unpack(header)
        if version != _VERSION:
            raise TokenFileError(f"{path} has version {version}: this reads version {_VERSION}, write it anew")
        if header != _signed(*_HEADER.unpack(header)[:-1]):
            raise TokenFileError(f"{path} is damaged: its header does not have the checksum that it carries")
        size, expected = os.fstat(file.fileno()).st_size, _HEADER.size + count * itemsize
        if size != expected:
            raise TokenFileError(f"{path} is damaged: it has {size} bytes, but {expected} are needed for {count} ids")
        if not 1 <= vocabulary_size <= _LARGEST or itemsize != _dtype(vocabulary_size).itemsize:
            raise TokenFileError(f"{path} is damaged: {itemsize} bytes an id do not go with {vocabulary_size} different ids")
        ids = _mapped(file, _dtype(vocabulary_size), count)
    return Tokens(path, ids, vocabulary_size, digest.hex(), tokenizer.hex() if any(tokenizer) else "")


def _mapped(file: BinaryIO, dtype: np.dtype[Any], count: int) -> Ids:
    if count == 0:  # nothing cannot be mapped
        return np.empty(0, dtype)
    return np.asarray(np.memmap(file, dtype, "r", _HEADER.size, (count,)))


def _dtype(vocabulary_size: int) -> np.dtype[Any]:
    return np.dtype("<u2" if vocabulary_size <= 2**16 else "<u4")


def _signed(*fields: Any) -> bytes:
    """The header of these fields, with its checksum."""
    header = _HEADER.pack(*fields, b"")[:-24]
    return header + hashlib.sha256(header).digest()[:24]


def _blocks(tokens: Ids | Iterable[npt.ArrayLike]) -> Iterator[Ids]:
    """Pieces of at most _BLOCK ids."""
    for number, part in enumerate([tokens] if isinstance(tokens, np.ndarray) else tokens):
        array = np.asarray(part)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            what = f"part {number} of tokens has shape {array.shape} and dtype {array.dtype}"
            raise TypeError(f"{what}: ids in one dimension are needed, or an iterable of such arrays or lists")
        for start in range(0, array.size, _BLOCK):
            yield array[start : start + _BLOCK]


def _refuse_foreign(ids: Ids, before: int, vocabulary_size: int) -> None:
    """Raise ValueError for the first id outside the vocabulary."""
    if ids.min() < 0 or ids.max() >= vocabulary_size:
        place = int(np.argmax((ids < 0) | (ids >= vocabulary_size)))
        raise ValueError(f"tokens[{before + place}] is {ids[place]}: ids from 0 to {vocabulary_size - 1} are needed")
