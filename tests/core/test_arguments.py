"""Argument checks: Python numbers are converted, other dtypes refused with the remedy, and every message names its argument."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from samebits import core
from samebits.core import arguments

FLOATS = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
CALLS: dict[str, Callable[[Any], Any]] = {
    **{
        name: getattr(core, name)
        for name in ("sum", "mean", "var", "std", "max", "min", "norm", "logsumexp", "cumsum", "argsort")
    },
    **{name: getattr(core, name) for name in ("exp", "log1p", "tanh", "erf", "rsqrt")},
    "prepare": lambda x: core.prepare(x).values,
    "matmul": lambda x: core.matmul(x, x),
    "dot": lambda x: core.dot(x, x),
    "vecdot": lambda x: core.vecdot(x, x),
    "segment_sum": lambda x: core.segment_sum(x, [1, 0], 2),
    "embedding_gradient": lambda x: core.embedding_gradient([1, 0], x, 2),
}


@pytest.mark.parametrize("name", CALLS)
def test_lists_of_numbers_give_the_bits_of_the_float32_array(name: str) -> None:
    expected = CALLS[name](FLOATS)
    for given in (FLOATS.tolist(), tuple(FLOATS.tolist())):
        found = CALLS[name](given)
        assert found.dtype == expected.dtype
        assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", ["float64", "float16", "bool"])
def test_arrays_of_another_dtype_are_refused_with_the_remedy(name: str, dtype: str) -> None:
    message = rf"{name}: \w+ must be float32, got {dtype}; convert with \w+\.astype\(np\.float32\)"
    with pytest.raises(TypeError, match=message):
        CALLS[name](FLOATS.astype(dtype))


def test_numbers_beyond_float32_become_infinite_without_a_warning() -> None:
    with np.errstate(all="raise"):
        assert arguments.float_array("exp", "x", [1e300]).tolist() == [np.inf]


def test_the_first_of_several_dtypes_is_that_of_python_numbers() -> None:
    dtypes = (np.float32, np.float64)
    assert arguments.float_array("exp", "x", 1, dtypes).dtype == np.float32
    assert arguments.float_array("exp", "x", np.float64(1), dtypes).dtype == np.float64


@pytest.mark.parametrize("given", [[0, 2], (0, 2), [], *(np.array([0, 2], dtype) for dtype in ("i1", "u2", "i4", ">i8", "u8"))])
def test_integers_of_any_dtype_become_int64(given: Any) -> None:
    found = arguments.integer_array("take", "ids", given)
    assert found.dtype == np.int64
    assert found.tolist() == list(given)


def test_out_is_returned_filled_or_refused() -> None:
    arguments.check_out("exp", np.empty(3, np.float32), (3,))
    with pytest.raises(ValueError, match=r"exp: out must have shape \(4,\), got \(3,\)"):
        arguments.check_out("exp", np.empty(3, np.float32), (4,))


def test_axes_are_sorted_and_counted_from_the_first() -> None:
    assert arguments.axes("sum", None, 3) == (0, 1, 2)
    assert arguments.axes("sum", (), 3) == ()
    assert arguments.axes("sum", (np.int64(-1), 0), 3) == (0, 2)
    assert arguments.axis_index("softmax", np.int8(-1), 2) == 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda a: a.float_array("f", "x", "1"), TypeError, "f: x must be float32, got str"),
        (lambda a: a.float_array("f", "x", None), TypeError, "f: x must be float32, got NoneType"),
        (lambda a: a.float_array("f", "x", [1, "2"]), TypeError, "f: x must be float32, got <U"),
        (lambda a: a.float_array("f", "x", [1j]), TypeError, "f: x must be float32, got complex128"),
        (lambda a: a.float_array("f", "x", [[1], [2, 3]]), ValueError, "f: x must have rows of equal lengths"),
        (
            lambda a: a.float_array("f", "x", 1j, (np.float32, np.float64)),
            TypeError,
            "f: x must be float32 or float64, got complex",
        ),
        (
            lambda a: a.float_array("f", "x", np.ma.masked_array([1.0])),
            TypeError,
            "f: x must not be a masked array; convert with x.fi",
        ),
        (
            lambda a: a.integer_array("f", "ids", [1.0]),
            TypeError,
            "f: ids must be integers, got float64; convert with ids.astype(np.int64)",
        ),
        (lambda a: a.integer_array("f", "ids", [True]), TypeError, "f: ids must be integers, got bool"),
        (
            lambda a: a.integer_array("f", "ids", np.array([2**63], np.uint64)),
            ValueError,
            "f: ids must fit int64, got 9223372036854775808",
        ),
        (lambda a: a.integer("f", "n", True), TypeError, "f: n must be an int, got True"),
        (lambda a: a.integer("f", "n", 2.0), TypeError, "f: n must be an int, got 2.0"),
        (lambda a: a.integer("f", "n", 0, least=1), ValueError, "f: n must be at least 1, got 0"),
        (lambda a: a.integer("f", "n", 9, most=8), ValueError, "f: n must be at most 8, got 9"),
        (lambda a: a.integer("f", "n", np.int64(9), 1, 8), ValueError, "f: n must be from 1 to 8, got 9"),
        (lambda a: a.number("f", "p", "1"), TypeError, "f: p must be a number, got '1'"),
        (lambda a: a.number("f", "p", False), TypeError, "f: p must be a number, got False"),
        (lambda a: a.finite("f", "p", 1e39), ValueError, "f: p must be finite in float32, got 1e+39"),
        (lambda a: a.finite("f", "p", np.nan, np.float64), ValueError, "f: p must be finite in float64, got nan"),
        (lambda a: a.shape_tuple("f", "size", (2.0, 3)), TypeError, "f: size must be an int or a tuple of ints, got (2.0, 3)"),
        (lambda a: a.shape_tuple("f", "size", (2, -3)), ValueError, "f: size must not be negative, got (2, -3)"),
        (lambda a: a.axis_index("f", 0, 0), np.exceptions.AxisError, "f: axis must be None for x with 0 axes, got 0"),
        (
            lambda a: a.axis_index("f", 2, 2, "a"),
            np.exceptions.AxisError,
            "f: axis must be from -2 to 1 for a with 2 axes, got 2",
        ),
        (lambda a: a.axes("f", [0], 2), TypeError, "f: axis must be an int, a tuple of ints or None, got [0]"),
        (lambda a: a.axes("f", (0, True), 2), TypeError, "f: axis must be an int, a tuple of ints or None, got (0, True)"),
        (lambda a: a.axes("f", (1, -1), 2), ValueError, "f: axis must name each axis once, got (1, -1)"),
    ],
)
def test_messages_name_function_argument_value_and_requirement(
    call: Callable[[Any], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call(arguments)


def test_a_masked_out_is_refused() -> None:
    with pytest.raises(TypeError, match="f: out must not be a masked array"):
        arguments.check_out("f", np.ma.masked_array(np.zeros(3, np.float32)), (3,))
