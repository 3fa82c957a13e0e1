"""The loss curve: what training cost at each step, as a picture and in the terminal.

`draw` writes it as SVG or PNG with matplotlib, `sketch` as lines of Braille dots, two dots across and four down to a character.
The training loss is noisy, so the picture shows it light and its running mean, over a fiftieth of the run, strong; the dots are the
evaluations on text that was not trained on.
"""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from samebits.core.files import replace_file

__all__ = ["draw", "running_mean", "sketch"]

Points = Sequence[tuple[int, float]]

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # of a Braille character: by column, from the top
_STYLE = {"svg.hashsalt": "samebits", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10}


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """The mean of each value and the ``width - 1`` before it, fewer at the start.

    Example:
        >>> running_mean([4.0, 2.0, 0.0], 2)
        [4.0, 3.0, 1.0]
    """
    sums = [0.0, *accumulate(values)]
    return [(sums[i + 1] - sums[max(0, i + 1 - width)]) / min(i + 1, width) for i in range(len(values))]


def sketch(points: Points, *, width: int = 60, height: int = 10) -> list[str]:
    r"""The curve through (step, loss) points in ``height`` lines of ``width`` characters, with its axes' ends.

    Example:
        >>> print("\n".join(sketch([(0, 4.0), (10, 1.0)], width=6, height=2)))
        4.00 ┤⠑⠢⣀
        1.00 ┤   ⠉⠢⢄
             └0 … 10
    """
    if not points:
        return []
    across, down = width * 2, height * 4
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1)
    losses = [loss for _, loss in points]
    low, high = min(losses), max(losses)
    places = [
        (round((step - first) / (last - first) * (across - 1)), round((high - loss) / ((high - low) or 1.0) * (down - 1)))
        for step, loss in points
    ]
    cells = [[0] * width for _ in range(height)]
    for (x, y), (other_x, other_y) in zip(places, places[1:] or places, strict=False):
        count = max(abs(other_x - x), abs(other_y - y), 1)
        for i in range(count + 1):
            column, row = x + round((other_x - x) * i / count), y + round((other_y - y) * i / count)
            cells[row // 4][column // 2] |= _DOTS[column % 2][row % 4]
    labels = [f"{high:.2f}", *[""] * (height - 2), f"{low:.2f}"] if height > 1 else [f"{high:.2f}"]
    margin = max(map(len, labels))
    lines = ["".join(chr(0x2800 + dots) if dots else " " for dots in row).rstrip() for row in cells]
    drawn = [f"{label:>{margin}} {'┤' if label else '│'}{line}" for label, line in zip(labels, lines, strict=True)]
    return [*drawn, f"{'':>{margin}} └{first} … {points[-1][0]}"]


def draw(path: Path, training: Points, validation: Points, *, title: str) -> None:
    """Write the curve to ``path``, as SVG or PNG by its ending; the same points give the same bytes of SVG.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: ``path`` ends otherwise.
    """
    if path.suffix not in {".svg", ".png"}:
        raise ValueError(f"path is {path}: a name that ends in .svg or .png is needed")
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    with mpl.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
        steps, losses = [step for step, _ in training], [loss for _, loss in training]
        axes.plot(steps, losses, color="#9ecae1", linewidth=0.8, label="training, each step")
        axes.plot(steps, running_mean(losses, max(1, len(losses) // 50)), color="#2171b5", linewidth=1.8, label="training, mean")
        axes.plot(*_columns(validation), "o-", color="#d94801", markersize=4, linewidth=1, label="validation")
        for step, loss in validation[-1:]:
            axes.annotate(f"{loss:.3f}", (step, loss), (0, 8), textcoords="offset points", ha="right", color="#d94801")
        axes.set(title=title, xlabel="step", ylabel="loss, nats per token")
        axes.grid(color="#e5e5e5", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        metadata: dict[str, Any] = {"Date": None} if path.suffix == ".svg" else {}
        with replace_file(path) as file:
            figure.savefig(file, format=path.suffix[1:], metadata=metadata, dpi=150)
        plt.close(figure)


def _columns(points: Points) -> tuple[list[int], list[float]]:
    return [step for step, _ in points], [value for _, value in points]
