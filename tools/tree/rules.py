"""The rules of the tree: what is broken, one line each, with the rule, the file and the line.

import-linter holds the order of the floors as well; here is what it cannot see.
"""

import sys
from collections.abc import Iterator

from tools.tree.coverage import percent
from tools.tree.forest import FLOORS, Tree, technology_of

__all__ = ["FLOOR", "broken"]

FLOOR = 90
"""The least percentage of a technology's lines and branches, taken together, that the tests of its floor run through."""

_GROUND = {"numpy"} | sys.stdlib_module_names
_IMPORTS = "below lab, only NumPy, the standard library and lower floors are imported"
_TITLES = "a technology has a title, the first line of its docstring"
_CIRCLES = "no circles"
_BACK = "an import that points back is named in technologies.toml, and is there"
_TESTS = "every technology has a test file that covers it"
_COVERAGE = f"the tests of its floor cover {FLOOR} % of a technology's lines and branches"
_PLACES = "every technology of the classic path has its place, and every plan its ground"


def broken(tree: Tree) -> list[str]:
    """What breaks a rule, as ``rule: file:line: what``; nothing in a sound tree."""
    checks = (_imports, _titles, _circles, _back, _tests, _coverage, _places)
    return list(dict.fromkeys(line for check in checks for line in check(tree)))


def _imports(tree: Tree) -> Iterator[str]:
    for one in tree.technologies.values():
        may = {one.floor, *FLOORS.get(one.floor, ())}
        for path, lines in one.imports.items():
            for used in lines:
                above, _, floor = used.module.partition(".")
                if not (above in _GROUND or (above == "samebits" and floor.partition(".")[0] in may)):
                    yield f"{_IMPORTS}: {path}:{used.line}: {one.floor} imports {used.module}"


def _titles(tree: Tree) -> Iterator[str]:
    yield from (f"{_TITLES}: {one.path}:1: no docstring" for one in tree.technologies.values() if not one.title)


def _circles(tree: Tree) -> Iterator[str]:
    for name, one in tree.technologies.items():
        for path, lines in one.imports.items():
            for used in lines:
                target = technology_of(used.module)
                if target in tree.requires[name] and name in tree.below.get(target, ()):
                    yield f"{_CIRCLES}: {path}:{used.line}: {name} imports {target}, which stands on {name}"


def _back(tree: Tree) -> Iterator[str]:
    for low, high in tree.back:
        lines = tree.technologies[low].imports.values() if low in tree.technologies else ()
        if high not in {technology_of(used.module) for found in lines for used in found}:
            yield f"{_BACK}: technologies.toml: {low} does not import {high}"


def _tests(tree: Tree) -> Iterator[str]:
    for name, one in tree.technologies.items():
        if not tree.tests[name]:
            yield f"{_TESTS}: {one.path}:1: nothing in tests/{one.floor} imports {name}, or what stands on it"


def _coverage(tree: Tree) -> Iterator[str]:
    for name, one in tree.technologies.items():
        measured = tree.coverage.get(name)
        if one.floor == "ground":
            continue
        if measured is None or measured.digest != tree.digests[name]:
            yield f"{_COVERAGE}: {one.path}:1: not measured on this code, ./nox -s coverage does it"
        elif percent(measured.both) < FLOOR:
            lines, branches = percent(measured.lines), percent(measured.branches)
            yield f"{_COVERAGE}: {one.path}:1: {percent(measured.both)} %: {lines} % of its lines, {branches} % of its branches"


def _places(tree: Tree) -> Iterator[str]:
    for title, place in tree.classic.items():
        name, _, public = place.partition(":")
        known = tree.technologies.get(name)
        there = known is not None and (not public or public in known.public)
        if not there and not (place == "planned" and title in {plan.title for plan in tree.planned}):
            yield f"{_PLACES}: technologies.toml: {title} = {place}, which is not there"
    for plan in tree.planned:
        yield from (
            f"{_PLACES}: technologies.toml: {plan.title} requires {name}, which is not there"
            for name in plan.requires
            if name not in tree.technologies
        )
