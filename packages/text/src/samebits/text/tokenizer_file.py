"""Tokenizer files: one JSON file each, in the format of Hugging Face `tokenizers`.

    {"added_tokens": [special tokens], "pre_tokenizer": {...}, "model": {"type": "BPE", "vocab": {...}, "merges": [...]}}

Byte pair encodings written by other programs are read too, if they split words by GPT-2's pattern; an error names any
setting that is not supported. Files written here carry the tokenizer's digest, so damage is detected. tiktoken's files of
ranks are read here as well. Writing is atomic, by `samebits.core.files`.
"""

import base64
import binascii
import json
import os
import re
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

from samebits.core.files import replace_file
from samebits.text.bytepair import BYTES
from samebits.text.bytepair_tokenizer import BytePairTokenizer
from samebits.text.plain_tokenizers import ByteTokenizer, CharacterTokenizer
from samebits.text.tokenizer import Tokenizer

__all__ = ["TokenizerFileError", "load_ranks", "load_tokenizer", "save_tokenizer"]


class TokenizerFileError(ValueError):
    """A tokenizer file is damaged, or has a setting that is not supported.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "empty.json")
        ...     _ = path.write_text("{}")
        ...     try:
        ...         load_tokenizer(path)
        ...     except TokenizerFileError as error:
        ...         print(str(error).removeprefix(f"{path}: "))
        model must be an object, got None
    """


# how bytes are spelled in JSON: visible Latin-1 characters as themselves, the others as the letters from U+0100 on
_LETTERS = "".join(map(chr, [*BYTES[:188], *range(0x100, 0x100 + 68)]))
_SPELL = dict(zip(BYTES, _LETTERS, strict=True))

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_EACH_CHARACTER = {"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": False}
_FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
_UNUSED = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges")


def save_tokenizer(tokenizer: Tokenizer, path: str | PathLike[str]) -> None:
    """Save a tokenizer to one JSON file, which Hugging Face `tokenizers` reads too. The write is atomic.

    Args:
        tokenizer: A `BytePairTokenizer`, `CharacterTokenizer` or `ByteTokenizer`.
        path: The file to create or to replace.

    Raises:
        TypeError: the tokenizer is of another class.
        ValueError: a special token is spelled like an ordinary one.
        OSError: the file cannot be written; an older file is intact.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_tokenizer(ByteTokenizer(["<|end|>"]), f"{folder}/bytes.json")
        ...     load_tokenizer(f"{folder}/bytes.json")
        <ByteTokenizer of 257 tokens, 1 of them special>
    """
    text = json.dumps(_document(tokenizer), ensure_ascii=False, indent=1)
    with replace_file(path) as file:
        file.write(f"{text}\n".encode())


def _document(tokenizer: Tokenizer) -> dict[str, Any]:
    """The content of the file."""
    special = tokenizer.special_tokens
    model: dict[str, Any]
    decoder: dict[str, Any]
    if isinstance(tokenizer, CharacterTokenizer):
        names = dict(enumerate(tokenizer.characters))
        splitting, decoder = _EACH_CHARACTER, {"type": "Fuse"}
        model = {"type": "WordLevel", "unk_token": "<unk>"}
    elif isinstance(tokenizer, BytePairTokenizer | ByteTokenizer):
        tokens, left_out = tokenizer.tokens, set(special.values())
        names = {id_: "".join(map(_SPELL.__getitem__, tokens[id_])) for id_ in range(len(tokens)) if id_ not in left_out}
        splitting = decoder = _BYTE_LEVEL
        model = {"type": "BPE", "unk_token": None, **dict.fromkeys(_UNUSED[:3]), **dict.fromkeys(_UNUSED[3:], False)}
    else:
        raise TypeError(
            "save_tokenizer: tokenizer must be a BytePairTokenizer, CharacterTokenizer or ByteTokenizer, "
            f"got {type(tokenizer).__name__}"
        )
    for clash in sorted(special.keys() & set(names.values())):
        raise ValueError(f"save_tokenizer: special tokens must not be spelled like ordinary ones in the file, got {clash!r}")
    names |= {id_: name for name, id_ in special.items()}
    model |= {"samebits_digest": tokenizer.digest, "vocab": {names[id_]: id_ for id_ in range(len(names))}}
    if model["type"] == "BPE":
        pairs = tokenizer.merges if isinstance(tokenizer, BytePairTokenizer) else ()
        ids = tokenizer.ids if isinstance(tokenizer, BytePairTokenizer) else ()
        model["merges"] = [f"{names[ids[left]]} {names[ids[right]]}" for left, right in pairs]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": id_, "content": name, **_FLAGS} for name, id_ in sorted(special.items(), key=lambda one: one[1])],
        "normalizer": None,
        "pre_tokenizer": splitting,
        "post_processor": None,
        "decoder": decoder,
        "model": model,
    }


def load_tokenizer(path: str | PathLike[str]) -> Tokenizer:
    """Load a tokenizer from a file written by `save_tokenizer` or, for a byte pair encoding, by Hugging Face `tokenizers`.

    Args:
        path: The file to read.

    Returns:
        A `BytePairTokenizer`, `CharacterTokenizer` or `ByteTokenizer`.

    Raises:
        OSError: the file cannot be read.
        TokenizerFileError: the file is damaged, or has a setting that is not supported. The message says where.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_tokenizer(CharacterTokenizer("abc"), f"{folder}/abc.json")
        ...     load_tokenizer(f"{folder}/abc.json").encode("cab").tolist()
        [2, 0, 1]
    """
    try:
        return _tokenizer(_parsed(Path(path).read_bytes()))
    except TokenizerFileError as error:
        raise TokenizerFileError(f"{os.fspath(path)}: {error}") from error


def _parsed(data: bytes) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            seen: set[str] = set()
            twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            raise TokenizerFileError(f"an object must have each name once, got {twice!r} twice")
        return found

    try:
        return json.loads(data.decode(), object_pairs_hook=unique, parse_int=_number)
    except UnicodeDecodeError as error:
        raise TokenizerFileError(f"byte {error.start} is not UTF-8: {error.reason}") from error
    except json.JSONDecodeError as error:
        raise TokenizerFileError(f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise TokenizerFileError("objects are nested too deeply") from error


def _number(digits: str) -> int:
    # so that they fit int64; Python is slow with long ones, or refuses them
    _need(len(digits) < 19, f"numbers must have fewer than 19 digits, got {len(digits)}: {_short(digits)}")
    return int(digits)


def _tokenizer(document: Any) -> Tokenizer:
    """The tokenizer of a file's contents."""
    _need(isinstance(document, dict), f"the file must have a JSON object, got {_short(document)}")
    for part in ("truncation", "padding", "normalizer"):
        _need(document.get(part) is None, f"{part} must be null, got {_short(document.get(part))}")
    model = document.get("model")
    _need(isinstance(model, dict), f"model must be an object, got {_short(model)}")
    readers: dict[Any, Callable[..., Tokenizer]] = {"BPE": _byte_pairs, "WordLevel": _characters}
    kind = model.get("type", "BPE")
    _need(isinstance(kind, str) and kind in readers, f"model.type must be 'BPE' or 'WordLevel', got {_short(kind)}")
    special = _special(document.get("added_tokens") or [])
    vocabulary = _vocabulary(model.get("vocab"))
    for name, id_ in special.items():
        found = vocabulary.pop(name, id_)
        _need(found == id_, f"added_tokens must give {name!r} the id that model.vocab does, {found}, got {id_}")
    try:
        tokenizer = readers[kind](document, model, vocabulary, special)
    except TokenizerFileError:
        raise
    except ValueError as error:  # of the tokenizer itself
        raise TokenizerFileError(f"model: {error}") from error
    digest = model.get("samebits_digest", tokenizer.digest)
    _need(
        digest == tokenizer.digest, f"model.samebits_digest must be that of the tokens, {tokenizer.digest}, got {_short(digest)}"
    )
    return tokenizer


def _byte_pairs(document: Any, model: Any, vocabulary: dict[str, int], special: dict[str, int]) -> Tokenizer:
    splitting = document.get("pre_tokenizer")
    _need(
        isinstance(splitting, dict) and {**_BYTE_LEVEL, **splitting, "trim_offsets": True} == _BYTE_LEVEL,
        f"pre_tokenizer must be {_BYTE_LEVEL}, got {_short(splitting)}",
    )
    for part in ("post_processor", "decoder"):
        value = document.get(part)
        fits = value is None or (isinstance(value, dict) and value.get("type") == "ByteLevel")
        _need(fits, f"{part} must be null or ByteLevel, got {_short(value)}")
    for setting in _UNUSED:
        _need(not model.get(setting), f"model.{setting} must be null or false, got {_short(model.get(setting))}")
    symbols = {letter: symbol for symbol, letter in enumerate(_LETTERS)}
    ids = [vocabulary.get(letter) for letter in _LETTERS]
    _need(
        None not in ids, f"model.vocab must have all 256 bytes, {_LETTERS[ids.index(None)]!r} is missing" if None in ids else ""
    )
    merges = model.get("merges")
    _need(isinstance(merges, list), f"model.merges must be a list, got {_short(merges)}")
    pairs = []
    for number, merge in enumerate(merges):
        parts = merge.split(" ") if isinstance(merge, str) else merge
        fits = isinstance(parts, list) and len(parts) == 2 and all(isinstance(part, str) for part in parts)
        _need(fits, f"model.merges[{number}] must be two tokens, got {_short(merge)}")
        for part in parts:
            _need(part in symbols, f"model.merges[{number}] must join bytes or tokens made by earlier merges, got {_short(part)}")
        made = "".join(parts)
        _need(made in vocabulary, f"model.merges[{number}] must make a token of model.vocab, got {_short(made)}")
        _need(made not in symbols, f"model.merges[{number}] must make a new token, got {_short(made)} again")
        pairs.append((symbols[parts[0]], symbols[parts[1]]))
        symbols[made] = len(symbols)
        ids.append(vocabulary[made])
    for name in vocabulary:
        _need(name in symbols, f"model.vocab must have only bytes and tokens made by merges, got {_short(name)}")
    if not pairs and ids == list(BYTES):
        return ByteTokenizer(special)
    return BytePairTokenizer(pairs, special, [id_ for id_ in ids if id_ is not None])


def _characters(document: Any, _: Any, vocabulary: dict[str, int], special: dict[str, int]) -> Tokenizer:
    splitting = document.get("pre_tokenizer")
    _need(splitting == _EACH_CHARACTER, f"pre_tokenizer must be {_EACH_CHARACTER}, got {_short(splitting)}")
    for name, id_ in vocabulary.items():
        _need(len(name) == 1, f"model.vocab must have single characters, got {_short(name)}")
        _need(id_ < len(vocabulary), f"model.vocab must give characters ids below {len(vocabulary)}, got {id_} for {name!r}")
    return CharacterTokenizer("".join(sorted(vocabulary, key=vocabulary.__getitem__)), special)


def _special(added: Any) -> dict[str, int]:
    """The ids of the added tokens, all of which must be special."""
    _need(isinstance(added, list), f"added_tokens must be a list, got {_short(added)}")
    special: dict[str, int] = {}
    for number, token in enumerate(added):
        where = f"added_tokens[{number}]"
        _need(isinstance(token, dict), f"{where} must be an object, got {_short(token)}")
        name, id_ = token.get("content"), token.get("id")
        _need(
            isinstance(name, str) and name not in special,
            f"{where}.content must be a string that is not repeated, got {_short(name)}",
        )
        _need(type(id_) is int, f"{where}.id must be an integer, got {_short(id_)}")
        for flag, only in _FLAGS.items():
            given = token.get(flag, only)
            fits = given is only or flag == "normalized"  # without a normalizer it has no effect
            _need(fits, f"{where}.{flag} must be {json.dumps(only)}, got {_short(given)}")
        special[name] = id_
    return special


def _vocabulary(vocabulary: Any) -> dict[str, int]:
    """The ids of the tokens by name, each once."""
    _need(isinstance(vocabulary, dict), f"model.vocab must be an object, got {_short(vocabulary)}")
    owners: dict[int, str] = {}
    for name, id_ in vocabulary.items():
        _need(type(id_) is int and id_ >= 0, f"model.vocab[{_short(name)}] must be an id, got {_short(id_)}")
        _need(
            id_ not in owners,
            f"model.vocab[{_short(name)}] must be an id of its own, got {id_}, that of {_short(owners.get(id_))}",
        )
        owners[id_] = name
    return dict(vocabulary)


def _need(fits: object, message: str) -> None:
    if not fits:
        raise TokenizerFileError(message)


def _short(value: object) -> str:
    """The repr of a value, shortened: a damaged file may have long ones."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


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
    ranks: dict[bytes, int] = {}
    seen: set[int] = set()
    for number, line in enumerate(Path(path).read_bytes().splitlines(), 1):
        if not line:
            continue
        form = re.fullmatch(rb"([A-Za-z0-9+/]+={0,2}) ([0-9]{1,9})", line)
        _need(form, f"{os.fspath(path)}: line {number} must be a token in Base64 and its rank, got {_short(line)}")
        try:
            token, rank = base64.b64decode(form[1], validate=True), int(form[2])  # type: ignore[index]
        except binascii.Error as error:
            raise TokenizerFileError(
                f"{os.fspath(path)}: line {number} must be valid Base64, got {_short(line)}: {error}"
            ) from error
        _need(
            token not in ranks and rank not in seen,
            f"{os.fspath(path)}: line {number} must have a new token and a new rank, got {_short(line)}",
        )
        ranks[token] = rank
        seen.add(rank)
    return ranks
