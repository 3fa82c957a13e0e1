"""Tokenizer base class: special tokens, decoding and the digest, whatever a token is.

Every token stands for fixed bytes, so decoding joins them, and ``decode_bytes(encode(b)) == b``. A subclass passes the
bytes of its tokens to the constructor and implements `_encode`, which encodes text without special tokens. The subclasses
are in `bytepair_tokenizer` and `plain_tokenizers`; `tokenizer_file` saves and loads them.
"""

import codecs
import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from samebits.core.arguments import integer, integer_array

__all__ = ["SpecialTokenError", "Tokenizer", "encode_special"]

Int64 = npt.NDArray[np.int64]
IdsLike = npt.NDArray[np.integer[Any]] | Sequence[int]
Special = Sequence[str] | Mapping[str, int]
Errors = Literal["strict", "ignore"]


class SpecialTokenError(ValueError):
    """A text contains a special token that is not allowed.

    Attributes:
        token: The name of the special token.
        place: The number of characters before it.

    Example:
        >>> from samebits.text import ByteTokenizer
        >>> try:
        ...     ids = ByteTokenizer(["<|end|>"]).encode("hi<|end|>")
        ... except SpecialTokenError as error:
        ...     print(error.token, error.place)
        <|end|> 2
    """

    def __init__(self, token: str, place: int) -> None:
        super().__init__(
            f"encode: text must not contain the special token {token!r}, found at character {place}; "
            "allow it with allowed_special, or encode it as text with encode_ordinary"
        )
        self.token, self.place = token, place


class Tokenizer(ABC):
    """Base class of all tokenizers: text (str or bytes) to token ids (int64, one-dimensional) and back.

    Args:
        tokens: The bytes of each ordinary token, by id.
        special_tokens: Tokens that text is encoded to only on request, such as the end of a document: their names, which
            get the next free ids, or a mapping from names to ids. The ids of all tokens together must be 0 to N - 1.
        added_tokens: Tokens that are recognized in every text by their names, before it is split into ordinary tokens.

    Raises:
        TypeError: ``special_tokens`` is a single str, or has names that are not str or ids that are not int.
        ValueError: an id is missing or given twice, or a special or added token is empty, is given twice or is not valid Unicode.

    Example:
        >>> class LetterTokenizer(Tokenizer):  # a token for each of a, b, c
        ...     def __init__(self):
        ...         super().__init__({0: b"a", 1: b"b", 2: b"c"}, special_tokens=["<end>"])
        ...     def _encode(self, text):
        ...         return np.array(["abc".index(letter) for letter in text], np.int64)
        >>> tokenizer = LetterTokenizer()
        >>> tokenizer.encode("cab<end>", allowed_special="all"), tokenizer.decode([2, 0, 1])
        (array([2, 0, 1, 3]), 'cab')
    """

    def __init__(
        self, tokens: Mapping[int, bytes], special_tokens: Special = (), added_tokens: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        function = type(self).__name__
        self._special = _special_ids(function, special_tokens, len(tokens))
        self._added = _special_ids(function, added_tokens, len(tokens))
        named = self._special | self._added
        every = {**tokens, **{id_: name.encode() for name, id_ in named.items()}}
        size = len(tokens) + len(self._special) + len(self._added)
        if every.keys() != set(range(size)):
            missing = next(id_ for id_ in range(size) if id_ not in every)
            raise ValueError(f"{function}: ids must be 0 to {size - 1}, each once, but {missing} is missing")
        self._tokens = tuple(map(every.__getitem__, range(size)))
        self._split, self._split_added = _splitter(named), _splitter(self._added)

    @property
    def tokens(self) -> tuple[bytes, ...]:
        """The bytes of every token, by id."""
        return self._tokens

    @property
    def vocabulary_size(self) -> int:
        """The number of tokens, special tokens included: ids are 0 to ``vocabulary_size - 1``."""
        return len(self._tokens)

    @property
    def special_tokens(self) -> dict[str, int]:
        """The special tokens and their ids."""
        return dict(self._special)

    @property
    def added_tokens(self) -> dict[str, int]:
        """The tokens that are recognized in every text, and their ids."""
        return dict(self._added)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that determines the ids of a text, in 64 hexadecimal digits."""
        lines = [type(self).__name__, *(token.hex() for token in self._tokens)]
        lines += [f"special {id_}" for id_ in sorted(self._special.values())]
        lines += [f"added {id_}" for id_ in sorted(self._added.values())] + self._rules()
        return hashlib.sha256("\n".join(["samebits.tokenizer/1", *lines, ""]).encode()).hexdigest()

    def _rules(self) -> list[str]:
        """What determines the ids besides the tokens, one line each."""
        return []

    @abstractmethod
    def _encode(self, text: str) -> Int64:
        """Encode text without special tokens; lone surrogates U+DC80 to U+DCFF stand for bytes that are not UTF-8.

        What has no token is left out.
        """

    def _normalized(self, text: str) -> str:
        """What a text without special tokens is replaced with before it is encoded."""
        return text

    def _unknown(self, text: str) -> int | None:  # noqa: ARG002 -- subclasses look at it
        """The position of the first character of ``text`` that has no token, or a byte of which has none."""
        return None

    def encode_ordinary(self, text: str | bytes, *, errors: Errors = "strict") -> Int64:
        """Encode text in which special tokens have no meaning: their names are encoded as ordinary text.

        Args:
            text: The text to encode.
            errors: As in `encode`.

        Returns:
            The token ids, int64 (N,).

        Raises:
            TypeError: ``text`` is neither str nor bytes.
            ValueError: ``text`` is a str with a lone surrogate, which UTF-8 cannot encode, or has a character without a token.
        """
        return self._encode_split("encode_ordinary", text, self._split_added, (), errors)

    def encode(
        self, text: str | bytes, allowed_special: Collection[str] | Literal["all"] = (), *, errors: Errors = "strict"
    ) -> Int64:
        """Encode text; special tokens are recognized where they are allowed.

        The text is split at special tokens first, the longest taking precedence, so no ordinary token crosses one.
        Untrusted text may contain special tokens, so by default none is allowed.

        Args:
            text: The text to encode.
            allowed_special: The special tokens that the text may contain, or ``"all"``.
            errors: For characters without a token, which byte tokenizers and most byte pair vocabularies do not have:
                ``"strict"`` raises, ``"ignore"`` leaves out what has no token.

        Returns:
            The token ids, int64 (N,).

        Raises:
            TypeError: ``text`` is neither str nor bytes.
            SpecialTokenError: the text contains a special token that is not allowed.
            ValueError: ``allowed_special`` has a name that is not a special token, ``text`` is a str with a lone surrogate, or
                has a character without a token; the message says which and where.

        Example:
            >>> from samebits.text import ByteTokenizer
            >>> tokenizer = ByteTokenizer(["<|end|>"])
            >>> tokenizer.encode("hi<|end|>", allowed_special={"<|end|>"}).tolist()
            [104, 105, 256]
        """
        allowed = set(self._special) if allowed_special == "all" else allowed_special
        if isinstance(allowed, str) or not set(allowed) <= set(self._special):
            raise ValueError(f"encode: allowed_special must be 'all' or some of {list(self._special)}, got {allowed_special!r}")
        return self._encode_split("encode", text, self._split, allowed, errors)

    def _encode_split(
        self, function: str, text: str | bytes, split: re.Pattern[str] | None, allowed: Collection[str], errors: Errors
    ) -> Int64:
        """Encode text that is split at special and added tokens first."""
        text = escaped(function, text)
        if not split:
            return self._encode_known(function, text, 0, errors)
        ids, place = [], 0
        for number, part in enumerate(split.split(text)):
            if number % 2 == 0:
                ids.append(self._encode_known(function, part, place, errors))
            elif part in self._added or part in allowed:
                ids.append(np.array([self._added[part] if part in self._added else self._special[part]], np.int64))
            else:
                raise SpecialTokenError(part, place)
            place += len(part)
        return np.concatenate(ids) if len(ids) > 1 else ids[0]

    def _encode_known(self, function: str, text: str, before: int, errors: Errors) -> Int64:
        """Encode text without special tokens that follows ``before`` characters."""
        if errors not in {"strict", "ignore"}:
            raise ValueError(f"{function}: errors must be 'strict' or 'ignore', got {errors!r}")
        text = self._normalized(text)
        place = self._unknown(text) if errors == "strict" else None
        if place is not None:
            raise ValueError(
                f"{function}: text must contain only characters of the vocabulary, got {text[place]!r} at character {before + place}"
            )
        return self._encode(text)

    def encode_batch(
        self,
        texts: Iterable[str | bytes],
        allowed_special: Collection[str] | Literal["all"] = (),
        *,
        errors: Errors = "strict",
    ) -> list[Int64]:
        """Encode each text as `encode` does."""
        return [self.encode(text, allowed_special, errors=errors) for text in texts]

    def decode_bytes(self, ids: IdsLike) -> bytes:
        """Decode token ids to the bytes of their tokens, joined.

        Args:
            ids: Token ids (N,): an array of any integer dtype, or a list of ints.

        Raises:
            TypeError: ``ids`` are not integers.
            ValueError: ``ids`` are not one-dimensional, or an id is not in the vocabulary.
        """
        return self._joined("decode_bytes", ids)

    def decode(self, ids: IdsLike) -> str:
        """Decode token ids to text.

        Bytes that are not UTF-8 become U+FFFD, since a sequence of tokens may end inside a character.

        Args:
            ids: Token ids (N,): an array of any integer dtype, or a list of ints.

        Raises:
            TypeError: ``ids`` are not integers.
            ValueError: ``ids`` are not one-dimensional, or an id is not in the vocabulary.

        Example:
            >>> from samebits.text import ByteTokenizer
            >>> ByteTokenizer().decode([72, 105, 33])
            'Hi!'
        """
        return self._joined("decode", ids).decode("utf-8", "replace")

    def decode_stream(self, ids: Iterable[int]) -> Iterator[str]:
        """Decode token ids one by one, in whole characters; the joined parts are what `decode` returns.

        Each part is yielded as soon as its last character is complete. Bytes that stay incomplete become U+FFFD at the end.

        Raises:
            TypeError: an id is not an integer.
            ValueError: an id is not in the vocabulary.

        Example:
            >>> from samebits.text import ByteTokenizer
            >>> list(ByteTokenizer().decode_stream([72, 105, 32, 226, 130, 172, 240, 159]))
            ['H', 'i', ' ', '€', '�']
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for number, id_ in enumerate(ids):
            token = self._tokens[integer("decode_stream", f"ids[{number}]", id_, 0, len(self._tokens) - 1)]
            if part := decoder.decode(token):
                yield part
        if part := decoder.decode(b"", final=True):
            yield part

    def _joined(self, function: str, ids: IdsLike) -> bytes:
        array = integer_array(function, "ids", ids)
        if array.ndim != 1:
            raise ValueError(f"{function}: ids must be one-dimensional, got shape {array.shape}")
        wrong = (array < 0) | (array >= len(self._tokens))
        if wrong.any():
            place = int(wrong.argmax())
            raise ValueError(f"{function}: ids[{place}] must be from 0 to {len(self._tokens) - 1}, got {array[place]}")
        return b"".join(map(self._tokens.__getitem__, array.tolist()))

    def __repr__(self) -> str:
        special = f", {len(self._special)} of them special" if self._special else ""
        return f"<{type(self).__name__} of {self.vocabulary_size} tokens{special}>"


def encode_special(tokenizer: Tokenizer, text: str | bytes, special: str) -> Int64:
    """Encode a text in which names of special tokens are refused, are the tokens (``"allow"``), or are ordinary ``"text"``.

    Raises:
        SpecialTokenError: ``special`` is ``"refuse"``, and the text contains a special token.
        ValueError: ``special`` is something else, or as in `Tokenizer.encode`.

    Example:
        >>> from samebits.text import ByteTokenizer
        >>> tokenizer = ByteTokenizer(["<e>"])
        >>> [encode_special(tokenizer, "a<e>", special).tolist() for special in ("allow", "text")]
        [[97, 256], [97, 60, 101, 62]]
    """
    if special not in {"refuse", "allow", "text"}:
        raise ValueError(f"encode_special: special must be 'refuse', 'allow' or 'text', got {special!r}")
    return tokenizer.encode_ordinary(text) if special == "text" else tokenizer.encode(text, "all" if special == "allow" else ())


def _special_ids(function: str, special_tokens: Special, first: int) -> dict[str, int]:
    """The ids of special tokens by name; names without ids get those from ``first`` on."""
    if isinstance(special_tokens, str):
        raise TypeError(f"{function}: special_tokens must be a list of str or a mapping, got the str {special_tokens!r}")
    names = list(special_tokens)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"{function}: special_tokens must be str, got {name!r}")
        if not name or first_surrogate(name) is not None:
            raise ValueError(f"{function}: special_tokens must be non-empty text that UTF-8 can encode, got {name!r}")
    if len(set(names)) < len(names):
        raise ValueError(f"{function}: special_tokens must be different from each other, got {names}")
    if not isinstance(special_tokens, Mapping):
        return dict(zip(names, range(first, first + len(names)), strict=True))
    return {name: integer(function, f"special_tokens[{name!r}]", id_) for name, id_ in special_tokens.items()}


def _splitter(names: Collection[str]) -> re.Pattern[str] | None:
    """What finds the names in a text, the longest first."""
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, longest_first))})") if longest_first else None


def escaped(function: str, text: str | bytes) -> str:
    """The text as str; each byte that is not UTF-8 becomes a lone surrogate, U+DC80 to U+DCFF."""
    if isinstance(text, bytes):
        return text.decode("utf-8", "surrogateescape")
    if not isinstance(text, str):
        raise TypeError(f"{function}: text must be str or bytes, got {type(text).__name__}")
    place = first_surrogate(text)
    if place is not None:
        raise ValueError(
            f"{function}: text must not contain lone surrogates, got {text[place]!r} at character {place}; pass bytes, or replace it"
        )
    return text


def first_surrogate(text: str) -> int | None:
    """The position of the first lone surrogate."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return error.start
    return None
