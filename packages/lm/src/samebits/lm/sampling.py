"""Sampling: which token comes next, from the logits of a language model.

`Sampling` says how the distribution softmax(logits / temperature) is cut before one token is drawn from it; the cuts apply in the
order of its fields. With temperature 0 nothing is drawn: the largest logit wins (greedy), the lower id where two are equal.

    logits  ->  repetition penalty  ->  / temperature  ->  top k  ->  top p  ->  min p  ->  one draw from a `Stream`
"""

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits import autograd
from samebits.core import Stream, argsort, cumsum

__all__ = ["Sampling"]

Float32 = npt.NDArray[np.float32]

_LEAST = 1e-6  # logits divided by it are finite in float32


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Raises:
        ValueError: A field is out of its range.

    Example:
        >>> Sampling(temperature=0.0).choose(np.array([0.5, 2.0, 1.0], np.float32), Stream(1))
        1
    """

    temperature: float = 1.0
    """Logits are divided by it: below 1 likely tokens become likelier; 0 always takes the likeliest; at least 1e-6 else."""
    top_k: int | None = None
    """Only the k largest logits stay."""
    top_p: float | None = None
    """Only the likeliest tokens stay, as few as have this probability together (Holtzman et al. 2020, section 3.1)."""
    min_p: float | None = None
    """Only tokens at least this fraction as likely as the likeliest stay (Nguyen et al. 2024)."""
    repetition_penalty: float = 1.0
    """Logits of tokens that occurred already are divided by it if positive, else multiplied (Keskar et al. 2019, section 4.1)."""

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[Any, str]] = {
            "temperature": (lambda x: x == 0 or _LEAST <= x <= 1 / _LEAST, "0, or a number from 1e-6 to 1e6,"),
            "top_k": (lambda x: isinstance(x, int) and x >= 1, "a whole number from 1 up"),
            "top_p": (lambda x: 0 < x <= 1, "above 0 and at most 1"),
            "min_p": (lambda x: 0 <= x <= 1, "from 0 to 1"),
            "repetition_penalty": (lambda x: _LEAST <= x <= 1 / _LEAST, "a number from 1e-6 to 1e6, 1 for none,"),
        }
        for field in fields(self):
            value, (fits, needed) = getattr(self, field.name), ranges[field.name]
            if value is not None and not (isinstance(value, int | float) and not isinstance(value, bool) and fits(value)):
                raise ValueError(f"{field.name} is {value!r}: {needed} is needed")

    def choose(self, logits: Float32, stream: Stream, seen: Collection[int] = ()) -> int:
        """One token id.

        Args:
            logits: float32 (V,).
            stream: What the token is drawn from; greedy choice draws nothing.
            seen: The ids that occurred already, for ``repetition_penalty``.

        Raises:
            FloatingPointError: A logit is NaN or positive infinity.
        """
        if self.repetition_penalty != 1 and seen:
            logits = self._penalised(logits, np.array(sorted(set(seen)), np.int64))
        if self.temperature == 0:
            if np.isnan(logits).any():
                raise FloatingPointError("a logit is NaN: the model has diverged")
            return int(np.argmax(logits))
        ids, probabilities = self.distribution(logits)
        return int(stream.choice(ids, p=probabilities))

    def distribution(self, logits: Float32) -> tuple[npt.NDArray[np.int64], Float32]:
        """The ids that stay, and their weights (before the cut they sum to 1); the likeliest first where there is a cut."""
        scaled = logits / np.float32(self.temperature)
        if self.top_k is None and self.top_p in {None, 1.0} and not self.min_p:
            return np.arange(len(logits), dtype=np.int64), np.asarray(autograd.softmax(scaled))  # type: ignore[arg-type]
        ids = argsort(-scaled)[: self.top_k]
        weights: Float32 = np.asarray(autograd.softmax(scaled[ids]))  # type: ignore[arg-type]
        if self.top_p is not None and self.top_p < 1:
            # a token stays while those before it have not reached top_p
            kept = 1 + int(np.count_nonzero(cumsum(weights)[:-1] < np.float32(self.top_p)))
            ids, weights = ids[:kept], weights[:kept]
        if self.min_p:
            kept = int(np.count_nonzero(weights >= np.float32(self.min_p) * weights[0]))
            ids, weights = ids[:kept], weights[:kept]
        return ids, weights

    def _penalised(self, logits: Float32, seen: npt.NDArray[np.int64]) -> Float32:
        penalty, result = np.float32(self.repetition_penalty), logits.copy()
        old = logits[seen]
        result[seen] = np.where(old > 0, old / penalty, old * penalty)
        return result
