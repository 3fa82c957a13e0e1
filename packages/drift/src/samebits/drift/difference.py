"""Difference: how far two arrays are from each other, bit by bit: in elements, in value, and in floating-point steps."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Difference", "compare"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Difference:
    """How far an array is from the base's."""

    array: str
    elements: int
    """How many elements have other bits."""
    of: int
    max_abs: float | None = None
    """The largest difference of finite elements; None where there is none to take: other shapes, no numbers."""
    max_ulp: int | None = None
    """The same in steps from one floating-point number to the next; None for what is not floating point."""
    note: str = ""

    def __str__(self) -> str:
        if self.note:
            return f"{self.array}: {self.note}"
        text = f"{self.array}: {self.elements} of {self.of} elements differ"
        if self.max_abs == 0 or self.max_abs is None:
            return f"{text}, in the sign of zero, in NaN or in infinity"
        return f"{text}, by up to {self.max_abs:.3g}" + (f" and {self.max_ulp} ulp" if self.max_ulp is not None else "")


def compare(name: str, base: Array, other: Array) -> Difference | None:
    """How far ``other`` is from ``base``: None if dtype, shape and bits are the same."""
    if base.shape != other.shape:
        return Difference(name, other.size, other.size, note=f"shape {other.shape} instead of {base.shape}")
    if base.dtype != other.dtype:
        return Difference(name, other.size, other.size, note=f"dtype {other.dtype} instead of {base.dtype}")
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
    """The most floating-point numbers to pass from one array to the other; from -0 to 0 there are none."""
    word = np.dtype(f"u{first.dtype.itemsize}")
    top = np.uint64(1 << (8 * word.itemsize - 1))
    steps = []
    for x in (first, second):
        bits = x.view(word).astype(np.uint64)
        steps.append(np.where(bits >= top, top - (bits - top), top + bits))
    return int((np.maximum(*steps) - np.minimum(*steps)).max())
