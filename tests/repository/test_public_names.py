"""Packages above `core` use its public names alone, and do not ask which arithmetic is active."""

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from samebits import core

ROOT = Path(__file__).parents[2]
MODULES = {module.name for module in pkgutil.iter_modules(core.__path__)}


def sources(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in ROOT.glob(f"packages/{package}/src/**/*.py"))


ABOVE = sources("autograd", "text", "nn", "lm", "drift", "cli")


def is_public(module: ModuleType, name: str) -> bool:
    return name in getattr(module, "__all__", ()) or (module is core and name in MODULES)


def private_uses(source: str) -> Iterator[str]:
    """The names of core that a module uses and that are neither in core's `__all__` nor in that of one of its modules."""
    modules = {"samebits.core": core}
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[:2] == ["samebits", "core"]:
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                if not is_public(module, alias.name):
                    yield f"{node.module}.{alias.name}"
                elif module is core and alias.name in MODULES - set(core.__all__):
                    modules[alias.asname or alias.name] = importlib.import_module(f"samebits.core.{alias.name}")
        elif isinstance(node, ast.ImportFrom) and node.module == "samebits":
            modules |= {alias.asname or alias.name: core for alias in node.names if alias.name == "core"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in modules:
            module = modules[ast.unparse(node.value)]
            if not is_public(module, node.attr):
                yield f"{module.__name__}.{node.attr}"


def arithmetic_names(source: str) -> Iterator[str]:
    """The comparisons with the name of an arithmetic."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare | ast.match_case):
            constants = {one.value for one in ast.walk(node) if isinstance(one, ast.Constant)}
            if {"exact", "fast"} & constants:
                yield ast.unparse(node)


@pytest.mark.parametrize("path", ABOVE, ids=lambda path: str(path.relative_to(ROOT)))
def test_packages_above_core_use_its_public_names_alone(path: Path) -> None:
    assert list(private_uses(path.read_text("utf-8"))) == []


def test_packages_above_core_are_found() -> None:
    assert len(ABOVE) > 50


@pytest.mark.parametrize("path", sources("autograd", "nn"), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_layer_asks_for_the_name_of_the_arithmetic(path: Path) -> None:
    assert list(arithmetic_names(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "from samebits.core.grid import BUFFERS",
        "from samebits.core import _hidden",
        "from samebits.core import exponential\nexponential._reduce",
        "from samebits import core\ncore.hidden",
        "import samebits.core\nsamebits.core.hidden",
    ],
)
def test_private_uses_are_found(source: str) -> None:
    assert len(list(private_uses(source))) == 1


@pytest.mark.parametrize("source", ["numerics.name == 'exact'", "'fast' != name", "match name:\n    case 'exact': pass"])
def test_comparisons_with_an_arithmetic_are_found(source: str) -> None:
    assert len(list(arithmetic_names(source))) == 1
