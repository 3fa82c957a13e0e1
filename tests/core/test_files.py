"""Atomic file writes: the old file or the new one, and nothing else left behind."""

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
