"""Writing GGUF: metadata and tensors in one file of version 3, as `gguf` reads it; the same contents give the same bytes.

The types of tensors are those of `block_formats`. The bytes follow each other, each tensor on a multiple of 32; the file has its
name once it is on the disk.
"""

import os
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core.block_formats import FORMATS
from samebits.core.files import replace_file
from samebits.core.records import shown
from samebits.lm.gguf import ARRAY, BOOL, NUMBERS, STRING, TENSOR_TYPES

__all__ = ["write_gguf"]

Array = npt.NDArray[Any]

_ALIGNMENT = 32
_FORMATS = {one.block: name for name, one in FORMATS.items()}
_TENSORS = {name: number for number, name in TENSOR_TYPES.items()}
_KINDS = {dtype: number for number, dtype in NUMBERS.items()} | {np.dtype(np.bool_): BOOL}
_INTEGERS = ((np.uint32, 0, 2**32), (np.int32, -(2**31), 0), (np.uint64, 0, 2**64), (np.int64, -(2**63), 0))


def write_gguf(path: str | os.PathLike[str], metadata: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
    """Write a file atomically.

    Args:
        path: The file to create or to replace.
        metadata: The values by key, in the order of the file. An int becomes the first of uint32, int32, uint64 and int64 that can
            represent it, a float becomes float32; a NumPy scalar keeps its type. A str or a bool, a list of str, and an array of
            numbers or booleans are possible too.
        tensors: Blocks ``(..., columns / weights)`` by name, in the order of the file; their dtype is that of a format in
            `FORMATS`, and says which: float32 is F32, float16 F16, uint16 BF16.

    Raises:
        TypeError: A value or a dtype is of a type that the format does not have.
        ValueError: An array of metadata does not have one axis, a tensor has none or more than four, or is empty.
        OSError: The file cannot be written; the previous one is unchanged.

    Example:
        >>> import tempfile
        >>> from samebits.lm.gguf import open_gguf
        >>> with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        ...     write_gguf(f"{folder}/x.gguf", {"general.name": "small"}, {"x": np.ones((2, 3), np.float16)})
        ...     file = open_gguf(f"{folder}/x.gguf")
        >>> file.metadata, file.entries
        ({'general.name': 'small'}, {'x': Entry(type='F16', shape=(2, 3), start=128, stop=140)})
    """
    blocks = {name: _portable(name, array) for name, array in tensors.items()}
    header = struct.pack("<4sIQQ", b"GGUF", 3, len(blocks), len(metadata))
    header += b"".join(_string(key) + _value(key, value) for key, value in metadata.items())
    place = 0
    for name, array in blocks.items():
        header += _description(name, array, place)
        place += array.nbytes + -array.nbytes % _ALIGNMENT
    with replace_file(path) as file:
        file.write(header + bytes(-len(header) % _ALIGNMENT))
        for array in blocks.values():
            file.write(array.reshape(-1).view(np.uint8).data)
            file.write(bytes(-array.nbytes % _ALIGNMENT))


def _portable(name: str, array: Array) -> Array:
    """The blocks in C order and little-endian."""
    dtype = array.dtype.newbyteorder("<")
    if dtype not in _FORMATS:
        raise TypeError(f"write_gguf: tensor {name!r} must have the dtype of a format of {', '.join(FORMATS)}, got {array.dtype}")
    if not 1 <= array.ndim <= 4 or not array.size:
        raise ValueError(f"write_gguf: tensor {name!r} must have one to four axes, none of them empty, got shape {array.shape}")
    return np.asarray(array, dtype, order="C")


def _description(name: str, array: Array, place: int) -> bytes:
    """A tensor's name, axes, sizes (columns first), type and offset."""
    kind = _FORMATS[array.dtype]
    sizes = array.shape[-1] * FORMATS[kind].weights, *array.shape[-2::-1]
    return _string(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, _TENSORS[kind], place)


def _string(text: str) -> bytes:
    raw = text.encode()
    return len(raw).to_bytes(8, "little") + raw


def _value(key: str, value: Any) -> bytes:
    """The number of a value's type, and the value."""
    if isinstance(value, str):
        return _number(STRING) + _string(value)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return _number(ARRAY) + _number(STRING) + len(value).to_bytes(8, "little") + b"".join(map(_string, value))
    array = _array(key, value)
    kind = _number(_KINDS[array.dtype])
    if not array.ndim:
        return kind + array.tobytes()
    return _number(ARRAY) + kind + len(array).to_bytes(8, "little") + array.tobytes()


def _array(key: str, value: Any) -> Array:
    """A number, a boolean or an array of them, of a type of the format and little-endian."""
    if type(value) is int:
        value = next((kind(value) for kind, least, stop in _INTEGERS if least <= value < stop), value)
    elif type(value) is float:
        value = np.float32(value)
    elif type(value) is bool:
        value = np.bool_(value)
    dtype = value.dtype.newbyteorder("<") if isinstance(value, np.ndarray | np.generic) else None
    if dtype not in _KINDS:
        raise TypeError(
            f"write_gguf: {key} must be a str, a bool, a number of at most 64 bits, a list of str or an array, got {shown(value)}"
        )
    if value.ndim > 1:
        raise ValueError(f"write_gguf: {key} must have at most one axis, got shape {value.shape}")
    return np.asarray(value, dtype)


def _number(kind: int) -> bytes:
    return kind.to_bytes(4, "little")
