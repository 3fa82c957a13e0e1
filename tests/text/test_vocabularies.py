"""Vocabularies of other programs: patterns, bytes without a token, individual digits."""

import json
import re
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samebits.text import BytePairTokenizer, CharacterTokenizer, TokenizerFileError, load_tokenizer, save_tokenizer
from samebits.text.bytepair import BYTES, count_words
from samebits.text.unicode import is_part_of_word, stand_in, words

pytestmark = pytest.mark.once

END = "<|end|>"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
O200K = r"[^\r\n\p{L}\p{N}]?\p{L}+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SINGLE = {bytes([byte]): byte for byte in range(256)}
MIXED = st.text(st.one_of(st.sampled_from("'sdmtlver aZ09.,!\n\t\r\x1c\x85\xa0\u3000é中二½٣〇😀\udcff"), st.characters()))

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
NO_REGEX = {**BYTE_LEVEL, "use_regex": False}
SPLIT = {"type": "Split", "pattern": {"Regex": GPT2}, "behavior": "Isolated", "invert": False}
DIGITS = {"type": "Digits", "individual_digits": True}

Load = Callable[..., Any]


def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(steps)}


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a tokenizer.json with a vocabulary and merges."""

    def load(vocabulary: dict[str, int], merges: list[str], **parts: Any) -> Any:
        model = {"type": "BPE", "vocab": vocabulary, "merges": merges}
        path = tmp_path / "tokenizer.json"
        path.write_text(json.dumps({"pre_tokenizer": BYTE_LEVEL, "model": model, **parts}), "utf-8")
        return load_tokenizer(path)

    return load


# ranks of another pattern


@pytest.mark.parametrize("token", [b";\n", b".g", b"a1", b"1a", b"'D", b"\tx", b"x ", b"\n.", "é.".encode(), "中1".encode()])
def test_ranks_of_another_pattern_are_refused_and_the_token_is_named(token: bytes) -> None:
    ranks = dict(SINGLE)
    for end in range(2, len(token) + 1):
        ranks[token[:end]] = len(ranks)
    message = f"from_ranks: ranks must be those of a vocabulary with GPT-2's pattern, got {token!r} with rank {ranks[token]}"
    with pytest.raises(ValueError, match=re.escape(message)):
        BytePairTokenizer.from_ranks(ranks)


def test_ranks_of_gpt2s_pattern_are_accepted() -> None:
    tokens = [
        b" t",
        b"\n\n",
        b"\t ",
        b"'s",
        b"'r",
        b"'re",
        b"'l",
        b"'ll",
        b" '",
        b"!!",
        b"\xc3\xa9",
        b" \xe2",
        b"\x80\x94",
        b"\xa9a",
    ]
    tokenizer = BytePairTokenizer.from_ranks(SINGLE | {token: rank for rank, token in enumerate(tokens, 256)})
    assert tokenizer.tokens[256 : 256 + len(tokens)] == tuple(tokens)


@given(MIXED, st.data())
def test_every_part_of_every_word_is_a_part_of_a_word(text: str, data: st.DataObject) -> None:
    for word in chain.from_iterable(words(text)):
        raw = word.encode("utf-8", "surrogateescape" if re.search("[\udc80-\udcff]", word) else "surrogatepass")
        start = data.draw(st.integers(0, len(raw) - 1))
        assert is_part_of_word(raw[start : data.draw(st.integers(start + 1, len(raw)))])


# bytes without a token

BANANA = {"a": 0, "b": 1, "n": 2, "Ġ": 3, "an": 4, "ban": 5, "Ġban": 6}
BANANA_MERGES = ["a n", "b an", "Ġ ban"]


def test_a_vocabulary_without_all_bytes_is_loaded_and_saved(load: Load, tmp_path: Path) -> None:
    tokenizer = load(BANANA, BANANA_MERGES)
    assert tokenizer.vocabulary_size == 7 and tokenizer.tokens[6] == b" ban"
    assert tokenizer.encode("ban banan").tolist() == [5, 6, 4]
    assert tokenizer.decode([5, 6, 4]) == "ban banan"
    save_tokenizer(tokenizer, tmp_path / "again.json")
    again = load_tokenizer(tmp_path / "again.json")
    assert again.digest == tokenizer.digest and again.encode("ban banan").tolist() == [5, 6, 4]


def test_characters_without_a_token_are_named_with_their_place_or_left_out(load: Load) -> None:
    tokenizer = load(BANANA, BANANA_MERGES, added_tokens=[{"id": 7, "content": END}])
    for text, character, place in (("ban xan", "x", 4), ("naé", "é", 2), (f"ban{END}b\n", "\\n", 11)):
        with pytest.raises(
            ValueError,
            match=re.escape(
                f"encode: text must contain only characters of the vocabulary, got '{character}' at character {place}"
            ),
        ):
            tokenizer.encode(text, "all")
    with pytest.raises(ValueError, match=r"encode_ordinary: text must contain only characters .* got '.udcff' at character 1"):
        tokenizer.encode_ordinary(b"a\xff")
    assert tokenizer.encode("b?an x", errors="ignore").tolist() == [1, 4, 3]  # words are split before, merged after
    assert tokenizer.encode("baén", errors="ignore").tolist() == [5]
    assert tokenizer.encode_ordinary("???", errors="ignore").tolist() == []
    assert tokenizer.encode(b"ban\xff?\xffan", errors="ignore").tolist() == [5, 4]
    assert tokenizer.encode(b"? \xff", errors="ignore").tolist() == [3]
    assert [ids.tolist() for ids in tokenizer.encode_batch(["a!", "b"], errors="ignore")] == [[0], [1]]
    with pytest.raises(ValueError, match="encode: errors must be 'strict' or 'ignore', got 'replace'"):
        tokenizer.encode("a", errors="replace")


def test_a_character_tokenizer_leaves_out_what_it_does_not_know_on_request() -> None:
    tokenizer = CharacterTokenizer("aé", [END])
    assert tokenizer.encode(f"xaé中{END}é", "all", errors="ignore").tolist() == [0, 1, 2, 1]
    with pytest.raises(ValueError, match=r"got 'x' at character 9"):
        tokenizer.encode(f"aé{END}x", "all")


def test_ids_of_bytes_may_be_left_out_and_those_of_merges_may_not() -> None:
    known = [0 if byte == ord("a") else -1 for byte in BYTES]
    letter = BYTES.index(ord("a"))
    assert BytePairTokenizer([(letter, letter)], ids=[*known, 1]).encode("aaa").tolist() == [1, 0]
    with pytest.raises(ValueError, match=r"merges\[0\] must join tokens, got b'!', which has no id"):
        BytePairTokenizer([(letter, 0)], ids=[*known, 1])
    with pytest.raises(ValueError, match="ids must not be -1, but for bytes, got it for b'aa'"):
        BytePairTokenizer([(letter, letter)], ids=[*known, -1])
    with pytest.raises(ValueError, match="ids must be 0 to 0, each once, but 0 is missing"):
        BytePairTokenizer([], ids=[-2 if byte == ord("a") else -1 for byte in BYTES])


def test_merges_of_a_file_join_only_tokens_of_the_vocabulary(load: Load) -> None:
    with pytest.raises(TokenizerFileError, match=r"merges\[0\] must join tokens of the vocabulary, got 'c'"):
        load(BANANA, ["a c"])


# pre-tokenizers


@pytest.mark.parametrize(
    "splitting",
    [
        sequence(BYTE_LEVEL),
        sequence(sequence(BYTE_LEVEL)),
        sequence(SPLIT, NO_REGEX),
        sequence({**SPLIT, "pattern": {"Regex": GPT2.replace("'s|'t|'re|'ve|'m|'ll|'d", "'(?:[sdmt]|ll|ve|re)")}}, NO_REGEX),
    ],
)
def test_a_sequence_that_does_the_same_is_accepted(splitting: dict[str, Any], load: Load) -> None:
    assert load(BANANA, BANANA_MERGES, pre_tokenizer=splitting).digest == load(BANANA, BANANA_MERGES).digest


@pytest.mark.parametrize("rest", [[BYTE_LEVEL], [SPLIT, NO_REGEX]])
def test_individual_digits_are_accepted_in_front(rest: list[dict[str, Any]], load: Load, tmp_path: Path) -> None:
    vocabulary = {**BANANA, "1": 7, "2": 8, "Ġ1": 9, "12": 10}
    merges = [*BANANA_MERGES, "Ġ 1", "1 2"]
    tokenizer = load(vocabulary, merges, pre_tokenizer=sequence(DIGITS, *rest))
    plain = load(vocabulary, merges)
    assert tokenizer.encode("ban 12  1 ban").tolist() == [5, 3, 7, 8, 3, 3, 7, 6]
    assert plain.encode("ban 12  1 ban").tolist() == [5, 9, 8, 3, 9, 6]
    assert tokenizer.digest != plain.digest and (tokenizer.pattern, plain.pattern) == ("smollm", "gpt2")
    save_tokenizer(tokenizer, tmp_path / "again.json")
    assert load_tokenizer(tmp_path / "again.json").digest == tokenizer.digest


@pytest.mark.parametrize(
    "splitting",
    [
        sequence(),
        sequence(NO_REGEX),
        sequence(SPLIT, BYTE_LEVEL),
        sequence(BYTE_LEVEL, DIGITS),
        sequence({**DIGITS, "individual_digits": False}, BYTE_LEVEL),
        sequence({**SPLIT, "pattern": {"Regex": O200K}}, NO_REGEX),
        sequence({**SPLIT, "behavior": "Removed"}, NO_REGEX),
        sequence({"type": "Punctuation", "behavior": "Contiguous"}, BYTE_LEVEL),
    ],
)
def test_other_pre_tokenizers_are_refused(splitting: dict[str, Any], load: Load) -> None:
    with pytest.raises(TokenizerFileError, match=r"pre_tokenizer must be .*, got \{'type': 'Sequence'"):
        load(BANANA, BANANA_MERGES, pre_tokenizer=splitting)


def test_a_sequence_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    opening, closing = '{"type": "Sequence", "pretokenizers": [', "]}"
    path = tmp_path / "tokenizer.json"
    for depth in (500, 2000, 50_000):
        path.write_text(f'{{"pre_tokenizer": {opening * depth}{closing * depth}, "model": {{"vocab": {{}}, "merges": []}}}}')
        with pytest.raises(TokenizerFileError, match=r"tokenizer.json: (objects are nested too deeply|pre_tokenizer must be)"):
            load_tokenizer(path)


@given(MIXED)
def test_words_with_individual_digits_are_those_between_digits(text: str) -> None:
    parts, stands = [""], stand_in(text)
    for character, stand in zip(text, stands, strict=True):
        parts += [character, ""] if stand.isdigit() else []
        parts[-1] += "" if stand.isdigit() else character
    expected = [word for part in parts for word in chain.from_iterable(words(part))]
    assert list(chain.from_iterable(words(text, pattern="smollm"))) == expected


def test_a_vocabulary_is_trained_with_individual_digits() -> None:
    assert count_words(["in 1984"], pattern="smollm") == {b"in": 1, b" ": 1, b"1": 1, b"9": 1, b"8": 1, b"4": 1}
    tokenizer = BytePairTokenizer.train(["in 1984 1984 in in"], 262, pattern="smollm")
    assert not any(re.search(rb"\d", token) for token in tokenizer.tokens[256:])
    assert np.array_equal(tokenizer.encode(b"in 19\xff"), [*tokenizer.encode("in 19"), tokenizer.tokens.index(b"\xff")])
