"""The public names of the package: all are listed, and each function and class has an example that runs."""

import inspect
from types import ModuleType
from typing import Any

import pytest

from samebits import nn

pytestmark = pytest.mark.once

MODULES = [nn, nn.initializer, nn.schedule]


def names_without_example(module: ModuleType) -> list[str]:
    found: list[tuple[str, Any]] = [(name, getattr(module, name)) for name in module.__all__]
    own = [(name, one) for name, one in found if getattr(one, "__module__", "").startswith("samebits.nn")]  # not re-exported ones
    return [name for name, one in own if (inspect.isclass(one) or inspect.isfunction(one)) and ">>>" not in (one.__doc__ or "")]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_public_function_and_class_has_an_example(module: ModuleType) -> None:
    assert names_without_example(module) == []


def test_a_name_without_example_is_found() -> None:
    module = ModuleType("samebits.nn.made_up")
    vars(module).update(__all__=["run"], run=lambda: None)
    module.run.__module__ = "samebits.nn.made_up"
    assert names_without_example(module) == ["run"]


def test_modules_and_optimizers_are_all_public() -> None:
    for base in (nn.Module, nn.Optimizer):
        below = [one for one in base.__subclasses__() if one.__module__.startswith("samebits.nn.") and one.__name__[0] != "_"]
        assert sorted({one.__name__ for one in below} - set(nn.__all__)) == []
