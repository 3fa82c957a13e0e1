"""Plain tokenizers: a token for every byte, or a token for every character.

    "née"  ->  [110, 195, 169, 101]  by bytes        "née"  ->  [1, 2, 0]  by the characters "ené"

They need no training. `ByteTokenizer` encodes any text with 256 tokens; `CharacterTokenizer` gives shorter sequences, but
encodes only the characters it knows. Special tokens and decoding are in `tokenizer`.
"""

from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from samebits.text.tokenizer import Int64, Special, Tokenizer, escaped

__all__ = ["ByteTokenizer", "CharacterTokenizer"]


class ByteTokenizer(Tokenizer):
    """A token for every byte, with the byte's value as its id. Any bytes can be encoded.

    Args:
        special_tokens: Special tokens, with or without their ids; see `Tokenizer`.

    Example:
        >>> ByteTokenizer().encode("né").tolist()
        [110, 195, 169]
    """

    def __init__(self, special_tokens: Special = ()) -> None:
        super().__init__({byte: bytes([byte]) for byte in range(256)}, special_tokens)

    def _encode(self, text: str) -> Int64:
        return np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8).astype(np.int64)


class CharacterTokenizer(Tokenizer):
    """A token for every character; its id is its position in ``characters``.

    `encode` raises ValueError for a character that is not in the vocabulary.

    Args:
        characters: The characters of the vocabulary, each once.
        special_tokens: Special tokens, with or without their ids; see `Tokenizer`.

    Raises:
        TypeError: ``characters`` is not a str.
        ValueError: a character appears twice, or is a lone surrogate.

    Attributes:
        characters: The characters of the vocabulary, by id.

    Example:
        >>> tokenizer = CharacterTokenizer.of(["hello", "world"])
        >>> tokenizer.characters
        'dehlorw'
        >>> tokenizer.encode("hold").tolist()
        [2, 4, 3, 0]
    """

    def __init__(self, characters: str, special_tokens: Special = ()) -> None:
        if not isinstance(characters, str):
            raise TypeError(f"CharacterTokenizer: characters must be a str, got {type(characters).__name__}")
        self.characters = escaped("CharacterTokenizer", characters)
        self._codes = _codes(characters)
        self._order = np.argsort(self._codes, kind="stable")
        self._sorted = self._codes[self._order]
        twice = np.flatnonzero(self._sorted[1:] == self._sorted[:-1])
        if twice.size:
            raise ValueError(f"CharacterTokenizer: characters must be different, got {chr(self._sorted[twice[0]])!r} twice")
        super().__init__({id_: character.encode() for id_, character in enumerate(characters)}, special_tokens)

    @classmethod
    def of(cls, texts: Iterable[str], special_tokens: Sequence[str] = ()) -> Self:
        """The tokenizer of all characters in ``texts``, ordered by code point.

        Raises:
            TypeError: ``texts`` is a single str, or has something that is not a str.
        """
        if isinstance(texts, str):
            raise TypeError("CharacterTokenizer.of: texts must be an iterable of str such as [text], got a single str")
        found: set[str] = set()
        for number, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"CharacterTokenizer.of: texts[{number}] must be a str, got {type(text).__name__}")
            found |= set(text)
        return cls("".join(sorted(found)), special_tokens)

    def _encode(self, text: str) -> Int64:
        codes = _codes(text)
        places = np.searchsorted(self._sorted, codes)
        places[places == len(self._sorted)] = 0
        missing = self._sorted[places] != codes if len(self._sorted) else np.ones(len(codes), np.bool_)
        if missing.any():
            place = int(missing.argmax())
            raise ValueError(
                f"encode: text must contain only the {len(self._codes)} characters of the vocabulary, "
                f"got {text[place]!r} at character {place}"
            )
        return self._order[places].astype(np.int64)


def _codes(text: str) -> npt.NDArray[np.uint32]:
    """The code point of each character."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint32)
