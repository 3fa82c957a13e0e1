"""One digest a case, in every cell and under every variant of it."""

import json
import os
import runpy
from pathlib import Path

import pytest

from samebits.autograd.ops import probabilities

GOLDEN = Path(__file__).parents[1] / "golden"
EXPECTED = json.loads((GOLDEN / "autograd.json").read_text(encoding="utf-8"))


def digests() -> dict[str, str]:
    return runpy.run_path(str(GOLDEN / "autograd.py"))["digests"]()


def test_every_value_and_gradient_has_its_golden_digest() -> None:
    assert digests() == EXPECTED


def test_block_sizes_cannot_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probabilities, "_BLOCK", 700)
    assert digests() == EXPECTED


@pytest.mark.variants
def test_kernels_cpu_levels_c_library_and_threads_cannot_change_a_bit() -> None:
    from samebits.lab import variants

    runs = variants.run([str(GOLDEN / "autograd.py")], variants.available())
    assert len(runs) > 1 or os.name == "nt"
    for one in runs:
        assert not one.error, f"{one.variant}: {one.error}"
        assert one.value == EXPECTED, f"{one.variant} gives other bits"
