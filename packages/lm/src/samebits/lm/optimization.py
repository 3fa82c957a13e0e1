"""Optimization of a training run: the optimizer and the learning rate that a configuration asks for.

    "adamw", "lion", "sgd"    one optimizer for all parameters
    "muon"                    Muon for the matrices of the blocks, AdamW for embeddings, output layer, biases and gains

Matrices have weight decay, vectors (biases and gains of normalizations) do not; see `samebits.nn.factory`.
"""

from collections.abc import Iterable
from typing import Any

from samebits.autograd import Tensor
from samebits.lm.config import TrainConfig
from samebits.nn import schedule
from samebits.nn.factory import build_optimizer
from samebits.nn.optimizer import Optimizer

__all__ = ["PROLONGING", "learning_rate", "make_optimizer", "same_rates"]

PROLONGING = frozenset({"schedule", "steps", "decay", "final_learning_rate"})
"""The settings that change nothing in a run but learning rates, so that a run can be prolonged while `same_rates` holds."""


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


def same_rates(one: TrainConfig, other: TrainConfig, steps: int) -> bool:
    """Whether two configurations have the same learning rates in the first ``steps`` steps.

    Example:
        >>> short, long = [TrainConfig(steps=steps, warmup=2, decay=3, schedule="wsd") for steps in (9, 12)]
        >>> same_rates(short, long, 6), same_rates(short, long, 9)
        (True, False)
    """
    return all(learning_rate(one, step) == learning_rate(other, step) for step in range(steps))


def make_optimizer(config: TrainConfig, parameters: Iterable[tuple[str, Tensor]]) -> Optimizer:
    """The optimizer of a configuration.

    Args:
        config: Its ``optimizer`` and the settings of that.
        parameters: The parameters of a `LanguageModel` by name.

    Example:
        >>> from samebits.core import Stream
        >>> from samebits.lm import LanguageModel, ModelConfig
        >>> config = TrainConfig(optimizer="lion", model=ModelConfig(vocabulary_size=5))
        >>> type(make_optimizer(config, LanguageModel(config.model, stream=Stream(0)).named_parameters())).__name__
        'Lion'
    """
    shared: dict[str, Any] = {"learning_rate": config.learning_rate, "weight_decay": config.weight_decay}
    betas = config.beta1, config.beta2
    if config.optimizer in {"adamw", "lion"}:
        return build_optimizer(config.optimizer, parameters, betas=betas, **shared)
    if config.optimizer == "muon":
        shared["adamw"] = {"learning_rate": config.adamw_learning_rate, "betas": betas}
    return build_optimizer(config.optimizer, parameters, momentum=config.momentum, **shared)
