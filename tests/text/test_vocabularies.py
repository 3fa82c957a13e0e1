"""Vocabularies of other programs: patterns, bytes without a token, added tokens, merges in any order, normalization."""

import hashlib
import json
import re
from collections.abc import Callable
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samebits.core import Stream
from samebits.text import BytePairTokenizer, ByteTokenizer, CharacterTokenizer, TokenizerFileError, load_tokenizer, save_tokenizer
from samebits.text.bytepair import BYTES, LETTERS, SYMBOLS, count_words
from samebits.text.merger import Merger
from samebits.text.tokenizer_file import spelled
from samebits.text.unicode import PATTERNS, is_part_of_word, nfc, stand_in, words

pytestmark = pytest.mark.once

END = "<|end|>"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
O200K = r"[^\r\n\p{L}\p{N}]?\p{L}+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SINGLE = {bytes([byte]): byte for byte in range(256)}
MIXED = st.text(st.one_of(st.sampled_from("'sdmtlver aZ09.,!\n\t\r\x1c\x85\xa0\u3000é中二½٣〇😀\udcff"), st.characters()))

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
NO_REGEX = {**BYTE_LEVEL, "use_regex": False}
SPLIT = {"type": "Split", "pattern": {"Regex": GPT2}, "behavior": "Isolated", "invert": False}
EACH_CHARACTER = {"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": False}
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


# patterns of newer models


def character_class(character: str) -> str:
    """L, N, S or ! for a letter, a number, white space or another character; line ends are themselves."""
    stand = stand_in(character)
    if character in "\r\n":
        return character
    return "L" if stand.isalpha() else "N" if stand.isdigit() else "S" if stand in " \t\n\x0b\x0c" else "!"


def naive_words(text: str, numbers: int) -> list[str]:
    """The words of Llama 3's and Qwen2's pattern, one alternative after the other."""
    kinds, found, start = [character_class(one) for one in text], [], 0

    def run(place: int, allowed: str, most: int = 10**9) -> int:
        end = place
        while end < len(text) and kinds[end] in allowed and end - place < most:
            end += 1
        return end

    while start < len(text):
        contraction = re.compile("'(?:[sdmtſ]|ll|ve|re)", re.IGNORECASE | re.ASCII).match(text, start)
        letters = run(start + (kinds[start] in "S!"), "L")
        others = run(start + (text[start] == " "), "!")
        spaces = run(start, "S\r\n")
        line_end = max((place + 1 for place in range(start, spaces) if kinds[place] in "\r\n"), default=start)
        if contraction:
            end = contraction.end()
        elif letters > start + (kinds[start] in "S!"):
            end = letters
        elif kinds[start] == "N":
            end = run(start, "N", numbers)
        elif others > start + (text[start] == " "):
            end = run(others, "\r\n")
        elif line_end > start:
            end = line_end
        else:
            end = spaces - 1 if spaces < len(text) and spaces - 1 > start else spaces
        found.append(text[start:end])
        start = end
    return found


NEWER = st.text(st.one_of(st.sampled_from("'sdmtlSLREverſ aZ09.,!(\n\n\t\r\x1c\x85\xa0\u3000é中二½٣〇😀\udcff"), st.characters()))


@given(NEWER, st.sampled_from([("llama-bpe", 3), ("qwen2", 1)]))
def test_words_of_newer_patterns_are_those_of_their_alternatives(text: str, rule: tuple[str, int]) -> None:
    pattern, numbers = rule
    assert list(chain.from_iterable(words(text, pattern))) == naive_words(text, numbers)


@given(NEWER, st.integers(1, 9), st.sampled_from(PATTERNS))
def test_words_of_all_patterns_do_not_depend_on_the_size_of_pieces(text: str, size: int, pattern: str) -> None:
    whole = list(chain.from_iterable(words(text, pattern)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("samebits.text.unicode._PIECE", size)
        assert list(chain.from_iterable(words(text, pattern))) == whole
    assert "".join(whole) == text


def test_a_pattern_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="words: pattern must be one of 'gpt2', 'smollm', 'llama-bpe', 'qwen2', got 'gpt-4'"):
        words("a", "gpt-4")
    with pytest.raises(ValueError, match="BytePairTokenizer: pattern must be one of"):
        BytePairTokenizer([], pattern="GPT2")


# parts


ALL = {letter: id_ for id_, letter in enumerate(LETTERS)}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_vocabulary_from_parts_is_saved_and_loaded(pattern: str, tmp_path: Path) -> None:
    tokens = [*LETTERS, "<end>", "Ġa", "Ġab", "<tool>"]
    tokenizer = BytePairTokenizer.from_parts(
        tokens, ["Ġ a", ["Ġa", "b"]], {"<end>": 256}, pattern=pattern, added_tokens={"<tool>": 259}, normalized=pattern == "qwen2"
    )
    assert spelled(tokenizer) == (tokens, ["Ġ a", "Ġa b"])
    assert tokenizer.encode("b ab<end> a", "all").tolist() == [ALL["b"], 258, 256, 257]
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    again = load_tokenizer(tmp_path / "tokenizer.json")
    assert isinstance(again, BytePairTokenizer) and again.digest == tokenizer.digest
    assert (again.pattern, again.normalized) == (pattern, pattern == "qwen2")
    assert again.special_tokens == {"<end>": 256} and again.added_tokens == {"<tool>": 259}


def test_every_part_of_the_rules_is_in_the_digest() -> None:
    kinds = [BytePairTokenizer([], pattern=pattern) for pattern in PATTERNS]
    kinds += [
        BytePairTokenizer([], normalized=True),
        BytePairTokenizer([], ["<e>"]),
        BytePairTokenizer([], added_tokens={"<e>": 256}),
    ]
    assert len({one.digest for one in kinds}) == len(kinds)


@pytest.mark.parametrize(
    ("tokens", "merges", "special", "message"),
    [
        (["a", "b", "a"], [], {}, "tokens must be different, got 'a' twice"),
        (["a", "<e>"], [], {"<e>": 2}, "tokens must give '<e>' the id of the special or added token, 2, got 1"),
        (["a", "aa"], ["a a a"], {}, r"merges\[0\] must be two tokens, got 'a a a'"),
        (["a", "aa"], ["a a", ["a"]], {}, r"merges\[1\] must be two tokens, got \['a'\]"),
        (["a", "aa"], ["a b"], {}, r"merges\[0\] must join tokens of the vocabulary, got 'b'"),
        (["a", "b"], ["a b"], {}, r"merges\[0\] must make a token of the vocabulary, got 'ab'"),
        (["a", "a b"], [], {}, "tokens must have the letters of bytes, got 'a b'"),
        (["a", "中"], [], {}, "tokens must have the letters of bytes, got '中'"),
        (["a", "b", "ab", "aba"], ["ab a", "a b"], {}, r"merges\[0\] must join bytes or tokens made by earlier merges, got 'ab'"),
        (["a", "aa", "aaa"], ["a a", "a aa", "aa a"], {}, r"merges\[2\] must make a new token, got 'aaa' again"),
        (["a", "aa"], [], {}, "tokens must be bytes or made by merges, got 'aa'"),
    ],
)
def test_parts_that_do_not_fit_are_named(tokens: list[str], merges: list[Any], special: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=f"BytePairTokenizer.from_parts: {message}"):
        BytePairTokenizer.from_parts(tokens, merges, special)


def test_a_word_that_is_a_token_of_llama_3_is_that_token() -> None:
    tokens = [*LETTERS, "Ġa", "Ġabc", "bc", "abc"]
    merges = ["Ġ a", "Ġ abc", "Ġa bc", "b c", "a bc"]  # made from ranks: in any order, and twice
    tokenizer = BytePairTokenizer.from_parts(tokens, merges, pattern="llama-bpe")
    found = [tokenizer.tokens[id_] for id_ in tokenizer.encode("abc abc xabc abcd ab")]
    assert found == [b"abc", b" abc", b" ", b"x", b"abc", b" abc", b"d", b" a", b"b"]
    alone = BytePairTokenizer.from_parts([*LETTERS, "xyz"], [], pattern="llama-bpe")
    assert alone.encode("xyz").tolist() == [256] and alone.encode("xyzx").tolist() == [ALL[one] for one in "xyzx"]


def naive_join(word: bytes, merger: Merger) -> list[int]:
    """The earliest merge, at the leftmost place, until none is left."""
    symbols = list(word.translate(SYMBOLS))
    spelled_symbols = {spelling: symbol for symbol, spelling in enumerate(merger.spellings)}
    ranks = {pair: number for number, pair in enumerate(merger.merges)}
    while True:
        found = [(ranks[pair], place) for place, pair in enumerate(pairwise(symbols)) if pair in ranks]
        if not found:
            return symbols
        _, place = min(found)
        left, right = symbols[place : place + 2]
        symbols[place : place + 2] = [spelled_symbols[merger.spellings[left] + merger.spellings[right]]]


@pytest.mark.parametrize("length", [1, 7, 60, 200, 513, 700])
def test_merges_in_any_order_are_applied_the_earliest_first(length: int) -> None:
    tokens = [b"ab", b"ba", b"aba", b"bab", b"abab", b"aa", b"bb", b"aabb"]
    spellings = [*(bytes([byte]) for byte in BYTES), *tokens]
    symbols = {spelling: symbol for symbol, spelling in enumerate(spellings)}
    for seed in range(6):
        stream = Stream(seed)
        pairs = [(token[:cut], token[cut:]) for token in tokens for cut in range(1, len(token))]
        pairs = [pairs[i] for i in stream.permutation(len(pairs)) if pairs[i][0] in symbols and pairs[i][1] in symbols]
        merger = Merger.of(
            spellings,
            [symbols[left] for left, _ in pairs],
            [symbols[right] for _, right in pairs],
            [symbols[left + right] for left, right in pairs],
        )
        assert not merger.in_order
        word = bytes(b"ab"[i] for i in stream.integers(2, size=length).tolist())
        assert merger(word) == naive_join(word, merger)


# added tokens


def test_added_tokens_are_recognized_in_every_text(load: Load) -> None:
    added = [
        {"id": 7, "content": END},
        {"id": 8, "content": "<b>", "special": False},
        {"id": 9, "content": "<b>n", "special": False},
    ]
    tokenizer = load(BANANA, BANANA_MERGES, added_tokens=added)
    assert (tokenizer.special_tokens, tokenizer.added_tokens) == ({END: 7}, {"<b>": 8, "<b>n": 9})
    assert tokenizer.encode("a<b>a<b>n").tolist() == tokenizer.encode_ordinary("a<b>a<b>n").tolist() == [0, 8, 0, 9]
    assert tokenizer.encode(f"<b>{END}", "all").tolist() == [8, 7]
    assert tokenizer.encode_ordinary(f"<b>{END}n", errors="ignore").tolist() == [8, 2, 2]  # <|end|> without unknown characters
    assert tokenizer.decode([0, 8, 7]) == f"a<b>{END}"
    with pytest.raises(ValueError, match="allowed_special must be 'all' or some of"):
        tokenizer.encode("a", {"<b>"})
    with pytest.raises(TokenizerFileError, match="added_tokens must all be special with a WordLevel model"):
        load({"a": 0}, [], added_tokens=added[1:2], pre_tokenizer=EACH_CHARACTER, model={"type": "WordLevel", "vocab": {"a": 0}})
    with pytest.raises(TokenizerFileError, match=r"added_tokens\[0\].normalized must be false, got True"):
        load(BANANA, BANANA_MERGES, added_tokens=[{"id": 7, "content": END, "normalized": True}], normalizer={"type": "NFC"})


def test_spelling_needs_bytes_and_different_names() -> None:
    assert spelled(ByteTokenizer(["<e>"]))[0][96:98] == ["`", "a"] and spelled(ByteTokenizer())[1] == []
    with pytest.raises(
        TypeError, match="spelled: tokenizer must be a BytePairTokenizer or ByteTokenizer, got CharacterTokenizer"
    ):
        spelled(CharacterTokenizer("ab"))
    with pytest.raises(ValueError, match="spelled: special tokens must not be spelled like ordinary ones in the file, got 'a'"):
        spelled(ByteTokenizer(["a"]))


# normalization


def test_text_is_normalized_before_it_is_encoded(load: Load) -> None:
    plain, normalized = (
        load(BANANA, BANANA_MERGES),
        load({**BANANA, "Ã": 7, "©": 8, "Ã©": 9}, [*BANANA_MERGES, "Ã ©"], normalizer={"type": "NFC"}),
    )
    assert normalized.normalized and not plain.normalized
    ids = normalized.encode("bane\u0301 \u00e9")
    assert ids.tolist() == [5, 9, 3, 9] and normalized.decode(ids) == "ban\u00e9 \u00e9"
    assert normalized.encode(b"e\xcc\x81\xff", errors="ignore").tolist() == [9]
    with pytest.raises(TokenizerFileError, match=r"normalizer must be null, or \{'type': 'NFC'\} with a BPE model"):
        load(BANANA, BANANA_MERGES, normalizer={"type": "Lowercase"})


def test_normalization_is_the_same_on_every_python() -> None:
    blocks = [range(0x3400), range(0xA000, 0xAC00), range(0xF900, 0x12000), range(0x16000, 0x17000), range(0x1D000, 0x1F000)]
    every = [chr(code) for code in chain.from_iterable(blocks)]
    texts = [nfc("".join(f"{one}\u0316" for one in every)), nfc("".join(f"x\u0345{one}\u0301" for one in every))]
    assert (
        hashlib.sha256("\n".join(texts).encode()).hexdigest()
        == "05c89e86ff4c00f0e625b472a456a2487a16c07aabf881e6324c40a1e1a91a82"
    )
    assert nfc("plain") == "plain"
