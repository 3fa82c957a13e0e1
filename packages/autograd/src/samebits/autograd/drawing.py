"""Drawings of small graphs, with values and gradients, as text or as SVG.

Gradients are computed for the drawing only: nothing is freed, and no ``grad`` changes. A node remembers its value if it has
at most 16 elements; of others the drawing shows the shape.
"""

import itertools
from html import escape
from typing import Any

import numpy as np

from samebits.autograd.graph import GraphError, Node, run
from samebits.autograd.tensor import Operand, Tensor, seed

__all__ = ["draw"]

_WIDE, _HIGH, _LANE = 168, 52, 8
_GAP_X, _GAP_Y, _MARGIN = 56, 16, 16
_LINE = "#5b6472"
_TIP = f'<path d="M0,0 L7,3 L0,6 z" fill="{_LINE}"/>'
_FILL = {"leaf": "#fdf3dc", "operation": "#e8f1fb"}

Place = tuple[float, float]


def draw(tensor: Tensor, gradient: Operand | None = None, *, form: str = "text") -> str:
    """A drawing of the graph of ``tensor``, before ``backward()`` frees it.

    Args:
        tensor: A tensor computed from others.
        gradient: The gradient of some scalar with respect to ``tensor``, as for `Tensor.backward`.
        form: ``"text"``: a line for each node, indented under the nodes that use it; ``"svg"``: boxes and arrows.

    Raises:
        GraphError: The tensor requires no gradient, or its graph was freed.
        ValueError: ``form`` is neither.

    Example:
        >>> x = Tensor(3.0, requires_grad=True)
        >>> print((x * x + x).draw())
        add  value 12  gradient 1
        ├ multiply  value 9  gradient 1
        │ ├ #1 leaf  value 3  gradient 7
        │ └ #1
        └ #1
    """
    if form not in {"text", "svg"}:
        raise ValueError(f"draw: form must be 'text' or 'svg', got {form!r}")
    if tensor.node is None:
        raise GraphError("draw: the tensor requires no gradient, so it has no graph")
    nodes = _reached(tensor.node)
    found = run(tensor.node, seed(tensor, gradient).data, wanted=set(nodes), retain=True)
    return _text(tensor.node, nodes, found) if form == "text" else _svg(nodes, found)


def _reached(root: Node) -> list[Node]:
    """The nodes of the graph, newest first."""
    seen, todo = {root}, [root]
    while todo:
        node = todo.pop()
        if node.parents is None:
            raise GraphError(f"draw: the graph was freed at {node.name}; draw before backward(), or pass retain_graph=True to it")
        for parent in node.parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                todo.append(parent)
    return sorted(seen, key=lambda node: -node.stamp)


def _show(value: Any) -> str:
    """A value in a few characters, or its shape."""
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return f"shape {value}"
    array = np.asarray(value)
    if array.size > 4:
        return f"shape {array.shape}"
    return str([_number(x) for x in array.reshape(-1)]).replace("'", "") if array.ndim else _number(array)


def _number(x: Any) -> str:
    return f"{float(x):.4g}"


def _text(root: Node, nodes: list[Node], found: dict[Node, Any]) -> str:
    used: dict[Node, int] = dict.fromkeys(nodes, 0)
    for node in nodes:
        for parent in node.parents or ():
            if parent is not None:
                used[parent] += 1
    numbers: dict[Node, int] = {}
    lines: list[str] = []
    todo: list[tuple[Node, str, str]] = [(root, "", "")]
    while todo:
        node, first, rest = todo.pop()
        if node in numbers:
            lines.append(f"{first}#{numbers[node]}")
            continue
        if used[node] > 1:
            numbers[node] = len(numbers) + 1
        label = f"#{numbers[node]} {node.name}" if node in numbers else node.name
        lines.append(f"{first}{label}  value {_show(node.value)}  gradient {_show(found.get(node))}")
        below = [parent for parent in node.parents or () if parent is not None]
        for i, parent in reversed(list(enumerate(below))):
            last = i == len(below) - 1
            todo.append((parent, rest + ("└ " if last else "├ "), rest + ("  " if last else "│ ")))
    return "\n".join(lines)


def _svg(nodes: list[Node], found: dict[Node, Any]) -> str:
    """Columns by the longest way from a leaf, arrows from arguments to results, on a light card."""
    column = _columns(nodes)
    boxes, lanes, height = _layout(nodes, column)
    width = 2 * _MARGIN + (max(column.values()) + 1) * (_WIDE + _GAP_X) - _GAP_X
    height += 28  # the legend
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:g}" width="{width}" height="{height:g}" role="img">',
        "<title>A graph of operations, with values and gradients</title>",
        f'<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="3" orient="auto">{_TIP}</marker></defs>',
        f'<rect width="{width}" height="{height:g}" rx="8" fill="#ffffff"/>',
        '<g font-family="ui-monospace, monospace" font-size="12" fill="#1c2026">',
    ]
    parts += [_arrow(points) for points in _arrows(nodes, boxes, lanes)]
    for node in nodes:
        lines = [node.name, f"value {_show(node.value)}", f"gradient {_show(found.get(node))}"]
        parts += _box(boxes[node], _FILL["operation" if node.operation else "leaf"], lines)
    parts += _legend(height - _MARGIN - 4)
    return "\n".join([*parts, "</g>", "</svg>"])


def _columns(nodes: list[Node]) -> dict[Node, int]:
    column: dict[Node, int] = {}
    for node in reversed(nodes):
        column[node] = 1 + max((column[parent] for parent in node.parents or () if parent is not None), default=-1)
    return column


def _layout(nodes: list[Node], column: dict[Node, int]) -> tuple[dict[Node, Place], dict[tuple[Node, Node, int], Place], float]:
    """The upper left corner of each box, the start of each lane of an arrow past a column, and the height of all."""
    boxes: dict[Node, Place] = {}
    lanes: dict[tuple[Node, Node, int], Place] = {}
    bottom = [float(_MARGIN)] * (max(column.values()) + 1)

    def reserve(where: int, height: float) -> Place:
        place = float(_MARGIN + where * (_WIDE + _GAP_X)), bottom[where]
        bottom[where] += height + _GAP_Y
        return place

    for node in reversed(nodes):
        boxes[node] = reserve(column[node], _HIGH)
    for node in reversed(nodes):
        for parent in dict.fromkeys(node.parents or ()):
            if parent is not None:
                for where in range(column[parent] + 1, column[node]):
                    lanes[parent, node, where] = reserve(where, _LANE)
    return boxes, lanes, max(bottom) - _GAP_Y + _MARGIN


def _arrows(nodes: list[Node], boxes: dict[Node, Place], lanes: dict[tuple[Node, Node, int], Place]) -> list[list[Place]]:
    """The points of each arrow; those that leave or enter one box do so at different heights."""
    edges = [(parent, node, i) for node in nodes for i, parent in enumerate(node.parents or ()) if parent is not None]
    leaving: dict[Node, list[tuple[Node, Node, int]]] = {}
    for edge in sorted(edges, key=lambda edge: (_way(edge, lanes), boxes[edge[1]][1], edge[2])):
        leaving.setdefault(edge[0], []).append(edge)
    entering: dict[Node, list[tuple[Node, Node, int]]] = {}
    for edge in sorted(edges, key=lambda edge: (_way(edge, lanes), boxes[edge[0]][1], edge[2])):
        entering.setdefault(edge[1], []).append(edge)
    arrows = []
    for edge in edges:
        parent, node, _ = edge
        start = boxes[parent][0] + _WIDE, _port(boxes[parent], leaving[parent].index(edge), len(leaving[parent]))
        end = boxes[node][0], _port(boxes[node], entering[node].index(edge), len(entering[node]))
        past = [place for (one, other, _), place in lanes.items() if (one, other) == (parent, node)]
        arrows.append([start, *[point for x, y in past for point in ((x, y + _LANE / 2), (x + _WIDE, y + _LANE / 2))], end])
    return arrows


def _way(edge: tuple[Node, Node, int], lanes: dict[tuple[Node, Node, int], Place]) -> float:
    """How far down an arrow goes: past the boxes between, or not at all."""
    return max((y for (one, other, _), (_, y) in lanes.items() if (one, other) == edge[:2]), default=0.0)


def _port(box: Place, i: int, count: int) -> float:
    return box[1] + _HIGH * (i + 1) / (count + 1)


def _arrow(points: list[Place]) -> str:
    """A curve between columns, straight past them."""
    path = f"M{points[0][0]:g},{points[0][1]:g}"
    for (x, y), (to_x, to_y) in itertools.pairwise(points):
        middle = (x + to_x) / 2
        path += f" L{to_x:g},{to_y:g}" if y == to_y else f" C{middle:g},{y:g} {middle:g},{to_y:g} {to_x:g},{to_y:g}"
    return f'<path d="{path}" fill="none" stroke="{_LINE}" marker-end="url(#tip)"/>'


def _box(place: Place, fill: str, lines: list[str]) -> list[str]:
    x, y = place
    parts = [f'<rect x="{x:g}" y="{y:g}" width="{_WIDE}" height="{_HIGH}" rx="4" fill="{fill}" stroke="{_LINE}"/>']
    for i, line in enumerate(lines):
        short = line if len(line) <= 21 else f"{line[:20]}…"
        weight = ' font-weight="bold"' if i == 0 else ""
        parts.append(f'<text x="{x + 8:g}" y="{y + 16 + 15 * i:g}"{weight}>{escape(short)}</text>')
    return parts


def _legend(y: float) -> list[str]:
    parts = []
    for i, (name, fill) in enumerate(_FILL.items()):
        x = _MARGIN + 100 * i
        parts.append(f'<rect x="{x}" y="{y - 10:g}" width="12" height="12" rx="2" fill="{fill}" stroke="{_LINE}"/>')
        parts.append(f'<text x="{x + 18}" y="{y:g}">{name}</text>')
    return parts
