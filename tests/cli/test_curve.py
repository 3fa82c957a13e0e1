"""The loss curve, in the terminal and as a picture."""

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samebits.cli.curve import draw, running_mean, sketch

pytestmark = pytest.mark.once

POINTS = st.lists(st.floats(0, 20, allow_nan=False), min_size=1, max_size=300).map(lambda x: list(enumerate(x)))


@given(POINTS, st.integers(1, 80), st.integers(1, 20))
def test_a_sketch_has_the_size_that_was_asked_for(points, width: int, height: int) -> None:
    lines = sketch(points, width=width, height=height)
    assert len(lines) == height + 1 and lines[-1].endswith(f"└0 … {points[-1][0]}")
    margin = len(lines[0]) - len(lines[0].split(" ┤")[1]) if " ┤" in lines[0] else 0
    assert all(len(line) <= margin + width for line in lines[:-1])
    assert any(0x2800 < ord(character) < 0x2900 for line in lines for character in line)


def test_nothing_has_no_sketch() -> None:
    assert sketch([]) == []


@given(st.lists(st.integers(-5, 5), max_size=30), st.integers(1, 9))
def test_the_running_mean_is_that_of_a_centered_window(values: list[int], width: int) -> None:
    found = running_mean(values, width)
    for i, mean in enumerate(found):
        reach = min(width // 2, i, len(values) - 1 - i)
        window = values[i - reach : i + reach + 1]
        assert abs(mean - sum(window) / len(window)) < 1e-12


def test_the_running_mean_of_a_straight_line_is_the_line() -> None:
    assert running_mean([float(i) for i in range(50)], 9) == [float(i) for i in range(50)]


def test_a_picture_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"draw: path must end in \.svg or \.png, got loss\.jpeg"):
        draw(Path("loss.jpeg"), [(1, 2.0)], [], title="")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_same_points_give_the_same_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    training, validation = [(i, 4.0 / (i + 1)) for i in range(1, 50)], [(0, 4.0), (49, 0.1)]
    for name in ("a.svg", "b.svg", "a.png"):
        draw(tmp_path / name, training, validation, title="small")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG") and len(list(tmp_path.iterdir())) == 3


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_title_is_shown_as_it_is_and_never_breaks_the_file(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw(tmp_path / "loss.svg", [(1, 2.0)], [], title="run\x1b]0;x\x07 <$a_b$ & c>")
    assert r"run\x1b]0;x\x07 <$a_b$ & c>" in ET.parse(tmp_path / "loss.svg").getroot().itertext()


def test_without_matplotlib_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match="matplotlib"):
        draw(tmp_path / "loss.svg", [(1, 2.0)], [], title="")
