"""Checks of arguments: numbers within limits, flags, multiples, integers. Others are in `samebits.core.arguments`.

    SGD: momentum must be at least 0 and below 1, got 1.0

NumPy scalars become Python numbers, so they have the same bits as these. A wrong type is a TypeError, a value out of range a
ValueError.
"""

import math

import numpy as np
import numpy.typing as npt

from samebits.autograd import Tensor
from samebits.core.arguments import integer_array, number

__all__ = ["check_multiple", "flag", "integers", "number_within"]


def number_within(
    function: str,
    name: str,
    value: object,
    *,
    least: float = 0.0,
    above: float | None = None,
    below: float = math.inf,
    most: float = math.inf,
) -> float:
    """Return ``value``, a finite number within limits, as a float.

    Args:
        function: The function in the message.
        name: The argument in the message.
        value: The number.
        least: The least value, unless ``above`` is given: the number is above that.
        above: See there.
        below: The number is below it.
        most: The greatest value.

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
    high_enough = result >= least if above is None else result > above
    if not (high_enough and result < below and result <= most and math.isfinite(result)):
        limits = ["finite"] if min(below, most) == math.inf else []
        if above is not None or least > -math.inf:
            limits.append(f"at least {least:g}" if above is None else f"above {above:g}")
        limits += [f"below {below:g}"] if below < math.inf else [f"at most {most:g}"] if most < math.inf else []
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


def integers(function: str, name: str, value: object) -> npt.NDArray[np.int64]:
    """Return ``value``, integers of any dtype in an array, a tensor or a list, as an int64 array, which may be ``value`` itself.

    Raises:
        TypeError: They are not integers.
        ValueError: One does not fit int64, or a list is ragged.

    Example:
        >>> integers("attention", "offset", Tensor([3, 5]))
        array([3, 5])
    """
    return integer_array(function, name, value.data if isinstance(value, Tensor) else value)


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
