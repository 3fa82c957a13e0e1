"""Drift map: which operation drifts along which axis, read from the records of all cells.

An operation drifts along an axis if its digest changes when nothing but that axis moves:

    version                     same machine, another NumPy series
    cpu, blas, threads, libc    same cell, another variant of that axis
    libc                        also: same machine and NumPy series, another C library
    python                      same machine and NumPy series, another Python
    machine                     same NumPy series, another machine

The number that is kept is that of different results: 1 does not change, 0 was not measured. The Markdown and the picture are made from a `Map` in `driftpicture`.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["AXES", "FORMAT", "Map", "Row", "read"]

FORMAT = "samebits.drift/1"
AXES = {
    "version": "NumPy version",
    "cpu": "CPU level",
    "blas": "BLAS kernel",
    "threads": "threads",
    "libc": "C library",
    "machine": "machine",
    "python": "Python version",
    "again": "the same run repeated",
}
"""The axes, and how they are called in sentences."""

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """What one operation came to over all records."""

    name: str
    group: str
    results: Mapping[str, int]
    """The number of different results along each axis; 0 where nothing could be compared."""
    different: int
    """The number of different results over all runs."""
    twin: str
    twins: int
    """The number of different results of the twin over all runs; 0 without a twin."""
    failures: int = 0
    """Runs in which the twin, or an operation this NumPy does have, raised an error."""

    @property
    def drifts(self) -> list[str]:
        """The axes along which it drifts."""
        return [axis for axis in AXES if self.results[axis] > 1]


@dataclass(frozen=True)
class Map:
    """All operations, and the records they were read from."""

    rows: Sequence[Row]
    records: Sequence[Record]

    @property
    def drifting(self) -> list[Row]:
        return [row for row in self.rows if row.different > 1]

    @property
    def runs(self) -> int:
        """Processes that were measured."""
        return sum(not variant["error"] for record in self.records for variant in record["variants"])

    @property
    def groups(self) -> dict[str, list[Row]]:
        groups: dict[str, list[Row]] = defaultdict(list)
        for row in self.rows:
            groups[row.group].append(row)
        return dict(groups)

    def measured(self, axis: str) -> bool:
        return any(row.results[axis] for row in self.rows)

    @classmethod
    def of(cls, records: Sequence[Record]) -> "Map":
        """The map of some records, cells in the order of their versions."""
        records = sorted(records, key=lambda one: (one["platform"], _version(one["numpy"]), _version(one["python"])))
        names = dict.fromkeys(name for record in records for name in record["operations"])
        return cls([_row(name, [record for record in records if name in record["operations"]]) for name in names], records)

    def summary(self) -> str:
        """One sentence for the top of the table and the foot of the picture."""
        twins = [row for row in self.rows if row.twins]
        cells = len(self.records)
        found = f"{len(self.drifting)} of {len(self.rows)} NumPy operations drift"
        text = f"{found} over {self.runs} runs in {cells} cell{'s' * (cells != 1)}"
        moving = sum(row.twins > 1 for row in twins)
        if not twins:
            return text
        return f"{text}; {moving or 'none'} of the {len(twins)} samebits twins drift{'s' * (moving < 2)}"

    def as_json(self) -> dict[str, Any]:
        """Every operation with its numbers of different results."""
        return {"summary": self.summary(), "operations": [asdict(row) for row in self.rows]}


def read(paths: Iterable[Path]) -> Map:
    """The map of the records in some files.

    Raises:
        ValueError: a file is no record, or there is none.
    """
    records = []
    for path in sorted(paths):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            known = record["format"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} is no record of drift ({error!r}): delete it and measure that cell again") from error
        if known != FORMAT:
            raise ValueError(f"{path} has the format {known!r}, not {FORMAT!r}: measure that cell again")
        records.append(record)
    if not records:
        raise ValueError("there are no records of drift: measure at least one cell with `samebits drift --record FOLDER`")
    return Map.of(records)


def _row(name: str, records: Sequence[Record]) -> Row:
    found = [(record, record["operations"][name]) for record in records]
    cells = {id(record): _axes_of_a_cell(record, one["digests"]) for record, one in found}
    base = [(record, one["digests"].get("base")) for record, one in found]
    results = {axis: max((counts.get(axis, 0) for counts in cells.values()), default=0) for axis in AXES}
    results["version"] = _along(base, lambda one: (_machine(one), _library(one)), lambda one: one["numpy"])
    results["python"] = _along(base, lambda one: (_machine(one), _library(one), one["numpy"]), lambda one: one["python"])
    results["machine"] = _along(base, lambda one: (_library(one), one["numpy"]), _machine)
    libraries = _along(base, lambda one: (_machine(one), one["numpy"]), _library)
    results["libc"] = max(results["libc"], libraries)
    twins = {digest for _, one in found for digest in one["twin_digests"].values()}
    return Row(
        name,
        found[0][1]["group"],
        results,
        len({digest for _, one in found for digest in one["digests"].values()}),
        next((one["twin"] for _, one in found if one["twin"]), ""),
        len(twins),
        sum(any(text.startswith("twin:") for text in one["errors"]) for _, one in found),
    )


def _axes_of_a_cell(record: Record, digests: Mapping[str, str]) -> dict[str, int]:
    """How many results each axis of the variants has in one cell, the base included; 0 where only one run ended."""
    found: dict[str, list[str]] = defaultdict(list)
    for variant in record["variants"]:
        if variant["name"] in digests and "base" in digests:
            found[variant["axis"]].append(digests[variant["name"]])
    return {axis: len({digests["base"], *moved}) for axis, moved in found.items()}


def _along(base: Iterable[tuple[Record, str | None]], same: Any, moving: Any) -> int:
    """The most different results among records that agree in ``same``; 0 if ``moving`` never moves among them."""
    groups: dict[Any, dict[Any, str]] = defaultdict(dict)
    for record, digest in base:
        if digest:
            groups[same(record)].setdefault(moving(record), digest)
    return max((len(set(group.values())) for group in groups.values() if len(group) > 1), default=0)


def _machine(record: Record) -> str:
    parts = {name: value for name, value in record["surroundings"].items() if name != "c_library"}
    return f"{record['platform']} {json.dumps(parts, sort_keys=True)}"


def _library(record: Record) -> str:
    return str(record["surroundings"]["c_library"])


def _version(text: str) -> list[int]:
    return [int(part) for part in text.split(".")]
