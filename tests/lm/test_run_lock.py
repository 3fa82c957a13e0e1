"""The lock of a run's folder: one process at a time, and nothing left behind."""

import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

from samebits.lm import run_lock
from samebits.lm.run_lock import LOCK, FolderInUseError, locked

pytestmark = pytest.mark.once

HOLD = (
    "import sys\nfrom samebits.lm.run_lock import locked\nwith locked(sys.argv[1]):\n    print(flush=True)\n    sys.stdin.read()"
)


def holder(folder: Path) -> subprocess.Popen[bytes]:
    """A process that holds the lock until its input ends."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_another_process_is_refused_and_named(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with (
            pytest.raises(FolderInUseError, match=rf"{tmp_path.name} is in use by process {process.pid} on .*; wait until"),
            locked(tmp_path),
        ):
            raise AssertionError
        process.communicate()
    with locked(tmp_path):
        assert (tmp_path / LOCK).exists()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_holds_no_lock(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.kill()
        process.communicate()
    assert (tmp_path / LOCK).exists() or os.name == "nt"
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_another_thread_is_refused_and_the_same_one_is_not(tmp_path: Path) -> None:
    found: list[BaseException] = []

    def attempt() -> None:
        try:
            with locked(tmp_path):
                pass
        except FolderInUseError as error:
            found.append(error)

    with locked(tmp_path):
        with locked(tmp_path / "." / ".." / tmp_path.name):
            pass
        assert (tmp_path / LOCK).exists()
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    assert "in use by another thread of this process" in str(found[0])
    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    assert len(found) == 1


def test_a_folder_that_stays_empty_is_removed(tmp_path: Path) -> None:
    with locked(tmp_path / "a/b"):
        assert (tmp_path / "a/b").is_dir()
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "a/b"):
        (tmp_path / "a/c").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "c"]


def test_a_lock_that_was_deleted_meanwhile_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = run_lock._lock, []

    def once(number: int) -> None:
        if not calls:
            (tmp_path / LOCK).unlink()
        calls.append(number)
        real(number)

    monkeypatch.setattr(run_lock, "_lock", once)
    with locked(tmp_path):
        assert len(calls) == 2 and (tmp_path / LOCK).read_text().startswith(f"process {os.getpid()} on ")


def test_without_locks_in_the_file_system_a_warning_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(_: Any) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(run_lock, "_lock", unsupported)
    with pytest.warns(UserWarning, match="files cannot be locked here"), locked(tmp_path):
        pass
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="cannot be locked"), locked(tmp_path):
            pass
    assert not run_lock._held


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such pipes or links here")
def test_a_pipe_or_a_link_in_place_of_the_lock_never_blocks_nor_is_followed(tmp_path: Path) -> None:
    (tmp_path / LOCK).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=LOCK), locked(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()
    (tmp_path / LOCK).unlink()
    os.mkfifo(tmp_path / LOCK)
    signal.alarm(20)
    with pytest.raises(OSError, match="must be a file, but is a pipe or device"), locked(tmp_path):
        pass
    signal.alarm(0)
