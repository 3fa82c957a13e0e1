"""Calls: the address of an array, and what a kernel's answers mean."""

import gc
import struct
import threading
import weakref
from typing import Any

import numpy as np
import pytest

from samebits import kernels
from samebits.core import Stream
from samebits.kernels.kernel import BLOCK, Kernel


@pytest.mark.parametrize("offset", [None, -1])
@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 5), (100_000,)])
def test_a_kernel_is_given_the_data_of_its_arrays(shape: Any, offset: int | None, level: str, monkeypatch: Any) -> None:
    if offset is not None:  # where NumPy keeps the address elsewhere
        monkeypatch.setattr("samebits.kernels.kernel._OFFSET", offset)
    x, out = np.array(Stream(1).uniform(shape)), np.empty(shape, np.float32)
    kernel = kernels.find("sqrt_float32", level)
    assert kernel is not None
    assert kernel(x.size, 1, [out, x])
    assert np.array_equal(out, np.sqrt(x))


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


def test_arrays_live_as_long_as_a_thread_works_on_them(monkeypatch: pytest.MonkeyPatch) -> None:
    caller, begun, go_on, done = threading.get_ident(), threading.Event(), threading.Event(), threading.Event()

    def function(_: bytes) -> int:
        if threading.get_ident() == caller:
            begun.wait(30)
        else:
            begun.set()
            go_on.wait(30)
            done.set()
        return 0

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    before = kernels.threads()
    try:
        kernels.threads(2)
        x = np.empty(10 * BLOCK)
        alive = weakref.ref(x)
        with monkeypatch.context() as patch:
            patch.setattr("concurrent.futures.Future.result", interrupted)
            with pytest.raises(KeyboardInterrupt):
                Kernel("double", function)(x.size, 1, [x])
        del x
        gc.collect()
        assert alive() is not None
        go_on.set()
        assert done.wait(30)
    finally:
        go_on.set()
        kernels.threads(before)
