"""Checks of options: both sides of every limit, and NumPy scalars."""

import math
from typing import Any

import numpy as np
import pytest

from samebits.nn.arguments import check_multiple, flag, number_within

pytestmark = pytest.mark.once


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.5), np.float64(0.5), np.float16(0.5), np.int64(1)])
def test_numbers_of_any_type_become_python_floats(value: Any) -> None:
    number = number_within("f", "x", value)
    assert number == value and type(number) is float


@pytest.mark.parametrize("value", ["1", None, (0.5,), True, np.bool_(True), 1j, np.array([0.5])])
def test_a_number_must_be_a_number(value: Any) -> None:
    with pytest.raises(TypeError, match="f: x must be a number, got"):
        number_within("f", "x", value)


BELOW_1 = math.nextafter(1.0, 0.0)
TINY = math.nextafter(0.0, 1.0)


@pytest.mark.parametrize(
    ("limits", "inside", "outside", "required"),
    [
        ({}, [0.0, 1e308], [-TINY, math.inf, math.nan], "finite and at least 0"),
        ({"above": 0}, [TINY, 1e308], [0.0, -0.0, math.inf, math.nan], "finite and above 0"),
        ({"below": 1}, [0.0, BELOW_1], [-TINY, 1.0, math.nan], "at least 0 and below 1"),
        ({"above": 0, "below": 1}, [TINY, BELOW_1], [0.0, 1.0], "above 0 and below 1"),
        ({"least": -math.inf}, [-1e308, 1e308], [math.inf, -math.inf, math.nan], "finite"),
    ],
)
def test_a_number_must_be_within_its_limits(
    limits: dict[str, float], inside: list[float], outside: list[float], required: str
) -> None:
    for value in inside:
        assert number_within("f", "x", value, **limits) == value
    for value in outside:
        with pytest.raises(ValueError, match=f"f: x must be {required}, got {value}"):
            number_within("f", "x", value, **limits)


def test_a_flag_must_be_a_bool() -> None:
    assert flag("f", "b", np.bool_(False)) is False
    with pytest.raises(TypeError, match="f: b must be True or False, got 1"):
        flag("f", "b", 1)


def test_a_count_must_be_a_multiple_of_another() -> None:
    check_multiple("f", a=6, b=3)
    with pytest.raises(ValueError, match="f: a must be a multiple of b, got a=6 and b=4"):
        check_multiple("f", a=6, b=4)
