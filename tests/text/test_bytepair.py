"""Byte pair encoding compared with a naive implementation."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samebits.text import merger
from samebits.text.bytepair import BYTES, Pair, count_words, learn, train
from samebits.text.merger import Merger

pytestmark = pytest.mark.once

FEW_BYTES = st.lists(st.sampled_from(b"aab "), max_size=90).map(bytes)
COUNTS = st.dictionaries(st.lists(st.sampled_from(b"abc"), max_size=9).map(bytes), st.integers(0, 9), max_size=9)
RHYME = "Betty bought some butter, but the butter was bitter, so Betty bought better butter to make the bitter butter better."


def naive_join(symbols: list[int], pair: Pair, made: int) -> list[int]:
    joined: list[int] = []
    at = 0
    while at < len(symbols):
        same = tuple(symbols[at : at + 2]) == pair
        joined.append(made if same else symbols[at])
        at += 2 if same else 1
    return joined


def naive_learn(counts: dict[bytes, int]) -> list[Pair]:
    """Count all pairs again for every merge."""
    words = [([BYTES.index(byte) for byte in word], count) for word, count in counts.items()]
    merges: list[Pair] = []
    while True:
        totals: Counter[Pair] = Counter()
        for word, count in words:
            for pair in pairwise(word):
                totals[pair] += count
        best = min(totals, key=lambda pair: (-totals[pair], pair), default=None)
        if best is None or not totals[best]:
            return merges
        merges.append(best)
        words = [(naive_join(word, best, 255 + len(merges)), count) for word, count in words]


def naive_encode(word: bytes, merges: list[Pair] | tuple[Pair, ...]) -> list[int]:
    """Apply every merge in order."""
    symbols = [BYTES.index(byte) for byte in word]
    for made, pair in enumerate(merges, 256):
        symbols = naive_join(symbols, pair, made)
    return symbols


def test_the_textbook_example() -> None:
    merges = train({b"aaabdaaabac": 1}, 259)
    merger = Merger(merges)
    assert merger.spellings[256:] == [b"aa", b"ab", b"aaab"]  # Z, Y, X
    assert [merger.spellings[symbol] for symbol in merger(b"aaabdaaabac")] == [b"aaab", b"d", b"aaab", b"a", b"c"]


def test_the_bytes_have_gpt2s_order() -> None:
    assert sorted(BYTES) == list(range(256))
    assert BYTES.startswith(b'!"#$') and BYTES[94] == 0xA1 and BYTES[188:191] == b"\0\x01\x02" and BYTES[-1] == 0xAD


@given(COUNTS)
@settings(max_examples=50)
def test_merges_are_those_of_naive_counting_in_any_order_of_the_words(counts: dict[bytes, int]) -> None:
    assert list(learn(counts)) == naive_learn(dict(reversed(counts.items())))


def test_ties_go_to_the_smallest_pair() -> None:
    assert train({b"ba": 1, b"ab": 1, b"aa": 1}, 258) == ((64, 64), (64, 65))


def test_a_smaller_vocabulary_is_a_prefix_of_a_larger_one() -> None:
    assert train([RHYME], 270) == train([RHYME], 300)[:14]


def test_training_ends_where_no_pair_is_left() -> None:
    calls: list[tuple[int, int]] = []
    merges = train(["abc abc"], 10000, lambda found, wanted: calls.append((found, wanted)))
    assert len(merges) == 3 and calls == [(3, 9744)]
    assert train([], 300) == train([""], 300) == train(["a"], 300) == ()


def test_progress_is_reported_and_can_stop_the_training() -> None:
    calls: list[int] = []
    train([RHYME, "".join(map(chr, range(200, 600)))], 556, lambda *numbers: calls.append(numbers[0]))
    assert calls == [100, 200, 300]

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train([RHYME], 260, stop)


def test_words_are_counted_as_bytes_and_never_across_texts() -> None:
    assert count_words(["é a", "b", "b"]) == {b"\xc3\xa9": 1, b" a": 1, b"b": 2}
    assert count_words([b"a\xff\xfeb \xffb"]) == {b"a": 1, b"\xff\xfe": 1, b"b": 2, b" \xff": 1}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((["a"], 255), ValueError, "train: size must be at least 256, got 255"),
        (("abc", 300), TypeError, "count_words: texts must be an iterable of texts such as .text., got a single str"),
        (([3], 300), TypeError, r"count_words: texts\[0\] must be str or bytes, got int"),
        (({b"ab": 1, b"a": -1}, 300), ValueError, r"learn: counts\[b'a'\] must not be negative, got -1"),
    ],
)
def test_invalid_training_data_is_refused(arguments: tuple[object, int], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        train(*arguments)  # type: ignore[arg-type]


@given(COUNTS, FEW_BYTES, st.integers(0, 64))
@settings(max_examples=50)
def test_merging_is_that_of_applying_every_merge_in_order(counts: dict[bytes, int], word: bytes, short: int) -> None:
    merges = list(learn(counts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merger, "_WHOLE", 0)
        patch.setattr(merger, "_SHORT", short)
        assert Merger(merges)(word) == naive_encode(word, merges)


@pytest.mark.parametrize("length", [1, 2, 3, 63, 64, 65, 100, 1001])
def test_long_runs_are_merged_too(length: int) -> None:
    merges = [(64, 64), *((256 + n, 256 + n) for n in range(7))]
    assert Merger(merges)(b"a" * length) == naive_encode(b"a" * length, merges)


def test_a_run_of_a_hundred_thousand_is_merged_in_linear_time() -> None:
    symbols = Merger([(64, 64), *((256 + n, 256 + n) for n in range(16))])(b"a" * 100_001)
    assert symbols == [271, 270, 265, 264, 262, 260, 64]  # 100,001 in binary
    assert len(train({b"a" * 10_001: 1}, 10_000)) == 13 + 5  # 6 symbols are left after 13 doublings


@pytest.mark.parametrize(
    ("merges", "message"),
    [
        ([(64, 257)], r"Merger: merges\[0\] must join symbols from 0 to 255, got 64 and 257"),
        ([(64, 64), (-1, 3)], r"Merger: merges\[1\] must join symbols from 0 to 256, got -1 and 3"),
        ([(64, 64), (64, 64)], r"Merger: merges\[1\] must make a new symbol, got b'aa' again"),
        ([(64, 64), (256, 64), (64, 256)], r"merges\[2\] must make a new symbol, got b'aaa' again"),
    ],
)
def test_invalid_merges_are_refused(merges: list[Pair], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Merger(merges)
