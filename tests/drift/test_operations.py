"""The operations have different names, inputs with fixed bits, and repeatable digests."""

import numpy as np
import pytest

import samebits.core
from samebits.core import digest
from samebits.drift import inputs, operation, operations
from samebits.drift.operation import Operation

pytestmark = pytest.mark.once

EXPECTED = "38128752 c2dc80c8 d20e4838 e8355552 6eb2ecd7 f36123f4 6ac9eed4 a9c9f0e4 d7bbb5ff ab862323 3b443578"


def test_no_two_operations_have_the_same_name() -> None:
    names = [one.name for one in operations.all_operations()]
    assert len(names) > 200
    assert len(set(names)) == len(names)


def test_inputs_are_the_same_everywhere() -> None:
    arrays = [inputs.named(name, dtype) for name in ("unit", "wide", "positive", "signs") for dtype in ("float32", "float64")]
    arrays += [inputs.matrix(1, 3, 4), inputs.matrix(1, 3, 4, dtype="float32"), inputs.integers(2, 10, 50)]
    assert [digest(array)[:8] for array in arrays] == EXPECTED.split()


def test_inputs_lie_in_their_ranges() -> None:
    for dtype in ("float32", "float64"):
        assert inputs.named("positive", dtype).min() > 0
        assert inputs.named("above", dtype).min() >= 1
        assert np.abs(inputs.named("wide", dtype)).max() < 16
        signs = np.signbit(inputs.named("signs", dtype))
        assert 0 < signs.sum() < signs.size
        assert inputs.named("wide", dtype).dtype == dtype


def test_measuring_twice_gives_equal_digests_and_only_missing_functions_fail() -> None:
    first, second = operations.measure_operations(), operations.measure_operations()
    assert first == second
    failed = {name: one["errors"] for name, one in first["operations"].items() if one["errors"]}
    assert set(failed) <= {"vecdot"}  # NumPy 1.26 has none
    assert all(one["digest"] or name in failed for name, one in first["operations"].items())


def test_a_failing_operation_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    table = [Operation("g", "bad", "no_such_function"), Operation("g", "good", "sqrt", [np.float32(4)])]
    monkeypatch.setattr(operations, "all_operations", lambda: table)
    found = operations.measure_operations()["operations"]
    assert found["bad"]["errors"] == ["AttributeError: module 'numpy' has no attribute 'no_such_function'"]
    assert found["good"]["digest"] == digest(np.float32(2))[:16]


def test_counterparts_get_the_same_arguments_and_missing_ones_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samebits.core, "double", lambda x: x + x, raising=False)
    table = [
        Operation("g", "double", "square", [np.float32(3)], counterpart="double"),
        Operation(
            "g",
            "called otherwise",
            "square",
            [np.float32(3)],
            counterpart="double",
            counterpart_call=operation.called_with(np.float32(5)),
        ),
        Operation("g", "missing", "square", [np.float32(3)], counterpart="no_such_function"),
        Operation("g", "failing", "square", [np.float32(3), np.float32(3)], counterpart="double"),
    ]
    monkeypatch.setattr(operations, "all_operations", lambda: table)
    found = operations.measure_operations()["operations"]
    assert found["double"]["counterpart_digest"] == digest(np.float32(6))[:16]
    assert found["called otherwise"]["counterpart_digest"] == digest(np.float32(10))[:16]
    assert (found["missing"]["counterpart"], found["missing"]["counterpart_digest"], found["missing"]["errors"]) == ("", "", [])
    assert found["failing"]["errors"][-1].startswith("samebits: TypeError")


def test_results_of_several_arrays_have_one_digest_in_their_order() -> None:
    one, two = np.zeros(2), np.ones(2)
    assert operations.fingerprint((one, two)) != operations.fingerprint((two, one))
    assert operations.fingerprint((one, (two,))) != operations.fingerprint((one, two))
