"""One digest a case, in every cell and under every variant of it: the law, tried, for every file of tests/golden."""

import json
import os
import runpy
from pathlib import Path

import pytest

from samebits.drift import variants

GOLDEN = Path(__file__).parent / "golden"
EXPECTED = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(GOLDEN.glob("*.json"))}


def test_every_script_has_its_digests() -> None:
    assert sorted(EXPECTED) == sorted(path.stem for path in GOLDEN.glob("*.py") if path.stem != "update")


@pytest.mark.parametrize("name", EXPECTED)
def test_every_result_has_its_golden_digest(name: str) -> None:
    assert runpy.run_path(str(GOLDEN / f"{name}.py"))["digests"]() == EXPECTED[name]


@pytest.mark.variants
def test_kernels_cpu_levels_c_library_and_threads_cannot_change_a_bit() -> None:
    computed = [name for name in EXPECTED if name != "text"]  # which has whole numbers and bytes alone
    runs = variants.run_variants([str(GOLDEN / "update.py"), *computed], [*variants.available(), *variants.kernels()])
    assert len(runs) > 1 or os.name == "nt"
    for one in runs:
        assert not one.error, f"{one.variant}: {one.error}"
        for name in computed:
            assert one.value[name] == EXPECTED[name], f"{one.variant} gives other bits in {name}"
