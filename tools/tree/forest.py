"""The tree: technologies, what each requires and unlocks, and what tests it.

Technologies are named ``FLOOR.MODULE``; the ground is ``python`` and ``numpy``. An import that points back, closing a circle
inside one floor, must be named in ``technologies.toml`` with its reason; it is left out of the order.
"""

import hashlib
import importlib.util
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tools.tree import code, coverage

__all__ = ["CHAPTERS", "FLOORS", "Planned", "Technology", "Tree", "find_root", "technology_of"]

FLOORS = {
    "core": (),
    "autograd": ("core",),
    "text": ("core",),
    "nn": ("core", "autograd"),
    "lm": ("core", "autograd", "text", "nn"),
}
"""The floors in the order of the chapters, and the floors that each stands on."""

CHAPTERS = {
    "ground": "python_and_numpy.md",
    "core": "numbers.md",
    "autograd": "autograd.md",
    "text": "text.md",
    "nn": "nn.md",
    "lm": "lm.md",
}
GROUND = {"python": "Python and its standard library", "numpy": "NumPy: arrays, and arithmetic on them"}
_GROUND_TEST = "tests/test_python_and_numpy.py"


@dataclass(frozen=True)
class Technology:
    """A module, or the modules of a sub-package, of one floor."""

    name: str
    title: str
    path: str
    """The file, from the root of the house; a family's is its ``__init__``."""
    lines: int
    digest: str
    """The SHA-256 of the source; empty for the ground."""
    public: Mapping[str, str] = field(default_factory=dict)
    """The names it offers, and their titles."""
    imports: Mapping[str, tuple[code.Import, ...]] = field(default_factory=dict)
    """What it imports, by file: from other modules of the house, from NumPy, and from anywhere else."""

    @property
    def floor(self) -> str:
        return self.name.partition(".")[0] if "." in self.name else "ground"

    @property
    def label(self) -> str:
        return self.name.rpartition(".")[2]


@dataclass(frozen=True)
class Planned:
    """A technology that is not there yet."""

    title: str
    sentence: str
    requires: tuple[str, ...]


@dataclass(frozen=True)
class Tree:
    """All technologies in an order in which each comes after what it requires."""

    technologies: Mapping[str, Technology]
    requires: Mapping[str, tuple[str, ...]]
    """What each imports, directly, without the imports that point back."""
    back: Mapping[tuple[str, str], str]
    """The imports that point back, and why."""
    classic: Mapping[str, str]
    """The technologies of the classic path, and their places: ``FLOOR.MODULE``, ``FLOOR.MODULE:NAME`` or ``planned``."""
    planned: tuple[Planned, ...]
    tests: Mapping[str, tuple[str, ...]]
    """The test files of each technology, its own first."""
    coverage: Mapping[str, coverage.Coverage]
    root: Path | None = None

    @classmethod
    def read(cls, root: Path | None = None) -> "Tree":
        """The tree of the house at ``root``; without one, of the installed packages, and then without tests."""
        known = {name: module for floor in FLOORS for name, module in _floor(floor, root).items()}
        technologies = _ground() | _technologies(known, root)
        plan = tomllib.loads(Path(__file__).with_name("technologies.toml").read_text(encoding="utf-8"))
        back = {(one["from"], one["to"]): one["why"] for one in plan["back"]}
        requires = {
            name: tuple(to for to in _targets(one) if to != name and (name, to) not in back and to in technologies)
            for name, one in technologies.items()
        }
        requires["numpy"] = ("python",)
        return cls(
            technologies={name: technologies[name] for name in in_order(requires)},
            requires=requires,
            back=back,
            classic=plan["classic"],
            planned=tuple(Planned(one["title"], one["sentence"], tuple(one["requires"])) for one in plan["planned"]),
            tests=_tests(technologies, known, root) if root else {},
            coverage=coverage.read(root / "docs/coverage.json") if root else {},
            root=root,
        )

    @cached_property
    def digests(self) -> dict[str, str]:
        """A short name for the source of every technology above the ground and of its test files: coverage counts only for these."""
        found = {}
        for name, one in self.technologies.items():
            if self.root and one.digest:
                state = hashlib.sha256(one.digest.encode())
                for test in sorted(self.tests[name]):
                    state.update((self.root / test).read_bytes())
                found[name] = state.hexdigest()[:16]
        return found

    @cached_property
    def unlocks(self) -> dict[str, tuple[str, ...]]:
        """Who imports each technology, directly."""
        return {name: tuple(other for other in self.technologies if name in self.requires[other]) for name in self.technologies}

    @cached_property
    def below(self) -> dict[str, frozenset[str]]:
        """Everything each technology stands on, down to the ground."""
        found: dict[str, frozenset[str]] = {}
        for name in self.technologies:
            found[name] = frozenset(self.requires[name]).union(*(found.get(one, frozenset()) for one in self.requires[name]))
        return found

    def stands_on(self, requires: Iterable[str]) -> tuple[str, ...]:
        """Of some requirements, those that do not follow from the others."""
        wanted = tuple(requires)
        return tuple(one for one in wanted if not any(one in self.below[other] for other in wanted))

    def path(self, name: str) -> list[str]:
        """What ``name`` stands on, from the ground up, and itself."""
        return [one for one in self.technologies if one in self.below[name] or one == name]

    def titles(self, name: str) -> list[str]:
        """The technologies of the classic path that have their place in this one."""
        return [title for title, place in self.classic.items() if place.partition(":")[0] == name]

    def chapter(self, name: str) -> str:
        """The page in ``docs/`` that tells of it."""
        return CHAPTERS[self.technologies[name].floor]

    def find(self, text: str) -> list[str]:
        """The technologies that ``text`` may mean: a name, its last part, a title of the classic path, or a public name."""
        places = {title.casefold(): place.partition(":")[0] for title, place in self.classic.items() if place != "planned"}
        if (name := places.get(text.casefold(), text)) in self.technologies:
            return [name]
        exact = [name for name, one in self.technologies.items() if one.label == text]
        return exact or [name for name, one in self.technologies.items() if text in one.public]


def find_root(start: Path) -> Path | None:
    """The nearest folder, from ``start`` upwards, that holds the house; None outside of it."""
    places = (folder for folder in [start, *start.parents] if (folder / "packages/core/src/samebits/core").is_dir())
    return next(places, None)


def in_order(requires: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The names so that each comes after what it requires, else as they are; what is caught in a circle comes last."""
    done: dict[str, None] = {}
    waiting = list(requires)
    while ready := [name for name in waiting if all(one in done for one in requires[name])]:
        done.update(dict.fromkeys(ready[:1]))
        waiting.remove(ready[0])
    return [*done, *waiting]


def technology_of(module: str) -> str:
    """The technology that a module of the house belongs to: ``autograd.ops`` of ``samebits.autograd.ops.shapes``."""
    return ".".join(module.split(".")[1:3])


def _floor(floor: str, root: Path | None) -> dict[str, code.Module]:
    """The modules of one floor; nothing where it is not installed."""
    if root:
        return code.modules(root / f"packages/{floor}/src/samebits/{floor}", f"samebits.{floor}")
    found = importlib.util.find_spec(f"samebits.{floor}")
    places = found.submodule_search_locations if found else None
    return code.modules(Path(places[0]), f"samebits.{floor}") if places else {}


def _ground() -> dict[str, Technology]:
    return {name: Technology(name, title, _GROUND_TEST, 0, "") for name, title in GROUND.items()}


def _technologies(known: Mapping[str, code.Module], root: Path | None) -> dict[str, Technology]:
    """The technologies by name; a sub-package is one, and a floor's own ``__init__`` is none."""
    families: dict[str, list[code.Module]] = {}
    for module in known.values():
        if module.name.count(".") > 1:
            families.setdefault(technology_of(module.name), []).append(module)
    found = {}
    for name, members in families.items():
        sources = [module.source for module in members]
        found[name] = Technology(
            name=name,
            title=members[0].title,
            path=_relative(members[0].path, root),
            lines=sum(len(source.splitlines()) for source in sources),
            digest=hashlib.sha256("\0".join(sources).encode()).hexdigest(),
            public={one: title for module in reversed(members) for one, title in module.public.items()},
            imports={_relative(module.path, root): tuple(code.imports(module, known)) for module in members},
        )
    return found


def _relative(path: Path, root: Path | None) -> str:
    return path.relative_to(root).as_posix() if root else path.as_posix()


def _targets(technology: Technology) -> list[str]:
    """The technologies that one imports, in the order of its lines; NumPy among them, Python always."""
    named = [one.module for lines in technology.imports.values() for one in lines]
    found = [technology_of(name) if name.startswith("samebits.") else name.partition(".")[0] for name in named]
    ours = [name for name in dict.fromkeys(found) if "." in name or name == "numpy"]
    return ["python", *ours] if technology.name != "python" else []


def _tests(technologies: Mapping[str, Technology], known: Mapping[str, code.Module], root: Path) -> dict[str, tuple[str, ...]]:
    """The test files of each technology: those of its floor that import it, else those of what stands on it directly.

    Its namesake comes first, then the namesakes of its neighbours in the tree, then what uses it most.
    """
    targets = {name: _targets(one) for name, one in technologies.items()}
    uses: dict[str, Counter[str]] = {name: Counter() for name in technologies}
    for path in sorted(root.glob("tests/*/test_*.py")):
        module, place = code.Module(path.stem, path, path.read_text(encoding="utf-8")), _relative(path, root)
        namesake = f"{path.parent.name}.{path.stem.removeprefix('test_')}"
        for name in [technology_of(one.module) for one in code.imports(module, known)]:
            if name in uses and name.partition(".")[0] == path.parent.name:
                near = namesake in targets[name] or name in targets.get(namesake, ())
                uses[name][place] += 1 + 100 * near
        if namesake in uses:
            uses[namesake][place] += 10_000
    own = {name: [place for place, _ in counted.most_common()] for name, counted in uses.items()}
    above = {name: [user for user, used in targets.items() if name in used] for name in technologies}
    tests = {name: own[name] or [place for user in above[name] for place in own[user][:1]] for name in technologies}
    return {name: tuple(dict.fromkeys(places)) for name, places in tests.items()} | dict.fromkeys(GROUND, (_GROUND_TEST,))
