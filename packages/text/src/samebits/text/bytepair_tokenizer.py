"""Byte pair tokenizer: from text to token ids by merges of bytes, and back.

    text  ->  special tokens set apart  ->  words  ->  bytes  ->  symbols, by merges  ->  ids, int64

The vocabulary is trained here, or GPT-2's, or read from a file. `tokenizer` handles special tokens and decoding, `unicode`
splits words, `bytepair` finds merges, `merger` applies them, and `tokenizer_file` reads and writes files.
"""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, chain, pairwise, repeat
from types import MappingProxyType
from typing import NoReturn, Self

import numpy as np

from samebits.core.arguments import integer, integer_array
from samebits.text import bytepair
from samebits.text.bytepair import Pair
from samebits.text.merger import Merger
from samebits.text.tokenizer import IdsLike, Int64, Special, Tokenizer, first_surrogate
from samebits.text.unicode import is_part_of_word, nfc, require_pattern, words

__all__ = ["BytePairTokenizer"]

_KEPT = 2**17  # words whose ids a tokenizer caches
_LONG = 64  # characters: longer words rarely occur again
_SPACE = b" \n\t"


class BytePairTokenizer(Tokenizer):
    """Byte pair encoding of the words that a pattern finds.

    Any bytes can be encoded, unless ``ids`` leaves bytes without a token. Bytes that are not UTF-8 are encoded as tiktoken
    encodes them: everything from the last word before the first such byte on is one word.

    Args:
        merges: Pairs of symbols, as `bytepair.learn` returns them, or a `Merger` that has them.
        special_tokens: Special tokens, with or without their ids; see `Tokenizer`.
        ids: The id of each symbol, the 256 bytes first and then a symbol for each merge; the symbol itself by default. -1
            for a byte without a token: `encode` refuses text that has it, or leaves the byte out with ``errors="ignore"``.
        pattern: The name of the pattern that splits text into words, see `unicode.words`. With Llama 3's, ``"llama-bpe"``, a word
            that is a token is that token, whether or not merges make it.
        added_tokens: Tokens that are recognized in every text, see `Tokenizer`.
        normalized: Whether text is brought into Unicode's normalization form C first, see `unicode.nfc`. Qwen's tokenizers do this;
            decoding then gives the normalized text.

    Raises:
        TypeError: a merge is not a pair of ints, or ``ids`` are not ints.
        ValueError: a merge is invalid (see `merger.Merger`) or joins a byte without a token, or the ids are invalid (see
            `Tokenizer`).

    Attributes:
        ids: The id of each symbol, -1 for a byte without a token.
        pattern: The name of the pattern that splits text into words.
        normalized: Whether text is normalized first.

    Example:
        >>> tokenizer = BytePairTokenizer.train(["low lower lowest"], 261, special_tokens=["<|end|>"])
        >>> ids = tokenizer.encode("lowest<|end|>", allowed_special="all")
        >>> [tokenizer.tokens[i] for i in ids]
        [b'low', b'e', b's', b't', b'<|end|>']
        >>> tokenizer.decode(ids)
        'lowest<|end|>'
    """

    def __init__(
        self,
        merges: Iterable[Pair] | Merger,
        special_tokens: Special = (),
        ids: IdsLike | None = None,
        *,
        pattern: str = "gpt2",
        added_tokens: Mapping[str, int] = MappingProxyType({}),
        normalized: bool = False,
    ) -> None:
        self._merger = merges if isinstance(merges, Merger) else Merger(merges)
        self.pattern, self.normalized = require_pattern("BytePairTokenizer", pattern), normalized
        spellings = self._merger.spellings
        given = range(len(spellings)) if ids is None else ids
        self.ids: tuple[int, ...] = tuple(integer_array("BytePairTokenizer", "ids", list(given)).tolist())
        if len(self.ids) != len(spellings):
            raise ValueError(
                f"BytePairTokenizer: ids must have {len(spellings)} values, one for each byte and merge, got {len(self.ids)}"
            )
        self._missing = bytes(byte for byte, id_ in zip(bytepair.BYTES, self.ids, strict=False) if id_ == -1)
        if -1 in self.ids[256:]:
            raise ValueError(
                f"BytePairTokenizer: ids must not be -1, but for bytes, got it for {spellings[self.ids.index(-1, 256)]!r}"
            )
        owners = dict(zip(self.ids, spellings, strict=True))
        if len(owners) < len(spellings) - max(0, len(self._missing) - 1):
            pairs = zip(self.ids, spellings, strict=True)
            id_, spelling = next(pair for pair in pairs if owners[pair[0]] != pair[1] and pair[0] != -1)
            raise ValueError(f"BytePairTokenizer: ids must be different, got {id_} for {spelling!r} and {owners[id_]!r}")
        owners.pop(-1, None)
        if self._missing:
            self._refuse_merges_of_missing_bytes()
        super().__init__(owners, special_tokens, added_tokens)
        self._whole = dict(zip(owners.values(), owners, strict=True)) if pattern == "llama-bpe" else {}
        self._words = _Words(self._encode_word)

    def _refuse_merges_of_missing_bytes(self) -> None:
        lacking = {symbol for symbol in range(256) if self.ids[symbol] == -1}
        if self._merger.joins(lacking):
            number, pair = next((i, pair) for i, pair in enumerate(self._merger.merges) if not lacking.isdisjoint(pair))
            spelling = next(self._merger.spellings[part] for part in pair if part in lacking)
            raise ValueError(f"BytePairTokenizer: merges[{number}] must join tokens, got {spelling!r}, which has no id")

    @classmethod
    def train(
        cls,
        texts: Iterable[str | bytes] | Mapping[bytes, int],
        vocabulary_size: int,
        special_tokens: Sequence[str] = (),
        progress: Callable[[int, int], object] | None = None,
        *,
        pattern: str = "gpt2",
    ) -> Self:
        """Train a vocabulary: the 256 bytes, then merges, then the special tokens; see `bytepair.train`.

        Args:
            texts: Texts, whose words are counted, or a mapping from words to their counts.
            vocabulary_size: The number of all tokens, at least 256 and the special tokens. The vocabulary stays smaller if
                no pair is left to merge.
            special_tokens: Names of special tokens.
            progress: Called with the number of merges found and wanted; an exception from it ends the training.
            pattern: The name of the pattern that splits texts into words, see `unicode.words`.

        Raises:
            TypeError: ``vocabulary_size`` is not an int, or ``texts`` is a single text.
            ValueError: ``vocabulary_size`` is too small for the bytes and the special tokens.
        """
        reserved = len(special_tokens)
        size = integer("BytePairTokenizer.train", "vocabulary_size", vocabulary_size, 256 + reserved)
        counts = texts if isinstance(texts, Mapping) else bytepair.count_words(texts, pattern=pattern)
        merges = bytepair.train(counts, size - reserved, progress)
        return cls(merges, special_tokens, pattern=pattern)

    @classmethod
    def from_parts(
        cls,
        tokens: Sequence[str] | Mapping[str, int],
        merges: Sequence[str | Sequence[str]],
        special_tokens: Mapping[str, int] = MappingProxyType({}),
        *,
        pattern: str = "gpt2",
        added_tokens: Mapping[str, int] = MappingProxyType({}),
        normalized: bool = False,
    ) -> Self:
        """The tokenizer of a vocabulary that is spelled in GPT-2's letters, a letter for each byte, as files have it.

        Args:
            tokens: The spelling of each token, by id, or a mapping from spellings to ids; special and added tokens may be among
                them, by name. A byte without a token is left out.
            merges: Two spellings each, in a list or with a space between them. Joined, they are the token that the merge makes.
            special_tokens: Special tokens and their ids.
            pattern: The name of the pattern that splits text into words, see `unicode.words`.
            added_tokens: Tokens that are recognized in every text and their ids.
            normalized: Whether text is brought into Unicode's normalization form C first.

        Raises:
            ValueError: a token is there twice, or has other letters; a merge does not join two tokens to a third; or the ids are
                invalid (see `Tokenizer`). Unless ``pattern`` is ``"llama-bpe"``: a token has no merge, has two, or is joined by an
                earlier merge than the one that makes it.

        Example:
            >>> tokenizer = BytePairTokenizer.from_parts(["a", "b", "Ġ", "<end>", "Ġa"], ["Ġ a"], {"<end>": 3})
            >>> tokenizer.encode("ab ab<end>", allowed_special="all").tolist()
            [0, 1, 4, 1, 3]
        """
        vocabulary = dict(tokens) if isinstance(tokens, Mapping) else dict(zip(tokens, range(len(tokens)), strict=True))
        if len(vocabulary) < len(tokens):
            seen: set[str] = set()
            twice = next(name for name in tokens if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            raise ValueError(f"{_PARTS}: tokens must be different, got {twice!r} twice")
        for name, id_ in chain(special_tokens.items(), added_tokens.items()):
            if (found := vocabulary.pop(name, id_)) != id_:
                raise ValueError(f"{_PARTS}: tokens must give {name!r} the id of the special or added token, {id_}, got {found}")
        names, merger = _merger(vocabulary, merges)
        if not merger.in_order and pattern != "llama-bpe":
            _explain(names, merger)
        ids = list(map(vocabulary.get, names, repeat(-1)))
        return cls(merger, special_tokens, ids, pattern=pattern, added_tokens=added_tokens, normalized=normalized)

    @classmethod
    def from_ranks(cls, ranks: Mapping[bytes, int], special_tokens: Special = ("<|endoftext|>",)) -> Self:
        """The tokenizer of a vocabulary given as ranks, which is how GPT-2's is published for tiktoken; a rank is an id.

        tiktoken joins any two neighbors whose bytes together are a token, the lowest rank first. Encoding a token's own
        bytes by the ranks below its own leaves two parts, and these are the token's merge.

        Args:
            ranks: The rank of each token, as `load_ranks` reads them.
            special_tokens: Special tokens, with or without their ids; see `Tokenizer`.

        Raises:
            ValueError: a byte has no rank, a token does not consist of two tokens of lower rank, or cannot stand inside a word
                of GPT-2's pattern: the ranks are those of another pattern, such as cl100k_base's, with other ids.

        Example:
            >>> ranks = {bytes([byte]): byte for byte in range(256)} | {b"lo": 256, b"low": 257}
            >>> BytePairTokenizer.from_ranks(ranks).encode("lowlo").tolist()
            [257, 256]
        """
        for byte in bytepair.BYTES:
            if bytes([byte]) not in ranks:
                raise ValueError(f"BytePairTokenizer.from_ranks: ranks must have all 256 bytes, but {bytes([byte])!r} is missing")
        merger = Merger()
        ids = [ranks[spelling] for spelling in merger.spellings]
        for token in sorted(ranks, key=ranks.__getitem__):
            if len(token) == 1:
                continue
            parts = merger(token)
            if len(parts) != 2:
                raise ValueError(
                    f"BytePairTokenizer.from_ranks: ranks must build each token from two of lower rank, "
                    f"got {token!r} with rank {ranks[token]}, built from {len(parts)}"
                )
            if not is_part_of_word(token):
                raise ValueError(
                    "BytePairTokenizer.from_ranks: ranks must be those of a vocabulary with GPT-2's pattern, "
                    f"got {token!r} with rank {ranks[token]}, which is no part of one word"
                )
            merger.add((parts[0], parts[1]))
            ids.append(ranks[token])
        return cls(merger, special_tokens, ids)

    @property
    def merges(self) -> tuple[Pair, ...]:
        """The merges, as pairs of symbols."""
        return tuple(self._merger.merges)

    def _rules(self) -> list[str]:
        merges = [f"merge {self.ids[left]} {self.ids[right]}" for left, right in self._merger.merges]
        pattern = {"gpt2": [], "smollm": ["individual digits"]}.get(self.pattern, [f"pattern {self.pattern}"])
        return [*merges, *pattern, *(["NFC"] if self.normalized else [])]

    def _normalized(self, text: str) -> str:
        return nfc(text) if self.normalized else text

    def _encode_word(self, word: bytes) -> list[int]:
        if word in self._whole:
            return [self._whole[word]]
        return list(map(self.ids.__getitem__, self._merger(word.translate(None, self._missing))))

    def _unknown(self, text: str) -> int | None:
        if not self._missing:
            return None
        data = text.encode("utf-8", "surrogateescape")
        if len(data.translate(None, self._missing)) == len(data):
            return None
        missing = set(self._missing)
        return next(i for i, one in enumerate(text) if not missing.isdisjoint(one.encode("utf-8", "surrogateescape")))

    def _encode(self, text: str) -> Int64:
        broken = first_surrogate(text)
        if broken is not None:
            return self._encode_broken(text, broken)
        ids = bytearray()
        for piece in words(text, self.pattern):
            ids += b"".join(map(self._words.__getitem__, piece))
        return np.frombuffer(ids, np.int64)

    def _encode_broken(self, text: str, broken: int) -> Int64:
        """Encode text whose character number ``broken`` stands for a byte that is not UTF-8, as tiktoken's `_encode_bytes`.

        If the last word before it begins with a token of white space, the white space tokens before that belong to it too.
        """
        whole = list(chain.from_iterable(words(text[:broken], self.pattern)))
        ids = [np.frombuffer(self._words[word], np.int64).tolist() for word in whole]
        flat = list(chain.from_iterable(ids))
        kept = len(flat) - len(ids[-1]) if ids else 0
        if ids and ids[-1] and not self._tokens[flat[kept]].strip(_SPACE):
            while kept and not self._tokens[flat[kept - 1]].strip(_SPACE):
                kept -= 1
        rest = b"".join(self._tokens[id_] for id_ in flat[kept:]) + text[broken:].encode("utf-8", "surrogateescape")
        return np.array(flat[:kept] + self._encode_word(rest), np.int64)


_PARTS = "BytePairTokenizer.from_parts"
# the byte of each letter; what is no letter becomes a character that Latin-1 does not have
_TO_BYTES = dict.fromkeys(range(256), 0x100) | dict(zip(map(ord, bytepair.LETTERS), bytepair.BYTES, strict=True))


def _merger(vocabulary: Mapping[str, int], merges: Sequence[str | Sequence[str]]) -> tuple[list[str], Merger]:
    """The spellings of all symbols, and their merger. Whole lists at once: a model's file has 50,000 to 280,000 merges."""
    lefts, rights = _sides(merges)
    made = list(map(operator.add, lefts, rights))
    names = list(dict.fromkeys(chain(bytepair.LETTERS, made, vocabulary)))
    symbols = dict(zip(names, range(len(names)), strict=True))
    for what, given in (("join tokens", lefts), ("join tokens", rights), ("make a token", made)):
        if None in map(vocabulary.get, given):
            number = next(number for number, name in enumerate(given) if name not in vocabulary)
            raise ValueError(f"{_PARTS}: merges[{number}] must {what} of the vocabulary, got {given[number]!r}")
    try:
        data = "".join(names).translate(_TO_BYTES).encode("latin-1")
    except UnicodeEncodeError:
        name = next(name for name in names if not set(name) <= set(bytepair.LETTERS))
        raise ValueError(f"{_PARTS}: tokens must have the letters of bytes, got {name!r}") from None
    ends = [0, *accumulate(map(len, names))]
    spellings = [data[start:end] for start, end in pairwise(ends)]
    return names, Merger.of(spellings, *(list(map(symbols.__getitem__, given)) for given in (lefts, rights, made)))


def _sides(merges: Sequence[str | Sequence[str]]) -> tuple[list[str], list[str]]:
    """The left and the right tokens of merges."""
    if merges and all(isinstance(merge, str) and merge.count(" ") == 1 for merge in merges):
        both = " ".join(merges).split(" ")  # type: ignore[arg-type]
        return both[::2], both[1::2]
    parts = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
    for number, pair in enumerate(parts):
        if len(pair) != 2:
            raise ValueError(f"{_PARTS}: merges[{number}] must be two tokens, got {merges[number]!r}")
    return [left for left, _ in parts], [right for _, right in parts]


def _explain(names: list[str], merger: Merger) -> NoReturn:
    """Say which of the merges is not in order."""
    known = set(bytepair.LETTERS)
    for number, pair in enumerate(merger.merges):
        left, right = (names[symbol] for symbol in pair)
        for name in (left, right):
            if name not in known:
                raise ValueError(f"{_PARTS}: merges[{number}] must join bytes or tokens made by earlier merges, got {name!r}")
        if left + right in known:
            raise ValueError(f"{_PARTS}: merges[{number}] must make a new token, got {left + right!r} again")
        known.add(left + right)
    name = next(name for name in names if name not in known)
    raise ValueError(f"{_PARTS}: tokens must be bytes or made by merges, got {name!r}")


class _Words(dict[str, bytes]):
    """The ids of the words seen so far, as the bytes of int64 values: joining bytes is the fastest way to an array."""

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
