"""Building blocks of the float64 kernels: 0-d constants, Horner's rule, a range check.

A kernel is `kernel(x, out)`: float64 arrays of one shape, with at least one axis; `out` may be `x`. It is a fixed
sequence of correctly rounded or exact operations on each element, so its result for an element depends on that element
alone. The caller silences NumPy's floating-point warnings, as `blocks.evaluate` does.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["horner", "scalar", "scalars", "within", "word"]

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


def scalar(value: float) -> Float64:
    """Return `value` as a 0-d float64 array; a ufunc would convert a Python float at each call."""
    return np.array(value, np.float64)


def word(value: int) -> Int64:
    """Return `value` as a 0-d int64 array."""
    return np.array(value, np.int64)


def scalars(values: Sequence[float]) -> tuple[Float64, ...]:
    """Return each of `values` as a 0-d array."""
    return tuple(scalar(value) for value in values)


ONE = scalar(1.0)
EXPONENT = word(52)  # where the exponent of a float64 begins
# Adding this to |x| < 2^51 rounds x to an integer, and leaves its two's complement in the low bits of the sum.
MAGIC = scalar(1.5 * 2.0**52)


def horner(coefficients: Sequence[Float64], x: Float64) -> Float64:
    """Return the polynomial with these coefficients, highest power first, at `x`."""
    y = x * coefficients[0]
    for coefficient in coefficients[1:-1]:
        y += coefficient
        y *= x
    y += coefficients[-1]
    return y


def within(x: Float64, low: Float64, high: Float64) -> bool:
    """Return whether all of `x` is in [low, high]; a NaN is not."""
    return not x.size or bool(np.minimum.reduce(x, axis=None) >= low and np.maximum.reduce(x, axis=None) <= high)
