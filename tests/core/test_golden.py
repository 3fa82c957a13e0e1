"""One digest a case, in every cell and under every variant of it: the law, tried."""

import json
import os
import runpy
import threading
from pathlib import Path

import pytest

from samebits.core import blocks, grid, linalg, random, tree
from samebits.lab import variants

GOLDEN = Path(__file__).parents[1] / "golden"
EXPECTED = json.loads((GOLDEN / "core.json").read_text(encoding="utf-8"))


def digests() -> dict[str, str]:
    return runpy.run_path(str(GOLDEN / "core.py"))["digests"]()


def test_every_result_has_its_golden_digest() -> None:
    assert digests() == EXPECTED


@pytest.mark.variants
def test_block_sizes_cannot_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(blocks.evaluate.__kwdefaults__, "block", 1000)
    monkeypatch.setattr(random, "BLOCK", 998)
    monkeypatch.setattr(tree, "_BLOCK", 512)
    monkeypatch.setattr(grid, "_BLOCK", 700)
    monkeypatch.setattr(linalg, "_GROUP", 3000)
    monkeypatch.setattr(linalg, "_ROWS", 5)
    assert digests() == EXPECTED


@pytest.mark.variants
def test_threads_do_not_disturb_each_other() -> None:
    found = []
    threads = [threading.Thread(target=lambda: found.append(digests())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [EXPECTED] * 3


@pytest.mark.variants
def test_kernels_cpu_levels_c_library_and_threads_cannot_change_a_bit() -> None:
    runs = variants.run([str(GOLDEN / "core.py")], variants.available())
    assert len(runs) > 1 or os.name == "nt"
    for one in runs:
        assert not one.error, f"{one.variant}: {one.error}"
        assert one.value == EXPECTED, f"{one.variant} gives other bits"
