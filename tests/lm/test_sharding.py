"""Sharding: any number of workers gives the bits of one, in training, resumption and evaluation."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.lm.together import ThreadWorkers, together

from samebits.core import Stream
from samebits.lm import LanguageModel, ModelConfig, TrainConfig, Trainer, TrainingError, evaluate, sharding
from samebits.lm.checkpoint import digest
from samebits.lm.evaluation import Evaluation
from samebits.lm.workers import ALONE, Workers, WorkersError, require_same
from samebits.text import Batches, evaluation_windows

pytestmark = pytest.mark.once

MODEL = ModelConfig(vocabulary_size=7, context=8, layers=1, heads=2, channels=16, dropout=0.1)
CONFIG = TrainConfig(steps=4, warmup=2, batch=10, shards=5, checkpoint_every=2, evaluate_every=3, learning_rate=1e-2, model=MODEL)
TOKENS = np.arange(200) ** 2 % 7


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
