"""Sampling: how the next token is chosen from the logits of a language model.

    logits  ->  + bias  ->  penalties  ->  / temperature  ->  top k  ->  top p  ->  min p  ->  one draw from a `Stream`

`Sampling` has the options. With temperature 0 the token with the largest logit is chosen (greedy decoding), the lowest id where
several are equal.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits import autograd
from samebits.autograd.ops.probabilities import softmax_at
from samebits.core import Stream, cumsum
from samebits.core.arguments import integer
from samebits.core.indexing import least
from samebits.core.records import shown

__all__ = ["Sampling"]

Float32 = npt.NDArray[np.float32]

_LEAST = 1e-6  # logits divided by it are finite in float32
_FEW = 256  # tokens, of which top_p mostly keeps less


def _factor(x: float) -> bool:
    return _LEAST <= x <= 1 / _LEAST


def _summand(x: Any) -> bool:
    return bool(-100 <= x <= 100)


# Of each option: whether a number is allowed, and the rule in words.
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "temperature": (lambda x: x == 0 or _factor(x), "0 or from 1e-6 to 1e6"),
    "top_k": (lambda x: isinstance(x, int) and x >= 1, "an int of at least 1, or None"),
    "top_p": (lambda x: 0 < x <= 1, "above 0 and at most 1, or None"),
    "min_p": (lambda x: 0 <= x <= 1, "from 0 to 1, or None"),
    "repetition_penalty": (_factor, "from 1e-6 to 1e6"),
    "presence_penalty": (_summand, "from -100 to 100"),
    "frequency_penalty": (_summand, "from -100 to 100"),
}


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Raises:
        TypeError: ``logit_bias`` is not a mapping, or has an id that is not an int.
        ValueError: An option is out of its range, or not a number.

    Example:
        >>> Sampling(temperature=0.0).choose(np.array([0.5, 2.0, 1.0], np.float32), Stream(1))
        1
    """

    temperature: float = 1.0
    """Divides the logits. Below 1 likely tokens become likelier; 0 always chooses the likeliest."""
    top_k: int | None = None
    """Keep only the k largest logits."""
    top_p: float | None = None
    """Keep only the smallest set of the likeliest tokens with at least this probability (Holtzman et al., 2020, section 3.1)."""
    min_p: float | None = None
    """Keep only tokens with at least this fraction of the largest probability (Nguyen et al., 2024)."""
    repetition_penalty: float = 1.0
    """Divides positive logits of tokens that occurred before, and multiplies negative ones (Keskar et al., 2019, section 4.1)."""

    presence_penalty: float = 0.0
    """Subtracted from the logits of tokens that were sampled before (OpenAI's definition; the prompt does not count)."""
    frequency_penalty: float = 0.0
    """Subtracted from the logit of a token as often as it was sampled before."""
    logit_bias: Mapping[int, float] = field(default_factory=dict, hash=False)
    """Added to the logits of these token ids, from -100 to 100: the ends ban a token and force it, or nearly so."""

    def __post_init__(self) -> None:
        for one in fields(self):
            given = getattr(self, one.name)
            if one.name == "logit_bias":
                object.__setattr__(self, one.name, _bias(given))
                continue
            allowed, rule = _RULES[one.name]
            value = given.item() if isinstance(given, np.generic) else given
            if value is None and one.default is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not allowed(value):
                raise ValueError(f"Sampling: {one.name} must be {rule}, got {shown(given)}")
            object.__setattr__(self, one.name, value)

    def choose(self, logits: Float32, stream: Stream, seen: Collection[int] = (), sampled: Sequence[int] = ()) -> int:
        """Choose one token id.

        Args:
            logits: float32 (V,).
            stream: The source of the draw; with temperature 0 nothing is drawn.
            seen: The ids that occurred before, for ``repetition_penalty``.
            sampled: The ids that were sampled before, in any order, for ``presence_penalty`` and ``frequency_penalty``.

        Raises:
            FloatingPointError: A logit is NaN or positive infinity.
            ValueError: ``logit_bias`` has an id that is not in the vocabulary.
        """
        if not np.max(logits, initial=-np.inf) < np.inf:  # NaN too
            raise FloatingPointError("Sampling.choose: a logit is NaN or positive infinity: the model has diverged")
        logits = self.adjusted(logits, seen, sampled)
        if self.temperature == 0:
            return int(np.argmax(logits))
        ids, probabilities = self.distribution(logits)
        return int(stream.choice(ids, p=probabilities))

    def adjusted(self, logits: Float32, seen: Collection[int] = (), sampled: Sequence[int] = ()) -> Float32:
        """The logits with bias and penalties, float32 (V,), as `choose` takes them.

        Example:
            >>> sampling = Sampling(logit_bias={0: 1.5}, repetition_penalty=2.0, frequency_penalty=0.5, presence_penalty=0.25)
            >>> sampling.adjusted(np.array([1.0, -1.0, 3.0], np.float32), seen=[0, 1], sampled=[1, 1])
            array([ 1.25, -3.25,  3.  ], dtype=float32)
        """
        result = logits
        if self.logit_bias:
            ids = np.array(list(self.logit_bias), np.int64)
            if ids[-1] >= len(logits):
                raise ValueError(f"Sampling.choose: logit_bias must have ids below {len(logits)}, got {ids[-1]}")
            result = logits.copy()
            result[ids] += np.array(list(self.logit_bias.values()), np.float32)
        if self.repetition_penalty != 1 and seen:
            ids, penalty, result = np.array(sorted(set(seen)), np.int64), np.float32(self.repetition_penalty), result.copy()
            old = result[ids]
            result[ids] = np.where(old > 0, old / penalty, old * penalty)
        if (self.frequency_penalty or self.presence_penalty) and sampled:
            ids, counts = np.unique(np.array(sampled, np.int64), return_counts=True)
            result = result.copy()
            result[ids] -= np.float32(self.frequency_penalty) * counts.astype(np.float32)
            result[ids] -= np.float32(self.presence_penalty)
        return result

    def distribution(self, logits: Float32) -> tuple[npt.NDArray[np.int64], Float32]:
        """The token ids that are kept and their weights, the likeliest first if some were dropped.

        Args:
            logits: float32 (V,).

        Returns:
            Ids, int64 (K,), and probabilities, float32 (K,), which are not scaled again after ``top_p`` and ``min_p``.

        Example:
            >>> ids, weights = Sampling(top_k=2).distribution(np.array([0.0, 1.0, 1.0], np.float32))
            >>> ids.tolist(), weights.tolist()
            ([1, 2], [0.5, 0.5])
        """
        scaled = logits / np.float32(self.temperature)
        if self.top_k is None and self.top_p in {None, 1.0} and not self.min_p:
            return np.arange(len(logits), dtype=np.int64), np.asarray(autograd.softmax(scaled))  # type: ignore[arg-type]
        ids, weights = self._likeliest(scaled)
        if self.min_p:
            kept = int(np.count_nonzero(weights >= np.float32(self.min_p) * weights[0]))
            ids, weights = ids[:kept], weights[:kept]
        return ids, weights

    def _likeliest(self, scaled: Float32) -> tuple[npt.NDArray[np.int64], Float32]:
        """What ``top_k`` and ``top_p`` keep: ids and weights, the likeliest first."""
        if self.top_k is None and self.top_p is not None and self.top_p < 1:  # mostly a few tokens are enough, of all in order
            ids = least(-scaled, _FEW)
            weights = softmax_at(scaled, ids)
            if weights is not None and (kept := _nucleus(weights, self.top_p)) < len(ids):
                return ids[:kept], weights[:kept]
        ids = least(-scaled, self.top_k or len(scaled))
        weights = np.asarray(autograd.softmax(scaled[ids]))  # type: ignore[arg-type]
        kept = len(ids) if self.top_p is None or self.top_p == 1 else _nucleus(weights, self.top_p)
        return ids[:kept], weights[:kept]


def _nucleus(weights: Float32, top_p: float) -> int:
    """The number of tokens that are kept: each while the ones before it have not reached ``top_p``."""
    return 1 + int(np.count_nonzero(cumsum(weights)[:-1] < np.float32(top_p)))


def _bias(given: Any) -> dict[int, float]:
    """The bias of each token id, in the order of the ids."""
    if not isinstance(given, Mapping):
        raise TypeError(f"Sampling: logit_bias must be a mapping from token ids to numbers, got {shown(given)}")
    found = {}
    for id_, bias in given.items():
        if isinstance(bias, bool) or not isinstance(bias, int | float | np.number) or not _summand(bias):
            raise ValueError(f"Sampling: logit_bias[{id_!r}] must be from -100 to 100, got {shown(bias)}")
        found[integer("Sampling", "a token id of logit_bias", id_, 0)] = float(bias)
    return dict(sorted(found.items()))
