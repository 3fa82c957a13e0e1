"""Calls: the address of an array, and what a kernel's answers mean."""

import struct
from typing import Any

import numpy as np
import pytest

from samebits import kernels
from samebits.kernels.kernel import BLOCK, Kernel, address


@pytest.mark.parametrize(
    "x", [np.zeros(3, np.float32), np.zeros((2, 3))[1:, ::2], np.zeros(()), np.zeros(5, np.int64)[::-1], np.zeros(0)]
)
def test_the_address_of_an_array_is_that_of_its_data(x: Any) -> None:
    assert address(x) == x.ctypes.data


def answers(answer: int) -> Kernel:
    def function(job: bytes) -> int:
        start, stop = struct.unpack_from("2q", job)
        assert start < stop
        return answer

    return Kernel("double", function)


@pytest.mark.parametrize("rows", [1, 10 * BLOCK])
def test_an_answer_says_whether_numpy_must_compute_or_an_argument_is_not_finite(rows: int) -> None:
    x = np.empty(1)
    assert answers(0)(rows, 1, [x]) is True
    assert answers(2)(rows, 1, [x]) is False
    with pytest.raises(FloatingPointError):
        answers(1)(rows, 1, [x])


def test_a_kernel_says_its_name() -> None:
    assert repr(answers(0)) == "Kernel('double')"
    assert kernels.find("no such kernel", "baseline") is None
