"""The grid shows what the cells recorded: nothing more, nothing stale."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from tools.matrix import Grid, Record, fingerprint, this_platform, write_reports

pytestmark = pytest.mark.once

TESTED = ("noxfile.py", "pyproject.toml", "packages", "requirements", "tests")
CELLS = [("3.11", "1.26"), ("3.12", "1.26"), ("3.12", "2.10"), ("3.13", "2.10"), ("3.13", "2.9")]
JUNIT = '<testsuites><testsuite tests="12" failures="{failures}" errors="0" skipped="1" time="1.5"/></testsuites>'


def record(python: str, numpy: str, **fields: object) -> Record:
    defaults = {"platform": this_platform(), "fingerprint": "now", "passed": 11, "seconds": 1.25}
    return Record(python, numpy, **defaults | fields)  # type: ignore[arg-type]


def grid(folder: Path, *records: Record, missing: tuple[str, ...] = ()) -> Grid:
    for one in records:
        one.write(folder)
    return Grid.read(folder, CELLS, "now", missing)[0]


def test_every_kind_of_cell_is_told_apart(tmp_path: Path) -> None:
    table = grid(
        tmp_path,
        record("3.11", "1.26"),
        record("3.12", "1.26", failed=2, passed=9),
        record("3.12", "2.10", passed=0, problem="install failed"),
        missing=("3.13",),
    )
    states = {cell: table.state(cell) for cell in [*CELLS, ("3.11", "2.10")]}
    assert states == {
        ("3.11", "1.26"): "passed",
        ("3.12", "1.26"): "failed",
        ("3.12", "2.10"): "failed",
        ("3.13", "2.10"): "missing",
        ("3.13", "2.9"): "missing",
        ("3.11", "2.10"): "unsupported",
    }
    rows = [re.split(r"  +", line) for line in table.table().splitlines()]
    assert rows[0] == [this_platform(), "NumPy 1.26", "NumPy 2.9", "NumPy 2.10"]
    assert rows[2:] == [
        ["Python 3.11", "11 passed 1.2 s", "-", "-"],
        ["Python 3.12", "2 FAILED of 11 1.2 s", "-", "INSTALL FAILED"],
        ["Python 3.13", "-", "no interpreter", "no interpreter"],
        ["not installed here: Python 3.13; `nox -s pythons` installs the missing ones"],
        ["cells: 1 passed, 2 failed, 2 skipped"],
    ]


def test_records_of_another_tree_do_not_count(tmp_path: Path) -> None:
    table = grid(tmp_path, record("3.11", "1.26", fingerprint="yesterday"))
    assert table.state(("3.11", "1.26")) == "not run"


def test_cells_of_other_machines_are_joined_in_grids_of_their_own(tmp_path: Path) -> None:
    for name in ("windows-amd64", this_platform(), "darwin-arm64"):
        record("3.11", "1.26", platform=name).write(tmp_path)
    grids = Grid.read(tmp_path, CELLS, "now", ["3.13"])
    assert [one.platform for one in grids] == [this_platform(), "darwin-arm64", "windows-amd64"]
    assert [one.count("missing") for one in grids] == [2, 0, 0]


@pytest.mark.parametrize(("failures", "ok", "text"), [(0, True, "11 passed 2.0 s"), (3, False, "3 FAILED of 11 2.0 s")])
def test_counts_come_from_pytests_report(tmp_path: Path, failures: int, ok: bool, text: str) -> None:
    junit = tmp_path / "junit.xml"
    junit.write_text(JUNIT.format(failures=failures))
    counted = record("3.11", "1.26", problem="did not finish", passed=0).counted(junit, 2.0)
    assert (counted.ok, str(counted), counted.skipped) == (ok, text, 1)


@pytest.mark.parametrize("content", [None, "", "<testsuites/>", "<testsuites><testsuite"])
def test_a_run_that_left_no_readable_report_did_not_pass(tmp_path: Path, content: str | None) -> None:
    junit = tmp_path / "junit.xml"
    if content is not None:
        junit.write_text(content)
    counted = record("3.11", "1.26", passed=0).counted(junit, 2.0)
    assert not counted.ok
    assert str(counted) == "TESTS DID NOT FINISH"


def test_a_run_without_tests_did_not_pass(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    junit.write_text('<testsuites><testsuite tests="0" failures="0" errors="0" skipped="0"/></testsuites>')
    assert str(record("3.11", "1.26", passed=0).counted(junit, 1.0)) == "NO TESTS RAN"


def damaged(folder: Path, change: dict[str, object]) -> None:
    content = asdict(record("3.11", "1.26")) | change
    (folder / "broken.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"passed": True}, "passed must be an integer, got True"),
        ({"passed": None}, "passed must be an integer, got None"),
        ({"passed": 11.0}, r"passed must be an integer, got 11\.0"),
        ({"failed": -1}, "failed must be at least 0, got -1"),
        ({"passed": 10**19}, "passed must be at most 9223372036854775807"),
        ({"seconds": float("nan")}, "seconds must be finite, got nan"),
        ({"seconds": -1.0}, r"seconds must be at least 0, got -1\.0"),
        ({"problem": "\x00"}, "problem must be text without control characters"),
        ({"problem": ["a"]}, r"problem must be a string, got \['a'\]"),
        ({"platform": "../../grid"}, "platform must be text of the form"),
        ({"python": 3.11}, r"python must be a string, got 3\.11"),
        ({"numpy": "2"}, "numpy must be text of the form"),
        ({"color": "green"}, "color is not a field"),
    ],
)
def test_a_record_with_a_wrong_value_is_named_with_its_field(tmp_path: Path, change: dict[str, object], message: str) -> None:
    damaged(tmp_path, change)
    with pytest.raises(ValueError, match=rf"broken\.json: {message}.*: delete it"):
        Grid.read(tmp_path, CELLS, "now")


@pytest.mark.parametrize("text", ["{", "null", "[" * 100_000, '{"passed": ' + "9" * 5000 + "}", '{"passed": NaN}', "\ufeff{}"])
def test_a_damaged_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"broken\.json: .*not a cell's record: delete it"):
        Grid.read(tmp_path, CELLS, "now")


def test_reports_are_written_as_json_markdown_and_svg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    (tmp_path / "summary.md").write_text("before\n")
    table = grid(tmp_path / "cells", record("3.11", "1.26"), record("3.12", "1.26", failed=1))
    write_reports([table], tmp_path)

    states = {
        (cell["python"], cell["numpy"]): cell["state"] for cell in json.loads((tmp_path / "grid.json").read_text())[0]["cells"]
    }
    assert states == {cell: table.state(cell) for cell in CELLS}
    markdown = (tmp_path / "grid.md").read_text()
    assert "| Python 3.11 | 11 passed 1.2 s | - | - |" in markdown
    assert (tmp_path / "summary.md").read_text() == "before\n" + markdown
    texts = [text.text for text in ET.parse(tmp_path / f"grid-{this_platform()}.svg").iter() if text.text]
    assert {"NumPy 2.10", "Python 3.13", "11 passed", "1.2 s", "1 FAILED", "of 12 1.2 s"} <= set(texts)
    assert not list(tmp_path.glob("*.new"))


def test_fingerprint_changes_with_every_file_that_matters_and_no_other(tmp_path: Path) -> None:
    for name in ("noxfile.py", "packages/core/a.py", "tests/test_a.py", "requirements/a.txt", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "pyproject.toml").write_text("")
    before = fingerprint(tmp_path, TESTED)
    (tmp_path / "README.md").write_text("other")
    (tmp_path / "tests/__pycache__").mkdir()
    (tmp_path / "tests/__pycache__/a.pyc").write_text("made")
    assert fingerprint(tmp_path, TESTED) == before
    (tmp_path / "packages/core/a.py").rename(tmp_path / "packages/core/b.py")
    renamed = fingerprint(tmp_path, TESTED)
    (tmp_path / "requirements/a.txt").write_text("other")
    assert len({before, renamed, fingerprint(tmp_path, TESTED)}) == 3


def test_fingerprint_requires_every_named_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"fingerprint: .*noxfile\.py does not exist"):
        fingerprint(tmp_path, TESTED)
