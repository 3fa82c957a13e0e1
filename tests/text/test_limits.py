"""Both sides of every documented limit: what is just inside is accepted, what is just outside is refused by name."""

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.limits import Limit, check_both_sides, check_frozen

from samebits.core import Stream
from samebits.text import (
    Batches,
    BytePairTokenizer,
    ByteTokenizer,
    CharacterTokenizer,
    Corpus,
    Document,
    Tokenizer,
    Tokens,
    bytepair,
    evaluation_windows,
    load_tokenizer,
    save_tokenizer,
    sources,
    write_tokens,
)
from samebits.text.file_kinds import is_utf_16
from samebits.text.merger import Merger

pytestmark = pytest.mark.once

ALPHABET = CharacterTokenizer("abc")
CORPUS = Corpus("letters", (Document("a", b"0123456789"),))


def batches(**options: Any) -> Batches:
    return Batches(np.arange(10), **{"batch": 1, "time": 1, "stream": Stream(0), **options})


def written(ids: list[int], size: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        tokens = write_tokens(Path(folder, "tokens"), ids, vocabulary_size=size)
        itemsize = int(tokens.ids.itemsize)
        del tokens  # Windows cannot remove the file while it is mapped
    return itemsize


def read(largest: int) -> Corpus:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.txt").write_bytes(b"12345")
        return sources.read(Path(folder, "a.txt"), largest=largest)


LIMITS: dict[str, Limit] = {
    "BytePairTokenizer.train: vocabulary_size": (lambda v: BytePairTokenizer.train(["ab"], v), [256, 257], [255]),
    "train: vocabulary_size must be at least 258": (lambda v: BytePairTokenizer.train(["ab"], v, ["<a>", "<b>"]), [258], [257]),
    "train: size": (lambda v: bytepair.train(["ab"], v), [256], [255]),
    "learn: counts": (lambda v: list(bytepair.learn({b"ab": v})), [0, 1], [-1]),
    r"Merger: merges\[0\] must join": (lambda v: Merger([(v, 0)]), [0, 255], [-1, 256]),
    r"Merger: merges\[1\] must join": (lambda v: Merger([(0, 1), (0, v)]), [2, 256], [-1, 257]),
    "decode: ids": (lambda v: ALPHABET.decode([v]), [0, 2], [-1, 3]),
    "decode_bytes: ids": (lambda v: ALPHABET.decode_bytes([v]), [0, 2], [-1, 3]),
    "decode_stream: ids": (lambda v: list(ALPHABET.decode_stream([v])), [0, 2], [-1, 3]),
    "CharacterTokenizer: ids": (lambda v: CharacterTokenizer("abc", {"<e>": v}), [3], [-1, 2, 4]),
    "write_tokens: vocabulary_size": (lambda v: written([], v), [1, 2**32], [0, 2**32 + 1]),
    "write_tokens: tokens": (lambda v: written([v], 5), [0, 4], [-1, 5]),
    "split: validation": (lambda v: CORPUS.split(v, by="position"), [0.1, math.nextafter(1, 0)], [0.0, 1.0, -0.1, math.nan]),
    "split: both parts": (lambda v: CORPUS.split(v, by="position"), [0.1], [0.09]),
    "read: (largest|path)": (read, [5], [4, -1]),
    "Batches: batch": (lambda v: batches(batch=v), [1, 100], [0, -1]),
    "Batches: (time|tokens)": (lambda v: batches(time=v), [1, 9], [0, 10]),
    "Batches: step": (lambda v: batches(step=v), [0, 2**62], [-1]),
    "batch: step": (lambda v: batches().batch(v), [0, 10**9], [-1]),
    "evaluation_windows: time": (lambda v: list(evaluation_windows([1, 2, 3], time=v, batch=1)), [1, 5], [0]),
    "evaluation_windows: batch": (lambda v: list(evaluation_windows([1, 2, 3], time=1, batch=v)), [1, 5], [0]),
    "evaluation_windows: tokens": (lambda v: list(evaluation_windows([0] * v, time=1, batch=1)), [2], [1, 0]),
}


@pytest.mark.parametrize("name", LIMITS)
def test_the_inside_of_a_limit_is_accepted_and_the_outside_is_refused_by_name(name: str) -> None:
    check_both_sides(LIMITS[name], name)


def test_ids_take_two_bytes_up_to_65536_tokens_and_four_beyond() -> None:
    assert [written([0, 65535], 65536), written([0, 65536], 65537)] == [2, 4]


def test_a_vocabulary_may_have_one_token_or_none(tmp_path: Path) -> None:
    one = CharacterTokenizer("a")
    assert (one.vocabulary_size, one.encode("aaa").tolist(), one.decode([0, 0])) == (1, [0, 0, 0], "aa")
    assert (CharacterTokenizer("").vocabulary_size, CharacterTokenizer("").encode("").tolist()) == (0, [])
    assert CharacterTokenizer("", ["<e>"]).encode("<e>", "all").tolist() == [0]
    for number, tokenizer in enumerate((one, CharacterTokenizer("", ["<e>"]), ByteTokenizer(), BytePairTokenizer([(0, 1)]))):
        save_tokenizer(tokenizer, tmp_path / f"{number}.json")
        assert load_tokenizer(tmp_path / f"{number}.json").digest == tokenizer.digest
        assert ("merges" in (tmp_path / f"{number}.json").read_text("utf-8")) is not isinstance(tokenizer, CharacterTokenizer)


def test_the_longest_window_is_one_token_shorter_than_the_text() -> None:
    inputs, targets = batches(time=9).batch(0)
    assert (inputs.tolist(), targets.tolist()) == ([[*range(9)]], [[*range(1, 10)]])


@pytest.mark.parametrize("kind", [Corpus, Document, Tokens])
def test_an_object_that_others_may_hold_cannot_be_changed(kind: type) -> None:
    check_frozen(kind)


def test_a_tokenizer_must_say_how_it_encodes() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Tokenizer({0: b"a"})  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (b"a\0b\0", True),
        (b"a\0", False),  # one NUL byte may be anything
        (b"a\0" * 3 + b"bb", True),  # three quarters of every second byte
        (b"a\0" * 3 + b"bb" * 2, False),
        (b"a\0" * 19 + b"\0\0", True),  # at most one in twenty of the other bytes
        (b"a\0" * 18 + b"\0\0", False),
        (b"\0a" * 4, True),
        (b"plain text " * 20 + b"a\0a\0", False),
    ],
)
def test_text_is_utf_16_with_a_nul_byte_in_nearly_every_second_place(start: bytes, expected: bool) -> None:
    assert is_utf_16(start) is expected
