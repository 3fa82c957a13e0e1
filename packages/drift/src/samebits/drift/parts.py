"""Parts of a result: what a function returned, as arrays that can be compared bit by bit, each with its expression.

    {"loss": 0.5, "masks": [mask, None]}    result['loss'], result['masks'][0], result['masks'][1]

Numbers, arrays and masked arrays stay numbers. Whatever else has no bits of its own, such as a string or None, is compared as the
text that Python writes for it, in ASCII: other characters are written in the same way by every Python.
"""

import dataclasses
import enum
import hashlib
import json
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core import digest

__all__ = ["COMPARABLE", "flatten", "save_part"]

Array = npt.NDArray[Any]

COMPARABLE = "an array, a number, text, None, or a tuple, list, dict, dataclass or other object with attributes of these"

_NUMBERS = {bool: np.bool_, int: np.int64, float: np.float64, complex: np.complex128}
_NOT_DATA = (type, types.FunctionType, types.ModuleType)


def flatten(value: Any, path: str = "result", inside: tuple[int, ...] = ()) -> Iterator[tuple[str, Array]]:
    """The arrays in a result, each with its expression, such as ``result['loss'][0]``.

    Args:
        value: What a function returned: `COMPARABLE`.
        path: The expression of `value`.
        inside: What `value` is a part of, by identity.

    Raises:
        TypeError: A part is of another type, such as a function, a set or an iterator.
        ValueError: A Python integer does not fit int64, or an object is a part of itself.

    Example:
        >>> [name for name, _ in flatten({"a": (1, 2.5), "b": None})]
        ["result['a'][0]", "result['a'][1]", "result['b']"]
    """
    if id(value) in inside:
        raise ValueError(f"{path} must not be a part of itself")
    inside = (*inside, id(value))
    if isinstance(value, np.ndarray | np.generic):
        yield from _arrays(value, path, inside)
    elif isinstance(value, enum.Enum):
        yield from flatten(value.value, path, inside)
    elif isinstance(value, str | bytes | bytearray | np.dtype) or value is None:
        yield path, np.array(ascii(value))
    elif kind := next((kind for kind in _NUMBERS if isinstance(value, kind)), None):
        yield path, _as_array(value, kind, path)
    elif isinstance(value, Sequence) and value and {type(part) for part in value} <= {type(value[0])} & set(_NUMBERS):
        yield path, _as_array(list(value), type(value[0]), path)
    elif hasattr(type(value), "__array__"):
        yield from _arrays(np.asarray(value), path, inside)
    else:
        for name, part in _inner(value, path):
            yield from flatten(part, path + name, inside)


def _inner(value: Any, path: str) -> Iterable[tuple[str, Any]]:
    """What a container holds, with the end of its expression. Raises TypeError if it is no container."""
    if isinstance(value, Mapping):
        return [(f"[{key.item() if isinstance(key, np.generic) else key!a}]", part) for key, part in value.items()]
    if isinstance(value, Sequence):
        return [(f"[{index}]", part) for index, part in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f".{one.name}", getattr(value, one.name)) for one in dataclasses.fields(value)]
    attributes = {} if isinstance(value, _NOT_DATA) else getattr(value, "__dict__", {})
    if public := [(f".{name}", part) for name, part in attributes.items() if not name.startswith("_")]:
        return public
    order = "; sort a set, it has no order" if isinstance(value, set | frozenset) else ""
    raise TypeError(f"{path} must be {COMPARABLE}, got {type(value).__name__}{order}")


def _arrays(value: Any, path: str, inside: tuple[int, ...]) -> Iterator[tuple[str, Array]]:
    """A NumPy array or scalar, as arrays of numbers or of texts."""
    array = np.asarray(value)
    if isinstance(value, np.ma.MaskedArray) and not array.dtype.names:
        mask = np.ma.getmaskarray(value)
        yield from _arrays(np.where(mask, np.zeros((), array.dtype), array), path, inside)  # what a mask hides is no result
        yield f"{path}.mask", mask
    elif array.dtype.names:
        for name in array.dtype.names:
            yield from _arrays(value[name], f"{path}[{name!a}]", inside)
    elif array.dtype.kind in "mM":
        unit = array.dtype.str[1:]
        yield f"{path}.view('int64')", array.astype(unit).view(np.int64)
        yield f"{path}.dtype", np.array(ascii(unit))
    elif array.dtype.kind in "UST":
        yield path, np.array([ascii(text) for text in array.reshape(-1).tolist()], np.str_).reshape(array.shape)
    elif array.dtype.kind == "O":
        for index in np.ndindex(array.shape):
            yield from flatten(array[index], f"{path}[{', '.join(map(str, index))}]" if index else path, inside)
    else:
        yield path, array


def _as_array(value: Any, kind: type, path: str) -> Array:
    """Python numbers in a dtype of the same precision on every platform."""
    try:
        return np.asarray(value, _NUMBERS[kind])
    except OverflowError as error:
        raise ValueError(f"{path} must hold integers within int64; return larger ones as an array of floats") from error


def save_part(path: str, array: Array, file: Path) -> dict[str, Any]:
    """Save an array of `flatten`; returns its name, digest, dtype and shape.

    Raises:
        TypeError: The bytes of its dtype depend on the platform, as those of ``longdouble``.
    """
    try:
        name = _text_digest(array) if array.dtype.kind == "U" else digest(array)
    except TypeError as error:
        raise TypeError(f"{path} cannot be compared: {error}") from error
    np.save(file, array, allow_pickle=False)
    return {"name": path, "digest": name, "dtype": str(array.dtype), "shape": list(array.shape)}


def _text_digest(array: Array) -> str:
    """The digest of an array of texts, which does not depend on the length of the longest."""
    return hashlib.sha256(f"samebits.text/1 {json.dumps(array.tolist())}".encode()).hexdigest()
