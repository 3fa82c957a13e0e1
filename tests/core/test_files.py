"""Atomic file writes: the old file or the new one, and nothing else left behind."""

import os
import stat
from pathlib import Path

import pytest

from samebits.core.files import replace_file, replace_text

pytestmark = pytest.mark.once


def test_a_written_file_replaces_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"old and longer")
    with replace_file(file) as draft:
        draft.write(b"new")
        assert file.read_bytes() == b"old and longer"
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"old")

    def write_half() -> None:
        with replace_file(file) as draft:
            draft.write(b"half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replace_file(tmp_path / "missing" / "a.bin"):
        pass


def test_text_is_written_as_utf8_with_newlines_as_they_are(tmp_path: Path) -> None:
    replace_text(tmp_path / "a.txt", "é\n\r\n")
    assert (tmp_path / "a.txt").read_bytes() == "é\n\r\n".encode()


def test_permissions_of_the_old_file_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    replace_text(file, "a")
    file.chmod(0o640)
    replace_text(file, "b")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_a_link_at_the_old_name_of_drafts_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("intact")
    (tmp_path / "a.txt.new").symlink_to(tmp_path / "victim")
    replace_text(tmp_path / "a.txt", "a")
    assert (tmp_path / "victim").read_text() == "intact"


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OSError, match=r"a\.txt must be a file, but is a folder"):
        replace_text(tmp_path / "a.txt", "a")


@pytest.mark.skipif(os.name == "nt", reason="there are no such limits there")
def test_a_file_that_becomes_too_large_is_an_error_that_names_it(tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"File too large: .*a\.txt'"):
            replace_text(tmp_path / "a.txt", "a" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
