"""Retraining: train some steps of a run again, in memory, and compare them with its receipt.

    weights of step A  ->  training on the run's data  ->  digests at every checkpoint up to step B  =  those of the receipt?

Step 0 is where a run starts: its weights are made again from the seed, or read from its initial weights. A later step needs its
checkpoint: the last one of the run, or one that was kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from samebits import core
from samebits.core import Stream
from samebits.core.files import require_file
from samebits.lm import checkpoint
from samebits.lm.config import TrainConfig
from samebits.lm.data import Data
from samebits.lm.model import LanguageModel
from samebits.lm.receipts import RECEIPT, ReceiptError, TrainedCheckpoint, TrainingReceipt, read_receipt
from samebits.lm.run import INITIAL
from samebits.lm.training import CHECKPOINT, Trainer, TrainingError, kept, saved_step
from samebits.lm.verification import Difference, Progress, Verification
from samebits.lm.weights import read_weights

__all__ = ["read_run_receipt", "verify_training"]


def read_run_receipt(folder: Path) -> TrainingReceipt:
    """The receipt of a training run.

    Raises:
        FileNotFoundError: The folder has none.
        ReceiptError: It is damaged, was changed, or is not that of a training run.
    """
    path = folder / RECEIPT
    if not path.exists():
        raise FileNotFoundError(f"{folder} has no {RECEIPT}: runs in fast arithmetic and those of older versions have none")
    require_file(path)
    found = read_receipt(path.read_bytes(), str(path))
    if not isinstance(found, TrainingReceipt):
        raise ReceiptError(f"{path}: kind must be 'training' for the receipt of a run, got 'text'")
    return found


def verify_training(folder: Path, *, first: int = 0, last: int | None = None, progress: Progress | None = None) -> Verification:
    """Train the steps of a run from one checkpoint to another again, and compare with its receipt; nothing is written.

    Args:
        folder: The run's folder.
        first: The step to begin after: 0, or that of a checkpoint that is there.
        last: The step to end after; by default that of the first checkpoint after ``first``.
        progress: Called after each step.

    Raises:
        FileNotFoundError: The folder has no receipt, or not the checkpoint of step ``first``.
        Interrupted: There was Ctrl-C or another signal.
        OSError, ValueError: The files of the run are missing or damaged; or ``first`` or ``last`` is not the step of a checkpoint.

    Example:
        >>> import tempfile
        >>> from samebits.lm import ModelConfig, start
        >>> folder = tempfile.TemporaryDirectory()
        >>> Path(folder.name, "text.txt").write_text("to be or not to be, " * 40)
        800
        >>> model = ModelConfig(context=8, layers=1, heads=2, channels=16)
        >>> config = TrainConfig(data=f"{folder.name}/text.txt", steps=4, warmup=1, batch=2, checkpoint_every=2, model=model)
        >>> start(config, f"{folder.name}/run").trainer.train()
        >>> verify_training(Path(folder.name, "run"))
        Verification(checked=2, steps=4, difference=None)
        >>> folder.cleanup()
    """
    receipt = read_run_receipt(folder)
    last, total = _checked(folder, receipt, first, last), receipt.checkpoints[-1].step
    try:
        config = TrainConfig.from_toml(receipt.config)
    except ValueError as error:
        raise ReceiptError(f"{folder / RECEIPT}: config: {error}") from None
    data = Data.open(folder)
    if found := _contradiction(receipt, config, data):
        return Verification(0, total, found)
    files = _files(folder)
    if found := next(_of_files(files, receipt, first, last), None):
        return Verification(0, total, found)
    trainer = _trainer(folder, receipt, config, data)
    if isinstance(trainer, Difference):
        return Verification(0, total, trainer)
    if first:
        trainer.restore(dict(files)[first])
    if progress:
        trainer.callbacks.append(lambda one, _: progress(one.step - first, last - first))
    for place, one in enumerate(receipt.checkpoints):
        if first < one.step <= last and (found := _trained(trainer, f"checkpoints[{place}]", one, dict(files))):
            return Verification(trainer.step - first, total, found)
    return Verification(last - first, total, None)


def _contradiction(receipt: TrainingReceipt, config: TrainConfig, data: Data) -> Difference | None:
    """What differs without training: the data, the tokenizer and its size."""
    sizes = [f"a vocabulary of {size} tokens" for size in (config.model.vocabulary_size, data.tokenizer.vocabulary_size)]
    for name, expected, got in (
        ("tokenizer", receipt.tokenizer, data.tokenizer.digest),
        ("data", receipt.data, data.digest),
        ("config", *sizes),
    ):
        if expected != got:
            return Difference(name, expected, got)
    return None


def _trainer(folder: Path, receipt: TrainingReceipt, config: TrainConfig, data: Data) -> Trainer | Difference:
    """A trainer in memory before the first step; or how the weights that it starts from differ."""
    model = LanguageModel(config.model, stream=Stream(config.seed).split("model"))
    if receipt.initial:
        if (digest := checkpoint.load(folder / INITIAL, digest_required=True).digest) != receipt.initial:
            return Difference("initial", receipt.initial, digest)
        model.load_state_dict(read_weights(folder / INITIAL).state)
    batches, tokenizer = data.batches(config), data.tokenizer.digest
    return Trainer(config, model, batches, data=data.digest, tokenizer=tokenizer, initial=receipt.initial)


def _trained(trainer: Trainer, name: str, expected: TrainedCheckpoint, files: Mapping[int, Path]) -> Difference | None:
    """Train to a checkpoint, and return how it differs: the first tensor, if its file is there."""
    try:
        trainer.train(to=expected.step)
    except TrainingError as error:
        return Difference(f"{name}.tensors", expected.tensors, str(error))
    got = trainer.recorded()
    if expected.tensors == got.tensors:
        return None if expected.weights == got.weights else Difference(f"{name}.weights", expected.weights, got.weights)
    there = checkpoint.load(files[expected.step]).tensors if expected.step in files else {}
    here = trainer.tensors()
    for tensor in there:
        digests = core.digest(there[tensor]), core.digest(here[tensor])
        if digests[0] != digests[1]:
            return Difference(f"{name}.tensors.{tensor}", *digests)
    return Difference(f"{name}.tensors", expected.tensors, got.tensors)


def _checked(folder: Path, receipt: TrainingReceipt, first: int, last: int | None) -> int:
    """The step to end after; steps that have no checkpoint are refused."""
    recorded = [one.step for one in receipt.checkpoints]
    if not recorded:
        raise ReceiptError(f"{folder / RECEIPT}: checkpoints must have at least one to compare with, got none")
    last = next((step for step in recorded if step > first), recorded[-1]) if last is None else last
    if first not in {0, *recorded} or last not in recorded or first >= last:
        shown = ", ".join(map(str, [0, *recorded] if len(recorded) < 10 else [0, *recorded[:8], "...", recorded[-1]]))
        raise ValueError(f"verify: steps must be from one checkpoint to a later one, of {shown}; got {first}:{last}")
    if first and first not in dict(_files(folder)):
        raise FileNotFoundError(
            f"{kept(folder, first)} does not exist, with the weights of step {first}; samebits train --keep-checkpoints keeps them"
        )
    return last


def _files(folder: Path) -> list[tuple[int, Path]]:
    """The checkpoints in a run's folder and their steps; the last one may be there twice."""
    paths = [*sorted(kept(folder, 0).parent.glob("*.safetensors")), folder / CHECKPOINT]
    return [(saved_step(checkpoint.read_header(path)[1], TrainConfig()), path) for path in paths if path.exists()]


def _of_files(files: Sequence[tuple[int, Path]], receipt: TrainingReceipt, first: int, last: int) -> Iterator[Difference]:
    """Where checkpoints in the folder, those from one step to another and the last one, are not those of the receipt."""
    for step, path in files:
        for place, one in enumerate(receipt.checkpoints):
            if one.step == step and (first <= step <= last or path.name == CHECKPOINT):
                tensors = checkpoint.load(path, digest_required=True).tensors
                if (digest := checkpoint.digest(tensors)) != one.tensors:
                    yield Difference(f"checkpoints[{place}].tensors", one.tensors, f"{digest} in {path}")
