"""The self-test passes on every machine, and names the case that differs."""

import json
from importlib.resources import files

import pytest

from samebits.core import linalg, selftest
from samebits.core.selftest import Outcome, cases, run_selftest


def test_every_known_array_has_its_packaged_digest() -> None:
    assert [outcome for outcome in run_selftest() if not outcome.ok] == []


def test_every_case_has_an_expectation_and_every_expectation_a_case() -> None:
    expected = json.loads(files("samebits.core").joinpath("selftest.json").read_text(encoding="utf-8"))
    names = [name for name, _ in cases()]
    assert names == list(expected)
    assert len(set(names)) == len(names) > 80


def test_a_result_with_other_bits_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    halving_tree = selftest.halving_tree
    monkeypatch.setattr(selftest, "halving_tree", lambda x: halving_tree(x) * (1 + 2.0**-52))
    assert [outcome.case for outcome in run_selftest() if not outcome.ok] == ["halving tree"]


def test_a_wrong_grid_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    grid_vectors = linalg.grid_vectors
    monkeypatch.setattr(linalg, "grid_vectors", lambda *arguments: grid_vectors(*arguments) * 1.5)
    assert [outcome.case for outcome in run_selftest() if not outcome.ok] == ["core.matmul", "core.vecdot"]


def test_the_exact_product_comes_close_to_2_to_the_53() -> None:
    (largest,) = [float(make().max()) for name, make in cases() if name == "exact product at 2^53"]
    assert 0.9999 * 2**53 < largest <= 2**53


def test_a_case_without_expectation_is_not_ok() -> None:
    assert not Outcome("new", "0" * 64, None).ok
