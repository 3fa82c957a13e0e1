r"""Data cleaning: small rules from text to text, for `Corpus.clean`, which applies them in order.

    corpus.clean(strip_markdown, strip_trailing_spaces, single_blank_lines)

Every rule takes linear time, and none uses Python's Unicode tables, which change with its version. Text that no rule
mentions is not changed.
"""

import re

__all__ = [
    "single_blank_lines",
    "strip_byte_order_mark",
    "strip_markdown",
    "strip_trailing_spaces",
    "unescape_entities",
    "universal_newlines",
]

# an escaped mark, which stays; that of a heading; asterisks; underscores around a word, but not inside_a_name.
# Every alternative begins with a literal character and looks back after it, so that re can skip to candidates quickly.
_MARKS = re.compile(r"\\([!-/:-@\[-`{-~])|#(?<=^#)#{0,5} +|\*+|_(?<![A-Za-z0-9_]_)_*|_(?<!__)_*+(?![A-Za-z0-9])", re.MULTILINE)
_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'"}


def strip_markdown(text: str) -> str:
    r"""Remove the marks of headings and emphasis, and the backslashes of escaped marks.

    A subset of CommonMark (0.31, sections 2.4, 4.2, 6.2): links, lists, tables and code are not changed.

    Example:
        >>> strip_markdown("# Hamlet\n\n**FRANCISCO**  \n_He draws_ \\[aside\\] snake_case")
        'Hamlet\n\nFRANCISCO  \nHe draws [aside] snake_case'
    """
    return _MARKS.sub(r"\1", text)


def unescape_entities(text: str) -> str:
    """Replace the five entities of XML (1.0, section 4.6) with their characters, once.

    Example:
        >>> unescape_entities("this &amp; that, &amp;lt;")
        'this & that, &lt;'
    """
    return re.sub("|".join(_ENTITIES), lambda found: _ENTITIES[found[0]], text)


def universal_newlines(text: str) -> str:
    r"""End every line with ``\n`` instead of ``\r\n`` (Windows) or ``\r`` (classic Mac OS).

    Example:
        >>> universal_newlines("one\r\ntwo\rthree")
        'one\ntwo\nthree'
    """
    return text.replace("\r\n", "\n").replace("\r", "\n")


def strip_byte_order_mark(text: str) -> str:
    r"""Remove the byte order mark U+FEFF that some editors write at the start of a file.

    Example:
        >>> strip_byte_order_mark("\ufeffonce")
        'once'
    """
    return text.removeprefix("\ufeff")


def strip_trailing_spaces(text: str) -> str:
    r"""Remove spaces and tabs at the ends of lines.

    Example:
        >>> strip_trailing_spaces("one  \n two \t")
        'one\n two'
    """
    return "\n".join(line.rstrip(" \t") for line in text.split("\n"))


def single_blank_lines(text: str) -> str:
    r"""Reduce several empty lines to one, remove those at the start, and end the text with one line end.

    Example:
        >>> single_blank_lines("\n\none\n\n\n\ntwo\n\n")
        'one\n\ntwo\n'
    """
    text = re.sub(r"\n{3,}", "\n\n", text.strip("\n"))
    return text + "\n" if text else ""
