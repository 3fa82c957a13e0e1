"""Training: steps of gradient descent on a language model, which can be cut anywhere and end with the same bits.

    batch -> loss -> gradients, summed over micro-batches -> clipped -> AdamW at the schedule's rate -> the next step

A step is a pure function of the weights, the optimiser's moments and the step's number: batches, dropout and the learning
rate are looked up by number, so nothing else needs to be remembered. All of it is in one checkpoint, moved into place in one
moment. A run that was interrupted, even killed, goes on from the last one and repeats what came after, bit by bit.
"""

import dataclasses
import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from samebits.core import Stream, numerics
from samebits.lm import checkpoint
from samebits.lm.checkpoint import CheckpointError
from samebits.lm.config import ConfigError, TrainConfig
from samebits.lm.evaluation import evaluate
from samebits.lm.model import LanguageModel
from samebits.nn import schedule
from samebits.nn.adamw import AdamW
from samebits.nn.clipping import clip_gradient_norm

__all__ = ["BatchSource", "Callback", "Interrupted", "Record", "Trainer", "TrainingError", "learning_rate"]

Int64 = npt.NDArray[np.int64]
Record = dict[str, float]
"""What a step measured, a line of metrics.jsonl: see `Trainer`."""

CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.jsonl"
FORMAT = "samebits.lm/1"


class TrainingError(FloatingPointError):
    """The training diverged; the message says at which step, and what was not finite."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C between two steps: all is saved, and the message says where and how to go on."""


class BatchSource(Protocol):
    """Where a trainer's batches come from."""

    def batch(self, step: int) -> tuple[Int64, Int64]:
        """Inputs and targets of that step, counted from 0, int64 (B, T): the same whenever it is asked for."""
        ...


class Callback(Protocol):
    """What is called after each step, with the trainer and what the step measured."""

    def __call__(self, trainer: "Trainer", record: Mapping[str, float]) -> object: ...


def learning_rate(config: TrainConfig, step: int) -> float:
    """The learning rate of a step, counted from 0.

    Example:
        >>> config = TrainConfig(steps=4, warmup=2, learning_rate=1.0, final_learning_rate=0.5)
        >>> [learning_rate(config, step) for step in range(5)]
        [0.5, 1.0, 1.0, 0.75, 0.5]
    """
    peak, warmup, steps, final = config.learning_rate, config.warmup, config.steps, config.final_learning_rate
    if config.schedule == "constant":
        return schedule.linear_warmup(step, peak=peak, warmup=warmup)
    if config.schedule == "cosine":
        return schedule.cosine(step, peak=peak, steps=steps, warmup=warmup, final=final)
    return schedule.warmup_stable_decay(step, peak=peak, steps=steps, decay=config.decay, warmup=warmup, final=final)


class Trainer:
    """A training run: its model, its optimiser and where it is.

    After each step a record is made of what it measured: ``step`` (the number of updates so far), ``loss`` (of its batch,
    before the update), ``learning_rate``, ``gradient_norm`` (before clipping), ``tokens`` (seen so far), ``seconds`` (it took,
    the one number that differs between machines), and after an evaluation ``validation_loss`` and, where the bytes of
    tokens are known, ``bits_per_byte``. An evaluation before the first step has ``step`` 0.

    Args:
        config: How to train. Its model's vocabulary is that of ``model``.
        model: The model, changed in place.
        batches: What to learn from.
        windows: What to evaluate on: batches of inputs and targets, int64 (B, T); none evaluates nothing.
        lengths: The bytes of each token, int64 (V,), for bits per byte.
        folder: Where checkpoint.safetensors and metrics.jsonl are kept; None keeps nothing. If there is a checkpoint, the
            run goes on from it; if not, it begins anew.
        data: A digest of what is learnt from, so that no run goes on with other data.
        callbacks: Called in order with the trainer and the record of each step.

    Raises:
        CheckpointError: The checkpoint is damaged, or is not of this configuration, model or data.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: LanguageModel,
        batches: BatchSource,
        windows: Sequence[tuple[Int64, Int64]] = (),
        *,
        lengths: Int64 | None = None,
        folder: str | os.PathLike[str] | None = None,
        data: str = "",
        callbacks: Sequence[Callback] = (),
    ) -> None:
        if config.model != model.config:
            raise ValueError(f"config has {config.model}, which is not that of the model: {model.config}")
        self.config, self.model, self.batches, self.windows, self.lengths = config, model, batches, windows, lengths
        self.folder = None if folder is None else Path(folder)
        self.callbacks = list(callbacks)
        self.step = 0
        self._parameters = list(model.named_parameters())
        groups: list[dict[str, Any]] = [
            {"parameters": [(name, p) for name, p in self._parameters if p.ndim >= 2]},
            {"parameters": [(name, p) for name, p in self._parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimizer = AdamW(
            groups,
            learning_rate=config.learning_rate,
            betas=(config.beta1, config.beta2),
            weight_decay=config.weight_decay,
        )
        self._metadata = {"format": FORMAT, "config": config.to_toml(), "data": data}
        self._dropout = Stream(config.seed).split("dropout")
        self._metrics = None if self.folder is None else self.folder / METRICS
        self._saved = -1
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            if (self.folder / CHECKPOINT).exists():
                self._resume(self.folder / CHECKPOINT)

    def train(self) -> None:
        """Go on to the last step of the configuration, in its arithmetic; a run that is there does nothing.

        Ctrl-C lets the step end, saves, and raises; a second one raises at once, without saving.

        Raises:
            TrainingError: A loss or a gradient is not finite; the weights are those before the step.
            Interrupted: Ctrl-C, after saving.
        """
        config = self.config
        self.model.train()
        if self._metrics is not None:
            _cut(self._metrics, self.step)
        with numerics("exact" if config.numerics == "exact" else "fast"), _deferred_interrupt() as interrupted:
            if self.step == 0 and self.windows:
                self._record({"step": 0, **self._evaluate()})
            while self.step < config.steps and not interrupted():
                record = self._step()
                last = self.step == config.steps
                if self.windows and (last or self.step % config.evaluate_every == 0):
                    record |= self._evaluate()
                self._record(record)
                if last or self.step % config.checkpoint_every == 0:
                    self.save()
        if self.step < config.steps:
            self.save()
            where = f", saved in {self.folder}: a trainer of that folder goes on from there" if self.folder else ""
            raise Interrupted(f"interrupted after step {self.step} of {config.steps}{where}")

    def save(self) -> None:
        """Write the checkpoint, if there is a folder and a step since the last one.

        Raises:
            TrainingError: A weight is not finite; the last checkpoint stays.
        """
        if self.folder is None or self._metrics is None or self._saved == self.step:
            return
        if bad := self._not_finite():
            raise TrainingError(f"diverged at step {self.step}{bad}")
        if self._metrics.exists():  # what the checkpoint goes on from is on the disk before it
            with self._metrics.open("ab") as file:
                os.fsync(file.fileno())
        tensors = {f"model.{name}": np.asarray(tensor.data) for name, tensor in self.model.named_tensors()}
        tensors |= {f"optimizer.{name}": array for name, array in self.optimizer.state_dict().items()}
        checkpoint.save(self.folder / CHECKPOINT, tensors, {**self._metadata, "step": str(self.step)})
        self._saved = self.step

    def _resume(self, path: Path) -> None:
        """Be where a checkpoint was made."""
        tensors, metadata, _ = checkpoint.load(path)
        for name in ("format", "data"):
            if metadata.get(name) != self._metadata[name]:
                raise CheckpointError(f"{path}: its {name} is {metadata.get(name)!r}, this run's is {self._metadata[name]!r}")
        if metadata.get("config") != self._metadata["config"]:
            self._refuse_config(path, metadata.get("config", ""))
        parts: dict[str, dict[str, Any]] = {"model": {}, "optimizer": {}}
        for name, array in tensors.items():
            part, _, rest = name.partition(".")
            parts.setdefault(part, {})[rest] = array
        try:
            step = int(metadata["step"])
            self.model.load_state_dict(parts["model"])
            self.optimizer.load_state_dict(parts["optimizer"])
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"{path}: {error}") from error
        self.step = self._saved = step

    def _refuse_config(self, path: Path, text: str) -> None:
        """A checkpoint of another configuration is not ours, unless only its words differ, or where the same data are."""
        try:
            there = TrainConfig.from_toml(text)
        except ConfigError as error:
            raise CheckpointError(f"{path}: its config: {error}") from None
        differ = [
            f"{name} is {getattr(there, name)!r}, this run's is {getattr(self.config, name)!r}"
            for name in [field.name for field in dataclasses.fields(TrainConfig) if field.name not in {"data", "tokenizer"}]
            if getattr(there, name) != getattr(self.config, name)
        ]
        if differ:
            raise CheckpointError(f"{path}: its {'; '.join(differ)}")

    def _step(self) -> Record:
        """One update of the weights."""
        start = time.perf_counter()
        with self._divergence():
            loss = self._gradients()
            norm = clip_gradient_norm(self._parameters, self.config.clip or sys.float_info.max)
        rate = learning_rate(self.config, self.step)
        self.optimizer.step(rate)
        self.optimizer.zero_grad()
        self.step += 1
        return {
            "step": self.step,
            "loss": loss,
            "learning_rate": rate,
            "gradient_norm": norm,
            "tokens": self.step * self.config.batch * self.config.model.context,
            "seconds": round(time.perf_counter() - start, 4),
        }

    def _gradients(self) -> float:
        """Leave the gradients of the batch's mean loss in the parameters, and return that loss."""
        inputs, targets = self.batches.batch(self.step)
        if len(inputs) != self.config.batch:
            raise ValueError(
                f"batches gave {len(inputs)} windows at step {self.step}: {self.config.batch} are needed, as batch says"
            )
        parts = self.config.micro_batches
        rows = len(inputs) // parts
        losses = []
        self.optimizer.zero_grad()
        for part in range(parts):
            chosen = slice(part * rows, (part + 1) * rows)
            stream = self._dropout.split(self.step).split(part) if self.config.model.dropout else None
            loss = self.model.loss(inputs[chosen], targets[chosen], stream)
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise FloatingPointError(f"the loss is {losses[-1]}")
            loss.backward(1 / parts)  # adds to the gradients of the parts before
        return math.fsum(losses) / parts

    @contextmanager
    def _divergence(self) -> Iterator[None]:
        """Say at which step something was not finite, once and instead of NumPy's warnings."""
        try:
            with np.errstate(all="ignore"):
                yield
        except FloatingPointError as error:
            raise TrainingError(f"diverged after step {self.step}: {error}{self._not_finite()}") from error

    def _not_finite(self) -> str:
        """The first parameter that is not finite, after a semicolon, or nothing."""
        for name, p in self._parameters:
            bad = np.argwhere(~np.isfinite(p.data))
            if len(bad):
                return f"; parameter {name} is not finite at {tuple(map(int, bad[0]))}"
        return ""

    def _evaluate(self) -> Record:
        with self._divergence():
            found = evaluate(self.model, self.windows, self.lengths)
        return {"validation_loss": found.loss} | ({"bits_per_byte": found.bits_per_byte} if found.bits_per_byte else {})

    def _record(self, record: Record) -> None:
        if self._metrics is not None:
            with self._metrics.open("ab", buffering=0) as file:  # one line, one write
                file.write(json.dumps(record).encode() + b"\n")
        for callback in self.callbacks:
            callback(self, record)


def _cut(path: Path, step: int) -> None:
    """Take the lines after ``step`` off the metrics, all if it is 0: they will be made again."""
    if not path.exists():
        return
    raw, end = path.read_bytes(), 0
    for line in raw.splitlines(keepends=True):
        try:
            kept = line.endswith(b"\n") and 0 < step >= json.loads(line)["step"]
        except (ValueError, KeyError, TypeError):
            kept = False
        if not kept:
            break
        end += len(line)
    if end < len(raw):
        os.truncate(path, end)


@contextmanager
def _deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Within it the first Ctrl-C is only noted, for the function given to be asked; outside the main thread there is none."""
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(number: int, _: Any) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(seen)
    finally:
        signal.signal(signal.SIGINT, before)
