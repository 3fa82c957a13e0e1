"""Difference of two arrays: the number of elements with other bits, and the largest difference in value and in ulp."""

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from samebits.core.records import Limits

__all__ = ["Difference", "compare"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Difference:
    """How an array differs from that of the base.

    >>> str(Difference("result", elements=2, of=4, max_abs=2.0**-23, max_ulp=1))
    'result: 2 of 4 elements differ, by up to 1.19e-07 and 1 ulp'
    """

    array: str
    """The expression of the array, such as ``result['loss']``."""
    elements: int
    """The number of elements with other bits."""
    of: int
    """The number of all elements."""
    max_abs: Annotated[float, Limits(most=math.inf)] | None = None
    """The largest difference of finite elements; None without finite elements that differ, or with another shape or dtype."""
    max_ulp: Annotated[int, Limits(most=2**64)] | None = None
    """The same in units in the last place; None if the dtype is not floating point."""
    note: str = ""
    """The difference in words, if shape, dtype or text differ."""

    def __str__(self) -> str:
        if self.note:
            return f"{self.array}: {self.note}"
        text = f"{self.array}: {self.elements} of {self.of} elements differ"
        if self.max_abs == 0 or self.max_abs is None:
            return f"{text}, in the sign of zero, in NaN or in infinity"
        return f"{text}, by up to {self.max_abs:.3g}" + (f" and {self.max_ulp} ulp" if self.max_ulp is not None else "")


def compare(name: str, base: Array, other: Array) -> Difference | None:
    """The difference of ``other`` from ``base``; None if dtype, shape and bits are the same, or the texts of string arrays.

    >>> compare("x", np.array([1.0, 2.0]), np.array([1.0, 2.0]))
    >>> compare("x", np.array([1.0, 2.0]), np.array([1.0, np.nextafter(2.0, 3.0)])).max_ulp
    1
    """
    texts = base.dtype.kind == other.dtype.kind == "U"
    for what in ("shape", "dtype")[: 1 if texts else 2]:
        one, two = getattr(base, what), getattr(other, what)
        if one != two:
            return Difference(name, other.size, other.size, note=f"{what} {two} instead of {one}")
    if texts:
        return _compare_texts(name, base, other)
    native = base.dtype.newbyteorder("=")
    first, second = (np.ascontiguousarray(one, dtype=native).reshape(-1) for one in (base, other))
    size = native.itemsize
    differ = (first.view(np.uint8).reshape(-1, size) != second.view(np.uint8).reshape(-1, size)).any(axis=1)
    elements = int(differ.sum())
    if not elements:
        return None
    first, second = first[differ], second[differ]
    if base.dtype.kind not in "fc":
        apart = [abs(int(a) - int(b)) for a, b in zip(first.tolist(), second.tolist(), strict=True)]
        return Difference(name, elements, base.size, float(max(apart)))
    parts = np.dtype(f"f{size // 2}") if native.kind == "c" else native
    first, second = first.view(parts), second.view(parts)
    finite = np.isfinite(first) & np.isfinite(second)
    if not finite.any():
        return Difference(name, elements, base.size)
    first, second = first[finite], second[finite]
    with np.errstate(over="ignore"):
        max_abs = float(np.abs(first.astype(np.float64) - second.astype(np.float64)).max())
    return Difference(name, elements, base.size, max_abs, _max_ulp(first, second))


def _max_ulp(first: Array, second: Array) -> int:
    """The largest number of floating-point steps between corresponding elements; -0 and 0 are 0 steps apart."""
    word = np.dtype(f"u{first.dtype.itemsize}")
    top = np.uint64(1 << (8 * word.itemsize - 1))
    steps = []
    for x in (first, second):
        bits = x.view(word).astype(np.uint64)
        steps.append(np.where(bits >= top, top - (bits - top), top + bits))
    return int((np.maximum(*steps) - np.minimum(*steps)).max())


def _compare_texts(name: str, base: Array, other: Array) -> Difference | None:
    differ = base != other
    if not differ.any():
        return None
    first, second = str(base[differ][0]), str(other[differ][0])
    apart = next((index for index, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), 0)
    start = max(0, apart - 20)
    cut = ["…" * (start > 0) + text[start : start + 60] + "…" * (len(text) > start + 60) for text in (second, first)]
    count = f"{differ.sum()} of {base.size} texts differ: " if base.size > 1 else ""
    return Difference(name, int(differ.sum()), base.size, note=f"{count}{cut[0]} instead of {cut[1]}")
