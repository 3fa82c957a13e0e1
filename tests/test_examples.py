"""Every example in a docstring or a chapter runs and shows what it says."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import samebits

ROOT = Path(__file__).parents[1]
MODULES = sorted(module.name for module in pkgutil.walk_packages(samebits.__path__, "samebits."))
CHAPTERS = sorted(
    path for path in [*ROOT.glob("docs/*.md"), *ROOT.glob("packages/*/README.md")] if ">>>" in path.read_text("utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.once
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_of_a_chapter_run(path: Path) -> None:
    assert doctest.testfile(str(path), module_relative=False, encoding="utf-8").failed == 0


def test_every_public_function_of_core_has_an_example() -> None:
    from samebits import core

    names = [name for name in core.__all__ if callable(getattr(core, name)) and not isinstance(getattr(core, name), type)]
    assert [name for name in names if ">>>" not in (getattr(core, name).__doc__ or "")] == []
