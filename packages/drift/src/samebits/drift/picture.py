"""Picture of the drift map: a `DriftMap` as a page of Markdown and as a heat map in SVG.

The heat map has an operation a row, in panels side by side, and an axis a column; the more different results, the darker the
square. The operations of a group that do not change share one line. The last column is the samebits counterpart.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from samebits.core.files import replace_text
from samebits.drift.drift_map import MAP_AXES, DriftMap, Row
from samebits.drift.variants import VARIANT_AXES

__all__ = ["markdown", "svg", "write_page"]

COLUMNS = {axis: MAP_AXES[axis] for axis in ("version", *VARIANT_AXES)}

_PANELS, _PANEL, _NAME, _CELL, _LINE, _TOP = 3, 300, 146, 21, 15, 86
_INK, _PALE, _GREEN, _RED = "#33333b", "#6a6a76", "#17592b", "#8c1d13"
_MEANING = """\
An operation drifts with the CPU level, for example, if the digest of its result changes when only the CPU level changes. Its
samebits counterpart is the function of `samebits.core` that replaces it"""
_SHADES = ("#f4f4f6", "#efeff3", "#fde3c8", "#f9bd83", "#ea8a3c", "#c2530f")  # for 0, 1, 2, 3, 4 and more results


@dataclass(frozen=True)
class _Line:
    """A line of a panel: the name of a group, an operation, or the number of those that do not change."""

    text: str
    row: Row | None = None
    unchanged: bool = False


def write_page(found: DriftMap, folder: Path) -> list[Path]:
    """Write ``drift.md`` and ``drift.svg`` to ``folder``, each atomically; returns the two files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {folder / "drift.md": markdown(found), folder / "drift.svg": svg(found)}
    for path, text in files.items():
        replace_text(path, text)
    return list(files)


def markdown(found: DriftMap) -> str:
    """The map as a page: the counts, what drifts with what, what does not change, and where it was measured."""
    lines = [
        "# What drifts in NumPy",
        "",
        f"{found.summary()}.",
        "",
        _MEANING + _both(found) + ".",
        "",
        "![The drift map](drift.svg)",
        "",
    ]
    lines += [*_counts(found), "", "## What drifts", "", *_table(found), "", "## What does not change", ""]
    for group, rows in found.groups.items():
        if unchanged := [row.name for row in rows if row.different == 1]:
            lines.append(f"- **{group}**: {', '.join(_literal(name) for name in unchanged)}")
    return "\n".join([*lines, "", "## Where it was measured", "", *_places(found), ""])


def _both(found: DriftMap) -> str:
    return ", with and without compiled kernels" if found.with_kernels else ""


def _counts(found: DriftMap) -> Iterator[str]:
    yield "| drifts with | operations |"
    yield "| --- | --- |"
    for axis, title in MAP_AXES.items():
        if found.measured(axis):
            yield f"| {title} | {sum(axis in row.drifts for row in found.rows)} |"
    yield f"| anything | {len(found.drifting)} of {len(found.rows)} |"


def _table(found: DriftMap) -> Iterator[str]:
    yield "| operation | drifts with (different results) | all results | samebits counterpart |"
    yield "| --- | --- | --- | --- |"
    for row in found.drifting:
        axes = ", ".join(f"{MAP_AXES[axis]} ({row.results[axis]})" for axis in row.drifts) or "several at once"
        counterpart = f"`{row.counterpart}`: {_results(row)}" if row.counterpart else "none"
        yield f"| {_literal(row.name)} | {axes} | {row.different} | {counterpart} |"


def _results(row: Row) -> str:
    words = "one result" if row.counterpart_results == 1 else f"**{row.counterpart_results} results**"
    return f"{words}, failed in {row.failures} cells" if row.failures else words


def _literal(name: str) -> str:
    """Text with the characters escaped that mean something in Markdown."""
    return name.replace("*", "\\*").replace("|", "\\|")


def _places(found: DriftMap) -> Iterator[str]:
    yield "| machine | Python | NumPy | BLAS |"
    yield "| --- | --- | --- | --- |"
    failed, missing = [], []
    for record in found.records:
        around, machine = record["surroundings"], record["machine"]
        place = f"{record['platform']}, {around['processor']}, {around['cpus']} CPUs, {around['c_library']}"
        settings = "".join(f", {name}={value}" for name, value in around["settings"].items())
        blas = f"{machine['blas']['name']} {machine['blas']['version']}, {machine['blas']['kernel'] or 'kernel unknown'}"
        yield f"| {place}{settings} | {machine['python']} | {machine['numpy']} | {blas} |"
        cell = f"Python {record['python']}, NumPy {record['numpy']}"
        failed += [f"- {cell}, {one['name']}: {one['error']}" for one in record["variants"] if one["error"]]
        for name, operation in record["operations"].items():
            missing += [f"- {cell}, {_literal(name)}: {_literal(text)}" for text in operation["errors"]]
    names = dict.fromkeys(variant["name"] for record in found.records for variant in record["variants"])
    yield from ("", f"Variants measured in each, where NumPy and the CPU support them: {', '.join(names)}.")
    if failed:
        yield from ("", "Variants that could not be measured:", "", *failed)
    if missing:
        yield from ("", "Operations that could not be measured:", "", *missing)


def svg(found: DriftMap) -> str:
    """The map as a heat map, 916 pixels wide."""
    panels = _panels(list(_lines(found)))
    height = _TOP + _LINE * max(map(len, panels)) + 52
    width = _PANELS * _PANEL + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}">',
        '<g font-family="system-ui, sans-serif">',
        f"<title>{escape(found.summary())}</title>",
        f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>',
    ]
    for number, lines in enumerate(panels):
        left = 12 + number * _PANEL
        for column, title in enumerate([*COLUMNS.values(), "samebits"]):
            x = left + _NAME + _CELL * (column + 0.5)
            turned = f'transform="rotate(-55 {x:g} {_TOP - 12})"'
            parts.append(_text(x, _TOP - 12, title, _GREEN if column == len(COLUMNS) else _INK, more=turned))
        for index, line in enumerate(lines):
            parts.extend(_draw(line, left, _TOP + _LINE * index))
    parts.extend(_legend(found, height))
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _lines(found: DriftMap) -> Iterator[_Line]:
    for group, rows in found.groups.items():
        yield _Line(group)
        drifting = [row for row in rows if row.different > 1]
        yield from (_Line(row.name.replace("float", "f"), row) for row in drifting)
        if unchanged := len(rows) - len(drifting):
            yield _Line(f"{unchanged}{' more' if drifting else ''} without change", unchanged=True)


def _panels(lines: Sequence[_Line]) -> list[list[_Line]]:
    """The lines in panels of about the same length; a group that continues in the next panel is named again."""
    length = -(-len(lines) // _PANELS)
    panels: list[list[_Line]] = [[]]
    group = ""
    for line in lines:
        is_group = line.row is None and not line.unchanged
        if len(panels) < _PANELS and len(panels[-1]) >= length - is_group and not line.unchanged:
            panels.append([] if is_group else [_Line(f"{group} (continued)")])
        group = line.text if is_group else group
        panels[-1].append(line)
    return panels


def _draw(line: _Line, left: float, y: float) -> Iterator[str]:
    baseline = y + 11
    if line.row is None:
        if line.unchanged:
            yield f'<rect x="{left + _NAME}" y="{y + 6}" width="{_CELL * len(COLUMNS) - 2}" height="2" fill="{_SHADES[1]}"/>'
            yield _text(left + 6, baseline, line.text, _PALE)
        else:
            yield _text(left, baseline + 1, line.text, _INK, weight="600", size=11)
        return
    yield _text(left + 6, baseline, line.text, _INK)
    for column, axis in enumerate(COLUMNS):
        count = line.row.results[axis]
        x = left + _NAME + _CELL * column
        yield f'<rect x="{x}" y="{y + 1}" width="{_CELL - 2}" height="{_LINE - 2}" rx="2" fill="{_SHADES[min(count, 5)]}"/>'
        if count > 1:
            yield _text(x + _CELL / 2 - 1, baseline, str(count), "#ffffff" if count > 4 else _INK, more='text-anchor="middle"')
    if line.row.counterpart_results:
        x, good = left + _NAME + _CELL * len(COLUMNS) + 2, not line.row.is_wrong
        fill = "#d7f0dd" if good else "#f8d4d0"
        yield f'<rect x="{x}" y="{y + 1}" width="{_CELL - 2}" height="{_LINE - 2}" rx="2" fill="{fill}"/>'
        ink = _GREEN if good else _RED
        yield _text(x + _CELL / 2 - 1, baseline, str(line.row.counterpart_results), ink, more='text-anchor="middle"')


def _legend(found: DriftMap, height: float) -> Iterator[str]:
    x, y = 12.0, height - 40
    yield _text(x, y + 10, "different results:", _INK)
    x += 88
    for count, text in enumerate(("not measured", "1", "2", "3", "4", "5 and more")):
        if count:
            yield f'<rect x="{x}" y="{y}" width="19" height="13" rx="2" fill="{_SHADES[count]}"/>'
            yield _text(x + 24, y + 10, text, _INK)
            x += 48
    yield f'<rect x="{x + 80}" y="{y}" width="19" height="13" rx="2" fill="#d7f0dd"/>'
    yield _text(x + 104, y + 10, "the samebits.core counterpart, over all runs" + _both(found), _INK)
    yield _text(12, height - 14, f"{found.summary()}.", _PALE)


def _text(x: float, y: float, text: str, fill: str, *, size: int = 10, weight: str = "400", more: str = "") -> str:
    more = f" {more}" if more else ""
    return f'<text x="{x:g}" y="{y:g}" fill="{fill}" font-size="{size}" font-weight="{weight}"{more}>{escape(text)}</text>'
