"""`samebits check` as a user runs it."""

import json

import pytest
from typer.testing import CliRunner

from samebits.cli.app import app
from samebits.core import selftest

pytestmark = pytest.mark.once


def test_check_describes_the_machine_and_ends_with_the_verdict() -> None:
    done = CliRunner().invoke(app, ["check"])
    assert done.exit_code == 0
    assert "NumPy" in done.output
    assert done.output.strip().splitlines()[-1].startswith("This machine gives the same bits")


def test_check_names_what_differs_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    halving_tree = selftest.halving_tree
    monkeypatch.setattr(selftest, "halving_tree", lambda x: -halving_tree(x))
    done = CliRunner().invoke(app, ["check"])
    assert done.exit_code == 1
    assert "differs  halving tree" in done.output
    assert "gives other bits in 1 of" in done.output


def test_check_prints_json() -> None:
    done = CliRunner().invoke(app, ["check", "--json"])
    answer = json.loads(done.output)
    assert answer["same_bits"] is True
    assert answer["machine"]["blas"]["name"]
    assert {"case", "digest", "expected"} == set(answer["outcomes"][0])
