"""Token ids equal to tiktoken's, merges and files equal to those of Hugging Face `tokenizers`.

Only `nox -s parity` runs this: it installs both, and mlx-whisper for GPT-2's ranks.
"""

import json
import sysconfig
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiktoken
import tokenizers

from samebits.core import Stream
from samebits.text import (
    BytePairTokenizer,
    CharacterTokenizer,
    load_ranks,
    load_tokenizer,
    python_code,
    save_tokenizer,
    shakespeare,
    unicode_table,
)
from samebits.text.bytepair import BYTES, LETTERS, count_words, train
from samebits.text.unicode import ranges

END = "<|endoftext|>"
# as published; \s++$ and possessive repeats in tiktoken's own spelling are the same pattern, tried without backtracking
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
CL100K = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = r"[^\r\n\p{L}\p{N}]?\p{L}+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
EVERY = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
RANKS = next(file for file in metadata.files("mlx-whisper") or () if file.name == "gpt2.tiktoken").locate()
GOAL = 50_000_000


@pytest.fixture(scope="module")
def gpt2() -> BytePairTokenizer:
    return BytePairTokenizer.from_ranks(load_ranks(str(RANKS)))


@pytest.fixture(scope="module")
def peer() -> tiktoken.Encoding:
    ranks = load_ranks(str(RANKS))
    return tiktoken.Encoding("gpt2", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={END: len(ranks)})


def standard_library(size: int) -> Iterator[str]:
    """Source code of this Python, about ``size`` characters; some files have many scripts."""
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if "site-packages" not in path.parts and size > 0:
            text = path.read_bytes().decode("utf-8", "replace")
            size -= len(text)
            yield text


def mixture(name: str, alphabet: list[str], lengths: int, count: int) -> str:
    """Random parts of an alphabet, each repeated up to ``lengths`` times."""
    stream = Stream(0).split(name)
    parts = stream.integers(len(alphabet), size=count).tolist()
    repeats = stream.integers(1, lengths + 1, size=count).tolist()
    return "".join(alphabet[part] * times for part, times in zip(parts, repeats, strict=True))


def letters(*blocks: tuple[int, int]) -> list[str]:
    return [chr(code) for first, last in blocks for code in range(first, last + 1)]


EMOJI = ["😀", "👨‍👩‍👧‍👦", "🇩🇪", "✈️", "👍🏽", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "❤️‍🔥", " ", "ok"]
CHINESE = [*letters((0x4E00, 0x9FFF)), *"，。！？、《》 "]
JAPANESE = [*letters((0x3041, 0x30FF)), *"。、「」　ー東京日本語"]
KOREAN = [*letters((0xAC00, 0xD7A3)), *"    ., 1"]
ARABIC = [*letters((0x600, 0x6FF), (0xFB50, 0xFDFF), (0x660, 0x669)), *"      ،؟\u200f"]
INDIC = [*letters((0x900, 0xDFF)), *"      ", "\u200d"]
SPACES = [
    *" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2003\u2028\u2029\u202f\u205f\u3000\u200b\ufeff",
    "a",
    "1",
    ".",
    "'s",
]
CONTRACTIONS = ["'", "s", "t", "re", "ve", "m", "ll", "d", "S", "LL", " ", "'s", "'re", "’s", "I", "1", "\n"]


def texts() -> Iterator[tuple[str, list[str]]]:
    yield "Shakespeare", [shakespeare().text]
    yield "Shakespeare, a document each", [document.text for document in shakespeare()]
    yield "code of a package", [python_code().text]
    yield "the standard library", list(standard_library(14_000_000))
    yield "every character, in order", ["".join(EVERY)]
    yield "every character, between spaces", [" ".join(EVERY)]
    yield "every character, shuffled", ["".join(EVERY[i] for i in Stream(0).permutation(len(EVERY)))]
    for name, alphabet in (("emoji", EMOJI), ("Chinese", CHINESE), ("Japanese", JAPANESE), ("Korean", KOREAN)):
        yield name, [mixture(name, alphabet, 2, 200_000)]
    for name, alphabet in (("Arabic", ARABIC), ("Indic", INDIC), ("contractions", CONTRACTIONS)):
        yield name, [mixture(name, alphabet, 2, 300_000)]
    yield "white space", [mixture("white space", SPACES, 1, 500_000), mixture("longer white space", SPACES, 40, 50_000)]
    yield "white space around lines", [f"a{space * n}b{space * n}\n" for space in SPACES for n in range(40)]
    yield "letters of all scripts", [mixture("letters", letters(*ranges(unicode_table.LETTERS)), 1, 500_000)]
    yield "random characters in short texts", [mixture(str(i), EVERY, 1, 60) for i in range(3000)]
    yield "long runs", [part * 100_000 for part in ["a", " ", "\n", "é", "中", "😀", "ab", "'", "1", ".", " a", "\u3000", "=-"]]


def test_gpt2s_ids_are_tiktokens_on_fifty_megabytes(gpt2: BytePairTokenizer, peer: tiktoken.Encoding) -> None:
    total = 0
    for name, group in texts():
        ours = [gpt2.encode_ordinary(text) for text in group]
        size = sum(len(text.encode()) for text in group)
        for number, (text, ids) in enumerate(zip(group, ours, strict=True)):
            assert ids.tolist() == peer.encode_ordinary(text), f"{name}, text {number}"
            assert gpt2.decode_bytes(ids) == text.encode(), f"{name}, text {number}"
        total += size
    assert total >= GOAL


def broken() -> Iterator[bytes]:
    stream = Stream(0).split("broken")
    parts = [
        b"hello",
        b" ",
        b"  ",
        b"\n",
        b"\n\n ",
        b"\t",
        b"\r\n",
        b"'s",
        b"12",
        b".",
        b"\xff",
        b"\xc3",
        b"\xe2\x82",
        b"\xf0\x9f\x98",
    ]
    parts += [b"\xed\xa0\x80", b"\xc0\x80", b"\x80", *(text.encode() for text in "é中😀\u3000\u2003\x85")]
    for _ in range(30_000):
        yield b"".join(parts[i] for i in stream.integers(len(parts), size=int(stream.integers(1, 14))))
    for _ in range(10_000):
        yield stream.integers(256, size=int(stream.integers(1, 60))).astype(np.uint8).tobytes()
    play = shakespeare().documents[0].content
    for start in stream.integers(len(play) - 3000, size=200).tolist():
        cut = bytearray(play[start : start + 2000])
        cut[int(stream.integers(2000))] = 0xFF
        yield bytes(cut)
    yield stream.integers(256, size=300_000).astype(np.uint8).tobytes()
    yield b"\xff" * 100_000


def test_bytes_that_are_not_utf8_get_tiktokens_ids(gpt2: BytePairTokenizer, peer: tiktoken.Encoding) -> None:
    for data in broken():
        ids = gpt2.encode_ordinary(data)
        assert ids.tolist() == peer._encode_bytes(data), data[:200]
        assert gpt2.decode_bytes(ids) == data
        assert gpt2.decode(ids) == peer.decode(ids.tolist())


def test_special_tokens_are_tiktokens(gpt2: BytePairTokenizer, peer: tiktoken.Encoding) -> None:
    text = f"a  {END}{END} b<|endof|>\n{END}"
    assert gpt2.encode(text, "all").tolist() == peer.encode(text, allowed_special="all")
    assert gpt2.encode_ordinary(text).tolist() == peer.encode_ordinary(text)
    for encode in (gpt2.encode, peer.encode):
        with pytest.raises(ValueError, match="special token"):
            encode(text)


def seconds(task: Callable[[], object]) -> float:
    """Processor time, which other programs do not disturb."""
    start = time.process_time()
    task()
    return time.process_time() - start


def test_long_words_loading_and_training_take_a_second_at_most(gpt2: BytePairTokenizer) -> None:
    for character in "a '=.1\n中\u0301":
        assert seconds(lambda text=character * 1_000_000: gpt2.encode(text)) < 3, repr(character)  # type: ignore[misc]
    spaces, marks = seconds(lambda: gpt2.encode(" " * 1_000_000)), seconds(lambda: gpt2.encode("\u0301" * 300_000))
    word = mixture("one word", [*"abcdefgh"], 1, 100_000)
    training = seconds(lambda: train([word], 512))
    assert spaces < 1 and marks < 1 and training < 3
    assert seconds(lambda: BytePairTokenizer.from_ranks(load_ranks(str(RANKS)))) < 1
    # beside 5 MB of ordinary text, on any machine
    plays, fresh = shakespeare().text, BytePairTokenizer(gpt2.merges, ids=gpt2.ids)
    counts = count_words([plays])
    ordinary = seconds(lambda: fresh.encode(plays))
    assert spaces < ordinary and marks < ordinary / 2
    assert training < seconds(lambda: train(counts, 4096))


def test_long_words_of_all_kinds_have_tiktokens_ids(gpt2: BytePairTokenizer, peer: tiktoken.Encoding) -> None:
    marks = [chr(code) for code in range(0x300, 0x370)]
    alphabets = [
        marks,
        [*"abcdefghijklmnopqrstuvwxyz"],
        ["tion", "ing", "the"],
        [*"aeinrst"],
        [*"=-_*#"],
        CHINESE[:100],
        ["0", "00", "1"],
    ]
    for number, alphabet in enumerate(alphabets):
        for length in (40, 65, 100, 500, 513, 2000, 100_000):
            text = mixture(f"{number} {length}", alphabet, 3, length)
            assert gpt2.encode_ordinary(text).tolist() == peer.encode_ordinary(text), f"{alphabet[:5]}, {length}"


def test_ranks_of_another_pattern_are_refused() -> None:
    for pattern in (CL100K, O200K):
        model = tokenizers.Tokenizer(tokenizers.models.BPE())
        split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
        level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        model.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([split, level])
        alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
        model.train_from_iterator(
            [document.text for document in islice(python_code(), 50)],
            tokenizers.trainers.BpeTrainer(vocab_size=2000, initial_alphabet=alphabet, show_progress=False),
        )
        spelled = {LETTERS[symbol]: byte for symbol, byte in enumerate(BYTES)}
        found = {bytes(map(spelled.__getitem__, name)): id_ for name, id_ in model.get_vocab().items()}
        with pytest.raises(ValueError, match="ranks must be those of a vocabulary with GPT-2's pattern, got b"):
            BytePairTokenizer.from_ranks(found)


def test_the_classes_of_all_characters_are_tiktokens() -> None:
    single = {bytes([byte]): byte for byte in range(256)}
    for name, expression in (("LETTERS", r"\p{L}"), ("NUMBERS", r"\p{N}"), ("SPACES", r"\s")):
        probe = tiktoken.Encoding("probe", pat_str=expression, mergeable_ranks=single, special_tokens={})
        found = b"".join(bytes(probe.encode_ordinary("".join(EVERY[i : i + 5000]))) for i in range(0, len(EVERY), 5000)).decode()
        assert list(found) == letters(*ranges(getattr(unicode_table, name)))


def trained(texts: list[str], size: int, special: list[str]) -> Any:
    """A vocabulary trained by Hugging Face's trainer."""
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    model.train_from_iterator(texts, trainer)
    return model


@pytest.mark.parametrize("name", ["Shakespeare", "Python", "every character", "few words"])
def test_merges_are_those_of_hugging_face_and_so_are_ids_of_both_files(name: str, tmp_path: Path) -> None:
    corpora = {
        "Shakespeare": lambda: [document.text for document in shakespeare()],
        "Python": lambda: [document.text for document in islice(python_code(), 200)],
        "every character": lambda: ["".join(EVERY[:60_000]), mixture("few", [*"aaab \n"], 9, 30_000)],  # ties, and runs
        "few words": lambda: ["low low lowest newer newer wider aaaa aaaaa aaaaaaaa"],  # until no pair is left
    }
    texts = corpora[name]()
    theirs = trained(texts, 8193, [END])
    model = json.loads(theirs.to_str())["model"]
    first = len(model["vocab"]) - 256 - len(model["merges"])  # the special token
    ids = [(model["vocab"][left] - first, model["vocab"][right] - first) for left, right in model["merges"]]
    assert ids == list(train(texts, 8192))

    theirs.save(str(tmp_path / "theirs.json"))
    ours = load_tokenizer(tmp_path / "theirs.json")
    save_tokenizer(ours, tmp_path / "ours.json")
    back = tokenizers.Tokenizer.from_file(str(tmp_path / "ours.json"))
    assert ours.special_tokens == {END: 0}
    for text in [*texts, mixture("mixed", EVERY, 1, 50_000), f"a{END}  {END} b", "a" * 5000]:
        expected = theirs.encode(text).ids
        assert ours.encode(text, "all").tolist() == expected == back.encode(text).ids
        assert ours.decode(expected) == back.decode(expected, skip_special_tokens=False)


@pytest.mark.parametrize("digits", [False, True], ids=["plain", "digits"])
def test_a_vocabulary_without_all_bytes_has_the_ids_of_hugging_face(digits: bool, tmp_path: Path) -> None:
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    steps = [tokenizers.pre_tokenizers.Digits(individual_digits=True), level] if digits else [level]
    model.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(steps)
    model.decoder = tokenizers.decoders.ByteLevel()
    texts = [*(document.text for document in islice(shakespeare(), 3)), "in 1984, or 1,000 and ½ of 二〇"]
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=3000, special_tokens=[END], show_progress=False)
    model.train_from_iterator(texts, trainer)
    model.save(str(tmp_path / "theirs.json"))
    ours = load_tokenizer(tmp_path / "theirs.json")
    assert isinstance(ours, BytePairTokenizer) and ours.pattern == ("smollm" if digits else "gpt2") and min(ours.ids) == -1
    save_tokenizer(ours, tmp_path / "ours.json")
    back = tokenizers.Tokenizer.from_file(str(tmp_path / "ours.json"))
    for text in [
        *texts,
        mixture("mixed", EVERY, 1, 50_000),
        "".join(EVERY),
        mixture("digits", [*"0123456789 a.½二③"], 3, 50_000),
    ]:
        expected = model.encode(text).ids
        assert ours.encode(text, "all", errors="ignore").tolist() == expected == back.encode(text).ids
    for text in texts:
        assert ours.encode(text, "all").tolist() == model.encode(text).ids
    with pytest.raises(ValueError, match="encode: text must contain only characters of the vocabulary, got '中' at character 3"):
        ours.encode("ab 中")
    merges = train(texts, 512) if not digits else BytePairTokenizer.train(texts, 512, pattern="smollm").merges
    assert len(merges) == 256


def test_gpt2s_file_and_a_character_tokenizers_file_are_read_by_hugging_face(gpt2: BytePairTokenizer, tmp_path: Path) -> None:
    text = shakespeare().text[:1_000_000]
    for ours in (gpt2, CharacterTokenizer.of([text], [END])):
        save_tokenizer(ours, tmp_path / "tokenizer.json")
        theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
        assert theirs.encode(text + END).ids == ours.encode(text + END, "all").tolist()
        assert theirs.get_vocab_size() == ours.vocabulary_size
        assert theirs.decode(ours.encode(text).tolist()) == text
        assert load_tokenizer(tmp_path / "tokenizer.json").digest == ours.digest
