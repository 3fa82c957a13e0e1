"""Byte pair tokenizer: from text to token ids by merges of bytes, and back.

    text  ->  special tokens set apart  ->  words  ->  bytes  ->  symbols, by merges  ->  ids, int64

The vocabulary is trained here, or GPT-2's, or read from a file. `tokenizer` handles special tokens and decoding, `unicode`
splits words, `bytepair` trains and merges, and `tokenizer_file` reads and writes files.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Self

import numpy as np

from samebits.text import bytepair
from samebits.text.bytepair import Merger, Pair
from samebits.text.tokenizer import Int64, Special, Tokenizer, first_surrogate
from samebits.text.unicode import words

__all__ = ["BytePairTokenizer"]

_KEPT = 2**17  # words whose ids a tokenizer remembers
_LONG = 64  # characters: longer words hardly come again
_SPACE = b" \n\t"


class BytePairTokenizer(Tokenizer):
    """Byte pair encoding of the words of GPT-2's pattern.

    Any bytes can be encoded. Those that are not UTF-8 are treated as tiktoken treats them: what follows the last word
    before the first such byte, that word included, is one word.

    Args:
        merges: Pairs of symbols, as `bytepair.learn` gives them.
        special_tokens: Special tokens, with their ids or without; see `Tokenizer`.
        ids: The id of each symbol; the symbol itself if None.

    Raises:
        ValueError: a merge is wrong (see `bytepair.Merger`), or the ids are (see `Tokenizer`).

    Attributes:
        ids: The id of each symbol.

    Example:
        >>> tokenizer = BytePairTokenizer.train(["low lower lowest"], 261, special_tokens=["<|end|>"])
        >>> ids = tokenizer.encode("lowest<|end|>", allowed_special="all")
        >>> [tokenizer.tokens[i] for i in ids]
        [b'low', b'e', b's', b't', b'<|end|>']
        >>> tokenizer.decode(ids)
        'lowest<|end|>'
    """

    def __init__(self, merges: Iterable[Pair], special_tokens: Special = (), ids: Sequence[int] | None = None) -> None:
        self._merger = Merger(merges)
        spellings = self._merger.spellings
        self.ids = tuple(range(len(spellings)) if ids is None else ids)
        if len(self.ids) != len(spellings):
            raise ValueError(f"ids are {len(self.ids)}: {len(spellings)} are needed, one for each byte and each merge")
        owners = dict(zip(self.ids, spellings, strict=True))
        for id_, spelling in zip(self.ids, spellings, strict=True):
            if owners[id_] != spelling:
                raise ValueError(f"ids give {spelling!r} and {owners[id_]!r} the same id, {id_}")
        super().__init__(owners, special_tokens)
        self._words = _Words(self._encode_word)

    @classmethod
    def train(
        cls,
        texts: Iterable[str | bytes] | Mapping[bytes, int],
        vocabulary_size: int,
        special_tokens: Sequence[str] = (),
        progress: Callable[[int, int], object] | None = None,
    ) -> Self:
        """Train a vocabulary: the 256 bytes, then merges, then the special tokens; see `bytepair.train`.

        Args:
            texts: Texts, whose words are counted, or words with their counts.
            vocabulary_size: The number of all tokens, the special ones included. It stays smaller if no pair is left.
            special_tokens: Names of special tokens.
            progress: Called with the number of merges found and wanted; what it raises ends the training.

        Raises:
            ValueError: ``vocabulary_size`` is too small for the bytes and the special tokens.
        """
        if vocabulary_size < 256 + len(special_tokens):
            raise ValueError(
                f"vocabulary_size is {vocabulary_size}: at least {256 + len(special_tokens)} is needed, "
                f"for 256 bytes and {len(special_tokens)} special tokens"
            )
        return cls(bytepair.train(texts, vocabulary_size - len(special_tokens), progress), special_tokens)

    @classmethod
    def from_ranks(cls, ranks: Mapping[bytes, int], special_tokens: Special = ("<|endoftext|>",)) -> Self:
        """A tokenizer from tokens and their ranks, as tiktoken has them for GPT-2; the rank is the id.

        tiktoken joins any neighbours whose bytes together are a token, the lowest rank first. For each token there is
        just one pair of neighbours that this rule can come to, for a token's own bytes are joined in the same way wherever
        they stand. That pair is the token's merge.

        Raises:
            ValueError: a byte has no rank, or a token cannot be made of two that rank before it.

        Example:
            >>> ranks = {bytes([byte]): byte for byte in range(256)} | {b"lo": 256, b"low": 257}
            >>> BytePairTokenizer.from_ranks(ranks).encode("lowlo").tolist()
            [257, 256]
        """
        for byte in bytepair.BYTES:
            if bytes([byte]) not in ranks:
                raise ValueError(f"ranks lack the byte {bytes([byte])!r}: all 256 are needed")
        merger = Merger()
        ids = [ranks[spelling] for spelling in merger.spellings]
        for token in sorted(ranks, key=ranks.__getitem__):
            if len(token) == 1:
                continue
            parts = merger(token)
            if len(parts) != 2:
                raise ValueError(f"ranks give {token!r} the rank {ranks[token]}, but {len(parts)} earlier tokens make it: not 2")
            merger.add((parts[0], parts[1]))
            ids.append(ranks[token])
        return cls(merger.merges, special_tokens, ids)

    @property
    def merges(self) -> tuple[Pair, ...]:
        """The merges, as pairs of symbols."""
        return tuple(self._merger.merges)

    def _rules(self) -> list[str]:
        return [f"merge {self.ids[left]} {self.ids[right]}" for left, right in self._merger.merges]

    def _encode_word(self, word: bytes) -> list[int]:
        return [self.ids[symbol] for symbol in self._merger(word)]

    def _encode(self, text: str) -> Int64:
        broken = first_surrogate(text)
        if broken is not None:
            return self._encode_broken(text, broken)
        ids = bytearray()
        for piece in words(text):
            ids += b"".join(map(self._words.__getitem__, piece))
        return np.frombuffer(ids, np.int64)

    def _encode_broken(self, text: str, broken: int) -> Int64:
        """The ids of a text whose character number ``broken`` stands for a byte that is not UTF-8: `_encode_bytes` of tiktoken.

        Where the last word before it begins with white space, tokens of nothing else before that belong to it too.
        """
        whole = list(chain.from_iterable(words(text[:broken])))
        ids = [np.frombuffer(self._words[word], np.int64).tolist() for word in whole]
        flat = list(chain.from_iterable(ids))
        kept = len(flat) - len(ids[-1]) if ids else 0
        if ids and not self._tokens[flat[kept]].strip(_SPACE):
            while kept and not self._tokens[flat[kept - 1]].strip(_SPACE):
                kept -= 1
        rest = b"".join(self._tokens[id_] for id_ in flat[kept:]) + text[broken:].encode("utf-8", "surrogateescape")
        return np.array(flat[:kept] + self._encode_word(rest), np.int64)


class _Words(dict[str, bytes]):
    """The ids of the words seen so far, as the bytes of int64: joining them is the quickest way to an array."""

    def __init__(self, encode: Callable[[bytes], list[int]]) -> None:
        super().__init__()
        self._encode = encode

    def __missing__(self, word: str) -> bytes:
        ids = np.array(self._encode(word.encode()), np.int64).tobytes()
        if len(word) <= _LONG:
            if len(self) >= _KEPT:
                self.clear()
            self[word] = ids
        return ids
