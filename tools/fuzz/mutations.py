r"""Mutations: small changes of a file's bytes, or of the values in its JSON or TOML.

    {"steps": 3}   ->   {"steps": NaN}     {"steps": 3, "steps": 3}     {"st\u0000ps": 3}     {"steps": [[[[...]]]]}

Every change is drawn from a generator, so the same generator gives the same mutant.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["change_bytes", "change_json", "change_toml", "change_value", "to_json"]


@dataclass(frozen=True)
class Raw:
    """Text that stands in JSON as it is, valid or not."""

    text: str


_NUMBERS = ("0", "-1", "1", "1.0", "0.5", "1e300", "1e999", "-1e999", str(2**63), str(-(2**63) - 1), str(2**64), "9" * 5000)
_DEEP = ("[" * 40 + "]" * 40, "[" * 100_000 + "]" * 100_000, '{"a":' * 50_000 + "1" + "}" * 50_000)
_STRINGS = ('""', '"a"', '"0"', '"\\u0000"', '"\\ud800"', '"\\u001b[2J"', '"../a"', '"' + "x" * 100_000 + '"')
_JSON = (*_NUMBERS, *_STRINGS, "NaN", "-Infinity", "-0", "01", "true", "false", "null", "[]", "{}", "[[]]", '{"a": 1}', "[1, 2]")
_TOML = (
    *(*_NUMBERS, *_STRINGS, "nan", "-inf", "true", "false", "[]", "[[]]", "{}", "{a = 1}", "{a = {b = [1]}}", "[1, 2]", "'a'"),
    *("1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "0x10", "0o17", "1_000", "+5", "0.0", "-0.0", "1e-320", '"""a\nb"""'),
)
_PIECES = (b"\0", b"\xff", b"\x7f", b'"', b"'", b"{", b"}", b"[", b"]", b",", b":", b"=", b"-", b"9", b"1e9", b"\n", b"\r", b"\\")
_STARTS = (
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"PK\3\4",
    b"\x1f\x8b",
    b"GGUF",
    b"\x93NUMPY",
    b"<html>",
    b"version https://git-lfs.github.com/spec/v1\n",
)


def change_bytes(generator: random.Random, data: bytes) -> bytes:
    """One to three changes of bytes, anywhere."""
    for _ in range(generator.choice((1, 1, 2, 3))):
        data = _change_bytes(generator, data)
    return data


def _change_bytes(generator: random.Random, data: bytes) -> bytes:
    start = generator.randrange(len(data) + 1)
    stop = min(len(data), start + generator.choice((1, 2, 8, 100)))
    before, piece, after = data[:start], data[start:stop], data[stop:]
    other, one = generator.randrange(len(data) + 1), generator.choice(_PIECES)
    changed = (
        before,
        before + after,
        before + bytes(byte ^ 1 << generator.randrange(8) for byte in piece[:1]) + piece[1:] + after,
        before + one + piece[1:] + after,
        before + one * generator.choice((1, 1, 3, 1000)) + piece + after,
        before + generator.randbytes(len(piece)) + after,
        data[:other] + piece + data[other:],
        data + data[start:],
        generator.choice(_STARTS) + data[generator.choice((0, start)) :],
    )
    return generator.choice(changed)


def change_json(generator: random.Random, data: bytes) -> bytes:
    """One or two changes of the values in JSON."""
    return to_json(change_value(generator, json.loads(data))).encode("utf-8", "surrogatepass")


def change_value(generator: random.Random, value: Any) -> Any:
    """One or two changes of a value of JSON, which is changed in place too; `to_json` writes it."""
    root = [value]
    for _ in range(generator.choice((1, 1, 2))):
        _change_value(generator, root)
    return root[0] if root else Raw("")


def to_json(value: Any) -> str:
    """The JSON of a value; what is `Raw` is written as it is."""
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)}: {to_json(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(to_json, value)) + "]"
    return json.dumps(value)


def _change_value(generator: random.Random, root: list[Any]) -> None:
    container, key = _place(generator, root)
    if container is None:
        return
    value, name = container[key], json.dumps(str(key))
    match generator.randrange(9):
        case 0 | 1:
            container[key] = Raw(generator.choice(_DEEP if not generator.randrange(20) else _JSON))
        case 2:
            container[key] = _near(generator, value)
        case 3:
            del container[key]
        case 4:
            twice = f"{name}: " if isinstance(container, dict) else ""
            container[key] = Raw(f"{to_json(value)}, {twice}{to_json(value)}")
        case 5 if isinstance(container, dict):
            container[_near_text(generator, str(key))] = container.pop(key)
        case 6:
            container[key] = generator.choice(([value], {"a": value}, {str(key): value}))
        case 7:
            other, other_key = _place(generator, root)
            container[key] = Raw(to_json(other[other_key]))
        case _:
            new = generator.choice(('"a"', '""', '"0"', name, '"\\u001b[2J"', '"\\ud800"'))
            container[key] = Raw(f"{to_json(value)}, {new}: {generator.choice(_JSON)}")


def _place(generator: random.Random, root: list[Any]) -> tuple[Any, Any]:
    """A list or an object in a value and a key of it, near the outside more often than deep inside."""
    container: Any = root
    key: Any = 0
    if not root:
        return None, None
    while True:
        inner = container[key]
        keys: Sequence[Any] = list(inner) if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else ()
        if not keys or not generator.randrange(5):
            return container, key
        container, key = inner, generator.choice(keys)


def _near(generator: random.Random, value: Any) -> Any:
    """A value of the same kind."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int):
        return generator.choice((value + 1, value - 1, -value, value * 2, 2**63 - 1, 2**31, 10**9))
    if isinstance(value, float):
        return generator.choice((-value, value * 2, 0.0, 5e-324, 1.7e308, 1 - 2**-53))
    if isinstance(value, str):
        return _near_text(generator, value)
    if isinstance(value, list):
        return generator.choice((value[::-1], value[:-1], value + value, value[1:]))
    return dict(generator.sample(list(value.items()), len(value))) if isinstance(value, dict) else value


def _near_text(generator: random.Random, text: str) -> str:
    place = generator.randrange(len(text) + 1)
    new = generator.choice(("", " ", "0", "x", "é", "\n", "\0", "\x85", "\udc80", "𝟛", "A" * 300))
    return generator.choice(
        (text[:place] + new + text[place + 1 :], text[:place] + new + text[place:], text.upper(), text[:place])
    )


def change_toml(generator: random.Random, text: str) -> str:
    """One or two changes of the values, names and lines of TOML whose lines are comments, tables and ``name = value``."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    for _ in range(generator.choice((1, 1, 2))):
        place = generator.randrange(len(lines))
        name, equals, value = lines[place].partition(" = ")
        match generator.randrange(8):
            case 0 | 1 | 2 if equals:
                lines[place] = f"{name} = {generator.choice(_DEEP if not generator.randrange(20) else _TOML)}"
            case 3 if equals:
                lines[place] = f"{name} = {_near_toml(generator, value)}"
            case 4:
                name = generator.choice((_near_text(generator, name), f"model.{name}", f'"{name}"', f"{name}.a", f"[{name}]"))
                lines[place] = f"{name}{equals}{value}"
            case 5:
                lines.insert(generator.randrange(len(lines) + 1), lines[place])
            case 6:
                lines.insert(generator.randrange(len(lines)), lines.pop(place))
            case _:
                del lines[place]
        lines = lines or ["a = 1"]
    return "\n".join([*lines, ""])


def _near_toml(generator: random.Random, value: str) -> str:
    """A value of the same kind."""
    try:
        return json.dumps(_near(generator, json.loads(value)), ensure_ascii=bool(generator.randrange(2)))
    except ValueError:
        return value + value
