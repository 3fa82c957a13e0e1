"""The description of a repository: its folders, its packages and its plans. The tree reads all else from the code.

A `Description` is a TOML file, ``technologies.toml`` beside this module for this repository:

    [repository]  the namespace, and where sources, tests, pages and measured coverage are
    [given]       what is used without being implemented: the tests that try it, and its chapter
    [packages.X]  what X may import, its chapter, and how the picture shows it
    [classic]     where each technology of the classic path has its place
    [[back]]      imports that point back, with a reason
    [[planned]]   technologies that are not implemented yet
    [[overview]]  the packages and landmarks of the small picture
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.files import parse_toml

__all__ = ["Description", "Package", "Planned", "Tile"]


@dataclass(frozen=True)
class Package:
    """One package of the repository; its modules are technologies."""

    requires: tuple[str, ...]
    """The packages that it may import."""
    chapter: str
    title: str
    """Its name in the picture."""
    in_a_row: int
    """How many boxes the picture puts in a row."""
    after: tuple[str, ...]
    """The packages that the picture draws below it."""
    colors: tuple[str, str, str]
    """Of the background, of a box, and of its lines."""
    aside: bool = False
    """Whether the picture draws it beside other packages, at the right edge."""


@dataclass(frozen=True)
class Tile:
    """A package in the overview: its place in a grid of rows and percent of the width, and what it shows."""

    package: str
    title: str
    row: int
    """The highest row it fills; 0 is the top."""
    columns: tuple[int, int]
    """Where it begins and ends, in percent of the width."""
    colors: tuple[str, str, str]
    """Of the background, of a box, and of its edge."""
    landmarks: tuple[str, ...] = ()
    subtitle: str = ""
    rows: int = 1


@dataclass(frozen=True)
class Planned:
    """A technology that is not implemented yet."""

    title: str
    sentence: str
    requires: tuple[str, ...]


@dataclass(frozen=True)
class Description:
    """The repository at ``root``; every path below is relative to it."""

    root: Path
    namespace: str
    source: str
    """The folder of a package's modules; ``{package}`` is the package's name."""
    tests: str
    """The folder of a package's tests, likewise."""
    pages: str
    """The folder of the chapters, and of the tree's page and picture."""
    coverage: str
    """The file with the measured coverage."""
    given_tests: str
    """The test file of Python and NumPy."""
    given_chapter: str
    packages: Mapping[str, Package]
    classic: Mapping[str, str]
    """The technologies of the classic path, and their places: ``PACKAGE.MODULE``, ``PACKAGE.MODULE:NAME`` or ``planned``."""
    back: Mapping[tuple[str, str], str]
    """The imports that point back, and why."""
    planned: tuple[Planned, ...]
    overview: tuple[Tile, ...] = ()
    """The packages as the overview shows them."""

    @classmethod
    def read(cls, file: Path, root: Path) -> "Description":
        """The description in ``file`` of the repository at ``root``."""
        tables = parse_toml(file.read_text(encoding="utf-8"), source=str(file))
        return cls(
            root=root,
            **tables["repository"],
            given_tests=tables["given"]["tests"],
            given_chapter=tables["given"]["chapter"],
            packages={name: Package(**_frozen(one)) for name, one in tables["packages"].items()},
            classic=tables["classic"],
            back={(one["from"], one["to"]): one["why"] for one in tables["back"]},
            planned=tuple(Planned(**_frozen(one)) for one in tables["planned"]),
            overview=tuple(Tile(**_frozen(one)) for one in tables.get("overview", ())),
        )

    def source_of(self, package: str) -> str:
        return self.source.format(package=package)

    def tests_of(self, package: str) -> str:
        return self.tests.format(package=package)

    def technology_of(self, module: str) -> str:
        """The technology that a module of the namespace belongs to: ``autograd.ops`` of ``samebits.autograd.ops.shapes``."""
        return ".".join(module.split(".")[1:3])


def _frozen(table: Mapping[str, Any]) -> dict[str, Any]:
    """A TOML table with tuples in place of its lists."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
