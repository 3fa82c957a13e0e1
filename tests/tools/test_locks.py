"""`locks.check` finds every way in which a lock and its input can differ, and says how to fix it."""

import sys
from pathlib import Path

import pytest
from tools import locks

pytestmark = pytest.mark.once

LOCKS = sorted((Path(__file__).parents[2] / "requirements").glob("*.txt"))
PIN = "numpy==2.5.5 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n    # via -r numpy.in\n"


def make(folder: Path, name: str = "numpy", source: str = "numpy==2.5.*\n", body: str = PIN) -> Path:
    (folder / f"{name}.in").write_text(source)
    lock = folder / f"{name}.txt"
    lock.write_text(locks._header(folder, name, body) + body)
    return lock


def test_locks_that_belong_to_their_inputs_pass(tmp_path: Path) -> None:
    make(tmp_path)
    make(tmp_path, "all", "-r numpy.in\n")
    assert locks.check(tmp_path) == []


def test_an_edited_input_is_found_also_where_it_is_included(tmp_path: Path) -> None:
    make(tmp_path)
    make(tmp_path, "all", "-r numpy.in\n")
    (tmp_path / "numpy.in").write_text("numpy==2.4.*\n")
    problems = locks.check(tmp_path)
    assert [Path(problem.split()[0]).name for problem in problems] == ["all.txt", "numpy.txt"]
    assert "its input was edited: compile it again with `nox -s lock -- numpy`" in problems[1]


@pytest.mark.parametrize(
    "edit", [("aa", "ab"), ("2.5.5", "2.5.4"), ("    --hash=sha256:bb\n", ""), ("numpy==", "evil==1\nnumpy==")]
)
def test_a_hand_edited_lock_is_found(tmp_path: Path, edit: tuple[str, str]) -> None:
    lock = make(tmp_path)
    lock.write_text(lock.read_text().replace(*edit))
    assert "lines were edited by hand" in locks.check(tmp_path)[0]


def test_a_missing_lock_and_an_orphan_are_found(tmp_path: Path) -> None:
    make(tmp_path).unlink()
    (tmp_path / "old.txt").write_text("")
    missing, orphan = locks.check(tmp_path)
    assert "numpy.txt is missing" in missing
    assert "old.txt has no input" in orphan


def test_a_missing_include_is_found(tmp_path: Path) -> None:
    make(tmp_path)
    make(tmp_path, "all", "-r numpy.in\n")
    (tmp_path / "numpy.in").unlink()
    assert "includes a missing file" in locks.check(tmp_path)[0]


@pytest.mark.parametrize("body", ["numpy==2.5.5\n", "numpy>=2 --hash=sha256:aa\n"])
def test_a_requirement_without_version_or_hash_is_found(tmp_path: Path, body: str) -> None:
    make(tmp_path, body=body)
    assert "has no pinned version or no hash for numpy" in locks.check(tmp_path)[0]


def test_a_file_that_is_no_lock_is_found(tmp_path: Path) -> None:
    make(tmp_path).write_text(PIN)
    assert len(locks.check(tmp_path)) == 1
    make(tmp_path).write_text("")
    assert "has no valid header" in locks.check(tmp_path)[0]


def test_an_empty_folder_is_no_success(tmp_path: Path) -> None:
    assert "holds no requirements" in locks.check(tmp_path)[0]


def test_pins_are_read(tmp_path: Path) -> None:
    assert locks.pins(make(tmp_path)) == {"numpy": "2.5.5"}


def test_unknown_names_are_refused_with_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path)
    with pytest.raises(SystemExit):
        locks.main(["nunpy"], tmp_path)
    assert "no input for nunpy; there are: numpy" in capsys.readouterr().err


def test_check_is_a_command_with_an_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path)
    assert locks.main(["--check"], tmp_path) == 0
    (tmp_path / "numpy.in").write_text("")
    assert locks.main(["--check"], tmp_path) == 1
    assert "numpy.txt is stale" in capsys.readouterr().out


def test_one_lock_can_be_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path)
    make(tmp_path, "other")
    (tmp_path / "numpy.in").write_text("")
    assert locks.main(["--check", "other"], tmp_path) == 0
    assert "1 lock belongs to its input" in capsys.readouterr().out
    assert locks.main(["--check", "numpy"], tmp_path) == 1
    assert locks.main(["--check"], tmp_path) == 1
    with pytest.raises(SystemExit):
        locks.main(["--check", "nunpy"], tmp_path)


def test_a_package_that_another_lock_pins_is_left_to_that_lock(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "plot.in").write_text("-c numpy.txt\nmatplotlib\n")
    body = "matplotlib==3.0 \\\n    --hash=sha256:cc\n" + PIN + "numpy-more==1 \\\n    --hash=sha256:dd\n"
    own = locks._own(tmp_path / "plot.in", body)
    assert list(locks.pins(make(tmp_path, "plot", "-c numpy.txt\nmatplotlib\n", own))) == ["matplotlib", "numpy-more"]


def test_only_what_an_input_names_is_kept_without_dependencies(tmp_path: Path) -> None:
    (tmp_path / "read.in").write_text("# no dependencies\nnumpy==2.5.5\n")
    assert locks._own(tmp_path / "read.in", PIN + "other==1 \\\n    --hash=sha256:dd\n") == PIN


def test_compiling_reports_what_moved_and_keeps_the_old_lock_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = make(tmp_path)
    fake = tmp_path / "compile.py"
    fake.write_text(
        """
import os, pathlib, sys
assert os.environ["PIP_CONFIG_FILE"] == os.devnull
assert "PIP_FIND_LINKS" not in os.environ
output = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
output.write_text(output.read_text().split("\\n", 3)[3].replace("2.5.5", "2.5.6"))
"""
    )
    monkeypatch.setenv("PIP_FIND_LINKS", "/somewhere")
    monkeypatch.setattr(locks, "_COMPILE", [sys.executable, str(fake)])
    assert locks.main(["numpy"], tmp_path) == 0
    assert "numpy 2.5.5 -> 2.5.6" in capsys.readouterr().out
    assert locks.check(tmp_path) == []

    before = lock.read_bytes()
    fake.write_text("import sys; sys.exit('No matching distribution')")
    assert locks.main(["numpy"], tmp_path) == 1
    assert "cannot be compiled: No matching distribution" in capsys.readouterr().out
    assert lock.read_bytes() == before


def test_numpy_is_pinned_in_its_own_locks_alone() -> None:
    assert [path.name for path in LOCKS if "numpy" in locks.pins(path)] == [path.name for path in LOCKS if path.match("numpy-*")]


def test_locks_that_pin_the_same_release_have_the_same_hashes() -> None:
    # else a wrong hash in one lock would be hidden by the right one in another that is installed with it
    found: dict[str, tuple[str, str]] = {}
    for path in LOCKS:
        for line in locks._requirements(path.read_text("utf-8")):
            release, hashes = line.split()[0], " ".join(sorted(part for part in line.split() if part.startswith("--hash")))
            other, known = found.setdefault(release, (path.name, hashes))
            assert hashes == known, f"{release} has other hashes in {path.name} than in {other}"
