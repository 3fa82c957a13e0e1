"""The tree: technologies, what each requires and unlocks, and what tests it.

Technologies are named ``PACKAGE.MODULE``; ``python`` and ``numpy`` are given. An import that points back, closing a circle
inside one package, must be named in the description with its reason; the order leaves it out.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tools.tree import code, coverage
from tools.tree.description import Description

__all__ = ["Technology", "Tree"]

GIVEN = {"python": "Python and its standard library", "numpy": "NumPy: arrays, and arithmetic on them"}


@dataclass(frozen=True)
class Technology:
    """A module, or the modules of a sub-package, of one package."""

    name: str
    title: str
    path: str
    """The file, relative to the repository's root; a sub-package's is its ``__init__``."""
    lines: int
    digest: str
    """The SHA-256 of the source; empty for Python and NumPy."""
    public: Mapping[str, str] = field(default_factory=dict)
    """The names it offers, and their titles."""
    imports: Mapping[str, tuple[code.Import, ...]] = field(default_factory=dict)
    """What it imports, by file: from other modules of the repository, from NumPy, and from anywhere else."""

    @property
    def package(self) -> str:
        """The package it belongs to; empty for Python and NumPy."""
        return self.name.rpartition(".")[0]

    @property
    def label(self) -> str:
        return self.name.rpartition(".")[2]


@dataclass(frozen=True)
class Tree:
    """All technologies in an order in which each comes after what it requires."""

    description: Description
    technologies: Mapping[str, Technology]
    requires: Mapping[str, tuple[str, ...]]
    """What each imports, directly, without the imports that point back."""
    tests: Mapping[str, tuple[str, ...]]
    """The test files of each technology, its own first."""
    coverage: Mapping[str, coverage.Coverage]

    @classmethod
    def read(cls, description: Description) -> "Tree":
        """The tree of the repository that ``description`` describes, read from its source files."""
        root = description.root
        known: dict[str, code.Module] = {}
        for name in description.packages:
            known |= code.modules(root / description.source_of(name), f"{description.namespace}.{name}")
        technologies = _given(description) | _technologies(known, description)
        requires = {
            name: tuple(
                to
                for to in _targets(one, description)
                if to != name and (name, to) not in description.back and to in technologies
            )
            for name, one in technologies.items()
        }
        requires["numpy"] = ("python",)
        return cls(
            description=description,
            technologies={name: technologies[name] for name in in_order(requires)},
            requires=requires,
            tests=_tests(technologies, known, description),
            coverage=coverage.read(root / description.coverage),
        )

    @cached_property
    def digests(self) -> dict[str, str]:
        """A short name for the source of every implemented technology and of its test files: coverage counts only for these."""
        found = {}
        for name, one in self.technologies.items():
            if one.package:
                state = hashlib.sha256(one.digest.encode())
                for test in sorted(self.tests[name]):
                    state.update((self.description.root / test).read_bytes())
                found[name] = state.hexdigest()[:16]
        return found

    @cached_property
    def unlocks(self) -> dict[str, tuple[str, ...]]:
        """The technologies that import each one, directly."""
        return {name: tuple(other for other in self.technologies if name in self.requires[other]) for name in self.technologies}

    @cached_property
    def below(self) -> dict[str, frozenset[str]]:
        """Everything that each technology requires, directly or not."""
        found: dict[str, frozenset[str]] = {}
        for name in self.technologies:
            found[name] = frozenset(self.requires[name]).union(*(found.get(one, frozenset()) for one in self.requires[name]))
        return found

    def reduced(self, requires: Iterable[str]) -> tuple[str, ...]:
        """Of some requirements, those that do not follow from the others (the transitive reduction)."""
        wanted = tuple(requires)
        return tuple(one for one in wanted if not any(one in self.below[other] for other in wanted))

    def path(self, name: str) -> list[str]:
        """Everything that ``name`` requires, in order, and itself."""
        return [one for one in self.technologies if one in self.below[name] or one == name]

    def titles(self, name: str) -> list[str]:
        """The technologies of the classic path that have their place in this one."""
        return [title for title, place in self.description.classic.items() if place.partition(":")[0] == name]

    def chapter(self, name: str) -> str:
        """The page that explains it, in the folder of pages."""
        package = self.technologies[name].package
        return self.description.packages[package].chapter if package else self.description.given_chapter

    def find(self, text: str) -> list[str]:
        """The technologies that ``text`` may mean: a name, its last part, a title of the classic path, or a public name."""
        classic = self.description.classic
        places = {title.casefold(): place.partition(":")[0] for title, place in classic.items() if place != "planned"}
        if (name := places.get(text.casefold(), text)) in self.technologies:
            return [name]
        exact = [name for name, one in self.technologies.items() if one.label == text]
        return exact or [name for name, one in self.technologies.items() if text in one.public]


def in_order(requires: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The names so that each comes after what it requires, else as they are; what is caught in a circle comes last."""
    done: dict[str, None] = {}
    waiting = list(requires)
    while ready := [name for name in waiting if all(one in done for one in requires[name])]:
        done.update(dict.fromkeys(ready[:1]))
        waiting.remove(ready[0])
    return [*done, *waiting]


def _given(description: Description) -> dict[str, Technology]:
    return {name: Technology(name, title, description.given_tests, 0, "") for name, title in GIVEN.items()}


def _technologies(known: Mapping[str, code.Module], description: Description) -> dict[str, Technology]:
    """The technologies by name; a sub-package is one, and a package's own ``__init__`` is none."""
    families: dict[str, list[code.Module]] = {}
    for module in known.values():
        if module.name.count(".") > 1:
            families.setdefault(description.technology_of(module.name), []).append(module)
    found = {}
    for name, members in families.items():
        sources = [module.source for module in members]
        found[name] = Technology(
            name=name,
            title=members[0].title,
            path=_relative(members[0].path, description.root),
            lines=sum(len(source.splitlines()) for source in sources),
            digest=hashlib.sha256("\0".join(sources).encode()).hexdigest(),
            public={one: title for module in reversed(members) for one, title in module.public.items()},
            imports={_relative(module.path, description.root): tuple(code.imports(module, known)) for module in members},
        )
    return found


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _targets(technology: Technology, description: Description) -> list[str]:
    """The technologies that one imports, in the order of its lines; NumPy among them, Python always."""
    named = [one.module for lines in technology.imports.values() for one in lines]
    ours = f"{description.namespace}."
    found = [description.technology_of(name) if name.startswith(ours) else name.partition(".")[0] for name in named]
    used = [name for name in dict.fromkeys(found) if "." in name or name == "numpy"]
    return ["python", *used] if technology.name != "python" else []


def _tests(
    technologies: Mapping[str, Technology], known: Mapping[str, code.Module], description: Description
) -> dict[str, tuple[str, ...]]:
    """The test files of each technology: those of its package that import it, else those of what imports it directly.

    The file of its own name comes first, then the files named after its neighbors in the tree, then what uses it most.
    """
    targets = {name: _targets(one, description) for name, one in technologies.items()}
    uses: dict[str, Counter[str]] = {name: Counter() for name in technologies}
    for package in description.packages:
        for path in sorted((description.root / description.tests_of(package)).glob("test_*.py")):
            module, place = code.Module(path.stem, path, path.read_text(encoding="utf-8")), _relative(path, description.root)
            own = f"{package}.{path.stem.removeprefix('test_')}"
            for name in [description.technology_of(one.module) for one in code.imports(module, known)]:
                if name in uses and name.partition(".")[0] == package:
                    near = own in targets[name] or name in targets.get(own, ())
                    uses[name][place] += 1 + 100 * near
            if own in uses:
                uses[own][place] += 10_000
    direct = {name: [place for place, _ in counted.most_common()] for name, counted in uses.items()}
    above = {name: [user for user, used in targets.items() if name in used] for name in technologies}
    tests = {name: direct[name] or [place for user in above[name] for place in direct[user][:1]] for name in technologies}
    return {name: tuple(dict.fromkeys(places)) for name, places in tests.items()} | dict.fromkeys(
        GIVEN, (description.given_tests,)
    )
