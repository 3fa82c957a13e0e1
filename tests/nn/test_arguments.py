"""Checks of arguments: both sides of every limit, NumPy scalars, and integers of any width."""

import math
from typing import Any

import numpy as np
import pytest

from samebits.autograd import Tensor
from samebits.core import Stream
from samebits.nn.arguments import require_count, require_flag, require_integers, require_multiple, require_number, require_stream

pytestmark = pytest.mark.once


@pytest.mark.parametrize("value", [1, np.int64(1), np.int32(1), np.uint8(1), np.array(1)])
def test_counts_of_any_integer_type_become_python_ints(value: Any) -> None:
    count = require_count("f", "n", value)
    assert count == 1 and type(count) is int


@pytest.mark.parametrize("value", [1.0, "1", None, (1,), True, np.bool_(True), np.float32(1)])
def test_a_count_must_be_an_int(value: Any) -> None:
    with pytest.raises(TypeError, match="f: n must be an int of at least 1, got"):
        require_count("f", "n", value)


def test_a_count_must_not_be_below_its_least() -> None:
    assert (require_count("f", "n", 0, least=0), require_count("f", "n", 2, least=2)) == (0, 2)
    for value, least in ((-1, 0), (0, 1), (1, 2)):
        with pytest.raises(ValueError, match=f"f: n must be an int of at least {least}, got {value}"):
            require_count("f", "n", value, least=least)


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.5), np.float64(0.5), np.float16(0.5), np.int64(1)])
def test_numbers_of_any_type_become_python_floats(value: Any) -> None:
    number = require_number("f", "x", value)
    assert number == value and type(number) is float


@pytest.mark.parametrize("value", ["1", None, (0.5,), True, np.bool_(True), 1j, np.array([0.5])])
def test_a_number_must_be_a_number(value: Any) -> None:
    with pytest.raises(TypeError, match="f: x must be a finite number of at least 0, got"):
        require_number("f", "x", value)


BELOW_1 = math.nextafter(1.0, 0.0)
TINY = math.nextafter(0.0, 1.0)


@pytest.mark.parametrize(
    ("limits", "inside", "outside", "required"),
    [
        ({}, [0.0, 1e308], [-TINY, math.inf, math.nan], "a finite number of at least 0"),
        ({"above": 0}, [TINY, 1e308], [0.0, -0.0, math.inf, math.nan], "a finite number above 0"),
        ({"below": 1}, [0.0, BELOW_1], [-TINY, 1.0, math.nan], "a number of at least 0 and below 1"),
        ({"above": 0, "below": 1}, [TINY, BELOW_1], [0.0, 1.0], "a number above 0 and below 1"),
        ({"least": -math.inf}, [-1e308, 1e308], [math.inf, math.nan], "a finite number"),
    ],
)
def test_a_number_must_be_within_its_limits(
    limits: dict[str, float], inside: list[float], outside: list[float], required: str
) -> None:
    for value in inside:
        assert require_number("f", "x", value, **limits) == value
    for value in outside:
        with pytest.raises(ValueError, match=f"f: x must be {required}, got {value}"):
            require_number("f", "x", value, **limits)


def test_a_flag_must_be_a_bool() -> None:
    assert require_flag("f", "b", np.bool_(False)) is False
    with pytest.raises(TypeError, match="f: b must be True or False, got 1"):
        require_flag("f", "b", 1)


def test_a_count_must_be_a_multiple_of_another() -> None:
    require_multiple("f", a=6, b=3)
    with pytest.raises(ValueError, match="f: a must be a multiple of b, got a=6 and b=4"):
        require_multiple("f", a=6, b=4)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64, ">i4"])
def test_integers_of_any_width_become_int64(dtype: Any) -> None:
    found = require_integers("f", "ids", np.array([[1, 2], [3, 100]], dtype))
    assert found.dtype == np.int64 and found.dtype.isnative and found.tolist() == [[1, 2], [3, 100]]


@pytest.mark.parametrize(
    ("value", "expected"), [(3, 3), ([1, 2], [1, 2]), (([1], [2]), [[1], [2]]), ([], []), ([[], []], [[], []])]
)
def test_python_ints_and_lists_of_them_become_int64(value: Any, expected: Any) -> None:
    found = require_integers("f", "ids", value)
    assert found.dtype == np.int64 and found.tolist() == expected


def test_a_tensor_of_integers_becomes_a_copy() -> None:
    tensor = Tensor([1, 2])
    found = require_integers("f", "ids", tensor)
    found[0] = 7
    assert tensor.tolist() == [1, 2]


@pytest.mark.parametrize("value", [[0.0], np.zeros(0, np.float32), True, [True], ["1"], None, 1j, Tensor([1.0]), [2**70]])
def test_what_is_not_an_integer_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="f: ids must be integers, got"):
        require_integers("f", "ids", value)


def test_an_integer_must_fit_int64() -> None:
    largest = np.array([2**63 - 1, 2**63], np.uint64)
    assert require_integers("f", "ids", largest[:1]).tolist() == [2**63 - 1]
    with pytest.raises(ValueError, match="f: ids must fit int64, got 9223372036854775808"):
        require_integers("f", "ids", largest)


def test_a_ragged_list_is_refused() -> None:
    with pytest.raises(ValueError, match="f: ids must be integers in a regular array"):
        require_integers("f", "ids", [[1], [2, 3]])


@pytest.mark.parametrize("value", [0, None, Stream])
def test_a_stream_must_be_a_stream(value: Any) -> None:
    stream = Stream(0)
    assert require_stream("f", stream) is stream
    with pytest.raises(TypeError, match=r"f: stream must be a Stream, such as stream=Stream\(0\), got"):
        require_stream("f", value)
