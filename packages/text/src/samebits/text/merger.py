"""Byte pair merging: the symbols of a word, by merges in a fixed order, in little time for words of any length.

    "low lower" with the merges  l o,  lo w,  e r   ->   low | " " low er

Short words are merged pair by pair. A long word is cut between bytes that no token has side by side; long parts are merged
with arrays, all places of one merge at a time. `bytepair` finds the merges.
"""

import heapq
import operator
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Self

import numpy as np
import numpy.typing as npt

from samebits.text.bytepair import BYTES, SYMBOLS, Pair

__all__ = ["Merger"]

Int64 = npt.NDArray[np.int64]

_WHOLE = 64  # bytes: longer words are cut into parts first
_SHORT = 512  # bytes: up to here the plain loop is faster
_NEVER = 2**63  # later than every merge
_GONE = -1  # instead of a symbol, where it was merged into the one before, and after the last one


class Merger:
    """Merges the bytes of a word, the earliest merge first and from left to right.

    Args:
        merges: Pairs of symbols, as `bytepair.learn` yields them.

    Raises:
        TypeError: a merge is not a pair of ints.
        ValueError: a merge joins symbols that no earlier merge has made, or makes the bytes of an earlier symbol.

    Attributes:
        spellings: The bytes of every symbol.
        in_order: Whether each merge makes a new symbol of earlier ones.

    Example:
        >>> from samebits.text.bytepair import train
        >>> merger = Merger(train(["low lower lowest"], 260))
        >>> [merger.spellings[symbol] for symbol in merger(b" lower")]
        [b' lowe', b'r']
    """

    def __init__(self, merges: Iterable[Pair] = ()) -> None:
        self.spellings = [bytes([byte]) for byte in BYTES]
        self.in_order = True
        self._known = set(self.spellings)
        self._lefts: list[int] = []
        self._rights: list[int] = []
        self._products: list[int] = []
        self._made: dict[int, int] = {}  # the number of the merge of each pair, left << 32 | right
        self._table: tuple[Int64, Int64] | None = None  # of all merges, sorted, and their numbers
        self._joinable: npt.NDArray[np.bool_] | None = None  # whether some token has a byte before another one
        for pair in merges:
            self.add(pair)

    @classmethod
    def of(cls, spellings: list[bytes], lefts: list[int], rights: list[int], products: list[int]) -> Self:
        """The merger of a file's vocabulary, made all at once: it may have 280,000 merges.

        They may join symbols of later merges, and several may make the same symbol, as in a vocabulary made from ranks.

        Args:
            spellings: The bytes of every symbol, the 256 bytes first, in the order `BYTES`.
            lefts: The left symbol of each merge.
            rights: The right symbol of each merge.
            products: The symbol that each merge makes.

        Example:
            >>> from samebits.text.bytepair import BYTES, SYMBOLS
            >>> a, b = SYMBOLS[ord("a")], SYMBOLS[ord("b")]
            >>> merger = Merger.of([*(bytes([byte]) for byte in BYTES), b"aba", b"ab", b"ba"], [257, a, a, b], [a, 258, b, a], [256, 256, 257, 258])
            >>> [merger.spellings[symbol] for symbol in merger(b"ababa")]
            [b'aba', b'ba']
        """
        merger = cls()
        merger.spellings = spellings
        merger._lefts, merger._rights, merger._products = lefts, rights, products
        pairs = np.array(lefts, np.int64) << np.int64(32) | np.array(rights, np.int64)
        merger._made = dict(zip(pairs.tolist(), range(len(lefts)), strict=True))
        earlier = all(map(operator.lt, lefts, products)) and all(map(operator.lt, rights, products))
        merger.in_order = earlier and products == list(range(256, len(spellings)))
        return merger

    @property
    def merges(self) -> list[Pair]:
        """The pairs of symbols."""
        return list(zip(self._lefts, self._rights, strict=True))

    def joins(self, symbols: set[int]) -> bool:
        """Whether a merge joins one of these symbols."""
        return not (symbols.isdisjoint(self._lefts) and symbols.isdisjoint(self._rights))

    def add(self, pair: Pair) -> None:
        """Add a merge after all others, and the symbol that it makes."""
        number, made = len(self._lefts), len(self.spellings)
        try:
            left, right = map(operator.index, pair)
        except (TypeError, ValueError):
            raise TypeError(f"Merger: merges[{number}] must be a pair of ints, got {pair!r}") from None
        if not (0 <= left < made and 0 <= right < made):
            raise ValueError(f"Merger: merges[{number}] must join symbols from 0 to {made - 1}, got {left} and {right}")
        spelling = self.spellings[left] + self.spellings[right]
        if spelling in self._known:
            raise ValueError(f"Merger: merges[{number}] must make a new symbol, got {spelling!r} again")
        self._known.add(spelling)
        self.spellings.append(spelling)
        self._made[left << 32 | right] = number
        self._lefts.append(left)
        self._rights.append(right)
        self._products.append(made)
        self._table = self._joinable = None

    def __call__(self, word: bytes) -> list[int]:
        """The symbols of a word."""
        if len(word) <= _WHOLE:
            return self._join_few(list(word.translate(SYMBOLS)))
        result: list[int] = []
        known: dict[bytes, list[int]] = {}  # most parts of a very long word are the same
        for part in self._parts(word):
            if part not in known:
                symbols = list(part.translate(SYMBOLS))
                join = self._join_few if len(part) <= _SHORT else self._join_many if self.in_order else self._join_in_turn
                known[part] = join(symbols)
            result += known[part]
        return result

    def _parts(self, word: bytes) -> Iterator[bytes]:
        """Cut a long word between bytes that no token has side by side: no merge crosses such a cut."""
        if self._joinable is None:
            self._joinable = np.zeros(65536, np.bool_)
            pairs = zip(self._lefts, self._rights, strict=True)
            ends = [self.spellings[left][-1] << 8 | self.spellings[right][0] for left, right in pairs]
            self._joinable[np.array(ends, np.int64)] = True
        codes = np.frombuffer(word, np.uint8).astype(np.int64)
        joinable = self._joinable[codes[:-1] << np.int64(8) | codes[1:]]
        cuts = [0, *(np.flatnonzero(~joinable) + 1).tolist(), len(word)]
        return (word[start:end] for start, end in pairwise(cuts))

    def _join_few(self, symbols: list[int]) -> list[int]:
        """Merge the pair whose merge is the earliest, until no pair has a merge. Quadratic time."""
        made = self._made.get
        merges = [made(left << 32 | right, _NEVER) for left, right in pairwise(symbols)]
        while merges:
            first = min(merges)
            if first == _NEVER:
                break
            at, product = merges.index(first), self._products[first]
            symbols[at : at + 2] = [product]
            del merges[at]
            if at:
                merges[at - 1] = made(symbols[at - 1] << 32 | product, _NEVER)
            if at < len(merges):
                merges[at] = made(product << 32 | symbols[at + 1], _NEVER)
        return symbols

    def _join_in_turn(self, symbols: list[int]) -> list[int]:
        """The same for long words: one place after the other, in a linked list. Time n log n."""
        count = len(symbols)
        symbols, before, after = [*symbols, _GONE], list(range(-1, count)), list(range(1, count + 2))

        def merge_at(place: int) -> int:
            left, right = symbols[place], symbols[after[place]]
            return self._made.get(left << 32 | right, _NEVER) if _GONE not in {left, right} else _NEVER

        heap = [(merge, place) for place in range(count - 1) if (merge := merge_at(place)) != _NEVER]
        heapq.heapify(heap)
        while heap:
            merge, place = heapq.heappop(heap)
            if merge_at(place) != merge:
                continue  # another merge has changed this place
            second = after[place]
            symbols[place], symbols[second] = self._products[merge], _GONE
            after[place], before[after[second]] = after[second], place
            for left in (before[place], place):
                if left >= 0 and (later := merge_at(left)) != _NEVER:
                    heapq.heappush(heap, (later, left))
        return [symbol for symbol in symbols if symbol != _GONE]

    def _join_many(self, word: list[int]) -> list[int]:
        """The same for merges in order: all places of one merge at a time. Time n log n at most.

        A merge joins only symbols of earlier merges, so applying it creates no place for an earlier one.
        """
        count = len(word)
        symbols = np.array([*word, _GONE], np.int64)
        before = np.arange(-1, count, dtype=np.int64)
        after = np.minimum(np.arange(1, count + 2, dtype=np.int64), count)
        waiting = self._places(symbols, after, np.arange(count, dtype=np.int64))
        heap = list(waiting)
        heapq.heapify(heap)
        while heap:
            product = heapq.heappop(heap)
            left, right = self._lefts[product - 256], self._rights[product - 256]
            places = waiting.pop(product)
            seconds = after[places]
            fits = (symbols[places] == left) & (symbols[seconds] == right)  # not changed by another merge
            places, seconds = places[fits], seconds[fits]
            if left == right:
                first = _alternating(places, seconds)
                places, seconds = places[first], seconds[first]
            following = after[seconds]
            symbols[places], symbols[seconds] = product, _GONE
            after[places], before[following] = following, places
            new = self._places(symbols, after, np.unique(np.concatenate([before[places], places])))
            waiting |= new
            for later in new:
                heapq.heappush(heap, later)
        left_over: list[int] = symbols[symbols != _GONE].tolist()
        return left_over

    def _places(self, symbols: Int64, after: Int64, places: Int64) -> dict[int, Int64]:
        """Those of the places, in order, whose symbol has a merge with the next one, by the symbol that it makes."""
        if self._table is None:
            keys = np.array(list(self._made) or [0], np.int64)
            order = np.argsort(keys, kind="stable")
            self._table = keys[order], order.astype(np.int64)
        keys, order = self._table
        wanted = symbols[places] << np.int64(32) | symbols[after[places]]
        found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        has = keys[found] == wanted
        places, made = places[has], order[found[has]]
        by_product = np.argsort(made, kind="stable")
        places, made = places[by_product], made[by_product]
        starts = np.flatnonzero(np.append(True, made[1:] != made[:-1])) if made.size else made
        ends = [*starts[1:].tolist(), made.size]
        return {int(made[start]) + 256: places[start:end] for start, end in zip(starts.tolist(), ends, strict=False)}


def _alternating(places: Int64, seconds: Int64) -> npt.NDArray[np.bool_]:
    """Which places of pairs of the same symbol are merged where they overlap: from left to right, every other one."""
    number = np.arange(len(places), dtype=np.int64)
    follows = np.append(False, places[1:] == seconds[:-1])[: len(places)]
    start = np.maximum.accumulate(np.where(follows, np.int64(0), number))
    chosen: npt.NDArray[np.bool_] = (number - start) % 2 == 0
    return chosen
