"""Damaged files are refused by name or are valid; the tool that finds out makes the same mutants again and saves what fails."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from tools.fuzz.__main__ import fuzz, main, replay
from tools.fuzz.mutations import change_bytes, change_json, change_toml
from tools.fuzz.subjects import Subject, subjects

pytestmark = pytest.mark.once


def test_no_mutant_of_a_file_is_read_with_another_error_than_one_that_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--count", "880", "--seed", "13"], tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 23
    assert all(line.split()[1] == "40" and line.split()[4] == "0" for line in lines[1:])
    assert list(tmp_path.iterdir()) == []


def test_a_mutant_depends_on_the_seed_the_subject_and_the_number_alone(tmp_path: Path) -> None:
    first, second = (subjects(tmp_path / name) for name in ("a", "b"))
    assert [(one.name, one.valid) for one in first] == [(one.name, one.valid) for one in second]
    made = Subject("x", tmp_path / "x", b'{"a": [1, 2.5, "b"]}', (change_json,), Path.read_bytes, ())  # type: ignore[arg-type]
    mutants = [made.mutant(0, number) for number in range(200)]
    assert [made.mutant(0, number) for number in reversed(range(200))][::-1] == mutants
    assert len(set(mutants)) > 150
    assert [made.mutant(1, number) for number in range(200)] != mutants


def subject(folder: Path, read: Callable[[Path], None]) -> Subject:
    return Subject("x", folder / "x.json", b"[1]", (), read, (KeyError,))


def test_what_fails_is_saved_and_can_be_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def read(path: Path) -> None:
        if b"1" not in path.read_bytes():
            raise OSError("no one")

    known = subject(tmp_path, read)
    counts, interrupted = fuzz(known, range(50), 7, tmp_path / "saved")
    assert not interrupted and counts["mutants"] == 50 == counts["accepted"] + counts["failed"] and counts["failed"] > 5
    files = [file for file in (tmp_path / "saved").iterdir() if not file.suffix]
    assert len(files) == counts["failed"]
    number = int(files[0].name.removeprefix("x-7-"))
    assert files[0].read_bytes() == known.mutant(7, number)
    assert "OSError: no one" in files[0].with_suffix(".txt").read_text()
    assert replay(files[0], [known]) == 1
    files[0].write_bytes(b"[1]")
    assert replay(files[0], [known]) == 0
    assert capsys.readouterr().out.endswith("accepted\n")
    with pytest.raises(ValueError, match="must name a file SUBJECT-SEED-NUMBER"):
        replay(tmp_path / "y-1-2", [known])


def test_an_error_must_be_documented_and_name_the_file(tmp_path: Path) -> None:
    def fail(error: Exception) -> Callable[[Path], None]:
        def read(_: Path) -> None:
            raise error

        return read

    assert subject(tmp_path, fail(KeyError("x.json: wrong"))).try_mutant(b"") == (False, "'x.json: wrong'")
    with pytest.raises(ValueError, match=r"must name x\.json"):
        subject(tmp_path, fail(KeyError("wrong"))).try_mutant(b"")
    with pytest.raises(RecursionError):
        subject(tmp_path, fail(RecursionError("x.json"))).try_mutant(b"")


def test_an_interrupted_session_counts_what_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [1] * 10

    def read(_: Path) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop()

    known = subject(tmp_path, read)
    assert fuzz(known, range(50), 0, tmp_path) == ({"mutants": 10, "accepted": 10, "refused": 0, "failed": 0}, True)
    monkeypatch.setattr("tools.fuzz.__main__.subjects", lambda _: [known])
    assert main(["--count", "5"], tmp_path) == 130


def test_mutations_reach_every_kind_of_damage() -> None:
    generator = random.Random(0)  # noqa: S311 - the same everywhere is what is wanted
    value = [change_json(generator, b'{"steps": 3, "model": {"layers": [1, 2.5, "a", null]}}') for _ in range(3000)]
    for part in (b"NaN", b"[" * 1000, b"9" * 5000, b'"steps": 3, "steps": 3', b"\\u001b", b"\\ud800", b"true", b"1e999"):
        assert any(part in one for one in value), part
    toml = [change_toml(generator, '# a\nsteps = 3\n[model]\nname = "b"\n') for _ in range(3000)]
    for text in ("nan", "[" * 1000, "9" * 5000, "steps = 3\nsteps = 3", "1979-05-27", "[[model]]", "model.steps", "-3"):
        assert any(text in one for one in toml), text
    data = [change_bytes(generator, bytes(range(100))) for _ in range(1000)]
    assert {len(one) for one in data} > {0, 100, 200} and any(one.startswith(b"GGUF") for one in data)
