"""Training: a model learns, and an interrupted run ends with the same bits, with every optimizer."""

import gc
import json
import os
import re
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.core.float_settings import CHANGED, change, kept_settings, only_where_known

from samebits.core import MachineError, Stream
from samebits.lm import (
    CheckpointError,
    Interrupted,
    LanguageModel,
    ModelConfig,
    TrainConfig,
    Trainer,
    TrainingError,
    learning_rate,
)
from samebits.lm.checkpoint import digest, load, save
from samebits.lm.metrics import read_metrics
from samebits.lm.run_lock import FolderInUseError
from samebits.text import Batches, evaluation_windows

pytestmark = pytest.mark.once

MODEL = ModelConfig(vocabulary_size=7, context=8, layers=1, heads=2, channels=16, dropout=0.1)
CONFIG = TrainConfig(steps=6, warmup=2, batch=4, shards=2, checkpoint_every=2, evaluate_every=3, learning_rate=1e-2, model=MODEL)
TOKENS = np.arange(200) ** 2 % 7


def trainer(config: TrainConfig = CONFIG, folder: Path | None = None, **options: Any) -> Trainer:
    batches = Batches(TOKENS, batch=config.batch, time=8, stream=Stream(1))
    windows = list(evaluation_windows(TOKENS[:25], time=8, batch=2))
    return Trainer(config, LanguageModel(config.model, stream=Stream(0)), batches, windows, folder=folder, **options)


def weights(one: Trainer) -> str:
    return digest(one.model.state_dict())


def metrics(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{name: value for name, value in json.loads(line).items() if name != "seconds"} for line in lines]


class CutError(Exception):
    """Ends a run in the middle."""


def cut_after(step: int) -> Any:
    def callback(_: Trainer, record: Mapping[str, float]) -> None:
        if record["step"] == step:
            raise CutError

    return callback


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the weights of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    one = trainer(folder=folder)
    one.train()
    return folder, weights(one)


def test_a_model_learns_a_sequence() -> None:
    losses: list[float] = []
    config = replace(CONFIG, steps=50, shards=1, model=replace(MODEL, dropout=0.0), evaluate_every=50)
    trainer(config, callbacks=[lambda _, record: losses.append(record.get("validation_loss", 9.0))]).train()
    assert losses[-1] < 0.5 and losses[0] > 1.9


@pytest.mark.parametrize("step", range(7))
def test_a_run_interrupted_after_any_step_ends_with_the_same_bits(tmp_path: Path, whole: tuple[Path, str], step: int) -> None:
    with pytest.raises(CutError):
        trainer(folder=tmp_path, callbacks=[cut_after(step)]).train()
    one = trainer(folder=tmp_path)
    assert one.step == max(step - 1, 0) // 2 * 2  # a callback comes before the checkpoint of its step
    one.train()
    assert weights(one) == whole[1] and metrics(tmp_path) == metrics(whole[0])
    assert load(tmp_path / "checkpoint.safetensors").digest == load(whole[0] / "checkpoint.safetensors").digest


@pytest.mark.parametrize("optimizer", ["adamw", "lion", "muon", "sgd"])
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_every_optimizer_resumes_with_the_same_bits(tmp_path: Path, optimizer: str, architecture: str) -> None:
    config = replace(CONFIG, optimizer=optimizer, model=replace(MODEL, architecture=architecture))
    one = trainer(config, tmp_path / "whole")
    one.train()
    with pytest.raises(CutError):
        trainer(config, tmp_path / "cut", callbacks=[cut_after(5)]).train()
    other = trainer(config, tmp_path / "cut")
    assert other.step == 4
    other.train()
    assert weights(other) == weights(one) != weights(trainer(config))
    checkpoints = [load(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "cut")]
    assert checkpoints[0].digest == checkpoints[1].digest
    assert TrainConfig.from_toml(checkpoints[0].metadata["config"]).optimizer == optimizer
    state = {name.removeprefix("optimizer.") for name in checkpoints[0].tensors if name.startswith("optimizer.")}
    assert state == set(one.optimizer.state_dict())


@pytest.mark.parametrize("optimizer", ["adamw", "lion", "muon", "sgd"])
def test_a_model_learns_with_every_optimizer(optimizer: str) -> None:
    rates = {"adamw": 0.01, "lion": 0.01, "muon": 0.05, "sgd": 0.5}
    config = replace(
        CONFIG,
        steps=60,
        optimizer=optimizer,
        learning_rate=rates[optimizer],
        adamw_learning_rate=0.01 if optimizer == "muon" else 0.001,
        weight_decay=0.01,
        evaluate_every=60,
        shards=1,
        model=replace(MODEL, dropout=0.0),
    )
    found: list[float] = []
    trainer(config, callbacks=[lambda _, record: found.append(record.get("validation_loss", 9.0))]).train()
    assert found[0] > 1.9 and found[-1] < 1.0


def test_muon_updates_the_matrices_of_the_blocks_and_adamw_the_rest() -> None:
    kinds = {name.rpartition(".")[::2] for name in trainer(replace(CONFIG, optimizer="muon")).optimizer.state_dict()}
    muon = {name for name, kind in kinds if kind == "momentum"}
    adamw = {name for name, kind in kinds if kind == "exp_avg"}
    assert muon == {name for name, p in trainer().model.named_parameters() if name.startswith("blocks.") and p.ndim == 2}
    assert muon | adamw == {name for name, _ in trainer().model.named_parameters()} and not muon & adamw


def test_a_checkpoint_of_another_optimizer_is_refused(whole: tuple[Path, str]) -> None:
    with pytest.raises(CheckpointError, match="not a checkpoint of this run: optimizer is 'adamw', this run's is 'lion'"):
        trainer(replace(CONFIG, optimizer="lion"), whole[0])


def test_evaluations_do_not_change_the_weights(whole: tuple[Path, str]) -> None:
    one = trainer(replace(CONFIG, evaluate_every=1))
    one.train()
    assert weights(one) == whole[1]


def test_a_run_that_has_ended_does_nothing(whole: tuple[Path, str]) -> None:
    before = metrics(whole[0])
    one = trainer(folder=whole[0])
    one.train()
    assert one.step == 6 and weights(one) == whole[1] and metrics(whole[0]) == before


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_interrupting_saves_and_says_how_to_continue(tmp_path: Path, whole: tuple[Path, str], name: str) -> None:
    if not hasattr(signal, name):
        pytest.skip("there is no such signal here")
    number = getattr(signal, name)

    def interrupt(_: Trainer, record: Mapping[str, float]) -> None:
        if record["step"] == 3:
            signal.raise_signal(number)

    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=re.escape(f"interrupted after step 3 of 6, saved in {tmp_path}")) as interrupted:
        trainer(folder=tmp_path, callbacks=[interrupt]).train()
    assert interrupted.value.signal == number
    assert signal.getsignal(number) is before
    one = trainer(folder=tmp_path)
    assert one.step == 3
    one.train()
    assert weights(one) == whole[1] and metrics(tmp_path) == metrics(whole[0])


def test_a_second_interrupt_does_not_wait() -> None:
    def interrupt(*_: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        trainer(callbacks=[interrupt]).train()
    assert not isinstance(caught.value, Interrupted)


KILLED = """
import os, signal, sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.lm.test_training import trainer, weights, Stream, load
folder, tries = Path({folder!r}), 0
delays = Stream(3).uniform({times}, low=0.002, high=0.06).tolist()
for delay in delays:
    child = os.fork()
    if not child:
        trainer(folder=folder).train()
        os._exit(0)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    tries += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    if (folder / "checkpoint.safetensors").exists():
        load(folder / "checkpoint.safetensors")
one = trainer(folder=folder)
one.train()
print(tries, weights(one))
"""


def killed(folder: Path, times: int) -> str:
    program = KILLED.format(root=str(Path(__file__).parents[2]), folder=str(folder), times=times)
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    count, end = found.stdout.split()
    assert int(count) >= times // 4  # the others had come to the end
    return end


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
@pytest.mark.variants
def test_a_run_killed_at_twenty_moments_ends_with_the_same_bits(tmp_path: Path, whole: tuple[Path, str]) -> None:
    assert killed(tmp_path, 20) == whole[1] and metrics(tmp_path) == metrics(whole[0])


def test_a_checkpoint_of_another_run_is_refused(whole: tuple[Path, str]) -> None:
    with pytest.raises(CheckpointError, match="steps is 6, this run's is 8; seed is 0, this run's is 1"):
        trainer(replace(CONFIG, steps=8, seed=1), whole[0])
    with pytest.raises(CheckpointError, match="not a checkpoint of this run: data is '', this run's is 'other'"):
        trainer(folder=whole[0], data="other")
    assert trainer(replace(CONFIG, data="moved"), whole[0]).step == 6


def test_a_checkpoint_of_an_earlier_format_is_named(whole: tuple[Path, str], tmp_path: Path) -> None:
    tensors, metadata, _ = load(whole[0] / "checkpoint.safetensors")
    save(tmp_path / "checkpoint.safetensors", tensors, {**metadata, "format": "samebits.lm/1"})
    with pytest.raises(CheckpointError, match="by another version of samebits, in its format"):
        trainer(folder=tmp_path)


@pytest.mark.parametrize(("schedule", "longer"), [("constant", {}), ("wsd", {"decay": 1}), ("constant", {"schedule": "wsd"})])
def test_a_run_that_is_prolonged_has_the_weights_of_one_of_that_length(
    tmp_path: Path, schedule: str, longer: dict[str, Any]
) -> None:
    short = replace(CONFIG, schedule=schedule, decay=0, steps=4)
    long = (
        replace(CONFIG, schedule=schedule, decay=2, steps=9)
        if not longer
        else replace(short, **{"steps": 9, "decay": 2} | longer)
    )
    trainer(short, tmp_path).train()
    one = trainer(long, tmp_path)
    assert one.step == 4
    one.train()
    whole = trainer(long)
    whole.train()
    assert one.step == 9 and weights(one) == weights(whole)
    assert load(tmp_path / "checkpoint.safetensors").metadata["config"] == long.to_toml()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ({}, {"steps": 8}, "steps is 6, this run's is 8: the 6 steps so far would have had other learning rates"),
        (
            {"schedule": "wsd", "decay": 2},
            {"steps": 8},
            'schedule is "constant", or "wsd" before its decay; init_from (--init-from) starts',
        ),
        ({"schedule": "wsd", "decay": 0}, {"steps": 8, "decay": 4}, "decay is 0, this run's is 4: the 6 steps so far"),
        ({"schedule": "constant"}, {"steps": 8, "schedule": "cosine"}, "schedule is 'constant', this run's is 'cosine'"),
        ({"schedule": "constant"}, {"steps": 5}, "steps must be at least 6, the steps so far"),
        ({"schedule": "constant"}, {"steps": 8, "learning_rate": 0.1}, "not a checkpoint of this run: steps is 6"),
    ],
)
def test_a_run_that_cannot_be_prolonged_says_why(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any], message: str
) -> None:
    config = replace(CONFIG, **before)
    trainer(config, tmp_path).train()
    with pytest.raises(CheckpointError, match=re.escape(message)):
        trainer(replace(config, **after), tmp_path)


def test_two_trainers_in_one_folder_are_refused(tmp_path: Path) -> None:
    found: list[str] = []

    def other(*_: Any) -> None:
        def attempt() -> None:
            for use in (trainer(folder=tmp_path).train, one.save):
                try:
                    use()
                except FolderInUseError as error:
                    found.append(str(error))

        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()

    one = trainer(replace(CONFIG, steps=2), tmp_path, callbacks=[other])
    one.windows = ()
    one.train()
    assert len(found) == 4 and all("in use by another thread" in message for message in found)
    assert [line["step"] for line in metrics(tmp_path)] == [1, 2]


@pytest.mark.parametrize("numerics", ["exact", "fast"])
def test_a_value_that_is_not_finite_ends_the_run_with_its_step_and_name(numerics: str) -> None:
    def damage(one: Trainer, record: Mapping[str, float]) -> None:
        if record["step"] == 2:
            with dict(one.model.named_parameters())["norm.weight"].edit() as array:
                array[3] = np.inf

    with pytest.raises(TrainingError, match=r"diverged after step 2: ") as caught:
        trainer(replace(CONFIG, numerics=numerics), callbacks=[damage]).train()
    assert "norm.weight is not finite at (3,)" in str(caught.value)


@pytest.mark.parametrize(
    ("numerics", "says"),
    [("exact", r"blocks\.0: attention: q\[0, 0, 0, 0\] must be finite, got inf"), ("fast", "the loss is nan")],
)
def test_a_run_that_diverges_ends_there_and_keeps_the_last_checkpoint(tmp_path: Path, numerics: str, says: str) -> None:
    config = replace(CONFIG, warmup=4, learning_rate=1e20, clip=0.0, weight_decay=0.0, checkpoint_every=1, numerics=numerics)
    one = trainer(config, tmp_path)
    one.windows = ()  # an evaluation would diverge first
    with pytest.raises(TrainingError, match=f"diverged after step 1: {says}"):
        one.train()
    assert trainer(config, tmp_path).step == 1


def test_weights_that_are_not_finite_never_replace_a_checkpoint(tmp_path: Path) -> None:
    one = trainer(replace(CONFIG, steps=1, warmup=1), tmp_path)
    one.train()
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    one.step = 2
    next(p for name, p in one.model.named_parameters() if name == "norm.weight").data[3] = np.nan
    with pytest.raises(TrainingError, match=r"diverged at step 2; parameter norm\.weight is not finite at \(3,\)"):
        one.save()
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


def test_shards_give_the_gradient_of_the_whole_batch() -> None:
    def gradients(parts: int) -> list[np.ndarray]:
        one = trainer(replace(CONFIG, shards=parts, model=replace(MODEL, dropout=0.0)))
        one._gradients()
        return [np.asarray(p.grad.data) for p in one.model.parameters() if p.grad is not None]

    for whole_batch, parts in zip(gradients(1), gradients(4), strict=True):
        np.testing.assert_allclose(parts, whole_batch, rtol=0, atol=1e-6 * abs(whole_batch).max())  # sums round 3 times more


def test_memory_is_flat_over_steps() -> None:
    held: list[int] = []
    left: list[int] = []

    def measure(*_: Any) -> None:
        held.append(tracemalloc.get_traced_memory()[0])
        gc.collect()  # small cycles, which a coverage tool makes too, are collected at any time
        left.append(tracemalloc.get_traced_memory()[0])

    gc.collect()
    gc.freeze()  # what other tests have made is not looked through in every step
    tracemalloc.start()
    try:
        trainer(replace(CONFIG, steps=12, evaluate_every=100), callbacks=[measure]).train()
    finally:
        tracemalloc.stop()
        gc.unfreeze()
    assert left[-1] - left[4] < 20_000  # a step's arrays are 100 kB
    assert max(before - after for before, after in zip(held[4:], left[4:], strict=True)) < 50_000  # no cycle holds arrays


def test_metrics_have_what_a_step_measured(whole: tuple[Path, str]) -> None:
    lines = metrics(whole[0])
    assert [line["step"] for line in lines] == list(range(7))
    assert [line["step"] for line in lines if "validation_loss" in line] == [0, 1, 2, 3, 6]
    assert all({"loss", "learning_rate", "gradient_norm", "tokens"} < set(line) for line in lines[1:])
    assert lines[6]["tokens"] == 6 * 4 * 8


@pytest.mark.parametrize("schedule", ["constant", "cosine", "wsd"])
def test_schedules_rise_and_fall_as_the_configuration_says(schedule: str) -> None:
    config = TrainConfig(steps=10, warmup=2, decay=3, learning_rate=1.0, final_learning_rate=0.25, schedule=schedule)
    rates = [learning_rate(config, step) for step in range(11)]
    assert rates[:2] == [0.5, 1.0] and rates[10] == (1.0 if schedule == "constant" else 0.25)
    assert (rates[6] < 1.0) is (schedule == "cosine")


def test_the_model_must_be_that_of_the_configuration() -> None:
    with pytest.raises(ValueError, match=r"Trainer: config\.model must be that of the model"):
        Trainer(
            CONFIG, LanguageModel(replace(MODEL, layers=2), stream=Stream(0)), Batches(TOKENS, batch=4, time=8, stream=Stream(1))
        )


def test_batches_must_be_as_large_as_the_configuration_says() -> None:
    with pytest.raises(ValueError, match=r"Trainer: batches must give 4 windows, as config\.batch, got 3 at step 0"):
        Trainer(CONFIG, LanguageModel(MODEL, stream=Stream(0)), Batches(TOKENS, batch=3, time=8, stream=Stream(1))).train()


def test_a_run_in_another_thread_is_the_same_run(whole: tuple[Path, str]) -> None:
    one = trainer()
    thread = threading.Thread(target=one.train)
    thread.start()
    thread.join()
    assert weights(one) == whole[1]


@pytest.mark.parametrize(
    "damage", [b'{"step": 5', b"{}\n", b"[]\n", b"\xff\n", b'{"step": true}\n', b'{"step": 1}\n', b"[" * 10**5 + b"\n"]
)
def test_lines_of_the_metrics_that_are_damaged_are_made_again(tmp_path: Path, whole: tuple[Path, str], damage: bytes) -> None:
    with pytest.raises(CutError):
        trainer(folder=tmp_path, callbacks=[cut_after(5)]).train()
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:5]) + damage)
    trainer(folder=tmp_path).train()
    assert metrics(tmp_path) == metrics(whole[0])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"step": 1.0}', r"step must be an integer, got 1\.0"),
        ('{"loss": 1}', "step must be an integer, got None"),
        ('{"step": 1, "loss": "4"}', "loss must be an integer or a number, got '4'"),
        ('{"step": 1, "loss": NaN}', "loss must be finite, got nan"),
        ("[" * 10**5, "values are nested too deeply"),
    ],
)
def test_a_damaged_line_of_the_metrics_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n' + line + '\n{"st')
    with pytest.raises(ValueError, match=rf"metrics\.jsonl, line 2: {message}"):
        read_metrics(tmp_path)


def test_a_checkpoint_with_other_contents_is_refused(tmp_path: Path, whole: tuple[Path, str]) -> None:
    tensors, metadata, _ = load(whole[0] / "checkpoint.safetensors")
    for wrong, says in [
        ({"config": "steps = 0"}, r"checkpoint\.safetensors: config: steps must be at least 1, got 0"),
        ({"step": "x"}, r"checkpoint\.safetensors: step must be an integer from 0 to 6, got 'x'"),
        ({"step": "-1"}, "step must be an integer from 0 to 6, got '-1'"),
        ({"step": "1_0"}, "step must be an integer from 0 to 6, got '1_0'"),
        ({"step": "9" * 5000}, "step must be an integer from 0 to 6, got '9999"),
        ({"step": "7"}, r"checkpoint\.safetensors: steps must be at least 7, the steps so far, got 6"),
    ]:
        save(tmp_path / "checkpoint.safetensors", tensors, {**metadata, **wrong})
        with pytest.raises(CheckpointError, match=says):
            trainer(folder=tmp_path)
    for name, value, says in [
        ("model.norm.weight", np.inf, "the weights must be finite, but 'norm.weight' has NaN or infinities"),
        ("optimizer.norm.weight.exp_avg", np.nan, "the optimizer's state must not be NaN, but 'norm.weight.exp_avg' is"),
        ("optimizer.norm.weight.step", 2**63 - 1, r"norm\.weight\.step must be from 0 to"),
    ]:
        array = tensors[name].copy()
        array[...] = value
        save(tmp_path / "checkpoint.safetensors", {**tensors, name: array}, metadata)
        with pytest.raises(CheckpointError, match=rf"checkpoint\.safetensors: .*{says}"):
            trainer(folder=tmp_path)
    del tensors["optimizer.norm.weight.exp_avg_sq"]
    save(tmp_path / "checkpoint.safetensors", tensors, metadata)
    with pytest.raises(CheckpointError, match=r"norm\.weight\.exp_avg_sq is missing"):
        trainer(folder=tmp_path)


@only_where_known
@CHANGED
def test_training_puts_float_settings_back_and_stops_if_they_change(bits: int, tmp_path: Path, whole: tuple[Path, str]) -> None:
    with kept_settings():
        change(bits)
        disturbed = trainer()
        disturbed.train()
        assert weights(disturbed) == whole[1]

        stopped = trainer(folder=tmp_path)
        batch = stopped.batches.batch

        def changing(step: int) -> Any:
            if step == 3:
                change(bits)
            return batch(step)

        stopped.batches.batch = changing  # type: ignore[method-assign]
        with pytest.raises(MachineError, match="in this thread, so results may have wrong bits"):
            stopped.train()
        resumed = trainer(folder=tmp_path)
        assert resumed.step == 2
        resumed.train()
        assert weights(resumed) == whole[1]
