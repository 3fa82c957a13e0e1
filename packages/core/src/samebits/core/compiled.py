"""Pairs of NumPy functions and their compiled versions.

    @pair("silu", "f f")                       the name in the library; the dtypes of results, arguments, shared arrays
    def _silu(kernels, out, x): ...            the NumPy version: it defines the bits

Here, and nowhere else, it is decided which of the two is called. `blocks` asks `run` before it evaluates a formula: in exact
arithmetic, on arrays of the pair's dtypes, with a library for this machine (`samebits.kernels`), the compiled version does
the work. Whoever wrote or called the formula does not know, and no bit tells.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

try:
    from samebits import kernels
except ImportError:  # the package is optional
    kernels = None  # type: ignore[assignment]

__all__ = ["PAIRS", "Pair", "call", "describe", "integers", "pair", "pairs", "run", "use"]

Array = npt.NDArray[Any]
Work = tuple[int, int]
Function = TypeVar("Function", bound=Callable[..., Any])

PAIRS: dict[Callable[..., Any], list["Pair"]] = {}
"""The pairs by their NumPy versions, of which one may have compiled versions for several dtypes."""

_INTEGERS = {"B": np.uint8, "h": np.int16, "q": np.int64, "Q": np.uint64}
_ARRAY = {np.ndarray}
_COPIED = 2**18  # bytes of an array that is not contiguous, copied at a time


@dataclass(eq=False)
class Pair:
    """A NumPy function and its compiled version."""

    name: str
    dtypes: tuple[np.dtype[Any], ...]
    numpy: Callable[..., Any]
    kernel: Any
    """A `samebits.kernels.Kernel`, or None where there is none."""

    def __post_init__(self) -> None:
        self._layout = 0 if kernels is None else kernels.layout(self.dtypes)

    def __call__(
        self, outs: Sequence[Array], xs: Sequence[Array], shared: Sequence[Array], group: int, work: Work | None
    ) -> bool:
        """Fill ``outs`` by the compiled version, and return True; False if it does not take these arrays."""
        arrays = [*outs, *xs, *shared]
        first = len(outs) if xs else 0
        if len(arrays) != len(self.dtypes) or arrays[first].dtype != self.dtypes[first]:
            return False  # mostly because another pair of the function takes them
        if not _ARRAY.issuperset(map(type, arrays)) and not all(isinstance(x, np.ndarray) for x in arrays):
            return False  # a NumPy scalar has no data of its own
        rows, columns = (len(xs[0]), xs[0].size // (len(xs[0]) or 1)) if work is None else work
        done = self.kernel(rows, columns, arrays, group, self._layout) if self._layout else None
        if done is None and all(x.dtype == dtype for x, dtype in zip(arrays, self.dtypes, strict=True)):
            if all(x.flags.c_contiguous for x in arrays):
                done = self.kernel(rows, columns, arrays, group)
            elif work is None:
                done = self._by_blocks(outs, xs, shared, group)
            elif all(out.flags.c_contiguous for out in outs):
                done = self.kernel(rows, columns, [*outs, *map(np.ascontiguousarray, [*xs, *shared])], group)
        return bool(done)

    def _by_blocks(self, outs: Sequence[Array], xs: Sequence[Array], shared: Sequence[Array], group: int) -> bool:
        """Copy arrays that are not C-contiguous, a block of their rows at a time."""
        first, same = xs[0], [np.ascontiguousarray(x) for x in shared]
        columns = first.size // (len(first) or 1)
        step = max(1, _COPIED // (max(1, columns) * first.itemsize * group)) * group
        for start in range(0, len(first), step):
            part = slice(start, start + step)
            results = [np.empty(out[part].shape, out.dtype) for out in outs]
            arguments = [np.ascontiguousarray(x[part]) for x in xs]
            if not self.kernel(len(arguments[0]), columns, [*results, *arguments, *same], group):
                return False
            for out, result in zip(outs, results, strict=True):
                out[part] = result
        return True


def pair(name: str, dtypes: str) -> Callable[[Function], Function]:
    """Register the decorated function as the NumPy version of a kernel; it is returned unchanged.

    Args:
        name: The name of the compiled function.
        dtypes: The dtypes of results, arguments and shared arrays, by NumPy's characters: f float32, d float64, h int16,
            B uint8, q int64, Q uint64, ? bool.

    Example:
        >>> @pair("no such kernel", "f f")
        ... def double(kernels, out, x):
        ...     np.add(x, x, out=out)
        >>> [pair.kernel for pair in PAIRS.pop(double)]
        [None]
    """
    characters = tuple(np.dtype(_INTEGERS.get(one, one)) for one in dtypes.split())

    def register(function: Function) -> Function:
        found = None if kernels is None else kernels.find(name)
        PAIRS.setdefault(function, []).append(Pair(name, characters, function, found))
        return function

    return register


def run(
    function: Callable[..., Any],
    outs: Sequence[Array],
    xs: Sequence[Array],
    shared: Sequence[Array] = (),
    *,
    group: int = 1,
    work: Work | None = None,
) -> bool:
    """Fill ``outs`` by the compiled version of a function, and return True; False if there is none for these arrays.

    Args:
        function: The NumPy version.
        outs: Arrays to fill. The compiled version does not see other references to their memory.
        xs: The arguments.
        shared: Arrays that are the same for all rows.
        group: Blocks of rows are multiples of so many.
        work: The rows, which threads may share, and the elements of a row; by default the first axis of ``outs`` and ``xs``.

    Raises:
        FloatingPointError: As the NumPy version, without a message.
    """
    for found in PAIRS.get(function, ()):  # noqa: SIM110 - any() with a generator takes a microsecond
        if found.kernel is not None and found(outs, xs, shared, group, work):
            return True
    return False


def call(
    function: Callable[..., Any],
    outs: Sequence[Array],
    xs: Sequence[Array],
    shared: Sequence[Array],
    work: Work | None = None,
    *,
    group: int = 1,
) -> None:
    """Fill ``outs`` by the compiled version of a function, or by ``function(*outs, *xs, *shared)`` where `run` has none.

    Example:
        >>> call(lambda out, x: np.negative(x, out=out), [out := np.empty(2)], [np.ones(2)], [])
        >>> out
        array([-1., -1.])
    """
    if not run(function, outs, xs, shared, group=group, work=work):
        with np.errstate(all="ignore"):
            function(*outs, *xs, *shared)


@lru_cache(1024)
def integers(*numbers: int) -> Array:
    """Return numbers as an int64 array that is read-only: an argument of a kernel.

    Example:
        >>> integers(2, 3)
        array([2, 3])
    """
    array = np.array(numbers, np.int64)
    array.setflags(write=False)
    return array


def pairs() -> list[Pair]:
    """Return all pairs.

    Example:
        >>> "exp_float32" in {pair.name for pair in pairs()}
        True
    """
    return [one for several in PAIRS.values() for one in several]


def describe() -> str:
    r"""Return one line: which kernels are in use, and why.

    Example:
        >>> "\\n" in describe()
        False
    """
    return "NumPy: samebits-kernels is not installed" if kernels is None else kernels.describe()


def use(level: str | None) -> None:
    """Take the compiled versions of another CPU level, or with None the NumPy versions, from now on. For tests."""
    for one in pairs():
        one.kernel = None if kernels is None or level is None else kernels.find(one.name, level)
