"""A cell's record: every operation under every variant, on disk in one step."""

import json
from pathlib import Path

import pytest

from samebits.drift import map as driftmap
from samebits.drift import record as drift
from samebits.drift.variants import BASE, Variant, this_platform

pytestmark = pytest.mark.once

LESS = Variant("threads-1", "threads", {"OPENBLAS_NUM_THREADS": "1"})
BROKEN = Variant("broken", "cpu", {"PYTHONHOME": "/nowhere"})


@pytest.mark.variants
def test_a_record_holds_all_that_the_map_asks_for(tmp_path: Path) -> None:
    told: list[str] = []
    record = drift.measure_cell([BASE, LESS, BROKEN, drift.AGAIN], done=lambda one: told.append(one.variant.name))
    assert told == ["base", "threads-1", "broken", "base again"]
    assert [bool(one["error"]) for one in record["variants"]] == [False, False, True, False]
    path = drift.write(record, tmp_path / "new")
    assert path.name == f"{this_platform()}-{record['python']}-numpy-{record['numpy']}.json"
    assert json.loads(path.read_text(encoding="utf-8")) == record
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    found = driftmap.read([path])
    assert found.runs == 3
    assert [row.name for row in found.rows if "again" in row.drifts] == []
    assert [row.name for row in found.rows if row.twins > 1 or row.failures] == []


def test_a_base_that_cannot_be_measured_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="could not be measured in this environment: the process ended with status"):
        drift.measure_cell([Variant("base", "base", {"PYTHONHOME": "/nowhere"})])
