"""Elementary functions on float32, correctly rounded.

The result is the float32 nearest to the true value, ties to even, for every one of the 2^32 inputs (the correct rounding
that IEEE 754-2019, section 9.2, recommends). So mathematics defines the bits, not this code. `tests/core/exhaustive.py`
tries all inputs. Subnormal results, infinities and the signs of zero are included; every NaN returned is 0x7fc00000.

The float64 kernels are in `exponential`, `logarithm` and `trigonometry`; the rounding to float32 in `blocks`.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samebits.core import exponential, logarithm, ties, trigonometry
from samebits.core.arguments import check_out, float_array
from samebits.core.arithmetic import ONE, Float64, scalar, word
from samebits.core.blocks import Kernel, evaluate
from samebits.core.compiled import pair

Array = NDArray[np.float32]

_NEAR = scalar(2.0**-14)
_SLOPE = scalar(2.0**-2 - 2.0**-28)
_HALF = scalar(0.5)
_REST = word(64 - 29)  # shifting by this leaves the bits of a float64 that are beyond float32
_TIE = word(-(1 << 63))  # only the first of them set: the least int64


def exp(x: ArrayLike, /, out: Array | None = None) -> Array:
    """The exponential function, e^x.

    ``x`` is float32 of any shape, or Python numbers; ``out`` is a float32 array of that shape to write to, or None for a new
    one. Raises TypeError for another dtype, ValueError for an ``out`` of another shape or read-only.

    Example:
        >>> exp(np.array([0, 1, -104], np.float32)).tolist()
        [1.0, 2.7182817459106445, 0.0]
    """
    return _evaluate("exp", exponential.exp, x, out)


def expm1(x: ArrayLike, /, out: Array | None = None) -> Array:
    """e^x - 1, without cancellation where ``x`` is near 0.

    ``x`` is float32 of any shape, or Python numbers; ``out`` is a float32 array of that shape to write to, or None for a new
    one. Raises TypeError for another dtype, ValueError for an ``out`` of another shape or read-only.

    Example:
        >>> expm1(np.array([-0.0, 1e-10], np.float32)).tolist()
        [-0.0, 1.000000013351432e-10]
    """
    return _evaluate("expm1", exponential.expm1, x, out)


def exp2(x: ArrayLike, /, out: Array | None = None) -> Array:
    """2^x; exact where ``x`` is an integer.

    ``x`` is float32 of any shape, or Python numbers; ``out`` is a float32 array of that shape to write to, or None for a new
    one. Raises TypeError for another dtype, ValueError for an ``out`` of another shape or read-only.

    Example:
        >>> exp2(np.array([10, 0.5], np.float32)).tolist()
        [1024.0, 1.4142135381698608]
    """
    return _evaluate("exp2", _exp2, x, out)


def log(x: ArrayLike, /, out: Array | None = None) -> Array:
    """Natural logarithm; -inf at 0, NaN below.

    ``x`` is float32 of any shape, or Python numbers; ``out`` is a float32 array of that shape to write to, or None for a new
    one. Raises TypeError for another dtype, ValueError for an ``out`` of another shape or read-only.

    Example:
        >>> log(np.array([1, 10, 0], np.float32)).tolist()
        [0.0, 2.3025851249694824, -inf]
    """
    return _evaluate("log", _log, x, out)


def log1p(x: ArrayLike, /, out: Array | None = None) -> Array:
    """log(1 + x), without cancellation where ``x`` is near 0; -inf at -1, NaN below.

    ``x`` is float32 of any shape, or Python numbers; ``out`` is a float32 array of that shape to write to, or None for a new
    one. Raises TypeError for another dtype, ValueError for an ``out`` of another shape or read-only.

    Example:
        >>> log1p(np.array([-0.0, 1e-10], np.float32)).tolist()
        [-0.0, 1.000000013351432e-10]
    """
    return _evaluate("log1p", _log1p, x, out)


def log2(x: ArrayLike, /, out: Array | None = None) -> Array:
    """Logarithm to base 2, exact at powers of 2; -inf at 0, NaN below.

    ``x`` is float32 of any shape, or Python numbers; ``out`` is a float32 array of that shape to write to, or None for a new
    one. Raises TypeError for another dtype, ValueError for an ``out`` of another shape or read-only.

    Example:
        >>> log2(np.array([1024, 3], np.float32)).tolist()
        [10.0, 1.5849624872207642]
    """
    return _evaluate("log2", logarithm.log2, x, out)


def log10(x: ArrayLike, /, out: Array | None = None) -> Array:
    """Logarithm to base 10, exact at powers of 10; -inf at 0, NaN below.

    ``x`` is float32 of any shape, or Python numbers; ``out`` is a float32 array of that shape to write to, or None for a new
    one. Raises TypeError for another dtype, ValueError for an ``out`` of another shape or read-only.

    Example:
        >>> log10(np.array([1000, 2], np.float32)).tolist()
        [3.0, 0.3010300099849701]
    """
    return _evaluate("log10", _log10, x, out)


def tanh(x: ArrayLike, /, out: Array | None = None) -> Array:
    """Hyperbolic tangent, (e^x - e^-x) / (e^x + e^-x).

    ``x`` is float32 of any shape, or Python numbers; ``out`` is a float32 array of that shape to write to, or None for a new
    one. Raises TypeError for another dtype, ValueError for an ``out`` of another shape or read-only.

    Example:
        >>> tanh(np.array([-0.0, 0.5, 10], np.float32)).tolist()
        [-0.0, 0.46211716532707214, 1.0]
    """
    return _evaluate("tanh", exponential.tanh, x, out)


def sigmoid(x: ArrayLike, /, out: Array | None = None) -> Array:
    """Logistic sigmoid, 1 / (1 + e^-x), without loss where ``x`` is far below 0.

    ``x`` is float32 of any shape, or Python numbers; ``out`` is a float32 array of that shape to write to, or None for a new
    one. Raises TypeError for another dtype, ValueError for an ``out`` of another shape or read-only.

    Example:
        >>> sigmoid(np.array([0, -100], np.float32)).tolist()
        [0.5, 3.783505853677006e-44]
    """
    return _evaluate("sigmoid", _sigmoid, x, out)


def sin(x: ArrayLike, /, out: Array | None = None) -> Array:
    """Sine of ``x`` in radians, for ``x`` of any size; NaN at infinity.

    ``x`` is float32 of any shape, or Python numbers; ``out`` is a float32 array of that shape to write to, or None for a new
    one. Raises TypeError for another dtype, ValueError for an ``out`` of another shape or read-only.

    Example:
        >>> sin(np.array([-0.0, 1, 1e38], np.float32)).tolist()
        [-0.0, 0.8414709568023682, 0.9891644716262817]
    """
    return _evaluate("sin", _sin, x, out)


def cos(x: ArrayLike, /, out: Array | None = None) -> Array:
    """Cosine of ``x`` in radians, for ``x`` of any size; NaN at infinity.

    ``x`` is float32 of any shape, or Python numbers; ``out`` is a float32 array of that shape to write to, or None for a new
    one. Raises TypeError for another dtype, ValueError for an ``out`` of another shape or read-only.

    Example:
        >>> cos(np.array([0, 1, 1e38], np.float32)).tolist()
        [1.0, 0.5403022766113281, 0.14681167900562286]
    """
    return _evaluate("cos", _cos, x, out)


def erf(x: ArrayLike, /, out: Array | None = None) -> Array:
    """Error function, 2/sqrt(pi) times the integral of e^(-t^2) from 0 to ``x``.

    ``x`` is float32 of any shape, or Python numbers; ``out`` is a float32 array of that shape to write to, or None for a new
    one. Raises TypeError for another dtype, ValueError for an ``out`` of another shape or read-only.

    Example:
        >>> erf(np.array([-0.0, 0.5, 4], np.float32)).tolist()
        [-0.0, 0.5204998850822449, 1.0]
    """
    return _evaluate("erf", exponential.erf, x, out)


def sqrt(x: ArrayLike, /, out: Array | None = None) -> Array:
    """Square root; NaN below 0.

    ``x`` is float32 of any shape, or Python numbers; ``out`` is a float32 array of that shape to write to, or None for a new
    one. Raises TypeError for another dtype, ValueError for an ``out`` of another shape or read-only.

    Example:
        >>> sqrt(np.array([-0.0, 2], np.float32)).tolist()
        [-0.0, 1.4142135381698608]
    """
    return _evaluate("sqrt", _sqrt, x, out)


def rsqrt(x: ArrayLike, /, out: Array | None = None) -> Array:
    """1 / sqrt(x); infinity with the sign of ``x`` at 0, NaN below.

    ``x`` is float32 of any shape, or Python numbers; ``out`` is a float32 array of that shape to write to, or None for a new
    one. Raises TypeError for another dtype, ValueError for an ``out`` of another shape or read-only.

    Example:
        >>> rsqrt(np.array([4, 2, -0.0], np.float32)).tolist()
        [0.5, 0.7071067690849304, -inf]
    """
    return _evaluate("rsqrt", _rsqrt, x, out)


def _evaluate(function: str, kernel: Kernel, x: ArrayLike, out: Array | None) -> Array:
    x = float_array(function, "x", x)
    if out is not None:
        check_out(function, out, x.shape)
    return evaluate(kernel, x, out)


def _exp2(x: Float64, out: Float64) -> None:
    _corrected(exponential.exp2, ties.EXP2, x, out)


def _sin(x: Float64, out: Float64) -> None:
    _corrected(trigonometry.sin, ties.SIN, x, out)


def _cos(x: Float64, out: Float64) -> None:
    _corrected(trigonometry.cos, ties.COS, x, out)


def _log(x: Float64, out: Float64) -> None:
    _corrected(logarithm.log, ties.LOG, x, out)


def _log10(x: Float64, out: Float64) -> None:
    _corrected(logarithm.log10, ties.LOG10, x, out)


def _log1p(x: Float64, out: Float64) -> None:
    _corrected(logarithm.log1p, ties.LOG1P, x, out)


def _corrected(kernel: Kernel, wrong: dict[int, int], x: Float64, out: Float64) -> None:
    """Evaluate the kernel, and correct the inputs in ``wrong``, of which the result is a tie; ``out`` is not ``x``."""
    kernel(x, out)
    if np.minimum.reduce(out.view(np.int64) << _REST) == _TIE:
        for given, right in wrong.items():
            given_value, right_value = np.array([given, right], np.uint32).view(np.float32)
            np.copyto(out, right_value, where=x == given_value)


def _sqrt(x: Float64, out: Float64) -> None:
    np.sqrt(x, out=out)


def _rsqrt(x: Float64, out: Float64) -> None:
    np.sqrt(x, out=out)
    np.divide(ONE, out, out=out)


def _sigmoid(x: Float64, out: Float64) -> None:
    _corrected(_sigmoid_near_zero, ties.SIGMOID, x, out)


def _sigmoid_near_zero(x: Float64, out: Float64) -> None:
    """Evaluate the kernel; near 0 a line, 1/2 + x/4 with a slightly smaller slope.

    There 1/2 + x/4 - x^3/48 is so close to ties of float32 that float64 rounds to them. The smaller slope breaks these ties
    as the cubic term does.
    """
    near = np.abs(x) < _NEAR
    decided = x[near] * _SLOPE + _HALF
    exponential.sigmoid(x, out)
    out[near] = decided


_KERNELS: dict[str, Kernel] = {
    "exp": exponential.exp,
    "expm1": exponential.expm1,
    "exp2": _exp2,
    "log": _log,
    "log1p": _log1p,
    "log2": logarithm.log2,
    "log10": _log10,
    "tanh": exponential.tanh,
    "sigmoid": _sigmoid,
    "sin": _sin,
    "cos": _cos,
    "erf": exponential.erf,
    "sqrt": _sqrt,
    "rsqrt": _rsqrt,
}
for _name, _kernel in _KERNELS.items():
    pair(f"{_name}_float32", "f f")(_kernel)
