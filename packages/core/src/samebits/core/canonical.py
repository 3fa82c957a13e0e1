"""Canonical JSON: one text for one value, so that its digest can be compared (RFC 8785, JSON Canonicalization Scheme).

    {"b": [1.0, 1e-7], "a": "é"}  ->  {"a":"é","b":[1,1e-7]}

No spaces, names in order, strings in UTF-8 with as few escapes as possible, numbers as ECMAScript writes them. Standard library only.
"""

import json
import math
from decimal import Decimal
from typing import Any

__all__ = ["LARGEST_INTEGER", "canonical_json"]

LARGEST_INTEGER = 2**53 - 1
"""The largest integer in canonical JSON, whose numbers are float64."""


def canonical_json(value: Any) -> bytes:
    """The canonical JSON of a value of dicts, lists, tuples, strings, numbers, truth values and None.

    Raises:
        TypeError: It has something else inside, or a name that is not a string.
        ValueError: A number is not finite, an integer is above `LARGEST_INTEGER`, or a text has a lone surrogate.

    Example:
        >>> canonical_json({"b": [1.0, 1e-7], "a": "é"}).decode()
        '{"a":"é","b":[1,1e-7]}'
    """
    return _written(value).encode()


def _written(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        if abs(value) > LARGEST_INTEGER:
            raise ValueError(f"canonical_json: an integer must be from -{LARGEST_INTEGER} to {LARGEST_INTEGER}, got {value}")
        return str(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_written, value))}]"
    if not isinstance(value, dict):
        raise TypeError(f"canonical_json: value must be one of JSON, got {type(value).__name__}")
    if names := [name for name in value if not isinstance(name, str)]:
        raise TypeError(f"canonical_json: names must be strings, got {names[0]!r}")
    ordered = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
    return f"{{{','.join(f'{_written(name)}:{_written(value[name])}' for name in ordered)}}}"


def _number(x: float) -> str:
    """A number as ECMAScript writes it (ECMA-262, Number::toString): as few digits as give it back, an exponent from 1e21 and 1e-7."""
    if not math.isfinite(x):
        raise ValueError(f"canonical_json: a number must be finite, got {x}")
    if x < 0:
        return f"-{_number(-x)}"
    _, numbers, exponent = Decimal(repr(x)).as_tuple()
    digits = "".join(map(str, numbers))
    point = len(digits) + int(exponent)  # the place of the decimal point among the digits
    digits = digits.rstrip("0")
    if not digits:
        return "0"
    if len(digits) <= point <= 21:
        return digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{point - 1:+d}"
