"""Safetensors: named arrays in a file, as a length, a JSON header and their bytes.

    u64 length | {"__metadata__": {...}, "weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...} | bytes

The format (https://github.com/huggingface/safetensors) holds data only, no code. Files written here have the bytes that the
reference implementation writes. A header is checked before it is used: every entry against the others and against the size of
the file, before memory is allocated. Atomic writes and digests are left to `checkpoint`.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from samebits.text.file_kinds import SAFETENSORS, SAMPLE, file_kind

__all__ = ["Entry", "SafetensorsError", "portable", "read_header", "read_tensor", "written"]

Array = npt.NDArray[Any]

HEADER_LIMIT = 2**22
"""The largest header that is read, in bytes: about 40,000 tensors. (The reference's limit is 100 MB.)"""

_MOST_AXES = 32  # of every NumPy
_MOST_BYTES = 2**63 - 1

# In the order of the reference, largest elements first, so that all are aligned.
_DTYPES: dict[str, np.dtype[Any]] = {
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "BF16": np.dtype("<u2"),  # read only, as the float32 of the same value: NumPy has no bfloat16
    "F16": np.dtype("<f2"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items() if name != "BF16"}
_ORDER = {name: place for place, name in enumerate(_DTYPES)}


class SafetensorsError(ValueError):
    """A file is truncated or malformed; the message says where."""


class Entry(NamedTuple):
    """A tensor's description in the header; ``start`` and ``stop`` count bytes from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def portable(name: str, array: Array) -> Array:
    """The array in C order and little-endian; it is copied only if it is not.

    Raises:
        TypeError: It is not an array, or the format has no such dtype.
        ValueError: It has more than 32 axes.
    """
    if not isinstance(array, np.ndarray | np.generic):
        raise TypeError(f"tensor {name!r} must be a NumPy array, got {type(array).__name__}")
    dtype = array.dtype.newbyteorder("<")
    if dtype not in _NAMES:
        raise TypeError(f"tensor {name!r} must have a dtype of {', '.join(map(str, _NAMES))}, got {array.dtype}")
    if array.ndim > _MOST_AXES:
        raise ValueError(f"tensor {name!r} must have at most {_MOST_AXES} axes, got {array.ndim}")
    return np.asarray(array, dtype, order="C")


def written(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> Iterable[bytes | memoryview]:
    r"""The parts of a file of `portable` arrays and metadata, one after the other.

    Example:
        >>> b"".join(written({"x": np.array([1, 2], np.uint8)}, {}))
        b'8\x00\x00\x00\x00\x00\x00\x00{"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}   \x01\x02'

    Raises:
        TypeError: A name or a value is not a string.
        ValueError: A name is reserved or has no UTF-8 form, or the header would be larger than the limit.
    """
    _check_names(arrays, metadata)
    ordered = sorted(arrays, key=lambda name: (_ORDER[_NAMES[arrays[name].dtype]], name))
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    place = 0
    for name in ordered:
        array = arrays[name]
        span = [place, place := place + array.nbytes]
        header[name] = {"dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": span}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > HEADER_LIMIT:
        raise ValueError(f"names and metadata must take at most {HEADER_LIMIT} bytes of header, got {len(text)}")
    return [len(text).to_bytes(8, "little"), text, *[arrays[name].reshape(-1).view(np.uint8).data for name in ordered]]


def read_header(file: BinaryIO, path: str) -> tuple[dict[str, Entry], dict[str, str]]:
    """The tensors' descriptions in the order of their bytes, and the metadata; the file is then at the first tensor.

    Raises:
        SafetensorsError: The file is truncated or too long, its header is malformed or contradicts itself, or its tensors
            overlap, leave gaps or have a dtype that NumPy does not have.
    """
    size = os.fstat(file.fileno()).st_size
    sample = file.read(SAMPLE)
    file.seek(8)
    start, kind = sample[:8], file_kind(sample)
    if kind not in {None, SAFETENSORS}:
        raise SafetensorsError(f"{path}: this is {kind}, not a safetensors file")
    if len(start) < 8:
        raise SafetensorsError(f"{path}: truncated: it has {size} bytes, the length of the header takes 8")
    length = int.from_bytes(start, "little")
    if length > HEADER_LIMIT and sample.isascii() and b"\0" not in sample:  # eight characters, not a length
        raise SafetensorsError(f"{path}: this is text, not a safetensors file")
    if length > size - 8:
        raise SafetensorsError(f"{path}: truncated: the header should have {length} bytes, {size - 8} follow its length")
    if length > HEADER_LIMIT:
        raise SafetensorsError(f"{path}: the header must have at most {HEADER_LIMIT} bytes, got {length}")
    header = _parse(file.read(length), path)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise SafetensorsError(f"{path}: __metadata__ must be a JSON object of strings")
    entries = {name: _entry(f"{path}: tensor {name!r}", claim) for name, claim in header.items()}
    ordered = dict(sorted(entries.items(), key=lambda item: (item[1].start, item[1].stop)))
    end, before = 0, "the header"
    for name, entry in ordered.items():
        if entry.start != end:
            what = "overlaps" if entry.start < end else f"leaves a gap of {entry.start - end} bytes after"
            raise SafetensorsError(
                f"{path}: tensor {name!r} begins at byte {entry.start} and {what} {before}, which ends at {end}"
            )
        end, before = entry.stop, f"tensor {name!r}"
    if end != size - 8 - length:
        kind = "truncated" if end > size - 8 - length else "too long"
        raise SafetensorsError(f"{path}: {kind}: the tensors should have {end} bytes, {size - 8 - length} follow the header")
    return ordered, metadata


def read_tensor(file: BinaryIO, where: str, entry: Entry) -> Array:
    """Read the next tensor of a file, as a writeable array; BF16 becomes float32, which can represent all its values.

    Raises:
        SafetensorsError: The file ends too early, or a BOOL is neither 0 nor 1.
    """
    array: Array = np.empty(entry.shape, _DTYPES[entry.dtype])
    count = file.readinto(array.reshape(-1).view(np.uint8).data)  # type: ignore[attr-defined]
    if count != array.nbytes:
        raise SafetensorsError(f"{where}: truncated while it was read: got {count} of {array.nbytes} bytes")
    if entry.dtype == "BF16":
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if entry.dtype == "BOOL" and array.size and array.view(np.uint8).max() > 1:
        raise SafetensorsError(f"{where}: a BOOL must be 0 or 1")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _check_names(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    for text in (*arrays, *metadata, *metadata.values()):
        if not isinstance(text, str):
            raise TypeError(f"names and metadata must be strings, got {text!r}")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"names and metadata must be valid Unicode, got {text!r} with half a surrogate pair") from None
    if "__metadata__" in arrays:
        raise ValueError("the name '__metadata__' is reserved by the format")


def _parse(text: bytes, path: str) -> dict[str, Any]:
    """The JSON object of a header."""
    if not text.startswith(b"{"):
        raise SafetensorsError(f"{path}: the header must begin with {{, got {text[:1]!r}")
    try:
        header: dict[str, Any] = json.loads(
            text.decode(), object_pairs_hook=_pairs, parse_int=_number, parse_float=_refuse_number, parse_constant=_refuse_number
        )
        "".join(header).encode()
    except RecursionError:
        raise SafetensorsError(f"{path}: the header is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise SafetensorsError(f"{path}: the header is not UTF-8 at byte {error.start}") from None
    except UnicodeEncodeError:
        raise SafetensorsError(f"{path}: a name has half a surrogate pair") from None
    except ValueError as error:
        raise SafetensorsError(f"{path}: the header is malformed: {error}") from None
    return header


def _pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(items)
    if len(result) < len(items):
        left = iter(result)  # in the order of first occurrence
        twice = next((name for name, _ in items if name != next(left, None)), "")
        raise ValueError(f"the name {_short(twice)} occurs twice")
    return result


def _number(digits: str) -> int:
    if len(digits) > 19:
        raise ValueError(f"the number {digits[:20]}... is larger than any file")
    return int(digits)


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is not an integer")


def _entry(where: str, claim: Any) -> Entry:
    """A tensor's description, checked for consistency."""
    if not isinstance(claim, dict) or sorted(claim) != ["data_offsets", "dtype", "shape"]:
        raise SafetensorsError(f"{where}: must be an object of dtype, shape and data_offsets, got {_short(claim)}")
    dtype, shape, span = claim["dtype"], claim["shape"], claim["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise SafetensorsError(f"{where}: dtype must be one of {', '.join(_DTYPES)}, got {_short(dtype)}")
    if not _sizes(shape) or len(shape) > _MOST_AXES:
        raise SafetensorsError(f"{where}: shape must be at most {_MOST_AXES} integers of at least 0, got {_short(shape)}")
    if not _sizes(span) or len(span) != 2 or span[0] > span[1]:
        raise SafetensorsError(f"{where}: data_offsets must be two ascending integers, got {_short(span)}")
    itemsize = _DTYPES[dtype].itemsize
    if math.prod([max(n, 1) for n in shape]) * itemsize > _MOST_BYTES:  # NumPy refuses these even where one axis is empty
        raise SafetensorsError(f"{where}: shape {_short(shape)} is too large for an array")
    if math.prod(shape) * itemsize != span[1] - span[0]:
        raise SafetensorsError(
            f"{where}: {dtype} of shape {_short(shape)} takes {math.prod(shape) * itemsize} bytes, "
            f"data_offsets {span} have {span[1] - span[0]}"
        )
    return Entry(dtype, tuple(shape), span[0], span[1])


def _sizes(value: Any) -> bool:
    """Whether it is a list of integers of at least 0."""
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
