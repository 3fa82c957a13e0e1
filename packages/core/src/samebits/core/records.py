"""Strict reading of records: JSON files of a known shape.

A record's shape is a Python type, and a value must have exactly that type:

    class Cell(TypedDict):
        python: str
        passed: Annotated[int, Limits(least=0)]

    read_json("cell.json", Cell)  # RecordError: cell.json: passed must be an integer, got True

The types are dataclasses, typed dictionaries, ``dict[str, T]``, ``list[T]``, ``tuple[T, ...]``, ``T | None``, ``int | float``, ``Literal``,
``str``, ``int``, ``float``, ``bool`` and ``Any``. Integers fit int64, numbers are finite, strings have no control characters, and no name is
missing, unknown or given twice. Standard library only: the tools of the repository load this file where NumPy is not installed.
"""

import dataclasses
import json
import math
import os
import re
import reprlib
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, Required, TypeVar, Union, get_args, get_origin

__all__ = ["Limits", "RecordError", "convert", "load_json", "parse_json", "parse_toml", "read_json", "shown", "visible"]

T = TypeVar("T")

_LARGEST_FILE = 2**28
_DEPTH = 32
# what neither XML nor a terminal shows as text: controls other than tab and line ends, halves of surrogate pairs, non-characters
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_KINDS = {str: "a string", int: "an integer", float: "a number", bool: "true or false", type(None): "null"}


class RecordError(ValueError):
    """A file is not a record of the shape that was asked for; the message names the file and the field.

    Example:
        >>> issubclass(RecordError, ValueError)
        True
    """


@dataclass(frozen=True)
class Limits:
    """What a value must satisfy beside its type: ``Annotated[int, Limits(least=0)]``.

    Example:
        >>> convert(-1, Annotated[int, Limits(least=0)])
        Traceback (most recent call last):
        ...
        samebits.core.records.RecordError: the value must be at least 0, got -1
    """

    least: float = -math.inf
    """The smallest number it may be."""
    most: float = 2**63 - 1
    """The largest integer it may be; `math.inf` also lets a number be infinite."""
    pattern: str = ""
    """The regular expression that a whole string matches."""
    others: bool = False
    """Whether a typed dictionary may have other names too."""
    controls: bool = False
    """Whether a string may have control characters, as texts of models do; halves of surrogate pairs are refused all the same."""


@dataclass(frozen=True)
class _LongInteger:
    """An integer of more than 40 digits, which Python converts slowly or not at all."""

    digits: int

    def __repr__(self) -> str:
        return f"an integer of {self.digits} digits"


def read_json(path: str | os.PathLike[str], kind: type[T]) -> T:
    """The record in a JSON file.

    Args:
        path: The file.
        kind: The type of the record.

    Raises:
        OSError: The file cannot be read.
        RecordError: It is not JSON, or not a record of this type.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.json").write_text('{"loss": [4.5, 4]}')
        ...     read_json(f"{folder}/a.json", dict[str, list[float]])
        {'loss': [4.5, 4.0]}
    """
    file = Path(path)
    size = file.stat().st_size
    if not file.is_file():
        raise RecordError(f"{file} must be a regular file")
    if size > _LARGEST_FILE:
        raise RecordError(f"{file} must have at most {_LARGEST_FILE} bytes, got {size}")
    return parse_json(file.read_bytes(), kind, source=str(file))


def parse_json(text: str | bytes, kind: type[T], *, source: str = "") -> T:
    """The record in a JSON text.

    Args:
        text: The JSON text; bytes are UTF-8.
        kind: The type of the record.
        source: Begins error messages, such as the name of a file.

    Raises:
        RecordError: The text is not JSON, or not a record of this type.

    Example:
        >>> parse_json('{"loss": NaN}', dict[str, float], source="metrics.jsonl")
        Traceback (most recent call last):
        ...
        samebits.core.records.RecordError: metrics.jsonl: loss must be finite, got nan
    """
    made: T = convert(load_json(text, source=source), kind, source=source)
    return made


def load_json(text: str | bytes, *, source: str = "") -> Any:
    """The value of a JSON text, for `convert`.

    Args:
        text: The JSON text; bytes are UTF-8.
        source: Begins error messages, such as the name of a file.

    Raises:
        RecordError: The text is not JSON, is nested too deeply, or has an object with a name twice.

    Example:
        >>> load_json('{"a": 1, "a": 2}', source="a.json")
        Traceback (most recent call last):
        ...
        samebits.core.records.RecordError: a.json: an object must have each name once, got 'a' twice
    """
    place = f"{source}: " if source else ""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                raise RecordError(f"{place}an object must have each name once, got {shown(name)} twice")
            found[name] = value
        return found

    try:
        content = text.decode() if isinstance(text, bytes) else text
        return json.loads(content, object_pairs_hook=unique, parse_int=_integer)
    except UnicodeDecodeError as error:
        raise RecordError(f"{place}byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise RecordError(f"{place}line {error.lineno}, column {error.colno} is not JSON: {error.msg}") from None
    except RecursionError:
        raise RecordError(f"{place}values are nested too deeply") from None


def parse_toml(text: str, *, source: str = "") -> dict[str, Any]:
    """The tables of a TOML text; their values are checked by what reads them.

    Raises:
        RecordError: The text is not TOML, is nested too deeply, or has an integer with too many digits.

    Example:
        >>> parse_toml("steps = " + "9" * 5000)
        Traceback (most recent call last):
        ...
        samebits.core.records.RecordError: not valid TOML: an integer has too many digits
    """
    place = f"{source}: " if source else ""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecordError(f"{place}not valid TOML: {error}") from None
    except RecursionError:
        raise RecordError(f"{place}not valid TOML: values are nested too deeply") from None
    except ValueError:  # Python converts no more than 4,300 digits
        raise RecordError(f"{place}not valid TOML: an integer has too many digits") from None
    if _depth_exceeds(found, _DEPTH):
        raise RecordError(f"{place}not valid TOML: values are nested too deeply")
    return found


def convert(value: Any, kind: Any, *, source: str = "") -> Any:
    """A value of JSON as an object of a type; see the module's description.

    Args:
        value: What `json.loads` returns.
        kind: The type. ``float`` takes integers too; dataclasses are made from objects, tuples from arrays.
        source: Begins error messages, such as the name of a file.

    Raises:
        RecordError: The value is not of the type.

    Example:
        >>> convert([1, 2.5], tuple[float, ...])
        (1.0, 2.5)
    """
    try:
        return _convert(value, kind, "")
    except RecordError as error:
        raise RecordError(f"{source}: {error}" if source else str(error)) from None


def shown(value: Any) -> str:
    r"""A value for an error message: its representation, cut where it is long, nested or has control characters.

    Example:
        >>> shown([[[[[[[[1]]]]]]]]), shown("\x1b[2J"), len(shown("a" * 1000))
        ('[[[[[[[...]]]]]]]', "'\\x1b[2J'", 120)
    """
    return repr(value) if isinstance(value, _LongInteger) else _REPR.repr(value)


def visible(text: str) -> str:
    r"""A text with its control characters as escapes, so that it can be shown and be part of a record.

    Example:
        >>> visible("a\x1b[2J\n")
        'a\\x1b[2J\n'
    """
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


class _Repr(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:
        """Without the digits of a long one, of which Python may refuse the conversion."""
        return f"an integer of {x.bit_length()} bits" if abs(x) >= 2**64 else super().repr_int(x, level)


_REPR = _Repr()
_REPR.maxstring = 120


def _integer(digits: str) -> int | _LongInteger:
    length = len(digits.lstrip("-"))
    return _LongInteger(length) if length > 40 else int(digits)


def _convert(value: Any, kind: Any, field: str) -> Any:
    limits = Limits()
    if get_origin(kind) in {NotRequired, Required}:
        (kind,) = get_args(kind)
    if get_origin(kind) is Annotated:
        kind, limits = get_args(kind)
    origin, inner = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind) or typing.is_typeddict(kind):
        return _fields(value, kind, limits, field)
    if origin in {Union, types.UnionType}:
        return _one_of(value, [one for one in inner if value is None or one is not type(None)], field)
    if origin is Literal:
        _need(any(value == one and type(value) is type(one) for one in inner), value, " or ".join(map(repr, inner)), field)
        return value
    if origin in {dict, Mapping}:
        return {_text(name, field): _convert(one, inner[1], _inside(field, name)) for name, one in _object(value, field).items()}
    if origin in {list, tuple, Sequence}:
        _need(type(value) is list, value, "an array", field)
        if origin is tuple and inner[-1] is not ...:
            _need(len(value) == len(inner), value, f"an array of {len(inner)}", field)
        made = [_convert(one, inner[0], f"{field}[{place}]") for place, one in enumerate(value)]
        return tuple(made) if origin is tuple else made
    return _anything(value, field, _DEPTH) if kind is Any else _scalar(value, kind, limits, field)


def _scalar(value: Any, kind: Any, limits: Limits, field: str) -> Any:
    """An exact string, integer, number, truth value or null, within its limits."""
    if kind is float and type(value) is int:
        value = float(value)
    _need(type(value) is kind, value, _KINDS.get(kind, str(kind)), field)
    if kind is str:
        _text(value, field, controls=limits.controls)
        _need(re.fullmatch(limits.pattern or "(?s:.*)", value) is not None, value, f"text of the form {limits.pattern}", field)
    if kind is int:
        _need(-(2**63) <= value <= limits.most, value, f"at most {limits.most}", field)
    if kind is float:
        _need(math.isfinite(value) or value == limits.most, value, "finite", field)
    if kind in {int, float}:
        _need(value >= limits.least, value, f"at least {limits.least:g}", field)
    return value


def _fields(value: Any, kind: Any, limits: Limits, field: str) -> Any:
    """A dataclass or a typed dictionary."""
    found, hints = _object(value, field), typing.get_type_hints(kind, include_extras=True)
    if dataclasses.is_dataclass(kind):
        given = dataclasses.fields(kind)
        required = {one.name for one in given if one.default is one.default_factory is dataclasses.MISSING}
        hints = {one.name: hints[one.name] for one in given}
    else:
        required = set(kind.__required_keys__)
    unknown = sorted(set(found) - set(hints))
    if unknown and not limits.others:
        raise RecordError(f"{_inside(field, unknown[0])} is not a field; the fields are {', '.join(hints)}")
    made = {_text(name, field): _convert(one, hints.get(name, Any), _inside(field, name)) for name, one in found.items()}
    if missing := sorted(required - set(found)):
        raise RecordError(f"{_inside(field, missing[0])} is missing")
    return kind(**made)


def _one_of(value: Any, kinds: Sequence[Any], field: str) -> Any:
    """A value of a union of one type with None, or of scalars."""
    if type(value) in kinds:
        return _scalar(value, type(value), Limits(), field)
    _need(len(kinds) == 1, value, " or ".join(_KINDS.get(kind, str(kind)) for kind in kinds), field)
    return _convert(value, kinds[0], field)


def _anything(value: Any, field: str, depth: int) -> Any:
    """Any JSON value, of limited depth."""
    if isinstance(value, dict | list):
        if not depth:
            raise RecordError(f"{field or 'the value'} is nested too deeply")
        if isinstance(value, dict):
            return {_text(name, field): _anything(one, _inside(field, name), depth - 1) for name, one in value.items()}
        return [_anything(one, f"{field}[{place}]", depth - 1) for place, one in enumerate(value)]
    return _scalar(value, type(value) if type(value) in _KINDS else int, Limits(), field)


def _depth_exceeds(value: Any, depth: int) -> bool:
    inside: Sequence[Any] = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ()
    return bool(inside) and (not depth or any(_depth_exceeds(one, depth - 1) for one in inside))


def _object(value: Any, field: str) -> dict[str, Any]:
    _need(type(value) is dict, value, "an object", field)
    return typing.cast("dict[str, Any]", value)


def _text(value: str, field: str, *, controls: bool = False) -> str:
    if controls:
        _need(_SURROGATE.search(value) is None, value, "text without lone surrogates", field)
    else:
        _need(_CONTROL.search(value) is None, value, "text without control characters", field)
    return value


def _inside(field: str, name: str) -> str:
    """The place of a named value: ``machine.blas.name``."""
    shown_name = name if re.fullmatch(r"[\w .()-]{1,60}", name) else shown(name)
    return f"{field}.{shown_name}" if field else shown_name


def _need(condition: bool, value: Any, what: str, field: str) -> None:
    if not condition:
        raise RecordError(f"{field or 'the value'} must be {what}, got {shown(value)}")
