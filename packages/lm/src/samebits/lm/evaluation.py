"""Evaluation: how well a model predicts text that it was not trained on.

Three measures of the same thing: the loss, in nats per token; the perplexity, exp(loss); and the bits per byte, which can be
compared between tokenizers:

    bits per byte = sum of the losses / (ln 2 * bytes of text that the target tokens stand for)

Each token's loss is computed from its own row, and the sum is exact. So the result depends only on the weights and the text, not
on how the windows are grouped into batches, or which worker has which.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits import core
from samebits.autograd import no_grad
from samebits.core import current, require_arithmetic, restore_arithmetic
from samebits.lm.model import Ids, LanguageModel
from samebits.lm.workers import ALONE, Workers
from samebits.nn.arguments import integers
from samebits.text.tokenizer import Tokenizer

__all__ = ["Evaluation", "byte_lengths", "evaluate", "exact_terms", "token_losses"]

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

_LN2 = 0.6931471805599453


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`.

    Example:
        >>> Evaluation(loss=1.5, perplexity=4.48, bits_per_byte=None, tokens=1000).loss
        1.5
    """

    loss: float
    """The mean of -log p(token | earlier tokens of its window), in nats per token."""
    perplexity: float
    """exp(loss)."""
    bits_per_byte: float | None
    """The loss in bits per byte of text; None if the bytes of the tokens were not given."""
    tokens: int
    """The number of tokens that were predicted."""


def byte_lengths(tokenizer: Tokenizer) -> Int64:
    """The number of bytes of text that each token stands for, int64 (V,); 0 for special tokens.

    Example:
        >>> from samebits.text import CharacterTokenizer
        >>> byte_lengths(CharacterTokenizer("aé€"))
        array([1, 2, 3])
    """
    lengths = np.array([len(token) for token in tokenizer.tokens], np.int64)
    lengths[list(tokenizer.special_tokens.values())] = 0
    return lengths


def token_losses(logits: npt.NDArray[Any], targets: Ids) -> Float64:
    """The cross entropy of every token: ``logsumexp(logits) - logits[target]``.

    Args:
        logits: float32 (..., V).
        targets: Token ids (...), each from 0 to V - 1.

    Returns:
        float64 (...).

    Raises:
        IndexError: A target is out of range.

    Example:
        >>> token_losses(np.zeros((1, 4), np.float32), np.array([2])).round(6)
        array([1.386294])
    """
    targets = integers("token_losses", "targets", targets)
    if targets.size and not 0 <= targets.min() <= targets.max() < logits.shape[-1]:
        raise IndexError(
            f"token_losses: targets must be from 0 to {logits.shape[-1] - 1}, got {targets.min()} to {targets.max()}"
        )
    chosen = np.take_along_axis(logits, targets[..., None], -1)[..., 0]
    return np.asarray(current().logsumexp(logits, -1)).astype(np.float64) - chosen.astype(np.float64)


def evaluate(
    model: LanguageModel, windows: Iterable[tuple[Ids, Ids]], lengths: Ids | None = None, *, workers: Workers = ALONE
) -> Evaluation:
    """Evaluate a model on batches of windows, in the active arithmetic and without dropout.

    Args:
        model: The model; its mode is restored afterwards.
        windows: Batches of inputs and targets, token ids (B, T).
        lengths: The bytes of each token (V,), as from `byte_lengths`.
        workers: The processes that evaluate, each some of the batches; all of them call this, with the same windows.

    Raises:
        ValueError: There are no windows, or ``lengths`` does not have one number per token.
        FloatingPointError: A loss is not finite.
        MachineError: Other code has changed how this thread rounds.

    Example:
        >>> from samebits.core import Stream
        >>> from samebits.lm import ModelConfig
        >>> config = ModelConfig(vocabulary_size=5, context=8, layers=1, heads=2, channels=16)
        >>> found = evaluate(LanguageModel(config, stream=Stream(0)), [([[1, 2, 3]], [[2, 3, 4]])])
        >>> abs(found.loss - 1.609) < 0.05, found.tokens  # ln 5: the model has learned nothing yet
        (True, 3)
    """
    if lengths is not None:
        lengths = integers("evaluate", "lengths", lengths)
        if lengths.shape != (model.config.vocabulary_size,):
            raise ValueError(f"evaluate: lengths must have shape ({model.config.vocabulary_size},), got {lengths.shape}")
    restore_arithmetic()
    training = model.training
    losses: list[float] = []
    bad: list[int] = []
    before = size = 0
    model.eval()
    try:
        with no_grad():
            for i, (inputs, targets) in enumerate(windows):
                if i % workers.size == workers.rank:
                    found = token_losses(model(inputs).data, targets).reshape(-1)
                    bad += (before + np.flatnonzero(~np.isfinite(found))[:1]).tolist()
                    losses += found.tolist()
                    size += 0 if lengths is None else int(lengths[targets].sum())
                before += np.size(targets)
    finally:
        model.train(training)
    require_arithmetic()
    parts = workers.gather((bad[:1], size, [] if bad else exact_terms(losses)))
    if places := [place for bad, _, _ in parts for place in bad]:
        raise FloatingPointError(f"evaluate: the loss of token {min(places)} is not finite")
    if not before:
        raise ValueError("evaluate: windows must not be empty")
    total = math.fsum(term for _, _, terms in parts for term in terms)  # exactly rounded, so the order does not matter
    size = sum(size for _, size, _ in parts)
    loss = total / before
    perplexity = float(core.exp(np.float32(loss)))
    return Evaluation(loss, perplexity, total / (_LN2 * size) if size else None, before)


def exact_terms(values: Sequence[float]) -> list[float]:
    """A few numbers with the same sum, exactly: the sum rounded, the rest rounded, and so on.

    Example:
        >>> exact_terms([1e16, 1.0, 1.0, 1.0, 2.0**-60])
        [1.0000000000000004e+16, -1.0, 8.673617379884035e-19]
    """
    terms: list[float] = []
    while term := math.fsum([*values, *(-one for one in terms)]):
        terms.append(term)
    return terms
