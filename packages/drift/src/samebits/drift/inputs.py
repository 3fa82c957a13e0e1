"""Inputs of the measured operations: arrays with the same bits on every machine.

Raw PCG64 words, which NumPy promises not to change (NEP 19), become numbers by shifts, casts and exact arithmetic alone:
``(word >> 40) * 2**-24`` is a float32 in [0, 1). Every further step is exact or correctly rounded.
"""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["integers", "matrix", "named", "uniform", "words"]

Array = npt.NDArray[Any]

LENGTH = 20_011  # prime: no vector length divides it


def words(seed: int, count: int) -> npt.NDArray[np.uint64]:
    """``count`` raw 64-bit words of PCG64.

    >>> words(0, 2)
    array([11749869230777074271,  4976686463289251617], dtype=uint64)
    """
    return np.random.PCG64(np.random.SeedSequence(seed)).random_raw(count)


def uniform(seed: int, *shape: int, dtype: str = "float64") -> Array:
    """Numbers in [0, 1): multiples of 2**-24 as float32, of 2**-53 as float64.

    >>> uniform(0, 2, 3).shape
    (2, 3)
    """
    raw = words(seed, int(np.prod(shape, dtype=np.int64)))
    if dtype == "float32":
        return ((raw >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)).reshape(shape)
    return ((raw >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)


def matrix(seed: int, *shape: int, dtype: str = "float64") -> Array:
    """Numbers in [-1, 1): ``2 * uniform - 1``, which is exact.

    >>> matrix(0, 2, 3, dtype="float32").dtype
    dtype('float32')
    """
    numbers = uniform(seed, *shape, dtype=dtype)
    moved: Array = numbers + numbers - np.asarray(1, dtype)
    return moved


def integers(seed: int, below: int, *shape: int) -> npt.NDArray[np.int64]:
    """Integers from 0 to ``below`` - 1.

    >>> integers(0, 10, 4)
    array([1, 7, 4, 3])
    """
    raw = words(seed, int(np.prod(shape, dtype=np.int64)))
    return (raw % np.uint64(below)).astype(np.int64).reshape(shape)


@cache
def named(name: str, dtype: str) -> Array:
    """A read-only vector of 20,011 numbers by the name of its range.

    ``unit`` and ``other`` are in [-1, 1), ``wide`` in [-16, 16), ``positive`` in [2**-24, 16], ``above`` in [1, 9); ``signs``
    has zeros of both signs, ``ties`` has 100 different integers.

    >>> named("wide", "float32").shape
    (20011,)
    """
    seed = {"unit": 1, "other": 2, "wide": 3, "positive": 4, "above": 5, "signs": 6, "ties": 7}[name]
    x = matrix(seed, LENGTH, dtype=dtype)
    if name == "wide":
        x = x * np.asarray(16, dtype)
    elif name == "positive":
        x = uniform(seed, LENGTH, dtype=dtype) * np.asarray(16, dtype) + np.asarray(2.0**-24, dtype)
    elif name == "above":
        x = uniform(seed, LENGTH, dtype=dtype) * np.asarray(8, dtype) + np.asarray(1, dtype)
    elif name == "signs":
        x = np.copysign(np.zeros(LENGTH, dtype), x)
    elif name == "ties":
        x = integers(seed, 100, LENGTH).astype(dtype)
    x.flags.writeable = False
    return x
