"""Places of the technologies in the picture: rows from the bottom up, few crossings, short lines.

The four steps of Sugiyama, Tagawa and Toda (1981): rows by what is required, at most so many boxes a row (Hu 1961); the
order in a row by the mean place of the neighbors, kept where it has the fewest crossings; places by least squares under the
order; lines through the gaps between the boxes. A line that passes rows on its way up does so in one lane for all its targets.
Everything is arithmetic on small numbers in a fixed order, so a tree has one picture.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import fsum  # the built-in sum rounds differently since Python 3.12

__all__ = ["Group", "Item", "arrange", "rows"]

_LANE = 8.0  # between a lane and its neighbor
_GAP = 8.0  # between two boxes
_STIFF = 6.0  # how much less a lane moves than a box
_SWEEPS = 40


@dataclass(frozen=True)
class Item:
    """A box, or the lane (of no width) in which the lines from ``name`` pass a row."""

    name: str
    row: int
    width: float = 0.0
    aside: bool = False


@dataclass(frozen=True)
class Group:
    """Boxes that share rows: their names, how many go in a row, and the row they begin in."""

    names: Sequence[str]
    in_a_row: int
    start: int


def rows(group: Group, requires: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """A row for each name of one group, above all that it requires there; long chains begin first."""
    inside = {name: [one for one in requires[name] if one in group.names] for name in group.names}
    height = dict.fromkeys(group.names, 0)
    for name in reversed(group.names):
        for one in inside[name]:
            height[one] = max(height[one], height[name] + 1)
    found: dict[str, int] = {}
    row = group.start
    while len(found) < len(group.names):
        ready = [name for name in group.names if name not in found and all(found.get(one, row) < row for one in inside[name])]
        if not ready and row > group.start + len(group.names):  # a circle: rules.py names it
            ready = [name for name in group.names if name not in found]
        for name in sorted(ready, key=lambda name: -height[name])[: group.in_a_row]:
            found[name] = row
        row += 1
    return found


def arrange(
    boxes: Mapping[str, Item], links: Iterable[tuple[str, str]], span: Callable[[Item], tuple[float, float]]
) -> tuple[dict[Item, float], dict[tuple[str, str], list[Item]]]:
    """The middle of every box and lane, and each link's way from lower to upper box; ``span`` bounds what may go where."""
    ways, lanes = _ways(boxes, links)
    steps = sorted({pair for way in ways.values() for pair in pairwise(way)}, key=lambda pair: [*map(_key, pair)])
    filled: dict[int, list[Item]] = {}
    for item in sorted([*boxes.values(), *lanes], key=_key):
        filled.setdefault(item.row, []).append(item)
    order = _ordered(filled, steps)
    return _placed(order, steps, span), ways


def _key(item: Item) -> tuple[int, bool, str]:
    return item.row, item.aside, item.name


def _ways(
    boxes: Mapping[str, Item], links: Iterable[tuple[str, str]]
) -> tuple[dict[tuple[str, str], list[Item]], dict[Item, None]]:
    """Each link's boxes and lanes, from below; a source has one lane a row, or one on each side of the picture."""
    ways, lanes = {}, {}
    for low, high in links:
        aside = boxes[low].aside or boxes[high].aside
        passed = [Item(low, row, aside=aside) for row in range(boxes[low].row + 1, boxes[high].row)]
        ways[low, high] = [boxes[low], *passed, boxes[high]]
        lanes.update(dict.fromkeys(passed))
    return ways, lanes


def _ordered(filled: Mapping[int, list[Item]], steps: Sequence[tuple[Item, Item]]) -> dict[int, list[Item]]:
    """The rows in the order with the fewest crossings among those that the sweeps pass through."""
    order = {row: list(filled[row]) for row in sorted(filled)}
    best, fewest = order, _crossings(order, steps)
    below, above = _neighbors(steps)
    for sweep in range(_SWEEPS):
        up = sweep % 2 == 0
        order = {row: list(items) for row, items in order.items()}
        for row in sorted(order, reverse=not up):
            _sort(order, row, below if up else above)
        _exchange(order, steps)
        if (count := _crossings(order, steps)) < fewest:
            best, fewest = {row: list(items) for row, items in order.items()}, count
    return best


def _neighbors(steps: Sequence[tuple[Item, Item]]) -> tuple[dict[Item, list[Item]], dict[Item, list[Item]]]:
    below: dict[Item, list[Item]] = {}
    above: dict[Item, list[Item]] = {}
    for low, high in steps:
        below.setdefault(high, []).append(low)
        above.setdefault(low, []).append(high)
    return below, above


def _sort(order: dict[int, list[Item]], row: int, towards: Mapping[Item, list[Item]]) -> None:
    """Sort a row by the mean place of the neighbors on one side; what has none stays where it is."""
    place = {item: index / max(len(items) - 1, 1) for items in order.values() for index, item in enumerate(items)}
    here = {item: place[item] for item in order[row]}
    for item in order[row]:
        if near := towards.get(item):
            here[item] = fsum(place[one] for one in near) / len(near)
    order[row].sort(key=lambda item: (item.aside, here[item]))


def _exchange(order: dict[int, list[Item]], steps: Sequence[tuple[Item, Item]]) -> None:
    """Exchange neighbors in a row as long as that saves crossings."""
    below, above = _neighbors(steps)
    for _ in range(4):
        place = {item: index for items in order.values() for index, item in enumerate(items)}
        changed = False
        for items in order.values():
            for index in range(len(items) - 1):
                left, right = items[index], items[index + 1]
                if left.aside == right.aside and _saved(left, right, below, place) + _saved(left, right, above, place) > 0:
                    items[index], items[index + 1] = right, left
                    place[left], place[right] = index + 1, index
                    changed = True
        if not changed:
            return


def _saved(left: Item, right: Item, towards: Mapping[Item, list[Item]], place: Mapping[Item, int]) -> int:
    """How many crossings go when two neighbors change places, less those that come."""
    pairs = [(place[one], place[two]) for one in towards.get(left, ()) for two in towards.get(right, ())]
    return sum(one > two for one, two in pairs) - sum(one < two for one, two in pairs)


def _crossings(order: Mapping[int, list[Item]], steps: Sequence[tuple[Item, Item]]) -> int:
    place = {item: index for items in order.values() for index, item in enumerate(items)}
    count = 0
    for row in order:
        ends = [(place[low], place[high]) for low, high in steps if low.row == row]
        count += sum((a - c) * (b - d) < 0 for index, (a, b) in enumerate(ends) for c, d in ends[:index])
    return count


def _placed(
    order: Mapping[int, list[Item]], steps: Sequence[tuple[Item, Item]], span: Callable[[Item], tuple[float, float]]
) -> dict[Item, float]:
    """The middle of every item: near its neighbors, in the row's order, apart, inside its span."""
    x = {}
    for items in order.values():
        for index, item in enumerate(items):
            low, high = span(item)
            x[item] = low + (high - low) * (index + 1) / (len(items) + 1)
    near = _near(order, steps)
    for sweep in range(120):
        for row in sorted(order, reverse=sweep % 2 == 1):
            wanted = []
            for item in order[row]:
                low, high = span(item)
                mean = fsum(x[one] for one in near[item]) / len(near[item])
                wanted.append(min(max(mean, low + item.width / 2), high - item.width / 2))
            for zone in dict.fromkeys(map(span, order[row])):
                chosen = [(item, place) for item, place in zip(order[row], wanted, strict=True) if span(item) == zone]
                x.update(_apart(chosen, *zone))
    return x


def _near(order: Mapping[int, list[Item]], steps: Sequence[tuple[Item, Item]]) -> dict[Item, list[Item]]:
    """What draws each item: a box its neighbors; a lane all lanes of its line and what they lead to, so that it runs straight."""
    below, above = _neighbors(steps)
    near = {item: [*below.get(item, ()), *above.get(item, ())] or [item] for items in order.values() for item in items}
    lines: dict[tuple[str, bool], list[Item]] = {}
    for item in near:
        if not item.width:
            lines.setdefault((item.name, item.aside), []).append(item)
    for lanes in lines.values():
        ends = [one for lane in lanes for one in near[lane] if one.width]
        near |= {lane: [*lanes, *lanes, *lanes, *ends] for lane in lanes}
    return near


def _apart(wanted: Sequence[tuple[Item, float]], low: float, high: float) -> dict[Item, float]:
    """The places nearest to the wanted ones, in the sum of squares, that keep the order and the distances."""
    items = [item for item, _ in wanted]
    offsets = [0.0]
    for left, right in pairwise(items):
        offsets.append(offsets[-1] + (left.width + right.width) / 2 + (_GAP if left.width and right.width else _LANE))
    pools: list[tuple[float, float, int]] = []  # mean, weight, size: what would overlap moves together (pool adjacent violators)
    for (item, place), offset in zip(wanted, offsets, strict=True):
        pools.append((place - offset, 1.0 if item.width else _STIFF, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (one, first, few), (two, second, more) = pools[-2:]
            pools[-2:] = [((one * first + two * second) / (first + second), first + second, few + more)]
    low, high = low + items[0].width / 2, high - items[-1].width / 2 - offsets[-1]
    moved = [mean for mean, _, size in pools for _ in range(size)]
    return {item: max(min(place, high), low) + offset for item, place, offset in zip(items, moved, offsets, strict=True)}
