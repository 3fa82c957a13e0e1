"""Optimization of a training run: the optimizer and the learning rate that a configuration asks for.

    "adamw", "lion", "sgd"    one optimizer for all parameters
    "muon"                    Muon for the matrices of the blocks, AdamW for embeddings, output layer, biases and gains

Matrices have weight decay, vectors (biases and gains of normalizations) do not. The optimizers themselves are in `samebits.nn`.
"""

from collections.abc import Iterable
from typing import Any

from samebits.autograd import Tensor
from samebits.lm.config import TrainConfig
from samebits.nn import schedule
from samebits.nn.adamw import AdamW
from samebits.nn.lion import Lion
from samebits.nn.muon import Muon
from samebits.nn.optimizer import CombinedOptimizer, Optimizer
from samebits.nn.sgd import SGD

__all__ = ["learning_rate", "make_optimizer"]

Named = list[tuple[str, Tensor]]


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
    named = list(parameters)
    rate, decay, betas = config.learning_rate, config.weight_decay, (config.beta1, config.beta2)
    if config.optimizer == "adamw":
        return AdamW(_groups(named), learning_rate=rate, betas=betas, weight_decay=decay)
    if config.optimizer == "lion":
        return Lion(_groups(named), learning_rate=rate, betas=betas, weight_decay=decay)
    if config.optimizer == "sgd":
        return SGD(_groups(named), learning_rate=rate, momentum=config.momentum, weight_decay=decay)
    hidden = [(name, p) for name, p in named if name.startswith("blocks.") and p.ndim == 2]
    chosen = {name for name, _ in hidden}
    rest = _groups([(name, p) for name, p in named if name not in chosen])
    muon = Muon(hidden, learning_rate=rate, momentum=config.momentum, weight_decay=decay)
    return CombinedOptimizer([muon, AdamW(rest, learning_rate=config.adamw_learning_rate, betas=betas, weight_decay=decay)])


def _groups(named: Named) -> list[dict[str, Any]]:
    """Matrices with weight decay, vectors without."""
    return [
        {"parameters": [(name, p) for name, p in named if p.ndim >= 2]},
        {"parameters": [(name, p) for name, p in named if p.ndim < 2], "weight_decay": 0.0},
    ]
