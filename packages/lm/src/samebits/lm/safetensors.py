"""Safetensors: named arrays in a file, as a length, a JSON header and their bytes.

    u64 length | {"__metadata__": {...}, "weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...} | bytes

The format (https://github.com/huggingface/safetensors) needs no code to be read, and can run none. What is written here is what
the reference writes, byte by byte. What is read is checked first: every claim of a header against the others, and against the
size of the file, before any room is made for it. Files that are never half written are left to `checkpoint`.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

__all__ = ["CheckpointError", "Entry", "portable", "read_header", "read_tensor", "written"]

Array = npt.NDArray[Any]

HEADER_LIMIT = 2**22
"""Bytes of the largest header that is read, 40,000 tensors' worth; the reference takes 100 MB, of which JSON can make gigabytes."""

_AXES = 32  # what every NumPy has
_MOST = 2**63 - 1

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


class CheckpointError(ValueError):
    """A file is not a sound checkpoint; the message says where."""


class Entry(NamedTuple):
    """A tensor as the header describes it; ``start`` and ``stop`` count bytes from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def portable(name: str, array: Array) -> Array:
    """The array in C order and little-endian, not copied if it is that already.

    Raises:
        TypeError: It is no array, or has a dtype that the format or NumPy has not.
        ValueError: It has more axes than every NumPy takes.
    """
    if not isinstance(array, np.ndarray | np.generic):
        raise TypeError(f"tensor {name!r} is of type {type(array).__name__}: a NumPy array is needed")
    dtype = array.dtype.newbyteorder("<")
    if dtype not in _NAMES:
        raise TypeError(f"tensor {name!r} has dtype {array.dtype}, which is none of {', '.join(map(str, _NAMES))}")
    if array.ndim > _AXES:
        raise ValueError(f"tensor {name!r} has {array.ndim} axes: at most {_AXES} are possible")
    return np.asarray(array, dtype, order="C")


def written(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> Iterable[bytes | memoryview]:
    r"""The parts of a file of `portable` arrays and metadata, one after the other.

    Example:
        >>> b"".join(written({"x": np.array([1, 2], np.uint8)}, {}))
        b'8\x00\x00\x00\x00\x00\x00\x00{"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}   \x01\x02'

    Raises:
        TypeError: A name or a value is not text.
        ValueError: A name is reserved or has no UTF-8 form, or the header would be larger than is read again.
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
        raise ValueError(f"the header has {len(text)} bytes, names and metadata included: at most {HEADER_LIMIT} are read again")
    return [len(text).to_bytes(8, "little"), text, *[arrays[name].reshape(-1).view(np.uint8).data for name in ordered]]


def read_header(file: BinaryIO, path: str) -> tuple[dict[str, Entry], dict[str, str]]:
    """The tensors' descriptions in the order of their bytes, and the metadata; the file then stands at the first tensor.

    Raises:
        CheckpointError: The file is truncated or too long, its header is no JSON of the right form or contradicts itself, or its
            tensors overlap, leave holes or have a dtype that NumPy has not.
    """
    size = os.fstat(file.fileno()).st_size
    start = file.read(8)
    if len(start) < 8:
        raise CheckpointError(f"{path}: {size} bytes are too few for a header's length, which takes 8")
    length = int.from_bytes(start, "little")
    if length > size - 8:
        raise CheckpointError(
            f"{path}: the header claims {length} bytes, the file has {size - 8} after its length: it is truncated"
        )
    if length > HEADER_LIMIT:
        raise CheckpointError(f"{path}: the header claims {length} bytes, more than the {HEADER_LIMIT} that are read")
    header = _parse(file.read(length), path)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError(f"{path}: __metadata__ is not an object of texts")
    entries = {name: _entry(f"{path}: tensor {name!r}", claim) for name, claim in header.items()}
    ordered = dict(sorted(entries.items(), key=lambda item: (item[1].start, item[1].stop)))
    end, before = 0, "the header"
    for name, entry in ordered.items():
        if entry.start != end:
            what = "overlaps" if entry.start < end else f"leaves a hole of {entry.start - end} bytes after"
            raise CheckpointError(
                f"{path}: tensor {name!r} begins at byte {entry.start} and {what} {before}, which ends at {end}"
            )
        end, before = entry.stop, f"tensor {name!r}"
    if end != size - 8 - length:
        kind = "truncated" if end > size - 8 - length else "too long"
        raise CheckpointError(f"{path}: {size - 8 - length} bytes follow the header, its tensors have {end}: the file is {kind}")
    return ordered, metadata


def read_tensor(file: BinaryIO, where: str, entry: Entry) -> Array:
    """The tensor that the file stands at, writeable; BF16 becomes float32, which has all its values.

    Raises:
        CheckpointError: The file ends before it, or a BOOL is neither 0 nor 1.
    """
    array: Array = np.empty(entry.shape, _DTYPES[entry.dtype])
    count = file.readinto(array.reshape(-1).view(np.uint8).data)  # type: ignore[attr-defined]
    if count != array.nbytes:
        raise CheckpointError(f"{where}: only {count} of {array.nbytes} bytes could be read: the file was truncated meanwhile")
    if entry.dtype == "BF16":
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if entry.dtype == "BOOL" and array.size and array.view(np.uint8).max() > 1:
        raise CheckpointError(f"{where}: a BOOL is neither 0 nor 1")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _check_names(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    for text in (*arrays, *metadata, *metadata.values()):
        if not isinstance(text, str):
            raise TypeError(f"names and metadata are texts, not {type(text).__name__}: {text!r}")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{text!r} has half a surrogate pair in it, and so no UTF-8 form") from None
    if "__metadata__" in arrays:
        raise ValueError("the name '__metadata__' is taken by the format")


def _parse(text: bytes, path: str) -> dict[str, Any]:
    """The JSON object of a header."""
    if not text.startswith(b"{"):
        raise CheckpointError(f"{path}: the header begins with {text[:1]!r}: an object of JSON begins with {{")
    try:
        header: dict[str, Any] = json.loads(
            text.decode(), object_pairs_hook=_pairs, parse_int=_number, parse_float=_refuse_number, parse_constant=_refuse_number
        )
        "".join(header).encode()
    except RecursionError:
        raise CheckpointError(f"{path}: the header is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: the header is not UTF-8 at its byte {error.start}") from None
    except UnicodeEncodeError:
        raise CheckpointError(f"{path}: a name has half a surrogate pair in it") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: the header is not sound: {error}") from None
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
        raise ValueError(f"the number {digits[:20]}... is larger than a file can be")
    return int(digits)


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is no whole number")


def _entry(where: str, claim: Any) -> Entry:
    """One tensor's description, consistent in itself."""
    if not isinstance(claim, dict) or sorted(claim) != ["data_offsets", "dtype", "shape"]:
        raise CheckpointError(f"{where}: an object of dtype, shape and data_offsets is needed, not {_short(claim)}")
    dtype, shape, span = claim["dtype"], claim["shape"], claim["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise CheckpointError(f"{where}: dtype is {_short(dtype)}, which is none of {', '.join(_DTYPES)}")
    if not _whole(shape) or len(shape) > _AXES:
        raise CheckpointError(f"{where}: shape is {_short(shape)}: a list of at most {_AXES} numbers from 0 on is needed")
    if not _whole(span) or len(span) != 2 or span[0] > span[1]:
        raise CheckpointError(f"{where}: data_offsets are {_short(span)}: two numbers are needed, the second not below the first")
    itemsize = _DTYPES[dtype].itemsize
    if math.prod([max(n, 1) for n in shape]) * itemsize > _MOST:  # NumPy refuses these even where one axis is empty
        raise CheckpointError(f"{where}: shape {_short(shape)} is larger than an array can be")
    if math.prod(shape) * itemsize != span[1] - span[0]:
        raise CheckpointError(
            f"{where}: {dtype} of shape {_short(shape)} takes {math.prod(shape) * itemsize} bytes, "
            f"data_offsets {span} have {span[1] - span[0]}"
        )
    return Entry(dtype, tuple(shape), span[0], span[1])


def _whole(value: Any) -> bool:
    """Whether it is a list of numbers from 0 on."""
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
