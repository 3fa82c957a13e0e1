"""The key/value cache: keys and values of earlier tokens, so that the next token costs one step.

    k, v (B, G, T, D) of new tokens  ->  rounded to their grids  ->  appended to each sequence

The rounding of a key and a value depends on these alone (see `samebits.core.mixing`), so it is done once, when they are
appended. A step has the bits of attention over the whole sequence.
"""

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core import current, refuse_non_finite
from samebits.core.arguments import integer
from samebits.nn.arguments import integers

__all__ = ["CacheOverrunError", "KeyValueCache"]

Array = npt.NDArray[Any]
Lengths = npt.NDArray[np.int64]


class CacheOverrunError(ValueError):
    """More tokens than the capacity of a cache.

    Example:
        >>> cache = KeyValueCache(batch=1, heads=2, capacity=8, channels=4)
        >>> new = np.ones((1, 2, 9, 4), np.float32)
        >>> cache.append(new, new)
        Traceback (most recent call last):
            ...
        samebits.nn.cache.CacheOverrunError: KeyValueCache: capacity must be at least 9 for sequence 0, 0 tokens and 9 new ones, got 8
    """


class KeyValueCache:
    """The keys and values of one layer, of sequences of any lengths up to a fixed capacity.

    Args:
        batch: The number of sequences.
        heads: The number of key and value heads.
        capacity: The largest number of tokens of a sequence; it is fixed.
        channels: The length of a key and of a value.
        dtype: The dtype of keys and values.

    A cache belongs to the arithmetic it was created in. In exact arithmetic its numbers are float64, so its size is
    16 batch heads capacity channels bytes, twice that of fast arithmetic; in int16 arithmetic they are int16, a quarter of that.

    Example:
        >>> cache = KeyValueCache(batch=1, heads=2, capacity=8, channels=4)
        >>> new = np.ones((1, 2, 3, 4), np.float32)
        >>> cache.append(new, new)
        array([0])
        >>> cache.lengths
        array([3])
    """

    lengths: Lengths
    """The number of tokens of each sequence, (B,)."""

    def __init__(self, batch: int, heads: int, capacity: int, channels: int, dtype: npt.DTypeLike = np.float32) -> None:
        named = ("batch", batch), ("heads", heads), ("capacity", capacity), ("channels", channels)
        batch, heads, capacity, channels = (integer("KeyValueCache", name, value, least=1) for name, value in named)
        self._numerics = current()
        self._shape = batch, heads, channels
        self._dtype: np.dtype[Any] = np.dtype(dtype)
        self.capacity = capacity
        self.lengths = np.zeros(batch, np.int64)
        self._kept: Any = self._numerics.mixing.empty(batch, heads, capacity, channels, self._dtype)

    def append(self, k: Array, v: Array, counts: npt.ArrayLike | None = None) -> Lengths:
        """Append new tokens to each sequence.

        Args:
            k: Keys, (B, heads, T, channels).
            v: Values, likewise.
            counts: The number of the T tokens that count, from the first on, for each sequence (B,); the rest is padding.

        Returns:
            The lengths before, (B,): the positions of the first of the new tokens.

        Raises:
            CacheOverrunError: A sequence would be longer than the capacity. Nothing is changed.
            FloatingPointError: In exact arithmetic, an infinity or a NaN.
            RuntimeError: The active arithmetic is not that of the cache.
            ValueError: The shapes do not fit.
        """
        numerics = current().checked("KeyValueCache", k=k, v=v)
        if numerics is not self._numerics:
            raise RuntimeError(
                f"KeyValueCache: the active arithmetic must be {self._numerics.name}, as when it was created, got {numerics.name}"
            )
        batch, heads, channels = self._shape
        time = k.shape[2] if k.ndim == 4 else 0
        if k.shape != (batch, heads, time, channels) or v.shape != k.shape or k.dtype != self._dtype:
            raise ValueError(
                f"KeyValueCache: k and v must be {self._dtype} with shape ({batch}, {heads}, T, {channels}), "
                f"got {k.dtype} {k.shape} and {v.dtype} {v.shape}"
            )
        before = self.lengths
        after = before + (time if counts is None else _counted(counts, batch, time))
        if not after.any():
            raise ValueError("KeyValueCache: counts must not be all 0 in an empty cache")
        if after.max() > self.capacity:
            worst = int(after.argmax())
            raise CacheOverrunError(
                f"KeyValueCache: capacity must be at least {after[worst]} for sequence {worst}, "
                f"{before[worst]} tokens and {after[worst] - before[worst]} new ones, got {self.capacity}"
            )
        try:
            numerics.mixing.append(self._kept, k, v, before, after)
        except FloatingPointError:
            refuse_non_finite("KeyValueCache", k=k, v=v)
        self.lengths = after
        return before

    def take(self, rows: Sequence[int]) -> None:
        """Replace the sequences with copies of these, of which some may be there more than once.

        Example:
            >>> cache = KeyValueCache(batch=1, heads=2, capacity=8, channels=4)
            >>> _ = cache.append(np.ones((1, 2, 3, 4), np.float32), np.ones((1, 2, 3, 4), np.float32))
            >>> cache.take([0, 0])
            >>> cache.lengths
            array([3, 3])
        """
        batch, (_, heads, channels) = len(rows), self._shape
        kept = self._numerics.mixing.empty(batch, heads, self.capacity, channels, self._dtype)
        for new, old in zip(kept.arrays, self._kept.arrays, strict=True):
            new[...] = old[list(rows)]
        self._kept, self._shape, self.lengths = kept, (batch, heads, channels), self.lengths[list(rows)]

    def rows(self, sequences: slice) -> "KeyValueCache":
        """A cache of some of the sequences, in the memory of this one. Its lengths are its own.

        Example:
            >>> cache, new = KeyValueCache(batch=3, heads=2, capacity=8, channels=4), np.ones((1, 2, 3, 4), np.float32)
            >>> one = cache.rows(slice(1, 2))
            >>> _ = one.append(new, new)
            >>> one.lengths, cache.lengths, float(cache.context().keys[1, 0, 2, 3])
            (array([3]), array([0, 0, 0]), 1.0)
        """
        view, lengths = copy(self), self.lengths[sequences].copy()
        vars(view).update(_kept=self._kept[sequences], _shape=(len(lengths), *self._shape[1:]), lengths=lengths)
        return view

    def part(self, start: int, stop: int) -> list[Array]:
        """All that is kept of the tokens ``start`` to ``stop``, multiples of 16, of every sequence, to read or to write.

        What is kept of a token depends on it and on the tokens before it; in other memory, or in a cache with another capacity,
        it is the same. The lengths do not change.

        Returns:
            Views of memory, whose first axis are the sequences.

        Example:
            >>> cache = KeyValueCache(batch=1, heads=2, capacity=32, channels=4)
            >>> keys, values, *_ = cache.part(16, 32)
            >>> keys.shape, values.shape
            ((1, 2, 16, 4), (1, 2, 16, 4))
        """
        parts: list[Array] = self._kept.part(start, stop)
        return parts

    def context(self) -> Any:
        """The keys and values for `attend`, as the arithmetic keeps them; of each sequence ``lengths`` count."""
        return self._kept


def _counted(counts: npt.ArrayLike, batch: int, time: int) -> Lengths:
    array = integers("KeyValueCache", "counts", counts)
    if array.shape != (batch,) or (array < 0).any() or (array > time).any():
        raise ValueError(f"KeyValueCache: counts must be {batch} ints from 0 to {time}, got {array.tolist()}")
    return array
