"""What the drift tool ships about the drift map is that of the page."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "packages/drift/scripts/known_drift.py"


def test_the_shipped_map_is_that_of_the_page() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "known.json is current\n", "")


def test_every_operation_that_drifts_on_the_page_is_shipped_with_its_function() -> None:
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        import known_drift as script  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(SCRIPT.parent))
    found = script.drifting((ROOT / "docs/drift.md").read_text(encoding="utf-8"))
    assert found["x**3 float64"] == ["version", "cpu"]
    assert len(found) > 100
    shipped = {name: axes for one in json.loads(script.TARGET.read_text())["functions"].values() for name, axes in one.items()}
    assert {name: axes for name, axes in found.items() if shipped.get(name) != axes} == {}
    assert script.drifting("## What drifts\n\n| a\\|b | several at once | 2 | none |\n") == {"a|b": ["place"]}
    with pytest.raises(SystemExit, match="operations that are no longer measured: gone"):
        script.table("## What drifts\n\n| gone | CPU level (2) | 2 | none |\n")
