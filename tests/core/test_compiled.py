"""Which version of a pair is called, and with what arrays; `Compiled` stands for a function of the library."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from samebits.core import compiled
from samebits.core.compiled import Pair, call, run


class Compiled:
    """Doubles in C's place, notes what it was given, and returns False after ``answers``."""

    def __init__(self, answers: int = 2**30) -> None:
        self.calls: list[tuple[int, int, int]] = []
        self.answers = answers

    def __call__(self, rows: int, columns: int, arrays: list[Any], group: int, dtypes: int = 0) -> bool | None:
        contiguous = all(x.flags.c_contiguous for x in arrays)
        if dtypes and not (contiguous and {x.dtype for x in arrays} == {np.dtype(np.float32)}):
            return None
        self.calls.append((rows, columns, group))
        assert contiguous
        np.add(arrays[1], arrays[1], out=arrays[0])
        return len(self.calls) <= self.answers


def double(out: Any, x: Any) -> None:
    """Stands for the NumPy version, and says that it was called."""
    np.copyto(out, np.full(x.shape, -1.0), casting="same_kind")


@pytest.fixture
def kernel() -> Iterator[Compiled]:
    found = Compiled()
    compiled.PAIRS[double] = [Pair("double", (np.dtype(np.float32),) * 2, double, found)]
    yield found
    del compiled.PAIRS[double]


def floats(*shape: int) -> Any:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_contiguous_arrays_of_the_right_dtype_are_computed_in_one_call(kernel: Compiled) -> None:
    x, out = floats(4, 3), np.empty((4, 3), np.float32)
    assert run(double, [out], [x], group=2)
    assert out.tolist() == (2 * x).tolist()
    assert kernel.calls == [(4, 3, 2)]


@pytest.mark.parametrize(
    "arrays",
    [
        (np.empty(3), floats(3)),
        (np.empty(3, np.float32), floats(3).astype(np.float64)),
        (np.empty(3, np.float32), np.float32(1)),
        (np.empty(3, np.float32), floats(3), floats(3)),
    ],
    ids=["result", "argument", "scalar", "number of arrays"],
)
def test_other_arrays_are_left_to_numpy(kernel: Compiled, arrays: tuple[Any, ...]) -> None:
    assert not run(double, arrays[:1], arrays[1:])
    assert kernel.calls == []


def test_arrays_that_are_not_contiguous_are_copied_by_blocks_of_whole_groups(
    kernel: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_COPIED", 3 * 2 * 4 * 3)
    x, out = floats(14, 6)[::2, ::2], np.empty((3, 7), np.float32).T
    assert run(double, [out], [x], group=2)
    assert out.tolist() == (2 * x).tolist()
    assert [call[0] for call in kernel.calls] == [6, 1]


def test_a_kernel_that_cannot_decide_leaves_all_to_numpy(kernel: Compiled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_COPIED", 1)
    kernel.answers = 1
    out = np.empty(3, np.float32)
    call(double, [out], [floats(6)[::2]], [])
    assert (len(kernel.calls), out.tolist()) == (2, [-1, -1, -1])


@pytest.mark.usefixtures("kernel")
def test_with_rows_of_its_own_arguments_are_copied_whole_and_results_must_be_contiguous() -> None:
    x, out = floats(3, 4)[:, ::2], np.empty((3, 2), np.float32)
    assert run(double, [out], [x], work=(3, 2))
    assert out.tolist() == (2 * x).tolist()
    assert not run(double, [np.empty((2, 3), np.float32).T], [x], work=(3, 2))


def test_a_function_without_a_pair_is_numpys() -> None:
    call(double, [out := np.empty(2)], [np.ones(2)], [])
    assert out.tolist() == [-1, -1]


def test_numpy_versions_can_be_taken_and_put_back() -> None:
    before = [pair.kernel for pair in compiled.pairs()]
    try:
        compiled.use(None)
        assert {pair.kernel for pair in compiled.pairs()} == {None}
    finally:
        for pair, kernel in zip(compiled.pairs(), before, strict=True):
            pair.kernel = kernel
