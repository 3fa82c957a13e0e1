"""Activations: nonlinear functions between linear layers.

    relu(x) = max(x, 0)      gelu(x) = x Phi(x)      silu(x) = x sigmoid(x)      swiglu(gate, up) = silu(gate) up

Each is one fused kernel: in exact arithmetic float64 inside with one rounding, so at most 0.6 ulp from the true value. Only
the input is kept for the gradient. `relu`, `sigmoid`, `softmax` and `tanh` are those of autograd.
"""

# ruff: noqa: PLR0917 - the arguments of formulas are positional

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from samebits.autograd import Tensor, kernel, relu, sigmoid, softmax, split, tanh
from samebits.core import Kernels, current
from samebits.core.arithmetic import horner
from samebits.core.compiled import pair
from samebits.nn.mills import MILLS_OVER, MILLS_UNDER

__all__ = ["gelu", "glu", "relu", "sigmoid", "silu", "softmax", "swiglu", "tanh"]

Array = npt.NDArray[Any]

_TWO_ROOTS = 1.5957691216057308  # 2 sqrt(2 / pi)
_CUBIC = 0.044715
_DENSITY = 0.3989422804014327  # 1 / sqrt(2 pi)
_FAR = 37.0  # beyond, the tail of the normal distribution is below 1e-299


def gelu(x: Tensor, approximate: Literal["none", "tanh"] = "none") -> Tensor:
    """The Gaussian error linear unit: x Phi(x), with Phi the distribution function of the normal distribution (Hendrycks and Gimpel, 2016).

    Args:
        x: Floating, any shape.
        approximate: ``"tanh"`` for x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, the form of GPT-2.

    Returns:
        A tensor of the same shape and dtype.

    Raises:
        ValueError: ``approximate`` is something else.

    Example:
        >>> gelu(Tensor([-1.0, 0.0, 1.0]))
        Tensor([-0.15865526,  0.        ,  0.8413448 ])
        >>> gelu(Tensor([-1.0, 0.0, 1.0]), "tanh")
        Tensor([-0.15880801,  0.        ,  0.841192  ])
    """
    if approximate not in {"none", "tanh"}:
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return _gelu_tanh(x) if approximate == "tanh" else _gelu(x)


def silu(x: Tensor) -> Tensor:
    """The sigmoid linear unit, also called Swish: x sigmoid(x) (Ramachandran et al., 2017).

    Example:
        >>> silu(Tensor([-1.0, 0.0, 1.0]))
        Tensor([-0.26894143,  0.        ,  0.7310586 ])
    """
    return _silu(x)


def glu(x: Tensor, axis: int = -1) -> Tensor:
    """A gated linear unit: a sigmoid(b), where a and b are the halves of x along ``axis`` (Dauphin et al., 2017).

    Raises:
        ValueError: The axis has odd length.

    Example:
        >>> glu(Tensor([1.0, 2.0, 0.0, 100.0]))
        Tensor([0.5, 2. ])
    """
    if x.shape[axis] % 2:
        raise ValueError(f"glu: axis {axis} of x must have an even length, got {x.shape[axis]}")
    a, b = split(x, 2, axis)
    return _gated(a, b)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) up, the gated unit of Llama (Shazeer, 2020). Both have the same shape, which is that of the result.

    Raises:
        ValueError: The shapes differ.

    Example:
        >>> swiglu(Tensor([-1.0, 0.0, 1.0]), Tensor([10.0, 10.0, 10.0]))
        Tensor([-2.6894143,  0.       ,  7.310586 ])
    """
    return _swiglu(gate, up)


def _same_shape(function: str, **arrays: Array) -> None:
    (a, b), (x, y) = arrays, arrays.values()
    if x.shape != y.shape:
        raise ValueError(f"{function}: {b} must have the shape of {a}, {x.shape}, got {y.shape}")


# The tanh form is x sigmoid(v) with v = 2 sqrt(2 / pi) (x + 0.044715 x^3): no cancellation, and one division.


def _minus_v(x: Array, square: Array, out: Array) -> None:
    """-v into ``out``, which may be the square of x."""
    np.multiply(square, x.dtype.type(-_TWO_ROOTS * _CUBIC), out=out)
    out -= x.dtype.type(_TWO_ROOTS)
    out *= x


@pair("gelu_tanh", "f f")
def _gelu_tanh_formula(k: Kernels, out: Array, x: Array) -> None:
    v = x * x
    _minus_v(x, v, v)
    k.exp(v, out)
    out += x.dtype.type(1)
    np.divide(x, out, out=out)


@pair("gelu_tanh_gradient", "f f f")
def _gelu_tanh_gradient(k: Kernels, out: Array, g: Array, x: Array) -> None:
    """g s (1 + x v' (1 - s)), with s = sigmoid(v)."""
    one = x.dtype.type(1)
    np.multiply(x, x, out=out)
    _minus_v(x, out, v := np.empty_like(x))
    k.exp(v, s := np.empty_like(x))
    s += one
    np.divide(one, s, out=s)
    np.multiply(out, x.dtype.type(3 * _TWO_ROOTS * _CUBIC), out=v)
    v += x.dtype.type(_TWO_ROOTS)
    v *= x
    _weigh(v, s, out)
    out *= g


def _weigh(q: Array, s: Array, out: Array) -> None:
    """s (1 + q (1 - s)) into ``out``. It is the derivative of x sigmoid(v), where s = sigmoid(v) and q = x v'."""
    one = s.dtype.type(1)
    np.subtract(one, s, out=out)
    out *= q
    out += one
    out *= s


@kernel(lambda g, x: (current().evaluate("gelu", _gelu_tanh_gradient, g=g, x=x),))
def _gelu_tanh(x: Any) -> tuple[Array, tuple[Array]]:
    return current().evaluate("gelu", _gelu_tanh_formula, x=x), (x,)


# With a = |x|, phi(a) = e^(-a^2 / 2) / sqrt(2 pi) and Phi(-a) = phi(a) R(a): gelu(x) = (x + a) / 2 - a Phi(-a), without
# cancellation. R is the ratio of Mills; `mills` has it as a quotient of polynomials.


def _tail(k: Kernels, x: Array, out: Array) -> tuple[Array, Array]:
    """Put phi(a) into ``out``; return a and R(a)."""
    a = np.abs(x)
    if not a.max(initial=0) <= _FAR:
        np.minimum(a, a.dtype.type(_FAR), out=a)
    square = a * a
    square *= x.dtype.type(-0.5)
    k.exp(square, out)
    out *= x.dtype.type(_DENSITY)
    ratio = horner([x.dtype.type(c) for c in MILLS_OVER], a)
    ratio /= horner([x.dtype.type(c) for c in MILLS_UNDER], a)
    return a, ratio


@pair("gelu", "f f")
def _gelu_formula(k: Kernels, out: Array, x: Array) -> None:
    a, ratio = _tail(k, x, out)
    ratio *= a
    ratio *= out
    np.abs(x, out=out)
    out += x
    out *= x.dtype.type(0.5)
    out -= ratio


@pair("gelu_gradient", "f f f")
def _gelu_gradient(k: Kernels, out: Array, g: Array, x: Array) -> None:
    """g (Phi(x) + x phi(x)): with d = Phi(-a) - a phi(a), it is g d for negative x, and g (1 - d) otherwise."""
    a, ratio = _tail(k, x, out)
    ratio -= a
    out *= ratio
    sign = np.copysign(x.dtype.type(1), x, out=a)
    out *= sign
    np.subtract(sign > 0, out, out=out)
    out *= g


@kernel(lambda g, x: (current().evaluate("gelu", _gelu_gradient, g=g, x=x),))
def _gelu(x: Any) -> tuple[Array, tuple[Array]]:
    return current().evaluate("gelu", _gelu_formula, x=x), (x,)


def _one_plus_exp(k: Kernels, x: Array, out: Array) -> None:
    """1 + e^-x."""
    k.exp(np.negative(x), out)
    out += x.dtype.type(1)


@pair("silu", "f f")
def _silu_formula(k: Kernels, out: Array, x: Array) -> None:
    _one_plus_exp(k, x, out)
    np.divide(x, out, out=out)


@pair("silu_gradient", "f f f")
def _silu_gradient(k: Kernels, out: Array, g: Array, x: Array) -> None:
    """g s (1 + x (1 - s))."""
    one = x.dtype.type(1)
    _one_plus_exp(k, x, s := np.empty_like(x))
    np.divide(one, s, out=s)
    _weigh(x, s, out)
    out *= g


@kernel(lambda g, x: (current().evaluate("silu", _silu_gradient, g=g, x=x),))
def _silu(x: Any) -> tuple[Array, tuple[Array]]:
    return current().evaluate("silu", _silu_formula, x=x), (x,)


def _gated_formula(k: Kernels, out: Array, a: Array, b: Array) -> None:
    _one_plus_exp(k, b, out)
    np.divide(a, out, out=out)


def _gated_gradient(k: Kernels, to_a: Array, to_b: Array, g: Array, a: Array, b: Array) -> None:
    """g s and g a s (1 - s), with s = sigmoid(b); s (1 - s) is e / (1 + e)^2 with e = e^-|b|, in which nothing cancels."""
    one = a.dtype.type(1)
    _one_plus_exp(k, b, to_a)
    np.divide(g, to_a, out=to_a)
    k.exp(-np.abs(b), e := np.empty_like(b))
    np.add(e, one, out=to_b)
    to_b *= to_b
    np.divide(e, to_b, out=to_b)
    to_b *= a
    to_b *= g


@kernel(lambda g, a, b: current().evaluate("glu", _gated_gradient, results=2, g=g, a=a, b=b))
def _gated(a: Any, b: Any) -> tuple[Array, tuple[Array, Array]]:
    return current().evaluate("glu", _gated_formula, a=a, b=b), (a, b)


@pair("swiglu", "f f f")
def _swiglu_formula(k: Kernels, out: Array, gate: Array, up: Array) -> None:
    _silu_formula(k, out, gate)
    out *= up


@pair("swiglu_gradient", "f f f f f")
def _swiglu_gradient(k: Kernels, to_gate: Array, to_up: Array, g: Array, gate: Array, up: Array) -> None:
    """g up s (1 + gate (1 - s)) and g gate s, with s = sigmoid(gate)."""
    one = gate.dtype.type(1)
    _one_plus_exp(k, gate, s := np.empty_like(gate))
    np.divide(one, s, out=s)
    _weigh(gate, s, to_gate)
    to_gate *= up
    to_gate *= g
    np.multiply(gate, s, out=to_up)
    to_up *= g


@kernel(lambda g, gate, up: current().evaluate("swiglu", _swiglu_gradient, results=2, g=g, gate=gate, up=up))
def _swiglu(gate: Any, up: Any) -> tuple[Array, tuple[Array, Array]]:
    _same_shape("swiglu", gate=gate, up=up)
    return current().evaluate("swiglu", _swiglu_formula, gate=gate, up=up), (gate, up)
