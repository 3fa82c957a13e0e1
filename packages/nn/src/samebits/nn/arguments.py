"""Checks of options: numbers within limits, flags, multiples. Those of ints, arrays and streams are in `samebits.core`.

    SGD: momentum must be at least 0 and below 1, got 1.0

NumPy scalars become Python numbers, so they have the same bits as these. A wrong type is a TypeError, a value out of range a
ValueError.
"""

import math

import numpy as np

from samebits.core.arguments import number

__all__ = ["check_multiple", "flag", "number_within"]


def number_within(
    function: str, name: str, value: object, *, least: float = 0.0, above: float | None = None, below: float = math.inf
) -> float:
    """Return ``value``, a finite number of at least ``least`` (above ``above`` if that is given) and below ``below``, as a float.

    Raises:
        TypeError: ``value`` is not a number.
        ValueError: ``value`` is out of range.

    Example:
        >>> number_within("SGD", "momentum", np.float64(0.9), below=1)
        0.9
        >>> number_within("SGD", "learning_rate", 0, above=0)
        Traceback (most recent call last):
            ...
        ValueError: SGD: learning_rate must be finite and above 0, got 0.0
    """
    result = number(function, name, value)
    if not (result < below and (result >= least if above is None else result > above)) or abs(result) == math.inf:
        limits = ["finite"] if below == math.inf else []
        if above is not None or least != -math.inf:
            limits.append(f"at least {least:g}" if above is None else f"above {above:g}")
        limits += [f"below {below:g}"] if below < math.inf else []
        raise ValueError(f"{function}: {name} must be {' and '.join(limits)}, got {result}")
    return result


def flag(function: str, name: str, value: object) -> bool:
    """Return ``value``, a bool of Python's or NumPy's, as Python's.

    Raises:
        TypeError: ``value`` is not a bool.

    Example:
        >>> flag("SGD", "nesterov", np.bool_(True))
        True
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{function}: {name} must be True or False, got {value!r}")
    return bool(value)


def check_multiple(function: str, **counts: int) -> None:
    """Check that the first of two counts is a multiple of the second.

    Raises:
        ValueError: It is not.

    Example:
        >>> check_multiple("MultiHeadAttention", channels=6, heads=4)
        Traceback (most recent call last):
            ...
        ValueError: MultiHeadAttention: channels must be a multiple of heads, got channels=6 and heads=4
    """
    (a, first), (b, second) = counts.items()
    if first % second:
        raise ValueError(f"{function}: {a} must be a multiple of {b}, got {a}={first} and {b}={second}")
