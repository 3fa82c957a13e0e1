"""`./nox` makes its environment atomically, finds hidden interpreters, and names what is missing."""

import importlib.machinery
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("launcher", str(ROOT / "nox"))
    spec = importlib.util.spec_from_loader("launcher", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    for name in ("PYENV_ROOT", "XDG_DATA_HOME", "UV_PYTHON_INSTALL_DIR"):
        monkeypatch.delenv(name, raising=False)
    return module


@pytest.fixture
def quick(launcher: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment is an empty folder with a place for programs."""

    def fill(environment: Path, _: Path) -> None:
        (environment / launcher.BIN).mkdir()
        (environment / launcher.BIN / "python").touch()

    monkeypatch.setattr(launcher, "fill", fill)


def lock(folder: Path, text: str = "") -> Path:
    path = folder / "nox.txt"
    path.write_text(text)
    return path


@pytest.mark.skipif(os.name == "nt", reason="folders of POSIX systems")
def test_finds_the_pythons_of_pyenv_and_uv_newest_first(launcher: ModuleType, tmp_path: Path) -> None:
    for name in (".pyenv/versions/3.9.18", ".pyenv/versions/3.12.1", ".local/share/uv/python/cpython-3.13.0-linux-x86_64-gnu"):
        (tmp_path / name / "bin").mkdir(parents=True)
    (tmp_path / ".pyenv/versions/empty").mkdir()
    assert [folder.parent.name for folder in launcher.hidden_pythons(tmp_path)] == [
        "cpython-3.13.0-linux-x86_64-gnu",
        "3.12.1",
        "3.9.18",
    ]


def test_hidden_pythons_come_after_path(launcher: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "first")
    monkeypatch.setattr(launcher, "hidden_pythons", lambda _: [Path("second")])
    assert launcher.search_path(tmp_path) == os.pathsep.join(["first", "second"])


@pytest.mark.usefixtures("quick")
def test_makes_the_environment_once_for_each_lock(launcher: ModuleType, tmp_path: Path) -> None:
    first = launcher.make_environment(lock(tmp_path))
    assert (first / launcher.BIN).is_dir()
    (first / "mark").touch()
    assert launcher.make_environment(lock(tmp_path)) == first
    assert (first / "mark").exists()
    second = launcher.make_environment(lock(tmp_path, "# another lock\n"))
    assert second != first
    assert list((tmp_path / ".nox").iterdir()) == [second]


def test_a_failed_or_interrupted_installation_leaves_no_environment(
    launcher: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match=r"cannot install .*; the first call requires a network"):
        launcher.make_environment(lock(tmp_path, "no-such-package==1 --hash=sha256:" + "0" * 64 + "\n--no-index\n"))
    assert list((tmp_path / ".nox").iterdir()) == []

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(launcher, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        launcher.make_environment(lock(tmp_path))
    assert list((tmp_path / ".nox").iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_an_unfinished_environment_is_not_used(launcher: ModuleType, tmp_path: Path) -> None:
    made = launcher.make_environment(lock(tmp_path))
    left = made.rename(made.with_name(f"{made.name.rsplit('-', 1)[0]}-abc.unfinished"))
    os.utime(left, (0, 0))
    assert launcher.make_environment(lock(tmp_path)) == made
    assert list((tmp_path / ".nox").iterdir()) == [made]


@pytest.mark.usefixtures("quick")
def test_the_unfinished_environment_of_another_call_is_left_alone(launcher: ModuleType, tmp_path: Path) -> None:
    made = launcher.make_environment(lock(tmp_path))
    other = made.rename(made.with_name(f"{made.name.rsplit('-', 1)[0]}-abc.unfinished"))
    assert launcher.make_environment(lock(tmp_path)) == made
    assert sorted((tmp_path / ".nox").iterdir()) == sorted([made, other])


def test_two_first_calls_at_once_give_one_environment(
    launcher: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2)

    def fill(environment: Path, _: Path) -> None:
        (environment / launcher.BIN).mkdir()
        both.wait(10)
        (environment / launcher.BIN / "python").touch()

    monkeypatch.setattr(launcher, "fill", fill)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(launcher.make_environment, [lock(tmp_path)] * 2)
    assert first == second
    assert list((tmp_path / ".nox").iterdir()) == [first]
    assert (first / launcher.BIN / "python").exists()


@pytest.mark.usefixtures("quick")
def test_a_broken_environment_is_made_again(launcher: ModuleType, tmp_path: Path) -> None:
    made = launcher.make_environment(lock(tmp_path))
    (made / launcher.BIN / "python").unlink()
    (made / "mark").touch()
    assert launcher.make_environment(lock(tmp_path)) == made
    assert (made / launcher.BIN / "python").exists()
    assert not (made / "mark").exists()
    assert list((tmp_path / ".nox").iterdir()) == [made]


def test_an_environment_without_a_package_of_its_lock_is_broken(launcher: ModuleType, tmp_path: Path) -> None:
    (tmp_path / launcher.BIN).mkdir()
    (tmp_path / launcher.BIN / "python").touch()
    packages = tmp_path / "lib/python3.11/site-packages"
    for name in ("Some_Name-1.0", "other-2.0"):
        (packages / f"{name}.dist-info").mkdir(parents=True)
    assert launcher.is_complete(tmp_path, lock(tmp_path, "some-name==1.0 \\\n    --hash=sha256:a\nother==2.0 ; x\n"))
    assert not launcher.is_complete(tmp_path, lock(tmp_path, "some-name==1.1 \\\n    --hash=sha256:a\n"))


@pytest.mark.usefixtures("quick")
def test_an_environment_in_which_nox_cannot_be_imported_is_not_kept(
    launcher: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(launcher, "ROOT", tmp_path)
    monkeypatch.setattr(launcher, "pip_settings", lambda *_: {})
    with pytest.raises(SystemExit, match="but nox cannot be imported"):
        launcher.make_environment(lock(tmp_path))  # an empty lock: nothing is installed
    assert list((tmp_path / ".nox").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(launcher: ModuleType, tmp_path: Path) -> None:
    (tmp_path / ".nox").touch()
    with pytest.raises(SystemExit, match=r"cannot write to .*\.nox \(.*\); the checkout must be writable"):
        launcher.make_environment(lock(tmp_path))


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX systems")
def test_an_interruption_ends_with_one_line(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    shutil.copy(ROOT / "nox", tmp_path)
    (tmp_path / "requirements").mkdir()
    lock(tmp_path / "requirements", "--no-index\n")
    command = [sys.executable, str(tmp_path / "nox"), "--version"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr
        assert "making its locked environment" in process.stderr.readline()
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
        text = process.stderr.read()
    assert process.returncode == 130
    assert text.split("\n") == ["", "nox: interrupted", ""]
    assert list((tmp_path / ".nox").iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_environments_of_other_interpreters_are_left_alone(
    launcher: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = launcher.make_environment(lock(tmp_path))
    monkeypatch.setattr(launcher.sys, "version", "another")
    second = launcher.make_environment(lock(tmp_path))
    assert sorted((tmp_path / ".nox").iterdir()) == sorted([first, second])


@pytest.mark.parametrize("name", ["ensurepip", "ssl", "venv"])
def test_a_missing_module_is_named(launcher: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SystemExit, match=rf"lacks {name}\. .*try again"):
        launcher.require_modules()


def test_settings_of_this_machine_do_not_reach_nox(launcher: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[dict[str, str]] = []
    monkeypatch.setattr(launcher, "hand_over", lambda _, variables: passed.append(variables))
    monkeypatch.setattr(launcher, "make_environment", lambda _: tmp_path)
    for name in ("PIP_TARGET", "PYTHONPATH", "UV_CONSTRAINT", "PIP_INDEX_URL"):
        monkeypatch.setenv(name, "x")
    launcher.main([])
    assert "PIP_INDEX_URL" in passed[0]
    assert not {"PIP_TARGET", "PYTHONPATH", "UV_CONSTRAINT"} & set(passed[0])


def test_an_old_python_is_refused_with_the_required_version(launcher: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "OLDEST", (3, 99))
    with pytest.raises(SystemExit, match=r"Python 3\.99 or newer is required, this is 3\."):
        launcher.require_python("")


def test_hands_arguments_on_and_translates_its_own(launcher: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(launcher, "hand_over", lambda command, _: called.append(command))
    monkeypatch.setattr(launcher, "make_environment", lambda _: tmp_path)
    launcher.main(["-s", "tests", "--allow-missing", "--", "--allow-missing"])
    assert called[0][1:6] == ["-P", "-m", "nox", "--noxfile", str(tmp_path / "noxfile.py")]
    assert called[0][-5:] == ["-s", "tests", "--no-error-on-missing-interpreters", "--", "--allow-missing"]
