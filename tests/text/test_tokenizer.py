"""Tokenizers: decoding undoes encoding, and errors in files name the place."""

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
    bytepair,
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
def test_decoding_undoes_encoding_of_bytes(tokenizer: Tokenizer, data: bytes) -> None:
    assert tokenizer.decode_bytes(tokenizer.encode(data, allowed_special="all")) == data
    assert tokenizer.decode_bytes(tokenizer.encode_ordinary(data)) == data


@given(st.text())
def test_decoding_undoes_encoding_of_text_and_text_is_its_bytes(text: str) -> None:
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


def test_a_word_dropped_from_the_cache_is_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bytepair_tokenizer, "_KEPT", 3)
    fresh = BytePairTokenizer(PAIRS.merges, [END, PAD])
    for _ in range(2):
        assert np.array_equal(fresh.encode(RHYME), PAIRS.encode(RHYME))
        assert len(fresh._words) <= 3


def test_bytes_that_are_not_utf8_join_the_last_word_before_them() -> None:
    space, letter, other = (bytepair.BYTES.index(byte) for byte in b" o\xff")
    merges = [(space, space), (letter, other), (letter, space)]  # the last one joins what no words of a text have
    tokenizer = BytePairTokenizer(merges, ids=[*bytepair.BYTES, 256, 257, 258])
    assert tokenizer.encode(b"o  o\xff  o ").tolist() == [111, 256, 257, 256, 258]  # and the white space before it
    assert tokenizer.encode(b"o\n  \xff").tolist() == [111, 10, 256, 255]
    crossing = BytePairTokenizer([(letter, space)], ids=[*bytepair.BYTES, 256])  # a merge that shows where the word begins
    assert crossing.encode(b"o  \xff").tolist() == [111, 32, 32, 255]
    assert crossing.encode(b"o \xff").tolist() == [111, 32, 255]
    assert crossing.encode(b"o\xff").tolist() == [111, 255]
    assert tokenizer.encode(b"o o ").tolist() == [111, 32, 111, 32]


@pytest.mark.parametrize("tokenizer", ALL, ids=repr)
def test_special_tokens_are_recognized_only_where_allowed(tokenizer: Tokenizer) -> None:
    end, pad = tokenizer.special_tokens[END], tokenizer.special_tokens.get(PAD)
    text = f"the{END}{END}but"
    ids = tokenizer.encode(text, allowed_special={END}).tolist()
    assert ids == [*tokenizer.encode("the"), end, end, *tokenizer.encode("but")]
    assert ids == tokenizer.encode(text, "all").tolist() == tokenizer.encode_batch([text, "b"], "all")[0].tolist()
    assert tokenizer.decode(ids) == text
    with pytest.raises(ValueError, match=r"encode: text must not contain the special token '<\|end\|>', found at character 3"):
        tokenizer.encode(text)
    if pad:
        with pytest.raises(ValueError, match=r"'<\|pad\|>', found at character 5"):
            tokenizer.encode(f"the b{PAD}", [END])
    if tokenizer is not CHARACTERS:
        ordinary = tokenizer.encode_ordinary(text)
        assert end not in ordinary and tokenizer.decode(ordinary) == text


def test_the_longest_special_token_takes_precedence() -> None:
    tokenizer = ByteTokenizer(["<a>", "<a><b>", "<b>"])
    assert tokenizer.encode("<a><b><a>", "all").tolist() == [257, 256]


@pytest.mark.parametrize("allowed", ["<|end|>", ["<|end|>", "<|no|>"]])
def test_allowed_special_must_name_special_tokens(allowed: Any) -> None:
    with pytest.raises(ValueError, match=r"encode: allowed_special must be 'all' or some of"):
        PAIRS.encode("a", allowed)


@given(st.lists(st.integers(0, PAIRS.vocabulary_size - 1)))
def test_decode_stream_joined_is_decode_and_never_splits_a_character(ids: list[int]) -> None:
    parts = list(PAIRS.decode_stream(iter(ids)))
    assert "".join(parts) == PAIRS.decode(ids) == PAIRS.decode(np.array(ids, np.uint16))
    assert all(parts)


def test_decode_stream_yields_each_character_when_it_is_complete() -> None:
    stream = BYTES.decode_stream(iter(BYTES.encode("a€b")))
    assert list(stream) == ["a", "€", "b"]


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([1, 300], ValueError, r"decode: ids\[1\] must be from 0 to 299, got 300"),
        (np.array([3, -1, 400]), ValueError, r"decode: ids\[1\] must be from 0 to 299, got -1"),
        ([[1]], ValueError, r"decode: ids must be one-dimensional, got shape \(1, 1\)"),
        ([1.0], TypeError, "decode: ids must be integers, got float64"),
        ([True], TypeError, "decode: ids must be integers, got bool"),
        ([2**80], TypeError, "decode: ids must be integers, got object"),
    ],
)
def test_invalid_ids_are_refused(ids: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        PAIRS.decode(ids)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: PAIRS.encode("ab\ud800"),
            ValueError,
            "encode: text must not contain lone surrogates, got '.ud800' at character 2",
        ),
        (lambda: PAIRS.encode(3), TypeError, "encode: text must be str or bytes, got int"),
        (
            lambda: CHARACTERS.encode("butler"),
            ValueError,
            "encode: text must contain only characters of the vocabulary, got 'l' at character 3",
        ),
        (lambda: CHARACTERS.encode(b"b\xff"), ValueError, "got '.udcff' at character 1"),
        (lambda: CharacterTokenizer("").encode("a"), ValueError, "only characters of the vocabulary, got 'a' at character 0"),
        (lambda: CharacterTokenizer("abca"), ValueError, "CharacterTokenizer: characters must be different, got 'a' twice"),
        (lambda: CharacterTokenizer.of("abc"), TypeError, "texts must be an iterable of str such as .text., got a single str"),
        (lambda: CharacterTokenizer.of([b"abc"]), TypeError, r"texts\[0\] must be a str, got bytes"),  # type: ignore[list-item]
        (
            lambda: ByteTokenizer("<|end|>"),
            TypeError,
            "ByteTokenizer: special_tokens must be a list of str or a mapping, got the str '<\\|end\\|>'",
        ),
        (lambda: ByteTokenizer([""]), ValueError, "special_tokens must be non-empty text that UTF-8 can encode, got ''"),
        (
            lambda: ByteTokenizer(["\udcff"]),
            ValueError,
            "special_tokens must be non-empty text that UTF-8 can encode, got '.udcff'",
        ),
        (lambda: ByteTokenizer(["a", "a"]), ValueError, "special_tokens must be different from each other, got .'a', 'a'."),
        (lambda: ByteTokenizer([1]), TypeError, "special_tokens must be str, got 1"),  # type: ignore[list-item]
        (lambda: CharacterTokenizer(b"ab"), TypeError, "CharacterTokenizer: characters must be a str, got bytes"),  # type: ignore[arg-type]
        (
            lambda: BytePairTokenizer([], ids=[0] * 256),
            ValueError,
            "BytePairTokenizer: ids must be different, got 0 for b'!' and b'.xad'",
        ),
        (
            lambda: BytePairTokenizer.from_ranks({bytes([b]): b for b in range(256)} | {b"ab": 255}),
            ValueError,
            "ids must be different, got 255 for b'.xff' and b'ab'",
        ),
        (lambda: ByteTokenizer({"a": 300}), ValueError, "ByteTokenizer: ids must be 0 to 256, each once, but 256 is missing"),
        (lambda: ByteTokenizer({"a": 256.0}), TypeError, r"special_tokens\['a'\] must be an int, got 256.0"),  # type: ignore[dict-item]
        (lambda: BytePairTokenizer([(1, 2.0)]), TypeError, r"merges\[0\] must be a pair of ints, got \(1, 2.0\)"),  # type: ignore[list-item]
        (lambda: BytePairTokenizer([(1, 2, 3)]), TypeError, r"merges\[0\] must be a pair of ints"),  # type: ignore[list-item]
        (lambda: BytePairTokenizer([], ids=[0.5] * 256), TypeError, "ids must be integers, got float64"),  # type: ignore[list-item]
        (lambda: BytePairTokenizer.train(["a"], 300.0), TypeError, "vocabulary_size must be an int, got 300.0"),  # type: ignore[arg-type]
        (lambda: list(BYTES.decode_stream([1, 258])), ValueError, r"decode_stream: ids\[1\] must be from 0 to 257, got 258"),
        (lambda: list(BYTES.decode_stream([1.0])), TypeError, r"decode_stream: ids\[0\] must be an int, got 1.0"),  # type: ignore[list-item]
        (
            lambda: BytePairTokenizer([(1, 2)], ids=range(256)),
            ValueError,
            "ids must have 257 values, one for each byte and merge, got 256",
        ),
        (
            lambda: BytePairTokenizer.train(["a"], 257, ["a", "b"]),
            ValueError,
            "BytePairTokenizer.train: vocabulary_size must be at least 258, got 257",
        ),
        (lambda: BytePairTokenizer.from_ranks({b"a": 0}), ValueError, "ranks must have all 256 bytes, but b'!' is missing"),
        (
            lambda: BytePairTokenizer.from_ranks({bytes([b]): b for b in range(256)} | {b"abc": 256}),
            ValueError,
            "ranks must build each token from two of lower rank, got b'abc' with rank 256, built from 3",
        ),
    ],
)
def test_errors_name_the_argument(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_numpy_integers_are_accepted_and_change_nothing(tmp_path: Path) -> None:
    merges = np.array(PAIRS.merges, np.int32)
    special = {END: np.int64(298), PAD: np.int64(299)}
    same = BytePairTokenizer(merges, special, np.arange(298, dtype=np.int32))  # type: ignore[arg-type]
    save_tokenizer(PAIRS, tmp_path / "one.json")
    save_tokenizer(same, tmp_path / "other.json")
    assert same.digest == PAIRS.digest
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "other.json").read_bytes()
    assert BytePairTokenizer.train([RHYME], np.int64(300), [END, PAD]).digest == PAIRS.digest  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64, ">i8"])
def test_ids_of_any_integer_type_are_decoded(dtype: Any) -> None:
    ids = BYTES.encode("né")
    assert BYTES.decode(ids.astype(dtype)) == BYTES.decode(ids.tolist()) == BYTES.decode(tuple(ids)) == "né"
    assert "".join(BYTES.decode_stream(ids.astype(dtype))) == "né"
    assert BYTES.decode([]) == BYTES.decode(np.array([], np.int32)) == ""


def test_ranks_and_merges_are_the_same_vocabulary() -> None:
    ranks = {token: i for i, token in enumerate(PAIRS.tokens[:298])}
    again = BytePairTokenizer.from_ranks(ranks, [END, PAD])
    assert again.merges == PAIRS.merges and again.digest == PAIRS.digest


def test_the_digest_depends_on_everything_that_determines_ids() -> None:
    others = [BytePairTokenizer(PAIRS.merges), BytePairTokenizer(PAIRS.merges[:-1], [END, PAD]), ByteTokenizer()]
    others.append(BytePairTokenizer(PAIRS.merges, {PAD: 298, END: 299}))
    assert len({one.digest for one in [*ALL, *others]}) == 8
    assert BytePairTokenizer.train([RHYME], 300, [END, PAD]).digest == PAIRS.digest


# files


@pytest.mark.parametrize("tokenizer", ALL, ids=repr)
def test_a_loaded_tokenizer_is_the_saved_one(tokenizer: Tokenizer, tmp_path: Path) -> None:
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
    with pytest.raises(ValueError, match="special tokens must not be spelled like ordinary ones in the file, got 'Ġ'"):
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
def test_a_mangled_file_is_refused_or_gives_the_same_digest(
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
        ("normalizer", {"type": "NFKC"}, "normalizer must be null, or {'type': 'NFC'} with a BPE model, got {'type': 'NFKC'}"),
        ("pre_tokenizer", None, "pre_tokenizer must be .*, got None"),
        ("pre_tokenizer/add_prefix_space", True, "pre_tokenizer must be .*, got .*'add_prefix_space': True"),
        (
            "post_processor",
            {"type": "BertProcessing"},
            "post_processor must be null or ByteLevel or TemplateProcessing, got {'type': 'BertProcessing'}",
        ),
        ("model", [], "model must be an object, got \\[\\]"),
        ("model/type", "Unigram", "model.type must be 'BPE' or 'WordLevel', got 'Unigram'"),
        ("model/type", [], "model.type must be .* got \\[\\]"),
        ("decoder", {"type": {}}, "decoder must be null or ByteLevel, got {'type': {}}"),
        ("model/dropout", 0.1, "model.dropout must be null or false, got 0.1"),
        ("model/ignore_merges", True, "model.ignore_merges must be true with Llama 3's pattern alone, got True"),
        ("model/vocab", [], "model.vocab must be an object, got \\[\\]"),
        ("model/vocab/!", True, r"model.vocab\['!'\] must be an id, got True"),
        ("model/vocab/!", 1, r'model.vocab\[\'"\'\] must be an id of its own, got 1, that of \'!\''),
        ("model/vocab/!", 10**12, "model: BytePairTokenizer: ids must be 0 to 299, each once, but 0 is missing"),
        ("model/vocab/!", 10**18, "numbers must have fewer than 19 digits, got 19: '1000000000000000000'"),
        ("model/vocab/!", 10**18 - 1, "model: BytePairTokenizer: ids must be 0 to 299, each once, but 0 is missing"),
        ("model/vocab/new", 300, "model: BytePairTokenizer.from_parts: tokens must be bytes or made by merges, got 'new'"),
        ("model/merges", None, "model.merges must be a list, got None"),
        ("model/merges/3", "a", r"model.merges\[3\] must be two tokens, got 'a'"),
        ("model/merges/3", ["a", 1], r"model.merges\[3\] must be two tokens, got \['a', 1\]"),
        (
            "model/merges/3",
            "a zz",
            r"model: BytePairTokenizer.from_parts: merges\[3\] must join tokens of the vocabulary, got 'zz'",
        ),
        ("model/merges/3", "z z", r"model: .*: merges\[3\] must make a token of the vocabulary, got 'zz'"),
        ("model/merges/3", "t t", r"model: .*: merges\[3\] must make a new token, got 'tt' again"),
        ("model/samebits_digest", "x" * 200, r"model.samebits_digest must be that of the tokens, [0-9a-f]{64}, got 'x{76}\.\.\."),
        ("added_tokens", {}, None),
        ("added_tokens", "x", "added_tokens must be a list, got 'x'"),
        ("added_tokens/0", 3, r"added_tokens\[0\] must be an object, got 3"),
        ("added_tokens/0/content", None, r"added_tokens\[0\].content must be a string that is not repeated, got None"),
        ("added_tokens/0/id", "1", r"added_tokens\[0\].id must be an integer, got '1'"),
        ("added_tokens/0/id", 3, "added_tokens must give '<.end.>' the id that model.vocab does, 298, got 3"),
        ("added_tokens/0/lstrip", True, r"added_tokens\[0\].lstrip must be false, got True"),
        ("added_tokens/0/special", 1, r"added_tokens\[0\].special must be true or false, got 1"),
        ("added_tokens/0/normalized", True, None),
        ("model/unk_token", "<|end|>", None),
    ],
)
def test_errors_of_a_file_name_the_entry(
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
        (b"3", "the file must have a JSON object, got 3"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a": 1, "a": 2}', "an object must have each name once, got 'a' twice"),
        (b'{"model": \xff}', "byte 10 is not UTF-8"),
        (b'{"model": ' + b"9" * 10_000 + b"}", "numbers must have fewer than 19 digits, got 10000: '9{76}\\.\\.\\."),
    ],
)
def test_files_of_other_content_are_refused(text: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(text)
    with pytest.raises(TokenizerFileError, match=message):
        load_tokenizer(path)


def test_files_written_by_other_programs_are_loaded(files: dict[str, bytes], tmp_path: Path) -> None:
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
        (b"YQ==", "line 3 must be a token in Base64 and its rank, got b'YQ=='"),
        (b"YQ== -1", "line 3"),
        (b"Y 1", "line 3"),
        (lines[0], "line 3 must have a new token and a new rank, got "),
        (b"YQ== " + b"9" * 99, "line 3 must be a token in Base64 and its rank, got b'YQ== 9+"),
    ):
        path.write_bytes(b"\n".join([*lines[:2], line]))
        with pytest.raises(TokenizerFileError, match=message):
            load_ranks(path)
