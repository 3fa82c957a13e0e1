"""The tree as a picture, 916 pixels wide: the ground below, the language model on top, what is planned above it in grey.

A box is a technology: its file's name, what of the classic path has its place there (or the names it offers), and the test file where
that has another name. A line leads up from what is required; what follows from other lines is left out, and so is the ground, on which
everything stands. A click on a box leads to its file, on a floor's name to its chapter; to point at a box tells the rest.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise
from pathlib import Path

from tools.tree.forest import CHAPTERS, Tree
from tools.tree.layout import Item, Storey, arrange, rows

__all__ = ["html", "svg"]

WIDTH = 916.0
_LEFT, _RIGHT, _ASIDE = 22.0, 894.0, 684.0
_BOX, _LINE, _GAP, _HEAD = 120.0, 11, 22, 22
_INK, _PALE = "#33333b", "#6a6a76"


@dataclass(frozen=True)
class _Style:
    """How a floor is drawn: its name, boxes in a row, the floors that end below it, and the colours of ground, boxes, lines."""

    title: str
    in_a_row: int
    after: tuple[str, ...]
    ground: str
    box: str
    line: str


_STYLES = {
    "core": _Style("core: numbers", 6, (), "#f1f5fb", "#d9e6f7", "#7fa3d6"),
    "autograd": _Style("autograd: tensors and gradients", 4, ("core",), "#f0f8f2", "#d5ecdc", "#74b58a"),
    "text": _Style("text: corpora, tokenisers, batches", 1, ("core",), "#fcf6ec", "#f6e4c6", "#d3a159"),
    "nn": _Style("nn: layers, losses, optimisers", 4, ("autograd",), "#f6f2fb", "#e6daf5", "#a384d1"),
    "lm": _Style("lm: language models", 6, ("nn", "text"), "#fdf1f1", "#f7d6d6", "#d58383"),
    "planned": _Style("planned", 6, ("nn", "text", "lm"), "#ffffff", "#f3f3f6", "#bdbdc8"),
}
_CSS = """
.box:hover rect, .box:focus rect { stroke-width: 2 } .link { fill: none; stroke-width: 1.2; stroke-opacity: 0.7 }
.picked .link:not(.near), .picked .box:not(.near) { opacity: 0.15 } .picked .link.near { stroke-opacity: 1; stroke-width: 1.6 }
"""
_JAVASCRIPT = """
const picture = document.querySelector("svg"), boxes = [...picture.querySelectorAll(".box")];
const links = [...picture.querySelectorAll(".link")].map(line => ({ line, low: line.dataset.from, high: line.dataset.to }));
const walk = (name, next, seen = new Set()) =>
  seen.has(name) ? seen : (seen.add(name), next(name).forEach(one => walk(one, next, seen)), seen);
for (const box of boxes) {
  box.onmouseenter = () => {
    const down = walk(box.id, name => links.filter(one => one.high === name).map(one => one.low));
    const up = walk(box.id, name => links.filter(one => one.low === name).map(one => one.high));
    boxes.forEach(one => one.classList.toggle("near", down.has(one.id) || up.has(one.id)));
    links.forEach(({ line, low, high }) => line.classList.toggle("near", down.has(high) && down.has(low) || up.has(low) && up.has(high)));
    picture.classList.add("picked");
  };
  box.onmouseleave = () => picture.classList.remove("picked");
}
"""


@dataclass(frozen=True)
class _Box:
    """What stands in a box, and where."""

    name: str
    floor: str
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
        return 20.0 + _LINE * len(self.lines)


def svg(tree: Tree, prefix: str = "../", suffix: str = ".md") -> str:
    """The picture; ``prefix`` leads from where it will stand to the root of the house, and pages end in ``suffix``."""
    boxes, ways, bands, height = _drawing(tree, prefix)
    chapters = {floor: f"{prefix}docs/{page}".removesuffix(".md") + suffix for floor, page in CHAPTERS.items()}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height:g}" width="{WIDTH:g}">',
        f"<style>{_CSS}</style>",
        "<title>The tree of technologies: each stands on those that lines lead to from below</title>",
        '<g font-family="system-ui, sans-serif" text-anchor="middle">',
        f'<rect width="{WIDTH:g}" height="{height:g}" rx="8" fill="#ffffff"/>',
    ]
    for floor, (left, top, right, bottom) in bands.items():
        style = _STYLES[floor]
        place = f'x="{left:g}" y="{top:g}" width="{right - left:g}" height="{bottom - top:g}"'
        edge = ' stroke="#d9d9e0" stroke-dasharray="4 4"' if floor == "planned" else ""
        parts.append(f'<rect {place} rx="8" fill="{style.ground}"{edge}/>')
    parts += [_link(boxes, *ends, path) for ends, path in ways.items()]
    parts += [_drawn(box) for box in boxes.values()]
    parts += [_label(floor, chapters, left, top) for floor, (left, top, _, _) in bands.items()]
    parts += _ground(tree, chapters["ground"], height)
    return "\n".join([*parts, "</g>", "</svg>", ""])


def html(tree: Tree, prefix: str = "") -> str:
    """A page with the picture, in which pointing at a box shows what it stands on and what stands on it."""
    head = '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>samebits: the tree of technologies</title>\n'
    body = (
        f'<body style="margin: 0 auto; max-width: 1100px">\n{svg(tree, prefix)}<script>{_JAVASCRIPT}</script>\n</body>\n</html>\n'
    )
    return head + body.replace(f'width="{WIDTH:g}">', 'width="100%">', 1)


def _boxes(tree: Tree, prefix: str) -> dict[str, _Box]:
    """The boxes of all technologies but the ground, and of what is planned, without their places."""
    found = {}
    for name, one in tree.technologies.items():
        if one.floor == "ground":
            continue
        titles = tree.titles(name)
        tests = tree.tests.get(name, ())[:1]
        hint = "\n".join([one.title, one.path, *tests, f"docs/{tree.chapter(name)}"])
        requires = [below for below in tree.stands_on(tree.requires[name]) if "." in below]
        lines = _wrapped(titles, 3) or _wrapped([public for public in one.public if _is_telling(public)], 2)
        lines += [f"tests: {test}" for test in (Path(path).stem.removeprefix("test_") for path in tests) if test != one.label]
        found[name] = _Box(name, one.floor, one.label, lines, hint, requires, prefix + one.path)
    for plan in tree.planned:
        requires = list(tree.stands_on([one for one in plan.requires if one in tree.technologies]))
        found[plan.title] = _Box(plan.title, "planned", plan.title, (), plan.sentence, requires)
    return {name: replace(box, row=row) for (name, box), row in zip(found.items(), _rows(found), strict=True)}


def _rows(boxes: dict[str, _Box]) -> list[int]:
    """The row of every box, floor upon floor; text begins where autograd does, beside it."""
    requires = {name: box.requires for name, box in boxes.items()}
    found: dict[str, int] = {}
    for floor, style in _STYLES.items():
        start = max([-1, *(found[name] for name, box in boxes.items() if box.floor in style.after and name in found)]) + 1
        found |= rows(Storey([name for name, box in boxes.items() if box.floor == floor], style.in_a_row, start), requires)
    return [found[name] for name in boxes]


def _is_telling(public: str) -> bool:
    """Whether a name says what a technology is for: errors and constants do not."""
    return not public.endswith("Error") and not public.isupper()


def _wrapped(words: Sequence[str], most: int, width: int = 23) -> list[str]:
    """The words in lines, a dot between them; what does not fit is left out, and an ellipsis says so."""
    lines = [""]
    for index, word in enumerate(words):
        longer = f"{lines[-1]} · {word}" if lines[-1] else word
        room = width - 2 * (len(lines) == most and index < len(words) - 1)
        if len(longer) <= room or not lines[-1]:
            lines[-1] = longer
        elif len(lines) < most:
            lines.append(word)
        else:
            lines[-1] += " …"
            break
    return [line for line in lines if line]


_Band = tuple[float, float, float, float]


def _drawing(tree: Tree, prefix: str) -> tuple[dict[str, _Box], dict[tuple[str, str], str], dict[str, _Band], float]:
    """The boxes in their places, the lines between them, what is behind each floor, and the height of it all."""
    boxes = _boxes(tree, prefix)
    within = {floor: [box.row for box in boxes.values() if box.floor == floor] for floor in _STYLES}
    within = {floor: found for floor, found in within.items() if found}
    beside = range(0)  # the rows where text stands beside other floors
    if text := within.get("text"):
        beside = range(min(text), max(text + within.get("autograd", []) + within.get("nn", [])) + 1)
        within["text"] = list(beside)

    def span(item: Item) -> tuple[float, float]:
        if item.row not in beside:
            return _LEFT, _RIGHT
        return (_ASIDE + 6, _RIGHT) if item.aside else (_LEFT, _ASIDE - 14)

    items = {name: Item(name, box.row, _BOX, box.floor == "text") for name, box in boxes.items()}
    x, ways = arrange(items, [(low, box.name) for box in boxes.values() for low in box.requires], span)
    tops, bottoms, height = _levels(boxes, {max(found) for found in within.values()})
    boxes = {name: replace(box, x=x[items[name]], y=bottoms[box.row] - box.height) for name, box in boxes.items()}
    bands = {floor: _band(floor, found, beside, tops, bottoms) for floor, found in within.items()}
    return boxes, {ends: _path(way, x, tops, bottoms, boxes) for ends, way in ways.items()}, bands, height


def _levels(boxes: Mapping[str, _Box], heads: set[int]) -> tuple[dict[int, float], dict[int, float], float]:
    """Top and bottom of every row, from the highest down, with room for a floor's name above ``heads``; and where the picture ends."""
    heights: dict[int, float] = {}
    for box in boxes.values():
        heights[box.row] = max(heights.get(box.row, 0.0), box.height)
    tops, bottoms, y = {}, {}, 12.0
    for row in sorted(heights, reverse=True):
        tops[row] = y + _HEAD * (row in heads)
        bottoms[row] = tops[row] + heights[row]
        y = bottoms[row] + _GAP
    return tops, bottoms, y + 76


def _band(floor: str, found: list[int], beside: range, tops: dict[int, float], bottoms: dict[int, float]) -> _Band:
    """Left, top, right and bottom of what is behind a floor."""
    left, right = _LEFT - 10, _RIGHT + 10
    if floor == "text":
        left = _ASIDE - 4
    elif min(found) in beside:
        right = _ASIDE - 10
    return left, tops[max(found)] - _HEAD + 2, right, bottoms[min(found)] + 10


def _path(
    way: Sequence[Item], x: dict[Item, float], tops: dict[int, float], bottoms: dict[int, float], boxes: dict[str, _Box]
) -> str:
    """From the top of the lower box, through its lanes, to the foot of the upper one."""
    steps = [f"M{x[way[0]]:.1f} {boxes[way[0].name].y:.1f}"]
    for low, high in pairwise(way):
        start, end = tops[low.row], bottoms[high.row]
        middle = (start + end) / 2
        steps.append(f"V{start:.1f}C{x[low]:.1f} {middle:.1f} {x[high]:.1f} {middle:.1f} {x[high]:.1f} {end:.1f}")
    return "".join(steps)


def _link(boxes: dict[str, _Box], low: str, high: str, path: str) -> str:
    colour = _STYLES["planned" if boxes[high].floor == "planned" else boxes[low].floor].line
    dashes = ' stroke-dasharray="3 3"' if boxes[high].floor == "planned" else ""
    return f'<path class="link" data-from="{low}" data-to="{high}" d="{path}" stroke="{colour}"{dashes}/>'


def _drawn(box: _Box) -> str:
    style, planned = _STYLES[box.floor], box.floor == "planned"
    left, dashes = box.x - _BOX / 2, ' stroke-dasharray="3 3"' if planned else ""
    place = f'x="{left:.1f}" y="{box.y:.1f}" width="{_BOX:g}" height="{box.height:g}"'
    link = f' href="{escape(box.link)}"' if box.link else ""
    parts = [f'<a class="box" id="{escape(box.name)}"{link}><title>{escape(box.hint)}</title>']
    parts.append(f'<rect {place} rx="5" fill="{style.box}" stroke="{style.line}"{dashes}/>')
    parts.append(
        _text(
            box.x,
            box.y + 14,
            box.label,
            _PALE if planned else _INK,
            size=10 if planned else 12,
            weight="400" if planned else "600",
        )
    )
    parts += [_text(box.x, box.y + 26 + _LINE * index, line, "#4d4d57", size=9) for index, line in enumerate(box.lines)]
    return "".join([*parts, "</a>"])


def _label(floor: str, chapters: Mapping[str, str], left: float, top: float) -> str:
    """A floor's name, over the lines that pass it, and the way to its chapter."""
    style = _STYLES[floor]
    halo = f'stroke="{style.ground}" stroke-width="4" paint-order="stroke" text-anchor="start"'
    label = (
        f'<text x="{left + 10:g}" y="{top + 16:g}" fill="{_PALE}" font-size="11" font-weight="600" {halo}>{style.title}</text>'
    )
    return f'<a href="{chapters[floor]}">{label}</a>' if floor in chapters else label


def _ground(tree: Tree, chapter: str, height: float) -> Iterator[str]:
    """The ground: Python and NumPy, over the whole width, and how to read the picture."""
    half = (_RIGHT - _LEFT + 20) / 2
    for index, (label, line) in enumerate((("Python", "and its standard library"), ("NumPy", "arrays, and + - * / on them"))):
        left = _LEFT - 10 + index * (half + 3)
        hint = f"<title>{escape(tree.technologies[label.lower()].title)}</title>"
        yield f'<a class="box" id="{label.lower()}" href="{chapter}">{hint}'
        yield f'<rect x="{left:g}" y="{height - 82:g}" width="{half - 3:g}" height="36" rx="5" fill="#e9e4da" stroke="#b8ad97"/>'
        yield _text(left + half / 2, height - 67, label, _INK, size=12, weight="600")
        yield _text(left + half / 2, height - 54, line, "#4d4d57", size=9) + "</a>"
    reading = (
        "A box is a file, packages/FLOOR/src/samebits/FLOOR/NAME.py, tested in tests/FLOOR/test_NAME.py unless the box says where.",
        "Lines lead up from what it requires; what follows from other lines is left out. Everything stands on the ground.",
    )
    for index, line in enumerate(reading):
        yield _text(WIDTH / 2, height - 27 + 14 * index, line, _PALE, size=10)


def _text(x: float, y: float, text: str, fill: str, *, size: int, weight: str = "400") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" font-size="{size}" font-weight="{weight}">{escape(text)}</text>'
