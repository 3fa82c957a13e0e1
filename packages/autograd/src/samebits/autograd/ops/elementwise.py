"""Elementwise operations. ``+ - * /`` and ``sqrt`` are correctly rounded everywhere; the rest is `samebits.core`'s.

Operands broadcast as in NumPy; a number beside a tensor takes its dtype. Infinities and NaN follow IEEE 754, with NumPy's
warnings. Where a function has a corner or two arguments are equal, the gradient is the middle of what it is around.
"""

# ruff: noqa: A001, PLW0108 - NumPy's names; a rule's parameters say what it needs

import math
from typing import Any

import numpy as np

from samebits.autograd.graph import Array
from samebits.autograd.operations import elementwise, operands, operation
from samebits.autograd.tensor import Operand, Tensor, permitted
from samebits.core import current


def raw(x: Any) -> Any:
    """The array of a tensor or an array: for factors that are constant in pieces, and so have no gradient themselves."""
    return x.data if isinstance(x, Tensor) else x


def one(x: Any) -> Any:
    """1 in the dtype of ``x``; NumPy 1.26 would make float64 of a Python number and a float32 scalar."""
    return x.dtype.type(1)


@elementwise(lambda g: g, lambda g: g)
def add(a: Array, b: Array) -> Array:
    """A + b."""
    return a + b


@elementwise(lambda g: g, lambda g: -g)
def subtract(a: Array, b: Array) -> Array:
    """A - b."""
    return a - b


@elementwise(lambda g, b: g * b, lambda g, a: g * a)
def multiply(a: Array, b: Array) -> Array:
    """A * b."""
    return a * b


@elementwise(lambda g, b: g / b, lambda g, b, out: -(g * out / b))
def divide(a: Array, b: Array) -> Array:
    """A / b; of integers in float32."""
    if a.dtype.kind != "f":
        a, b = a.astype(np.float32), b.astype(np.float32)
    return a / b


@operation(lambda g: -g)
def negative(x: Array) -> Array:
    """-x."""
    return -x


def power(x: Tensor, exponent: float) -> Tensor:
    """X ** exponent for whole exponents, by squaring and multiplying (Knuth, TAOCP 2, 4.6.3), and for 0.5 and -0.5.

    Raises:
        ValueError: For other exponents: write exp(exponent * log(x)), which says what happens at x <= 0.
    """
    number = exponent.item() if isinstance(exponent, np.generic) else exponent
    if isinstance(number, float) and number in {0.5, -0.5}:
        return sqrt(x) if number > 0 else divide(1.0, sqrt(x))
    if not isinstance(number, int | float) or not math.isfinite(number) or number != int(number):
        raise ValueError(
            f"power: exponent is {exponent!r}: whole numbers, 0.5 and -0.5 are possible; exp(exponent * log(x)) for others"
        )
    n = int(number)
    if n < 0:
        return divide(1.0, power(x, -n))
    result = None
    while n:
        if n % 2:
            result = x if result is None else multiply(result, x)
        n //= 2
        x = multiply(x, x) if n else x
    return where(np.True_, 1, x) if result is None else result


@operation(lambda g, out: g * out)
def exp(x: Array) -> Array:
    """e^x."""
    return current().exp(x)


@operation(lambda g, x: g / x)
def log(x: Array) -> Array:
    """The natural logarithm; -inf at 0, NaN below."""
    return current().log(x)


@operation(lambda g, out: g * (one(out) - out * out))
def tanh(x: Array) -> Array:
    """The hyperbolic tangent."""
    return current().tanh(x)


@operation(lambda g, out: g * (out * (one(out) - out)))
def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x)."""
    return current().sigmoid(x)


@operation(lambda g, out: g / (out + out))
def sqrt(x: Array) -> Array:
    """The square root; NaN below 0, and an infinite gradient at 0."""
    return current().sqrt(x)


@operation(lambda g, x: g * cos(x))
def sin(x: Array) -> Array:
    """The sine of x in radians."""
    return current().sin(x)


@operation(lambda g, x: -(g * sin(x)))
def cos(x: Array) -> Array:
    """The cosine of x in radians."""
    return current().cos(x)


@operation(lambda g, x: g * np.sign(raw(x)))
def abs(x: Array) -> Array:
    """The absolute value; its gradient at 0 is 0."""
    result: Array = np.abs(x)
    return result


@operation(lambda g, out: where(raw(out) <= 0, 0.0, g))
def relu(x: Array) -> Array:
    """max(x, 0); its gradient at 0 is 0."""
    return _positive_zeros(np.maximum(x, x.dtype.type(0)))


@elementwise(lambda g, a, b: g * _share(raw(a), raw(b)), lambda g, a, b: g * _share(raw(b), raw(a)))
def maximum(a: Array, b: Array) -> Array:
    """The larger of a and b, NaN if one is; equals share the gradient."""
    return _positive_zeros(np.maximum(a, b))


@elementwise(lambda g, a, b: g * _share(raw(b), raw(a)), lambda g, a, b: g * _share(raw(a), raw(b)))
def minimum(a: Array, b: Array) -> Array:
    """The smaller of a and b, NaN if one is; equals share the gradient."""
    return _positive_zeros(np.minimum(a, b))


def where(condition: Any, a: Operand, b: Operand) -> Tensor:
    """A where condition is true, b elsewhere; the three broadcast. No gradient passes what was not chosen."""
    from samebits.autograd.ops.reductions import expand

    chosen = np.asarray(raw(condition))
    x, y = operands("where", a, b)
    shape = np.broadcast_shapes(chosen.shape, x.shape, y.shape)
    return _where(expand(x, shape), expand(y, shape), chosen.astype(bool, copy=False))


@operation(lambda g, chosen: where(chosen, g, 0.0), lambda g, chosen: where(chosen, 0.0, g))
def _where(a: Array, b: Array, chosen: Array) -> Array:
    return np.where(chosen, a, b)[()]


@operation(lambda g, before: astype(g, before))
def _astype(x: Array, dtype: np.dtype[Any], before: np.dtype[Any]) -> Array:  # noqa: ARG001
    return x.astype(dtype)


def astype(x: Tensor, dtype: np.dtype[Any]) -> Tensor:
    """X in another dtype; the gradient comes back in its own. To and from integers there is none."""
    dtype = permitted(dtype)
    if dtype.kind != "f" or x.dtype.kind != "f":
        return Tensor(raw(x), dtype)
    return _astype(x, dtype, x.dtype)


def _positive_zeros(x: Array) -> Array:
    """Which zero is larger is the processor's choice: both become +0."""
    result: Array = x + x.dtype.type(0)
    return result


def _share(winner: Any, loser: Any) -> Any:
    """How much of the gradient goes to ``winner``: 1, 0, and 1/2 where they are equal."""
    dtype = winner.dtype.type
    return np.where(winner == loser, dtype(0.5), np.where(winner < loser, dtype(0), dtype(1)))[()]
