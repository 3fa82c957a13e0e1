"""GGUF: a model's tensors, settings and vocabulary in one file, as llama.cpp and the programs around it exchange them.

    "GGUF" | u32 version | u64 tensors | u64 keys | key, type, value; ... | name, axes, sizes, type, offset; ... | padding | bytes of tensors

Versions 2 and 3 are read (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). The file is mapped into memory: opening one reads its
header alone, and a tensor is read from the disk when it is used. A header is checked before it is used: each length against the size
of the file before memory is allocated, and each tensor against its neighbors. `core.block_formats` has the types of tensors.
"""

import math
import os
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from samebits.core.block_formats import FORMATS, dequantize
from samebits.text.file_kinds import GGUF, SAMPLE, file_kind

__all__ = ["Entry", "GGUFError", "GGUFFile", "open_gguf"]

Array = npt.NDArray[Any]

_MOST_AXES = 4  # of ggml
_MOST_NAME = 2**16 - 1  # bytes of a key or of a tensor's name
_ALIGNMENT = "general.alignment"
_KEY, _TENSOR = 8 + 4 + 1, 8 + 4 + 4 + 8  # the fewest bytes that describe one

# The types of tensors by number: those of `FORMATS`, and the others, for errors.
TENSOR_TYPES = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K"}
TENSOR_TYPES |= {12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S"}
TENSOR_TYPES |= {20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64"}
TENSOR_TYPES |= {29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0"}

_CODES = {0: "u1", 1: "i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 10: "<u8", 11: "<i8", 12: "<f8"}
NUMBERS = {number: np.dtype(code) for number, code in _CODES.items()}
BOOL, STRING, ARRAY = 7, 8, 9
_SIZES = {number: dtype.itemsize for number, dtype in NUMBERS.items()} | {BOOL: 1, STRING: 8}
"""The fewest bytes of a value of each type."""


class GGUFError(ValueError):
    """A file is truncated, malformed or of a kind that is not supported; the message says where.

    Example:
        >>> raise GGUFError("model.gguf: truncated")
        Traceback (most recent call last):
        samebits.lm.gguf.GGUFError: model.gguf: truncated
    """


class Entry(NamedTuple):
    """A tensor's description: its type, its shape in C order (rows first), and its bytes, counted from the beginning of the file."""

    type: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class GGUFFile:
    """An open file, from `open_gguf`. It must not be truncated while it is in use."""

    path: Path
    version: int
    """2 or 3."""
    metadata: dict[str, Any]
    """The values by key: int, float, bool, str, an array of numbers or booleans, or a list of str."""
    entries: dict[str, Entry]
    """The descriptions of the tensors by name, in the order of the file."""
    _bytes: Array

    def blocks(self, name: str) -> Array:
        """The blocks of a tensor as they are in the file: read-only, and not copied.

        Returns:
            Blocks ``(..., columns / weights)`` of the dtype in `FORMATS`. `dequantize` turns them, or some rows of them, into float32.

        Raises:
            KeyError: There is no such tensor.
        """
        kind, shape, start, stop = self._entry(name)
        weights, dtype, _ = FORMATS[kind]
        shape = (*shape[:-1], shape[-1] // weights) if shape else (1,)
        return self._bytes[start:stop].view(dtype).reshape(shape)

    def tensor(self, name: str) -> npt.NDArray[np.float32]:
        """A tensor in float32, read-only if it is F32 and not copied.

        Raises:
            KeyError: There is no such tensor.
        """
        entry = self._entry(name)
        return dequantize(self.blocks(name), entry.type).reshape(entry.shape)

    def _entry(self, name: str) -> Entry:
        if name not in self.entries:
            raise KeyError(f"{self.path}: there is no tensor {name!r}")
        return self.entries[name]


def open_gguf(path: str | os.PathLike[str]) -> GGUFFile:
    """Open a file: its metadata are read, its tensors are mapped into memory.

    Raises:
        GGUFError: The file is truncated, its header is malformed or contradicts itself, a name occurs twice, tensors overlap or leave
            gaps, or it has a version, byte order or type that is not supported.
        OSError: The file cannot be read.

    Example:
        >>> import tempfile
        >>> header = struct.pack("<4sIQQ", b"GGUF", 3, 1, 1)
        >>> header += struct.pack("<Q4sII", 4, b"year", 4, 2026)  # a key, the number of its type, and its value
        >>> header += struct.pack("<Q1sIQQIQ", 1, b"x", 2, 3, 2, 1, 0)  # a tensor of two axes, of 3 columns and 2 rows, F16, at 0
        >>> padding = bytes(-len(header) % 32)
        >>> with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        ...     _ = Path(folder, "x.gguf").write_bytes(header + padding + np.arange(6, dtype="<f2").tobytes())
        ...     file = open_gguf(f"{folder}/x.gguf")
        >>> file.metadata, file.entries
        ({'year': 2026}, {'x': Entry(type='F16', shape=(2, 3), start=96, stop=108)})
        >>> file.tensor("x")
        array([[0., 1., 2.],
               [3., 4., 5.]], dtype=float32)
    """
    path = Path(path)
    with path.open("rb") as file:
        sample = file.read(SAMPLE)
        kind = file_kind(sample)
        if kind != GGUF:
            what = f"this is {kind}" if kind else f"it begins with {sample[:4]!r}"
            raise GGUFError(f"{path}: {what}, not a GGUF file")
        mapped: Array = np.asarray(np.memmap(file, np.uint8, "r"))
    header = _Header(str(path), mapped.data)
    version, tensors, keys = header.start()
    metadata: dict[str, Any] = {}
    for _ in range(keys):
        header.key(metadata)
    alignment = metadata.get(_ALIGNMENT, 32)
    if type(alignment) is not int or alignment < 8 or alignment & (alignment - 1):
        header.fail(f"{_ALIGNMENT} must be a power of two of at least 8, got {_short(alignment)}")
    entries: dict[str, Entry] = {}
    for _ in range(tensors):
        header.tensor(entries, alignment)
    first = header.position + -header.position % alignment
    entries = {name: one._replace(start=one.start + first, stop=one.stop + first) for name, one in entries.items()}
    for name, one in entries.items():
        if one.stop > len(mapped):
            raise GGUFError(f"{path}: truncated: tensor {name!r} should end at byte {one.stop}, the file has {len(mapped)}")
    return GGUFFile(path, version, metadata, entries, mapped)


class _Header:
    """The bytes of a file, read from the beginning; errors name the file, what is being read, and the position."""

    def __init__(self, path: str, data: memoryview) -> None:
        self.path, self.data, self.position, self.what = path, data, 0, "the header"

    def fail(self, problem: str, at: int | None = None) -> NoReturn:
        raise GGUFError(f"{self.path}: {self.what}: {problem} (at byte {self.position if at is None else at})")

    def take(self, count: int, what: str) -> memoryview:
        """The next bytes; how many is a claim of the file."""
        start = self.position
        if count > len(self.data) - start:
            self.fail(f"truncated: {what} should have {count} bytes, {len(self.data) - start} are left")
        self.position = start + count
        return self.data[start : self.position]

    def u32(self, what: str) -> int:
        return int.from_bytes(self.take(4, what), "little")

    def u64(self, what: str) -> int:
        return int.from_bytes(self.take(8, what), "little")

    def count(self, what: str, least: int) -> int:
        """How many of something follow, each of at least some bytes."""
        found = self.u64(f"the number of {what}")
        left = len(self.data) - self.position
        if found > left // least:
            self.fail(
                f"truncated: {found} {what} of at least {least} bytes are announced, {left} bytes are left", self.position - 8
            )
        return found

    def string(self, what: str, most: int | None = None) -> str:
        start = self.position
        length = self.u64(f"the length of {what}")
        if most is not None and length > most:
            self.fail(f"{what} must have at most {most} bytes, got {length}", start)
        text = self.take(length, what)
        try:
            return str(text, "utf-8")
        except UnicodeDecodeError as error:
            self.fail(f"{what} is not UTF-8", start + 8 + error.start)

    def strings(self, count: int) -> list[str]:
        """As `string`, in one loop: a vocabulary has a hundred thousand."""
        data, stop, found = self.data, self.position, []
        with suppress(UnicodeDecodeError):
            for _ in range(count):
                start = stop + 8
                stop = start + int.from_bytes(data[stop:start], "little")
                found.append(str(data[start:stop], "utf-8"))
                if stop > len(data):
                    break
                self.position = stop
        if self.position != stop:
            self.string("an element")  # which fails, and says why
        return found

    def start(self) -> tuple[int, int, int]:
        """The version, and the numbers of tensors and keys."""
        self.take(4, "the magic number")
        version = self.u32("the version")
        if version and not version % 2**16:
            self.fail("a big-endian file is not supported", 4)
        if version not in {2, 3}:
            self.fail(f"version must be 2 or 3, got {version}", 4)
        start = self.position
        tensors, keys = self.count("tensors", _TENSOR), self.count("keys", _KEY)
        if tensors * _TENSOR + keys * _KEY > len(self.data) - self.position:
            self.fail(
                f"truncated: {tensors} tensors and {keys} keys are announced, {len(self.data) - self.position} bytes are left",
                start,
            )
        return version, tensors, keys

    def key(self, metadata: dict[str, Any]) -> None:
        """Read one key and its value."""
        self.what, start = "metadata", self.position
        name = self.string("a key", _MOST_NAME)
        self.what = f"key {_short(name)}"
        if name in metadata:
            self.fail("it occurs twice", start)
        metadata[name] = self.value(self.u32("the type"))

    def value(self, kind: int) -> Any:
        start = self.position
        if kind in NUMBERS:
            return np.frombuffer(self.take(_SIZES[kind], "the value"), NUMBERS[kind])[0].item()
        if kind == BOOL:
            return bool(self.booleans(1)[0])
        if kind == STRING:
            return self.string("the value")
        if kind != ARRAY:
            self.fail(f"its type must be from 0 to 12, got {kind}", start - 4)
        element = self.u32("the type of the elements")
        if element not in _SIZES:
            self.fail(f"the type of the elements must be from 0 to 12 and no array (9), got {element}", start)
        count = self.count("elements", _SIZES[element])
        if element == STRING:
            return self.strings(count)
        if element == BOOL:
            return self.booleans(count)
        dtype = NUMBERS[element]
        return np.frombuffer(self.take(count * dtype.itemsize, "the elements"), dtype).astype(dtype.newbyteorder("="))

    def booleans(self, count: int) -> Array:
        start = self.position
        found = np.frombuffer(self.take(count, "a boolean"), np.uint8)
        wrong = np.flatnonzero(found > 1)
        if wrong.size:
            self.fail(f"a boolean must be 0 or 1, got {found[wrong[0]]}", start + int(wrong[0]))
        return found.astype(np.bool_)

    def tensor(self, entries: dict[str, Entry], alignment: int) -> None:
        """Read one tensor's description, whose bytes are counted from the end of the padding; it must follow the last one's."""
        self.what, start = "tensors", self.position
        name = self.string("a name", _MOST_NAME)
        self.what = f"tensor {_short(name)}"
        if name in entries:
            self.fail("it occurs twice", start)
        start = self.position
        axes = self.u32("the number of axes")
        if axes > _MOST_AXES:
            self.fail(f"it must have at most {_MOST_AXES} axes, got {axes}", start)
        start = self.position
        sizes = struct.unpack(f"<{axes}Q", self.take(8 * axes, "the shape"))
        if not all(sizes):
            self.fail(f"its sizes must be at least 1, got {list(sizes)}", start)
        number = self.u32("the type")
        kind = TENSOR_TYPES.get(number, "unknown")
        if kind not in FORMATS:
            self.fail(f"its type must be one of {', '.join(FORMATS)}, got {number} ({kind})", self.position - 4)
        weights, block, _ = FORMATS[kind]
        if (sizes[0] if sizes else 1) % weights:
            self.fail(f"the rows of {kind} must be multiples of {weights} long, got {list(sizes[:1])}", start)
        offset = self.u64("the offset")
        end = next(reversed(entries.values())).stop if entries else 0
        expected = end + -end % alignment
        if offset != expected:
            what = "overlaps the tensor before" if offset < end else "does not follow the tensor before"
            self.fail(f"its offset {what}: it must be {expected}, got {offset}", self.position - 8)
        entries[name] = Entry(kind, sizes[::-1], offset, offset + math.prod(sizes) // weights * block.itemsize)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
