"""Byte pair merging: the symbols of a word, by merges in a fixed order, in little time for words of any length.

    "low lower" with the merges  l o,  lo w,  e r   ->   low | " " low er

Short words are merged pair by pair. A long word is cut between bytes that no token has side by side; long parts are merged
with arrays, all places of one merge at a time. `bytepair` finds the merges.
"""

import heapq
import operator
from collections.abc import Iterable, Iterator
from itertools import pairwise

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

    Example:
        >>> from samebits.text.bytepair import train
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
        self._table: tuple[Int64, Int64] | None = None  # of all merges, sorted, and their numbers
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
        self._table = None

    def __call__(self, word: bytes) -> list[int]:
        """The symbols of a word."""
        if len(word) <= _WHOLE:
            return self._join_few(list(word.translate(SYMBOLS)))
        result: list[int] = []
        known: dict[bytes, list[int]] = {}  # most parts of a very long word are the same
        for part in self._parts(word):
            if part not in known:
                symbols = part.translate(SYMBOLS)
                known[part] = self._join_few(list(symbols)) if len(part) <= _SHORT else self._join_many(symbols)
            result += known[part]
        return result

    def _parts(self, word: bytes) -> Iterator[bytes]:
        """Cut a long word between bytes that no token has side by side: no merge crosses such a cut."""
        codes = np.frombuffer(word, np.uint8).astype(np.int64)
        joinable = np.frombuffer(self._joinable, np.bool_)[codes[:-1] << np.int64(8) | codes[1:]]
        cuts = [0, *(np.flatnonzero(~joinable) + 1).tolist(), len(word)]
        return (word[start:end] for start, end in pairwise(cuts))

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

    def _join_many(self, word: bytes) -> list[int]:
        """The same for long words: all places of one merge at a time, in a linked list. Time n log n at most.

        A merge joins only symbols of earlier merges, so applying it creates no place for an earlier one.
        """
        count = len(word)
        symbols = np.append(np.frombuffer(word, np.uint8).astype(np.int64), _GONE)
        before = np.arange(-1, count, dtype=np.int64)
        after = np.minimum(np.arange(1, count + 2, dtype=np.int64), count)
        waiting = self._places(symbols, after, np.arange(count, dtype=np.int64))
        heap = list(waiting)
        heapq.heapify(heap)
        while heap:
            product = heapq.heappop(heap)
            left, right = self.merges[product - 256]
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
            keys = np.array([left << 32 | right for left, right in self.merges] or [0], np.int64)
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
