"""Rank files: a vocabulary as tiktoken publishes it, a line for each token.

    dGhl 1169        the token b"the" in Base64, and its rank, which is its id

`BytePairTokenizer.from_ranks` makes a tokenizer of the ranks; `tokenizer_file` has the other format.
"""

import binascii
import codecs
import os
import re
from os import PathLike
from pathlib import Path

from samebits.core.files import require_file
from samebits.text.file_kinds import RANKS, file_kind
from samebits.text.tokenizer_file import TokenizerFileError

__all__ = ["load_ranks"]

_RANK = re.compile(rb"([A-Za-z0-9+/]+={0,2}) ([0-9]{1,9})")


def load_ranks(path: str | PathLike[str]) -> dict[bytes, int]:
    r"""Load a file of ranks as tiktoken uses them: a line for each token, with its bytes in Base64 and its rank.

    Args:
        path: The file to read.

    Returns:
        The rank of each token, for `BytePairTokenizer.from_ranks`.

    Raises:
        OSError: the file cannot be read.
        TokenizerFileError: a line has another form, or a token or a rank appears twice. The message says which line.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "few.tiktoken").write_text("YQ== 0\nYWI= 1\n")
        ...     load_ranks(Path(folder, "few.tiktoken"))
        {b'a': 0, b'ab': 1}
    """
    require_file(path)
    data = Path(path).read_bytes()
    kind = file_kind(data)
    if kind not in {None, RANKS}:
        raise TokenizerFileError(f"{os.fspath(path)}: this is {kind}, not {RANKS}")
    ranks: dict[bytes, int] = {}
    seen: set[int] = set()
    for number, line in enumerate(data.removeprefix(codecs.BOM_UTF8).splitlines(), 1):
        if not line:
            continue
        form = _RANK.fullmatch(line)
        if form is None:
            raise TokenizerFileError(
                f"{os.fspath(path)}: line {number} must be a token in Base64 and its rank, got {line[:80]!r}"
            )
        try:
            token, rank = binascii.a2b_base64(form[1], strict_mode=True), int(form[2])
        except binascii.Error as error:
            raise TokenizerFileError(
                f"{os.fspath(path)}: line {number} must be valid Base64, got {line[:80]!r}: {error}"
            ) from error
        if token in ranks or rank in seen:
            raise TokenizerFileError(f"{os.fspath(path)}: line {number} must have a new token and a new rank, got {line[:80]!r}")
        ranks[token] = rank
        seen.add(rank)
    return ranks
