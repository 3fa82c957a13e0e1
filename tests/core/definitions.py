"""Operands of products, and their grids as the definition says, in Python's integers and fractions."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
TAME = st.floats(width=32, min_value=-1000, max_value=1000)


def normal(*shape: int, seed: int = 0, spread: float = 0.0) -> Any:
    """Normal values, float32, times 2**(normal * spread)."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) * np.exp2(rng.standard_normal(shape) * spread)).astype(np.float32)


def same(x: Any, y: Any) -> bool:
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


def exponent_by_definition(vector: Any) -> int:
    squares = float(sum(Fraction(float(x)) ** 2 for x in vector)) * (1 + 2**-11)
    return next(e for e in range(-200, 200) if squares < Fraction(4) ** e)


def on_grid_by_definition(vector: Any, bits: int) -> tuple[list[int], int]:
    """The vector in units of 2**(e - bits), as Python integers, and e - bits."""
    unit = exponent_by_definition(vector) - bits
    return [round(Fraction(float(x)) / Fraction(2) ** unit) for x in vector], unit


def near_the_edge(length: int, seed: int) -> Any:
    """A vector the sum of whose squares is within a few units in the last place of where the exponent changes."""
    x = normal(length, seed=seed)
    x[-4:] = 0
    total = sum(Fraction(float(v)) ** 2 for v in x)
    target = Fraction(4) ** exponent_by_definition(x) / Fraction(1 + 2**-11)
    for i in range(length - 4, length):
        x[i] = np.nextafter(np.float32(math.sqrt(target - total)), np.float32(0))
        total += Fraction(float(x[i])) ** 2
    return x
