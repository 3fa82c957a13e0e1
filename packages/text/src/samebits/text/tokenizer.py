"""The interface of all tokenizers: what they do with texts, special tokens and ids, however they make tokens.

Every token stands for fixed bytes, so decoding joins them, and ``decode_bytes(encode(b)) == b``. A tokenizer brings the bytes
of its tokens, and `_encode`, which makes ids of a text without special tokens.
"""

import codecs
import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Tokenizer"]

Int64 = npt.NDArray[np.int64]
Special = Sequence[str] | Mapping[str, int]


class Tokenizer(ABC):
    """What all tokenizers do. Texts go in as str or bytes, ids come out as int64 arrays of one axis.

    Args:
        tokens: The bytes of each ordinary token, by id.
        special_tokens: Tokens that no text makes unless it is allowed to, with their ids; names alone get the next ids.
            Ids without a gap from 0 on are needed, for ordinary and special tokens together.

    Raises:
        ValueError: an id is missing or given twice, or a special token is empty, or is not UTF-8.
    """

    def __init__(self, tokens: Mapping[int, bytes], special_tokens: Special = ()) -> None:
        if isinstance(special_tokens, str):
            raise TypeError(f"special_tokens is the text {special_tokens!r}: a list of texts is needed")
        if not isinstance(special_tokens, Mapping):
            if len(set(special_tokens)) < len(special_tokens):
                raise ValueError(f"special_tokens are {list(special_tokens)!r}: each is needed once")
            special_tokens = dict(zip(special_tokens, range(len(tokens), len(tokens) + len(special_tokens)), strict=True))
        for name in special_tokens:
            if not isinstance(name, str):
                raise TypeError(f"special_tokens has {name!r}: texts are needed")
            if not name or first_surrogate(name) is not None:
                raise ValueError(f"special_tokens has {name!r}: a text that is not empty and can be written in UTF-8 is needed")
        every = {**tokens, **{id_: name.encode() for name, id_ in special_tokens.items()}}
        size = len(tokens) + len(special_tokens)
        for id_ in range(size):
            if id_ not in every:
                raise ValueError(f"there is no token of id {id_}: {size} tokens need the ids 0 to {size - 1}, each once")
        self._tokens = tuple(every[id_] for id_ in range(size))
        self._special = dict(special_tokens)
        longest_first = sorted(special_tokens, key=len, reverse=True)
        self._split = re.compile(f"({'|'.join(map(re.escape, longest_first))})") if longest_first else None

    @property
    def tokens(self) -> tuple[bytes, ...]:
        """The bytes of every token, by id."""
        return self._tokens

    @property
    def vocabulary_size(self) -> int:
        """How many ids there are: they go from 0 to one less."""
        return len(self._tokens)

    @property
    def special_tokens(self) -> dict[str, int]:
        """The special tokens and their ids."""
        return dict(self._special)

    @property
    def digest(self) -> str:
        """SHA-256 of what decides the ids of a text, in 64 hexadecimal digits."""
        lines = [type(self).__name__, *(token.hex() for token in self._tokens)]
        lines += [f"special {id_}" for id_ in sorted(self._special.values())] + self._rules()
        return hashlib.sha256("\n".join(["samebits.tokenizer/1", *lines, ""]).encode()).hexdigest()

    def _rules(self) -> list[str]:
        """What beyond the tokens decides the ids, a line each."""
        return []

    @abstractmethod
    def _encode(self, text: str) -> Int64:
        """The ids of a text without special tokens; lone surrogates U+DC80 to U+DCFF stand for bytes that are not UTF-8."""

    def encode_ordinary(self, text: str | bytes) -> Int64:
        """The ids of a text; what looks like a special token is text like any other.

        Raises:
            TypeError: ``text`` is neither str nor bytes.
            ValueError: ``text`` is a str with a lone surrogate, which no UTF-8 can say.
        """
        return self._encode(escaped(text))

    def encode(self, text: str | bytes, allowed_special: Collection[str] | Literal["all"] = ()) -> Int64:
        """The ids of a text, int64; special tokens count as such where they are allowed.

        A special token is looked for before anything else, the longest first, and parts the text: words do not reach across.

        Args:
            text: What to encode.
            allowed_special: The special tokens that may appear, or ``"all"``.

        Raises:
            TypeError: ``text`` is neither str nor bytes.
            ValueError: a special token that is not allowed appears in the text: who wrote it, may be, was not to use it.
                Or ``allowed_special`` names no special token, or ``text`` has a lone surrogate.
        """
        allowed = set(self._special) if allowed_special == "all" else allowed_special
        for name in sorted(allowed):
            if isinstance(allowed, str) or name not in self._special:
                raise ValueError(f"allowed_special is {allowed_special!r}: 'all', or some of {list(self._special)}, is needed")
        text = escaped(text)
        if not self._split:
            return self._encode(text)
        parts = self._split.split(text)
        ids = []
        for number, part in enumerate(parts):
            if number % 2 == 0:
                ids.append(self._encode(part))
            elif part in allowed:
                ids.append(np.array([self._special[part]], np.int64))
            else:
                place = sum(map(len, parts[:number]))
                raise ValueError(
                    f"text has the special token {part!r} at character {place}, which is not allowed: "
                    "name it in allowed_special, or use encode_ordinary to take it as text"
                )
        return np.concatenate(ids) if len(ids) > 1 else ids[0]

    def encode_batch(self, texts: Iterable[str | bytes], allowed_special: Collection[str] | Literal["all"] = ()) -> list[Int64]:
        """The ids of each text, as `encode` gives them."""
        return [self.encode(text, allowed_special) for text in texts]

    def decode_bytes(self, ids: Int64 | Sequence[int]) -> bytes:
        """The bytes of the tokens, joined.

        Raises:
            TypeError: ``ids`` are not whole numbers.
            ValueError: ``ids`` have another number of axes than one, or one is not in the vocabulary.
        """
        array = np.asarray(ids)
        if array.size == 0:
            array = array.astype(np.int64)
        if array.dtype.kind not in "iu":
            raise TypeError(f"ids are of type {array.dtype}: whole numbers are needed")
        if array.ndim != 1:
            raise ValueError(f"ids have shape {array.shape}: one axis is needed")
        wrong = (array < 0) | (array >= len(self._tokens))
        if wrong.any():
            place = int(wrong.argmax())
            raise ValueError(f"ids[{place}] is {array[place]}: ids are from 0 to {len(self._tokens) - 1}")
        return b"".join(map(self._tokens.__getitem__, array.tolist()))

    def decode(self, ids: Int64 | Sequence[int]) -> str:
        """The text of the tokens. Bytes that are not UTF-8 become U+FFFD, since tokens may end within a character.

        Raises:
            TypeError: ``ids`` are not whole numbers.
            ValueError: ``ids`` have another number of axes than one, or one is not in the vocabulary.
        """
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_stream(self, ids: Iterable[int]) -> Iterator[str]:
        """The text of tokens as they come, in whole characters; joined it is what `decode` gives.

        A part is yielded as soon as it is complete; bytes that stay incomplete become U+FFFD at the end.

        Raises:
            TypeError: an id is not a whole number.
            ValueError: an id is not in the vocabulary.

        Example:
            >>> from samebits.text import ByteTokenizer
            >>> list(ByteTokenizer().decode_stream([72, 105, 32, 226, 130, 172, 240, 159]))
            ['H', 'i', ' ', '€', '�']
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for id_ in ids:
            if part := decoder.decode(self.decode_bytes([id_])):
                yield part
        if part := decoder.decode(b"", final=True):
            yield part

    def __repr__(self) -> str:
        special = f", {len(self._special)} of them special" if self._special else ""
        return f"<{type(self).__name__} of {self.vocabulary_size} tokens{special}>"


def escaped(text: str | bytes) -> str:
    """The text as str; each byte that is not UTF-8 becomes a lone surrogate, U+DC80 to U+DCFF."""
    if isinstance(text, bytes):
        return text.decode("utf-8", "surrogateescape")
    if not isinstance(text, str):
        raise TypeError(f"text is of type {type(text).__name__}: str or bytes is needed")
    broken = first_surrogate(text)
    if broken is not None:
        raise ValueError(f"text has the lone surrogate {text[broken]!r} at character {broken}: give the bytes, or replace it")
    return text


def first_surrogate(text: str) -> int | None:
    """The place of the first lone surrogate."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return error.start
    return None
