"""Text in pictures: how wide it is at most, so that it can be kept inside its box whatever sans-serif font the viewer has."""

from html import escape

__all__ = ["INK", "PALE", "text", "width"]

INK, PALE = "#33333b", "#5d5d68"

# Widths in DejaVu Sans, the widest of the usual sans-serif fonts, in hundredths of the font size.
_NARROW = {**dict.fromkeys("ijlI'|.,:;!", 34), **dict.fromkeys("frt()[]-/ ·", 42), **dict.fromkeys("mwMW@%", 98), "_": 52}
_BOLD = 1.12


def width(words: str, size: float, *, bold: bool = False) -> float:
    """How wide a text is at most, in the unit of ``size``.

    Example:
        >>> round(width("attention", 10), 1)
        52.2
    """
    hundredths = sum(_NARROW.get(letter, 78 if letter.isupper() else 64) for letter in words)
    return hundredths * size / 100 * (_BOLD if bold else 1)


def text(x: float, y: float, words: str, fill: str, *, size: float, bold: bool = False, fit: float = 0.0, extra: str = "") -> str:
    """A text element about ``x``, in a smaller size where it would be wider than ``fit``."""
    if fit and (wide := width(words, size, bold=bold)) > fit:
        size = int(size * fit / wide * 10) / 10
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" font-size="{size:g}"{weight}{extra}>{escape(words)}</text>'
