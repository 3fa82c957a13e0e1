"""The tree as a picture, 1000 pixels wide: Python and NumPy at the bottom, the last package on top, what is planned above it in gray.

A box is a technology: its file's name, what of the classic path has its place there (or the names it offers), and the test file where
that has another name. A line leads up from what is required; lines that follow from others are left out, and so are those from Python
and NumPy, which everything requires. A box is a link to its file, the name of a package to its chapter; a box's tooltip has the rest.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise
from pathlib import Path

from tools.tree.description import Package
from tools.tree.drawing import INK, PALE, text, width
from tools.tree.graph import Tree
from tools.tree.layout import Group, Item, arrange, rows

__all__ = ["svg"]

WIDTH = 1000.0
_LEFT, _RIGHT, _ASIDE = 44.0, 978.0, 744.0
_BOX, _LINE, _GAP, _HEAD = 128.0, 12, 22, 12
_LARGE, _SMALL = 12.5, 10.0  # sizes of text
_GUTTER = 22.0  # at the left edge of a package's band, where its title is and no line passes

_PLANNED = ("#ffffff", "#f3f3f6", "#bdbdc8")
_GIVEN = ("#e9e4da", "#b8ad97")
_CSS = """
.box:hover rect, .box:focus rect { stroke-width: 2 } .link { fill: none; stroke-width: 1.2; stroke-opacity: 0.7 }
"""


@dataclass(frozen=True)
class _Box:
    """The content and place of a box."""

    name: str
    package: str
    label: str
    lines: Sequence[str]
    hint: str
    requires: Sequence[str]
    link: str = ""
    row: int = 0
    x: float = 0.0
    y: float = 0.0

    @property
    def height(self) -> float:
        return 21.0 + _LINE * len(self.lines)


def svg(tree: Tree, prefix: str = "../", suffix: str = ".md") -> str:
    """The picture; ``prefix`` leads from its folder to the repository's root, and links to chapters end in ``suffix``."""
    styles = _styles(tree)
    boxes, ways, bands, height = _drawing(tree, styles, prefix)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height:g}" width="{WIDTH:g}">',
        f"<style>{_CSS}</style>",
        "<title>The tree of technologies: lines lead up from what each requires</title>",
        '<g font-family="system-ui, sans-serif" text-anchor="middle">',
        f'<rect width="{WIDTH:g}" height="{height:g}" rx="8" fill="#ffffff"/>',
    ]
    for name, (left, top, right, bottom) in bands.items():
        place = f'x="{left:g}" y="{top:g}" width="{right - left:g}" height="{bottom - top:g}"'
        edge = ' stroke="#d9d9e0" stroke-dasharray="4 4"' if name == "planned" else ""
        parts.append(f'<rect {place} rx="8" fill="{styles[name].colors[0]}"{edge}/>')
    parts += [_link(boxes, styles, *ends, path) for ends, path in ways.items()]
    parts += [_drawn(box, styles[box.package].colors) for box in boxes.values()]

    def page(chapter: str) -> str:
        return f"{prefix}{tree.description.pages}/{chapter}".removesuffix(".md") + suffix

    for name, (left, top, _, bottom) in bands.items():
        parts.append(_label(styles[name], left, top, bottom, page(styles[name].chapter) if styles[name].chapter else ""))
    parts += _given(tree, page(tree.description.given_chapter), height)
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _styles(tree: Tree) -> dict[str, Package]:
    """How each package is drawn; what is planned is drawn as one more package, above all others."""
    packages = tree.description.packages
    return {**packages, "planned": Package((), "", "planned", 6, tuple(packages), _PLANNED)}


def _boxes(tree: Tree, styles: Mapping[str, Package], prefix: str) -> dict[str, _Box]:
    """The boxes of all implemented and planned technologies, without their places."""
    found = {}
    for name, one in tree.technologies.items():
        if not one.package:
            continue
        titles = tree.titles(name)
        tests = tree.tests[name][:1]
        hint = "\n".join([one.title, one.path, *tests, f"{tree.description.pages}/{tree.chapter(name)}"])
        requires = [below for below in tree.reduced(tree.requires[name]) if tree.technologies[below].package]
        lines = _wrapped(titles, 3) or _wrapped([public for public in one.public if _is_telling(public)], 2)
        lines += [f"tests: {test}" for test in (Path(path).stem.removeprefix("test_") for path in tests) if test != one.label]
        found[name] = _Box(name, one.package, one.label, lines, hint, requires, prefix + one.path)
    for plan in tree.description.planned:
        requires = list(tree.reduced([one for one in plan.requires if one in tree.technologies]))
        found[plan.title] = _Box(plan.title, "planned", plan.title, (), plan.sentence, requires)
    return {name: replace(box, row=row) for (name, box), row in zip(found.items(), _rows(found, styles), strict=True)}


def _rows(boxes: dict[str, _Box], styles: Mapping[str, Package]) -> list[int]:
    """The row of every box: a package begins above those that it is drawn after."""
    requires = {name: box.requires for name, box in boxes.items()}
    found: dict[str, int] = {}
    for package, style in styles.items():
        start = max([-1, *(found[name] for name, box in boxes.items() if box.package in style.after and name in found)]) + 1
        found |= rows(Group([name for name, box in boxes.items() if box.package == package], style.in_a_row, start), requires)
    return [found[name] for name in boxes]


def _is_telling(public: str) -> bool:
    """Whether a name says what a technology is for: errors and constants do not."""
    return not public.endswith("Error") and not public.isupper()


def _wrapped(words: Sequence[str], most: int) -> list[str]:
    """The words in lines as wide as a box, a dot between them; what does not fit is left out, and an ellipsis says so."""
    lines = [""]
    for index, word in enumerate(words):
        longer = f"{lines[-1]} · {word}" if lines[-1] else word
        last = len(lines) == most and index < len(words) - 1
        if not lines[-1] or width(longer + " …" * last, _SMALL) <= _BOX - 8:
            lines[-1] = longer
        elif len(lines) < most:
            lines.append(word)
        else:
            lines[-1] += " …"
            break
    return [line for line in lines if line]


_Band = tuple[float, float, float, float]


def _drawing(
    tree: Tree, styles: Mapping[str, Package], prefix: str
) -> tuple[dict[str, _Box], dict[tuple[str, str], str], dict[str, _Band], float]:
    """The boxes in their places, the lines between them, the band behind each package, and the total height."""
    boxes = _boxes(tree, styles, prefix)
    within = {name: [box.row for box in boxes.values() if box.package == name] for name in styles}
    within = {name: found for name, found in within.items() if found}
    beside = range(0)  # the rows that a package at the edge shares with others
    for name in within:
        if styles[name].aside:
            above = [row for other, found in within.items() for row in found if name in styles[other].after]
            beside = range(min(within[name]), min(above, default=max(box.row for box in boxes.values()) + 1))
            within[name] = list(beside)

    def span(item: Item) -> tuple[float, float]:
        if item.row not in beside:
            return _LEFT, _RIGHT
        return (_ASIDE + _GUTTER + 10, _RIGHT) if item.aside else (_LEFT, _ASIDE - 16)

    items = {name: Item(name, box.row, _BOX, styles[box.package].aside) for name, box in boxes.items()}
    x, ways = arrange(items, [(low, box.name) for box in boxes.values() for low in box.requires], span)
    tops, bottoms, height = _levels(boxes, {max(found) for found in within.values()})
    boxes = {name: replace(box, x=x[items[name]], y=bottoms[box.row] - box.height) for name, box in boxes.items()}
    bands = {name: _band(styles[name].aside, found, beside, tops, bottoms) for name, found in within.items()}
    return boxes, {ends: _path(way, x, tops, bottoms, boxes) for ends, way in ways.items()}, bands, height


def _levels(boxes: Mapping[str, _Box], heads: set[int]) -> tuple[dict[int, float], dict[int, float], float]:
    """Top and bottom of every row, from the highest down, with space above ``heads``, where bands begin; and the picture's height."""
    heights: dict[int, float] = {}
    for box in boxes.values():
        heights[box.row] = max(heights.get(box.row, 0.0), box.height)
    tops, bottoms, y = {}, {}, 12.0
    for row in sorted(heights, reverse=True):
        tops[row] = y + _HEAD * (row in heads)
        bottoms[row] = tops[row] + heights[row]
        y = bottoms[row] + _GAP
    return tops, bottoms, y + 76


def _band(aside: bool, found: list[int], beside: range, tops: dict[int, float], bottoms: dict[int, float]) -> _Band:
    """Left, top, right and bottom of the band behind a package."""
    left, right = _LEFT - _GUTTER - 10, _RIGHT + 10
    if aside:
        left = _ASIDE
    elif min(found) in beside:
        right = _ASIDE - 10
    return left, tops[max(found)] - _HEAD + 2, right, bottoms[min(found)] + 10


def _path(
    way: Sequence[Item], x: dict[Item, float], tops: dict[int, float], bottoms: dict[int, float], boxes: dict[str, _Box]
) -> str:
    """From the top of the lower box, through its lanes, to the bottom of the upper one."""
    steps = [f"M{x[way[0]]:.1f} {boxes[way[0].name].y:.1f}"]
    for low, high in pairwise(way):
        start, end = tops[low.row], bottoms[high.row]
        middle = (start + end) / 2
        steps.append(f"V{start:.1f}C{x[low]:.1f} {middle:.1f} {x[high]:.1f} {middle:.1f} {x[high]:.1f} {end:.1f}")
    return "".join(steps)


def _link(boxes: dict[str, _Box], styles: Mapping[str, Package], low: str, high: str, path: str) -> str:
    planned = boxes[high].package == "planned"
    color = styles["planned" if planned else boxes[low].package].colors[2]
    dashes = ' stroke-dasharray="3 3"' if planned else ""
    return f'<path class="link" data-from="{low}" data-to="{high}" d="{path}" stroke="{color}"{dashes}/>'


def _drawn(box: _Box, colors: tuple[str, str, str]) -> str:
    planned = box.package == "planned"
    left, dashes = box.x - _BOX / 2, ' stroke-dasharray="3 3"' if planned else ""
    place = f'x="{left:.1f}" y="{box.y:.1f}" width="{_BOX:g}" height="{box.height:g}"'
    link = f' href="{escape(box.link)}"' if box.link else ""
    parts = [f'<a class="box" id="{escape(box.name)}"{link}><title>{escape(box.hint)}</title>']
    parts.append(f'<rect {place} rx="5" fill="{colors[1]}" stroke="{colors[2]}"{dashes}/>')
    ink, size = (PALE, _SMALL) if planned else (INK, _LARGE)
    parts.append(text(box.x, box.y + 15, box.label, ink, size=size, bold=not planned, fit=_BOX - 8))
    for index, line in enumerate(box.lines):
        parts.append(text(box.x, box.y + 28 + _LINE * index, line, "#4d4d57", size=_SMALL, fit=_BOX - 8))
    return "".join([*parts, "</a>"])


def _label(style: Package, left: float, top: float, bottom: float, link: str) -> str:
    """A package's title, upward along the left edge of its band, with a link to its chapter."""
    x, y = left + 15, (top + bottom) / 2
    turned = f' transform="rotate(-90 {x:.1f} {y:.1f})"'
    label = text(x, y, style.title, PALE, size=11.5, bold=True, fit=bottom - top - 6, extra=turned)
    return f'<a href="{link}">{label}</a>' if link else label


def _given(tree: Tree, chapter: str, height: float) -> Iterator[str]:
    """Python and NumPy, over the whole width, and how to read the picture."""
    fill, edge = _GIVEN
    start = _LEFT - _GUTTER - 10
    half = (_RIGHT + 10 - start) / 2
    for index, (label, line) in enumerate((("Python", "and its standard library"), ("NumPy", "arrays, and + - * / on them"))):
        left = start + index * (half + 1.5)
        hint = f"<title>{escape(tree.technologies[label.lower()].title)}</title>"
        yield f'<a class="box" id="{label.lower()}" href="{chapter}">{hint}'
        yield f'<rect x="{left:g}" y="{height - 82:g}" width="{half - 3:g}" height="36" rx="5" fill="{fill}" stroke="{edge}"/>'
        yield text(left + half / 2, height - 66, label, INK, size=_LARGE, bold=True)
        yield text(left + half / 2, height - 53, line, "#4d4d57", size=_SMALL) + "</a>"
    source, tests = tree.description.source_of("PACKAGE"), tree.description.tests_of("PACKAGE")
    reading = (
        f"A box is a file, {source}/NAME.py, tested in {tests}/test_NAME.py unless the box says where.",
        "Lines lead up from what it requires; lines that follow from others are left out. Everything requires Python and NumPy.",
    )
    for index, line in enumerate(reading):
        yield text(WIDTH / 2, height - 27 + 15 * index, line, PALE, size=11, fit=WIDTH - 20)
