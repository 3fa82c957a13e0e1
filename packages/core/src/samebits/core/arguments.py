"""Argument checks: one wording for one mistake, in every package.

Each check takes the name of the public function and of its argument, and returns the value in the type that the function
computes with. A message says what the argument must be, what it was, and the remedy where there is one:

    matmul: a must be float32, got float64; convert with a.astype(np.float32)
    normal: size must be an int or a tuple of ints, got (2.0, 3)

Arrays and NumPy scalars have a dtype that someone chose, so another one is refused. Python numbers, and lists and tuples
of them, have none, and are converted. Options such as an axis may be Python or NumPy numbers; a bool is not a number.
"""

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["axes", "axis_index", "check_out", "finite", "float_array", "integer", "integer_array", "number", "shape_tuple"]

Array = NDArray[Any]
Floats = tuple[type[np.floating[Any]], ...]


def float_array(function: str, name: str, x: object, dtypes: Floats = (np.float32,)) -> Array:
    """Return ``x`` as an array of one of ``dtypes``.

    Python numbers, and lists and tuples of numbers, are converted to the first of ``dtypes``.

    Raises:
        TypeError: ``x`` has another dtype, or is a masked array.
        ValueError: ``x`` is a list of rows of different lengths.

    Example:
        >>> float_array("exp", "x", [1, 2.5])
        array([1. , 2.5], dtype=float32)
        >>> float_array("exp", "x", np.ones(2))
        Traceback (most recent call last):
        TypeError: exp: x must be float32, got float64; convert with x.astype(np.float32)
    """
    array = _array(function, name, x)
    if array.dtype.type in dtypes and array.dtype.isnative:
        return array
    if _is_python(x) and array.dtype.kind in "biuf":
        with np.errstate(over="ignore"):
            return array.astype(dtypes[0])
    raise _wrong_dtype(function, name, x, " or ".join(dtype.__name__ for dtype in dtypes), dtypes[0].__name__)


def integer_array(function: str, name: str, x: object) -> NDArray[np.int64]:
    """Return ``x``, integers of any dtype or a list of ints, as an int64 array.

    Raises:
        TypeError: ``x`` is not of an integer dtype.
        ValueError: an integer does not fit int64.

    Example:
        >>> integer_array("bincount", "ids", [2, 0, 2]).dtype
        dtype('int64')
    """
    array = _array(function, name, x)
    if array.dtype.kind not in "iu" and not (_is_python(x) and array.size == 0):
        raise _wrong_dtype(function, name, x, "integers", "int64")
    if array.dtype.itemsize == 8 and array.dtype.kind == "u" and (array > np.uint64(2**63 - 1)).any():
        raise ValueError(f"{function}: {name} must fit int64, got {np.maximum.reduce(array, axis=None)}")
    return array.astype(np.int64, copy=False)


def check_out(function: str, out: object, shape: tuple[int, ...]) -> None:
    """Check that ``out`` can hold a float32 result of ``shape``.

    Raises:
        TypeError: ``out`` is not a float32 array, or is a masked array.
        ValueError: ``out`` has another shape, or is read-only.
    """
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{function}: out must be a float32 array, got {type(out).__name__}")
    if isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"{function}: out must not be a masked array; pass out.data")
    if out.dtype != np.float32:
        raise TypeError(f"{function}: out must be float32, got {out.dtype}")
    if out.shape != shape:
        raise ValueError(f"{function}: out must have shape {shape}, got {out.shape}")
    if not out.flags.writeable:
        raise ValueError(f"{function}: out must be writeable, got a read-only array")


def integer(function: str, name: str, value: object, least: int | None = None, most: int | None = None) -> int:
    """Return ``value``, a Python or NumPy int from ``least`` to ``most``, as an int.

    Raises:
        TypeError: ``value`` is a bool, a float or anything else.
        ValueError: ``value`` is out of range.

    Example:
        >>> integer("bincount", "minlength", np.int64(3), least=0)
        3
        >>> integer("bincount", "minlength", -1, least=0)
        Traceback (most recent call last):
        ValueError: bincount: minlength must be at least 0, got -1
    """
    if not _is_integer(value):
        raise TypeError(f"{function}: {name} must be an int, got {value!r}")
    result = operator.index(value)  # type: ignore[arg-type]
    if (least is not None and result < least) or (most is not None and result > most):
        limits = f"at least {least}" if most is None else f"at most {most}" if least is None else f"from {least} to {most}"
        raise ValueError(f"{function}: {name} must be {limits}, got {result}")
    return result


def number(function: str, name: str, value: object) -> float:
    """Return ``value``, a Python or NumPy int or float, as a float.

    Raises:
        TypeError: ``value`` is a bool, an array or anything else.

    Example:
        >>> number("normal", "std", np.float32(0.5))
        0.5
    """
    if not (_is_integer(value) or isinstance(value, float | np.floating)):
        raise TypeError(f"{function}: {name} must be a number, got {value!r}")
    return float(value)  # type: ignore[arg-type]


def finite(function: str, name: str, value: object, dtype: type[np.floating[Any]] = np.float32) -> float:
    """Return ``value``, a number within the range of ``dtype``, as a float.

    Raises:
        TypeError: ``value`` is not a number.
        ValueError: ``value`` is infinite or NaN in ``dtype``.
    """
    result = number(function, name, value)
    if not abs(result) <= float(np.finfo(dtype).max):
        raise ValueError(f"{function}: {name} must be finite in {dtype.__name__}, got {result}")
    return result


def shape_tuple(function: str, name: str, value: object) -> tuple[int, ...]:
    """Return a shape, given as an int or a tuple of ints, as a tuple.

    Raises:
        TypeError: ``value`` is neither.
        ValueError: a length is negative.

    Example:
        >>> shape_tuple("normal", "size", np.int64(3))
        (3,)
        >>> shape_tuple("normal", "size", (2.0, 3))
        Traceback (most recent call last):
        TypeError: normal: size must be an int or a tuple of ints, got (2.0, 3)
    """
    lengths = tuple(value) if isinstance(value, tuple | list) else (value,)
    if not all(map(_is_integer, lengths)):
        raise TypeError(f"{function}: {name} must be an int or a tuple of ints, got {value!r}")
    shape = tuple(map(operator.index, lengths))
    if any(length < 0 for length in shape):
        raise ValueError(f"{function}: {name} must not be negative, got {value!r}")
    return shape


def axis_index(function: str, axis: object, ndim: int, name: str = "x") -> int:
    """Return an axis of an array with ``ndim`` axes, counted from the first.

    Raises:
        TypeError: ``axis`` is not an int.
        numpy.exceptions.AxisError: the array called ``name`` has no such axis.

    Example:
        >>> axis_index("softmax", -1, 3)
        2
    """
    index = integer(function, "axis", axis)
    if not -ndim <= index < ndim:
        limits = f"from {-ndim} to {ndim - 1}" if ndim else "None"
        raise np.exceptions.AxisError(f"{function}: axis must be {limits} for {name} with {ndim} axes, got {index}")
    return index % ndim


def axes(function: str, axis: object, ndim: int, name: str = "x") -> tuple[int, ...]:
    """Return the axes that an int, a tuple of ints or None (all axes) means, sorted, counted from the first.

    Raises:
        TypeError: ``axis`` is none of these.
        numpy.exceptions.AxisError: the array called ``name`` has no such axis.
        ValueError: an axis is given twice.

    Example:
        >>> axes("sum", (-1, 0), 3)
        (0, 2)
    """
    if axis is None:
        return tuple(range(ndim))
    given = axis if isinstance(axis, tuple) else (axis,)
    if not all(map(_is_integer, given)):
        raise TypeError(f"{function}: axis must be an int, a tuple of ints or None, got {axis!r}")
    found = {axis_index(function, i, ndim, name) for i in given}
    if len(found) < len(given):
        raise ValueError(f"{function}: axis must name each axis once, got {axis}")
    return tuple(sorted(found))


def _array(function: str, name: str, x: object) -> Array:
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{function}: {name} must not be a masked array; convert with {name}.filled(value)")
    try:
        return np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{function}: {name} must have rows of equal lengths: {error}") from error


def _is_python(x: object) -> bool:
    """Whether no dtype was chosen for ``x``; np.float64 is a float too."""
    return isinstance(x, int | float | list | tuple) and not isinstance(x, np.generic)


def _is_integer(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _wrong_dtype(function: str, name: str, x: object, required: str, dtype: str) -> TypeError:
    actual = np.asarray(x).dtype
    given = actual if isinstance(x, np.ndarray | np.generic | list | tuple) else type(x).__name__
    remedy = f"; convert with {name}.astype(np.{dtype})" if actual.kind in "biuf" else ""
    return TypeError(f"{function}: {name} must be {required}, got {given}{remedy}")
