"""Float64 kernels of the exponential family: exp, exp2, expm1, tanh, sigmoid, erf, to about 2^-52 relative; and a short exp.

All use one reduction and one even polynomial: with x = k log 2 + r, |r| <= log(2)/2, and c = r coth(r/2),

    exp(x) = 2^k (c + r) / (c - r),

so each function is one quotient of sums of c and r, with no cancellation near 0. `arithmetic` says what a kernel is;
`elementary` has the float32 functions made of these.
"""

import numpy as np

from samebits.core import compiled, constants
from samebits.core.arithmetic import EXPONENT, MAGIC, ONE, Float64, Int64, horner, scalar, scalars, within, word

__all__ = ["erf", "exp", "exp2", "exp_short", "expm1", "sigmoid", "tanh"]

_LN2 = scalars(constants.LN2)
_LN2_WHOLE = scalar(constants.LN2_WHOLE)
_INV_LN2 = scalar(constants.INV_LN2)
_COTH = scalars(constants.COTH)
_COTH_SHORT = scalars(constants.COTH_SHORT)
_ERF_OVER = scalars(constants.ERF_OVER)
_ERF_UNDER = scalars(constants.ERF_UNDER)
_BIAS = word(1023)
_MAGIC_WORD = MAGIC.view(np.int64)
# In between, 2^k, and e^x with it, are normal float64 numbers; for exp2 likewise.
_LOW, _HIGH = scalar(-708.0), scalar(708.0)
_LOW_2, _HIGH_2 = scalar(-1021.0), scalar(1022.0)
_TANH_LOW, _TANH_HIGH = scalar(-20.0), scalar(20.0)  # beyond, tanh rounds to -1 and 1
_ERF_LOW, _ZERO = scalar(-6.0), scalar(0.0)  # before -6, erf rounds to -1


def exp(x: Float64, out: Float64) -> Float64:
    """e^x; 0 and infinity where float64 ends, subnormal results rounded once."""
    if within(x, _LOW, _HIGH):
        k, r = _reduce(x)
        return _scale(_small(r), k, out)
    k, r = _reduce(np.clip(x, -750.0, 750.0))
    return _scale_far(_small(r), k, out)


def exp_short(x: Float64, out: Float64) -> Float64:
    """e^x to 7e-10 relative, for results that are rounded to float32; exact at 0, and ends as exp does."""
    compiled.call(_exp_short, [out], [x], [], (x.size, 1))
    return out


@compiled.pair("exp_float64", "d d")
def _exp_short(out: Float64, x: Float64) -> Float64:
    if within(x, _LOW, _HIGH):
        return _scale(*_short(x, out), out)
    return _scale_far(*_short(np.clip(x, -750.0, 750.0), out), out)


def exp2(x: Float64, out: Float64) -> Float64:
    """2^x, exact for whole x; ends as exp does."""
    if within(x, _LOW_2, _HIGH_2):
        k, r = _reduce_2(x)
        return _scale(_small(r), k, out)
    k, r = _reduce_2(np.clip(x, -1080.0, 1080.0))
    return _scale_far(_small(r), k, out)


def expm1(x: Float64, out: Float64) -> Float64:
    """e^x - 1, as (2^k (c + r) - (c - r)) / (c - r)."""
    inside = within(x, _LOW, _HIGH)
    if not inside:
        high = x > _HIGH  # where e^x - 1 is e^x
        ends = exp(x, np.empty_like(x))
        x = np.clip(x, _LOW, _HIGH)
    k, r = _reduce(x)
    c = _even(r)
    over, _, _ = _difference(k, c, r)
    c -= r
    np.divide(over, c, out=out)
    if not inside:
        np.copyto(out, ends, where=high)
    return out


def tanh(x: Float64, out: Float64) -> Float64:
    """(e^2x - 1) / (e^2x + 1), as (2^k (c + r) - (c - r)) / (2^k (c + r) + (c - r))."""
    if not within(x, _TANH_LOW, _TANH_HIGH):
        x = np.clip(x, _TANH_LOW, _TANH_HIGH)
    k, r = _reduce(x + x)
    c = _even(r)
    over, more, less = _difference(k, c, r)
    more *= c
    less *= r
    more -= less
    return np.divide(over, more, out=out)


def sigmoid(x: Float64, out: Float64) -> Float64:
    """1 / (1 + e^-x), as (c - r) / ((c - r) + 2^k (c + r)) with -x reduced."""
    inside = within(x, _LOW, _HIGH)
    if not inside:
        low = x < _LOW  # where 1 + e^-x is e^-x
        ends = exp(x, np.empty_like(x))
        x = np.clip(x, _LOW, _HIGH)
    k, r = _reduce(np.negative(x))
    c = _even(r)
    over = c - r
    c += r
    _scale(c, k, c)
    c += over
    np.divide(over, c, out=out)
    if not inside:
        np.copyto(out, ends, where=low)
    return out


def erf(x: Float64, out: Float64) -> Float64:
    """The error function, as 1 - exp(log(1 - erf(|x|))) with the sign of x; the logarithm is |x| times a quotient of polynomials."""
    t = np.abs(x)
    np.negative(t, out=t)
    if not within(t, _ERF_LOW, _ZERO):
        t = np.clip(t, _ERF_LOW, _ZERO)
    y = horner(_ERF_OVER, t)
    y /= horner(_ERF_UNDER, t)
    y *= t
    return np.copysign(expm1(y, y), x, out=out)


def _reduce(x: Float64) -> tuple[Int64, Float64]:
    """Return k and r with x = k log 2 + r; k is in the low bits of its word."""
    k = x * _INV_LN2
    k += MAGIC
    whole = k - MAGIC
    r = whole * _LN2[0]
    np.subtract(x, r, out=r)
    whole *= _LN2[1]
    r -= whole
    return k.view(np.int64), r


def _reduce_2(x: Float64) -> tuple[Int64, Float64]:
    """Return k and r with x log 2 = k log 2 + r, as `_reduce` does."""
    k = x + MAGIC
    r = k - MAGIC
    np.subtract(x, r, out=r)
    r *= _LN2_WHOLE
    return k.view(np.int64), r


def _even(r: Float64) -> Float64:
    """Return c = r coth(r/2)."""
    return horner(_COTH, r * r)


def _small(r: Float64) -> Float64:
    """e^r = 1 + 2r / (c - r), in place of r."""
    c = _even(r)
    c -= r
    r += r
    r /= c
    r += ONE
    return r


def _short(x: Float64, out: Float64) -> tuple[Float64, Int64]:
    """Return 2^t in ``out``, and k, with e^x = 2^(k + t); with c = t coth(t log(2)/2), 2^t = (c + t) / (c - t)."""
    t = x * _INV_LN2
    k = t + MAGIC
    np.subtract(k, MAGIC, out=out)
    t -= out
    c = horner(_COTH_SHORT, np.multiply(t, t, out=out))
    np.add(c, t, out=out)
    c -= t
    out /= c
    return out, k.view(np.int64)


def _scale(y: Float64, k: Int64, out: Float64) -> Float64:
    """2^k y, where that is a normal number; k is overwritten."""
    k <<= EXPONENT
    np.add(y.view(np.int64), k, out=out.view(np.int64))
    return out


def _scale_far(y: Float64, k: Int64, out: Float64) -> Float64:
    """2^k y in two steps, where 2^k itself need not be a float64."""
    k -= _MAGIC_WORD
    half = k >> word(1)
    y *= _power(half)
    return np.multiply(y, _power(k - half), out=out)


def _power(k: Int64) -> Float64:
    """2^k; of k only the low 12 bits are read."""
    k = k + _BIAS
    k <<= EXPONENT
    return k.view(np.float64)


def _difference(k: Int64, c: Float64, r: Float64) -> tuple[Float64, Float64, Float64]:
    """Return 2^k (c + r) - (c - r), 2^k + 1 and 1 - 2^k; for r = -0 this order of operations gives -0."""
    more = _power(k)
    less = ONE - more
    more += ONE
    over = more * r
    over -= less * c
    return over, more, less
