"""Byte pair encoding: a vocabulary made by repeatedly merging the most frequent pair of neighboring symbols.

A word starts as its bytes, one symbol each. The textbook example, a single word:

    aaabdaaabac  ->  ZabdZabac, Z = aa  ->  ZYdZYac, Y = ab  ->  XdXac, X = ZY

A text is encoded by the same merges in the same order. Sources: Gage, A New Algorithm for Data Compression (1994);
Sennrich, Haddow and Birch, Neural Machine Translation of Rare Words with Subword Units (2016), section 3.2; on bytes,
Radford et al. (2019), section 2.2. Words come from `unicode`; texts, ids and special tokens are in `bytepair_tokenizer`.
"""

import heapq
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice, pairwise

from samebits.core.arguments import integer
from samebits.text.unicode import words

__all__ = ["BYTES", "Merger", "count_words", "learn", "train"]

Pair = tuple[int, int]

# the bytes in GPT-2's order: those with a visible Latin-1 character first, then the others
_PRINTED = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
BYTES = bytes(_PRINTED + [byte for byte in range(256) if byte not in _PRINTED])
_SYMBOLS = bytes(BYTES.index(byte) for byte in range(256))

_SHORT = 64  # symbols: up to here the plain loop is faster
_NEVER = 2**63  # later than every merge


def count_words(texts: Iterable[str | bytes]) -> Counter[bytes]:
    """Count the words of texts, as bytes.

    Args:
        texts: The texts. Each is split into words separately, so no word crosses from one into the next. Bytes that are not
            UTF-8 count as characters that are neither letters, numbers nor white space.

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
        for piece in words(text if isinstance(text, str) else text.decode("utf-8", "surrogateescape")):
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
    """Words as symbols, how often each pair of neighbors occurs in them, and where."""

    def __init__(self, counts: Mapping[bytes, int]) -> None:
        self.words = [list(word.translate(_SYMBOLS)) for word in counts]
        self.counts = list(counts.values())
        self.totals: Counter[Pair] = Counter()
        self.where: dict[Pair, list[int]] = {}  # the words that have, or once had, the pair
        for index, symbols in enumerate(self.words):
            for pair in pairwise(symbols):
                self._add(pair, index)

    def _add(self, pair: Pair, index: int) -> None:
        self.totals[pair] += self.counts[index]
        places = self.where.setdefault(pair, [])
        if not places or places[-1] != index:
            places.append(index)

    def join(self, pair: Pair, made: int) -> dict[Pair, None]:
        """Merge a pair in all words, from left to right, into the symbol ``made``; return the new pairs."""
        new: dict[Pair, None] = {}
        for index in self.where.pop(pair):
            self.words[index] = self._joined(index, pair, made, new)
        del self.totals[pair]
        return new

    def _joined(self, index: int, pair: Pair, made: int, new: dict[Pair, None]) -> list[int]:
        left, right = pair
        symbols, count = self.words[index], self.counts[index]
        joined: list[int] = []
        position, last = 0, len(symbols) - 1
        while position <= last:
            symbol = symbols[position]
            if symbol != left or position == last or symbols[position + 1] != right:
                joined.append(symbol)
                position += 1
                continue
            if joined:
                self.totals[joined[-1], left] -= count
                self._add((joined[-1], made), index)
                new[joined[-1], made] = None
            position += 2
            if position <= last:
                self.totals[right, symbols[position]] -= count
                self._add((made, symbols[position]), index)
                new[made, symbols[position]] = None
            joined.append(made)
        return joined


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


class Merger:
    """Merges the bytes of a word, the earliest merge first and from left to right.

    Args:
        merges: Pairs of symbols, as `learn` yields them.

    Raises:
        TypeError: a merge is not a pair of ints.
        ValueError: a merge joins symbols that no earlier merge has made, or makes the bytes of an earlier symbol.

    Attributes:
        spellings: The bytes of every symbol.

    Example:
        >>> merger = Merger(train(["low lower lowest"], 260))
        >>> [merger.spellings[symbol] for symbol in merger(b" lower")]
        [b' lowe', b'r']
    """

    def __init__(self, merges: Iterable[Pair] = ()) -> None:
        self.spellings = [bytes([byte]) for byte in BYTES]
        self.merges: list[Pair] = []
        self._made: dict[Pair, int] = {}
        self._known = set(self.spellings)
        self._joinable = bytearray(65536)  # whether some token has this byte before that one
        for pair in merges:
            self.add(pair)

    def add(self, pair: Pair) -> None:
        """Add a merge after all others."""
        made = len(self.spellings)
        try:
            first, second = map(operator.index, pair)
        except (TypeError, ValueError):
            raise TypeError(f"Merger: merges[{made - 256}] must be a pair of ints, got {pair!r}") from None
        if not (0 <= first < made and 0 <= second < made):
            raise ValueError(f"Merger: merges[{made - 256}] must join symbols from 0 to {made - 1}, got {first} and {second}")
        left, right = self.spellings[first], self.spellings[second]
        if left + right in self._known:
            raise ValueError(f"Merger: merges[{made - 256}] must make a new symbol, got {left + right!r} again")
        self._known.add(left + right)
        self.spellings.append(left + right)
        self.merges.append((first, second))
        self._made[first, second] = made
        self._joinable[left[-1] << 8 | right[0]] = True

    def __call__(self, word: bytes) -> list[int]:
        """The symbols of a word."""
        if len(word) <= _SHORT:
            return self._join_few(list(word.translate(_SYMBOLS)))
        result: list[int] = []
        for part in self._parts(word):
            join = self._join_few if len(part) <= _SHORT else self._join_many
            result += join(list(part.translate(_SYMBOLS)))
        return result

    def _parts(self, word: bytes) -> Iterator[bytes]:
        """Cut a long word between bytes that no token has side by side: no merge crosses such a cut."""
        start = 0
        for end, (left, right) in enumerate(pairwise(word), 1):
            if not self._joinable[left << 8 | right]:
                yield word[start:end]
                start = end
        yield word[start:]

    def _join_few(self, symbols: list[int]) -> list[int]:
        """Merge the pair whose merge is the earliest, until no pair has a merge. Quadratic time."""
        made = self._made.get
        products = [made(pair, _NEVER) for pair in pairwise(symbols)]
        while products:
            first = min(products)
            if first == _NEVER:
                break
            at = products.index(first)
            symbols[at : at + 2] = [first]
            del products[at]
            if at:
                products[at - 1] = made((symbols[at - 1], first), _NEVER)
            if at < len(products):
                products[at] = made((first, symbols[at + 1]), _NEVER)
        return symbols

    def _join_many(self, symbols: list[int]) -> list[int]:
        """The same for long words: all places of one merge at a time, in a linked list. Time n log n at most.

        A merge joins only symbols of earlier merges, so applying it creates no place for an earlier one.
        """
        made, count = self._made.get, len(symbols)
        before, after = list(range(-1, count)), list(range(1, count + 1))
        symbols.append(-1)  # the end, which no merge joins
        places: dict[int, list[int]] = {}
        for place, pair in enumerate(pairwise(symbols)):
            if (product := made(pair)) is not None:
                places.setdefault(product, []).append(place)
        heap = list(places)
        heapq.heapify(heap)
        while heap:
            product = heapq.heappop(heap)
            left, right = self.merges[product - 256]
            for place in sorted(places.pop(product)):
                second = after[place]
                if symbols[place] != left or symbols[second] != right:
                    continue  # another merge has changed this place
                symbols[place], symbols[second] = product, -1
                following, previous = after[second], before[place]
                after[place], before[following] = following, place
                for at, pair in ((previous, (symbols[previous], product)), (place, (product, symbols[following]))):
                    if at >= 0 and (new := made(pair)) is not None:
                        if new not in places:
                            heapq.heappush(heap, new)
                            places[new] = []
                        places[new].append(at)
        return [symbol for symbol in symbols if symbol >= 0]
