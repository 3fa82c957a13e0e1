"""Sampling by the definitions of transformers' logits processors and warpers, and of OpenAI's presence and frequency penalties.

Only `nox -s parity` runs this: it installs PyTorch and transformers.
"""

from typing import Any

import numpy as np
import pytest
import torch
from transformers.generation import logits_process as theirs

from samebits.core import Stream
from samebits.lm import Sampling

SIZE = 500


def cases() -> list[tuple[np.ndarray, list[int]]]:
    """Logits of several widths, and the ids before them, some of which are there more than once."""
    found = []
    for number in range(40):
        stream = Stream(number)
        logits = stream.normal(size=SIZE).astype(np.float32) * np.float32((0.5, 2, 8)[number % 3])
        found.append((logits, stream.integers(SIZE // 4, size=60).tolist()))
    return found


def assert_same(sampling: Sampling, processors: list[Any]) -> None:
    """The kept ids are equal, and so are their probabilities, within the rounding of float32."""
    for logits, ids in cases():
        scores = torch.from_numpy(logits.copy())[None]
        for processor in processors:
            scores = processor(torch.tensor([ids]), scores)
        expected = torch.softmax(scores.double(), -1)[0].numpy()
        kept, weights = sampling.distribution(sampling.adjusted(logits, seen=ids))
        assert set(kept.tolist()) == set(np.flatnonzero(expected).tolist())
        found = weights.astype(np.float64) / weights.astype(np.float64).sum()
        assert np.abs(found / expected[kept] - 1).max() < 2e-5


BIAS = {7: 3.5, 20: -2.0, 499: 1.25}


@pytest.mark.parametrize(
    ("options", "processors"),
    [
        ({"temperature": 0.7}, [theirs.TemperatureLogitsWarper(0.7)]),
        ({"top_k": 40}, [theirs.TopKLogitsWarper(40)]),
        ({"top_p": 0.9}, [theirs.TopPLogitsWarper(0.9)]),
        ({"min_p": 0.05}, [theirs.MinPLogitsWarper(0.05)]),
        ({"repetition_penalty": 1.3}, [theirs.RepetitionPenaltyLogitsProcessor(1.3)]),
        ({"logit_bias": BIAS}, [theirs.SequenceBiasLogitsProcessor({(id_,): bias for id_, bias in BIAS.items()})]),
        (
            {"temperature": 0.8, "top_k": 60, "top_p": 0.9, "min_p": 0.02, "repetition_penalty": 1.2, "logit_bias": BIAS},
            [
                theirs.SequenceBiasLogitsProcessor({(id_,): bias for id_, bias in BIAS.items()}),
                theirs.RepetitionPenaltyLogitsProcessor(1.2),
                theirs.TemperatureLogitsWarper(0.8),
                theirs.TopKLogitsWarper(60),
                theirs.TopPLogitsWarper(0.9),
                theirs.MinPLogitsWarper(0.02),
            ],
        ),
    ],
    ids=["temperature", "top_k", "top_p", "min_p", "repetition_penalty", "logit_bias", "all, in their order"],
)
def test_each_option_does_what_transformers_does(options: dict[str, Any], processors: list[Any]) -> None:
    assert_same(Sampling(**options), processors)


def test_presence_and_frequency_follow_openais_formula() -> None:
    """mu[j] -> mu[j] - c[j] * alpha_frequency - float(c[j] > 0) * alpha_presence; c[j] is how often j was sampled."""
    sampling = Sampling(presence_penalty=0.6, frequency_penalty=0.35)
    for logits, ids in cases():
        counts = np.bincount(ids, minlength=SIZE)
        expected = logits.astype(np.float64) - counts * 0.35 - (counts > 0) * 0.6
        assert np.abs(sampling.adjusted(logits, seen=[1, 2], sampled=ids) - expected).max() < 1e-5
