"""The overview: the packages of the repository and the landmarks among their technologies, small enough for the README.

A package is drawn over those it requires. Which landmarks each shows is in the description; each is a technology, a title of the
classic path, or a public name, so a landmark that is gone is an error.
"""

from collections.abc import Iterator, Sequence

from tools.tree.description import Tile
from tools.tree.drawing import INK, PALE, text, width
from tools.tree.graph import Tree

__all__ = ["svg"]

WIDTH = 840.0
_EDGE, _GAP, _ROW = 12.0, 8.0, 74.0
_TITLE, _NAME = 13.5, 12.5


def svg(tree: Tree) -> str:
    """The picture; ValueError if a landmark is none of the tree's."""
    tiles = tree.description.overview
    height = 2 * _EDGE + (max(one.row + one.rows for one in tiles)) * (_ROW + _GAP) - _GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height:g}" width="{WIDTH:g}">',
        "<title>The packages of samebits, each over those it requires, and what is in them</title>",
        '<g font-family="system-ui, sans-serif" text-anchor="middle">',
        f'<rect width="{WIDTH:g}" height="{height:g}" rx="8" fill="#ffffff"/>',
    ]
    for tile in tiles:
        for landmark in tile.landmarks if tile.package in tree.description.packages else ():
            if not any(name.startswith(f"{tile.package}.") for name in tree.find(landmark)):
                raise ValueError(f"overview: {tile.package} has no technology or public name {landmark!r}")
        parts += _drawn(tile)
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _drawn(tile: Tile) -> Iterator[str]:
    """A package: its band, its title, and its landmarks in rows of boxes."""
    band, box, edge = tile.colors
    whole = WIDTH - 2 * _EDGE
    left, right = _EDGE + whole * tile.columns[0] / 100, _EDGE + whole * tile.columns[1] / 100 - _GAP * (tile.columns[1] < 100)
    top = _EDGE + tile.row * (_ROW + _GAP)
    height = tile.rows * (_ROW + _GAP) - _GAP
    yield f'<rect x="{left:.1f}" y="{top:g}" width="{right - left:.1f}" height="{height:g}" rx="8" fill="{band}" stroke="{edge}"/>'
    lines = list(_lines(tile.landmarks, right - left - 12))
    head = 38.0 if tile.subtitle else 22.0
    below = (height - head - 27 * len(lines)) / 2 if lines else 0.0
    if below < 0:
        raise ValueError(f"overview: the landmarks of {tile.package} need more than {tile.rows} rows")
    title = top + 20 if lines else top + (height - head) / 2 + 16
    yield text((left + right) / 2, title, tile.title, INK, size=_TITLE, bold=True, fit=right - left - 12)
    if tile.subtitle:
        yield text((left + right) / 2, title + 16, tile.subtitle, PALE, size=_NAME, fit=right - left - 12)
    y = top + head + below
    for line in lines:
        x = (left + right - sum(map(_wide, line)) - 6 * (len(line) - 1)) / 2
        for name in line:
            yield f'<rect x="{x:.1f}" y="{y:.1f}" width="{_wide(name):.1f}" height="22" rx="5" fill="{box}" stroke="{edge}"/>'
            yield text(x + _wide(name) / 2, y + 15.5, name, INK, size=_NAME)
            x += _wide(name) + 6
        y += 27


def _wide(name: str) -> float:
    return width(name, _NAME) + 14


def _lines(names: Sequence[str], space: float) -> Iterator[list[str]]:
    """The names in lines that fit the space."""
    line: list[str] = []
    for name in names:
        if line and sum(map(_wide, [*line, name])) + 6 * len(line) > space:
            yield line
            line = []
        line.append(name)
    if line:
        yield line
