"""A record holds every operation under every variant, and is written atomically."""

import json
from pathlib import Path

import pytest

from samebits.drift import BASE, REPEAT, Variant, measure_cell, read_records, write_record
from samebits.drift.variants import this_platform

pytestmark = pytest.mark.once

LESS = Variant("threads-1", "threads", {"OPENBLAS_NUM_THREADS": "1"})
BROKEN = Variant("broken", "cpu", {"PYTHONHOME": "/nowhere"})


@pytest.mark.variants
def test_a_record_holds_every_operation_under_every_variant(tmp_path: Path) -> None:
    told: list[str] = []
    record = measure_cell([BASE, LESS, BROKEN, REPEAT], done=lambda one: told.append(one.variant.name))
    assert told == ["base", "threads-1", "broken", "base again"]
    assert [bool(one["error"]) for one in record["variants"]] == [False, False, True, False]
    path = write_record(record, tmp_path / "new")
    assert path.name == f"{this_platform()}-{record['python']}-numpy-{record['numpy']}.json"
    assert json.loads(path.read_text(encoding="utf-8")) == record
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    found = read_records([path])
    assert found.runs == 3
    assert [row.name for row in found.rows if "again" in row.drifts] == []
    assert [row.name for row in found.rows if row.is_wrong] == []


def test_a_base_that_cannot_be_measured_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="the process that measures the base exited with status"):
        measure_cell([Variant("base", "base", {"PYTHONHOME": "/nowhere"})])
