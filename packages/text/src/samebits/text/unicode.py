r"""Unicode classes, pinned to one version, and the words that the patterns of GPT-2 and of newer models split text into.

Python's own tables grow with its version, and one more letter would change token ids. These tables are those of Unicode
16.0.0, which tiktoken and Hugging Face `tokenizers` use. A pattern depends only on the classes of characters, such as GPT-2's:

    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

so it is matched on an ASCII stand-in of the text: every letter beyond ASCII becomes ``A``, every number ``0``, white space
a line feed or a tab, everything else ``!``. Sources: Radford et al., Language Models are Unsupervised Multitask Learners (2019),
and the code published with it; the patterns of Llama 3 and Qwen2 are in their files. `bytepair` makes tokens of the words.
"""

import functools
import itertools
import re
import unicodedata
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from samebits.text import unicode_table

__all__ = ["PATTERNS", "UNICODE_VERSION", "is_part_of_word", "nfc", "ranges", "stand_in", "words"]

UNICODE_VERSION = unicode_table.VERSION

_STAND_IN = {"A": unicode_table.LETTERS, "0": unicode_table.NUMBERS, "\n": unicode_table.SPACES}
_NEWER = (  # the pattern of Llama 3 and Qwen2, with the numbers of each
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\nA-Za-z0-9]?[A-Za-z]++|{numbers}| ?[^\sA-Za-z0-9]++[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# \s is the six characters of ASCII that have the property White_Space
_SPLITS = {
    "gpt2": re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]++| ?[0-9]++| ?[^\sA-Za-z0-9]++|\s+(?!\S)|\s+", re.ASCII),
    # every digit is a word, without the space before it, and white space ends at a digit as at the end of the text
    "smollm": re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]++|[0-9]| ?[^\sA-Za-z0-9]++|\s+(?![^\s0-9])|\s+", re.ASCII),
    "llama-bpe": re.compile(_NEWER.replace("{numbers}", "[0-9]{1,3}"), re.ASCII),
    "qwen2": re.compile(_NEWER.replace("{numbers}", "[0-9]"), re.ASCII),
}
PATTERNS = tuple(_SPLITS)
"""The names of the patterns, as in GGUF files."""

# a part of a word: of a contraction, of a run with the space before it, or of white space
_PART = re.compile(r"'(?:[sdmt]|ll?|ve?|re?)| ?(?:[A-Za-z]*|[0-9]*|[^\sA-Za-z0-9]*)|\s*", re.ASCII)
_PIECE = 2**12  # characters at once: the list of their words stays in a core's cache, and many pieces are pure ASCII
# where a new word starts in every pattern, so text can be cut between the two
_CUT = re.compile(r"[!-~](?= )|[0-9A-Za-z](?=\n)")


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
def _table(*, newlines: bool) -> npt.NDArray[np.uint8]:
    """The stand-in of every code point: 1.1 MB, made for the first text that is not ASCII.

    With ``newlines`` a line feed stands for itself alone, and the long s for the s of contractions, which ignore case.
    """
    table = np.full(0x110000, ord("!"), np.uint8)
    for character, runs in _STAND_IN.items():
        for first, last in ranges(runs):
            table[first : last + 1] = ord(character)
    if newlines:
        table[table == ord("\n")] = ord("\t")
        table[ord("ſ")] = ord("s")
    table[:128] = np.arange(128, dtype=np.uint8)
    return table


def stand_in(text: str, *, newlines: bool = False) -> str:
    r"""Replace every character beyond ASCII with an ASCII character of the same class.

    Letters (``\p{L}``) become ``A``, numbers (``\p{N}``) ``0``, white space (``\s``) a line feed, or a tab with ``newlines``,
    all others ``!``.

    Example:
        >>> stand_in("naïve – 二〇 ½!")
        'naAve ! A0 0!'
    """
    if text.isascii():
        return text
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    letters: bytes = _table(newlines=newlines)[codes].tobytes()
    return letters.decode("ascii")


def words(text: str, pattern: str = "gpt2") -> Iterator[list[str]]:
    r"""Split text into the words of a pattern, as an iterator of lists of words; joined they give the text.

    Lone surrogates have the class "others". Time is linear in the length of the text.

    Args:
        text: The text.
        pattern: The name of the pattern, one of `PATTERNS`. ``"smollm"`` is GPT-2's on the text between digits (``\p{N}``), each
            of which is a word of its own: ``Digits(individual_digits=True)`` of Hugging Face `tokenizers` in front.

    Raises:
        ValueError: ``pattern`` is not the name of a pattern.

    Example:
        >>> for pattern in PATTERNS:
        ...     print([word for piece in words("It's (at) 1984  AD.\n", pattern) for word in piece])
        ['It', "'s", ' (', 'at', ')', ' 1984', ' ', ' AD', '.', '\n']
        ['It', "'s", ' (', 'at', ')', ' ', '1', '9', '8', '4', ' ', ' AD', '.', '\n']
        ['It', "'s", ' (', 'at', ')', ' ', '198', '4', ' ', ' AD', '.\n']
        ['It', "'s", ' (', 'at', ')', ' ', '1', '9', '8', '4', ' ', ' AD', '.\n']
    """
    require_pattern("words", pattern)
    return _words(text, _SPLITS[pattern], newlines=pattern in {"llama-bpe", "qwen2"})


def require_pattern(function: str, pattern: str) -> str:
    """Require the name of a pattern, and return it."""
    if pattern not in _SPLITS:
        raise ValueError(f"{function}: pattern must be one of {', '.join(map(repr, PATTERNS))}, got {pattern!r}")
    return pattern


def _words(text: str, split: re.Pattern[str], *, newlines: bool) -> Iterator[list[str]]:
    start = 0
    while start < len(text):
        cut = _CUT.search(text, start + _PIECE)
        end = cut.end() if cut else len(text)
        piece = text[start:end]
        found: list[str] = split.findall(stand_in(piece, newlines=newlines))
        if not piece.isascii():
            ends = [0, *itertools.accumulate(map(len, found))]
            found = [piece[first:last] for first, last in itertools.pairwise(ends)]
        yield found
        start = end


# what normalization changes and Unicode 9.0 does not have yet, in Unicode up to 17.0, as in `unicode_table`
_NEWER_MARKS = """
7fd 9a+8 2b+9 12b 23e ff+1 17e 85b 3aa+1e 3+b 30b+4 8a32 5d9d 9 8 a 740+3 42+4 13e+1 4e+1 2+2 47+a 32+3 eb 2cb 47+3 6 3 2+1 27
3 7 3 2+2 5+2 8e 3db+1 f6 5 3 5+1 5 9d 54 13 52 2a9 2+1 52 1aa+1 41dc+b 6 c34 4+3 286+1 709e a1+6 178 3e+3 1fd+3 ff+1 f4 3 8+1 6
"""


@functools.cache
def _newer_marks() -> re.Pattern[str]:
    return re.compile(f"([{''.join(f'{chr(first)}-{chr(last)}' for first, last in ranges(_NEWER_MARKS))}]+)")


def nfc(text: str) -> str:
    r"""Unicode's normalization form C, by the tables of Unicode 9.0, as in Hugging Face `tokenizers`.

    Python's tables grow with its version, so the marks that are newer are left as they are, and end what is normalized.

    Example:
        >>> nfc("a\u0308 \u1112\u1161\u11ab"), nfc("a\u089c\u0308")
        ('ä 한', 'a\u089c̈')
    """
    if text.isascii():
        return text
    parts = enumerate(_newer_marks().split(text))
    return "".join(part if number % 2 else unicodedata.normalize("NFC", part) for number, part in parts)


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
