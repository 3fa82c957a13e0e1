"""Float64 kernels of the logarithms: log, log1p, log2, log10, to about 2^-52 relative.

With x = 2^k m, sqrt(1/2) <= m < sqrt(2), f = m - 1 and s = f / (2 + f),

    log(m) = 2 atanh(s) = f - s (f - s^2 R(s^2)),

in which f is exact, so nothing is lost near x = 1. `arithmetic` says what a kernel is.
"""

import numpy as np

from samebits.core import constants
from samebits.core.arithmetic import EXPONENT, MAGIC, ONE, Float64, horner, scalar, scalars, within, word

__all__ = ["log", "log1p", "log2", "log10"]

_LN2 = scalars(constants.LN2)
_INV_LN2 = scalar(constants.INV_LN2)
_LOG10_2 = scalars(constants.LOG10_2)
_INV_LN10 = scalar(constants.INV_LN10)
_ATANH = scalars(constants.ATANH)
_TWO = scalar(2.0)
_FRACTION = word((1 << 52) - 1)
_ROOT_HALF = scalar(constants.ROOT_HALF).view(np.int64)  # where m begins; any float64 near sqrt(1/2) would do
_MAGIC_WORD = MAGIC.view(np.int64)
_ZERO, _INFINITY = scalar(0.0), scalar(np.inf)
_NORMAL = scalar(2.0**-1022)  # the least normal float64
_LARGEST = scalar(float(np.finfo(np.float64).max))


def log(x: Float64, out: Float64) -> Float64:
    """The natural logarithm."""
    k, y, odd = _split(x)
    y += k * _LN2[1]
    k *= _LN2[0]
    return _finish(k, y, odd, out)


def log2(x: Float64, out: Float64) -> Float64:
    """The logarithm to base 2, exact at powers of 2."""
    k, y, odd = _split(x)
    y *= _INV_LN2
    return _finish(k, y, odd, out)


def log10(x: Float64, out: Float64) -> Float64:
    """The logarithm to base 10."""
    k, y, odd = _split(x)
    y *= _INV_LN10
    y += k * _LOG10_2[1]
    k *= _LOG10_2[0]
    return _finish(k, y, odd, out)


def log1p(x: Float64, out: Float64) -> Float64:
    """log(1 + x), as log(u) + (x - (u - 1)) / u: u is 1 + x rounded, the quotient makes up for the rounding."""
    u = x + ONE
    lost = u - ONE
    np.subtract(x, lost, out=lost)
    lost /= u
    if not within(u, _NORMAL, _LARGEST):
        np.copyto(lost, _ZERO, where=~np.isfinite(lost))
    log(u, u)
    u += lost
    return np.copysign(u, x, out=out)


def _split(x: Float64) -> tuple[Float64, Float64, Float64 | None]:
    """Return k and log(m) of x = 2^k m; and x itself if not all of it is positive, finite and normal."""
    odd = None
    if not within(x, _NORMAL, _LARGEST):
        odd = x.copy()
        x = np.where(x < _NORMAL, x * scalar(2.0**54), x)
    bits = x.view(np.int64) - _ROOT_HALF
    k = bits >> EXPONENT
    k += _MAGIC_WORD
    count = k.view(np.float64)
    count -= MAGIC
    if odd is not None:
        count -= np.where(odd < _NORMAL, 54.0, 0.0)
    bits &= _FRACTION
    bits += _ROOT_HALF
    f = bits.view(np.float64)
    f -= ONE
    s = f + _TWO
    np.divide(f, s, out=s)
    z = s * s
    rest = horner(_ATANH, z)
    rest *= z
    np.subtract(f, rest, out=rest)
    rest *= s
    f -= rest
    return count, f, odd


def _finish(k: Float64, y: Float64, odd: Float64 | None, out: Float64) -> Float64:
    """Return k + y; and the logarithms of 0, infinity, and what is neither positive nor finite."""
    np.add(k, y, out=out)
    if odd is not None:
        np.copyto(out, -np.inf, where=odd == _ZERO)
        np.copyto(out, np.inf, where=odd == _INFINITY)
        np.copyto(out, np.nan, where=~(odd >= _ZERO))
    return out
