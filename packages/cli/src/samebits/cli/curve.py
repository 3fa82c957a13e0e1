"""The loss curve: the loss of each training step, as a picture and in the terminal.

`draw` writes an SVG or PNG file with matplotlib; `sketch` returns lines of Braille characters, each two dots wide and four high.
The picture has the noisy loss of each step as a pale line, its running mean over a fiftieth of the run as a strong one, and the
validation losses as dots, all on a light card, so that it can be read on dark pages too.
"""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from samebits.core.files import replace_file
from samebits.core.records import visible

__all__ = ["draw", "running_mean", "sketch"]

Points = Sequence[tuple[int, float]]

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # of a Braille character: by column, from the top
_LABEL = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
_STYLE = {"svg.hashsalt": "samebits", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10}


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """The mean of each value and up to ``width // 2`` neighbors on either side.

    The window is centered, so the mean does not lag behind the values. Near the ends it shrinks on both sides alike.

    Example:
        >>> running_mean([4.0, 2.0, 0.0, 1.0], 3)
        [4.0, 2.0, 1.0, 1.0]
    """
    sums, last = [0.0, *accumulate(values)], len(values) - 1
    reach = [min(width // 2, i, last - i) for i in range(len(values))]
    return [(sums[i + r + 1] - sums[i - r]) / (2 * r + 1) for i, r in enumerate(reach)]


def sketch(points: Points, *, width: int = 60, height: int = 10) -> list[str]:
    r"""The curve through (step, loss) points in ``height`` lines of ``width`` characters, with labels at the ends of the axes.

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
    """Write the curve to ``path``, as SVG or PNG according to its suffix; the same points give the same SVG.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: The suffix is another one.
    """
    if path.suffix not in {".svg", ".png"}:
        raise ValueError(f"draw: path must end in .svg or .png, got {path}")
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with mpl.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(8, 4), layout=ConstrainedLayoutEngine(w_pad=0.16, h_pad=0.14))
        _card(figure)
        steps, losses = [step for step, _ in training], [loss for _, loss in training]
        axes.plot(steps, losses, color="#9ecae1", linewidth=0.8, label="training, each step")
        axes.plot(steps, running_mean(losses, max(1, len(losses) // 50)), color="#2171b5", linewidth=1.8, label="training, mean")
        axes.plot(*_columns(validation), "o-", color="#d94801", markersize=3.5, linewidth=1, label="validation")
        for step, loss in validation[-1:]:
            axes.annotate(
                f"{loss:.3f}", (step, loss), (0, 10), textcoords="offset points", ha="right", color="#d94801", bbox=_LABEL
            )
        axes.set_title(visible(title), parse_math=False)  # XML has no control characters, and "$" is no formula
        axes.set(xlabel="step", ylabel="loss, nats per token")
        axes.grid(color="#e5e5e5", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        metadata: dict[str, Any] = {"Date": None} if path.suffix == ".svg" else {}
        with replace_file(path) as file:
            figure.savefig(file, format=path.suffix[1:], metadata=metadata, dpi=150)
        plt.close(figure)


def _card(figure: Any) -> None:
    """Give a figure a white background with rounded corners and a thin border."""
    from matplotlib.patches import FancyBboxPatch

    figure.patch.set_visible(False)
    inches = figure.dpi_scale_trans
    width, height = figure.get_size_inches()
    rounded = "round,pad=0,rounding_size=0.1"
    card = FancyBboxPatch(
        (0.01, 0.01), width - 0.02, height - 0.02, rounded, transform=inches, fc="white", ec="#d0d7de", zorder=-1
    )
    figure.add_artist(card)


def _columns(points: Points) -> tuple[list[int], list[float]]:
    return [step for step, _ in points], [value for _, value in points]
