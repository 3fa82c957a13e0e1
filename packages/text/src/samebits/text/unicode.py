r"""Unicode classes, pinned to one version, and the words that GPT-2's pattern splits text into.

Python's own tables grow with its version, and one more letter would change token ids. These tables are those of Unicode
16.0.0, which tiktoken and Hugging Face `tokenizers` use. The pattern depends only on the classes of characters,

    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

so it is matched on an ASCII stand-in of the text: every letter beyond ASCII becomes ``A``, every number ``0``, white space
a line feed, everything else ``!``. Source: Radford et al., Language Models are Unsupervised Multitask Learners (2019), and
the code published with it. `bytepair` makes tokens of the words.
"""

import functools
import itertools
import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from samebits.text import unicode_table

__all__ = ["UNICODE_VERSION", "is_part_of_word", "ranges", "stand_in", "words"]

UNICODE_VERSION = unicode_table.VERSION

_STAND_IN = {"A": unicode_table.LETTERS, "0": unicode_table.NUMBERS, "\n": unicode_table.SPACES}
_SPLIT = re.compile(
    r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]++| ?[0-9]++| ?[^\sA-Za-z0-9]++|\s+(?!\S)|\s+",
    re.ASCII,  # \s is then the six characters of ASCII that have the property White_Space
)
# the same where every digit is a word, without the space before it, and white space ends at a digit as at the end of the text
_SPLIT_DIGITS = re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]++|[0-9]| ?[^\sA-Za-z0-9]++|\s+(?![^\s0-9])|\s+", re.ASCII)
# a part of a word: of a contraction, of a run with the space before it, or of white space
_PART = re.compile(r"'(?:[sdmt]|ll?|ve?|re?)| ?(?:[A-Za-z]*|[0-9]*|[^\sA-Za-z0-9]*)|\s*", re.ASCII)
_PIECE = 2**12  # characters at once: the list of their words stays in a core's cache, and many pieces are pure ASCII
# white space after a visible character always starts a new word, so text can be cut between the two
_CUT = re.compile(r"[!-~](?=[ \n])")


def ranges(runs: str) -> list[tuple[int, int]]:
    """Parse a class of `unicode_table` into the first and last code point of each run.

    Args:
        runs: The class, such as ``unicode_table.LETTERS``.

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
    """The stand-in of every code point: 1.1 MB, made for the first text that is not ASCII."""
    table = np.full(0x110000, ord("!"), np.uint8)
    for character, runs in _STAND_IN.items():
        for first, last in ranges(runs):
            table[first : last + 1] = ord(character)
    table[:128] = np.arange(128, dtype=np.uint8)
    return table


def stand_in(text: str) -> str:
    r"""Replace every character beyond ASCII with an ASCII character of the same class.

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


def words(text: str, *, individual_digits: bool = False) -> Iterator[list[str]]:
    r"""Split text into the words of GPT-2's pattern, as an iterator of lists of words; joined they give the text.

    Lone surrogates have the class "others". Time is linear in the length of the text.

    Args:
        text: The text.
        individual_digits: Whether every character of ``\p{N}`` is a word of its own. The text is split at digits first, as
            by ``Digits(individual_digits=True)`` of Hugging Face `tokenizers`, so no word begins with a space and a digit.

    Example:
        >>> [word for piece in words("It's 10  o'clock, übermorgen.") for word in piece]
        ['It', "'s", ' 10', ' ', ' o', "'", 'clock', ',', ' übermorgen', '.']
        >>> [word for piece in words("at 10  o'clock", individual_digits=True) for word in piece]
        ['at', ' ', '1', '0', ' ', ' o', "'", 'clock']
    """
    split = _SPLIT_DIGITS if individual_digits else _SPLIT
    start = 0
    while start < len(text):
        cut = _CUT.search(text, start + _PIECE)
        end = cut.end() if cut else len(text)
        piece = text[start:end]
        found: list[str] = split.findall(stand_in(piece))
        if not piece.isascii():
            ends = [0, *itertools.accumulate(map(len, found))]
            found = [piece[first:last] for first, last in itertools.pairwise(ends)]
        yield found
        start = end


def is_part_of_word(token: bytes) -> bool:
    r"""Whether bytes may stand inside a word of GPT-2's pattern: a token of another pattern may not.

    Example:
        >>> [is_part_of_word(token) for token in (b" the", b"\n\n", b"'re", "é".encode()[1:], b"(self", b";\n", b"x ")]
        [True, True, True, True, False, False, False]
    """
    text = token.decode("utf-8", "ignore")  # bytes of a character that begins or ends elsewhere may have any class
    stands = stand_in(text)
    inside = stands.startswith(" ") and not token.startswith(b" ")  # only white space goes on with a space
    return _PART.fullmatch(stands) is not None and not (inside and stands.strip())
