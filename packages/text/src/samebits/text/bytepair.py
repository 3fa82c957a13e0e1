"""Byte pair encoding: a vocabulary made by repeatedly merging the most frequent pair of neighboring symbols.

A word starts as its bytes, one symbol each. The textbook example, a single word:

    aaabdaaabac  ->  ZabdZabac, Z = aa  ->  ZYdZYac, Y = ab  ->  XdXac, X = ZY

A text is encoded by the same merges in the same order, by `merger`. Sources: Gage, A New Algorithm for Data Compression (1994);
Sennrich, Haddow and Birch, Neural Machine Translation of Rare Words with Subword Units (2016), section 3.2; on bytes,
Radford et al. (2019), section 2.2. Words come from `unicode`; texts, ids and special tokens are in `bytepair_tokenizer`.
"""

import heapq
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice, pairwise

from samebits.core.arguments import integer
from samebits.text.unicode import words

__all__ = ["BYTES", "LETTERS", "SYMBOLS", "count_words", "learn", "train"]

Pair = tuple[int, int]

_PRINTED = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
BYTES = bytes(_PRINTED + [byte for byte in range(256) if byte not in _PRINTED])
"""The byte of each symbol below 256, in GPT-2's order: those with a visible Latin-1 character first, then the others."""

LETTERS = "".join(map(chr, [*BYTES[:188], *range(0x100, 0x100 + 68)]))
"""The letter of each symbol below 256, with which files spell tokens: the visible character, or one from U+0100 on."""

SYMBOLS = bytes(BYTES.index(byte) for byte in range(256))
"""The symbol of each byte, for ``bytes.translate``."""

_END = -1  # in place of a symbol, after the last one


def count_words(texts: Iterable[str | bytes], *, pattern: str = "gpt2") -> Counter[bytes]:
    """Count the words of texts, as bytes.

    Args:
        texts: The texts. Each is split into words separately, so no word crosses from one into the next. Bytes that are not
            UTF-8 count as characters that are neither letters, numbers nor white space.
        pattern: What splits texts into words, see `samebits.text.unicode.words`.

    Raises:
        TypeError: ``texts`` is a single text, or has something that is neither str nor bytes.

    Example:
        >>> count_words(["to be or not to be"])
        Counter({b' be': 2, b'to': 1, b' or': 1, b' not': 1, b' to': 1})
    """
    if isinstance(texts, str | bytes):
        raise TypeError(f"count_words: texts must be an iterable of texts such as [text], got a single {type(texts).__name__}")
    counts: Counter[str] = Counter()
    for number, text in enumerate(texts):
        if not isinstance(text, str | bytes):
            raise TypeError(f"count_words: texts[{number}] must be str or bytes, got {type(text).__name__}")
        decoded = text if isinstance(text, str) else text.decode("utf-8", "surrogateescape")
        for piece in words(decoded, pattern):
            counts.update(piece)
    return Counter({word.encode("utf-8", "surrogateescape"): count for word, count in counts.items()})


def learn(counts: Mapping[bytes, int]) -> Iterator[Pair]:
    """Find the merges of words with these counts, one after the other, until no pair is left.

    Symbols 0 to 255 are the bytes in the order `BYTES`; merge number n makes symbol 256 + n. Each merge is the pair that
    occurs most often, overlapping occurrences counted. **Ties go to the smallest pair**: the one with the oldest left
    symbol, then with the oldest right symbol. The order of the words does not matter.

    The merges of a smaller vocabulary are a prefix of those of a larger one.

    Args:
        counts: How often each word occurs.

    Yields:
        Pairs of symbols.

    Raises:
        ValueError: a count is negative.

    Example:
        >>> names = {symbol: chr(byte) for symbol, byte in enumerate(BYTES)}
        >>> for symbol, (left, right) in zip(range(256, 259), learn({b"aaabdaaabac": 1})):
        ...     names[symbol] = names[left] + names[right]
        ...     print(names[symbol])
        aa
        ab
        aaab
    """
    if min(counts.values(), default=0) < 0:
        word = next(word for word, count in counts.items() if count < 0)
        raise ValueError(f"learn: counts[{word!r}] must not be negative, got {counts[word]}")
    state = _Pairs(counts)
    heap = [(-total, pair) for pair, total in state.totals.items()]
    heapq.heapify(heap)
    made = 256
    while heap:
        negative, pair = heapq.heappop(heap)
        total = state.totals[pair]
        if total != -negative:  # rarer than when it was pushed; only new pairs become more frequent
            heapq.heappush(heap, (-total, pair))
        elif total > 0:
            yield pair
            for new in state.join(pair, made):
                heapq.heappush(heap, (-state.totals[new], new))
            made += 1


class _Pairs:
    """All words as one linked list of symbols, how often each pair of neighbors occurs in them, and where."""

    def __init__(self, counts: Mapping[bytes, int]) -> None:
        self.totals: Counter[Pair] = Counter()
        self.places: dict[Pair, array[int]] = {}  # where the pair is, or once was, in order
        self.symbols = array("q")  # each word ends with _END; a symbol that was merged into the one before becomes _END too
        self.counts: list[int] = []  # of the word that has the symbol
        for word, count in counts.items():
            symbols = word.translate(SYMBOLS)
            for place, pair in enumerate(pairwise(symbols), len(self.symbols)):
                self._add(pair, place, count)
            self.symbols.extend(symbols)
            self.symbols.append(_END)
            self.counts += [count] * (len(word) + 1)
        self.before = array("q", range(-1, len(self.symbols)))
        self.after = array("q", range(1, len(self.symbols) + 1))

    def _add(self, pair: Pair, place: int, count: int) -> None:
        self.totals[pair] += count
        if pair not in self.places:
            self.places[pair] = array("q")
        self.places[pair].append(place)

    def join(self, pair: Pair, made: int) -> set[Pair]:
        """Merge a pair everywhere, from left to right, into the symbol ``made``; return the new pairs."""
        (left, right), new = pair, set()
        symbols, before, after, totals = self.symbols, self.before, self.after, self.totals
        for place in self.places.pop(pair):
            second = after[place]
            if symbols[place] != left or symbols[second] != right:
                continue  # another merge has changed this place
            count, previous, following = self.counts[place], before[place], after[second]
            symbols[place], symbols[second] = made, _END
            after[place], before[following] = following, place
            if (symbol := symbols[previous]) != _END:
                totals[symbol, left] -= count
                self._add((symbol, made), previous, count)
                new.add((symbol, made))
            if (symbol := symbols[following]) != _END:
                totals[right, symbol] -= count
                self._add((made, symbol), place, count)
                new.add((made, symbol))
        del totals[pair]
        return new


def train(
    texts: Iterable[str | bytes] | Mapping[bytes, int], size: int, progress: Callable[[int, int], object] | None = None
) -> tuple[Pair, ...]:
    """Learn the merges of a vocabulary of ``size`` tokens without special tokens: 256 bytes and ``size - 256`` merges.

    Args:
        texts: Texts, whose words are counted, or a mapping from words to their counts.
        size: The number of tokens, at least 256.
        progress: Called with the number of merges found and wanted, after every hundred and at the end. An exception from
            it ends the training.

    Returns:
        The merges as `learn` yields them: fewer than wanted if no pair is left.

    Raises:
        TypeError: ``size`` is not an int, or ``texts`` is a single text.
        ValueError: ``size`` is below 256.

    Example:
        >>> len(train(["low lower lowest"], 260))
        4
    """
    wanted = integer("train", "size", size, 256) - 256
    counts = texts if isinstance(texts, Mapping) else count_words(texts)
    merges: list[Pair] = []
    for pair in islice(learn(counts), wanted):
        merges.append(pair)
        if progress and len(merges) % 100 == 0 and len(merges) < wanted:
            progress(len(merges), wanted)
    if progress:
        progress(len(merges), wanted)
    return tuple(merges)
