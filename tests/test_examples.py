"""Every example in a docstring or a chapter runs and shows what it says."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import samebits

ROOT = Path(__file__).parents[1]
MODULES = sorted(module.name for module in pkgutil.walk_packages(samebits.__path__, "samebits."))
NUMBERS = ("samebits.autograd", "samebits.core", "samebits.kernels", "samebits.nn")  # the others do not depend on the NumPy
CHAPTERS = sorted(
    path for path in [*ROOT.glob("docs/*.md"), *ROOT.glob("packages/*/README.md")] if ">>>" in path.read_text("utf-8")
)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name.startswith(NUMBERS) else pytest.mark.once) for name in MODULES]
)
def test_examples_of_a_module_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.once
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_of_a_chapter_run(path: Path) -> None:
    assert doctest.testfile(str(path), module_relative=False, encoding="utf-8").failed == 0


PROGRAMS = [
    pytest.param(program, id=f"{path.name}-{number}")
    for path in sorted(ROOT.glob("docs/*.md"))
    for number, program in enumerate(re.findall(r"^```python\n(.*?)^```$", path.read_text("utf-8"), re.MULTILINE | re.DOTALL))
    if "assert " in program
]


@pytest.mark.once
@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_of_a_chapter_show_what_they_say(program: str) -> None:
    exec(program, {})  # noqa: S102 - our own documentation


def test_a_program_is_found() -> None:
    assert len(PROGRAMS) > 1


# Public names without an example: write one, and take the name from this list.
WITHOUT: dict[str, set[str]] = {
    "samebits.autograd": {"AnomalyError"},
    "samebits.core": set(),
    "samebits.drift": set(),
    "samebits.kernels": set(),
    "samebits.lm": set(),
    "samebits.nn": set(),
    "samebits.text": set(),
}


@pytest.mark.parametrize("package", sorted(WITHOUT))
def test_every_public_name_has_an_example(package: str) -> None:
    public = vars(importlib.import_module(package))
    documented = {name for name in public["__all__"] if isinstance(public[name], type) or inspect.isroutine(public[name])}
    assert {name for name in documented if ">>>" not in (inspect.getdoc(public[name]) or "")} == WITHOUT[package]


def test_every_package_with_public_names_is_checked() -> None:
    packages = [module.name for module in pkgutil.iter_modules(samebits.__path__, "samebits.") if module.ispkg]
    assert {name for name in packages if hasattr(importlib.import_module(name), "__all__")} == set(WITHOUT)
