"""`./nox` makes its environment atomically, finds hidden interpreters, and names what is missing."""

import importlib.machinery
import importlib.util
import os
import sys
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
    monkeypatch.setattr(
        launcher, "run", lambda command, _: Path(command[-1], launcher.BIN).mkdir() if "venv" in command else None
    )


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
    with pytest.raises(SystemExit, match="cannot install"):
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
    made.rename(made.with_name(f"{made.name.rsplit('-', 1)[0]}-abc.unfinished"))
    assert launcher.make_environment(lock(tmp_path)) == made
    assert list((tmp_path / ".nox").iterdir()) == [made]


@pytest.mark.usefixtures("quick")
def test_environments_of_other_interpreters_are_left_alone(
    launcher: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = launcher.make_environment(lock(tmp_path))
    monkeypatch.setattr(launcher.sys, "version", "another")
    second = launcher.make_environment(lock(tmp_path))
    assert sorted((tmp_path / ".nox").iterdir()) == sorted([first, second])


def test_a_missing_ensurepip_is_named(launcher: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(SystemExit, match=r"lacks ensurepip\. .*try again"):
        launcher.require_venv()


def test_an_old_python_is_refused_with_the_required_version(launcher: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "OLDEST", (3, 99))
    with pytest.raises(SystemExit, match=r"Python 3\.99 or newer is required, this is 3\."):
        launcher.require_python("")


def test_hands_arguments_on_and_translates_its_own(launcher: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(launcher, "hand_over", lambda command, _: called.append(command))
    monkeypatch.setattr(launcher, "make_environment", lambda _: tmp_path)
    launcher.main(["-s", "tests", "--allow-missing", "--", "--allow-missing"])
    assert called[0][1:5] == ["-m", "nox", "--noxfile", str(tmp_path / "noxfile.py")]
    assert called[0][-5:] == ["-s", "tests", "--no-error-on-missing-interpreters", "--", "--allow-missing"]
