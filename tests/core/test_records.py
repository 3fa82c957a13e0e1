"""Records are read strictly: exact types, bounds and depth, and errors that name the file and the field."""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samebits.core.records import Limits, RecordError, convert, load_json, parse_json, parse_toml, read_json, shown, visible

pytestmark = pytest.mark.once


class Point(TypedDict):
    x: int
    label: NotRequired[str | None]


class Open(TypedDict):
    x: int


@dataclass(frozen=True)
class Record:
    name: Annotated[str, Limits(pattern="[a-z]+")]
    passed: Annotated[int, Limits(least=0)]
    seconds: Annotated[float, Limits(least=0)]
    kind: Literal["a", "b"] = "a"
    points: tuple[Point, ...] = ()
    digests: dict[str, str] | None = None


GOOD: dict[str, Any] = {"name": "abc", "passed": 3, "seconds": 1.5, "points": [{"x": 1, "label": None}], "digests": {"x": "f"}}
DEEP = 100_000


def test_a_record_is_read_as_its_type(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(GOOD))
    assert read_json(file, Record) == Record("abc", 3, 1.5, "a", ({"x": 1, "label": None},), {"x": "f"})
    assert read_json(str(file), dict[str, Any]) == GOOD


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"passed": True}, "passed must be an integer, got True"),
        ({"passed": 3.0}, r"passed must be an integer, got 3\.0"),
        ({"passed": None}, "passed must be an integer, got None"),
        ({"passed": -1}, "passed must be at least 0, got -1"),
        ({"passed": 2**63}, "passed must be at most 9223372036854775807, got 9223372036854775808"),
        ({"seconds": True}, "seconds must be a number, got True"),
        ({"seconds": math.nan}, "seconds must be finite, got nan"),
        ({"seconds": math.inf}, "seconds must be finite, got inf"),
        ({"seconds": "1"}, "seconds must be a number, got '1'"),
        ({"name": 3}, "name must be a string, got 3"),
        ({"name": "ab\n"}, r"name must be text of the form \[a-z\]\+, got 'ab\\n'"),
        ({"name": "\x1b[2J"}, r"name must be text without control characters, got '\\x1b\[2J'"),
        ({"kind": "c"}, "kind must be 'a' or 'b', got 'c'"),
        ({"points": {}}, r"points must be an array, got \{\}"),
        ({"points": [{"x": 1}, {"x": "1"}]}, r"points\[1\]\.x must be an integer, got '1'"),
        ({"points": [{}]}, r"points\[0\]\.x is missing"),
        ({"points": [{"x": 1, "y": 2}]}, r"points\[0\]\.y is not a field; the fields are x, label"),
        ({"digests": {"x": 1}}, r"digests\.x must be a string, got 1"),
        ({"digests": {"\ud800": "f"}}, r"digests must be text without control characters"),
        ({"other": 1}, "other is not a field; the fields are name, passed, seconds, kind, points, digests"),
    ],
)
def test_errors_name_the_file_and_the_field(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(GOOD | change))
    with pytest.raises(RecordError, match=r"a\.json: " + message):
        read_json(file, Record)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xff", "byte 0 is not UTF-8"),
        (b"", "line 1, column 1 is not JSON"),
        (b"{", "line 1, column 2 is not JSON"),
        (b"null", "the value must be an object, got None"),
        (b"[" * DEEP, "values are nested too deeply"),
        (b"[" * DEEP + b"]" * DEEP, "values are nested too deeply"),
        (b'{"a":' * DEEP + b"1" + b"}" * DEEP, "values are nested too deeply"),
        (
            b'{"name": "a", "passed": ' + b"9" * 5000 + b"}",
            "passed must be an integer, got an integer of 5000 digits",
        ),
        (b'{"name": "a", "passed": 1, "seconds": 1e999}', "seconds must be finite, got inf"),
        (b'{"name": "a", "name": "b"}', "an object must have each name once, got 'name' twice"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(text)
    with pytest.raises(RecordError, match=r"a\.json: (" + message + ")"):
        read_json(file, Record)


def test_values_of_any_type_are_of_limited_depth_and_size() -> None:
    assert convert([[[1, "a", None, True, 0.5]]], Any) == [[[1, "a", None, True, 0.5]]]
    for text in ("[" * 40 + "]" * 40, "9" * 20, "9" * 5000, '{"a": NaN}', '["\\u0000"]'):
        with pytest.raises(RecordError):
            parse_json(text, Any)


def test_an_integer_is_a_number_and_becomes_a_float() -> None:
    value = convert(3, float)
    assert value == 3.0
    assert type(value) is float


def test_pairs_have_their_length_and_unions_their_types() -> None:
    assert convert([1, 2], tuple[int, int]) == (1, 2)
    assert [type(convert(value, int | float)) for value in (1, 1.0)] == [int, float]
    assert convert(None, int | None) is None
    assert convert(math.inf, Annotated[float, Limits(most=math.inf)]) == math.inf
    for value, kind, message in (
        ([1], tuple[int, int], r"an array of 2, got \[1\]"),
        (True, int | float, "an integer or a number, got True"),
        (None, int | float, "an integer or a number, got None"),
        ("a", int | None, "an integer, got 'a'"),
        (math.nan, int | float, "finite, got nan"),
    ):
        with pytest.raises(RecordError, match="the value must be " + message):
            convert(value, kind)


def test_unknown_names_are_kept_where_the_type_allows_them() -> None:
    assert convert({"x": 1, "y": [2]}, Annotated[Open, Limits(others=True)]) == {"x": 1, "y": [2]}
    with pytest.raises(RecordError, match="y is not a field"):
        convert({"x": 1, "y": [2]}, Open)


@pytest.mark.skipif(os.name == "nt", reason="named pipes of POSIX systems")
def test_a_folder_or_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for file in (tmp_path / "pipe", tmp_path):
        with pytest.raises(RecordError, match="must be a regular file"):
            read_json(file, Record)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = ", "not valid TOML: "),
        ("a = " + "9" * 5000, "an integer has too many digits"),
        ("a = " + "[" * DEEP + "]" * DEEP, "nested too deeply"),
        ("a" + ".a" * 40 + " = 1", "nested too deeply"),
        ("a = " + "{b = " * 40 + "1" + "}" * 40, "nested too deeply"),
    ],
)
def test_toml_is_of_limited_depth_and_digits(text: str, message: str) -> None:
    with pytest.raises(RecordError, match=r"a\.toml: .*" + message):
        parse_toml(text, source="a.toml")


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a": ', "}"), ('[{"a": ', "}]")])
def test_values_have_at_most_32_levels(opening: str, closing: str) -> None:
    levels = 32 // len(closing)
    parse_json(opening * levels + "1" + closing * levels, Any)
    with pytest.raises(RecordError, match="nested too deeply"):
        parse_json("[" + opening * levels + "1" + closing * levels + "]", Any)
    table = opening.replace(":", " =") * (levels - 1) + "1" + closing * (levels - 1)
    parse_toml(f"a = {'[' * (len(closing) - 1)}{table}{']' * (len(closing) - 1)}")
    with pytest.raises(RecordError, match="nested too deeply"):
        parse_toml(f"a = {'[' * len(closing)}{table}{']' * len(closing)}")


def test_toml_tables_are_returned() -> None:
    assert parse_toml("a = 1\n[b]\nc = 'd'\n") == {"a": 1, "b": {"c": "d"}}


def test_control_characters_are_made_visible() -> None:
    assert visible("é\t\x1b[2J\x00\x9b\ud800\n") == "é\t\\x1b[2J\\x00\\x9b\\ud800\n"
    assert convert(visible("\x1b"), str) == "\\x1b"


def test_values_are_shown_short_and_without_control_characters() -> None:
    deep: list[Any] = []
    for _ in range(DEEP):
        deep = [deep]
    for value in (deep, "a" * 10**6, 10**6000, {"a": [10**6000]}, list(range(10**6)), "\x1b[2J\n"):
        assert len(shown(value)) < 200
        assert shown(value).isprintable()


@given(st.data())
def test_a_mutated_record_is_read_or_refused_by_name(data: st.DataObject) -> None:
    text = bytearray(json.dumps(GOOD).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=3))
    try:
        found = parse_json(bytes(text), Record, source="a.json")
    except RecordError as error:
        assert str(error).startswith("a.json: ")  # noqa: PT017 - both outcomes are right
    else:
        assert type(found.passed) is int
        assert found.passed >= 0
        assert math.isfinite(found.seconds)


def test_a_text_may_have_control_characters_where_its_record_says_so() -> None:
    kind = Annotated[str, Limits(controls=True)]
    assert convert("a\x1b\0\x7f\uffff", kind) == "a\x1b\0\x7f\uffff"
    with pytest.raises(RecordError, match="the value must be text without lone surrogates"):
        convert("a\ud800", kind)


def test_a_value_is_loaded_once_and_converted_as_often_as_needed() -> None:
    value = load_json('{"x": 1}')
    assert convert(value, Point) == convert(value, Open) == {"x": 1}
