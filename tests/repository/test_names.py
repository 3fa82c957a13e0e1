"""Names: no function or class hides the module it lives in, so `import samebits.nn.linear as a` gives a module."""

import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

import samebits

pytestmark = pytest.mark.once
MODULES = [importlib.import_module(module.name) for module in pkgutil.walk_packages(samebits.__path__, "samebits.")]


def hidden(package: ModuleType) -> list[str]:
    """The submodules of a package of which its attribute of that name is something else."""
    names = [module.name for module in pkgutil.iter_modules(getattr(package, "__path__", []))]
    return [name for name in names if not isinstance(getattr(package, name, package), ModuleType)]


def namesakes(module: ModuleType) -> list[str]:
    """Functions and classes with the name of the module, and defined in it."""
    name = module.__name__.rpartition(".")[2]
    own = vars(module).get(name)
    return [name] if (inspect.isfunction(own) or inspect.isclass(own)) and own.__module__ == module.__name__ else []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_no_public_name_hides_a_module(module: ModuleType) -> None:
    assert hidden(module) == []


def test_no_function_has_the_name_of_its_module() -> None:
    assert [module.__name__ for module in MODULES if namesakes(module)] == []


def test_a_hidden_module_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from samebits import core

    monkeypatch.setattr(core, "selftest", core.digest)
    assert hidden(core) == ["selftest"]


def test_a_namesake_is_found() -> None:
    module = ModuleType("samebits.core.exp")
    exec("def exp(): pass", vars(module))  # noqa: S102 - a module as the one refused
    assert namesakes(module) == ["exp"]
