"""The golden digests do not depend on block sizes; `tests/test_golden.py` tries the rest."""

import json
import runpy
from pathlib import Path

import pytest

from samebits.core import blocks

GOLDEN = Path(__file__).parents[1] / "golden"
EXPECTED = json.loads((GOLDEN / "autograd.json").read_text(encoding="utf-8"))


def digests() -> dict[str, str]:
    return runpy.run_path(str(GOLDEN / "autograd.py"))["digests"]()


def test_block_sizes_cannot_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "CACHE_BYTES", 5600)
    assert digests() == EXPECTED
