"""The golden digests do not depend on block sizes or on other threads; `tests/test_golden.py` checks the others."""

import json
import runpy
import threading
from pathlib import Path

import pytest

from samebits.core import blocks, linalg

GOLDEN = Path(__file__).parents[1] / "golden"
EXPECTED = json.loads((GOLDEN / "core.json").read_text(encoding="utf-8"))


def digests() -> dict[str, str]:
    return runpy.run_path(str(GOLDEN / "core.py"))["digests"]()


@pytest.mark.variants
def test_block_sizes_cannot_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    for elements in (512, 998):
        monkeypatch.setattr(blocks, "CACHE_BYTES", elements * 8)
        monkeypatch.setattr(blocks, "PRODUCT_BYTES", 3000 * 8)
        monkeypatch.setattr(linalg, "_PACKED_ROWS", 5)
        assert digests() == EXPECTED


@pytest.mark.variants
def test_other_threads_cannot_change_a_bit() -> None:
    found = []
    threads = [threading.Thread(target=lambda: found.append(digests())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [EXPECTED] * 3
