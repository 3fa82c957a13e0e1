"""Make `samebits/core/constants.py` and `samebits/nn/mills.py`: constants of functions, from their definitions, by mpmath.

A polynomial is the one equal to its function at the Chebyshev points, which is within a small factor of the best there
is; the quotients for erf and for the ratio of Mills likewise. Everything is computed to 300 bits, and rounded to float64 once.

    python packages/core/scripts/coefficients.py            write the modules
    python packages/core/scripts/coefficients.py --check    exit with 1 if a module is not what this script makes
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mpmath  # type: ignore[import-untyped]
from mpmath import mp, mpf

mp.prec = 300
PACKAGES = Path(__file__).parents[2]
Real = Any  # mpmath has no type hints
Curve = Callable[[Real], Real]

CORE = '''"""Constants of the elementary functions; made by `scripts/coefficients.py`, not by hand.

Polynomials have their highest power first. A constant in several parts is their sum: all parts but the last have so
few bits that their product with an integer of the size in use is exact.
"""
'''
NN = '''"""Constants of the ratio of Mills, for `gelu`; made by `packages/core/scripts/coefficients.py`, not by hand.

Polynomials have their highest power first.
"""
'''
Constant = tuple[str, str, list[Real]]


def chebyshev(low: float, high: float, count: int) -> list[Real]:
    """The Chebyshev points of an interval."""
    middle, half = (mpf(low) + high) / 2, (mpf(high) - low) / 2
    return [middle + half * mp.cos(mp.pi * (2 * i + 1) / (2 * count)) for i in range(count)]


def polynomial(curve: Curve, high: float, degree: int) -> list[Real]:
    """Coefficients, highest power first, of the polynomial equal to `curve` at the Chebyshev points of [0, high]."""
    return quotient(curve, chebyshev(0, high, degree + 1), degree, 0)[0]


def quotient(curve: Curve, points: list[Real], top: int, bottom: int) -> tuple[list[Real], list[Real]]:
    """P of degree `top` and Q of degree `bottom`, highest power first and Q(0) = 1, with P/Q = curve at `points`."""
    rows = [[t**j for j in range(top, -1, -1)] + [-curve(t) * t**j for j in range(bottom, 0, -1)] for t in points]
    solution = list(mp.lu_solve(mp.matrix(rows), mp.matrix([curve(t) for t in points])))
    return solution[: top + 1], [*solution[top + 1 :], mpf(1)]


def parts(value: Real, *bits: int) -> list[Real]:
    """`value` as a sum: a number of each of the given lengths in bits, and the rest."""
    out = []
    for length in bits:
        unit = mp.ldexp(1, mpmath.frexp(value)[1] - length)
        out.append(mp.nint(value / unit) * unit)
        value -= out[-1]
    return [*out, value]


def coth(z: Real) -> Real:
    """What is left of r coth(r/2): (r coth(r/2) - 2) / r^2, as a function of z = r^2."""
    r = mp.sqrt(z)
    return (r * mp.coth(r / 2) - 2) / z


def coth_2(z: Real) -> Real:
    """The same to base 2: t coth(t log(2) / 2), as a function of z = t^2."""
    t = mp.sqrt(z)
    return t * mp.coth(t * mp.log(2) / 2)


def mills(a: Real) -> Real:
    """Phi(-a) / phi(a), with Phi the distribution function of the normal distribution and phi its density."""
    return mp.sqrt(mp.pi / 2) * mp.erfc(a / mp.sqrt(2)) * mp.exp(a * a / 2)


def atanh(z: Real) -> Real:
    """What is left of 2 atanh(s): (2 atanh(s) - 2s) / s^3, as a function of z = s^2."""
    s = mp.sqrt(z)
    return 2 * (mp.atanh(s) - s) / (s * z)


def sine(z: Real) -> Real:
    """(sin(r) - r) / r^3, as a function of z = r^2."""
    r = mp.sqrt(z)
    return (mp.sin(r) - r) / (r * z)


def log_erfc(t: Real) -> Real:
    """log(1 + erf(t)) / t for t < 0, where 1 + erf(t) = erfc(-t)."""
    return mp.log(mp.erfc(-t)) / t


def elementary() -> Iterator[Constant]:
    """Name, comment and values of the constants of the elementary functions."""
    ln2, ln10, half_ln2 = mp.log(2), mp.log(10), mp.log(2) / 2
    yield "LN2", "log 2", parts(ln2, 42)
    yield "LN2_WHOLE", "log 2, rounded", [ln2]
    yield "INV_LN2", "1 / log 2", [1 / ln2]
    yield "ROOT_HALF", "the square root of 1/2", [mp.sqrt(mpf(1) / 2)]
    yield "LOG10_2", "log 2 / log 10", parts(ln2 / ln10, 42)
    yield "INV_LN10", "1 / log 10", [1 / ln10]
    yield "PI", "pi", parts(mp.pi, 33, 33)
    yield "PI_WHOLE", "pi, rounded", [mp.pi]
    yield "INV_PI", "1 / pi", [1 / mp.pi]
    yield "PI_SHORT", "pi, for products with 26 bits", parts(mp.pi, 26)
    yield "COTH", "r coth(r/2) as a polynomial in r^2, |r| <= log(2)/2", [*polynomial(coth, half_ln2**2, 4), mpf(2)]
    comment = "t coth(t log(2)/2) as a polynomial in t^2, |t| <= 1/2, to 7e-9: enough for what is rounded to float32"
    yield "COTH_SHORT", comment, polynomial(coth_2, mpf(1) / 4, 2)
    s = (mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)
    yield "ATANH", "2 atanh(s) = 2 s + s^3 ATANH(s^2), |s| <= (sqrt(2) - 1) / (sqrt(2) + 1)", polynomial(atanh, s**2, 6)
    yield "SINE", "sin(r) = r + r^3 SINE(r^2), |r| <= pi/2", polynomial(sine, (mp.pi / 2) ** 2, 7)
    # Denser near 0, where the relative error of erf is that of the quotient; beyond 4.5 erfc is too small to matter.
    points = [-4.5 * t**2 for t in chebyshev(0, 1, 18)]
    over, under = quotient(log_erfc, points, 9, 8)
    yield "ERF_OVER", "log(1 + erf(t)) = t ERF_OVER(t) / ERF_UNDER(t), -6 <= t <= 0", over
    yield "ERF_UNDER", "", under


def normal_tail() -> Iterator[Constant]:
    """Name, comment and values of the constants of the ratio of Mills."""
    over, under = quotient(mills, [4 * s / (1 - s) for s in chebyshev(0, 0.79, 16)], 7, 8)  # a up to 15, denser near 0
    yield "MILLS_OVER", "Phi(-a) / phi(a) = MILLS_OVER(a) / MILLS_UNDER(a), 0 <= a <= 15, to 3e-14", over
    yield "MILLS_UNDER", "", under


def text(heading: str, constants: Iterator[Constant]) -> str:
    """The text of a module."""
    lines = [heading]
    for name, comment, values in constants:
        lines += [f"# {comment}"] if comment else []
        if len(values) == 1:
            lines.append(f"{name} = {float(values[0])!r}")
        else:
            lines += [f"{name} = (", *(f"    {float(value)!r}," for value in values), ")"]
    return "\n".join(lines) + "\n"


def digits_of_inverse_pi() -> str:
    """The text of the constants that Payne and Hanek's reduction needs."""
    bits = 1216
    with mpmath.workprec(bits + 64):
        digits = f"{int(mp.floor(mp.ldexp(1 / mp.pi, bits))):0{bits // 4}x}"
    lines = [
        f"# The first {bits} bits of 1 / pi",
        f"INV_PI_BITS = {bits}",
        "INV_PI_DIGITS = int(",
        *(f'    "{digits[i : i + 76]}"' for i in range(0, len(digits) - 76, 76)),
        f'    "{digits[-76:]}",',
        "    16,",
        ")",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the modules, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    made = {
        "core/src/samebits/core/constants.py": text(CORE, elementary()) + digits_of_inverse_pi(),
        "nn/src/samebits/nn/mills.py": text(NN, normal_tail()),
    }
    same = True
    for name, content in made.items():
        path = PACKAGES / name
        if not check:
            path.write_text(content, encoding="utf-8", newline="\n")
        elif path.read_text(encoding="utf-8") != content:
            print(f"{name} is not what this script makes")
            same = False
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
