"""Data of a run: from a corpus to the token files that a model is trained on, made once per folder.

    corpus  ->  split by position  ->  tokenizer  ->  tokenizer.json, training.tokens, validation.tokens

`prepare` collects the corpus every time, which is fast, and tokenizes it only if the files in the folder were made from another
text or with other settings; data.json records both. A byte pair vocabulary is trained on the training part. A character vocabulary
is that of the whole text, as validation text with an unknown character could not be encoded.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import numpy as np
import numpy.typing as npt

from samebits.core import Stream
from samebits.core.files import replace_file, require_file
from samebits.core.records import Limits, read_json
from samebits.lm.config import TrainConfig
from samebits.lm.schema import ConfigError
from samebits.text import batches, bytepair_tokenizer, plain_tokenizers, sources, tokenizer, tokenizer_file, tokens
from samebits.text.corpus import BOUNDARY, Corpus

__all__ = ["CORPORA", "TOKENIZER", "Data", "collect", "encoded", "prepare", "reopen", "windows"]

Int64 = npt.NDArray[np.int64]

CORPORA = {"shakespeare": sources.shakespeare, "python": sources.python_code}
"""The corpora by name."""

TOKENIZER = "tokenizer.json"
"""The name of the tokenizer's file in a run's folder."""

_ORIGIN = "data.json"
_KINDS = {"character", "byte", "bytepair"}
_PARTS = ("training.tokens", "validation.tokens")
_Digest = Annotated[str, Limits(pattern="[0-9a-f]{64}")]


class _Origin(TypedDict):
    """data.json: the text, and the settings that decide its tokens."""

    corpus: _Digest
    tokenizer: str
    merged_vocabulary: Annotated[int, Limits(least=0)]
    validation: float
    special: NotRequired[str]
    end_of_text: NotRequired[str]
    tokenizer_digest: NotRequired[_Digest]


@dataclass(frozen=True)
class Data:
    """A tokenizer, and the tokens for training and for validation."""

    tokenizer: tokenizer.Tokenizer
    training: tokens.Tokens
    validation: tokens.Tokens

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> "Data":
        """Open the files that `prepare` made in a folder.

        Raises:
            ValueError: A file is damaged, or the token files were made with another tokenizer.
            OSError: A file is missing.
        """
        folder = Path(folder)
        found = cls(tokenizer_file.load_tokenizer(folder / TOKENIZER), *[tokens.open_tokens(folder / name) for name in _PARTS])
        for part in (found.training, found.validation):
            if part.tokenizer != found.tokenizer.digest:
                raise ValueError(f"{part.path} was made with another tokenizer than {folder / TOKENIZER}")
            part.verify()
        return found

    @property
    def digest(self) -> str:
        """SHA-256 of the tokenizer and of all tokens, in 64 hexadecimal digits."""
        return hashlib.sha256(f"{self.tokenizer.digest}\n{self.training.digest}\n{self.validation.digest}\n".encode()).hexdigest()

    def batches(self, config: TrainConfig) -> batches.Batches:
        """The training batches of a configuration.

        Raises:
            ConfigError: The training text is shorter than the context.
        """
        stream, time = Stream(config.seed).split("batches"), config.model.context
        if len(self.training) <= time:
            raise ConfigError(
                f"data must have more tokens for training than the context, which is {time}, got {len(self.training)}"
            )
        return batches.Batches(self.training.ids, batch=config.batch, time=time, stream=stream)

    def windows(self, config: TrainConfig) -> list[tuple[Int64, Int64]]:
        """The evaluation windows of a configuration; see `windows`."""
        return windows(self.validation.ids, config)


def windows(ids: npt.NDArray[Any], config: TrainConfig) -> list[tuple[Int64, Int64]]:
    """Batches of windows to evaluate on, evenly spread over the tokens; all windows if ``evaluation_windows`` is 0.

    Raises:
        ValueError: There are fewer than two tokens.
    """
    time, batch, wanted = config.model.context, config.batch // config.shards, config.evaluation_windows
    whole = (len(ids) - 1) // time
    if not 0 < wanted < whole:
        return list(batches.evaluation_windows(ids, time=time, batch=batch))
    starts = np.arange(wanted, dtype=np.int64) * np.int64(whole) // np.int64(wanted) * np.int64(time)
    return [batches.windows_at(ids, starts[i : i + batch], time) for i in range(0, wanted, batch)]


def collect(name: str, undecodable: str = "keep") -> Corpus:
    """Collect a corpus by name, or from a text file or a folder of text files; see the setting ``undecodable``.

    Raises:
        ConfigError: The name is neither that of a corpus nor a path.
        CorpusError: The package of a corpus is missing, has another version, or was changed.
        OSError: A file cannot be read.
        ValueError: There is no text.
    """
    if name in CORPORA:
        return CORPORA[name]()
    if not name or not Path(name).exists():  # Path("") is the current folder
        where = "" if not name else ", which does not exist" if Path(name).is_absolute() else f", which is not in {Path.cwd()}"
        raise ConfigError(f"data must be {', '.join(map(repr, CORPORA))}, or the path of a file or folder, got {name!r}{where}")
    found = sources.read(name)
    return found.clean(undecodable="replace") if undecodable == "replace" else found


def reopen(config: TrainConfig, folder: str | os.PathLike[str]) -> Data:
    """Open the data in the folder of a run that has a checkpoint; nothing is written, and the corpus is not read.

    The tokens in the folder are the data of the run: it can be continued from anywhere, also when the text has moved.

    Raises:
        ConfigError: The data were made with other settings.
        ValueError: A file is damaged.
        OSError: A file is missing or cannot be read.
    """
    folder = Path(folder)
    recorded, wanted = _recorded(folder / _ORIGIN), _origin(config)
    if recorded is None:
        raise FileNotFoundError(f"{folder} has a checkpoint, but no {_ORIGIN}; copy that of the run, or use another folder")
    moved = {"corpus", "tokenizer_digest"}  # may be elsewhere now: what was made of them is here
    if not {recorded.get("tokenizer"), config.tokenizer} & _KINDS:
        moved.add("tokenizer")
    differ = [
        f"{name} was {recorded.get(name)!r} and is {wanted.get(name)!r}"
        for name in wanted | recorded
        if recorded.get(name) != wanted.get(name) and name not in moved
    ]
    if differ:
        raise ConfigError(f"{folder} has a model that was trained on other data: {'; '.join(differ)}; use another folder")
    return Data.open(folder)


def prepare(config: TrainConfig, folder: str | os.PathLike[str]) -> Data:
    """Prepare the data of a configuration in a folder, or open them if they are there.

    Args:
        config: The configuration.
        folder: The folder of the files; it is created if needed.

    Raises:
        ConfigError: ``data`` or ``tokenizer`` does not exist.
        CorpusError: The package of the corpus is missing, has another version, or was changed.
        OSError: A file cannot be read or written.
        ValueError: The text is too short to be split, or not UTF-8 though the tokenizer needs it, or a file is damaged.
    """
    folder = Path(folder)
    found = collect(config.data, config.undecodable)
    origin = {"corpus": found.digest, **_origin(config)}
    if config.tokenizer not in _KINDS:
        origin["tokenizer_digest"] = _saved_tokenizer(config.tokenizer).digest
    if _recorded(folder / _ORIGIN) != origin:
        folder.mkdir(parents=True, exist_ok=True)
        _write(found, config, folder)
        with replace_file(folder / _ORIGIN) as file:
            file.write(json.dumps(origin, indent=1).encode() + b"\n")
    return Data.open(folder)


def _origin(config: TrainConfig) -> dict[str, object]:
    """The settings that decide the tokens of a text."""
    origin: dict[str, object] = {
        "tokenizer": config.tokenizer,
        "merged_vocabulary": config.merged_vocabulary if config.tokenizer == "bytepair" else 0,
        "validation": config.validation,
    }
    # recorded only where they are used, so that a folder of an earlier version remains valid
    origin |= {
        name: getattr(config, name) for name in ("special", "end_of_text") if getattr(config, name) != getattr(TrainConfig, name)
    }
    return origin


def _recorded(path: Path) -> dict[str, Any] | None:
    """The text and the settings that the files of a folder were made from; None if that is not recorded."""
    if not os.path.lexists(path):
        return None
    require_file(path)
    return dict(read_json(path, _Origin))


def _write(found: Corpus, config: TrainConfig, folder: Path) -> None:
    training, validation = found.split(config.validation, by="position")
    chosen = _tokenizer(config, found, training)
    if chosen.special_tokens and config.special != "text":
        training, validation = found.split(config.validation, by="position", keep=chosen.special_tokens)
    (folder / _ORIGIN).unlink(missing_ok=True)
    tokenizer_file.save_tokenizer(chosen, folder / TOKENIZER)
    for name, part in zip(_PARTS, (training, validation), strict=True):
        tokens.write_tokens(
            folder / name, encoded(chosen, part, config), vocabulary_size=chosen.vocabulary_size, tokenizer=chosen.digest
        )


def _tokenizer(config: TrainConfig, whole: Corpus, training: Corpus) -> tokenizer.Tokenizer:
    kind, end = config.tokenizer, config.end_of_text
    special = [end] if end else []
    if kind == "character":
        return plain_tokenizers.CharacterTokenizer.of([BOUNDARY, *(document.text for document in whole)], special)
    if kind == "byte":
        return plain_tokenizers.ByteTokenizer(special)
    if kind == "bytepair":
        texts = [document.content for document in training]
        if end and config.special == "allow":  # the token's name is not text to learn merges from
            texts = [part for text in texts for part in text.split(end.encode())]
        return bytepair_tokenizer.BytePairTokenizer.train(texts, config.merged_vocabulary, special)
    loaded = _saved_tokenizer(kind)
    if end and end not in loaded.special_tokens:
        raise ConfigError(f"end_of_text must be a special token of {kind}, {list(loaded.special_tokens)}, got {end!r}")
    return loaded


def _saved_tokenizer(path: str) -> tokenizer.Tokenizer:
    if not Path(path).is_file():
        raise ConfigError(f"tokenizer must be 'character', 'byte', 'bytepair' or the path of a saved tokenizer, got {path!r}")
    return tokenizer_file.load_tokenizer(path)


def encoded(chosen: tokenizer.Tokenizer, part: Corpus, config: TrainConfig) -> Iterator[Int64]:
    """The tokens of each document, and between each two ``end_of_text`` or those of an empty line.

    Raises:
        ConfigError: A document contains a special token, and ``special`` is "refuse".
        ValueError: A document has a character that no token stands for.
    """
    end = config.end_of_text
    between = np.array([chosen.special_tokens[end]], np.int64) if end else None
    for number, document in enumerate(part):
        if number:
            yield chosen.encode_ordinary(BOUNDARY) if between is None else between
        try:
            yield tokenizer.encode_special(chosen, document.content, config.special)
        except tokenizer.SpecialTokenError as error:
            raise ConfigError(
                f"data: document {document.name!r} has the special token {error.token!r} at character {error.place}; set special "
                'to "allow" to make it the token, or to "text" to read it as text'
            ) from None
        except ValueError as error:
            raise ValueError(f"data: document {document.name!r}: {error}") from error
