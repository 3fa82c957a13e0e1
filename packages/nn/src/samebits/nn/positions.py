"""Positional encodings: the order of tokens, on which attention alone does not depend.

    LearnedPositions       x + a learned row for each position                       (GPT-2)
    SinusoidalPositions    x + sines and cosines of the position                     (Vaswani et al., 2017, section 3.5)
    Rotary                 queries and keys rotated by an angle proportional to it   (Su et al., 2021, section 3.2.2)

All angles are position * base^(-2i / channels) for pairs i of channels. Their tables are float64, computed by the kernels of
core, and grow with the longest sequence so far; a row depends on its position alone. A model that was trained on longer texts later
rotates by less: `Rotary` takes a factor for each pair, such as those of `llama3_factors`.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.autograd import Tensor, kernel, ops
from samebits.core import Stream, compiled, current, exponential, logarithm, row_blocks, store, trigonometry
from samebits.core.arguments import integer
from samebits.core.random import require_stream
from samebits.nn.arguments import integers, number_within
from samebits.nn.initializer import Initializer, initialized, normal
from samebits.nn.module import Module

__all__ = ["LearnedPositions", "Rotary", "SinusoidalPositions", "llama3_factors", "rotate"]

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]
Offset = npt.ArrayLike


def frequencies(channels: int, base: float) -> Float64:
    """The angles between neighbors, base^(-2i / channels), (channels / 2,)."""
    logarithm.log(np.array([base]), exponent := np.empty(1))
    powers = np.arange(0, channels, 2, dtype=np.int64) * (-exponent / channels)
    exponential.exp(powers, found := np.empty_like(powers))
    return found


def llama3_factors(channels: int, base: float, *, factor: float, low: float, high: float, context: int) -> Float64:
    """The factors of frequencies with which Llama 3.1 reads longer texts than it was trained on at first.

    A pair of channels that turns less than ``low`` times in the first context is slowed down by ``factor``, one that turns more than
    ``high`` times is not, and the rest is interpolated (Grattafiori et al., 2024, The Llama 3 herd of models, section 3.4.2, and its code).

    Args:
        channels: The number of channels of a head, even.
        base: As in `Rotary`.
        factor: How many times longer the texts are.
        low: The number of turns up to which a pair is slowed down by the whole factor.
        high: The number of turns from which it is not slowed down; above ``low``.
        context: The length of the first texts in tokens.

    Returns:
        float64 (channels / 2,), from ``1 / factor`` to 1.

    Example:
        >>> llama3_factors(8, 10000.0, factor=8.0, low=1.0, high=4.0, context=1000)
        array([1.        , 1.        , 0.29753525, 0.125     ])
    """
    turns = frequencies(channels, base) * (context / (2 * math.pi))
    kept = np.clip((turns - low) / (high - low), 0, 1)
    factors: Float64 = (1 - kept) / factor + kept
    return factors


def sines(positions: int, channels: int, base: float, factors: Float64 | None = None) -> tuple[Array, Array]:
    """The cosines and sines of position * frequency, float64 (positions, channels / 2) each."""
    steps = frequencies(channels, base)
    if factors is not None:
        steps *= factors
    turns = (np.arange(positions, dtype=np.int64)[:, None] * steps).reshape(-1)
    trigonometry.cos(turns, cosine := np.empty_like(turns))
    trigonometry.sin(turns, sine := np.empty_like(turns))
    return cosine.reshape(positions, channels // 2), sine.reshape(positions, channels // 2)


class LearnedPositions(Module):
    """Add a learned vector to each token: x + weight[position].

    Args:
        entries: The number of positions.
        channels: The length of a vector.
        stream: The weight is drawn from its sub-stream "weight".
        initialize: Draws the weight; by default from the standard normal distribution, as in PyTorch's embeddings.

    Example:
        >>> LearnedPositions(16, 4, stream=Stream(0))(Tensor(np.zeros((1, 3, 4), np.float32))).shape
        (1, 3, 4)
    """

    def __init__(
        self, entries: int, channels: int, *, stream: Stream | None = None, initialize: Initializer | None = None
    ) -> None:
        self.entries = integer("LearnedPositions", "entries", entries, least=1)
        self.channels = integer("LearnedPositions", "channels", channels, least=1)
        stream = require_stream("LearnedPositions", stream)
        self.weight = initialized(initialize or normal(), stream.split("weight"), (self.entries, self.channels))

    def __call__(self, x: Tensor, offset: Offset = 0) -> Tensor:
        """Add the vectors of positions ``offset``, ``offset + 1``, ... to x (B, T, channels).

        ``offset`` is the position of the first token, of all sequences or of each (B,).

        Raises:
            ValueError: A position is not below ``entries``, or the shapes do not fit.
        """
        places = _places("LearnedPositions", x, self.channels, offset)
        if places.size and int(places.max()) >= self.entries:
            raise ValueError(f"LearnedPositions: positions must be below {self.entries}, got {int(places.max())}")
        if len(places) == 1:  # one slice, whose gradient is a sum over the batch
            start = int(places[0, 0]) if places.size else 0
            return x + self.weight[start : start + x.shape[1]]
        return x + ops.take(self.weight, places, 0)


class SinusoidalPositions(Module):
    """Add sin(position / base^(2i / channels)) to channel 2i and the cosine to channel 2i + 1; nothing is learned.

    Args:
        channels: The length of the last axis, even.
        base: The longest wavelength is below 2 pi times this; above 1.

    Example:
        >>> SinusoidalPositions(4)(Tensor(np.zeros((1, 2, 4), np.float32)))
        Tensor([[[0.        , 1.        , 0.        , 1.        ],
                 [0.84147096, 0.5403023 , 0.00999983, 0.99995   ]]])
    """

    def __init__(self, channels: int, *, base: float = 10000.0) -> None:
        self.channels, self.base = _checked("SinusoidalPositions", channels, base)
        self._table: Array = np.empty((0, self.channels))

    def __call__(self, x: Tensor, offset: Offset = 0) -> Tensor:
        """Add the encodings to x (B, T, channels); ``offset`` is the position of the first token, of all sequences or of each (B,)."""
        places = _places("SinusoidalPositions", x, self.channels, offset)
        needed = int(places.max(initial=-1)) + 1
        if needed > len(self._table):
            cosine, sine = sines(max(needed, 2 * len(self._table)), self.channels, self.base)
            self._table = np.stack([sine, cosine], axis=-1).reshape(-1, self.channels)
        return x + self._table[places].astype(x.dtype)


class Rotary(Module):
    """Rotate queries and keys, so that their products depend on the distance of their positions.

    Channels i and i + channels / 2 are rotated as a point in a plane, by position * base^(-2i / channels): the order of
    Llama's weights.

    Args:
        channels: The number of channels of a head, even.
        base: The longest wavelength is below 2 pi times this; above 1.
        factors: A factor of each angle, (channels / 2,), above 0; by default 1.

    Example:
        >>> Rotary(2)(Tensor([[[[1.0, 0.0], [1.0, 0.0]]]]))
        Tensor([[[[1.        , 0.        ],
                  [0.5403023 , 0.84147096]]]])
    """

    def __init__(self, channels: int, *, base: float = 10000.0, factors: npt.ArrayLike | None = None) -> None:
        self.channels, self.base = _checked("Rotary", channels, base)
        self._factors = None if factors is None else np.array(factors, np.float64)
        if self._factors is not None:
            wanted = (self.channels // 2,)
            if self._factors.shape != wanted or not ((self._factors > 0) & (self._factors < math.inf)).all():
                raise ValueError(f"Rotary: factors must be {wanted[0]} finite numbers above 0, got {factors!r}")
        self._tables: dict[np.dtype[Any], tuple[Array, Array]] = {}

    def __call__(self, x: Tensor, offset: Offset = 0) -> Tensor:
        """Rotate x (B, H, T, channels); ``offset`` is the position of the first token, of all sequences or of each (B,)."""
        if x.ndim != 4 or x.shape[3] != self.channels:
            raise ValueError(f"Rotary: x must have shape (B, H, T, {self.channels}), got {x.shape}")
        starts: list[int] = _starts("Rotary", offset, x.shape[0]).tolist()
        working = current().checked("Rotary", x=x.data).working(x.dtype)
        cosine, sine = self._grown(max(starts, default=0) + x.shape[2], working)
        return rotate(x, cosine, sine, starts)

    def _grown(self, positions: int, dtype: np.dtype[Any]) -> tuple[Array, Array]:
        """The tables, with at least so many positions."""
        known = self._tables.get(dtype)
        if known is None or len(known[0]) < positions:
            cosine, sine = sines(max(positions, 2 * len(known[0]) if known else 0), self.channels, self.base, self._factors)
            known = self._tables[dtype] = cosine.astype(dtype), sine.astype(dtype)
        return known


def _rotate_rule(g: Array, cosine: Array, sine: Array, starts: list[int]) -> tuple[Array]:
    return (_rotated(g, cosine, -sine, starts),)


@kernel(_rotate_rule)
def rotate(x: Any, cosine: Any, sine: Any, starts: list[int]) -> tuple[Array, tuple[Any, ...]]:
    """(a cos - b sin, b cos + a sin) for the halves a and b of the last axis of x (B, H, T, D).

    Tables (positions, D / 2) are of the working dtype; ``starts`` has the first row of each sequence, or one for all.
    ValueError if the shapes do not fit, or a position is not in the tables.
    """
    if x.ndim != 4 or x.shape[3] % 2 or not cosine.shape == sine.shape == (len(cosine), x.shape[3] // 2):
        raise ValueError(
            "rotate: x, cosine and sine must have shapes (B, H, T, D), (positions, D / 2) and (positions, D / 2), "
            f"got {x.shape}, {cosine.shape} and {sine.shape}"
        )
    fits = len(starts) in {1, len(x)} and min(starts, default=0) >= 0 and max(starts, default=0) + x.shape[2] <= len(cosine)
    if not fits:
        raise ValueError(
            f"rotate: starts must be one for all of {len(x)} sequences or one for each, each from 0 to "
            f"{len(cosine) - x.shape[2]}, got {starts}"
        )
    return _rotated(x, cosine, sine, starts), (cosine, sine, starts)


def _rotated(x: Array, cosine: Array, sine: Array, starts: list[int]) -> Array:
    out = np.empty_like(x)
    joined = x, out
    if not out.flags.c_contiguous:  # (B, T, H, D) in memory
        joined = x.swapaxes(1, 2), out.swapaxes(1, 2)
    heads = 1 if joined[0] is x else x.shape[1]  # of a position, one after the other
    sizes = np.array([x.shape[1] * x.shape[2], x.shape[2], heads, len(starts), *starts], np.int64)
    tables = [table[: max(starts, default=0) + x.shape[2]] for table in (cosine, sine)]
    compiled.call(_rotate, [joined[1]], [joined[0]], [*tables, sizes], (x.size // max(1, x.shape[3]), x.shape[3]))
    return out


@compiled.pair("rotate", "f f d d q")
def _rotate(out: Array, x: Array, cosine: Array, sine: Array, sizes: Array) -> None:
    """Rotate x (B, H, T, D), or (B, T, H, D).

    Sizes are H T, T, how many rows in memory follow each other with one position, the number of first positions, and these.
    """
    if sizes[2] > 1:
        out, x = out.swapaxes(1, 2), x.swapaxes(1, 2)
    starts: list[int] = sizes[4:].tolist()
    time, half = x.shape[2], x.shape[3] // 2
    blocks = [slice(i, i + 1) for i in range(len(x))] if len(starts) > 1 else row_blocks(len(x), x[:1].size)
    with np.errstate(all="ignore"):
        for part in blocks:
            a, b = x[part, ..., :half], x[part, ..., half:]
            start = starts[part.start if len(starts) > 1 else 0]
            c, s = cosine[start : start + time], sine[start : start + time]
            turned = a * c
            turned -= b * s
            store(turned, out[part, ..., :half])
            np.multiply(b, c, out=turned)
            turned += a * s
            store(turned, out[part, ..., half:])


def _checked(layer: str, channels: int, base: float) -> tuple[int, float]:
    channels = integer(layer, "channels", channels, least=2)
    if channels % 2:
        raise ValueError(f"{layer}: channels must be even, got {channels}")
    return channels, number_within(layer, "base", base, above=1)


def _starts(layer: str, offset: Offset, batch: int) -> npt.NDArray[np.int64]:
    """The position of the first token, (1,) or (B,)."""
    starts = integers(layer, "offset", offset)
    if starts.shape not in {(), (1,), (batch,)}:
        raise ValueError(f"{layer}: offset must be an int, or one for each of {batch} sequences, got shape {starts.shape}")
    if (starts < 0).any():
        raise ValueError(f"{layer}: offset must not be negative, got {starts.tolist()}")
    return starts.reshape(-1)


def _places(layer: str, x: Tensor, channels: int, offset: Offset) -> npt.NDArray[np.int64]:
    """The position of each token: (1, T), or (B, T) if the sequences have offsets of their own."""
    if x.ndim != 3 or x.shape[2] != channels:
        raise ValueError(f"{layer}: x must have shape (B, T, {channels}), got {x.shape}")
    return _starts(layer, offset, x.shape[0])[:, None] + np.arange(x.shape[1], dtype=np.int64)
