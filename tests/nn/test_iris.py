"""The worked example: the chapter shows its output and its code."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from samebits import core

pytestmark = pytest.mark.once

DOCS = Path(__file__).parents[2] / "docs"
IRIS = DOCS / "iris.py"


@pytest.fixture(scope="module")
def chapter():
    return (DOCS / "nn.md").read_text(encoding="utf-8")


def test_it_prints_and_draws_what_the_chapter_shows(chapter, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["iris.py", str(tmp_path / "iris.svg")])
    runpy.run_path(str(IRIS), run_name="__main__")
    assert f"```text\n{capsys.readouterr().out}```" in chapter
    assert (tmp_path / "iris.svg").read_bytes() == (DOCS / "iris.svg").read_bytes()


def test_the_loop_in_the_chapter_is_the_programs(chapter):
    loop = chapter.split("```python\n    for step")[1].split("```")[0]
    assert loop in IRIS.read_text(encoding="utf-8")


def test_the_flowers_are_fishers():
    """The sums are those of the paper; the copy at UCI has two wrong flowers, and 4581 and 5638."""
    flowers = runpy.run_path(str(IRIS))["FLOWERS"]
    digits = ["".join(text.split()) for text in flowers.values()]
    assert [len(text) for text in digits] == [400] * 3
    x = np.array([int(text[i : i + 2]) for text in digits for i in range(0, 400, 2)], np.float32).reshape(150, 4)
    assert core.sum(x, axis=0).tolist() == [8765, 4586, 5637, 1799]
