r"""Unicode classes, pinned to one version, and the words that GPT-2's pattern cuts a text into.

Python's own tables grow with every Python, and a letter more would change token ids. These are Unicode 16.0.0's, which
tiktoken and Hugging Face `tokenizers` use. The pattern needs nothing else of a character than its class,

    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

so it is matched on a stand-in of the text, ASCII alone: every letter beyond ASCII becomes ``A``, every number ``0``, all
white space a line feed, everything else ``!``. Source: Radford et al., Language Models are Unsupervised Multitask
Learners (2019), and the code published with it. Which words make tokens is left to `bytepair` and `tokenizer`.
"""

import functools
import itertools
import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from samebits.text import unicode_table

__all__ = ["UNICODE_VERSION", "ranges", "stand_in", "words"]

UNICODE_VERSION = unicode_table.VERSION

_STAND_IN = {"A": unicode_table.LETTERS, "0": unicode_table.NUMBERS, "\n": unicode_table.SPACES}
_SPLIT = re.compile(
    r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]++| ?[0-9]++| ?[^\sA-Za-z0-9]++|\s+(?!\S)|\s+",
    re.ASCII,  # \s is then the six characters of ASCII that have the property White_Space
)
_PIECE = 2**12  # characters at once: the list of their words stays in a core's cache, and many pieces are ASCII alone
# a word may begin with white space but goes on only with more: between these two every text can be cut
_CUT = re.compile(r"[!-~](?=[ \n])")


def ranges(runs: str) -> list[tuple[int, int]]:
    """The first and the last code point of each run of a class, in order.

    Args:
        runs: A class of `unicode_table`.

    Example:
        >>> ranges("41+19 7+19 30")  # A to Z, a to z, and the feminine ordinal
        [(65, 90), (97, 122), (170, 170)]
    """
    found, end = [], 0
    for run in runs.split():
        distance, more = f"{run}+0".split("+")[:2]
        first = end + int(distance, 16)
        end = first + int(more, 16)
        found.append((first, end))
    return found


@functools.cache
def _table() -> npt.NDArray[np.uint8]:
    """The stand-in of every code point: 1.1 MB, made when the first text beyond ASCII comes."""
    table = np.full(0x110000, ord("!"), np.uint8)
    for character, runs in _STAND_IN.items():
        for first, last in ranges(runs):
            table[first : last + 1] = ord(character)
    table[:128] = np.arange(128, dtype=np.uint8)
    return table


def stand_in(text: str) -> str:
    r"""The text with every character beyond ASCII replaced by one of ASCII that has the same class.

    Letters (``\p{L}``) become ``A``, numbers (``\p{N}``) ``0``, white space (``\s``) a line feed, all others ``!``.

    Example:
        >>> stand_in("naïve – 二〇 ½!")
        'naAve ! A0 0!'
    """
    if text.isascii():
        return text
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    letters: bytes = _table()[codes].tobytes()
    return letters.decode("ascii")


def words(text: str) -> Iterator[list[str]]:
    r"""Cut a text into the words of GPT-2's pattern: lists of them, one after the other, that join to the text.

    Lone surrogates have the class "others". Time and memory grow with the length of the text, not faster.

    Example:
        >>> [word for piece in words("It's 10  o'clock, übermorgen.") for word in piece]
        ['It', "'s", ' 10', ' ', ' o', "'", 'clock', ',', ' übermorgen', '.']
    """
    start = 0
    while start < len(text):
        cut = _CUT.search(text, start + _PIECE)
        end = cut.end() if cut else len(text)
        piece = text[start:end]
        found: list[str] = _SPLIT.findall(stand_in(piece))
        if not piece.isascii():
            ends = [0, *itertools.accumulate(map(len, found))]
            found = [piece[first:last] for first, last in itertools.pairwise(ends)]
        yield found
        start = end
