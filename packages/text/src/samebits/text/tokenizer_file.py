"""Tokenizers in files: one JSON file each, in the format of Hugging Face `tokenizers`.

    {"added_tokens": [special tokens], "pre_tokenizer": {...}, "model": {"type": "BPE", "vocab": {...}, "merges": [...]}}

Byte pair encodings are read from others' files too, where they split words by GPT-2's pattern; what such a file asks for
beyond that is refused by name. Our own files carry the tokenizer's digest, so that no damage goes unseen. The ranks of
tiktoken are read here as well. A file is written beside its place first, and moved there when it is complete.
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
    """The file of a tokenizer is damaged, or asks for what is not supported."""


# how bytes are spelled in JSON: those that Latin-1 prints as themselves, the others by the letters from U+0100 on
_LETTERS = "".join(map(chr, [*BYTES[:188], *range(0x100, 0x100 + 68)]))
_SPELL = dict(zip(BYTES, _LETTERS, strict=True))

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_EACH_CHARACTER = {"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": False}
_FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
_UNUSED = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges")


def save_tokenizer(tokenizer: Tokenizer, path: str | PathLike[str]) -> None:
    """Write a tokenizer to one JSON file, which is replaced whole or not at all.

    Raises:
        TypeError: the tokenizer is of a kind that has no format.
        ValueError: a special token is spelled like an ordinary one.
        OSError: the file cannot be written; what was there before is still there.

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
    """What stands in the file."""
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
        raise TypeError(f"tokenizer is of type {type(tokenizer).__name__}: no format of a file is known for it")
    for clash in sorted(special.keys() & set(names.values())):
        raise ValueError(f"the special token {clash!r} is spelled like an ordinary one: no file can hold both")
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
    """Read a tokenizer from a file that `save_tokenizer` or, for a byte pair encoding, Hugging Face `tokenizers` has written.

    Returns:
        A `BytePairTokenizer`, `CharacterTokenizer` or `ByteTokenizer`.

    Raises:
        OSError: the file cannot be read.
        TokenizerFileError: it is damaged, or asks for what is not supported. The message says where.
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
            raise TokenizerFileError(f"an object has the name {twice!r} twice")
        return found

    try:
        return json.loads(data.decode(), object_pairs_hook=unique, parse_int=_number)
    except UnicodeDecodeError as error:
        raise TokenizerFileError(f"byte {error.start} is not UTF-8: {error.reason}") from error
    except json.JSONDecodeError as error:
        raise TokenizerFileError(f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise TokenizerFileError("objects are nested too deep") from error


def _number(digits: str) -> int:
    _need(len(digits) < 20, f"a number has {len(digits)} digits: {_short(digits)}")  # Python refuses some lengths, or takes long
    return int(digits)


def _tokenizer(document: Any) -> Tokenizer:
    """The tokenizer of a file's contents."""
    _need(isinstance(document, dict), "the file holds no JSON object")
    for part in ("truncation", "padding", "normalizer"):
        _need(document.get(part) is None, f"{part} is {document.get(part)!r}: only null is supported")
    model = document.get("model")
    _need(isinstance(model, dict), f"model is {_short(model)}: an object is needed")
    readers: dict[Any, Callable[..., Tokenizer]] = {"BPE": _byte_pairs, "WordLevel": _characters}
    kind = model.get("type", "BPE")
    _need(isinstance(kind, str) and kind in readers, f"model.type is {_short(kind)}: only 'BPE' and 'WordLevel' are supported")
    special = _special(document.get("added_tokens") or [])
    vocabulary = _vocabulary(model.get("vocab"))
    for name, id_ in special.items():
        found = vocabulary.pop(name, id_)
        _need(found == id_, f"added_tokens give {name!r} the id {id_}, but model.vocab gives it {found}")
    try:
        tokenizer = readers[kind](document, model, vocabulary, special)
    except TokenizerFileError:
        raise
    except ValueError as error:  # of the tokenizer itself
        raise TokenizerFileError(f"model: {error}") from error
    digest = model.get("samebits_digest", tokenizer.digest)
    _need(
        digest == tokenizer.digest, f"model.samebits_digest is {_short(digest)}, but what the file holds has {tokenizer.digest}"
    )
    return tokenizer


def _byte_pairs(document: Any, model: Any, vocabulary: dict[str, int], special: dict[str, int]) -> Tokenizer:
    splitting = document.get("pre_tokenizer")
    _need(
        isinstance(splitting, dict) and {**_BYTE_LEVEL, **splitting, "trim_offsets": True} == _BYTE_LEVEL,
        f"pre_tokenizer is {_short(splitting)}: only {_BYTE_LEVEL} is supported",
    )
    for part in ("post_processor", "decoder"):
        value = document.get(part)
        fits = value is None or (isinstance(value, dict) and value.get("type") == "ByteLevel")
        _need(fits, f"{part} is {_short(value)}: only null and ByteLevel are supported")
    for setting in _UNUSED:
        _need(not model.get(setting), f"model.{setting} is {_short(model.get(setting))}: it is not supported")
    symbols = {letter: symbol for symbol, letter in enumerate(_LETTERS)}
    ids = [vocabulary.get(letter) for letter in _LETTERS]
    _need(None not in ids, f"model.vocab lacks {_LETTERS[ids.index(None)]!r}: all 256 bytes are needed" if None in ids else "")
    merges = model.get("merges")
    _need(isinstance(merges, list), f"model.merges is {_short(merges)}: a list is needed")
    pairs = []
    for number, merge in enumerate(merges):
        parts = merge.split(" ") if isinstance(merge, str) else merge
        fits = isinstance(parts, list) and len(parts) == 2 and all(isinstance(part, str) for part in parts)
        _need(fits, f"model.merges[{number}] is {_short(merge)}: two tokens are needed")
        for part in parts:
            _need(part in symbols, f"model.merges[{number}] joins {_short(part)}: neither a byte nor made by an earlier merge")
        made = "".join(parts)
        _need(made in vocabulary, f"model.merges[{number}] makes {_short(made)}: it is not in model.vocab")
        _need(made not in symbols, f"model.merges[{number}] makes {_short(made)}: an earlier merge makes it too")
        pairs.append((symbols[parts[0]], symbols[parts[1]]))
        symbols[made] = len(symbols)
        ids.append(vocabulary[made])
    for name in vocabulary:
        _need(name in symbols, f"model.vocab has {_short(name)}: neither a byte nor made by a merge")
    if not pairs and ids == list(BYTES):
        return ByteTokenizer(special)
    return BytePairTokenizer(pairs, special, [id_ for id_ in ids if id_ is not None])


def _characters(document: Any, _: Any, vocabulary: dict[str, int], special: dict[str, int]) -> Tokenizer:
    splitting = document.get("pre_tokenizer")
    _need(splitting == _EACH_CHARACTER, f"pre_tokenizer is {_short(splitting)}: only {_EACH_CHARACTER} is supported")
    for name, id_ in vocabulary.items():
        _need(len(name) == 1, f"model.vocab has {_short(name)}: a single character is needed")
        _need(id_ < len(vocabulary), f"model.vocab gives {name!r} the id {id_}: ids of characters are below {len(vocabulary)}")
    return CharacterTokenizer("".join(sorted(vocabulary, key=vocabulary.__getitem__)), special)


def _special(added: Any) -> dict[str, int]:
    """The special tokens among the added ones: no others are supported."""
    _need(isinstance(added, list), f"added_tokens is {_short(added)}: a list is needed")
    special: dict[str, int] = {}
    for number, token in enumerate(added):
        where = f"added_tokens[{number}]"
        _need(isinstance(token, dict), f"{where} is {_short(token)}: an object is needed")
        name, id_ = token.get("content"), token.get("id")
        _need(isinstance(name, str) and name not in special, f"{where}.content is {_short(name)}: a text of its own is needed")
        _need(type(id_) is int, f"{where}.id is {_short(id_)}: a whole number is needed")
        for flag, only in _FLAGS.items():
            given = token.get(flag, only)
            fits = given is only or flag == "normalized"  # which says nothing where nothing is normalised
            _need(fits, f"{where}.{flag} is {_short(given)}: only {json.dumps(only)} is supported")
        special[name] = id_
    return special


def _vocabulary(vocabulary: Any) -> dict[str, int]:
    """The ids of the tokens by name, each once."""
    _need(isinstance(vocabulary, dict), f"model.vocab is {_short(vocabulary)}: an object is needed")
    owners: dict[int, str] = {}
    for name, id_ in vocabulary.items():
        _need(type(id_) is int and id_ >= 0, f"model.vocab gives {_short(name)} the id {_short(id_)}: a whole number is needed")
        _need(id_ not in owners, f"model.vocab gives {_short(name)} the id {id_}, which {_short(owners.get(id_))} has too")
        owners[id_] = name
    return dict(vocabulary)


def _need(fits: object, message: str) -> None:
    if not fits:
        raise TokenizerFileError(message)


def _short(value: object) -> str:
    """What a value looks like, shortened: a damaged one can be long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def load_ranks(path: str | PathLike[str]) -> dict[bytes, int]:
    """Read the ranks of tiktoken: a line for each token, its bytes in Base64 and its rank.

    Raises:
        OSError: the file cannot be read.
        TokenizerFileError: a line is not of that form, or a token or a rank comes twice. The message says which line.
    """
    ranks: dict[bytes, int] = {}
    seen: set[int] = set()
    for number, line in enumerate(Path(path).read_bytes().splitlines(), 1):
        if not line:
            continue
        form = re.fullmatch(rb"([A-Za-z0-9+/]+={0,2}) ([0-9]{1,9})", line)
        _need(form, f"{os.fspath(path)}: line {number} is {_short(line)}: a token in Base64 and its rank are needed")
        try:
            token, rank = base64.b64decode(form[1], validate=True), int(form[2])  # type: ignore[index]
        except binascii.Error as error:
            raise TokenizerFileError(f"{os.fspath(path)}: line {number} is {_short(line)}: {error}") from error
        _need(token not in ranks and rank not in seen, f"{os.fspath(path)}: line {number} repeats a token or a rank")
        ranks[token] = rank
        seen.add(rank)
    return ranks
