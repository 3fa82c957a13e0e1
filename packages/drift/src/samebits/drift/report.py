"""Report: a `Verdict` or a `DriftMap` as lines of text for a terminal.

A line is a sequence of pieces, each a text or a pair of a text and a style such as ``"bold red"``, so that a caller may print it in
color or plainly (`plain_text`).
"""

from collections.abc import Iterator, Sequence

from samebits.drift.calls import known_map, say_known
from samebits.drift.difference import Difference
from samebits.drift.drift_map import MAP_AXES, DriftMap, Row
from samebits.drift.investigation import numpy_series
from samebits.drift.variants import REPEAT
from samebits.drift.verdict import VERDICT_AXES, Verdict

__all__ = ["Line", "map_lines", "plain_text", "verdict_lines"]

Line = Sequence[str | tuple[str, str]]

_ROUNDING = 2**12  # ulp; sums of other orders are rarely further apart, other random numbers rarely this close
_COLORS = {0: "green", 1: "red", 2: "yellow"}  # of a verdict, by its status


def plain_text(line: Line) -> str:
    """The text of a line without its styles.

    >>> plain_text(["all ", ("same bits", "green")])
    'all same bits'
    """
    return "".join(piece if isinstance(piece, str) else piece[0] for piece in line)


def verdict_lines(found: Verdict) -> Iterator[Line]:
    """The results along every axis, what failed, and the verdict."""
    for axis, title in VERDICT_AXES.items():
        if any(one.axis == axis for one in found.runs) and (found.deterministic or axis == REPEAT.axis):
            yield from _axis_lines(found, axis, title)
    for one in found.failed:
        yield [("failed", "red"), f"  {one.name}: {one.error}"]
    yield []
    yield [(f"{found.sentence()}.", f"bold {_COLORS[found.status]}")]
    if not found.deterministic:
        yield [_advice(found)]
        return
    if found.untried:
        missing = "; ".join(f"{VERDICT_AXES[axis]} {', '.join(names)}" for axis, names in found.untried.items())
        yield [("Not tried, as this CPU or its BLAS library cannot", "yellow"), f": {missing}."]
    if known := say_known(found.calls, found.drifts):
        yield [(f"The drift map ({known_map()['measured']}) knows that these drift:", "yellow")]
        yield from ([f"    {text}"] for text in known)
    if "machine" in found.where and not any(one.axis == "version" for one in found.runs):  # not joined from several places
        numpy = found.where["machine"]["numpy"]
        others = [series for series in numpy_series() if not numpy.startswith(f"{series}.")]
        more = f"--numpy {others[0]} adds another; " if others else ""
        yield [(f"Run with NumPy {numpy} only: {more}--json and --join compare machines.", "dim")]


def _advice(found: Verdict) -> str:
    """What may make a function give other bits in the same environment."""
    differences = [each for one in found.runs if one.axis == REPEAT.axis for each in one.differences]
    if differences and all(each.max_ulp is not None and each.max_ulp <= _ROUNDING for each in differences):
        return (
            "The difference is that of rounding: a library with several threads may add in a changing order. Run it again with "
            "OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1; if it still changes, look for random numbers and time."
        )
    return "Seed its random numbers, and make it independent of time, addresses, uninitialized memory and the order of sets."


def _axis_lines(found: Verdict, axis: str, title: str) -> Iterator[Line]:
    """One line for an axis along which the bits do not change; for another, a line for every result."""
    count = found.results(axis)
    names = ", ".join(dict.fromkeys(one.name for one in found.runs if one.axis == axis and one.digests))
    if count < 2:
        yield [f"{title:<24}", *([("same bits", "green"), "  ", (names, "dim")] if count else [("not measured", "yellow")])]
        return
    yield [f"{title:<24}", (f"{count} results", "bold red")]
    groups = found.groups(axis)
    if place := groups[0][0].place:
        yield ["    ", (f"on {place}", "dim")]
    listed = [(", ".join(one.name for one in group), group[0]) for group in groups]
    width = min(max(len(names) for names, _ in listed), 48)
    for names, first in listed:
        worst = max(first.differences, key=_size, default="")
        yield [f"    {names:<{width}}  {worst}".rstrip()]


def _size(difference: Difference) -> float:
    return float("inf") if difference.note else float(difference.max_ulp or difference.max_abs or 0)


def map_lines(found: DriftMap, *, summary_only: bool = False) -> Iterator[Line]:
    """The table of operations that drift, what failed, and the summary."""
    if not summary_only:
        yield from _table(found)
    for record in found.records:
        for variant in record["variants"]:
            if variant["error"]:
                yield [("not measured", "yellow"), f"  {variant['name']}: {variant['error']}"]
    for row in found.rows:
        if row.is_wrong:
            failed = f", failed in {row.failures} cells" if row.failures else ""
            yield [
                (f"samebits.core.{row.counterpart}", "bold red"),
                f" ({row.name}): {row.counterpart_results} results{failed}",
            ]
    yield []
    yield [(f"{found.summary()}.", "bold")]


def _table(found: DriftMap) -> Iterator[Line]:
    axes = [axis for axis in MAP_AXES if found.measured(axis)]
    width = max(len(name) for name in ("operation", *(row.name for row in found.drifting)))
    titles = "  ".join(MAP_AXES[axis] for axis in axes)
    yield [(f"{'operation':<{width}}  {titles}  samebits counterpart", "bold")]
    for row in found.drifting:
        counts = (f"{row.results[axis] if row.results[axis] > 1 else '':<{len(MAP_AXES[axis])}}" for axis in axes)
        yield [f"{row.name:<{width}}  ", ("  ".join(counts), "red"), "  ", *_counterpart(row)]


def _counterpart(row: Row) -> Line:
    if not row.counterpart:
        return []
    drifts = row.counterpart_results > 1
    return [f"{row.counterpart}: ", (f"{row.counterpart_results} results", "bold red") if drifts else "same bits"]
