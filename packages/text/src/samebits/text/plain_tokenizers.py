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

    `encode` raises ValueError for a character that is not in the vocabulary, or leaves it out with ``errors="ignore"``.

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
        codes = _codes(characters)
        self._ids = np.full(int(codes.max(initial=0)) + 2, -1, np.int64)  # by code point; the last one is that of all larger ones
        for id_, code in enumerate(codes.tolist()):
            if self._ids[code] >= 0:
                raise ValueError(f"CharacterTokenizer: characters must be different, got {chr(code)!r} twice")
            self._ids[code] = id_
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
        ids = self._looked_up(text)
        return ids[ids >= 0]

    def _unknown(self, text: str) -> int | None:
        unknown = self._looked_up(text) < 0
        return int(unknown.argmax()) if unknown.any() else None

    def _looked_up(self, text: str) -> Int64:
        """The id of each character, -1 where it has none."""
        found: Int64 = self._ids.take(_codes(text), mode="clip")
        return found


def _codes(text: str) -> npt.NDArray[np.uint32]:
    """The code point of each character."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint32)
