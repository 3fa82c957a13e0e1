"""A run: one configuration, its data, its model and its trainer, in one folder.

    config.toml   data.json   tokenizer.json   training.tokens   validation.tokens   checkpoint.safetensors   metrics.jsonl

`start` makes all of it or goes on with what is there, so a run that was interrupted at any moment, its data half made or its
last checkpoint half written, is started again in the same way. `open_run` opens what is finished, to write or to be evaluated.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from samebits.core import Stream
from samebits.core.files import replace_file
from samebits.lm import training
from samebits.lm.config import ConfigError, TrainConfig
from samebits.lm.data import TOKENIZER, Data, prepare
from samebits.lm.evaluation import byte_lengths
from samebits.lm.model import LanguageModel, load_model
from samebits.lm.training import Callback, Trainer
from samebits.text.tokenizer import Tokenizer
from samebits.text.tokenizer_file import load_tokenizer

__all__ = ["CONFIG", "OpenRun", "Run", "checkpoint_of", "open_run", "read_metrics", "start"]

CONFIG = "config.toml"


class Run(NamedTuple):
    """A run that can be trained: ``run.trainer.train()``."""

    folder: Path
    config: TrainConfig
    data: Data
    trainer: Trainer


class OpenRun(NamedTuple):
    """A trained model and its tokenizer."""

    model: LanguageModel
    config: TrainConfig
    tokenizer: Tokenizer


def start(config: TrainConfig, folder: str | os.PathLike[str], callbacks: Sequence[Callback] = ()) -> Run:
    """A run of a configuration in a folder: a new one, or the one that is there, where it was interrupted.

    The weights are drawn from the stream ``Stream(config.seed).split("model")``, and what else is random from its neighbours.

    Args:
        config: What to train. A vocabulary of size 0 becomes the tokenizer's.
        folder: Where to keep it; it is made if it is not there.
        callbacks: Called after every step, see `samebits.lm.Trainer`.

    Raises:
        CheckpointError: The folder has a checkpoint that is damaged, or is of another run.
        ConfigError: The configuration does not fit the data, or is of other data than the checkpoint there.
        CorpusError, OSError, ValueError: The data cannot be prepared, see `samebits.lm.data.prepare`.
    """
    folder = Path(folder)
    data = prepare(config, folder, keep=(folder / training.CHECKPOINT).exists())
    size = data.tokenizer.vocabulary_size
    if config.model.vocabulary_size not in {0, size}:
        raise ConfigError(f"vocabulary_size is {config.model.vocabulary_size}: 0 or {size} is needed, as the tokenizer has")
    whole = replace(config, model=replace(config.model, vocabulary_size=size))
    batches, windows = data.batches(whole), data.windows(whole)  # whether the text is long enough, before the weights are made
    trainer = Trainer(
        whole,
        LanguageModel(whole.model, stream=Stream(config.seed).split("model")),
        batches,
        windows,
        lengths=byte_lengths(data.tokenizer),
        folder=folder,
        data=data.digest,
        callbacks=callbacks,
    )
    with replace_file(folder / CONFIG) as file:
        file.write(config.to_toml().encode())
    return Run(folder, whole, data, trainer)


def checkpoint_of(path: str | os.PathLike[str]) -> Path:
    """The checkpoint of a run's folder, or the path itself if it is a file.

    Raises:
        FileNotFoundError: There is no checkpoint.
    """
    path = Path(path)
    found = path / training.CHECKPOINT if path.is_dir() else path
    if not found.exists():
        raise FileNotFoundError(f"{found} does not exist: the folder of a run that was saved, or a checkpoint, is needed")
    return found


def open_run(path: str | os.PathLike[str]) -> OpenRun:
    """The model of a run's folder or of a checkpoint, and the tokenizer beside it.

    Raises:
        CheckpointError: The checkpoint is damaged, or is none of a model.
        ValueError: The tokenizer's file is damaged, or the tokenizer does not fit the model.
        OSError: A file is missing or cannot be read.
    """
    file = checkpoint_of(path)
    model, config = load_model(file)
    tokenizer = load_tokenizer(file.parent / TOKENIZER)
    if tokenizer.vocabulary_size != model.config.vocabulary_size:
        raise ValueError(
            f"{file.parent / TOKENIZER} has {tokenizer.vocabulary_size} tokens, the model has {model.config.vocabulary_size}"
        )
    return OpenRun(model, config, tokenizer)


def read_metrics(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """What each step of a run measured so far, in order; a line that is half written is left out."""
    path = Path(folder) / training.METRICS
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith(b"\n")]
