"""Elementwise operations. ``+ - * /`` and ``sqrt`` are correctly rounded by IEEE 754; the others use `samebits.core`.

Operands broadcast as in NumPy; a number takes the dtype of the tensor beside it. Infinities and NaN follow IEEE 754, with
NumPy's warnings. At a corner, the gradient is the middle of the gradients around it.
"""

# ruff: noqa: A001, PLW0108 - NumPy's names; a rule's parameters say what it needs

from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.autograd.dtypes import permitted
from samebits.autograd.graph import Array, Value
from samebits.autograd.operations import elementwise, operation
from samebits.autograd.tensor import Tensor
from samebits.core import Kernels, current

_LN2 = 0.6931471805599453
_TWO_BY_ROOT_PI = 1.1283791670955126


def raw(x: Any) -> Any:
    """The array of a tensor or an array: for piecewise constant factors, which have no gradient."""
    return x.data if isinstance(x, Tensor) else x


def one(x: Any) -> Any:
    """1 in the dtype of ``x``; NumPy 1.26 would make float64 of a Python number and a float32 scalar."""
    return x.dtype.type(1)


@elementwise(lambda g: g, lambda g: g)
def add(a: Value, b: Value) -> Any:
    """a + b.

    Example:
        >>> add(Tensor([1.0, 2.0]), 10.0)
        Tensor([11., 12.])
    """
    return a + b


@elementwise(lambda g: g, lambda g: -g)
def subtract(a: Value, b: Value) -> Any:
    """a - b.

    Example:
        >>> subtract(Tensor([1.0, 2.0]), 10.0)
        Tensor([-9., -8.])
    """
    return a - b


@elementwise(lambda g, b: g * b, lambda g, a: g * a)
def multiply(a: Value, b: Value) -> Any:
    """a * b.

    Example:
        >>> multiply(Tensor([1.0, 2.0]), 10.0)
        Tensor([10., 20.])
    """
    return a * b


@elementwise(lambda g, b: g / b, lambda g, b, out: -(g * out / b))
def divide(a: Value, b: Value) -> Any:
    """a / b; integers are divided in float32.

    Example:
        >>> divide(Tensor([1, 2]), 10)
        Tensor([0.1, 0.2])
    """
    if a.dtype.kind != "f":
        a, b = a.astype(np.float32), b.astype(np.float32)
    return a / b


@operation(lambda g: -g)
def negative(x: Value) -> Any:
    """-x.

    Example:
        >>> negative(Tensor([1.0, -2.0]))
        Tensor([-1.,  2.])
    """
    return -x


@operation(lambda g, out: g * out)
def exp(x: Value) -> Any:
    """e^x.

    Example:
        >>> exp(Tensor([0.0, 1.0]))
        Tensor([1.       , 2.7182817])
    """
    return current().exp(x)


@operation(lambda g, out: g * (out * out.dtype.type(_LN2)))
def exp2(x: Value) -> Any:
    """2^x; exact for integer x.

    Example:
        >>> exp2(Tensor([3.0, 0.5]))
        Tensor([8.       , 1.4142135])
    """
    return current().exp2(x)


@operation(lambda g, x: g / x)
def log(x: Value) -> Any:
    """The natural logarithm; -inf at 0, NaN below.

    Example:
        >>> log(Tensor([1.0, 10.0]))
        Tensor([0.       , 2.3025851])
    """
    return current().log(x)


def _tanh_rule(g: Any, x: Any) -> Any:
    return g * _tanh_slope(x)


@operation(_tanh_rule)
def tanh(x: Value) -> Any:
    """The hyperbolic tangent.

    Example:
        >>> tanh(Tensor([0.0, 0.5]))
        Tensor([0.        , 0.46211717])
    """
    return current().tanh(x)


def _sigmoid_rule(g: Any, x: Any) -> Any:
    return g * _sigmoid_slope(x)


@operation(_sigmoid_rule)
def sigmoid(x: Value) -> Any:
    """1 / (1 + e^-x).

    Example:
        >>> sigmoid(Tensor([0.0, 2.0]))
        Tensor([0.5      , 0.8807971])
    """
    return current().sigmoid(x)


def _erf_rule(g: Any, x: Any) -> Any:
    return g * _erf_slope(x)


@operation(_erf_rule)
def erf(x: Value) -> Any:
    """The error function, 2/sqrt(pi) times the integral of e^(-t^2) from 0 to x.

    Example:
        >>> erf(Tensor([0.0, 0.5]))
        Tensor([0.       , 0.5204999])
    """
    return current().erf(x)


# Derivatives from x, in one formula: from the rounded result, 1 - tanh(x)^2 would be 0 where it is still 4 e^(-2|x|).


def _tanh_slope_rule(g: Any, x: Any) -> Any:
    return g * (_tanh_slope(x) * (tanh(x) * x.dtype.type(-2)))


@operation(_tanh_slope_rule)
def _tanh_slope(x: Value) -> Any:
    """4 e / (1 + e)^2, with e = e^(-2|x|)."""
    return current().evaluate("tanh", _tanh_formula, x=x)


def _sigmoid_slope_rule(g: Any, x: Any) -> Any:
    return g * (_sigmoid_slope(x) * tanh(x * x.dtype.type(-0.5)))


@operation(_sigmoid_slope_rule)
def _sigmoid_slope(x: Value) -> Any:
    """e / (1 + e)^2, with e = e^-|x|."""
    return current().evaluate("sigmoid", _sigmoid_formula, x=x)


def _erf_slope_rule(g: Any, x: Any) -> Any:
    return g * (_erf_slope(x) * (x * x.dtype.type(-2)))


@operation(_erf_slope_rule)
def _erf_slope(x: Value) -> Any:
    """2/sqrt(pi) e^(-x^2)."""
    return current().evaluate("erf", _erf_formula, x=x)


def _tanh_formula(kernels: Kernels, out: Array, x: Array) -> None:
    kernels.exp(np.abs(x) * x.dtype.type(-2), e := np.empty_like(x))
    _bell(e, out)
    out *= x.dtype.type(4)


def _sigmoid_formula(kernels: Kernels, out: Array, x: Array) -> None:
    kernels.exp(-np.abs(x), e := np.empty_like(x))
    _bell(e, out)


def _erf_formula(kernels: Kernels, out: Array, x: Array) -> None:
    kernels.exp(x * -x, out)
    out *= x.dtype.type(_TWO_BY_ROOT_PI)


def _bell(e: Array, out: Array) -> None:
    """e / (1 + e)^2 into ``out``."""
    np.add(e, e.dtype.type(1), out=out)
    out *= out
    np.divide(e, out, out=out)


@operation(lambda g, out: g / (out + out))
def sqrt(x: Value) -> Any:
    """The square root; NaN below 0. Its gradient at 0 is infinite.

    Example:
        >>> sqrt(Tensor([4.0, 9.0]))
        Tensor([2., 3.])
    """
    return current().sqrt(x)


def _sin_rule(g: Any, x: Any) -> Any:
    return g * cos(x)


def _cos_rule(g: Any, x: Any) -> Any:
    return -(g * sin(x))


@operation(_sin_rule)
def sin(x: Value) -> Any:
    """The sine of x in radians.

    Example:
        >>> sin(Tensor([0.0, 1.0]))
        Tensor([0.        , 0.84147096])
    """
    return current().sin(x)


@operation(_cos_rule)
def cos(x: Value) -> Any:
    """The cosine of x in radians.

    Example:
        >>> cos(Tensor([0.0, 1.0]))
        Tensor([1.       , 0.5403023])
    """
    return current().cos(x)


@operation(lambda g, x: g * np.sign(raw(x)))
def abs(x: Value) -> Any:
    """The absolute value; its gradient at 0 is 0.

    Example:
        >>> abs(Tensor([-1.5, 2.0]))
        Tensor([1.5, 2. ])
    """
    return np.abs(x)


@operation(lambda g: g)
def clone(x: Value) -> Any:
    """A copy with its own memory, through which gradients flow. ``copy`` is the same method.

    Example:
        >>> x = Tensor([1.0, 2.0])
        >>> y = clone(x)
        >>> y[0] = 9.0
        >>> x, y
        (Tensor([1., 2.]), Tensor([9., 2.]))
    """
    return x.copy()


def astype(x: Tensor, dtype: npt.DTypeLike) -> Tensor:
    """x in another dtype. The gradient is converted back; to and from integers there is none.

    Raises:
        TypeError: Tensors cannot have that dtype in the active arithmetic.

    Example:
        >>> astype(Tensor([1.7, -1.7]), "int64")
        Tensor([ 1, -1])
    """
    dtype = permitted(dtype)
    if dtype.kind != "f" or x.dtype.kind != "f":
        return Tensor(raw(x), dtype)
    return _astype(x, dtype, x.dtype)


@operation(lambda g, before: astype(g, before))
def _astype(x: Value, dtype: np.dtype[Any], before: np.dtype[Any]) -> Any:  # noqa: ARG001
    return x.astype(dtype)
