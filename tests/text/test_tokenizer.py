"""Tokenizers: what goes in comes out, and files that are damaged are told where."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samebits.text import (
    BytePairTokenizer,
    ByteTokenizer,
    CharacterTokenizer,
    Tokenizer,
    TokenizerFileError,
    bytepair_tokenizer,
    load_ranks,
    load_tokenizer,
    save_tokenizer,
)

pytestmark = pytest.mark.once

END, PAD = "<|end|>", "<|pad|>"
RHYME = "Betty bought some butter, but the butter was bitter;  so Betty bought better butter: čaf中文 \n\n the the"
PAIRS = BytePairTokenizer.train([RHYME], 300, [END, PAD])
# bytes in their own order, the special token first: another's layout of ids
OTHERS = BytePairTokenizer(PAIRS.merges, {END: 0}, [1 + symbol for symbol in range(298)])
BYTES = ByteTokenizer([END, PAD])
CHARACTERS = CharacterTokenizer.of([RHYME], [END, PAD])
ALL = [PAIRS, OTHERS, BYTES, CHARACTERS]
FEW = settings(max_examples=40)
SAME_FOLDER = settings(FEW, suppress_health_check=[HealthCheck.function_scoped_fixture])
# what is special to words, to UTF-8 and to the vocabulary
PARTS = st.lists(
    st.sampled_from([b"butter", b" ", b"\n", b"\xff", b"\xe4\xb8", "中".encode(), b"'s", b"1", b"\xc4", b"\x8d", END.encode()])
)


@pytest.mark.parametrize("tokenizer", [OTHERS, BYTES], ids=repr)
@given(st.one_of(st.binary(), PARTS.map(b"".join)))
def test_any_bytes_come_back(tokenizer: Tokenizer, data: bytes) -> None:
    assert tokenizer.decode_bytes(tokenizer.encode(data, allowed_special="all")) == data
    assert tokenizer.decode_bytes(tokenizer.encode_ordinary(data)) == data


@given(st.text())
def test_any_text_comes_back_and_is_its_bytes(text: str) -> None:
    ids = PAIRS.encode_ordinary(text)
    assert PAIRS.decode(ids) == text
    assert np.array_equal(PAIRS.encode_ordinary(text.encode()), ids)


@pytest.mark.parametrize("tokenizer", ALL, ids=repr)
def test_ids_are_fresh_int64_arrays_below_the_vocabulary_size(tokenizer: Tokenizer) -> None:
    for text in (RHYME, "", "b"):
        ids = tokenizer.encode(text)
        assert ids.dtype == np.int64 and ids.ndim == 1 and ids.flags.writeable and ids.flags.owndata is not None
        assert all(0 <= i < tokenizer.vocabulary_size for i in ids)
        before = ids.copy()
        ids[:] = -1
        assert np.array_equal(tokenizer.encode(text), before)
        assert tokenizer.decode(before) == text


def test_words_become_tokens() -> None:
    spelled = [PAIRS.tokens[i] for i in PAIRS.encode("butter, but the bitter")]
    assert b"".join(spelled) == b"butter, but the bitter"
    assert b" the" in spelled and len(spelled) < 12
    assert PAIRS.encode_ordinary(" the").tolist() == [int(i) for i in PAIRS.encode(" the")] == [PAIRS.tokens.index(b" the")]


def test_a_word_that_is_not_remembered_is_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bytepair_tokenizer, "_KEPT", 3)
    fresh = BytePairTokenizer(PAIRS.merges, [END, PAD])
    for _ in range(2):
        assert np.array_equal(fresh.encode(RHYME), PAIRS.encode(RHYME))
        assert len(fresh._words) <= 3


def test_bytes_that_are_not_utf8_join_the_last_word_before_them() -> None:
    tokenizer = BytePairTokenizer.from_ranks({bytes([b]): b for b in range(256)} | {b"  ": 256, b"o\xff": 257, b"o ": 258})
    assert tokenizer.encode(b"o  o\xff  o ").tolist() == [111, 256, 257, 256, 258]  # and the white space before it
    assert tokenizer.encode(b"o\n  \xff").tolist() == [111, 10, 256, 255]
    assert tokenizer.encode(b"o o ").tolist() == [111, 32, 111, 32]


@pytest.mark.parametrize("tokenizer", ALL, ids=repr)
def test_special_tokens_count_only_where_they_are_allowed(tokenizer: Tokenizer) -> None:
    end, pad = tokenizer.special_tokens[END], tokenizer.special_tokens.get(PAD)
    text = f"the{END}{END}but"
    ids = tokenizer.encode(text, allowed_special={END}).tolist()
    assert ids == [*tokenizer.encode("the"), end, end, *tokenizer.encode("but")]
    assert ids == tokenizer.encode(text, "all").tolist() == tokenizer.encode_batch([text, "b"], "all")[0].tolist()
    assert tokenizer.decode(ids) == text
    with pytest.raises(ValueError, match=r"text has the special token '<\|end\|>' at character 3, which is not allowed"):
        tokenizer.encode(text)
    if pad:
        with pytest.raises(ValueError, match=r"'<\|pad\|>' at character 5"):
            tokenizer.encode(f"the b{PAD}", [END])
    if tokenizer is not CHARACTERS:
        ordinary = tokenizer.encode_ordinary(text)
        assert end not in ordinary and tokenizer.decode(ordinary) == text


def test_the_longest_special_token_counts() -> None:
    tokenizer = ByteTokenizer(["<a>", "<a><b>", "<b>"])
    assert tokenizer.encode("<a><b><a>", "all").tolist() == [257, 256]


@pytest.mark.parametrize("allowed", ["<|end|>", ["<|end|>", "<|no|>"]])
def test_what_is_allowed_must_be_special(allowed: Any) -> None:
    with pytest.raises(ValueError, match=r"allowed_special is .* is needed"):
        PAIRS.encode("a", allowed)


@given(st.lists(st.integers(0, PAIRS.vocabulary_size - 1)))
def test_a_stream_is_what_decode_gives_and_never_splits_a_character(ids: list[int]) -> None:
    parts = list(PAIRS.decode_stream(iter(ids)))
    assert "".join(parts) == PAIRS.decode(ids) == PAIRS.decode(np.array(ids, np.uint16))
    assert all(parts)


def test_a_stream_gives_what_is_complete_at_once() -> None:
    stream = BYTES.decode_stream(iter(BYTES.encode("a€b")))
    assert list(stream) == ["a", "€", "b"]


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([1, 300], ValueError, r"ids\[1\] is 300: ids are from 0 to 299"),
        (np.array([3, -1, 400]), ValueError, r"ids\[1\] is -1"),
        ([[1]], ValueError, r"ids have shape \(1, 1\)"),
        ([1.0], TypeError, "ids are of type float64: whole numbers"),
        ([True], TypeError, "ids are of type bool"),
        ([2**80], TypeError, "ids are of type object"),
    ],
)
def test_ids_that_are_none_are_refused(ids: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        PAIRS.decode(ids)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: PAIRS.encode("ab\ud800"), ValueError, "text has the lone surrogate '.ud800' at character 2"),
        (lambda: PAIRS.encode(3), TypeError, "text is of type int"),
        (lambda: CHARACTERS.encode("butler"), ValueError, "text has 'l' at character 3: it is not one of the 2. characters"),
        (lambda: CHARACTERS.encode(b"b\xff"), ValueError, "text has '.udcff' at character 1"),
        (lambda: CharacterTokenizer("").encode("a"), ValueError, "not one of the 0 characters"),
        (lambda: CharacterTokenizer("abca"), ValueError, "characters has 'a' twice"),
        (lambda: CharacterTokenizer.of("abc"), TypeError, "texts is one str"),
        (lambda: ByteTokenizer("<|end|>"), TypeError, "special_tokens is the text"),
        (lambda: ByteTokenizer([""]), ValueError, "special_tokens has ''"),
        (lambda: ByteTokenizer(["\udcff"]), ValueError, "special_tokens has '.udcff'"),
        (lambda: ByteTokenizer(["a", "a"]), ValueError, "special_tokens are .*: each is needed once"),
        (lambda: ByteTokenizer([1]), TypeError, "special_tokens has 1: texts are needed"),  # type: ignore[list-item]
        (lambda: CharacterTokenizer(b"ab"), TypeError, "characters is of type bytes: str is needed"),  # type: ignore[arg-type]
        (lambda: BytePairTokenizer([], ids=[0] * 256), ValueError, "ids give b'!' and b'.xad' the same id, 0"),
        (
            lambda: BytePairTokenizer.from_ranks({bytes([b]): b for b in range(256)} | {b"ab": 255}),
            ValueError,
            "ids give b'.xff' and b'ab' the same id, 255",
        ),
        (lambda: ByteTokenizer({"a": 300}), ValueError, "there is no token of id 256"),
        (lambda: BytePairTokenizer([(1, 2)], ids=range(256)), ValueError, "ids are 256: 257 are needed"),
        (lambda: BytePairTokenizer.train(["a"], 257, ["a", "b"]), ValueError, "vocabulary_size is 257: at least 258"),
        (lambda: BytePairTokenizer.from_ranks({b"a": 0}), ValueError, "ranks lack the byte b'!'"),
        (
            lambda: BytePairTokenizer.from_ranks({bytes([b]): b for b in range(256)} | {b"abc": 256}),
            ValueError,
            "ranks give b'abc' the rank 256, but 3 earlier tokens make it",
        ),
    ],
)
def test_what_is_wrong_is_named(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_ranks_and_merges_are_the_same_vocabulary() -> None:
    ranks = {token: i for i, token in enumerate(PAIRS.tokens[:298])}
    again = BytePairTokenizer.from_ranks(ranks, [END, PAD])
    assert again.merges == PAIRS.merges and again.digest == PAIRS.digest


def test_what_decides_the_ids_decides_the_digest() -> None:
    others = [BytePairTokenizer(PAIRS.merges), BytePairTokenizer(PAIRS.merges[:-1], [END, PAD]), ByteTokenizer()]
    others.append(BytePairTokenizer(PAIRS.merges, {PAD: 298, END: 299}))
    assert len({one.digest for one in [*ALL, *others]}) == 8
    assert BytePairTokenizer.train([RHYME], 300, [END, PAD]).digest == PAIRS.digest


# files


@pytest.mark.parametrize("tokenizer", ALL, ids=repr)
def test_a_file_gives_the_same_tokenizer_back(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    save_tokenizer(tokenizer, path)
    again = load_tokenizer(path)
    assert type(again) is type(tokenizer) and again.digest == tokenizer.digest
    assert np.array_equal(again.encode(RHYME + END, "all"), tokenizer.encode(RHYME + END, "all"))
    assert [one.name for one in tmp_path.iterdir()] == ["tokenizer.json"]
    before = path.read_bytes()
    save_tokenizer(again, path)
    assert path.read_bytes() == before


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tokenizer.json"
    save_tokenizer(PAIRS, path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space left"):
        save_tokenizer(BYTES, path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_a_special_token_spelled_like_another_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the special token 'Ġ' is spelled like an ordinary one"):
        save_tokenizer(ByteTokenizer(["Ġ"]), tmp_path / "tokenizer.json")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("files")
    for number, tokenizer in enumerate(ALL):
        save_tokenizer(tokenizer, folder / str(number))
    return {repr(one): (folder / str(number)).read_bytes() for number, one in enumerate(ALL)}


@pytest.mark.parametrize("tokenizer", [PAIRS, CHARACTERS], ids=repr)
@given(data=st.data())
@SAME_FOLDER
def test_a_shortened_file_is_refused(tokenizer: Tokenizer, files: dict[str, bytes], tmp_path: Path, data: st.DataObject) -> None:
    whole = files[repr(tokenizer)]
    path = tmp_path / "tokenizer.json"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 3))])
    with pytest.raises(TokenizerFileError, match=r"tokenizer\.json: (line \d+, column \d+|byte \d+)"):
        load_tokenizer(path)


@pytest.mark.parametrize("tokenizer", [PAIRS, CHARACTERS], ids=repr)
@given(data=st.data())
@SAME_FOLDER
def test_a_mangled_file_is_refused_or_says_the_same(
    tokenizer: Tokenizer, files: dict[str, bytes], tmp_path: Path, data: st.DataObject
) -> None:
    mangled = bytearray(files[repr(tokenizer)])
    for _ in range(data.draw(st.integers(1, 3))):
        mangled[data.draw(st.integers(0, len(mangled) - 1))] = data.draw(
            st.one_of(st.sampled_from(b'"{}[],: 0'), st.integers(0, 255))
        )
    path = tmp_path / "tokenizer.json"
    path.write_bytes(mangled)
    try:
        found = load_tokenizer(path)
    except TokenizerFileError:
        return
    assert found.digest == tokenizer.digest or b"samebits_digest" not in mangled


def change(document: Any, where: str, value: Any) -> None:
    *path, last = [int(part) if part.isdigit() else part for part in where.split("/")]
    for part in path:
        document = document[part]
    document[last] = value


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("normalizer", {"type": "NFC"}, "normalizer is {'type': 'NFC'}: only null is supported"),
        ("pre_tokenizer", None, "pre_tokenizer is None: only"),
        ("pre_tokenizer/add_prefix_space", True, "pre_tokenizer is .*'add_prefix_space': True"),
        ("post_processor", {"type": "TemplateProcessing"}, "post_processor is .*: only null and ByteLevel"),
        ("model", [], "model is \\[\\]: an object is needed"),
        ("model/type", "Unigram", "model.type is 'Unigram': only 'BPE' and 'WordLevel'"),
        ("model/type", [], "model.type is \\[\\]"),
        ("model/dropout", 0.1, "model.dropout is 0.1: it is not supported"),
        ("model/ignore_merges", True, "model.ignore_merges is True: it is not supported"),
        ("model/vocab", [], "model.vocab is \\[\\]: an object is needed"),
        ("model/vocab/!", True, "model.vocab gives '!' the id True: a whole number is needed"),
        ("model/vocab/!", 1, "model.vocab gives '\"' the id 1, which '!' has too"),
        ("model/vocab/!", 10**12, "model: there is no token of id 0"),
        ("model/vocab/new", 300, "model.vocab has 'new': neither a byte nor made by a merge"),
        ("model/merges", None, "model.merges is None: a list is needed"),
        ("model/merges/3", "a", r"model.merges\[3\] is 'a': two tokens are needed"),
        ("model/merges/3", ["a", 1], r"model.merges\[3\] is \['a', 1\]: two tokens are needed"),
        ("model/merges/3", "a zz", r"model.merges\[3\] joins 'zz': neither a byte nor made by an earlier merge"),
        ("model/merges/3", "z z", r"model.merges\[3\] makes 'zz': it is not in model.vocab"),
        ("model/merges/3", "t t", r"model.merges\[3\] makes 'tt': an earlier merge makes it too"),
        ("model/samebits_digest", "x" * 200, r"model.samebits_digest is 'x{76}\.\.\., but what the file holds has [0-9a-f]{64}"),
        ("added_tokens", {}, None),
        ("added_tokens", "x", "added_tokens is 'x': a list is needed"),
        ("added_tokens/0", 3, r"added_tokens\[0\] is 3: an object is needed"),
        ("added_tokens/0/content", None, r"added_tokens\[0\].content is None: a text of its own is needed"),
        ("added_tokens/0/id", "1", r"added_tokens\[0\].id is '1': a whole number is needed"),
        ("added_tokens/0/id", 3, "added_tokens give '<.end.>' the id 3, but model.vocab gives it 298"),
        ("added_tokens/0/lstrip", True, r"added_tokens\[0\].lstrip is True: only false is supported"),
        ("added_tokens/0/special", False, r"added_tokens\[0\].special is False: only true is supported"),
        ("added_tokens/0/normalized", True, None),
        ("model/unk_token", "<|end|>", None),
    ],
)
def test_what_a_file_asks_for_and_is_not_supported_is_named(
    where: str, value: Any, message: str | None, files: dict[str, bytes], tmp_path: Path
) -> None:
    document = json.loads(files[repr(PAIRS)])
    change(document, where, value)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(document), "utf-8")
    if message:
        with pytest.raises(TokenizerFileError, match=f"tokenizer.json: {message}"):
            load_tokenizer(path)
    elif where != "added_tokens":
        assert load_tokenizer(path).digest == PAIRS.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "line 1, column 1"),
        (b"3", "the file holds no JSON object"),
        (b"[" * 200_000, "nested too deep"),
        (b'{"a": 1, "a": 2}', "an object has the name 'a' twice"),
        (b'{"model": \xff}', "byte 10 is not UTF-8"),
        (b'{"model": ' + b"9" * 10_000 + b"}", "a number has 10000 digits: '9{76}\\.\\.\\."),
    ],
)
def test_what_is_no_tokenizer_is_refused(text: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(text)
    with pytest.raises(TokenizerFileError, match=message):
        load_tokenizer(path)


def test_files_of_others_are_read(files: dict[str, bytes], tmp_path: Path) -> None:
    document = json.loads(files[repr(OTHERS)])
    model = document["model"]
    del model["samebits_digest"], model["type"], model["byte_fallback"], document["truncation"]
    model["merges"] = [merge.split() for merge in model["merges"]]
    document["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    document["post_processor"] = {"type": "ByteLevel", "trim_offsets": True}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(document), "utf-8")
    assert load_tokenizer(path).digest == OTHERS.digest


def test_ranks_are_read_from_lines(tmp_path: Path) -> None:
    path = tmp_path / "gpt2.tiktoken"
    lines = [base64.b64encode(token) + b" %d" % i for i, token in enumerate(PAIRS.tokens[:298])]
    path.write_bytes(b"\n".join(lines) + b"\n")
    assert BytePairTokenizer.from_ranks(load_ranks(path), [END, PAD]).digest == PAIRS.digest
    for line, message in (
        (b"YQ==", "line 3 is b'YQ==': a token in Base64 and its rank are needed"),
        (b"YQ== -1", "line 3"),
        (b"Y 1", "line 3"),
        (lines[0], "line 3 repeats a token or a rank"),
        (b"YQ== " + b"9" * 99, "line 3 is b'YQ== 9+"),
    ):
        path.write_bytes(b"\n".join([*lines[:2], line]))
        with pytest.raises(TokenizerFileError, match=message):
            load_ranks(path)
