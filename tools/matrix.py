"""The grid: Pythons down, NumPys across, and in every cell the result of its tests.

Every cell writes one small JSON file, a `Record`. The grid is made from these files alone, so cells may run one by one
or in parallel, here or on other machines, and be joined by copying the files together.
A record counts only while its `fingerprint` is that of the source tree: a change of the code makes it stale.
Standard library only: the sessions import it.
"""

import hashlib
import json
import os
import platform
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from tools.files import Limits, RecordError, read_json, replace_text

__all__ = ["Grid", "Record", "fingerprint", "this_platform", "write_reports"]

Series = Annotated[str, Limits(pattern=r"[0-9]+\.[0-9]+")]
Count = Annotated[int, Limits(least=0)]

Cell = tuple[str, str]
"""A Python and a NumPy series, such as ``("3.12", "2.3")``."""


def this_platform() -> str:
    """The platform's name, such as ``linux-x86_64``; each platform has its own grid."""
    return f"{platform.system()}-{platform.machine()}".lower()


def fingerprint(root: Path, names: Iterable[str]) -> str:
    """SHA-256 over the names and bytes of files, in a fixed order.

    Args:
        root: The folder that the names are relative to.
        names: Files, and folders of which every file counts.

    Raises:
        FileNotFoundError: Nothing of such a name exists.
    """
    state = hashlib.sha256()
    files: list[Path] = []
    for name in names:
        if not (root / name).exists():
            raise FileNotFoundError(f"fingerprint: {root / name} does not exist")
        files += [root / name] if (root / name).is_file() else (root / name).rglob("*")
    for path in sorted(files, key=Path.as_posix):
        if path.is_file() and "__pycache__" not in path.parts:
            content = path.read_bytes()
            state.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode())
            state.update(content)
    return state.hexdigest()


@dataclass(frozen=True)
class Record:
    """The result of one cell's tests."""

    python: Series
    numpy: Series
    platform: Annotated[str, Limits(pattern=r"[a-z0-9_.-]+")]  # part of the names of files
    fingerprint: str
    problem: str = ""
    """Why there are no counts, such as ``install failed``."""
    passed: Count = 0
    failed: Count = 0
    skipped: Count = 0
    seconds: Annotated[float, Limits(least=0)] = 0.0

    @property
    def ok(self) -> bool:
        return not self.problem and not self.failed and self.passed > 0

    def counted(self, junit: Path, seconds: float) -> "Record":
        """This record with the counts of pytest's JUnit report ``junit``, if it was written and can be read."""
        try:
            suite = next(ET.parse(junit).iter("testsuite"))
        except (OSError, ET.ParseError, StopIteration):
            return Record(**asdict(self) | {"problem": "tests did not finish", "seconds": seconds})
        tests, failures, errors, skipped = (int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped"))
        failed = failures + errors
        counts = {"passed": tests - failed - skipped, "failed": failed, "skipped": skipped, "seconds": seconds}
        return Record(**asdict(self) | counts | {"problem": "" if tests else "no tests ran"})

    def file(self, folder: Path) -> Path:
        return folder / f"{self.platform}-{self.python}-numpy-{self.numpy}.json"

    def write(self, folder: Path) -> None:
        """Write the record to its file in ``folder``, replacing an older one atomically."""
        folder.mkdir(parents=True, exist_ok=True)
        replace_text(self.file(folder), json.dumps(asdict(self), indent=2) + "\n")

    def __str__(self) -> str:
        if self.problem:
            return self.problem.upper()
        time = f" {self.seconds:.1f} s"
        return f"{self.passed} passed{time}" if self.ok else f"{self.failed} FAILED of {self.passed + self.failed}{time}"


@dataclass(frozen=True)
class Grid:
    """The cells of one platform: what is supported, what ran, and which Pythons are not installed here."""

    platform: str
    cells: Sequence[Cell]
    records: dict[Cell, Record]
    missing: frozenset[str] = frozenset()

    @classmethod
    def read(cls, folder: Path, cells: Sequence[Cell], current: str, missing: Collection[str] = ()) -> list["Grid"]:
        """The grids of the records in ``folder`` made from the tree with the fingerprint ``current``, this platform first.

        Raises:
            RecordError: A file is not the record of a cell; the message names the file and the field.
        """
        records = []
        for path in sorted(folder.glob("*.json")):
            try:
                records.append(read_json(path, Record))
            except RecordError as error:
                raise RecordError(f"{error}; it is not a cell's record: delete it and run that cell again") from None
        here = this_platform()
        found: dict[str, dict[Cell, Record]] = {}
        for record in sorted(records, key=lambda record: (record.platform != here, record.platform)):
            if record.fingerprint == current and (record.python, record.numpy) in cells:
                found.setdefault(record.platform, {})[record.python, record.numpy] = record
        found = found or {here: {}}
        return [cls(name, cells, cells_run, frozenset(missing if name == here else ())) for name, cells_run in found.items()]

    @property
    def pythons(self) -> list[str]:
        return list(dict.fromkeys(python for python, _ in self.cells))

    @property
    def numpys(self) -> list[str]:
        return sorted({numpy for _, numpy in self.cells}, key=lambda numpy: [int(part) for part in numpy.split(".")])

    def state(self, cell: Cell) -> str:
        """``passed``, ``failed``, ``missing`` (no interpreter), ``not run`` or ``unsupported``."""
        if record := self.records.get(cell):
            return "passed" if record.ok else "failed"
        if cell not in self.cells:
            return "unsupported"
        return "missing" if cell[0] in self.missing else "not run"

    def text(self, cell: Cell) -> str:
        """The text of a cell of the printed grid."""
        words = {"unsupported": "-", "missing": "no interpreter", "not run": "not run"}
        return str(self.records[cell]) if cell in self.records else words[self.state(cell)]

    def count(self, state: str) -> int:
        return sum(self.state(cell) == state for cell in self.cells)

    def _rows(self) -> Iterable[list[str]]:
        yield [self.platform, *(f"NumPy {numpy}" for numpy in self.numpys)]
        for python in self.pythons:
            yield [f"Python {python}", *(self.text((python, numpy)) for numpy in self.numpys)]

    def table(self) -> str:
        """The grid for a terminal, with a closing line that counts the cells."""
        rows = list(self._rows())
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines.insert(1, "-" * len(max(lines, key=len)))
        if absent := [python for python in self.pythons if python in self.missing]:
            lines.append(f"not installed here: Python {', '.join(absent)}; `nox -s pythons` installs the missing ones")
        return "\n".join([*lines, self.summary()])

    def summary(self) -> str:
        skipped = self.count("missing") + self.count("not run")
        return f"cells: {self.count('passed')} passed, {self.count('failed')} failed" + f", {skipped} skipped" * bool(skipped)

    def markdown(self) -> str:
        """The grid as a GitHub Markdown table."""
        head, *body = [f"| {' | '.join(row)} |" for row in self._rows()]
        return "\n".join([head, "|" + " --- |" * (len(self.numpys) + 1), *body, "", self.summary(), ""])

    def as_json(self) -> dict[str, object]:
        """Every supported cell with its state and, where it ran, its record."""
        cells = [
            {"python": python, "numpy": numpy, "state": self.state((python, numpy))}
            | ({"record": asdict(record)} if (record := self.records.get((python, numpy))) else {})
            for python, numpy in self.cells
        ]
        return {"platform": self.platform, "cells": cells}

    def svg(self) -> str:
        """The grid as a picture of 110 × 44 pixels a cell, legible on a light and on a dark page."""
        fills = {
            "passed": ("#d7f0dd", "#17592b"),
            "failed": ("#f8d4d0", "#8c1d13"),
            "missing": ("#fdf0c8", "#6b5200"),
            "not run": ("#ececf0", "#55555f"),
            "unsupported": ("#f7f7f9", "#b9b9c3"),
        }
        width, height, left, top = 110, 44, 110, 40
        total = left + width * len(self.numpys) + 8, top + height * len(self.pythons) + 34
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total[0]} {total[1]}" width="{total[0]}">',
            '<g font-family="system-ui, sans-serif" text-anchor="middle">',
            f"<title>{escape(f'{self.platform}: {self.summary()}')}</title>",
            f'<rect width="{total[0]}" height="{total[1]}" rx="8" fill="#ffffff"/>',
        ]
        for column, numpy in enumerate(self.numpys):
            parts.append(_label(left + width * (column + 0.5), 25, f"NumPy {numpy}", "#33333b", weight="600"))
        for row, python in enumerate(self.pythons):
            y = top + height * row
            parts.append(_label(left / 2, y + 27, f"Python {python}", "#33333b", weight="600"))
            for column, numpy in enumerate(self.numpys):
                state, record = self.state((python, numpy)), self.records.get((python, numpy))
                fill, ink = fills[state]
                x = left + width * column
                parts.append(f'<rect x="{x + 2}" y="{y + 2}" width="{width - 4}" height="{height - 4}" rx="5" fill="{fill}"/>')
                lines = self.text((python, numpy)).split(" ", 2) if record and not record.problem else []
                if lines:
                    parts.append(_label(x + width / 2, y + 20, " ".join(lines[:2]), ink))
                    parts.append(_label(x + width / 2, y + 35, lines[2], ink, size=11))
                else:
                    parts.append(_label(x + width / 2, y + 27, self.text((python, numpy)).replace("-", "–"), ink, size=12))
        parts.append(_label(total[0] / 2, total[1] - 13, f"{self.platform}, {self.summary()}", "#55555f", size=12))
        return "\n".join([*parts, "</g>", "</svg>", ""])


def write_reports(grids: Sequence[Grid], folder: Path) -> None:
    """Write ``grid.json``, ``grid.md`` and an SVG for each platform to ``folder``; add the Markdown to CI's summary."""
    folder.mkdir(parents=True, exist_ok=True)
    markdown = "\n".join(grid.markdown() for grid in grids)
    replace_text(folder / "grid.json", json.dumps([grid.as_json() for grid in grids], indent=2) + "\n")
    replace_text(folder / "grid.md", markdown)
    for grid in grids:
        replace_text(folder / f"grid-{grid.platform}.svg", grid.svg())
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(markdown)


def _label(x: float, y: float, text: str, fill: str, *, size: int = 13, weight: str = "400") -> str:
    return f'<text x="{x:g}" y="{y:g}" fill="{fill}" font-size="{size}" font-weight="{weight}">{escape(text)}</text>'
