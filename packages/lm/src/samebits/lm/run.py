"""A run: one configuration, its data, its model and its trainer, in one folder.

    config.toml   data.json   tokenizer.json   training.tokens   validation.tokens   checkpoint.safetensors   metrics.jsonl
    receipt.json   initial.safetensors, if the run starts from the weights of another   checkpoints/, if all are kept

`start` creates a run, or continues the one in the folder, wherever it was interrupted: while its data were prepared, in a step, or
while a checkpoint was written. `open_run` opens a trained model, for generation or evaluation.
"""

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from samebits.core import Stream
from samebits.core.files import replace_file
from samebits.lm import checkpoint, training
from samebits.lm.config import TrainConfig
from samebits.lm.data import TOKENIZER, Data, prepare, reopen
from samebits.lm.evaluation import byte_lengths
from samebits.lm.model import LanguageModel, load_model
from samebits.lm.run_lock import locked
from samebits.lm.schema import ConfigError
from samebits.lm.training import Callback, Trainer
from samebits.lm.weights import Weights, read_weights
from samebits.lm.workers import ALONE, Workers
from samebits.text.tokenizer import Tokenizer
from samebits.text.tokenizer_file import load_tokenizer

__all__ = ["CONFIG", "INITIAL", "OpenRun", "Run", "checkpoint_of", "open_run", "start"]

CONFIG = "config.toml"
"""The name of the configuration file in a run's folder."""

INITIAL = "initial.safetensors"
"""The name of the file of initial weights in the folder of a run that starts from those of another."""


class Run(NamedTuple):
    """A run, from `start`; ``run.trainer.train()`` trains it."""

    folder: Path
    config: TrainConfig
    data: Data
    trainer: Trainer


class OpenRun(NamedTuple):
    """A trained model, its configuration and its tokenizer, from `open_run`."""

    model: LanguageModel
    config: TrainConfig
    tokenizer: Tokenizer


def start(
    config: TrainConfig,
    folder: str | os.PathLike[str],
    callbacks: Sequence[Callback] = (),
    *,
    init_from: str | os.PathLike[str] | None = None,
    keep_checkpoints: bool = False,
    workers: Workers = ALONE,
) -> Run:
    """Create a run in a folder, or continue the one that is there.

    The initial weights are drawn from ``Stream(config.seed).split("model")``, or copied from ``init_from``. A run is continued with
    its own settings; only those that make it longer may differ, see `samebits.lm.optimization.PROLONGING`.

    Args:
        config: The configuration. A vocabulary size of 0 becomes the tokenizer's.
        folder: The folder of the run; it is created if needed.
        callbacks: Called after each step; see `samebits.lm.Trainer`.
        init_from: The run, the checkpoint or the safetensors file whose weights the new run starts from, to train them on other
            data. The tokenizer must be the same. The weights are copied to ``initial.safetensors`` in the folder.
        keep_checkpoints: Whether to keep all checkpoints that are due, not the last one alone.
        workers: The processes that compute the run; by default this one alone. All of them call this with the same arguments.
            Worker 0 creates the folder, the others read it.

    Raises:
        CheckpointError: The folder has a checkpoint that is damaged, or belongs to another run.
        ConfigError: The configuration does not fit the data, or the checkpoint was trained on other data.
        CorpusError, OSError, ValueError: The data cannot be prepared; see `samebits.lm.data.prepare`.
        FolderInUseError: Another process trains in the folder.
        ValueError: ``init_from`` is given, but the folder has a checkpoint.

    Example:
        >>> import tempfile
        >>> from samebits.lm import ModelConfig
        >>> folder = tempfile.TemporaryDirectory()
        >>> Path(folder.name, "text.txt").write_text("the cat sat on the mat. " * 40)
        960
        >>> model = ModelConfig(context=8, layers=1, heads=2, channels=16)
        >>> config = TrainConfig(data=f"{folder.name}/text.txt", steps=2, warmup=1, batch=2, model=model)
        >>> run = start(config, f"{folder.name}/run")
        >>> run.trainer.train()
        >>> run.trainer.step
        2
        >>> open_run(run.folder).tokenizer.vocabulary_size == run.config.model.vocabulary_size
        True
        >>> del run
        >>> folder.cleanup()
    """
    folder = Path(folder)
    if workers.rank:
        workers.gather(None)  # until worker 0 has prepared the folder
        return _start(config, folder, callbacks, None, workers, keep=keep_checkpoints)
    with locked(folder):
        source = None if init_from is None else checkpoint_of(init_from)
        run = _start(config, folder, callbacks, source, workers, keep=keep_checkpoints)
    workers.gather(None)
    return run


def _start(
    config: TrainConfig, folder: Path, callbacks: Sequence[Callback], init_from: Path | None, workers: Workers, *, keep: bool
) -> Run:
    trained = os.path.lexists(folder / training.CHECKPOINT)
    if trained and init_from:
        raise ValueError(f"start: init_from starts a new run, but {folder} has a checkpoint; leave it out, or use another folder")
    if not trained and not init_from and os.path.lexists(folder / INITIAL):  # it was interrupted before its first checkpoint
        init_from = folder / INITIAL
    weights = read_weights(init_from) if init_from else None
    data = _seen(folder, workers) if workers.rank else reopen(config, folder) if trained else prepare(config, folder)
    size = data.tokenizer.vocabulary_size
    if config.model.vocabulary_size not in {0, size}:
        raise ConfigError(f"vocabulary_size must be that of the tokenizer, {size}, or 0, got {config.model.vocabulary_size}")
    whole = replace(config, model=replace(config.model, vocabulary_size=size))
    batches, windows = data.batches(whole), data.windows(whole)  # a text that is too short is refused here
    model = LanguageModel(whole.model, stream=Stream(config.seed).split("model"))
    if init_from and weights:
        _initialize(model, weights, init_from, data.tokenizer)
    initial = ""
    if weights:
        state, metadata = model.state_dict(), {"tokenizer": data.tokenizer.digest}
        initial = checkpoint.digest(state, metadata) if workers.rank else checkpoint.save(folder / INITIAL, state, metadata)
    trainer = Trainer(
        whole,
        model,
        batches,
        windows,
        lengths=byte_lengths(data.tokenizer),
        folder=folder,
        data=data.digest,
        tokenizer=data.tokenizer.digest,
        initial=initial,
        callbacks=callbacks,
        keep_checkpoints=keep,
        workers=workers,
    )
    if workers.rank == 0:
        with replace_file(folder / CONFIG) as file:
            file.write(config.to_toml().encode())
    return Run(folder, whole, data, trainer)


def _seen(folder: Path, workers: Workers) -> Data:
    """The data that worker 0 has prepared."""
    try:
        return Data.open(folder)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"worker {workers.rank} does not see {error.filename}, which worker 0 has written; all workers need one file system"
        ) from error


def _initialize(model: LanguageModel, weights: Weights, source: Path, tokenizer: Tokenizer) -> None:
    """Copy the weights of another run to a model."""
    if weights.metadata.get("tokenizer", tokenizer.digest) not in {"", tokenizer.digest}:
        raise ConfigError(
            f"tokenizer must be that of the initial weights, {source}, got another one; "
            f'set it to the path of theirs, such as "{source.parent / TOKENIZER}"'
        )
    try:
        model.load_state_dict(weights.state)
    except ValueError as error:
        raise checkpoint.CheckpointError(f"{source}: {error}") from None


def checkpoint_of(path: str | os.PathLike[str]) -> Path:
    """The checkpoint of a run's folder, or the path itself if it is a file.

    Raises:
        FileNotFoundError: There is no checkpoint.
    """
    path = Path(path)
    found = path / training.CHECKPOINT if path.is_dir() else path
    if not os.path.lexists(found):
        raise FileNotFoundError(f"{found} does not exist; give a checkpoint, or the folder of a run that has one")
    return found


def open_run(path: str | os.PathLike[str]) -> OpenRun:
    r"""Open the model of a run's folder or of a checkpoint, with the tokenizer beside it.

    Raises:
        CheckpointError: The checkpoint is damaged, or is not one of a training run.
        ValueError: The tokenizer's file is damaged, or is not the one that the model was trained with.
        OSError: A file is missing or cannot be read.

    Example:
        >>> import tempfile
        >>> from samebits.lm import ModelConfig
        >>> folder = tempfile.TemporaryDirectory()
        >>> Path(folder.name, "text.txt").write_text("to be or not to be, " * 40)
        800
        >>> model = ModelConfig(context=8, layers=1, heads=2, channels=16)
        >>> config = TrainConfig(data=f"{folder.name}/text.txt", steps=1, warmup=1, batch=2, model=model)
        >>> start(config, f"{folder.name}/run").trainer.train()
        >>> model, config, tokenizer = open_run(f"{folder.name}/run")
        >>> config.steps, model.training, tokenizer.decode([0, 1])
        (1, False, '\n ')
        >>> folder.cleanup()
    """
    file = checkpoint_of(path)
    model, config = load_model(file)
    if not (file.parent / TOKENIZER).exists():
        raise FileNotFoundError(f"{file} has no {TOKENIZER} beside it; copy that of its run to {file.parent}")
    tokenizer = load_tokenizer(file.parent / TOKENIZER)
    recorded = checkpoint.read_header(file)[1].get("tokenizer", "")
    if not recorded:
        warnings.warn(f"{file} does not say which tokenizer it was trained with; the one beside it is used", stacklevel=2)
    if tokenizer.vocabulary_size != model.config.vocabulary_size or recorded not in {"", tokenizer.digest}:
        raise ValueError(
            f"{file.parent / TOKENIZER} must be the tokenizer that the model was trained with, of {model.config.vocabulary_size} "
            f"tokens and digest {recorded[:16] or 'unknown'}, got one of {tokenizer.vocabulary_size} and {tokenizer.digest[:16]}"
        )
    return OpenRun(model, config, tokenizer)
