"""The rules of the tree: what is broken, one line each, with the rule, the file and the line.

import-linter checks the order of the packages as well; here is what it cannot see.
"""

import sys
from collections.abc import Iterator

from tools.tree.coverage import percent
from tools.tree.graph import Tree

__all__ = ["LEAST", "broken"]

LEAST = 90
"""The least percentage of a technology's lines and branches, taken together, that the tests of its package run through."""

_GIVEN = {"numpy"} | sys.stdlib_module_names
_IMPORTS = "only NumPy, the standard library and lower packages are imported"
_TITLES = "a technology has a title, the first line of its docstring"
_CIRCLES = "no circular imports"
_BACK = "an import that points back is named in the description, and exists"
_TESTS = "every technology has a test file that covers it"
_COVERAGE = f"the tests of its package cover {LEAST} % of a technology's lines and branches"
_PLACES = "what the description names exists"


def broken(tree: Tree) -> list[str]:
    """What breaks a rule, as ``rule: file:line: what``; empty where all rules hold."""
    checks = (_imports, _titles, _circles, _back, _tests, _coverage, _places)
    return list(dict.fromkeys(line for check in checks for line in check(tree)))


def _imports(tree: Tree) -> Iterator[str]:
    for one in tree.technologies.values():
        if not one.package:
            continue
        allowed = {one.package, *tree.description.packages[one.package].requires}
        for path, lines in one.imports.items():
            for used in lines:
                above, _, rest = used.module.partition(".")
                ours = above == tree.description.namespace and rest.partition(".")[0] in allowed
                if not (above in _GIVEN or ours):
                    yield f"{_IMPORTS}: {path}:{used.line}: {one.package} imports {used.module}"


def _titles(tree: Tree) -> Iterator[str]:
    yield from (f"{_TITLES}: {one.path}:1: no docstring" for one in tree.technologies.values() if not one.title)


def _circles(tree: Tree) -> Iterator[str]:
    for name, one in tree.technologies.items():
        for path, lines in one.imports.items():
            for used in lines:
                target = tree.description.technology_of(used.module)
                if target in tree.requires[name] and name in tree.below.get(target, ()):
                    yield f"{_CIRCLES}: {path}:{used.line}: {name} imports {target}, which requires {name}"


def _back(tree: Tree) -> Iterator[str]:
    for low, high in tree.description.back:
        lines = tree.technologies[low].imports.values() if low in tree.technologies else ()
        if high not in {tree.description.technology_of(used.module) for found in lines for used in found}:
            yield f"{_BACK}: {low} does not import {high}"


def _tests(tree: Tree) -> Iterator[str]:
    for name, one in tree.technologies.items():
        if not tree.tests[name]:
            folder = tree.description.tests_of(one.package)
            yield f"{_TESTS}: {one.path}:1: nothing in {folder} imports {name}, or what requires it"


def _coverage(tree: Tree) -> Iterator[str]:
    for name, one in tree.technologies.items():
        measured = tree.coverage.get(name)
        if not one.package:
            continue
        if measured is None or measured.digest != tree.digests[name]:
            yield f"{_COVERAGE}: {one.path}:1: not measured for this code; run ./nox -s coverage"
        elif percent(measured.both) < LEAST:
            lines, branches = percent(measured.lines), percent(measured.branches)
            yield f"{_COVERAGE}: {one.path}:1: {percent(measured.both)} %: {lines} % of its lines, {branches} % of its branches"


def _places(tree: Tree) -> Iterator[str]:
    planned = {plan.title for plan in tree.description.planned}
    for title, place in tree.description.classic.items():
        name, _, public = place.partition(":")
        known = tree.technologies.get(name)
        exists = known is not None and (not public or public in known.public)
        if not exists and not (place == "planned" and title in planned):
            yield f"{_PLACES}: {title} = {place} does not exist"
    for plan in tree.description.planned:
        yield from (
            f"{_PLACES}: {plan.title} requires {name}, which does not exist"
            for name in plan.requires
            if name not in tree.technologies
        )
