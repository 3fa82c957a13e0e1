"""Sampling: each option keeps the tokens of its definition, and draws follow the distribution of those."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samebits.core import Stream, cumsum
from samebits.lm.sampling import Sampling

pytestmark = pytest.mark.once

LOGITS = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=12).map(lambda x: np.array(x, np.float32))


def naive(logits, sampling):
    """The distribution that is left, by the definitions, in Python floats: id -> probability before the cuts."""
    scaled = [float(x) / sampling.temperature for x in logits]
    weights = [np.exp(x - max(scaled)) for x in scaled]
    order = sorted(range(len(scaled)), key=lambda i: (-scaled[i], i))
    kept = order[: sampling.top_k] if sampling.top_k else order
    total = sum(weights[i] for i in kept)
    if sampling.top_p is not None:
        kept = [i for n, i in enumerate(kept) if sum(weights[j] for j in kept[:n]) / total < sampling.top_p]
    if sampling.min_p:
        kept = [i for i in kept if weights[i] >= sampling.min_p * weights[kept[0]]]
    return kept


@given(LOGITS, st.sampled_from([0.1, 0.7, 1.0, 3.0]), st.none() | st.integers(1, 15), st.sampled_from([None, 0.1, 0.5, 0.93]))
def test_the_kept_tokens_are_those_of_the_definitions(logits, temperature, k, p) -> None:
    sampling = Sampling(temperature, top_k=k, top_p=p, min_p=0.013)
    ids, weights = sampling.distribution(logits)
    expected = naive(logits, sampling)
    scaled = np.sort(logits.astype(np.float64) / temperature)
    # where two logits differ by less than float32 can tell apart after division, their order is a matter of rounding
    if np.diff(scaled).min(initial=1) > 1e-4:
        near = {0.1, 0.5, 0.93} if p else set()
        sums = np.cumsum([np.exp(x - scaled[-1]) for x in scaled[::-1]][: k or None])
        if not any(abs(s / sums[-1] - edge) < 1e-4 for s in sums for edge in near):
            assert abs(len(ids) - len(expected)) == 0 and ids.tolist() == expected[: len(ids)]
    assert len(ids) == len(weights) >= 1 and (weights > 0).any() and (np.diff(weights) <= 0).all()


@pytest.mark.parametrize("spread", [0.5, 3.0, 30.0])
@pytest.mark.parametrize("size", [2, 256, 257, 3000])
def test_what_top_p_keeps_of_many_tokens_is_what_it_keeps_of_all_in_order(spread: float, size: int) -> None:
    for seed in range(5):
        logits = np.round(Stream(seed).normal(size=size) * spread, 1).astype(np.float32)
        for p in (0.01, 0.9, 0.999):
            every, weights = Sampling(top_k=size).distribution(logits)
            kept = 1 + int((cumsum(weights)[:-1] < np.float32(p)).sum())
            ids, found = Sampling(top_p=p).distribution(logits)
            assert ids.tolist() == every[:kept].tolist() and found.tobytes() == weights[:kept].tobytes()


def test_by_default_all_tokens_are_kept() -> None:
    ids, weights = Sampling(temperature=2.0).distribution(np.array([1.0, 3.0, 2.0], np.float32))
    assert ids.tolist() == [0, 1, 2]
    expected = np.exp([0.5, 1.5, 1.0]) / np.exp([0.5, 1.5, 1.0]).sum()
    assert np.abs(weights - expected).max() < 1e-7


def test_the_lower_id_is_first_among_equals() -> None:
    logits = np.array([1.0, 2.0, 2.0, 2.0], np.float32)
    assert Sampling(temperature=0).choose(logits, Stream(0)) == 1
    assert Sampling(top_k=2).distribution(logits)[0].tolist() == [1, 2]


def test_greedy_choice_draws_nothing() -> None:
    stream = Stream(0)
    before = stream.state
    Sampling(temperature=0).choose(np.array([1.0, 2.0], np.float32), stream)
    assert stream.state == before
    Sampling().choose(np.array([1.0, 2.0], np.float32), stream)
    assert stream.state != before


def test_draws_follow_the_distribution() -> None:
    logits, stream = np.log(np.array([0.1, 0.2, 0.7], np.float32)), Stream(1).split("draws")
    counts = np.bincount([Sampling().choose(logits, stream) for _ in range(2000)], minlength=3)
    assert np.abs(counts / 2000 - [0.1, 0.2, 0.7]).max() < 0.04  # four standard deviations


def test_repeated_tokens_become_less_likely() -> None:
    sampling = Sampling(temperature=0, repetition_penalty=2.0)
    logits = np.array([3.0, 2.0, -1.0, -1.5], np.float32)
    assert sampling.choose(logits, Stream(0)) == 0
    assert sampling.choose(logits, Stream(0), [0, 0]) == 1
    assert sampling.choose(logits, Stream(0), {0, 1}) == 0  # 1.5, 1.0, -1.0, -1.5
    assert Sampling(temperature=0, repetition_penalty=4.0).choose(np.array([-1.0, -2.0], np.float32), Stream(0), [0]) == 1
    assert logits.tolist() == [3.0, 2.0, -1.0, -1.5]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused(bad: float) -> None:
    logits = np.array([0.0, bad], np.float32)
    with pytest.raises(FloatingPointError):
        Sampling().choose(logits, Stream(0))
    if np.isnan(bad):
        with pytest.raises(FloatingPointError, match="a logit is NaN"):
            Sampling(temperature=0).choose(logits, Stream(0))


def test_masked_tokens_are_never_drawn() -> None:
    logits, stream = np.array([-np.inf, 0.0, -np.inf], np.float32), Stream(2)
    assert {Sampling().choose(logits, stream) for _ in range(50)} == {1}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -1.0),
        ("temperature", float("nan")),
        ("temperature", 1e-40),
        ("temperature", 2e6),
        ("repetition_penalty", 1e-300),
        ("repetition_penalty", 2e6),
        ("top_k", 0),
        ("top_k", 1.5),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("min_p", -0.1),
        ("repetition_penalty", 0.0),
        ("temperature", True),
        ("temperature", None),
        ("temperature", "hot"),
    ],
)
def test_a_field_out_of_its_range_is_named(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"Sampling: {field} must be .*, got {value!r}"):
        Sampling(**{field: value})


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("options", [{}, {"top_k": 2}, {"top_p": 0.5}, {"temperature": 0.0}, {"repetition_penalty": 2.0}])
def test_logits_that_are_nan_or_infinite_are_refused_whatever_is_kept(bad: float, options: Any) -> None:
    logits = np.array([1, 3, bad, 2], np.float32)
    with pytest.raises(FloatingPointError, match=r"Sampling\.choose: a logit is NaN or positive infinity"):
        Sampling(**options).choose(logits, Stream(1), seen=[1])


def test_presence_and_frequency_count_what_was_sampled() -> None:
    logits = np.array([1.0, 2.0, 3.0, 4.0], np.float32)
    both = Sampling(presence_penalty=0.5, frequency_penalty=0.25)
    assert both.adjusted(logits, seen=[0, 3], sampled=[3, 1, 3, 3]).tolist() == [1.0, 1.25, 3.0, 2.75]
    assert both.adjusted(logits, seen=[0, 3]) is logits  # what is only in the prompt does not count
    assert Sampling(presence_penalty=-1).adjusted(logits, sampled=[0]).tolist() == [2.0, 2.0, 3.0, 4.0]
    greedy = Sampling(temperature=0, frequency_penalty=0.6)
    assert [greedy.choose(logits, Stream(0), sampled=[3] * n) for n in range(3)] == [3, 3, 2]


def test_bias_is_added_before_the_penalties() -> None:
    logits = np.array([1.0, -1.0, 0.0], np.float32)
    sampling = Sampling(logit_bias={np.int64(1): 2, 0: -1.5}, repetition_penalty=2.0, presence_penalty=1.0)
    assert sampling.logit_bias == {0: -1.5, 1: 2.0}
    assert sampling.adjusted(logits, seen=[0, 1], sampled=[1]).tolist() == [-1.0, -0.5, 0.0]
    assert logits.tolist() == [1.0, -1.0, 0.0]
    assert Sampling(temperature=0, logit_bias={2: 100}).choose(logits, Stream(0)) == 2
    with pytest.raises(ValueError, match=r"Sampling.choose: logit_bias must have ids below 3, got 3"):
        Sampling(logit_bias={3: 1.0}).choose(logits, Stream(0))
    assert hash(sampling) == hash(Sampling(repetition_penalty=2.0, presence_penalty=1.0)) and sampling != Sampling()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"presence_penalty": 101}, ValueError, "presence_penalty must be from -100 to 100, got 101"),
        ({"frequency_penalty": float("nan")}, ValueError, "frequency_penalty must be from -100 to 100, got nan"),
        ({"logit_bias": [1]}, TypeError, r"logit_bias must be a mapping from token ids to numbers, got \[1\]"),
        ({"logit_bias": {1: 100.5}}, ValueError, r"logit_bias\[1\] must be from -100 to 100, got 100.5"),
        ({"logit_bias": {1: True}}, ValueError, r"logit_bias\[1\] must be from -100 to 100, got True"),
        ({"logit_bias": {-1: 1.0}}, ValueError, "a token id of logit_bias must be at least 0, got -1"),
        ({"logit_bias": {"a": 1.0}}, TypeError, "a token id of logit_bias must be an int, got 'a'"),
    ],
)
def test_bias_and_penalties_out_of_range_are_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"Sampling: {message}"):
        Sampling(**options)
