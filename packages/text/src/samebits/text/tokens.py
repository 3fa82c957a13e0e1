"""Token files: the ids of a text on disk, memory-mapped.

A header of 128 bytes, then the ids, little-endian, two bytes each if the vocabulary allows it and four otherwise:

    magic 16 | version 4 | bytes an id 4 | vocabulary 8 | count 8 | SHA-256 of the ids 32 | of the tokenizer 32 | of the above 24

(the last one truncated to 24 bytes). Opening a file verifies its header and its length, in the same short time for any
length; `Tokens.verify` verifies the ids. The operating system loads the parts that are used, and frees them again.
"""

import hashlib
import os
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from samebits.core.arguments import integer
from samebits.core.files import replace_file, require_file
from samebits.text.file_kinds import file_kind

__all__ = ["TokenFileError", "Tokens", "open_tokens", "write_tokens"]

Ids = npt.NDArray[np.integer[Any]]

_MAGIC = b"samebits tokens\n"
_VERSION = 1
_HEADER = struct.Struct("<16sIIQQ32s32s24s")
_LARGEST = 2**32  # the largest vocabulary
_BLOCK = 2**20  # ids that are checked and written at once


class TokenFileError(ValueError):
    r"""A file is damaged, or is not a token file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "tokens")
        ...     _ = path.write_bytes(b"to be")
        ...     try:
        ...         open_tokens(path)
        ...     except TokenFileError as error:
        ...         print(str(error).removeprefix(f"{path} "))
        is not a token file: it begins with b'to be', not b'samebits tokens\n'
    """


@dataclass(frozen=True, eq=False)
class Tokens:
    """An open token file, as `write_tokens` and `open_tokens` return it.

    Attributes:
        path: The file.
        ids: The token ids (N,), uint16 or uint32, memory-mapped and read-only.
        vocabulary_size: The number of different ids.
        digest: SHA-256 of the ids, in 64 hexadecimal digits.
        tokenizer: The digest of the tokenizer that made the ids, "" if none was given.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tokens = write_tokens(Path(folder, "tokens"), [3, 1, 2], vocabulary_size=4)
        ...     tokens.verify()
        ...     len(tokens), tokens.ids.tolist()
        ...     del tokens
        (3, [3, 1, 2])
    """

    path: Path
    ids: Ids
    vocabulary_size: int
    digest: str
    tokenizer: str

    def __len__(self) -> int:
        return self.ids.size

    def verify(self) -> None:
        """Read all ids, check that they are in the vocabulary, and compare their SHA-256 with `digest`.

        Raises:
            TokenFileError: an id is not in the vocabulary, or the SHA-256 differs.
        """
        state, largest = hashlib.sha256(), 0
        for start in range(0, self.ids.size, _BLOCK):
            block = self.ids[start : start + _BLOCK]
            state.update(block.tobytes())
            largest = max(largest, int(block.max()))
        if largest >= self.vocabulary_size:
            raise TokenFileError(f"{self.path} is damaged: it has the id {largest}, but a vocabulary of {self.vocabulary_size}")
        if state.hexdigest() != self.digest:
            raise TokenFileError(f"{self.path} is damaged: the SHA-256 of its ids is {state.hexdigest()}, not {self.digest}")


def write_tokens(
    path: str | os.PathLike[str], tokens: Ids | Iterable[npt.ArrayLike], *, vocabulary_size: int, tokenizer: str = ""
) -> Tokens:
    """Write a token file atomically, and open it.

    Args:
        path: The file to create or to replace.
        tokens: Ids (N,) as an array of any integer dtype or a list of ints, or an iterable of such arrays or lists, for
            example one for each document. They are written as they come, so they need not fit in memory together.
        vocabulary_size: The number of different ids, from 1 to 2^32. Up to 65,536 an id takes two bytes, beyond that four.
        tokenizer: The digest of the tokenizer that made the ids, 64 hexadecimal digits; "" if there is none.

    Raises:
        OSError: the file cannot be written; an older file is intact.
        TypeError: ``tokens`` or ``vocabulary_size`` are not integers.
        ValueError: an id is outside the vocabulary (the message says which), or an argument is out of range.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tokens = write_tokens(Path(folder, "tokens"), ([1, 2], [3]), vocabulary_size=4)
        ...     tokens.ids.tolist(), tokens.ids.dtype.name, tokens.path.stat().st_size
        ...     del tokens
        ([1, 2, 3], 'uint16', 134)
    """
    vocabulary_size = integer("write_tokens", "vocabulary_size", vocabulary_size, 1, _LARGEST)
    if not re.fullmatch(r"([0-9a-f]{64})?", tokenizer):
        raise ValueError(f"write_tokens: tokenizer must be a digest of 64 hexadecimal digits or '', got {tokenizer!r}")
    dtype = _dtype(vocabulary_size)
    state, count = hashlib.sha256(), 0
    with replace_file(path) as file:
        file.write(bytes(_HEADER.size))
        for block in _blocks(tokens):
            _check_range(block, count, vocabulary_size)
            content = block.astype(dtype).tobytes()
            file.write(content)
            state.update(content)
            count += block.size
        file.seek(0)
        known = bytes.fromhex(tokenizer) or bytes(32)
        file.write(_signed(_MAGIC, _VERSION, dtype.itemsize, vocabulary_size, count, state.digest(), known))
    return open_tokens(path)


def open_tokens(path: str | os.PathLike[str]) -> Tokens:
    """Open a token file, in the same short time for any length. `Tokens.verify` checks the ids.

    Args:
        path: The file to open.

    Raises:
        OSError: the file cannot be read.
        TokenFileError: it is not a token file, its header is damaged, or its length is not that in the header.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_tokens(f"{folder}/tokens", [3, 1, 2], vocabulary_size=4)
        ...     open_tokens(f"{folder}/tokens").ids.tolist()
        [3, 1, 2]
    """
    path = Path(path)
    require_file(path)
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
        if not header.startswith(_MAGIC):
            kind = file_kind(header)
            found = f"this is {kind}" if kind else f"it begins with {header[:16]!r}, not {_MAGIC!r}"
            raise TokenFileError(f"{path} is not a token file: {found}")
        if len(header) < _HEADER.size:
            raise TokenFileError(f"{path} is damaged: it has {len(header)} bytes, fewer than a header of {_HEADER.size}")
        _, version, itemsize, vocabulary_size, count, digest, tokenizer, _ = _HEADER.unpack(header)
        if version != _VERSION:
            raise TokenFileError(f"{path} has version {version}, but only version {_VERSION} can be read: write the file again")
        if header != _signed(*_HEADER.unpack(header)[:-1]):
            raise TokenFileError(f"{path} is damaged: the checksum of its header is wrong")
        size, expected = os.fstat(file.fileno()).st_size, _HEADER.size + count * itemsize
        if size != expected:
            raise TokenFileError(f"{path} is damaged: it has {size} bytes, but {count} ids take {expected}")
        if not 1 <= vocabulary_size <= _LARGEST or itemsize != _dtype(vocabulary_size).itemsize:
            raise TokenFileError(f"{path} is damaged: ids of {itemsize} bytes do not match a vocabulary of {vocabulary_size}")
        ids = _mapped(file, _dtype(vocabulary_size), count)
    return Tokens(path, ids, vocabulary_size, digest.hex(), tokenizer.hex() if any(tokenizer) else "")


def _mapped(file: BinaryIO, dtype: np.dtype[Any], count: int) -> Ids:
    if count == 0:  # an empty file section cannot be mapped
        return np.empty(0, dtype)
    return np.asarray(np.memmap(file, dtype, "r", _HEADER.size, (count,)))


def _dtype(vocabulary_size: int) -> np.dtype[Any]:
    return np.dtype("<u2" if vocabulary_size <= 2**16 else "<u4")


def _signed(*fields: Any) -> bytes:
    """A header with these fields and its checksum."""
    header = _HEADER.pack(*fields, b"")[:-24]
    return header + hashlib.sha256(header).digest()[:24]


def _blocks(tokens: Ids | Iterable[npt.ArrayLike]) -> Iterator[Ids]:
    """Pieces of at most _BLOCK ids."""
    flat = isinstance(tokens, np.ndarray) or (isinstance(tokens, list | tuple) and all(map(np.isscalar, tokens)))
    for number, part in enumerate([tokens] if flat else tokens):
        array = np.asarray(part)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            name = "tokens" if flat else f"part {number} of tokens"
            raise TypeError(f"write_tokens: {name} must be one-dimensional integers, got shape {array.shape} and {array.dtype}")
        for start in range(0, array.size, _BLOCK):
            yield array[start : start + _BLOCK]


def _check_range(ids: Ids, before: int, vocabulary_size: int) -> None:
    """Raise ValueError for the first id outside the vocabulary."""
    if ids.min() < 0 or ids.max() >= vocabulary_size:
        place = int(np.argmax((ids < 0) | (ids >= vocabulary_size)))
        raise ValueError(f"write_tokens: tokens[{before + place}] must be from 0 to {vocabulary_size - 1}, got {ids[place]}")
