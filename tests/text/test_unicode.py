"""The classes are those of Unicode 16.0.0, and the words are those of GPT-2's pattern."""

import re
import runpy
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samebits.text import unicode, unicode_table
from samebits.text.unicode import UNICODE_VERSION, ranges, stand_in, words

pytestmark = pytest.mark.once

SCRIPT = Path(__file__).parents[2] / "packages/text/scripts/unicode_classes.py"
RUNNING = tuple(map(int, unicodedata.unidata_version.split(".")))
OURS = tuple(map(int, UNICODE_VERSION.split(".")))
# some of every class, and every special place of the pattern
MIXED = st.text(st.one_of(st.sampled_from("'sdmtlver aZ09.,!\n\t\r\x1c\x85\xa0\u3000é中二½٣〇😀\udcff"), st.characters()))


def members(runs: str) -> set[int]:
    return {code for first, last in ranges(runs) for code in range(first, last + 1)}


def all_words(text: str) -> list[str]:
    return [word for piece in words(text) for word in piece]


MEMBERS = {name: members(getattr(unicode_table, name)) for name in ("LETTERS", "NUMBERS", "SPACES")}


def kind(character: str) -> str:
    return next((name for name, codes in MEMBERS.items() if ord(character) in codes), "OTHERS")


def naive_words(text: str) -> list[str]:
    """The pattern, alternative by alternative, one character after the other."""
    found = []
    at = 0
    while at < len(text):
        contraction = re.match(r"'(?:s|t|re|ve|m|ll|d)", text[at:])
        start = at + (text[at] == " " and at + 1 < len(text) and kind(text[at + 1]) != "SPACES")
        end = start
        while end < len(text) and kind(text[end]) == kind(text[start]):
            end += 1
        if contraction:
            end = at + contraction.end()
        elif kind(text[start]) == "SPACES" and end < len(text) and end - at > 1:
            end -= 1
        found.append(text[at:end])
        at = end
    return found


def test_the_classes_agree_with_those_of_this_python() -> None:
    classes = {"L": MEMBERS["LETTERS"], "N": MEMBERS["NUMBERS"]}
    for code in range(sys.maxunicode + 1):
        category = unicodedata.category(chr(code))
        if category == "Cn" and RUNNING < OURS:
            continue  # not assigned yet
        for letter, inside in classes.items():
            if RUNNING <= OURS:
                assert (code in inside) == (category[0] == letter), hex(code)
            elif code in inside:  # a newer Python has more of them
                assert category[0] == letter, hex(code)


def test_white_space_is_what_python_says_without_the_information_separators() -> None:
    assert MEMBERS["SPACES"] == {code for code in range(0x110000) if chr(code).isspace()} - {0x1C, 0x1D, 0x1E, 0x1F}


@pytest.mark.skipif(RUNNING != OURS, reason=f"this Python has Unicode {unicodedata.unidata_version}")
def test_the_table_is_the_output_of_its_script() -> None:
    assert Path(unicode_table.__file__).read_text("utf-8") == runpy.run_path(str(SCRIPT))["module"]()


@given(MIXED)
def test_a_stand_in_is_ascii_of_the_same_classes(text: str) -> None:
    stands = stand_in(text)
    assert stands.isascii()
    assert list(map(kind, stands)) == list(map(kind, text))


def test_the_stand_in_of_ascii_is_itself() -> None:
    text = "".join(map(chr, range(128)))
    assert stand_in(text) == text
    assert stand_in(f"{text}é") == f"{text}A"


@given(MIXED)
def test_words_are_those_of_the_pattern(text: str) -> None:
    assert all_words(text) == naive_words(text)


@given(MIXED, st.integers(1, 9))
def test_words_do_not_depend_on_the_size_of_pieces(text: str, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unicode, "_PIECE", size)
        assert all_words(text) == naive_words(text)


def test_long_texts_come_in_pieces() -> None:
    text = "Räuber und Mörder! " * 10000
    assert len(list(words(text))) > 1
    assert "".join(all_words(text)) == text


def test_empty_text_has_no_words() -> None:
    assert all_words("") == []
