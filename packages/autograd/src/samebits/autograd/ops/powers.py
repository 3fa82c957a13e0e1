"""Powers and remainders: ``a ** b``, ``2 ** x`` and ``a % b``.

A power is one of three functions:

- of an integer exponent: products, by squaring and multiplying (Knuth, TAOCP 2, 4.6.3), each correctly rounded; of 0.5 and
  -0.5: square roots;
- of base 2: `exp2`, correctly rounded;
- else e^(b log|a|), computed in float64 and rounded once: within 0.51 ulp of the true value in exact arithmetic.

Bases below 0 have powers of integer exponents; other exponents give NaN, as in NumPy. a ** 0 and 1 ** b are 1.
"""

import math
from typing import Any

import numpy as np

from samebits.autograd.graph import Array, Value
from samebits.autograd.operations import elementwise, operation
from samebits.autograd.ops.elementwise import add, divide, exp2, log, multiply, one, raw, sqrt, subtract
from samebits.autograd.ops.selection import where
from samebits.autograd.tensor import Operand, Tensor
from samebits.core import Kernels, current


def power(a: Operand, b: Operand) -> Tensor:
    """a ** b; either may be a number.

    With a number as exponent, integers keep their dtype where it is a non-negative integer; other powers are floating.

    Example:
        >>> power(Tensor([1.0, 4.0]), 2.5)
        Tensor([ 1., 32.])
        >>> 2 ** Tensor([3.0, -1.0])
        Tensor([8. , 0.5])
    """
    if isinstance(b, int | float | np.number):
        return _numbered(a, b.item() if isinstance(b, np.generic) else b)
    if isinstance(a, int | float | np.number) and a == 2:
        return exp2(_floating(b))
    return _power(a, b)


def _numbered(x: Any, exponent: Any) -> Tensor:
    """x to the power of a Python number."""
    if exponent in {0.5, -0.5}:
        return sqrt(_floating(x)) if exponent > 0 else _inverse_root(_floating(x))
    if not math.isfinite(exponent) or exponent != int(exponent):
        return _power(_floating(x), float(exponent))
    n = int(exponent)
    if n in {0, 1, 2}:
        return where(np.True_, 1, x) if n == 0 else x if n == 1 else multiply(x, x)
    return _whole(x, n) if n > 0 else _whole(_floating(x), n)


def _inverse_root_rule(g: Any, x: Any) -> Any:
    return g * _slope_of_base(x, -0.5)


@operation(_inverse_root_rule)
def _inverse_root(x: Value) -> Any:
    return divide(one(x), sqrt(x))


def _whole_rule(g: Any, x: Any, n: int) -> Any:
    return g * _monomial(x, n - 1, float(n))


@operation(_whole_rule)
def _whole(x: Value, n: int) -> Any:
    """x^n by products."""
    left, result = abs(n), None
    while left:
        if left % 2:
            result = x if result is None else multiply(result, x)
        left //= 2
        x = multiply(x, x) if left else x
    return divide(one(x), result) if n < 0 else result


def _monomial_rule(g: Any, x: Any, n: int, factor: float) -> Any:
    return g * _monomial(x, n - 1, factor * n)


@operation(_monomial_rule)
def _monomial(x: Value, n: int, factor: float) -> Any:
    """factor x^n, rounded once: the derivatives of all orders of an integer power."""

    def formula(_: Kernels, out: Array, x: Array) -> None:
        left, square = abs(n), x
        out[...] = 1
        while left and factor:
            if left % 2:
                out *= square
            left //= 2
            square = square * square if left else square
        np.divide(factor, out, out=out) if n < 0 else np.multiply(out, factor, out=out)

    return current().evaluate("power", formula, x=x)


def _floating(x: Any) -> Any:
    """x, if it is an integer tensor or array then in float32."""
    if not isinstance(x, Tensor | np.ndarray | np.generic):
        x = Tensor(x)
    return x if x.dtype.kind == "f" else x.astype(np.float32)


def _power_rule(g: Any, a: Any, b: Any) -> Any:
    return g * _slope_of_base(a, b)


def _exponent_rule(g: Any, a: Any, b: Any) -> Any:
    return g * _slope_of_exponent(a, b)


@elementwise(_power_rule, _exponent_rule)
def _power(a: Value, b: Value) -> Any:
    if a.dtype.kind != "f":
        a, b = a.astype(np.float32), b.astype(np.float32)
    a, b = np.broadcast_arrays(a, b)
    return current().evaluate("power", _formula, a=a, b=b)[()]


def _formula(kernels: Kernels, out: Array, a: Array, b: Array) -> None:
    """e^(b log|a|), the sign of odd powers, and the ends."""
    kernels.log(np.abs(a), logarithm := np.empty_like(a))
    kernels.exp(np.where(logarithm == 0, logarithm, logarithm * b), out)  # 0 times infinity is 0 here
    whole = np.rint(b) == b
    odd = whole & (np.rint(b / 2) != b / 2)
    np.negative(out, out=out, where=np.signbit(a) & odd)
    np.copyto(out, np.nan, where=(np.isfinite(a) & (a < 0) & ~whole) | np.isnan(a) | np.isnan(b))
    np.copyto(out, 1.0, where=(b == 0) | (a == 1))


@elementwise(lambda g, a, b: g * _curve_of_base(a, b), lambda g, a, b: g * _slope_of_both(a, b))
def _slope_of_base(a: Value, b: Value) -> Any:
    """b a^(b - 1), rounded once; 0 where b is 0, so that 0 ** 0 has the gradient 0."""

    def formula(kernels: Kernels, out: Array, a: Array, b: Array) -> None:
        _formula(kernels, out, a, b - b.dtype.type(1))
        out *= b
        np.copyto(out, b.dtype.type(0), where=b == 0)

    a, b = np.broadcast_arrays(a, b)
    return current().evaluate("power", formula, a=a, b=b)[()]


def _curve_of_base(a: Any, b: Any) -> Any:
    """b (b - 1) a^(b - 2)."""
    return multiply(multiply(b, subtract(b, 1.0)), _power(a, subtract(b, 2.0)))


def _slope_of_both(a: Any, b: Any) -> Any:
    """a^(b - 1) (1 + b log(a)), 0 where a is 0."""
    zero = raw(a) == 0
    safe = where(zero, 1.0, a)
    return where(zero, 0.0, multiply(_power(safe, subtract(b, 1.0)), add(multiply(b, log(safe)), 1.0)))


@elementwise(lambda g, a, b: g * _slope_of_both(a, b), lambda g, a, b: g * _curve_of_exponent(a, b))
def _slope_of_exponent(a: Value, b: Value) -> Any:
    """a^b log(a), rounded once; 0 where a^b is 0, so that 0 ** b has a gradient."""

    def formula(kernels: Kernels, out: Array, a: Array, b: Array) -> None:
        _formula(kernels, out, a, b)
        kernels.log(np.where(out == 0, a.dtype.type(1), a), logarithm := np.empty_like(a))
        out *= logarithm

    a, b = np.broadcast_arrays(a, b)
    return current().evaluate("power", formula, a=a, b=b)[()]


def _curve_of_exponent(a: Any, b: Any) -> Any:
    """a^b log(a)^2."""
    return multiply(_slope_of_exponent(a, b), log(where(raw(a) == 0, 1.0, a)))


@elementwise(lambda g: g, lambda g, a, b: -(g * _quotients(raw(a), raw(b))))
def remainder(a: Value, b: Value) -> Any:
    """a - b floor(a / b), which has the sign of b; exact, then rounded once. ``a % b`` is the same.

    Its gradient with respect to b is -floor(a / b). Integers follow NumPy: ``a % 0`` is 0, with a warning.

    Example:
        >>> remainder(Tensor([5.5, -1.0]), 2.0)
        Tensor([1.5, 1. ])
    """
    result = np.remainder(a, b)
    return result if a.dtype.kind != "f" else np.where(np.isnan(result), result.dtype.type(np.nan), result)[()]


def _quotients(a: Any, b: Any) -> Any:
    """The integer quotient np.floor(a / b) in the dtype of a, from the exact remainder in float64."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    with np.errstate(all="ignore"):
        return np.rint((x - np.remainder(x, y)) / y).astype(a.dtype)[()]
