"""Drift map: which operation changes along which axis, read from the records of all cells.

An operation drifts along an axis if its digest changes when only that axis changes:

    cpu, blas, threads, libc    same cell, another variant of that axis
    again                       same cell, the base a second time
    all of them                 two cells whose places differ along that axis alone (`samebits.drift.place`)

For each axis the map has the number of different results: 1 does not change, 0 was not measured. `picture` draws a map.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

from samebits.core.records import Limits, RecordError, read_json
from samebits.drift.place import PLACE_AXES, Place, implied, positions
from samebits.drift.variants import REPEAT, VARIANT_AXES

__all__ = ["FORMAT", "MAP_AXES", "CellFile", "CellRecord", "DriftMap", "Row", "read_records"]

FORMAT = "samebits.drift/2"
_SERIES = r"[0-9]+\.[0-9]+"
MAP_AXES = {
    "version": "NumPy version",
    **VARIANT_AXES,
    "machine": "machine",
    "python": "Python version",
    REPEAT.axis: "the same run repeated",
}
"""The axes of the map, each with its name for sentences."""

CellRecord = Mapping[str, Any]
"""What `measure_cell` returns: the digests of one Python × NumPy on one machine."""


class VariantFile(TypedDict):
    """A variant in a record, and what was in effect or why it failed."""

    name: str
    axis: str
    environment: dict[str, str]
    in_effect: str
    error: str


class OperationFile(TypedDict):
    """An operation in a record: its group, its counterpart, and by variant the digests of both."""

    group: str
    counterpart: str
    digests: dict[str, str]
    counterpart_digests: dict[str, str]
    errors: list[str]


class CellFile(Place):
    """The file of a `CellRecord`."""

    format: Literal["samebits.drift/2"]
    python: Annotated[str, Limits(pattern=_SERIES)]
    numpy: Annotated[str, Limits(pattern=_SERIES)]
    variants: list[VariantFile]
    operations: dict[str, OperationFile]


@dataclass(frozen=True)
class Row:
    """The results of one operation over all records.

    >>> row = Row("exp float32", "functions", dict.fromkeys(MAP_AXES, 1) | {"cpu": 2}, 2, "exp", 1)
    >>> row.drifts, row.is_wrong
    (['cpu'], False)
    """

    name: str
    group: str
    results: Mapping[str, int]
    """The number of different results along each axis; 0 where nothing could be compared."""
    different: int
    """The number of different results over all runs."""
    counterpart: str
    """The function of samebits.core that replaces it; empty if there is none."""
    counterpart_results: int
    """The number of different results of the counterpart over all runs; 0 without a counterpart."""
    failures: int = 0
    """The number of records in which the counterpart raised an error."""

    @property
    def drifts(self) -> list[str]:
        """The axes along which it drifts."""
        return [axis for axis in MAP_AXES if self.results[axis] > 1]

    @property
    def is_wrong(self) -> bool:
        """Whether the counterpart drifts or fails."""
        return self.counterpart_results > 1 or self.failures > 0


@dataclass(frozen=True)
class DriftMap:
    """All operations, with the records that they were read from.

    >>> from samebits.drift import BASE, measure_cell
    >>> DriftMap.of([measure_cell([BASE])]).drifting  # one run cannot differ from another
    []
    """

    rows: Sequence[Row]
    records: Sequence[CellRecord]

    @property
    def drifting(self) -> list[Row]:
        """The operations with more than one result."""
        return [row for row in self.rows if row.different > 1]

    @property
    def runs(self) -> int:
        """The number of processes that were measured."""
        return sum(not variant["error"] for record in self.records for variant in record["variants"])

    @property
    def groups(self) -> dict[str, list[Row]]:
        """The operations by group."""
        groups: dict[str, list[Row]] = defaultdict(list)
        for row in self.rows:
            groups[row.group].append(row)
        return dict(groups)

    @property
    def with_kernels(self) -> bool:
        """Whether the counterparts were measured with compiled kernels and without them."""
        return any(
            variant["axis"] == "kernels" and not variant["error"] for record in self.records for variant in record["variants"]
        )

    def measured(self, axis: str) -> bool:
        """Whether any operation was compared along an axis."""
        return any(row.results[axis] for row in self.rows)

    @classmethod
    def of(cls, records: Sequence[CellRecord]) -> "DriftMap":
        """The map of some records, sorted by platform, NumPy and Python."""
        records = sorted(records, key=lambda one: (one["platform"], _version(one["numpy"]), _version(one["python"])))
        names = dict.fromkeys(name for record in records for name in record["operations"])
        return cls([_row(name, [record for record in records if name in record["operations"]]) for name in names], records)

    def summary(self) -> str:
        """One sentence: how many operations drift, and how many of their samebits counterparts."""
        counted = [row for row in self.rows if row.counterpart_results]
        cells = len(self.records)
        found = f"{len(self.drifting)} of {len(self.rows)} NumPy operations drift"
        text = f"{found} over {self.runs} runs in {cells} cell{'s' * (cells != 1)}"
        drifting = sum(row.counterpart_results > 1 for row in counted)
        if not counted:
            return text
        return f"{text}; {drifting or 'none'} of their {len(counted)} samebits counterparts drift{'s' * (drifting < 2)}"

    def as_json(self) -> dict[str, Any]:
        """The summary, and every operation with its numbers of different results."""
        return {"summary": self.summary(), "operations": [asdict(row) for row in self.rows]}


def read_records(paths: Iterable[Path]) -> DriftMap:
    """The map of the records in files that ``--record`` has written.

    Raises:
        ValueError: A file is not a drift record of this format (the message names the field), or there are no files.

    Example:
        >>> read_records([])
        Traceback (most recent call last):
        ...
        ValueError: read_records: paths must name at least one file, got none; measure a cell with --record FOLDER
    """
    records = []
    for path in sorted(paths):
        try:
            records.append(read_json(path, CellFile))
        except RecordError as error:
            raise RecordError(f"{error}; it is not a drift record: delete it and measure that cell again") from None
    if not records:
        raise ValueError("read_records: paths must name at least one file, got none; measure a cell with --record FOLDER")
    return DriftMap.of(records)


def _row(name: str, records: Sequence[CellRecord]) -> Row:
    found = [(record, record["operations"][name]) for record in records]
    cells = {id(record): _axes_of_a_cell(record, one["digests"]) for record, one in found}
    base = [(record, one["digests"].get("base")) for record, one in found]
    results = {axis: max((counts.get(axis, 0) for counts in cells.values()), default=0) for axis in MAP_AXES}
    for axis in PLACE_AXES:
        results[axis] = max(results[axis], _along(base, axis))
    results[REPEAT.axis] = max(results[REPEAT.axis], _repeated(base))
    counterpart_digests = {digest for _, one in found for digest in one["counterpart_digests"].values()}
    return Row(
        name,
        found[0][1]["group"],
        results,
        len({digest for _, one in found for digest in one["digests"].values()}),
        next((one["counterpart"] for _, one in found if one["counterpart"]), ""),
        len(counterpart_digests),
        sum(any(text.startswith("samebits:") for text in one["errors"]) for _, one in found),
    )


def _axes_of_a_cell(record: CellRecord, digests: Mapping[str, str]) -> dict[str, int]:
    """The number of different results along each axis of the variants in one cell, the base included."""
    found: dict[str, list[str]] = defaultdict(list)
    for variant in record["variants"]:
        if variant["name"] in digests and "base" in digests:
            found[variant["axis"]].append(digests[variant["name"]])
    return {axis: len({digests["base"], *moved}) for axis, moved in found.items()}


def _along(base: Iterable[tuple[CellRecord, str | None]], axis: str) -> int:
    """The largest number of different results among places that differ along an axis alone; 0 if there are none.

    Another Python is no other place, unless it is the axis: it often comes with another C library, and does not compute.
    """
    groups: dict[Any, dict[Any, set[str]]] = defaultdict(lambda: defaultdict(set))
    left_out = {axis, "python"}
    for record, digest in base:
        if digest:
            found = positions(record)
            same = tuple(found[one][: 1 if one in implied(axis) else None] for one in PLACE_AXES if one not in left_out)
            groups[same][found[axis]].add(digest)
    return max((_fewest(group.values()) for group in groups.values() if len(group) > 1), default=0)


def _fewest(sets: Iterable[set[str]]) -> int:
    """The number of results that these places must have had: those that have one in common count once.

    >>> _fewest([{"a"}, {"b"}]), _fewest([{"a", "b"}, {"b"}])
    (2, 1)
    """
    left, count = list(sets), 0
    while left:
        common = Counter(digest for one in left for digest in sorted(one)).most_common(1)[0][0]
        left, count = [one for one in left if common not in one], count + 1
    return count


def _repeated(base: Iterable[tuple[CellRecord, str | None]]) -> int:
    """The largest number of different results in places that do not differ; 0 if no two of them are the same."""
    groups: dict[Any, list[str]] = defaultdict(list)
    for record, digest in base:
        if digest:
            groups[tuple(positions(record).values())].append(digest)
    return max((len(set(digests)) for digests in groups.values() if len(digests) > 1), default=0)


def _version(text: str) -> list[int]:
    return [int(part) for part in text.split(".")]
