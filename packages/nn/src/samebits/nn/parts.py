"""Fused kernels, evaluated a part at a time, so that what they hold in between stays in the processor's cache.

    a part of the arrays, in the working dtype  ->  the formula  ->  one rounding into the result

The working dtype is that of `Numerics.working`: float64 in exact arithmetic, the arrays' own in fast. A part is a set of
whole elements or rows, each computed for itself, so the size of the parts cannot change a bit. What is summed over rows
(`Columns`) is summed by the halving tree, in groups of ROWS rows that are part of the definition.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core import Numerics, current
from samebits.core.blocks import narrow

Array = npt.NDArray[Any]
Formula = Callable[..., object]

BLOCK = 2**19  # bytes of the working dtype at a time
ROWS = 32  # rows of a group in sums over rows: its size is in the bits


def floating(function: str, **arrays: Any) -> Numerics:
    """The arithmetic of the moment; TypeError if one of the arrays is not of its dtypes, or not of the dtype of the first."""
    numerics = current()
    first = next(iter(arrays))
    for name, array in arrays.items():
        if array.dtype.type not in numerics.dtypes:
            needed = " or ".join([dtype.__name__ for dtype in numerics.dtypes])
            raise TypeError(f"{function}: {name} is {array.dtype}: {needed} is needed")
        if array.dtype != arrays[first].dtype:
            raise TypeError(f"{function}: {first} is {arrays[first].dtype} and {name} is {array.dtype}: one dtype is needed")
    return numerics


def rounded(values: Array, out: Array) -> None:
    """``values`` into ``out``; where that is narrower, every NaN is the one with the bits 0x7fc00000."""
    if values.dtype != out.dtype:
        narrow(values, out)
    elif values is not out:
        out[...] = values


def scalar(value: Any, dtype: npt.DTypeLike) -> Any:
    """``value`` as a NumPy scalar of ``dtype``, as `rounded` rounds it."""
    out = np.empty((), dtype)
    rounded(np.asarray(value), out)
    return out[()]


def room(out: Array, working: npt.DTypeLike) -> Array:
    """An array of the working dtype to compute ``out`` in: itself if it will do."""
    return out if out.dtype == working else np.empty(out.shape, working)


def by_elements(function: str, formula: Formula, results: int = 1, **arrays: Any) -> Any:
    """``formula(kernels, *outs, *xs)`` at every element of arrays of one shape, named as errors shall name them.

    ``xs`` are parts of the arrays with one axis, not to be written to, and ``outs`` are to be filled; all of the working dtype.
    A boolean array stays what it is. Returns as many arrays of that shape as there are ``results``.
    """
    numerics = floating(function, **{name: x for name, x in arrays.items() if x.dtype != np.bool_})
    first = next(iter(arrays.values()))
    shape, dtype, working = first.shape, first.dtype, numerics.working(first.dtype)
    flat = [np.reshape(x, -1) for x in arrays.values()]
    found = [np.empty(shape, dtype) for _ in range(results)]
    targets = [x.reshape(-1) for x in found]
    with np.errstate(all="ignore"):
        for part in by_rows(flat[0].size, 1):
            xs = [x[part] if x.dtype == np.bool_ else x[part].astype(working, copy=False) for x in flat]
            if working == dtype:
                formula(numerics.kernels, *[x[part] for x in targets], *xs)
            else:
                outs = [np.empty(len(xs[0]), working) for _ in targets]
                formula(numerics.kernels, *outs, *xs)
                for out, target in zip(outs, targets, strict=True):
                    rounded(out, target[part])
    given = [x if shape else x[()] for x in found]  # a NumPy scalar where there are no axes
    return given[0] if results == 1 else given


def by_rows(count: int, length: int, group: int = 1) -> Iterator[slice]:
    """Cut ``count`` rows of ``length`` elements into parts of about BLOCK bytes and of whole groups of rows."""
    width = max(1, length) * group * current().working(np.float32).itemsize
    height = max(1, BLOCK // width) * group
    return (slice(start, min(start + height, count)) for start in range(0, count, height))


def row_sums(numerics: Numerics, x: Array, factors: Array | None = None) -> Any:
    """The sums of the rows of x (rows, columns), or of their products with ``factors`` (columns,)."""
    if numerics.name != "exact":
        return numerics.matmul(x, np.ones(x.shape[1], x.dtype) if factors is None else factors)
    kernels = numerics.kernels
    return kernels.sum(x if factors is None else x * factors, -1)


class Columns:
    """Sums over the rows of parts that come one after the other, in the order of `by_rows` with groups of ROWS."""

    def __init__(self, numerics: Numerics, length: int, dtype: npt.DTypeLike) -> None:
        self.numerics = numerics
        self.groups: list[Array] = [np.zeros((1, length), dtype)]

    def add(self, x: Array) -> None:
        """Take in a part."""
        if self.numerics.name != "exact":
            self.groups[0] += self.numerics.matmul(np.ones((1, len(x)), x.dtype), x)
            return
        whole, kernels = len(x) // ROWS * ROWS, self.numerics.kernels
        if whole:
            self.groups.append(kernels.sum(x[:whole].reshape(-1, ROWS, x.shape[1]), 1))
        if whole < len(x):
            self.groups.append(kernels.sum(x[whole:], 0)[None])

    def total(self) -> Array:
        """The sums, in the working dtype."""
        kernels = self.numerics.kernels
        return kernels.sum(np.concatenate(self.groups), 0)
