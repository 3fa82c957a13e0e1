"""The key/value cache: what attention keeps of the tokens it has read, so that the next one is a step and no new start.

    k, v (B, G, T, D) of new tokens  ->  rounded as products take them  ->  their places after those of each sequence

How a key and a value are rounded is a matter of these alone (`attention` says how), so it is done once, when they come in:
a step is one product with what lies here, with the bits of attention over the whole text.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core import Numerics, current
from samebits.core.grid import grid_vectors, refuse_non_finite
from samebits.core.linalg import RIGHT_BITS
from samebits.nn.parts import floating

__all__ = ["CacheOverrunError", "Context", "KeyValueCache", "context"]

Array = npt.NDArray[Any]
Lengths = npt.NDArray[np.int64]

_VALUE = np.array(1.5 * 2.0**28)  # adding and subtracting it rounds to multiples of 2^-24
_SMALLEST = np.array(-150)  # the exponent of a value of zeros


@dataclass(frozen=True, eq=False)
class Context:
    """Keys and values as products take them, in the working dtype: (B, G, S, D), sizes and peaks (B, G, S).

    In exact arithmetic keys are on their grids, values are u of v = 2^e u on multiples of 2^-24, ``sizes`` is 2^e and
    ``peaks`` the largest e so far. All of it fits float32 without rounding, but for peaks. In fast arithmetic keys and
    values are what they are, and there is no more.
    """

    keys: Array
    values: Array
    sizes: Array | None = None
    peaks: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.keys.shape

    def __getitem__(self, index: Any) -> "Context":
        if self.sizes is None or self.peaks is None:
            return Context(self.keys[index], self.values[index])
        return Context(self.keys[index], self.values[index], self.sizes[index], self.peaks[index])


def context(numerics: Numerics, k: Array, v: Array) -> Context:
    """The context of k and v (B, G, S, D). FloatingPointError, without words, if one is not finite in exact arithmetic."""
    if numerics.name != "exact":
        return Context(k, v)
    top = np.maximum(np.maximum.reduce(v, axis=-1, initial=0), -np.minimum.reduce(v, axis=-1, initial=0)).astype(np.float64)
    if not np.isfinite(top).all():
        raise FloatingPointError
    exponents = np.maximum((top.view(np.int64) >> np.int64(52)) - np.int64(1022), _SMALLEST)  # |v| < 2^e
    values = v * _power_of_two(-exponents)[..., None]
    values += _VALUE
    values -= _VALUE
    keys = grid_vectors(k.reshape(k.shape[0] * k.shape[1], *k.shape[2:]), -1, RIGHT_BITS).reshape(k.shape)
    return Context(keys, values, _power_of_two(exponents), np.maximum.accumulate(exponents, axis=-1))


def _power_of_two(exponents: npt.NDArray[np.int64]) -> Array:
    return ((exponents + np.int64(1023)) << np.int64(52)).view(np.float64)


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
        if min(batch, heads, capacity, channels) < 1:
            raise ValueError(
                f"KeyValueCache: batch, heads, capacity and channels are {(batch, heads, capacity, channels)}: all must be at least 1"
            )
        self._numerics = current()
        self._shape = batch, heads, channels
        self._dtype: np.dtype[Any] = np.dtype(dtype)
        self.capacity = capacity
        self.lengths = np.zeros(batch, np.int64)
        places = batch, heads, capacity
        working = self._numerics.working(dtype)
        keys, values = np.zeros((*places, channels), working), np.zeros((*places, channels), working)
        exact = self._numerics.name == "exact"
        self._kept = Context(keys, values, np.zeros(places), np.zeros(places, np.int64)) if exact else Context(keys, values)

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
        numerics = floating("KeyValueCache", k=k, v=v)
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
            new = context(numerics, k, v)
        except FloatingPointError:
            refuse_non_finite("KeyValueCache", k=k, v=v)
        if (before == before[0]).all() and (after == after[0]).all():
            self._write(slice(None), int(before[0]), int(after[0]), new)
        else:
            for i in range(batch):
                self._write(slice(i, i + 1), int(before[i]), int(after[i]), new[i : i + 1])
        self.lengths = after
        return before

    def _write(self, sequences: slice, start: int, stop: int, new: Context) -> None:
        for kept, given in (
            (self._kept.keys, new.keys),
            (self._kept.values, new.values),
            (self._kept.sizes, new.sizes),
            (self._kept.peaks, new.peaks),
        ):
            if kept is not None and given is not None:
                kept[sequences, :, start:stop] = given[:, :, : stop - start]
        peaks = self._kept.peaks
        if peaks is not None and start:
            part = peaks[sequences, :, start:stop]
            np.maximum(part, peaks[sequences, :, start - 1 : start], out=part)

    def context(self) -> Context:
        """What attention takes: all places up to the longest sequence's end."""
        return self._kept[:, :, : int(self.lengths.max())]


def _counted(counts: npt.ArrayLike, batch: int, time: int) -> Lengths:
    array = np.asarray(counts)
    if array.shape != (batch,) or array.dtype.kind not in "iu" or (array < 0).any() or (array > time).any():
        raise ValueError(
            f"KeyValueCache: counts is {array.tolist()}: {batch} whole numbers from 0 to {time} are needed, one a sequence"
        )
    return array.astype(np.int64)
