"""`samebits`, its help and version, `check` and `drift` as a user runs them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.core.float_settings import CHANGED, change, kept_settings, only_where_known
from typer.main import get_command
from typer.testing import CliRunner

from samebits.cli.app import PRESETS, app
from samebits.core import environment, selftest
from samebits.drift import BASE, Variant, command, investigation
from samebits.lm import presets

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


def test_help_opens_with_what_the_command_does() -> None:
    shown = " ".join(CliRunner().invoke(app, ["--help"]).output.split())
    assert "Train language models with the same bits on every machine, and find what changes yours." in shown


def test_every_option_has_a_help_sentence() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    texts = {(name, one.name): getattr(one, "help", None) or "" for name, each in commands.items() for one in each.params}
    assert [key for key, text in texts.items() if not text.rstrip().endswith(".")] == []


def test_help_lists_the_presets() -> None:
    assert [name for name in presets.names() if name not in PRESETS] == []
    assert f"{presets.DEFAULT} (the default)" in PRESETS


def test_version_names_python_and_numpy() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert done.exit_code == 0
    first, second = done.output.splitlines()
    assert first.startswith("samebits")
    assert second.endswith(f"NumPy {np.__version__}")


def test_it_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "samebits.cli", "--help"]
    assert "Usage: samebits" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_drift_prints_the_verdict_of_samebits_drift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("import os\ndef moves(): return [1.0, float(os.environ.get('MINE', 1))]\n")
    monkeypatch.chdir(tmp_path)
    for module in (investigation, command):
        monkeypatch.setattr(module, "available", lambda: [BASE, Variant("blas-x", "blas", {"MINE": "2"})])
    done = CliRunner().invoke(app, ["drift", "mine:moves"])
    assert done.exit_code == 1
    assert "    blas-x  result: 1 of 2 elements differ, by up to 1 and" in done.stdout
    assert "mine:moves drifts with the BLAS kernel: 2 different results in 3 runs." in done.stdout
    done = CliRunner().invoke(app, ["drift", "mine:moves", "mine:others"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "error  MODULE:FUNCTION must be one function" in done.stderr


@only_where_known
@CHANGED
def test_check_puts_float_settings_back_or_says_what_is_wrong(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with kept_settings():
        change(bits)
        done = CliRunner().invoke(app, ["check"])
        assert done.exit_code == 0, done.output
        monkeypatch.setattr(environment, "reset", lambda: None)
        change(bits)
        done = CliRunner().invoke(app, ["check"])
    assert done.exit_code == 2
    assert "in this thread, so results may have wrong bits" in done.output
