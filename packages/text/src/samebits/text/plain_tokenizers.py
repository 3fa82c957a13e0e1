"""Plain tokenizers: a token for every byte, or for every character.

    "né"  ->  [110, 195, 169]  by bytes        "né"  ->  [0, 1]  by the characters "né"

They need no training. `ByteTokenizer` encodes anything in 256 tokens; `CharacterTokenizer` gives shorter sequences, but
encodes only texts of its own characters. `tokenizer` handles special tokens and decoding.
"""

from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from samebits.text.tokenizer import Int64, Special, Tokenizer, escaped

__all__ = ["ByteTokenizer", "CharacterTokenizer"]


class ByteTokenizer(Tokenizer):
    """Every byte is a token, and its value the id. Any bytes can be encoded.

    Args:
        special_tokens: Special tokens, with their ids or without; see `Tokenizer`.

    Example:
        >>> ByteTokenizer().encode("né").tolist()
        [110, 195, 169]
    """

    def __init__(self, special_tokens: Special = ()) -> None:
        super().__init__({byte: bytes([byte]) for byte in range(256)}, special_tokens)

    def _encode(self, text: str) -> Int64:
        return np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8).astype(np.int64)


class CharacterTokenizer(Tokenizer):
    """Every character is a token; its id is its place in ``characters``.

    Args:
        characters: The characters there are, each once.
        special_tokens: Special tokens, with their ids or without; see `Tokenizer`.

    Raises:
        ValueError: a character appears twice, or is a lone surrogate.

    Example:
        >>> tokenizer = CharacterTokenizer.of(["hello", "world"])
        >>> tokenizer.characters
        'dehlorw'
        >>> tokenizer.encode("hold").tolist()
        [2, 4, 3, 0]
    """

    def __init__(self, characters: str, special_tokens: Special = ()) -> None:
        if not isinstance(characters, str):
            raise TypeError(f"characters is of type {type(characters).__name__}: str is needed")
        self.characters = escaped(characters)
        self._codes = _codes(characters)
        self._order = np.argsort(self._codes, kind="stable")
        self._sorted = self._codes[self._order]
        twice = np.flatnonzero(self._sorted[1:] == self._sorted[:-1])
        if twice.size:
            raise ValueError(f"characters has {chr(self._sorted[twice[0]])!r} twice")
        super().__init__({id_: character.encode() for id_, character in enumerate(characters)}, special_tokens)

    @classmethod
    def of(cls, texts: Iterable[str], special_tokens: Sequence[str] = ()) -> Self:
        """The tokenizer of all characters in ``texts``, in the order of their code points."""
        if isinstance(texts, str):
            raise TypeError("texts is one str: an iterable of texts is needed, such as [text]")
        found: set[str] = set()
        for text in texts:
            found |= set(text)
        return cls("".join(sorted(found)), special_tokens)

    def _encode(self, text: str) -> Int64:
        """As `Tokenizer` says; ValueError for a character that is not one of the vocabulary's."""
        codes = _codes(text)
        places = np.searchsorted(self._sorted, codes)
        places[places == len(self._sorted)] = 0
        missing = self._sorted[places] != codes if len(self._sorted) else np.ones(len(codes), np.bool_)
        if missing.any():
            place = int(missing.argmax())
            raise ValueError(f"text has {text[place]!r} at character {place}: it is not one of the {len(self._codes)} characters")
        return self._order[places].astype(np.int64)


def _codes(text: str) -> npt.NDArray[np.uint32]:
    """The code point of each character."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint32)
