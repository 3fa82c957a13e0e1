"""Tokenizer files: one JSON file each, in the format of Hugging Face `tokenizers`.

    {"added_tokens": [special tokens], "pre_tokenizer": {...}, "model": {"type": "BPE", "vocab": {...}, "merges": [...]}}

Byte pair encodings written by other programs are read too, if they split words by GPT-2's pattern, each digit for itself or
not; an error names any setting that is not supported. Files written here carry the tokenizer's digest, so damage is detected.
Writing is atomic, by `samebits.core.files`. tiktoken's files of ranks are read by `ranks_file`.
"""

import codecs
import json
import os
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

from samebits.core.files import replace_file, require_file
from samebits.text.bytepair import BYTES
from samebits.text.bytepair_tokenizer import BytePairTokenizer
from samebits.text.file_kinds import JSON, MERGES, RANKS, file_kind
from samebits.text.plain_tokenizers import ByteTokenizer, CharacterTokenizer
from samebits.text.tokenizer import Tokenizer

__all__ = ["TokenizerFileError", "load_tokenizer", "save_tokenizer"]


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
_DIGITS = {"type": "Digits", "individual_digits": True}
_PATTERNS = (  # two spellings of GPT-2's
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
)
_SPLITS = [{"type": "Split", "pattern": {"Regex": one}, "behavior": "Isolated", "invert": False} for one in _PATTERNS]
_EACH_CHARACTER = {"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": False}
_FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
_TOGETHER = "it has a vocab.json and a merges.txt in one file"
_OTHER_JSON = (
    ({"tokenizer_class", "model_max_length"}, "a tokenizer_config.json"),
    ({"architectures", "model_type"}, "a model's config.json"),
    ({"weight_map"}, "the index of a checkpoint in several files"),
)
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
        if isinstance(tokenizer, BytePairTokenizer) and tokenizer.individual_digits:
            splitting = {"type": "Sequence", "pretokenizers": [_DIGITS, _BYTE_LEVEL]}
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

    A vocabulary may lack tokens for some bytes, see `BytePairTokenizer`; ``unk_token`` is never used.

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
    require_file(path)
    try:
        data = Path(path).read_bytes()
        kind = file_kind(data)
        _need(kind in {None, JSON}, f"this is {kind}, not a tokenizer.json{_REMEDIES.get(kind or '', '')}")
        return _tokenizer(_parsed(data.removeprefix(codecs.BOM_UTF8)))
    except TokenizerFileError as error:
        raise TokenizerFileError(f"{os.fspath(path)}: {error}") from error
    except RecursionError as error:
        raise TokenizerFileError(f"{os.fspath(path)}: objects are nested too deeply") from error


_REMEDIES = {RANKS: "; read it with load_ranks", MERGES: f"; {_TOGETHER}"}


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


def _number(digits: str) -> int:
    # so that they fit int64; Python is slow with long ones, or refuses them
    _need(len(digits) < 19, f"numbers must have fewer than 19 digits, got {len(digits)}: {_short(digits)}")
    return int(digits)


def _tokenizer(document: Any) -> Tokenizer:
    """The tokenizer of a file's contents."""
    _need(isinstance(document, dict), f"the file must have a JSON object, got {_short(document)}")
    _refuse_other_json(document)
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


def _refuse_other_json(document: dict[str, Any]) -> None:
    """Name the files of Hugging Face that are beside a tokenizer.json."""
    if "model" in document:
        return
    if document and all(type(id_) is int for id_ in document.values()):
        raise TokenizerFileError(f"this is a vocab.json, not a tokenizer.json; {_TOGETHER}")
    for names, kind in _OTHER_JSON:
        if not names.isdisjoint(document):
            raise TokenizerFileError(f"this is {kind}, not a tokenizer.json")


def _flat(value: Any, parts: str) -> list[Any]:
    """A pre-tokenizer, decoder or post-processor as a list of simple ones: a Sequence has others in ``parts``."""
    if isinstance(value, dict) and value.get("type") == "Sequence" and isinstance(value.get(parts), list):
        return [one for part in value[parts] for one in _flat(part, parts)]
    return [] if value is None else [value]


def _is_byte_level(value: Any, *, use_regex: bool) -> bool:
    return isinstance(value, dict) and {**_BYTE_LEVEL, **value, "trim_offsets": True} == {**_BYTE_LEVEL, "use_regex": use_regex}


def _individual_digits(splitting: Any) -> bool:
    """Whether a pre-tokenizer splits off every digit before it splits by GPT-2's pattern, which it must."""
    steps = _flat(splitting, "pretokenizers")
    digits = steps[:1] == [_DIGITS]
    match steps[1:] if digits else steps:
        case [only]:
            fits = _is_byte_level(only, use_regex=True)
        case [first, last]:
            fits = first in _SPLITS and _is_byte_level(last, use_regex=False)
        case _:
            fits = False
    _need(
        fits,
        f"pre_tokenizer must be {_BYTE_LEVEL}, the same as a Split by GPT-2's pattern and a ByteLevel without use_regex, or one "
        f"of these after {_DIGITS}, got {_short(splitting)}",
    )
    return digits


def _byte_pairs(document: Any, model: Any, vocabulary: dict[str, int], special: dict[str, int]) -> Tokenizer:
    digits = _individual_digits(document.get("pre_tokenizer"))
    for part, plural in (("post_processor", "processors"), ("decoder", "decoders")):
        value = document.get(part)
        fits = all(isinstance(one, dict) and one.get("type") == "ByteLevel" for one in _flat(value, plural))
        _need(fits, f"{part} must be null or ByteLevel, got {_short(value)}")
    for setting in _UNUSED:
        _need(not model.get(setting), f"model.{setting} must be null or false, got {_short(model.get(setting))}")
    ids = [vocabulary.get(letter, -1) for letter in _LETTERS]
    symbols = {letter: symbol for symbol, letter in enumerate(_LETTERS) if letter in vocabulary}
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
        symbols[made] = len(ids)
        ids.append(vocabulary[made])
    for name in vocabulary:
        _need(name in symbols, f"model.vocab must have only bytes and tokens made by merges, got {_short(name)}")
    if not pairs and ids == list(BYTES):
        return ByteTokenizer(special)
    return BytePairTokenizer(pairs, special, ids, individual_digits=digits)


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
