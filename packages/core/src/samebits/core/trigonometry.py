"""Float64 kernels of sin and cos for every float64, to about 2^-52 relative.

Both are one sine polynomial on a half turn: with x = (n - shift) pi + r, |r| <= pi/2, sin(x) (shift 0) and cos(x)
(shift 1/2) are (-1)^n sin(r). Up to 2^20, r comes by subtracting pi in three parts (Cody and Waite); beyond, from as
many bits of 1/pi as it takes (Payne and Hanek), for those elements only. `arithmetic` says what a kernel is.
"""

from functools import cache

import numpy as np

from samebits.core import constants
from samebits.core.arithmetic import EXPONENT, MAGIC, Float64, horner, scalar, scalars, within, word

__all__ = ["cos", "sin"]

_PI = scalars(constants.PI)
_PI_SHORT = scalars(constants.PI_SHORT)
_PI_WHOLE = scalar(constants.PI_WHOLE)
_INV_PI = scalar(constants.INV_PI)
_SINE = scalars(constants.SINE)
_LIMIT = scalar(2.0**20)
_MINUS_LIMIT = scalar(-(2.0**20))
_FIRST = 20 - 52  # the exponent of the last bit of 2^20
_PIECES, _PIECE = 7, 26  # how many numbers of how many bits make up 2^e / pi
_UPPER = scalar(1.5 * 2.0 ** (52 + 27))  # adding it rounds to a multiple of 2^27


def sin(x: Float64, out: Float64) -> Float64:
    """The sine of x in radians."""
    return _sine(x, out, scalar(0.0))


def cos(x: Float64, out: Float64) -> Float64:
    """The cosine of x in radians."""
    return _sine(x, out, scalar(0.5))


def _sine(x: Float64, out: Float64, shift: Float64) -> Float64:
    """(-1)^n sin(r)."""
    n = x * _INV_PI
    n += shift
    n += MAGIC
    whole = n - MAGIC
    whole -= shift
    r = x - whole * _PI[0]
    r -= whole * _PI[1]
    whole *= _PI[2]
    r -= whole
    if not within(x, _MINUS_LIMIT, _LIMIT):
        large = np.abs(x) > _LIMIT
        n[large], r[large] = _reduce(x[large], shift)
        np.copyto(r, np.nan, where=~np.isfinite(x))
    sign = n.view(np.int64)
    sign <<= word(63)
    bits = r.view(np.int64)
    bits ^= sign
    z = r * r
    y = horner(_SINE, z)
    y *= z
    y *= r
    y += r
    return np.copysign(y, r, out=out)  # r + 0 would be +0 for r = -0


@cache
def _table() -> Float64:
    """2^e / pi modulo 2 for every e from `_FIRST` on, as `_PIECES` numbers of `_PIECE` bits: (e, piece)."""
    length = _PIECE * _PIECES
    rows = []
    for exponent in range(_FIRST, 1024 - 52):
        value = constants.INV_PI_DIGITS >> (constants.INV_PI_BITS - (length - 1) - exponent)
        pieces = [value >> (length - _PIECE * (i + 1)) & ((1 << _PIECE) - 1) for i in range(_PIECES)]
        rows.append([float(piece) * 2.0 ** (1 - _PIECE * (i + 1)) for i, piece in enumerate(pieces)])
    return np.array(rows, np.float64)


def _reduce(x: Float64, shift: Float64) -> tuple[Float64, Float64]:
    """Return n + MAGIC and r of elements beyond `_LIMIT`.

    x = 2^e (upper + lower), both of at most 26 bits, and the products with the pieces of 2^e / pi are exact.
    """
    finite = np.where(np.isfinite(x), x, 0.0)
    exponent = ((finite.view(np.int64) >> EXPONENT) & word(2047)) - word(1075)
    exponent = np.maximum(exponent, word(_FIRST))
    pieces = _table().take(exponent - word(_FIRST), axis=0).T
    bits = finite.view(np.int64) - ((exponent - word(_FIRST)) << EXPONENT)
    mantissa = bits.view(np.float64) * scalar(2.0**-_FIRST)  # an integer below 2^53
    upper = (mantissa + _UPPER) - _UPPER
    lower = mantissa - upper

    turns = _modulo_2(lower * pieces[0]) + _modulo_2(upper * pieces[1])  # upper * pieces[0] is a multiple of 4
    turns = _modulo_2(turns) + lower * pieces[1]
    turns = _modulo_2(turns) + _modulo_2(upper * pieces[2])
    turns = _modulo_2(turns)
    n = turns + shift + MAGIC
    high = turns - ((n - MAGIC) - shift)  # exact up to here
    low = np.zeros_like(high)
    for i in range(2, _PIECES):
        high, low = _add(high, low, lower * pieces[i])
        if i + 1 < _PIECES:
            high, low = _add(high, low, upper * pieces[i + 1])
    short = high.astype(np.float32).astype(np.float64)
    r = (high - short + low) * _PI_WHOLE + short * _PI_SHORT[1]
    r += short * _PI_SHORT[0]
    return n, r


def _modulo_2(x: Float64) -> Float64:
    """`x` less the nearest even integer; exact."""
    return x - np.rint(x * scalar(0.5)) * scalar(2.0)


def _add(high: Float64, low: Float64, term: Float64) -> tuple[Float64, Float64]:
    """`high + low + term`, the rounding of high + term (Knuth's two-sum) added to low."""
    total = high + term
    back = total - high
    return total, low + ((high - (total - back)) + (term - back))
