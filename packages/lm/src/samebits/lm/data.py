"""Data of a run: from a corpus to the token files a model is trained on, made once and kept in the run's folder.

    corpus  ->  split by position  ->  tokenizer  ->  tokenizer.json, training.tokens, validation.tokens

`prepare` collects the corpus every time, which is quick, and tokenises it only if what is in the folder was made from another
text or in another way: data.json beside the files says what they were made from. A vocabulary is trained on the training part;
characters are those of the whole text, since one that no token stands for could not be evaluated.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core import Stream
from samebits.core.files import replace_file
from samebits.lm.config import ConfigError, TrainConfig
from samebits.text import batches, bytepair_tokenizer, plain_tokenizers, sources, tokenizer, tokenizer_file, tokens
from samebits.text.corpus import BOUNDARY, Corpus

__all__ = ["CORPORA", "TOKENIZER", "Data", "collect", "encoded", "prepare", "windows"]

Int64 = npt.NDArray[np.int64]

CORPORA = {"shakespeare": sources.shakespeare, "python": sources.python_code}
"""The corpora that have a name."""

TOKENIZER = "tokenizer.json"
_RECORD = "data.json"
_PARTS = ("training.tokens", "validation.tokens")


@dataclass(frozen=True)
class Data:
    """A tokenizer, and the tokens to train on and to evaluate on."""

    tokenizer: tokenizer.Tokenizer
    training: tokens.Tokens
    validation: tokens.Tokens

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> "Data":
        """What `prepare` left in a folder.

        Raises:
            ValueError: A file is damaged, or the files do not belong together.
            OSError: A file is missing.
        """
        folder = Path(folder)
        found = cls(tokenizer_file.load_tokenizer(folder / TOKENIZER), *[tokens.open_tokens(folder / name) for name in _PARTS])
        for part in (found.training, found.validation):
            if part.tokenizer != found.tokenizer.digest:
                raise ValueError(f"{part.path} was made by another tokenizer than {folder / TOKENIZER}")
            part.verify()
        return found

    @property
    def digest(self) -> str:
        """SHA-256 of the tokenizer and of all tokens, in 64 hexadecimal digits."""
        return hashlib.sha256(f"{self.tokenizer.digest}\n{self.training.digest}\n{self.validation.digest}\n".encode()).hexdigest()

    def batches(self, config: TrainConfig) -> batches.Batches:
        """The batches that a run of this configuration learns from.

        Raises:
            ConfigError: The training text is shorter than the context.
        """
        stream, time = Stream(config.seed).split("batches"), config.model.context
        if len(self.training) <= time:
            raise ConfigError(
                f"data has {len(self.training)} tokens to train on: more than the context is needed, which is {time}"
            )
        return batches.Batches(self.training.ids, batch=config.batch, time=time, stream=stream)

    def windows(self, config: TrainConfig) -> list[tuple[Int64, Int64]]:
        """The windows that such a run is evaluated on, see `windows`."""
        return windows(self.validation.ids, config)


def windows(ids: npt.NDArray[Any], config: TrainConfig) -> list[tuple[Int64, Int64]]:
    """Windows of tokens to evaluate on, in batches: evenly spread, or all with ``evaluation_windows = 0``.

    Raises:
        ValueError: There are fewer than two tokens.
    """
    time, batch, wanted = config.model.context, config.batch // config.micro_batches, config.evaluation_windows
    whole = (len(ids) - 1) // time
    if not 0 < wanted < whole:
        return list(batches.evaluation_windows(ids, time=time, batch=batch))
    starts = np.arange(wanted, dtype=np.int64) * np.int64(whole) // np.int64(wanted) * np.int64(time)
    return [batches.windows_at(ids, starts[i : i + batch], time) for i in range(0, wanted, batch)]


def collect(name: str) -> Corpus:
    """The corpus of a name, or the texts of a file or a folder.

    Raises:
        ConfigError: There is neither a corpus nor a file of that name.
        CorpusError: The package that a corpus comes from is missing, has another version, or was changed.
        OSError: A file cannot be read.
        ValueError: There is no text in it.
    """
    if name in CORPORA:
        return CORPORA[name]()
    if not name or not Path(name).exists():  # the path of no name is the folder one is in
        raise ConfigError(f"data is {name!r}: one of {', '.join(map(repr, CORPORA))}, or the path of a file or folder, is needed")
    return sources.read(name)


def prepare(config: TrainConfig, folder: str | os.PathLike[str], *, keep: bool = False) -> Data:
    """The data that a configuration asks for, in files of a folder, which is made if it is not there.

    Args:
        config: What asks for them.
        folder: Where they are kept.
        keep: Whether data of another kind that are there are refused instead of replaced: a model was trained on them.

    Raises:
        ConfigError: ``data`` or ``tokenizer`` names nothing that there is, or there are data to keep.
        CorpusError: The package that the corpus comes from is missing, has another version, or was changed.
        OSError: A file cannot be read or written.
        ValueError: The text is too short to be split, is not UTF-8 where characters are wanted, or a file is damaged.
    """
    folder = Path(folder)
    found = collect(config.data)
    origin = {
        "corpus": found.digest,
        "tokenizer": config.tokenizer,
        "merged_vocabulary": config.merged_vocabulary if config.tokenizer == "bytepair" else 0,
        "validation": config.validation,
    }
    recorded = _recorded(folder / _RECORD)
    if keep and isinstance(recorded, dict) and recorded != origin:
        differ = [
            f"{name} was {recorded.get(name)!r} and is {origin[name]!r}" for name in origin if recorded.get(name) != origin[name]
        ]
        raise ConfigError(f"{folder} has a model that was trained on other data: {'; '.join(differ)}; take another folder")
    if recorded != origin:
        folder.mkdir(parents=True, exist_ok=True)
        _write(found, config, folder)
        with replace_file(folder / _RECORD) as file:
            file.write(json.dumps(origin, indent=1).encode() + b"\n")
    return Data.open(folder)


def _recorded(path: Path) -> Any:
    """What the files of a folder were made from, None if nobody knows."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _write(found: Corpus, config: TrainConfig, folder: Path) -> None:
    training, validation = found.split(config.validation, by="position")
    chosen = _tokenizer(config, found, training)
    (folder / _RECORD).unlink(missing_ok=True)
    tokenizer_file.save_tokenizer(chosen, folder / TOKENIZER)
    for name, part in zip(_PARTS, (training, validation), strict=True):
        tokens.write_tokens(folder / name, encoded(chosen, part), vocabulary_size=chosen.vocabulary_size, tokenizer=chosen.digest)


def _tokenizer(config: TrainConfig, whole: Corpus, training: Corpus) -> tokenizer.Tokenizer:
    kind = config.tokenizer
    if kind == "character":
        return plain_tokenizers.CharacterTokenizer.of([BOUNDARY, *(document.text for document in whole)])
    if kind == "byte":
        return plain_tokenizers.ByteTokenizer()
    if kind == "bytepair":
        return bytepair_tokenizer.BytePairTokenizer.train([document.content for document in training], config.merged_vocabulary)
    if not Path(kind).is_file():
        raise ConfigError(f"tokenizer is {kind!r}: 'character', 'byte', 'bytepair' or the path of a saved one is needed")
    return tokenizer_file.load_tokenizer(kind)


def encoded(chosen: tokenizer.Tokenizer, part: Corpus) -> Iterator[Int64]:
    """The tokens of each document, and of the boundary between two."""
    for number, document in enumerate(part):
        if number:
            yield chosen.encode_ordinary(BOUNDARY)
        yield chosen.encode_ordinary(document.content)
