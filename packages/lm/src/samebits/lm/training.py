"""Training: a language model is trained in steps, and an interrupted run ends with the same bits.

    batch -> losses of its shards -> mean gradient -> clipping -> optimizer step at the scheduled learning rate

A step is a function of the weights, the optimizer's state and the number of the step: batches, dropout and the learning rate
depend on that number alone. Weights, state and number are saved in one checkpoint, which is replaced atomically. A run that was
interrupted or killed continues from its last checkpoint and repeats the steps after it, bit by bit.
"""

import dataclasses
import math
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from samebits import core
from samebits.core import Stream, numerics, require_arithmetic, restore_arithmetic
from samebits.core.files import replace_file, require_file
from samebits.core.records import shown
from samebits.lm import checkpoint
from samebits.lm.checkpoint import CheckpointError
from samebits.lm.config import TrainConfig
from samebits.lm.evaluation import evaluate
from samebits.lm.interruption import Interrupted, deferred_interrupt
from samebits.lm.metrics import METRICS, Metrics, append_metrics, cut_metrics
from samebits.lm.model import Ids, LanguageModel
from samebits.lm.optimization import PROLONGING, learning_rate, make_optimizer, same_rates
from samebits.lm.receipts import RECEIPT, ReceiptError, TrainedCheckpoint, TrainingReceipt, read_receipt
from samebits.lm.run_lock import locked
from samebits.lm.schema import ConfigError
from samebits.lm.sharding import ShardedGradients
from samebits.lm.workers import ALONE, Workers, require_same, require_same_arithmetic
from samebits.nn.clipping import clip_gradient_norm

__all__ = ["BatchSource", "Callback", "Trainer", "TrainingError", "checkpoint_due", "evaluation_due", "kept", "saved_step"]

Int64 = npt.NDArray[np.int64]
CHECKPOINT = "checkpoint.safetensors"
FORMAT = "samebits.lm/3"


class TrainingError(FloatingPointError):
    """The training diverged; the message says at which step, and which value is not finite.

    Example:
        >>> raise TrainingError("diverged after step 12: the loss is nan")
        Traceback (most recent call last):
            ...
        samebits.lm.training.TrainingError: diverged after step 12: the loss is nan
    """


class BatchSource(Protocol):
    """The interface of a trainer's source of batches; `samebits.text.Batches` has it."""

    def batch(self, step: int) -> tuple[Int64, Int64]:
        """Inputs and targets of a step, counted from 0, int64 (B, T); the same in every call."""
        ...


class Callback(Protocol):
    """The interface of a trainer's callbacks: called after each step with the trainer and the step's metrics.

    Example:
        >>> def show(trainer, record):
        ...     print(f"step {record['step']} of {trainer.config.steps}")
        >>> callback: Callback = show
    """

    def __call__(self, trainer: "Trainer", record: Mapping[str, float]) -> object: ...


def evaluation_due(config: TrainConfig, step: int) -> bool:
    """Whether the model is evaluated after so many steps: at powers of two first, then every ``evaluate_every``, and at the end.

    The loss falls fastest at the beginning, so that is where evaluations are closest. They change no weight.

    Example:
        >>> config = TrainConfig(steps=30, warmup=0, evaluate_every=12)
        >>> [step for step in range(31) if evaluation_due(config, step)]
        [0, 1, 2, 4, 8, 12, 24, 30]
    """
    every = config.evaluate_every
    return step == config.steps or step % every == 0 or (step < every and step & (step - 1) == 0)


def checkpoint_due(config: TrainConfig, step: int) -> bool:
    """Whether a checkpoint is saved after so many steps: every ``checkpoint_every``, and at the end. Receipts have these.

    Example:
        >>> config = TrainConfig(steps=30, warmup=0, checkpoint_every=12)
        >>> [step for step in range(1, 31) if checkpoint_due(config, step)]
        [12, 24, 30]
    """
    return step == config.steps or step % config.checkpoint_every == 0


def kept(folder: Path, step: int) -> Path:
    """The file of a checkpoint that is kept for later, to verify the steps after it.

    Example:
        >>> kept(Path("run"), 200).as_posix()
        'run/checkpoints/step-000200.safetensors'
    """
    return folder / "checkpoints" / f"step-{step:06}.safetensors"


def saved_step(metadata: Mapping[str, str], config: TrainConfig) -> int:
    """The number of steps in the metadata of a run's checkpoint.

    Raises:
        ValueError: It is missing, or no number of steps.

    Example:
        >>> saved_step({"step": "7"}, TrainConfig())
        7
    """
    number = metadata.get("step", "")
    if not re.fullmatch("[0-9]{1,15}", number):
        raise ValueError(f"step must be an integer from 0 to {config.steps}, got {shown(number)}")
    return int(number)


def _refuse_damage(weights: Mapping[str, npt.NDArray[Any]], state: Mapping[str, npt.NDArray[Any]]) -> None:
    """Raise ValueError for weights that no run saves: those that are not finite, and a state of the optimizer with NaN."""
    for name, x in weights.items():
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            raise ValueError(f"the weights must be finite, but {shown(name)} has NaN or infinities")
    for name, x in state.items():
        if x.dtype.kind == "f" and np.isnan(x).any():
            raise ValueError(f"the optimizer's state must not be NaN, but {shown(name)} is")


class Trainer:
    """Trains a model with the optimizer and the schedule of a configuration.

    The metrics of a step are ``step`` (the number of steps so far), ``loss`` (of the batch, before the update),
    ``learning_rate``, ``gradient_norm`` (before clipping), ``tokens`` (trained on so far) and ``seconds`` (the duration, the only
    one that differs between machines). A step with an evaluation also has ``validation_loss`` and, if ``lengths`` are given,
    ``bits_per_byte``. The evaluation before the first step has ``step`` 0.

    Args:
        config: The configuration; ``config.model`` must be that of ``model``.
        model: The model, which is changed in place.
        batches: The source of training batches.
        windows: Batches of inputs and targets to evaluate on, token ids (B, T); without any, there are no evaluations.
        lengths: The bytes of each token (V,), for ``bits_per_byte``.
        folder: The folder of checkpoint.safetensors, metrics.jsonl and receipt.json; None saves nothing. If it has a checkpoint, training
            continues from it.
        data: A digest of the training data; a checkpoint of other data is refused.
        tokenizer: The digest of the tokenizer, which checkpoints record.
        initial: The digest of the weights that the run starts from, if they are those of another run; checkpoints record it.
        callbacks: Called in order after each step, with the trainer and the metrics of the step.
        keep_checkpoints: Whether to keep all checkpoints that are due, in the folder ``checkpoints``.
        workers: The processes that compute the run, at most ``config.shards``; by default this one alone. All of them make a trainer
            and train it; worker 0 writes to the folder. Their number changes no bit.

    Raises:
        CheckpointError: The checkpoint is damaged, or was made with another configuration, model or data.
        ValueError: ``config.model`` is not the configuration of ``model``, or there are more workers than shards.

    Example:
        >>> from samebits.lm import ModelConfig
        >>> from samebits.text import Batches
        >>> config = TrainConfig(
        ...     steps=20, batch=4, warmup=5, learning_rate=0.01, model=ModelConfig(vocabulary_size=3, context=4, channels=16)
        ... )
        >>> losses = []
        >>> trainer = Trainer(
        ...     config,
        ...     LanguageModel(config.model, stream=Stream(0)),
        ...     Batches(np.arange(60) % 3, batch=4, time=4, stream=Stream(1)),
        ...     callbacks=[lambda _, record: losses.append(record["loss"])],
        ... )
        >>> trainer.train()
        >>> trainer.step, losses[0] > 1.0 > 0.5 > losses[-1]
        (20, True)
    """

    def __init__(
        self,
        config: TrainConfig,
        model: LanguageModel,
        batches: BatchSource,
        windows: Sequence[tuple[Ids, Ids]] = (),
        *,
        lengths: Ids | None = None,
        folder: str | os.PathLike[str] | None = None,
        data: str = "",
        tokenizer: str = "",
        initial: str = "",
        callbacks: Sequence[Callback] = (),
        keep_checkpoints: bool = False,
        workers: Workers = ALONE,
    ) -> None:
        if config.model != model.config:
            raise ValueError(f"Trainer: config.model must be that of the model, {model.config}, got {config.model}")
        if workers.size > config.shards:
            raise ValueError(
                f"Trainer: shards, the parts of a batch, must be at least the number of workers, {workers.size}, got {config.shards}"
            )
        self.workers = workers
        self.config, self.model, self.batches, self.windows, self.lengths = config, model, batches, windows, lengths
        self.folder = None if folder is None else Path(folder)
        self.callbacks = list(callbacks)
        self._keep = keep_checkpoints
        self.step = 0
        self._parameters = list(model.named_parameters())
        self.optimizer = make_optimizer(config, self._parameters)
        self._metadata = {"format": FORMAT, "config": config.to_toml(), "data": data, "tokenizer": tokenizer}
        self.initial = initial
        self._dropout = Stream(config.seed).split("dropout")
        self._metrics = None if self.folder is None else self.folder / METRICS
        self._saved = -1
        self._recorded: list[TrainedCheckpoint] = []
        if self.folder is not None:
            if workers.rank == 0:
                self.folder.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(self.folder / CHECKPOINT):
                self.restore(self.folder / CHECKPOINT)
                self._recorded = self._read_receipt(self.folder / RECEIPT)

    def train(self, to: int | None = None) -> None:
        """Train to the last step of the configuration, in its arithmetic; a finished run does nothing.

        Args:
            to: The step to stop after, if not the last one.

        Ctrl-C, SIGTERM and SIGHUP end the training after the current step and save; a second one ends it at once, without saving.

        Raises:
            TrainingError: A loss or a gradient is not finite; the weights are those before the step.
            Interrupted: There was such a signal, to this process or to another worker; the checkpoint is saved.
            FolderInUseError: Another process trains in the folder.
            MachineError: Other code has changed how this thread rounds; the last checkpoint is of an earlier step.
            WorkersError: A worker differs from worker 0: in its version, its configuration, its data, its results in the self-test
                or, when a checkpoint is due, its weights.
        """
        with self._locked():
            self._train(self.config.steps if to is None else to)

    def _train(self, last: int) -> None:
        config = self.config
        restore_arithmetic()
        self._compare()
        self.model.train()
        if self._metrics is not None and self.workers.rank == 0:
            cut_metrics(self._metrics, self.step)
        with numerics(config.numerics), deferred_interrupt() as interrupted:
            if self.step == 0 and self.windows:
                self._record({"step": 0, **self._evaluate()})
            number = self._agreed(interrupted())
            while self.step < last and not number:
                record = self._step()
                if self.windows and evaluation_due(config, self.step):
                    record |= self._evaluate()
                self._record(record)
                number = self._agreed(interrupted())
                if number or checkpoint_due(config, self.step):
                    self._compare_tensors()
                    self.save()
        if self.step < last:
            self.save()
            where = f", saved in {self.folder}; a Trainer with that folder continues" if self.folder else ""
            raise Interrupted(f"interrupted after step {self.step} of {config.steps}{where}", number)

    def _agreed(self, number: int) -> int:
        """The number of the signal that any of the workers has got, the same for all of them; 0 if there was none."""
        return int(max(self.workers.gather(number)))

    def _compare(self) -> None:
        """Refuse workers that do not compute the same run as worker 0."""
        require_same_arithmetic(self.workers)
        settings = [(f"the setting {f.name}", repr(getattr(self.config, f.name))) for f in dataclasses.fields(self.config)]
        texts = [("the tokenizer", self._metadata["tokenizer"]), ("the data", self._metadata["data"])]
        require_same(self.workers, *settings, *texts, ("the step", str(self.step)))
        self._compare_tensors()

    def _compare_tensors(self) -> None:
        """Refuse a worker with other weights, or another state of the optimizer, than worker 0."""
        if self.workers.size > 1:
            digests = [(f"the tensor {name} after step {self.step}", core.digest(x)) for name, x in self.tensors().items()]
            require_same(self.workers, *digests)

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays of a checkpoint: the weights, and the state of the optimizer."""
        tensors = {f"model.{name}": np.asarray(tensor.data) for name, tensor in self.model.named_tensors()}
        return tensors | {f"optimizer.{name}": array for name, array in self.optimizer.state_dict().items()}

    def save(self) -> None:
        """Write the checkpoint, if there is a folder and the last one is of an earlier step; of several workers, worker 0 does.

        Raises:
            FolderInUseError: Another process trains in the folder.
            TrainingError: A weight is not finite; the last checkpoint is unchanged.
        """
        if self.folder is None or self._metrics is None or self._saved == self.step or self.workers.rank:
            return
        if bad := self._not_finite():
            raise TrainingError(f"diverged at step {self.step}{bad}")
        if self._metrics.exists():  # the metrics must be on the disk before the checkpoint that follows them
            with self._metrics.open("ab") as file:
                os.fsync(file.fileno())
        metadata = {**self._metadata, **({"initial": self.initial} if self.initial else {}), "step": str(self.step)}
        with self._locked():
            if checkpoint_due(self.config, self.step):  # before the checkpoint: it is made again if this is as far as it comes
                self._write_receipt(self.folder / RECEIPT)
                if self._keep:
                    kept(self.folder, self.step).parent.mkdir(exist_ok=True)
                    checkpoint.save(kept(self.folder, self.step), self.tensors(), metadata)
            checkpoint.save(self.folder / CHECKPOINT, self.tensors(), metadata)
        self._saved = self.step

    def recorded(self) -> TrainedCheckpoint:
        """The digests of the weights and of all tensors after this step."""
        weights, tensors = checkpoint.digest(self.model.state_dict()), checkpoint.digest(self.tensors())
        return TrainedCheckpoint(step=self.step, weights=weights, tensors=tensors)

    def _write_receipt(self, path: Path) -> None:
        """Write the receipt of the run so far; fast arithmetic has none, as its bits differ between machines."""
        if self.config.numerics == "fast":
            return
        due = [
            one for one in self._recorded if one.step < self.step and checkpoint_due(self.config, one.step)
        ]  # it may be longer now
        self._recorded = [*due, self.recorded()]
        config, data, tokenizer = (self._metadata[name] for name in ("config", "data", "tokenizer"))
        receipt = TrainingReceipt(config=config, data=data, tokenizer=tokenizer, initial=self.initial, checkpoints=self._recorded)
        with replace_file(path) as file:
            file.write(receipt.to_json())

    def _read_receipt(self, path: Path) -> list[TrainedCheckpoint]:
        """The checkpoints of this run that its receipt has."""
        if self.workers.rank or not path.exists():  # an older version of samebits wrote none
            return []
        require_file(path)
        found = read_receipt(path.read_bytes(), str(path))
        own = self._metadata["data"], self._metadata["tokenizer"], self.initial
        if not isinstance(found, TrainingReceipt) or (found.data, found.tokenizer, found.initial) != own:
            raise ReceiptError(
                f"{path}: not the receipt of this run; without the file, a new one has the checkpoints from here on"
            )
        return [one for one in found.checkpoints if one.step <= self.step]

    def _locked(self) -> AbstractContextManager[None]:
        """The lock of the folder, if there is one and this worker writes to it."""
        return nullcontext() if self.folder is None or self.workers.rank else locked(self.folder)

    def restore(self, path: Path) -> None:
        """Continue from a checkpoint of this run.

        Raises:
            CheckpointError: It is damaged, or was made with another configuration, model or data.
            OSError: It cannot be read.
        """
        tensors, metadata, _ = checkpoint.load(path, digest_required=True)
        if re.fullmatch("samebits\\.lm/[0-9]+", made := metadata.get("format", "")) and made != FORMAT:
            raise CheckpointError(
                f"{path}: written by another version of samebits, in its format {made}; this one continues runs of {FORMAT}"
            )
        for name in ("format", "data", "tokenizer"):
            if metadata.get(name) != self._metadata[name]:
                raise CheckpointError(
                    f"{path}: not a checkpoint of this run: {name} is {metadata.get(name)!r}, this run's is {self._metadata[name]!r}"
                )
        parts: dict[str, dict[str, Any]] = {"model": {}, "optimizer": {}}
        for name, array in tensors.items():
            part, _, rest = name.partition(".")
            parts.setdefault(part, {})[rest] = array
        try:
            step = saved_step(metadata, self.config)
            self._compare_config(metadata.get("config", ""), step)
            _refuse_damage(parts["model"], parts["optimizer"])
            self.model.load_state_dict(parts["model"])
            self.optimizer.load_state_dict(parts["optimizer"])
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"{path}: {error}") from error
        self.initial = metadata.get("initial", "")
        self.step = self._saved = step

    def _compare_config(self, text: str, step: int) -> None:
        """Check a checkpoint's settings against this run's.

        Settings that make the run longer may differ, and the names of data and tokenizer, as the data have a digest.
        """
        try:
            there, here = TrainConfig.from_toml(text), self.config
        except ConfigError as error:
            raise ValueError(f"config: {error}") from None
        names = [field.name for field in dataclasses.fields(TrainConfig) if field.name not in {"data", "tokenizer"}]
        differ = {
            name: f"{name} is {getattr(there, name)!r}, this run's is {getattr(here, name)!r}"
            for name in names
            if getattr(there, name) != getattr(here, name)
        }
        said = "; ".join(differ.values())
        if differ.keys() - PROLONGING:
            raise ValueError(f"not a checkpoint of this run: {said}")
        if differ and not same_rates(there, here, step):
            raise ValueError(
                f"{said}: the {step} steps so far would have had other learning rates. A run can be prolonged if its schedule is "
                '"constant", or "wsd" before its decay; init_from (--init-from) starts a new run from these weights'
            )
        if step > here.steps:
            raise ValueError(f"steps must be at least {step}, the steps so far, got {here.steps}")

    def _step(self) -> Metrics:
        """Update the weights once."""
        start = time.perf_counter()
        with self._divergence():
            loss = self._gradients()
            norm = clip_gradient_norm(self._parameters, self.config.clip or sys.float_info.max)
            rate = learning_rate(self.config, self.step)
            self.optimizer.step(rate)
        require_arithmetic()
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
        """Compute the gradients of the batch's mean loss, and return that loss."""
        inputs, targets = self.batches.batch(self.step)
        if len(inputs) != self.config.batch:
            raise ValueError(
                f"Trainer: batches must give {self.config.batch} windows, as config.batch, got {len(inputs)} at step {self.step}"
            )
        count, workers = self.config.shards, self.workers
        rows = len(inputs) // count
        self.optimizer.zero_grad()
        gradients = ShardedGradients(self._parameters, count, workers)
        losses = {}
        own = range(workers.rank, count, workers.size)
        for shard in own:
            chosen = slice(shard * rows, (shard + 1) * rows)
            stream = self._dropout.split(self.step).split(shard) if self.config.model.dropout else None
            loss = self.model.loss(inputs[chosen], targets[chosen], stream)
            losses[shard] = loss.item()
            if not math.isfinite(losses[shard]):
                raise FloatingPointError(f"the loss is {losses[shard]}")
            loss.backward(ready=gradients.take_last if shard == own[-1] and workers.size > 1 else None)
            gradients.take()
        gradients.average()
        return math.fsum(x for some in workers.gather(losses) for x in some.values()) / count

    @contextmanager
    def _divergence(self) -> Iterator[None]:
        """Turn a value that is not finite into a `TrainingError` with the step, in place of NumPy's warnings."""
        try:
            with np.errstate(all="ignore"):
                yield
        except FloatingPointError as error:
            raise TrainingError(f"diverged after step {self.step}: {error}{self._not_finite()}") from error

    def _not_finite(self) -> str:
        """The first parameter that is not finite, after a semicolon; empty if all are finite."""
        for name, p in self._parameters:
            bad = np.argwhere(~np.isfinite(p.data))
            if len(bad):
                return f"; parameter {name} is not finite at {tuple(map(int, bad[0]))}"
        return ""

    def _evaluate(self) -> Metrics:
        with self._divergence():
            found = evaluate(self.model, self.windows, self.lengths, workers=self.workers)
        return {"validation_loss": found.loss} | ({"bits_per_byte": found.bits_per_byte} if found.bits_per_byte else {})

    def _record(self, record: Metrics) -> None:
        if self._metrics is not None and self.workers.rank == 0:
            append_metrics(self._metrics, record)
        for callback in self.callbacks:
            callback(self, record)
