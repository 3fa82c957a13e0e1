"""Evaluation: how well a model foretells text that it was not trained on.

Three numbers that say the same thing: the loss, in nats a token; its exponential, the perplexity, as how many equally likely
tokens the next one looks; and the bits per byte, which does not depend on the tokenizer:

    bits per byte = sum of the losses / (ln 2 * bytes of the text of the foretold tokens)

Windows are fixed, each token's loss is computed from its own row, and the sum is exact, so the result is a matter of the
weights and the text alone: how windows are grouped into batches cannot change a bit of it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits import core
from samebits.autograd import no_grad
from samebits.core import current
from samebits.lm.model import LanguageModel
from samebits.text.tokenizer import Tokenizer

__all__ = ["Evaluation", "byte_lengths", "evaluate", "token_losses"]

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

_LN2 = 0.6931471805599453


@dataclass(frozen=True)
class Evaluation:
    """How well a model did on a number of tokens."""

    loss: float
    """Nats a token: the mean of -log p(token | those before it in its window)."""
    perplexity: float
    bits_per_byte: float | None
    """None if the bytes of the tokens were not given."""
    tokens: int


def byte_lengths(tokenizer: Tokenizer) -> Int64:
    """How many bytes of text each token stands for, int64 of shape (V,)."""
    return np.array([len(token) for token in tokenizer.tokens], np.int64)


def token_losses(logits: npt.NDArray[Any], targets: Int64) -> Float64:
    """The loss of every token: ``logsumexp(logits) - logits[target]``.

    Args:
        logits: float32 (..., V).
        targets: int64 (...), each from 0 to V - 1.

    Returns:
        float64 (...), of which exact sums can be taken.

    Raises:
        IndexError: A target is out of range.

    Example:
        >>> token_losses(np.zeros((1, 4), np.float32), np.array([2])).round(6)
        array([1.386294])
    """
    if targets.size and not 0 <= targets.min() <= targets.max() < logits.shape[-1]:
        raise IndexError(f"targets are from {targets.min()} to {targets.max()}: 0 to {logits.shape[-1] - 1} is possible")
    foretold = np.take_along_axis(logits, targets[..., None], -1)[..., 0]
    return np.asarray(current().logsumexp(logits, -1)).astype(np.float64) - foretold.astype(np.float64)


def evaluate(model: LanguageModel, windows: Iterable[tuple[Int64, Int64]], lengths: Int64 | None = None) -> Evaluation:
    """Evaluate a model on batches of windows, in the arithmetic of the moment and without dropout.

    Args:
        model: The model; it is in the mode it was in afterwards.
        windows: Inputs and targets, int64 (B, T), as many batches as there are.
        lengths: The bytes of each token, int64 (V,), as `byte_lengths` gives them.

    Raises:
        ValueError: There are no windows.
        FloatingPointError: A loss is not a finite number.
    """
    training = model.training
    losses: list[float] = []
    size = 0
    model.eval()
    try:
        with no_grad():
            for inputs, targets in windows:
                losses += token_losses(model(inputs).data, targets).reshape(-1).tolist()
                size += 0 if lengths is None else int(lengths[targets].sum())
    finally:
        model.train(training)
    if not losses:
        raise ValueError("windows are none: at least one is needed to evaluate a model")
    total = math.fsum(losses)  # exactly rounded, so in any order
    if not math.isfinite(total):
        raise FloatingPointError(
            f"the loss of token {next(i for i, x in enumerate(losses) if not math.isfinite(x))} is not finite"
        )
    loss = total / len(losses)
    perplexity = float(core.exp(np.float32(loss)))
    return Evaluation(loss, perplexity, total / (_LN2 * size) if size else None, len(losses))
