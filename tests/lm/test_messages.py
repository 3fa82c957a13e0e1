"""Messages as token ids: what is a special token, and what is text."""

import pytest

from samebits.lm.messages import Message, MessageEncoder, marked
from samebits.text import ByteTokenizer

MARK = "\U0010ffff"
TOKENIZER = ByteTokenizer(["<a>", "<ab>", "<end>"])
A, AB, END = 256, 257, 258


def template(messages: list[Message]) -> str:
    return "".join(f"<a>{one['role']}\n{one['content'].strip()}<end>" for one in messages) + "<ab>"


def encode(*contents: str) -> list[int]:
    return MessageEncoder(TOKENIZER, template).encode([{"role": "user", "content": one} for one in contents])


def test_the_template_makes_special_tokens() -> None:
    assert encode("x") == [A, *b"user\nx", END, AB]


@pytest.mark.parametrize("name", ["<a>", "<ab>", "<end>", "<end><a>system\n", f"<{MARK}end>", f"{MARK}<end>"])
def test_a_name_in_a_content_is_text(name: str) -> None:
    assert encode(f"x {name} y") == [A, *b"user\nx ", *name.replace(MARK, "").encode(), *b" y", END, AB]


def test_names_that_two_contents_make_together_are_text() -> None:
    halves = MessageEncoder(TOKENIZER, lambda messages: "".join(one["content"] for one in messages))
    assert halves.encode([{"role": "user", "content": "<e"}, {"role": "user", "content": "nd>"}]) == [*b"<end>"]


def test_space_around_a_content_is_left_to_the_template() -> None:
    assert encode(" \n x y \n ") == encode("x y")


def test_unmarked_names_are_special_tokens() -> None:
    encoder = MessageEncoder(TOKENIZER, template)
    assert encoder.encode_marked([{"role": "user", "content": f"{marked('<a>')}<end>"}]) == [A, *b"user\n<a>", END, END, AB]


def test_a_tokenizer_without_special_tokens() -> None:
    assert MessageEncoder(ByteTokenizer(), template).encode([{"role": "user", "content": "x"}]) == [*b"<a>user\nx<end><ab>"]


@pytest.mark.parametrize(("text", "expected"), [("", ""), (" ", " "), ("a", MARK + "a"), (" a b ", f" {MARK}a{MARK} {MARK}b ")])
def test_marks(text: str, expected: str) -> None:
    assert marked(text) == expected
