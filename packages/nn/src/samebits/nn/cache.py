"""The key/value cache: what attention keeps of the tokens it has read, so that the next one is a step and no new start.

    k, v (B, G, T, D) of new tokens  ->  rounded as products take them  ->  their places after those of each sequence

How a key and a value are rounded is a matter of these alone (`attention` says how), so it is done once, when they come in:
a step is one product with what lies here, with the bits of attention over the whole text.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core import Context, current, refuse_non_finite
from samebits.core.arguments import integer
from samebits.nn.arguments import integers

__all__ = ["CacheOverrunError", "KeyValueCache"]

Array = npt.NDArray[Any]
Lengths = npt.NDArray[np.int64]


class CacheOverrunError(ValueError):
    """More tokens than a cache has room for."""


class KeyValueCache:
    """The keys and values of one layer, of sequences of any lengths up to a fixed capacity.

    Args:
        batch: The number of sequences.
        heads: The number of key and value heads.
        capacity: How many tokens of each sequence there is room for; it does not grow.
        channels: The length of a key and of a value.
        dtype: That of the keys and values to come.

    It belongs to the arithmetic it was made in. In exact arithmetic the numbers are kept as float64, so it takes
    16 batch heads capacity channels bytes, twice as much as in fast.

    Example:
        >>> cache = KeyValueCache(batch=1, heads=2, capacity=8, channels=4)
        >>> new = np.ones((1, 2, 3, 4), np.float32)
        >>> cache.append(new, new)
        array([0])
        >>> cache.lengths
        array([3])
    """

    lengths: Lengths
    """How many tokens of each sequence are here, (B,)."""

    def __init__(self, batch: int, heads: int, capacity: int, channels: int, dtype: npt.DTypeLike = np.float32) -> None:
        named = ("batch", batch), ("heads", heads), ("capacity", capacity), ("channels", channels)
        batch, heads, capacity, channels = (integer("KeyValueCache", name, value, least=1) for name, value in named)
        self._numerics = current()
        self._shape = batch, heads, channels
        self._dtype: np.dtype[Any] = np.dtype(dtype)
        self.capacity = capacity
        self.lengths = np.zeros(batch, np.int64)
        token = np.zeros((batch, heads, 1, channels), self._dtype)
        self._kept = self._numerics.mixing.context(token, token).zeros(capacity)

    def append(self, k: Array, v: Array, counts: npt.ArrayLike | None = None) -> Lengths:
        """Put new tokens behind those of each sequence.

        Args:
            k: Keys, (B, heads, T, channels).
            v: Values, likewise.
            counts: How many of the T tokens count, from the first on, for each sequence (B,); the rest is padding.

        Returns:
            The lengths before, (B,): the places of the first of the new tokens.

        Raises:
            CacheOverrunError: A sequence would be longer than the capacity. Nothing is changed.
            FloatingPointError: In exact arithmetic, an infinity or a NaN.
            RuntimeError: The arithmetic is not the one that the cache was made in.
            ValueError: The shapes do not fit.
        """
        numerics = current().checked("KeyValueCache", k=k, v=v)
        if numerics is not self._numerics:
            raise RuntimeError(f"KeyValueCache: made in {self._numerics.name} arithmetic and used in {numerics.name}")
        batch, heads, channels = self._shape
        time = k.shape[2] if k.ndim == 4 else 0
        if k.shape != (batch, heads, time, channels) or v.shape != k.shape or k.dtype != self._dtype:
            raise ValueError(
                f"KeyValueCache: k is {k.dtype} {k.shape} and v {v.shape}: {self._dtype} ({batch}, {heads}, T, {channels}) is needed"
            )
        before = self.lengths
        after = before + (time if counts is None else _counted(counts, batch, time))
        if not after.any():
            raise ValueError("KeyValueCache: no sequence has a token yet, and none was given")
        if after.max() > self.capacity:
            worst = int(after.argmax())
            raise CacheOverrunError(
                f"KeyValueCache: {after[worst] - before[worst]} tokens after {before[worst]} of sequence {worst} "
                f"are more than the capacity of {self.capacity}"
            )
        try:
            new = numerics.mixing.context(k, v)
        except FloatingPointError:
            refuse_non_finite("KeyValueCache", k=k, v=v)
        if (before == before[0]).all() and (after == after[0]).all():
            self._kept.write(slice(None), int(before[0]), int(after[0]), new)
        else:
            for i in range(batch):
                self._kept.write(slice(i, i + 1), int(before[i]), int(after[i]), new[i : i + 1])
        self.lengths = after
        return before

    def context(self) -> Context:
        """What attention takes: all places up to the longest sequence's end."""
        return self._kept[:, :, : int(self.lengths.max())]


def _counted(counts: npt.ArrayLike, batch: int, time: int) -> Lengths:
    array = integers("KeyValueCache", "counts", counts)
    if array.shape != (batch,) or (array < 0).any() or (array > time).any():
        raise ValueError(f"KeyValueCache: counts must be {batch} ints from 0 to {time}, got {array.tolist()}")
    return array
