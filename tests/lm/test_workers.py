"""Workers: a single one needs no exchange, and several must be alike."""

from typing import Any

import numpy as np
import pytest

from samebits.lm import workers
from samebits.lm.workers import ALONE, Alone, WorkersError, require_same, require_same_arithmetic


class Two(Alone):
    """Worker 0 of two, the other of which changes what it gathers."""

    size = 2

    def __init__(self, change: Any) -> None:
        self.change = change

    def gather(self, value: Any) -> list[Any]:
        return [value, self.change(value)]


def test_a_single_worker_keeps_what_it_exchanges() -> None:
    exponents, values = np.array([3, 7], np.uint8), np.array([0.5, -2.0])
    for pending in (ALONE.maximum(exponents), ALONE.total(values)):
        assert pending.Test()
        pending.Wait()
    assert exponents.tolist() == [3, 7] and values.tolist() == [0.5, -2.0]
    assert ALONE.gather("a") == ["a"]


def test_workers_that_are_alike_may_begin() -> None:
    require_same_arithmetic(ALONE)
    require_same_arithmetic(Two(lambda value: value))
    require_same(Two(lambda value: value), ("the tokenizer", "ab12"))


def test_the_first_difference_is_named() -> None:
    def other(value: Any) -> Any:
        return "x" if isinstance(value, str) else tuple((name, f"{found}!") for name, found in value)

    with pytest.raises(WorkersError, match="worker 1 must have the tokenizer of worker 0, ab12, got ab12!"):
        require_same(Two(other), ("the tokenizer", "ab12"), ("the text", "cd34"))


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(value: Any) -> Any:
        return "x" if isinstance(value, str) else (("the version of samebits", "0.0"), *value[1:])

    monkeypatch.setattr(workers, "_version", lambda: "1.0")
    with pytest.raises(WorkersError, match=r"worker 1 must have the version of samebits of worker 0, 1\.0, got 0\.0"):
        require_same_arithmetic(Two(other))


def test_the_source_tree_has_a_version_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> str:
        raise workers.PackageNotFoundError

    monkeypatch.setattr(workers, "version", missing)
    assert workers._version() == "of the source tree"
