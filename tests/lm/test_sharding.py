"""Sharding: any number of workers gives the bits of one, in training, resumption and evaluation."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.lm.together import ThreadWorkers, together

from samebits.core import Stream
from samebits.lm import Interrupted, LanguageModel, ModelConfig, TrainConfig, Trainer, TrainingError, evaluate, sharding
from samebits.lm.checkpoint import digest, load
from samebits.lm.evaluation import Evaluation
from samebits.lm.generation import generate_batch
from samebits.lm.run import start
from samebits.lm.workers import ALONE, Workers, WorkersError, require_same
from samebits.text import Batches, CharacterTokenizer, evaluation_windows

pytestmark = pytest.mark.once

MODEL = ModelConfig(vocabulary_size=7, context=8, layers=1, heads=2, channels=16, dropout=0.1)
CONFIG = TrainConfig(steps=4, warmup=2, batch=10, shards=5, checkpoint_every=2, evaluate_every=3, learning_rate=1e-2, model=MODEL)
TOKENS = np.arange(200) ** 2 % 7


class CutError(Exception):
    """Ends a run in the middle."""


def trainer(workers: Workers, config: TrainConfig = CONFIG, **options: Any) -> Trainer:
    batches = Batches(TOKENS, batch=config.batch, time=8, stream=Stream(1))
    windows = list(evaluation_windows(TOKENS[:49], time=8, batch=2))
    return Trainer(config, LanguageModel(config.model, stream=Stream(0)), batches, windows, workers=workers, **options)


def trained(workers: Workers, config: TrainConfig = CONFIG, **options: Any) -> tuple[str, list[dict[str, float]]]:
    records: list[dict[str, float]] = []
    one = trainer(workers, config, callbacks=[lambda _, record: records.append(record | {"seconds": 0})], **options)
    one.train()
    return digest({**one.model.state_dict(), **one.optimizer.state_dict()}), records


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_any_number_of_workers_gives_the_bits_of_one(size: int, architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharding, "BUCKET", 500)  # several buckets
    config = replace(CONFIG, model=replace(MODEL, architecture=architecture, tied=architecture == "gpt2"))
    assert together(size, lambda workers: trained(workers, config)) == [trained(ALONE, config)] * size


def test_buckets_have_whole_parameters_and_nine_bytes_for_each_element() -> None:
    def sent(workers: ThreadWorkers) -> tuple[int, int]:
        one = trainer(workers)
        one._gradients()
        return workers.sent, one.model.parameter_count()

    for nbytes, parameters in together(2, sent):
        assert nbytes == 9 * parameters


def test_the_gradient_of_one_parameter_that_is_not_finite_is_named_by_all() -> None:
    def step(workers: Workers) -> str:
        one = trainer(workers)
        names = dict(one.model.named_parameters())
        take = sharding.ShardedGradients.take_last

        def broken(self: Any, leaf: Any) -> None:
            if workers.rank == 1 and leaf is names["norm.weight"].node:
                leaf.grad.data[2] = np.inf
            take(self, leaf)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sharding.ShardedGradients, "take_last", broken)
            one.windows = ()
            with pytest.raises(TrainingError) as caught:
                one.train()
        return str(caught.value)

    said = "diverged after step 0: the gradient of parameter 'norm.weight' must be finite"
    assert together(2, step) == [said] * 2


def test_more_workers_than_shards_are_refused() -> None:
    with pytest.raises(ValueError, match="shards, the parts of a batch, must be at least the number of workers, 3, got 2"):
        together(3, lambda workers: trainer(workers, replace(CONFIG, shards=2)))


def test_a_difference_is_named_by_all_workers() -> None:
    def compare(workers: Workers) -> str:
        with pytest.raises(WorkersError) as caught:
            require_same(workers, ("a", "x"), ("b", "y" if workers.rank != 2 else "z"))
        return str(caught.value)

    assert together(3, compare) == ["worker 2 must have b of worker 0, y, got z"] * 3
    together(2, lambda workers: require_same(workers, ("a", "x")))


@pytest.mark.parametrize("size", [2, 7])
def test_an_evaluation_by_several_workers_is_that_of_one(size: int) -> None:
    windows = list(evaluation_windows(TOKENS[:50], time=8, batch=1))

    def evaluated(workers: Workers) -> Evaluation:
        return evaluate(LanguageModel(MODEL, stream=Stream(1)), windows, np.arange(1, 8), workers=workers)

    assert together(size, evaluated) == [evaluated(ALONE)] * size


def test_a_run_goes_on_with_another_number_of_workers(tmp_path: Path) -> None:
    expected = trained(ALONE, folder=tmp_path / "whole")[0]

    def cut(_: Trainer, record: Mapping[str, float]) -> None:
        if record["step"] == 3:
            raise CutError

    def begin(workers: Workers) -> None:
        one = trainer(workers, folder=tmp_path / "cut", callbacks=[cut])
        one.train()

    with pytest.raises(CutError):
        together(3, begin)
    assert {found for found, _ in together(2, lambda workers: trained(workers, folder=tmp_path / "cut"))} == {expected}
    assert [load(tmp_path / name / "checkpoint.safetensors").digest for name in ("whole", "cut")] == [
        load(tmp_path / "whole" / "checkpoint.safetensors").digest
    ] * 2


def test_a_signal_to_one_worker_ends_all_after_the_same_step(tmp_path: Path) -> None:
    def begin(workers: Workers) -> tuple[int, int]:
        one = trainer(workers, folder=tmp_path)
        agreed = one._agreed
        one._agreed = lambda number: agreed(15 if workers.rank == 1 and one.step == 2 else number)  # type: ignore[method-assign]
        with pytest.raises(Interrupted) as caught:
            one.train()
        return one.step, caught.value.signal

    assert together(3, begin) == [(2, 15)] * 3
    assert load(tmp_path / "checkpoint.safetensors").metadata["step"] == "2"


def test_a_worker_with_other_weights_is_named_and_nothing_is_saved(tmp_path: Path) -> None:
    def begin(workers: Workers) -> str:
        def disturb(trainer: Trainer, record: Mapping[str, float]) -> None:
            if workers.rank == 1 and record["step"] == 1:
                trainer.model.norm.weight.data[0] += np.float32(2**-23)

        one = trainer(workers, folder=tmp_path, callbacks=[disturb])
        with pytest.raises(WorkersError) as caught:
            one.train()
        return str(caught.value)

    said = together(2, begin)
    assert said[0] == said[1] and said[0].startswith("worker 1 must have the tensor model.")
    assert not (tmp_path / "checkpoint.safetensors").exists()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("data", "b", "worker 1 must have the data of worker 0, a, got b"),
        ("tokenizer", "b", "worker 1 must have the tokenizer of worker 0, a, got b"),
        ("config", replace(CONFIG, clip=2.0), "worker 1 must have the setting clip of worker 0, 1.0, got 2.0"),
    ],
)
def test_workers_that_compute_other_runs_are_refused(name: str, value: Any, message: str) -> None:
    def begin(workers: Workers) -> None:
        options = {"data": "a", "tokenizer": "a", "config": CONFIG} | ({name: value} if workers.rank else {})
        trainer(workers, **options).train()

    with pytest.raises(WorkersError, match=f"^{re.escape(message)}$"):
        together(2, begin)


def test_worker_0_prepares_the_folder_and_the_others_read_it(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the cat sat on the mat. " * 40)
    config = replace(CONFIG, data=str(tmp_path / "text.txt"), model=replace(MODEL, vocabulary_size=0))

    def begin(workers: Workers, name: str = "run", **options: Any) -> tuple[str, str]:
        run = start(config, tmp_path / name, workers=workers, **options)
        run.trainer.train()
        return digest(run.trainer.model.state_dict()), run.trainer.initial

    expected = begin(ALONE, "alone")
    assert together(2, begin) == [expected] * 2
    continued = begin(ALONE, "alone, continued", init_from=tmp_path / "alone")
    assert continued[1] and continued != expected
    assert together(2, lambda workers: begin(workers, "continued", init_from=tmp_path / "run")) == [continued] * 2
    for several, one in (("run", "alone"), ("continued", "alone, continued")):
        assert (tmp_path / several / "receipt.json").read_bytes() == (tmp_path / one / "receipt.json").read_bytes()

    def elsewhere(workers: Workers) -> None:
        start(config, tmp_path / ("here" if workers.rank == 0 else "there"), workers=workers)

    with pytest.raises(
        FileNotFoundError, match=r"worker 1 does not see \S+tokenizer\.json, which worker 0 has written; all workers"
    ):
        together(2, elsewhere)


def test_generation_by_several_workers_is_that_of_one() -> None:
    prompts, tokenizer = ["a", "bbcc", "", "ab", "c"], CharacterTokenizer("abcdefg")

    def generated(workers: Workers) -> list[str]:
        model = LanguageModel(MODEL, stream=Stream(1))
        return generate_batch(model, tokenizer, [one or "g" for one in prompts], tokens=6, stream=Stream(2), workers=workers)

    assert together(3, generated) == [generated(ALONE)] * 3 == together(3, generated)
    assert (
        together(
            2,
            lambda workers: generate_batch(
                LanguageModel(MODEL, stream=Stream(1)), tokenizer, ["a"], tokens=6, stream=Stream(2), workers=workers
            ),
        )
        == [generated(ALONE)[:1]] * 2
    )
