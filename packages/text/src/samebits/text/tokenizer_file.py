"""Tokenizer files: one JSON file each, in the format of Hugging Face `tokenizers`.

    {"added_tokens": [special tokens], "pre_tokenizer": {...}, "model": {"type": "BPE", "vocab": {...}, "merges": [...]}}

Byte pair encodings written by other programs are read too, if they split words by a pattern of `unicode`: those of GPT-2, SmolLM2,
Llama 3 and Qwen2; an error names any setting that is not supported. Files written here carry the tokenizer's digest, so damage is detected.
Writing is atomic, by `samebits.core.files`. tiktoken's files of ranks are read by `ranks_file`.
"""

import codecs
import json
import operator
import os
from collections.abc import Callable
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any

from samebits.core.files import replace_file, require_file
from samebits.text.bytepair import BYTES, LETTERS
from samebits.text.bytepair_tokenizer import BytePairTokenizer
from samebits.text.file_kinds import JSON, MERGES, RANKS, file_kind
from samebits.text.plain_tokenizers import ByteTokenizer, CharacterTokenizer
from samebits.text.tokenizer import Tokenizer

__all__ = [
    "TokenizerFileError",
    "load_tokenizer",
    "save_tokenizer",
    "spelled",
    "spelling",
    "tokenizer_from_json",
    "tokenizer_json",
]


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


_SPELL = dict(zip(BYTES, LETTERS, strict=True))

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_DIGITS = {"type": "Digits", "individual_digits": True}
_NEWER = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_EXPRESSIONS = {
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": "gpt2",
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": "gpt2",
    _NEWER % "{1,3}": "llama-bpe",
    _NEWER % "": "qwen2",
}
_NFC = {"type": "NFC"}
_EACH_CHARACTER = {"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": False}
_FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
_TOGETHER = "it has a vocab.json and a merges.txt in one file"
_OTHER_JSON = (
    ({"tokenizer_class", "model_max_length"}, "a tokenizer_config.json"),
    ({"architectures", "model_type"}, "a model's config.json"),
    ({"weight_map"}, "the index of a checkpoint in several files"),
)
_UNUSED = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback")


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
    with replace_file(path) as file:
        file.write(tokenizer_json(tokenizer).encode())


def tokenizer_json(tokenizer: Tokenizer) -> str:
    """The text of the file that `save_tokenizer` writes; it raises the same errors.

    Example:
        >>> json.loads(tokenizer_json(CharacterTokenizer("abc")))["model"]["vocab"]
        {'a': 0, 'b': 1, 'c': 2}
    """
    return json.dumps(_document(tokenizer), ensure_ascii=False, indent=1) + "\n"


def spelling(token: bytes) -> str:
    """The bytes of a token as files spell them: a letter of `LETTERS` for each.

    Example:
        >>> spelling(b" low")
        'Ġlow'
    """
    return "".join(map(_SPELL.__getitem__, token))


def spelled(tokenizer: Tokenizer) -> tuple[list[str], list[str]]:
    """The tokens by id and the merges of a byte pair or byte tokenizer, as files spell them: a letter of `LETTERS` for each byte.

    Special and added tokens are spelled by name. `BytePairTokenizer.from_parts` is the inverse.

    Raises:
        TypeError: the tokenizer is of another class.
        ValueError: a special or added token is spelled like an ordinary one.

    Example:
        >>> from samebits.text.bytepair import BYTES
        >>> tokens, merges = spelled(BytePairTokenizer.train(["low lower lowest"], 258))
        >>> merges, tokens[256:]
        (['l o', 'lo w'], ['lo', 'low'])
    """
    if not isinstance(tokenizer, BytePairTokenizer | ByteTokenizer):
        raise TypeError(f"spelled: tokenizer must be a BytePairTokenizer or ByteTokenizer, got {type(tokenizer).__name__}")
    ordinary = {id_: spelling(token) for id_, token in enumerate(tokenizer.tokens)}
    names = _names("spelled", tokenizer, ordinary)
    if isinstance(tokenizer, ByteTokenizer):
        return names, []
    return names, [f"{names[tokenizer.ids[left]]} {names[tokenizer.ids[right]]}" for left, right in tokenizer.merges]


def _names(function: str, tokenizer: Tokenizer, ordinary: dict[int, str]) -> list[str]:
    """The names of all tokens by id, of which the ordinary ones are given."""
    special = {**tokenizer.special_tokens, **tokenizer.added_tokens}
    names = ordinary | {id_: name for name, id_ in special.items()}
    if len(set(names.values())) < len(names):
        others = {name for id_, name in ordinary.items() if names[id_] is name}
        clash = min(special.keys() & others)
        raise ValueError(f"{function}: special tokens must not be spelled like ordinary ones in the file, got {clash!r}")
    return [names[id_] for id_ in range(len(names))]


def _document(tokenizer: Tokenizer) -> dict[str, Any]:
    """The content of the file."""
    model: dict[str, Any]
    decoder: dict[str, Any]
    if isinstance(tokenizer, CharacterTokenizer):
        names, merges = _names("save_tokenizer", tokenizer, dict(enumerate(tokenizer.characters))), None
        splitting, decoder = _EACH_CHARACTER, {"type": "Fuse"}
        model = {"type": "WordLevel", "unk_token": "<unk>"}
    elif isinstance(tokenizer, BytePairTokenizer | ByteTokenizer):
        names, merges = spelled(tokenizer)
        pattern = tokenizer.pattern if isinstance(tokenizer, BytePairTokenizer) else "gpt2"
        splitting, decoder = _splitting(pattern), _BYTE_LEVEL
        model = {"type": "BPE", "unk_token": None, **dict.fromkeys(_UNUSED[:3]), **dict.fromkeys(_UNUSED[3:], False)}
        model["ignore_merges"] = pattern == "llama-bpe"
    else:
        raise TypeError(
            "save_tokenizer: tokenizer must be a BytePairTokenizer, CharacterTokenizer or ByteTokenizer, "
            f"got {type(tokenizer).__name__}"
        )
    model |= {"samebits_digest": tokenizer.digest, "vocab": {name: id_ for id_, name in enumerate(names)}}
    if merges is not None:
        model["merges"] = merges
    added = [{"id": id_, "content": name, **_FLAGS, "special": True} for name, id_ in tokenizer.special_tokens.items()]
    added += [{"id": id_, "content": name, **_FLAGS, "special": False} for name, id_ in tokenizer.added_tokens.items()]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": sorted(added, key=operator.itemgetter("id")),
        "normalizer": _NFC if isinstance(tokenizer, BytePairTokenizer) and tokenizer.normalized else None,
        "pre_tokenizer": splitting,
        "post_processor": None,
        "decoder": decoder,
        "model": model,
    }


def _splitting(pattern: str) -> dict[str, Any]:
    """The pre-tokenizer of a pattern."""
    if pattern == "gpt2":
        return _BYTE_LEVEL
    first = _DIGITS
    last = _BYTE_LEVEL
    if pattern != "smollm":
        expression = next(text for text, name in _EXPRESSIONS.items() if name == pattern)
        first, last = _split(expression), {**_BYTE_LEVEL, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [first, last]}


def _split(expression: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}


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
    return tokenizer_from_json(Path(path).read_bytes(), os.fspath(path))


def tokenizer_from_json(data: bytes, source: str, vocabulary_size: int | None = None) -> Tokenizer:
    """The tokenizer of the bytes of a file, as `load_tokenizer` reads them.

    Args:
        data: JSON in UTF-8.
        source: What errors name first.
        vocabulary_size: The size of the vocabulary. Ids up to it that the file leaves out become special tokens that no text has,
            ``"[PAD100]"`` and so on: some models have more rows than tokens. By default that of the file.

    Raises:
        TokenizerFileError: as in `load_tokenizer`.

    Example:
        >>> tokenizer_from_json(tokenizer_json(CharacterTokenizer("abc")).encode(), "letters").encode("cab").tolist()
        [2, 0, 1]
    """
    try:
        kind = file_kind(data)
        _need(kind in {None, JSON}, f"this is {kind}, not a tokenizer.json{_REMEDIES.get(kind or '', '')}")
        return _tokenizer(_parsed(data.removeprefix(codecs.BOM_UTF8)), vocabulary_size or 0)
    except TokenizerFileError as error:
        raise TokenizerFileError(f"{source}: {error}") from error
    except RecursionError as error:
        raise TokenizerFileError(f"{source}: objects are nested too deeply") from error


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


def _tokenizer(document: Any, vocabulary_size: int) -> Tokenizer:
    """The tokenizer of a file's contents, with at least so many tokens."""
    _need(isinstance(document, dict), f"the file must have a JSON object, got {_short(document)}")
    _refuse_other_json(document)
    for part in ("truncation", "padding"):
        _need(document.get(part) is None, f"{part} must be null, got {_short(document.get(part))}")
    model = document.get("model")
    _need(isinstance(model, dict), f"model must be an object, got {_short(model)}")
    readers: dict[Any, Callable[..., Tokenizer]] = {"BPE": _byte_pairs, "WordLevel": _characters}
    kind = model.get("type", "BPE")
    _need(isinstance(kind, str) and kind in readers, f"model.type must be 'BPE' or 'WordLevel', got {_short(kind)}")
    normalizers = _flat(document.get("normalizer"), "normalizers")
    _need(
        not normalizers or (normalizers == [_NFC] and kind == "BPE"),
        f"normalizer must be null, or {_NFC} with a BPE model, got {_short(document.get('normalizer'))}",
    )
    special, added = _added_tokens(document.get("added_tokens") or [], normalized=bool(normalizers))
    vocabulary = _vocabulary(model.get("vocab"))
    for name, id_ in chain(special.items(), added.items()):
        found = vocabulary.pop(name, id_)
        _need(found == id_, f"added_tokens must give {name!r} the id that model.vocab does, {found}, got {id_}")
    taken = {*vocabulary.values(), *special.values(), *added.values()}
    special |= {f"[PAD{id_}]": id_ for id_ in range(vocabulary_size) if id_ not in taken}
    try:
        tokenizer = readers[kind](document, model, vocabulary, special, added)
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


def _pattern(splitting: Any) -> str:
    """The name of the pattern of a pre-tokenizer."""
    steps = _flat(splitting, "pretokenizers")
    digits = steps[:1] == [_DIGITS]
    name = None
    match steps[1:] if digits else steps:
        case [only] if _is_byte_level(only, use_regex=True):
            name = "gpt2"
        case [{"pattern": {"Regex": str(expression)}} as first, last] if _is_byte_level(last, use_regex=False):
            name = _EXPRESSIONS.get(expression) if first == _split(expression) else None
    if digits:
        name = "smollm" if name == "gpt2" else None
    _need(
        name,
        f"pre_tokenizer must be {_BYTE_LEVEL}, the same as a Split by GPT-2's pattern and a ByteLevel without use_regex, one of these "
        f"after {_DIGITS}, or a Split by the pattern of Llama 3 or Qwen2 and a ByteLevel without use_regex, got {_short(splitting)}",
    )
    return str(name)


def _byte_pairs(
    document: Any, model: Any, vocabulary: dict[str, int], special: dict[str, int], added: dict[str, int]
) -> Tokenizer:
    pattern = _pattern(document.get("pre_tokenizer"))
    kinds = ("ByteLevel", "TemplateProcessing")  # a template adds special tokens, which `encode` leaves to its caller
    for part, plural, allowed in (("post_processor", "processors", kinds), ("decoder", "decoders", ("ByteLevel",))):
        value = document.get(part)
        fits = all(isinstance(one, dict) and one.get("type") in allowed for one in _flat(value, plural))
        _need(fits, f"{part} must be null or {' or '.join(allowed)}, got {_short(value)}")
    for setting in _UNUSED:
        _need(not model.get(setting), f"model.{setting} must be null or false, got {_short(model.get(setting))}")
    whole = model.get("ignore_merges") or False
    _need(
        whole is (pattern == "llama-bpe"), f"model.ignore_merges must be true with Llama 3's pattern alone, got {_short(whole)}"
    )
    merges = model.get("merges")
    _need(isinstance(merges, list), f"model.merges must be a list, got {_short(merges)}")
    for number, merge in enumerate(merges):
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if not (isinstance(parts, list) and len(parts) == 2 and isinstance(parts[0], str) and isinstance(parts[1], str)):
            raise TokenizerFileError(f"model.merges[{number}] must be two tokens, got {_short(merge)}")
    normalized = bool(_flat(document.get("normalizer"), "normalizers"))
    if (
        not merges
        and pattern == "gpt2"
        and not (added or normalized)
        and all(vocabulary.get(_SPELL[byte]) == byte for byte in range(256))
    ):
        return ByteTokenizer(special)
    return BytePairTokenizer.from_parts(vocabulary, merges, special, pattern=pattern, added_tokens=added, normalized=normalized)


def _characters(document: Any, _: Any, vocabulary: dict[str, int], special: dict[str, int], added: dict[str, int]) -> Tokenizer:
    _need(not added, f"added_tokens must all be special with a WordLevel model, got {_short(added)}")
    splitting = document.get("pre_tokenizer")
    _need(splitting == _EACH_CHARACTER, f"pre_tokenizer must be {_EACH_CHARACTER}, got {_short(splitting)}")
    for name, id_ in vocabulary.items():
        _need(len(name) == 1, f"model.vocab must have single characters, got {_short(name)}")
        _need(id_ < len(vocabulary), f"model.vocab must give characters ids below {len(vocabulary)}, got {id_} for {name!r}")
    return CharacterTokenizer("".join(sorted(vocabulary, key=vocabulary.__getitem__)), special)


def _added_tokens(listed: Any, *, normalized: bool) -> tuple[dict[str, int], dict[str, int]]:
    """The ids of the special and of the other added tokens."""
    _need(isinstance(listed, list), f"added_tokens must be a list, got {_short(listed)}")
    special: dict[str, int] = {}
    others: dict[str, int] = {}
    for number, token in enumerate(listed):
        where = f"added_tokens[{number}]"
        _need(isinstance(token, dict), f"{where} must be an object, got {_short(token)}")
        name, id_ = token.get("content"), token.get("id")
        _need(
            isinstance(name, str) and name not in special and name not in others,
            f"{where}.content must be a string that is not repeated, got {_short(name)}",
        )
        _need(type(id_) is int, f"{where}.id must be an integer, got {_short(id_)}")
        for flag, only in _FLAGS.items():
            given = token.get(flag, only)
            fits = given is only or (flag == "normalized" and not normalized)  # without a normalizer it has no effect
            _need(fits, f"{where}.{flag} must be {json.dumps(only)}, got {_short(given)}")
        kind = token.get("special", True)
        _need(type(kind) is bool, f"{where}.special must be true or false, got {_short(kind)}")
        (special if kind else others)[name] = id_
    return special, others


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
