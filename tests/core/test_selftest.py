"""The self-test passes on every machine, and would tell where one is different."""

import json
from importlib.resources import files

import pytest

from samebits.core import selftest as room
from samebits.core.selftest import Outcome, cases, selftest


def test_every_known_array_has_its_packaged_digest() -> None:
    assert [outcome for outcome in selftest() if not outcome.ok] == []


def test_every_case_has_an_expectation_and_every_expectation_a_case() -> None:
    expected = json.loads(files("samebits.core").joinpath("selftest.json").read_text(encoding="utf-8"))
    names = [name for name, _ in cases()]
    assert names == list(expected)
    assert len(set(names)) == len(names) > 40


def test_a_result_with_other_bits_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    halving_tree = room.halving_tree
    monkeypatch.setattr(room, "halving_tree", lambda x: halving_tree(x) * (1 + 2.0**-52))
    assert [outcome.case for outcome in selftest() if not outcome.ok] == ["halving tree"]


def test_a_case_without_expectation_is_not_ok() -> None:
    assert not Outcome("new", "0" * 64, None).ok
