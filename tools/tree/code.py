"""Source code, read without running it: what each module imports, on which line, and its public names.

A package's ``__init__`` re-exports what other modules hold. An import through it is followed to the module that holds the name, so
``from samebits.core import matmul`` and ``core.matmul`` both lead to ``samebits.core.linalg``.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

__all__ = ["Import", "Module", "imports", "modules"]


@dataclass(frozen=True)
class Import:
    """One name imported from one module, and where."""

    module: str
    """The module's full name, such as ``samebits.core.linalg`` or ``numpy``."""
    name: str
    """The name taken from it; empty where the whole module is imported."""
    line: int


@dataclass(frozen=True)
class Module:
    """A Python file: its full name and its text. A package is its ``__init__``."""

    name: str
    path: Path
    source: str

    @cached_property
    def syntax(self) -> ast.Module:
        return ast.parse(self.source, filename=str(self.path))

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    @cached_property
    def title(self) -> str:
        """The first line of the docstring, without its full stop; empty where there is none."""
        return first_line(self.syntax)

    @cached_property
    def public(self) -> dict[str, str]:
        """The names of ``__all__`` and their titles; where there is no ``__all__``, the functions and classes without underscore."""
        defined = {one.name: first_line(one) for one in self.syntax.body if isinstance(one, ast.FunctionDef | ast.ClassDef)}
        for one in self.syntax.body:
            if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == "__all__":
                return {name: defined.get(name, "") for name in ast.literal_eval(one.value)}
        return {name: title for name, title in defined.items() if not name.startswith("_")}

    @cached_property
    def _nodes(self) -> list[ast.Import | ast.ImportFrom | ast.Attribute]:
        kinds = (ast.Import, ast.ImportFrom, ast.Attribute)
        return [node for node in ast.walk(self.syntax) if isinstance(node, kinds)]

    @cached_property
    def imported(self) -> list[Import]:
        """All import statements, those inside functions too, in the order of lines."""
        found = []
        for node in self._nodes:
            if isinstance(node, ast.Import):
                found += [Import(alias.name, "", node.lineno) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found += [Import(self._absolute(node), alias.name, node.lineno) for alias in node.names]
        return sorted(found, key=lambda one: one.line)

    def _absolute(self, node: ast.ImportFrom) -> str:
        parts = self.name.split(".")[: len(self.name.split(".")) - node.level + self.is_package] if node.level else []
        return ".".join([*parts, *([node.module] if node.module else [])])

    def attributes(self, package: str) -> Iterator[Import]:
        """The names used as attributes of an imported package: ``core.exp`` after ``from samebits import core``."""
        above, _, last = package.rpartition(".")
        aliases = set()
        for node in self._nodes:
            if isinstance(node, ast.ImportFrom) and node.module == above and not node.level:
                aliases |= {alias.asname or alias.name for alias in node.names if alias.name == last}
            elif isinstance(node, ast.Import):
                aliases |= {alias.asname or alias.name for alias in node.names if alias.name == package}
        for node in self._nodes:
            if isinstance(node, ast.Attribute) and _dotted(node.value) in aliases:
                yield Import(package, node.attr, node.lineno)


def _dotted(node: ast.expr) -> str:
    """A dotted name as it is written; empty for any other expression."""
    if isinstance(node, ast.Attribute):
        return f"{above}.{node.attr}" if (above := _dotted(node.value)) else ""
    return node.id if isinstance(node, ast.Name) else ""


def first_line(node: ast.Module | ast.FunctionDef | ast.ClassDef) -> str:
    """The first line of a docstring, without its full stop; empty where there is none."""
    return ((ast.get_docstring(node) or "").splitlines() or [""])[0].removesuffix(".")


def modules(folder: Path, name: str) -> dict[str, Module]:
    """The modules of the package ``name`` in ``folder``, in the order of their names."""
    found = {}
    for path in sorted(folder.rglob("*.py"), key=Path.as_posix):
        parts = path.relative_to(folder).with_suffix("").parts
        full = ".".join([name, *(parts[:-1] if parts[-1] == "__init__" else parts)])
        found[full] = Module(full, path, path.read_text(encoding="utf-8"))
    return found


def imports(module: Module, known: Mapping[str, Module]) -> list[Import]:
    """What a module imports, each name followed to the module that holds it."""
    found = []
    for one in module.imported:
        whole = f"{one.module}.{one.name}" if one.name else one.module
        if whole in known and known[whole].is_package:  # the package itself: its attributes that are used count
            found += [_held(use, known) for use in module.attributes(whole)]
        else:
            found.append(_held(one, known))
    return list(dict.fromkeys(found))


def _held(one: Import, known: Mapping[str, Module]) -> Import:
    """The import of a name from the module that holds it, where a package only re-exports it."""
    while one.module in known and known[one.module].is_package:
        handed = [offer for offer in known[one.module].imported if offer.name == one.name and offer.module != one.module]
        if handed:
            one = Import(handed[0].module, one.name, one.line)
        elif f"{one.module}.{one.name}" in known:
            return Import(f"{one.module}.{one.name}", "", one.line)
        else:
            break
    return one
