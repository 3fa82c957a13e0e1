"""Random numbers with the same bits everywhere, from explicit streams.

A `Stream` draws raw 64-bit words from PCG64, seeded through SeedSequence: NumPy guarantees both (NEP 19). It makes numbers
of them in our own arithmetic, because NumPy's distributions may change with its version and with the C library.

    words -> uniform (shift), integers (multiply-high), normal (Box-Muller on our log, sin and cos), permutation (stable sort)

Streams are split by name, ``stream.split("dropout")``. A child depends on the seed and the names of its splits alone, so
neither drawing from the parent nor adding another child changes its numbers. There is no global stream.
"""

import hashlib
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core import compiled, logarithm, trigonometry
from samebits.core.arguments import finite, integer, number, shape_tuple
from samebits.core.blocks import narrow, row_blocks
from samebits.core.compiled import pair

__all__ = ["Stream", "require_stream"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Size = int | tuple[int, ...]

_LAST64 = 2**64 - 1
_LOW = np.array(0xFFFFFFFF, np.uint64)
_32 = np.array(32, np.uint64)
_40 = np.array(40, np.uint64)
_11 = np.array(11, np.uint64)
_UNIT24 = np.array(2.0**-24)
_UNIT53 = np.array(2.0**-53)
_MINUS_TWO = np.array(-2.0)
_TURN = np.array(2 * math.pi)


class Stream:
    """A stream of random words, and the numbers made from them.

    The methods have the names and the arguments of ``numpy.random.Generator``, except that parameters of a distribution
    follow ``size`` and are given by name. ``size`` is an int or a tuple of ints; by default, ``()``, the result is a NumPy
    scalar. Every method raises TypeError for a ``size`` or a parameter of another type, and ValueError for a negative size.

    Args:
        seed: An int from 0 to 2^64 - 1.

    Raises:
        TypeError: ``seed`` is not an int.
        ValueError: ``seed`` is out of range.

    Example:
        >>> stream = Stream(1)
        >>> stream.integers(10, size=5).tolist()
        [5, 9, 1, 9, 3]
        >>> stream.split("weights").normal((2, 3), std=0.02).shape
        (2, 3)
        >>> stream.split("weights")
        Stream(1).split('weights')
    """

    def __init__(self, seed: int) -> None:
        self._begin(integer("Stream", "seed", seed, 0, 2**64 - 1), (), ())

    def _begin(self, seed: int, path: tuple[int, ...], names: tuple[str | int | None, ...]) -> None:
        self._seed, self._path, self._names = seed, path, names
        self._words = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=path))  # noqa: TID251 - NEP 19 keeps raw words stable

    def split(self, name: str | int) -> "Stream":
        """Return the child stream of that name, at its beginning.

        It is independent of this stream and of its other children. Splitting does not advance this stream, and what was
        drawn from it before does not change the child.

        Args:
            name: A str, or an int from 0 to 2^64 - 1 (of a layer, a worker, a step). ``1`` and ``"1"`` differ.

        Raises:
            TypeError: ``name`` is neither.
            ValueError: ``name`` is an int out of range.

        Example:
            >>> Stream(1).split("layer").split(3).integers(100, size=3).tolist()
            [70, 6, 52]
        """
        if isinstance(name, str):
            key = hashlib.sha256(name.encode()).digest()[:16]
            words = tuple(int.from_bytes(key[i : i + 4], "little") for i in range(0, 16, 4))
        elif isinstance(name, bool) or not isinstance(name, int | np.integer):
            raise TypeError(f"split: name must be a str or an int, got {name!r}")
        else:
            name = integer("split", "name", name, 0, 2**64 - 1)
            words = name & 0xFFFFFFFF, name >> 32
        child = object.__new__(Stream)
        path = *self._path, len(words), *words  # the length keeps numbers and texts apart
        child._begin(self._seed, path, (*self._names, name))
        return child

    @property
    def state(self) -> dict[str, Any]:
        """The position of the stream, as a JSON object; `from_state` continues from there.

        Example:
            >>> stream = Stream(1)
            >>> state = stream.state
            >>> bool(stream.uniform() == Stream.from_state(state).uniform())
            True
        """
        state: Any = self._words.state
        position = {name: hex(state["state"][name]) for name in ("state", "inc")}
        return {"seed": self._seed, "path": list(self._path), **position}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Stream":
        """Return a stream at the position ``state``.

        Raises:
            ValueError: ``state`` is not what `Stream.state` returns.

        Example:
            >>> Stream.from_state(Stream(1).split(3).state)
            Stream(1).split(3)
        """
        stream = object.__new__(cls)
        try:
            path = tuple(map(operator.index, state["path"]))
            stream._begin(operator.index(state["seed"]), path, _names(path))
            position: Any = {name: int(state[name], 16) for name in ("state", "inc")}
            own = position["inc"] == stream._words.state["state"]["inc"]
            stream._words.state = {"bit_generator": "PCG64", "state": position, "has_uint32": 0, "uinteger": 0}
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"from_state: state must be what Stream.state returns, got {state!r}: {error!r}") from error
        if not own:
            raise ValueError(f"from_state: the inc of state must be that of its seed and path, got {state!r}")
        return stream

    def __repr__(self) -> str:
        splits = "".join(f".split({'...' if name is None else repr(name)})" for name in self._names)
        return f"Stream({self._seed}){splits}"

    def words(self, count: int) -> Words:
        """Return the next ``count`` raw words, uint64 ``(count,)``.

        Example:
            >>> Stream(1).split("weights").words(1).tolist()
            [572286470111272217]
        """
        return self._words.random_raw(integer("words", "count", count, least=0))

    def _fill(self, function: Callable[..., object], out: npt.NDArray[Any], numbers: npt.NDArray[Any]) -> None:
        """Fill ``out`` by ``function(out, words, numbers)``, with a word for each element.

        The compiled version is given the position of the stream instead, and makes the words itself.
        """
        length = math.prod(out.shape[1:])
        if compiled.run(function, [out], [], [self._position(), numbers], work=(len(out), length)):
            self._words.advance(out.size)
            return
        for part in row_blocks(len(out), length):  # a word is eight bytes, so not all at once
            block = out[part]
            function(block, self.words(block.size).reshape(block.shape), numbers)

    def _position(self) -> Words:
        """The state of PCG64 and its increment, their upper and lower halves."""
        found: Any = self._words.state
        state, increment = found["state"]["state"], found["state"]["inc"]
        return np.array([state >> 64, state & _LAST64, increment >> 64, increment & _LAST64], np.uint64)

    def uniform(self, size: Size = (), *, low: float = 0.0, high: float = 1.0) -> Float32:
        """Return uniform numbers from ``low`` (included) to ``high`` (excluded), float32 of shape ``size``.

        Each is ``low + (high - low) u``, computed in float64 and rounded once; ``u`` is the top 24 bits of a word.

        Raises:
            ValueError: ``low`` is not below ``high``, or one is not finite in float32.

        Example:
            >>> Stream(1).uniform(3, low=-1)
            array([ 0.02364314,  0.9009273 , -0.7116809 ], dtype=float32)
        """
        low, high = _interval("uniform", low, high)
        shape, count = _shape("uniform", size)
        result = np.empty(count, np.float32)
        with np.errstate(all="ignore"):
            below = np.nextafter(np.float32(high), np.float32(low))  # rounding could reach high
        self._fill(_uniform, result, np.array([high - low, low, below]))
        return result.reshape(shape)[()]

    def normal(self, size: Size = (), *, mean: float = 0.0, std: float = 1.0) -> Float32:
        """Return normally distributed numbers, float32 of shape ``size``.

        Two words make two numbers (Box and Muller, 1958, doi:10.1214/aoms/1177706645), in float64 with one rounding:
        ``sqrt(-2 log u) cos(2 pi v)`` and ``sqrt(-2 log u) sin(2 pi v)``. The tails end at 8.6 standard deviations.
        Results beyond the range of float32 are infinite.

        Raises:
            ValueError: ``std`` is negative, or a parameter is not finite in float32.

        Example:
            >>> Stream(1).normal(3)
            array([ 1.1017834 , -0.35444555,  1.8666066 ], dtype=float32)
        """
        mean, std = finite("normal", "mean", mean), finite("normal", "std", std)
        if std < 0:
            raise ValueError(f"normal: std must not be negative, got {std}")
        shape, count = _shape("normal", size)
        result = np.empty(((count + 1) // 2, 2), np.float32)
        self._fill(_normal, result, np.array([std, mean]))
        return result.reshape(-1)[:count].reshape(shape)[()]

    def truncated_normal(
        self, size: Size = (), *, mean: float = 0.0, std: float = 1.0, low: float = -2.0, high: float = 2.0
    ) -> Float32:
        """Return normally distributed numbers from ``low`` to ``high``, float32 of shape ``size``.

        Numbers outside are drawn again. ``low`` and ``high`` are values, not multiples of ``std``.

        Raises:
            ValueError: ``low`` is not below ``high``, ``std`` is not positive, or fewer than about 1 in 100 draws would fall
                between ``low`` and ``high``.

        Example:
            >>> bool(abs(Stream(1).truncated_normal(1000)).max() <= 2)
            True
        """
        low, high = _interval("truncated_normal", low, high)
        mean, std = finite("truncated_normal", "mean", mean), finite("truncated_normal", "std", std)
        if std <= 0:
            raise ValueError(f"truncated_normal: std must be positive, got {std}")
        shape, count = _shape("truncated_normal", size)
        kept, drawn, pieces = 0, 0, []
        while kept < count:
            draw = self.normal(count - kept + 64, mean=mean, std=std)
            inside = draw[(draw >= low) & (draw <= high)]
            pieces.append(inside)
            kept, drawn = kept + inside.size, drawn + draw.size
            if drawn > 6400 and kept * 100 < drawn:
                raise ValueError(
                    "truncated_normal: at least 1 in 100 draws must fall between low and high, "
                    f"got low={low}, high={high}, mean={mean}, std={std}"
                )
        return np.concatenate([np.empty(0, np.float32), *pieces])[:count].reshape(shape)[()]

    def integers(self, low: int, high: int | None = None, size: Size = ()) -> Int64:
        """Return integers from ``low`` (included) to ``high`` (excluded), or from 0 to ``low``, int64 of shape ``size``.

        Each is the upper 64 bits of ``word * (high - low)``, plus ``low`` (Lemire, 2019, doi:10.1145/3230636, without the
        rejection). The probability of a value is off by less than ``(high - low) / 2^64`` of itself.

        Raises:
            ValueError: the range is empty or does not fit int64.

        Example:
            >>> Stream(1).integers(10, size=5).tolist()
            [5, 9, 1, 9, 3]
        """
        low = integer("integers", "low", low)
        low, high = (0, low) if high is None else (low, integer("integers", "high", high))
        if not -(2**63) <= low < high <= 2**63:
            raise ValueError(f"integers: low must be below high, both within int64, got low={low} and high={high}")
        shape, count = _shape("integers", size)
        if high - low == 2**64:
            return (self.words(count) + np.array(low % 2**64, np.uint64)).view(np.int64).reshape(shape)[()]
        result = np.empty(count, np.int64)
        self._fill(_integers, result, np.array([high - low, low % 2**64], np.uint64))
        return result.reshape(shape)[()]

    def permutation(self, x: int | npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the integers from 0 to ``x - 1`` (int64), or a copy of the array ``x`` with its rows, in random order.

        The order is that of a stable sort of one word for each row.

        Raises:
            ValueError: ``x`` is negative, or an array without axes.

        Example:
            >>> Stream(1).permutation(5).tolist()
            [2, 4, 0, 3, 1]
        """
        if isinstance(x, np.ndarray):
            if not x.ndim:
                raise ValueError("permutation: x must be an int or an array with at least one axis, got shape ()")
            return x.take(self.permutation(len(x)), axis=0)
        count = integer("permutation", "x", x, least=0)
        bits = max(1, count.bit_length() - 1)  # the compiled version sorts by them first
        order, memory = np.empty(count, np.int64), np.empty(count + (1 << bits), np.uint64)
        if compiled.run(_order, [order, memory], [], [self._position(), compiled.integers(bits)], work=(1, count)):
            self._words.advance(count)
        else:
            _order(order, self.words(count))
        return order

    def choice(
        self, x: int | npt.NDArray[Any], size: Size = (), *, replace: bool = True, p: npt.ArrayLike | None = None
    ) -> npt.NDArray[Any]:
        """Return random elements of the 1-D array ``x``, or of the integers below ``x``, of shape ``size``.

        Args:
            x: An array (N,), or N.
            size: The shape of the result.
            replace: Whether an element may be chosen more than once.
            p: A weight for each element, (N,), in float64; None for equal ones. Unlike in NumPy they need not sum to 1.

        Raises:
            ValueError: ``x`` is empty or has several axes; ``size`` is above N with ``replace=False``; ``p`` has another
                shape, is negative, not finite or all zero, or is given with ``replace=False``.

        Example:
            >>> Stream(1).choice(3, 10, p=[0, 1, 9]).tolist()
            [2, 2, 2, 2, 2, 2, 2, 2, 2, 1]
        """
        if isinstance(x, np.ndarray) and x.ndim != 1:
            raise ValueError(f"choice: x must be an int or a 1-D array, got shape {x.shape}")
        count = len(x) if isinstance(x, np.ndarray) else integer("choice", "x", x, least=0)
        shape, wanted = _shape("choice", size)
        if count == 0 and wanted:
            raise ValueError("choice: x must have at least one element to choose, got 0")
        if p is not None:
            if not replace:
                raise ValueError("choice: replace must be True where p is given, got False")
            ids = self._weighted(np.asarray(p, np.float64), count, wanted)
        elif replace:
            ids = self.integers(count, size=wanted) if wanted else np.empty(0, np.int64)
        elif wanted > count:
            raise ValueError(f"choice: size must be at most {count} elements without replacement, got {size}")
        else:
            ids = self.permutation(count)[:wanted]
        chosen = x.take(ids, axis=0) if isinstance(x, np.ndarray) else ids
        return chosen.reshape(shape)[()]

    def _weighted(self, weights: Float64, count: int, wanted: int) -> Int64:
        if weights.shape != (count,):
            raise ValueError(f"choice: p must have shape ({count},), a weight for each element, got {weights.shape}")
        ends, found = np.empty(count), np.empty(2, np.int64)
        compiled.call(_ends, [ends, found], [weights], [], (1, count))
        bad, last = found.tolist()
        if bad >= 0:
            raise ValueError(f"choice: p[{bad}] must be finite and not negative, got {weights[bad]}")
        if not 0 < ends[-1] < math.inf:
            raise ValueError(f"choice: the sum of p must be positive and finite, got {ends[-1]}")
        points = (self.words(wanted) >> _11) * _UNIT53 * ends[-1]
        ids: Int64 = np.searchsorted(ends, points, side="right").astype(np.int64)
        capped: Int64 = np.minimum(ids, np.int64(last))  # rounding could reach the end
        return capped

    def bernoulli(self, p: float, size: Size = ()) -> npt.NDArray[np.bool_]:
        """Return bools of shape ``size``, each True with probability ``p``, rounded up to a multiple of 2^-53.

        Raises:
            ValueError: ``p`` is not from 0 to 1.

        Example:
            >>> Stream(1).bernoulli(0.5, 4).tolist()
            [False, False, True, False]
        """
        p = number("bernoulli", "p", p)
        if not 0 <= p <= 1:
            raise ValueError(f"bernoulli: p must be from 0 to 1, got {p}")
        shape, count = _shape("bernoulli", size)
        result = np.empty(count, np.bool_)
        self._fill(_bernoulli, result, np.array(math.ceil(p * 2.0**53), np.uint64))
        return result.reshape(shape)[()]


def require_stream(function: str, stream: object) -> Stream:
    """Return ``stream`` if it is a `Stream`.

    Raises:
        TypeError: ``stream`` is not a `Stream`, such as a seed or None.

    Example:
        >>> require_stream("Linear", 0)
        Traceback (most recent call last):
        TypeError: Linear: stream must be a Stream, got 0; write stream=Stream(0)
    """
    if isinstance(stream, Stream):
        return stream
    seed = stream if isinstance(stream, int | np.integer) and not isinstance(stream, bool) else 0
    raise TypeError(f"{function}: stream must be a Stream, got {stream!r}; write stream=Stream({seed})")


@pair("random_uniform", "f Q d")
def _uniform(out: Float32, words: Words, numbers: Float64) -> None:
    """low + (high - low) u, where u is the top 24 bits of a word, at most ``below``: numbers are high - low, low and below."""
    size, low, below = numbers
    with np.errstate(all="ignore"):
        out[...] = (words >> _40) * _UNIT24 * size + low
    np.minimum(out, np.float32(below), out=out)


@pair("random_normal", "f Q d")
def _normal(out: Float32, words: Words, numbers: Float64) -> None:
    """Normal numbers (n, 2) from words (n, 2), the length and the angle of a vector: numbers are std and mean."""
    with np.errstate(all="ignore"):
        block = _standard_normal(words)
        block *= numbers[0]
        block += numbers[1]
        narrow(block, out)


def _standard_normal(words: Words) -> Float64:
    """Standard normal numbers (n, 2) in float64."""
    uniform = (words >> _11) * _UNIT53
    pairs = np.empty(words.shape)
    radius, angle = np.ascontiguousarray(uniform[:, 0]), np.ascontiguousarray(uniform[:, 1])
    radius += _UNIT53  # (0, 1], and only multiples of 2^-53, so exact
    part = np.empty_like(radius)
    logarithm.log(radius, part)
    part *= _MINUS_TWO
    np.sqrt(part, out=radius)
    angle *= _TURN
    trigonometry.cos(angle, part)
    np.multiply(part, radius, out=pairs[:, 0])
    trigonometry.sin(angle, part)
    np.multiply(part, radius, out=pairs[:, 1])
    return pairs


@pair("random_integers", "q Q Q")
def _integers(out: Int64, words: Words, numbers: Words) -> None:
    """The upper 64 bits of a word times the range, plus low: numbers are the range and low modulo 2^64."""
    out[...] = (_multiply_high(words, int(numbers[0])) + numbers[1]).view(np.int64)


@pair("random_bernoulli", "? Q Q")
def _bernoulli(out: npt.NDArray[np.bool_], words: Words, limit: Words) -> None:
    """Whether the upper 53 bits of a word are below the limit."""
    np.less(words >> _11, limit, out=out)


@pair("random_order", "q Q Q q")
def _order(out: Int64, words: Words) -> None:
    """The order of words by their size, equal ones as they come."""
    out[...] = np.argsort(words, kind="stable")


@pair("running_weights", "d q d")
def _ends(ends: Float64, found: Int64, weights: Float64) -> None:
    """The sums of weights, one after the other, the first that is negative or not finite, and the last that is not 0, or -1."""
    with np.errstate(all="ignore"):
        np.add.accumulate(weights, out=ends)
    bad, kept = np.flatnonzero(~((weights >= 0) & np.isfinite(weights))), np.flatnonzero(weights)
    found[...] = bad[0] if bad.size else -1, kept[-1] if kept.size else -1


def _multiply_high(words: Words, factor: int) -> Words:
    """Return the upper 64 bits of ``words * factor``, from products of halves."""
    upper, lower = words >> _32, words & _LOW
    f_upper, f_lower = np.array(factor >> 32, np.uint64), np.array(factor & 0xFFFFFFFF, np.uint64)
    middle = ((lower * f_lower) >> _32) + upper * f_lower
    if factor < 2**32:
        return middle >> _32
    other = lower * f_upper + (middle & _LOW)
    result: Words = upper * f_upper + (middle >> _32) + (other >> _32)
    return result


def _names(path: tuple[int, ...]) -> tuple[int | None, ...]:
    """Read the names from a path; None for a str, of which the path has a digest."""
    names: list[int | None] = []
    while path:
        if path[0] not in (2, 4) or len(path) <= path[0]:
            raise ValueError(f"the path ends in {path}")
        words, path = path[1 : 1 + path[0]], path[1 + path[0] :]
        names.append(words[0] | words[1] << 32 if len(words) == 2 else None)
    return tuple(names)


def _interval(function: str, low: float, high: float) -> tuple[float, float]:
    low, high = (float(np.float32(finite(function, name, value))) for name, value in (("low", low), ("high", high)))
    if not low < high:
        raise ValueError(f"{function}: low must be below high in float32, got low={low} and high={high}")
    return low, high


def _shape(function: str, size: Size) -> tuple[tuple[int, ...], int]:
    shape = shape_tuple(function, "size", size)
    return shape, math.prod(shape)
