"""`Tensor.draw`: a picture of a small graph, with values and gradients, as text or as SVG.

Gradients are computed for the picture alone: nothing is freed, and no ``grad`` changes. A node remembers its value if it
has at most 16 elements; of others the picture shows the shape.
"""

from html import escape
from typing import Any

import numpy as np

from samebits.autograd.graph import GraphError, Node, run
from samebits.autograd.tensor import Operand, Tensor, seed

__all__ = ["draw"]

_WIDE, _HIGH, _GAP_X, _GAP_Y = 168, 46, 40, 16


def draw(tensor: Tensor, gradient: Operand | None = None, *, form: str = "text") -> str:
    """Draw the graph of ``tensor``.

    Args:
        tensor: A tensor computed from others.
        gradient: What to begin the backward pass with, as for `Tensor.backward`.
        form: ``"text"``: a line per node, indented under what it was used for; ``"svg"``: boxes and arrows.

    Raises:
        GraphError: The tensor needs no gradient, or its graph was freed.
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
        raise ValueError(f"form is {form!r}: 'text' or 'svg' is needed")
    if tensor.node is None:
        raise GraphError("draw() of a tensor that needs no gradient: it has no graph")
    nodes = _reached(tensor.node)
    found = run(tensor.node, seed(tensor, gradient).data, wanted=set(nodes), retain=True)
    return _text(tensor.node, nodes, found) if form == "text" else _svg(nodes, found)


def _reached(root: Node) -> list[Node]:
    """The nodes of the graph, newest first."""
    seen, todo = {root}, [root]
    while todo:
        node = todo.pop()
        if node.parents is None:
            raise GraphError(f"the graph was freed at {node.name}: draw before backward(), or give that retain_graph=True")
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
    """Columns by the longest way from a leaf, arrows from arguments to results."""
    column: dict[Node, int] = {}
    for node in reversed(nodes):
        column[node] = 1 + max((column[parent] for parent in node.parents or () if parent is not None), default=-1)
    place: dict[Node, tuple[int, int]] = {}
    rows = [0] * (max(column.values()) + 1)
    for node in reversed(nodes):
        x = column[node]
        place[node] = 10 + x * (_WIDE + _GAP_X), 10 + rows[x] * (_HIGH + _GAP_Y)
        rows[x] += 1
    width, height = 10 + len(rows) * (_WIDE + _GAP_X), 20 + max(rows) * (_HIGH + _GAP_Y)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="monospace" font-size="11">',
        '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="3" orient="auto">',
        '<path d="M0,0 L7,3 L0,6 z" fill="#555"/></marker></defs>',
    ]
    for node in nodes:
        x, y = place[node]
        for parent in node.parents or ():
            if parent is not None:
                a, b = place[parent][0] + _WIDE, place[parent][1] + _HIGH // 2
                dip = 0 if column[node] == column[parent] + 1 else _HIGH  # below the boxes between
                bend = f"{a + _GAP_X},{b + dip} {x - _GAP_X},{y + _HIGH // 2 + dip}"
                parts.append(
                    f'<path d="M{a},{b} C{bend} {x},{y + _HIGH // 2}" fill="none" stroke="#555" marker-end="url(#tip)"/>'
                )
    for node in nodes:
        x, y = place[node]
        colour = "#e8f1fb" if node.operation else "#fdf3dc"
        parts.append(f'<rect x="{x}" y="{y}" width="{_WIDE}" height="{_HIGH}" rx="4" fill="{colour}" stroke="#555"/>')
        for i, line in enumerate([node.name, f"value {_show(node.value)}", f"gradient {_show(found.get(node))}"]):
            weight = ' font-weight="bold"' if i == 0 else ""
            parts.append(f'<text x="{x + 8}" y="{y + 14 + 13 * i}" fill="#111"{weight}>{escape(line)}</text>')
    return "\n".join([*parts, "</svg>"])
