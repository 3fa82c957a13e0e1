"""Streams: the numbers have the right distribution, splits are independent, and a stream goes on where it was."""

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samebits.core.random import Stream, _multiply_high

N = 100_000


def kolmogorov_smirnov(sample: np.ndarray, cdf: Callable[[float], float]) -> float:  # type: ignore[type-arg]
    """The largest distance between the sample's distribution and ``cdf``, times sqrt(n): above 1.95 in 1 of 1000 samples."""
    x = np.sort(sample.astype(np.float64))
    expected = np.array([cdf(value) for value in x.tolist()])
    steps = np.arange(len(x) + 1) / len(x)
    return float(max(np.abs(steps[1:] - expected).max(), np.abs(expected - steps[:-1]).max()) * math.sqrt(len(x)))


def normal_cdf(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


def test_uniform_numbers_are_uniform_and_never_reach_the_end() -> None:
    x = Stream(1).uniform(size=N)
    assert x.dtype == np.float32
    assert 0 <= x.min() < x.max() < 1
    assert kolmogorov_smirnov(x, lambda value: value) < 1.95
    y = Stream(1).uniform(1, np.nextafter(np.float32(1), np.float32(2)), size=1000)
    assert set(y.tolist()) == {1.0}


def test_normal_numbers_are_normal() -> None:
    x = Stream(2).normal(size=N)
    assert x.dtype == np.float32
    assert kolmogorov_smirnov(x, normal_cdf) < 1.95
    moments = [float((x.astype(np.float64) ** k).mean()) for k in (1, 2, 3, 4)]
    # four standard errors of the k-th moment: sqrt((E x^2k - (E x^k)^2) / n)
    for moment, expected, variance in zip(moments, (0, 1, 0, 3), (1, 2, 15, 96), strict=True):
        assert abs(moment - expected) < 4 * math.sqrt(variance / N)


def test_the_two_numbers_of_a_pair_are_uncorrelated() -> None:
    pairs = Stream(3).normal(size=(N, 2)).astype(np.float64)
    assert abs((pairs[:, 0] * pairs[:, 1]).mean()) < 4 / math.sqrt(N)
    assert abs((pairs[:, 0] ** 2 * pairs[:, 1] ** 2).mean() - 1) < 4 * math.sqrt(8 / N)


def test_mean_and_std_scale_in_float64_with_one_rounding() -> None:
    stream, twin = Stream(4), Stream(4)
    expected = (twin._standard_normal(1000) * 0.02 + 3.0).astype(np.float32)
    np.testing.assert_array_equal(stream.normal(3.0, 0.02, 1000), expected)


def test_truncated_normal_numbers_are_normal_between_their_ends() -> None:
    x = Stream(5).truncated_normal(1.0, 2.0, -1.0, 4.0, size=N)
    assert x.dtype == np.float32
    assert -1 <= x.min() < x.max() <= 4
    low, high = normal_cdf(-1), normal_cdf(1.5)
    assert kolmogorov_smirnov(x, lambda value: (normal_cdf((value - 1) / 2) - low) / (high - low)) < 1.95


def test_integers_are_equally_likely() -> None:
    x = Stream(6).integers(-3, 7, size=N)
    assert x.dtype == np.int64
    counts = np.bincount(x + 3, minlength=10)
    assert len(counts) == 10
    chi2 = float(((counts - N / 10) ** 2 / (N / 10)).sum())
    assert chi2 < 27.9  # 9 degrees of freedom: exceeded by 1 of 1000 samples


@given(st.integers(0, 2**64 - 1), st.integers(1, 2**64 - 1))
def test_multiply_high_is_the_upper_half_of_the_product(word: int, factor: int) -> None:
    assert _multiply_high(np.array([word], np.uint64), factor).tolist() == [word * factor >> 64]


@pytest.mark.parametrize(("low", "high"), [(-(2**63), 2**63), (-(2**63), -(2**63) + 1), (2**63 - 1, 2**63), (-1, 2**62)])
def test_integers_reach_the_ends_of_int64(low: int, high: int) -> None:
    x = Stream(7).integers(low, high, size=1000).tolist()
    assert all(low <= value < high for value in x)
    if high - low > 2**60:
        assert min(x) < low + (high - low) // 10
        assert max(x) > high - (high - low) // 10


def test_permutations_hold_every_element_once_and_are_equally_likely() -> None:
    x = Stream(8).permutation(1000)
    assert sorted(x.tolist()) == list(range(1000))
    stream = Stream(9)
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(6000):
        key = tuple(stream.permutation(3).tolist())
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 6
    assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < 20.5  # 5 degrees of freedom, 1 of 1000


def test_permutation_of_an_array_moves_its_rows_and_leaves_it_alone() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    before = rows.copy()
    mixed = Stream(10).permutation(rows)
    np.testing.assert_array_equal(mixed, rows[Stream(10).permutation(4)])
    np.testing.assert_array_equal(rows, before)


def test_choice_with_and_without_replacement_and_with_weights() -> None:
    names = np.array([10, 20, 30], np.int64)
    assert set(Stream(11).choice(names, 1000).tolist()) == {10, 20, 30}
    assert sorted(Stream(11).choice(5, 5, replace=False).tolist()) == [0, 1, 2, 3, 4]
    x = Stream(12).choice(4, N, p=[1.0, 0.0, 2.0, 1.0])
    frequency = np.bincount(x, minlength=4) / N
    assert frequency[1] == 0
    assert np.abs(frequency - [0.25, 0, 0.5, 0.25]).max() < 4 * math.sqrt(0.25 / N)
    assert Stream(12).choice(2, (2, 3)).shape == (2, 3)


def test_bernoulli_has_its_probability_and_the_certain_cases_are_certain() -> None:
    x = Stream(13).bernoulli(0.3, N)
    assert x.dtype == bool
    assert abs(x.mean() - 0.3) < 4 * math.sqrt(0.21 / N)
    assert Stream(13).bernoulli(1.0, 100).all()
    assert not Stream(13).bernoulli(0.0, 100).any()


def test_drawing_in_parts_gives_the_same_numbers() -> None:
    whole, parts = Stream(14), Stream(14)
    np.testing.assert_array_equal(whole.normal(size=40_000), np.concatenate([parts.normal(size=k) for k in (2, 39_000, 998)]))
    np.testing.assert_array_equal(whole.uniform(size=10), np.concatenate([parts.uniform(size=3), parts.uniform(size=7)]))


def test_splits_do_not_depend_on_what_was_drawn_nor_on_each_other() -> None:
    untouched, used = Stream(15), Stream(15)
    used.words(100)
    used.split("other")
    np.testing.assert_array_equal(untouched.split("a").words(5), used.split("a").words(5))
    np.testing.assert_array_equal(untouched.words(105)[100:], used.words(5))


def test_splits_of_different_names_paths_and_seeds_differ() -> None:
    root = Stream(16)
    streams = [root, Stream(17), root.split("a"), root.split("b"), root.split(""), root.split(0), root.split(1), root.split("1")]
    streams += [
        root.split("a").split("b"),
        root.split("b").split("a"),
        root.split(0).split(0),
        root.split(2**32),
        Stream(17).split("a"),
    ]
    assert len({tuple(stream.words(2).tolist()) for stream in streams}) == len(streams)


def test_split_streams_are_uncorrelated() -> None:
    root = Stream(18)
    x = np.stack([root.split(i).normal(size=1000) for i in range(100)]).astype(np.float64)
    correlation = x @ x.T / 1000 - np.eye(100)
    assert np.abs(correlation).max() < 5.5 / math.sqrt(1000)


def test_state_goes_through_json_and_resumes_exactly() -> None:
    stream = Stream(19).split("layer").split(3)
    stream.normal(size=7)
    state = json.loads(json.dumps(stream.state))
    expected, child = stream.normal(size=100), stream.split("child").words(3)
    resumed = Stream.from_state(state)
    np.testing.assert_array_equal(resumed.normal(size=100), expected)
    np.testing.assert_array_equal(resumed.split("child").words(3), child)


def test_integers_of_numpy_are_whole_numbers_too() -> None:
    np.testing.assert_array_equal(Stream(1).integers(np.uint8(0), np.uint8(200), 5), Stream(1).integers(0, 200, 5))
    np.testing.assert_array_equal(Stream(1).permutation(np.int64(5)), Stream(1).permutation(5))


def test_warnings_of_the_caller_are_not_raised() -> None:
    with np.errstate(all="raise"):
        Stream(1).normal(0, 1e-38, 1000)
        Stream(1).normal(0, 3e38, 1000)
        Stream(1).uniform(0, 1e-38, 1000)


def test_scalars_and_empty_sizes() -> None:
    stream = Stream(20)
    for scalar in (stream.uniform(), stream.normal(), stream.truncated_normal(), stream.integers(3), stream.bernoulli(0.5)):
        assert scalar.shape == ()
    for empty in (
        stream.uniform(size=0),
        stream.normal(size=(0, 3)),
        stream.truncated_normal(size=0),
        stream.integers(3, size=(2, 0)),
    ):
        assert empty.size == 0
    assert stream.permutation(0).size == stream.choice(0, 0).size == 0


def test_known_numbers_never_change() -> None:
    assert Stream(1).integers(10, size=5).tolist() == [5, 9, 1, 9, 3]
    assert Stream(1).split("weights").words(1).tolist() == [572286470111272217]
    assert float(Stream(1).uniform()) * 2**24 == 8586941


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda _: Stream(-1), ValueError, "seed is -1: a whole number from 0"),
        (lambda _: Stream(2**64), ValueError, "seed is 18446744073709551616"),
        (lambda _: Stream(1.5), TypeError, r"seed is 1\.5"),
        (lambda _: Stream(True), TypeError, "seed is True"),
        (lambda s: s.split(-1), ValueError, "name is -1"),
        (lambda s: s.split(None), TypeError, "name is None"),
        (lambda s: s.uniform(1, 1), ValueError, r"low is 1\.0 and high is 1\.0"),
        (lambda s: s.uniform(0, math.inf), ValueError, "high is inf"),
        (lambda s: s.normal(std=-1), ValueError, r"std is -1\.0: it must not be negative"),
        (lambda s: s.normal(mean=math.nan), ValueError, "mean is nan"),
        (lambda s: s.truncated_normal(std=0), ValueError, "std is 0: it must be positive"),
        (lambda s: s.truncated_normal(low=50, high=51, size=9), ValueError, "fewer than 1 in 100 draws"),
        (lambda s: s.integers(0), ValueError, "low is 0 and high is 0"),
        (lambda s: s.integers(0, 2**63 + 1), ValueError, "must fit int64"),
        (lambda s: s.permutation(-1), ValueError, "x is -1"),
        (lambda s: s.permutation(np.array(1)), ValueError, "x has no axes"),
        (lambda s: s.choice(0, 1), ValueError, "x is empty"),
        (lambda s: s.choice(3, 4, replace=False), ValueError, "only 3 can be chosen"),
        (lambda s: s.choice(3, 1, replace=False, p=[1, 1, 1]), ValueError, "weights without replacement"),
        (lambda s: s.choice(3, 1, p=[1, 1]), ValueError, r"p has shape \(2,\): 3 weights"),
        (lambda s: s.choice(2, 1, p=[1, -1]), ValueError, r"p\[1\] is -1\.0: weights must be finite, and none negative"),
        (lambda s: s.choice(2, 1, p=[1e308, 1e308]), ValueError, "p has the sum inf"),
        (lambda s: s.choice(2, 1, p=[0, 0]), ValueError, r"p has the sum 0\.0"),
        (lambda s: s.choice(3.7), TypeError, r"x is 3\.7: a whole number"),
        (lambda s: s.choice(np.ones((2, 2))), ValueError, r"x has shape \(2, 2\)"),
        (lambda s: s.choice(-3), ValueError, "x is -3: there is nothing"),
        (lambda s: s.permutation(True), TypeError, "x is True"),
        (lambda s: s.integers(2.5), TypeError, r"low is 2\.5"),
        (lambda s: s.uniform(1.00000001, 1.00000002), ValueError, "in float32"),
        (lambda _: Stream.from_state(Stream(2).state | {"seed": 3}), ValueError, "its inc is not that of its seed"),
        (lambda s: s.bernoulli(1.5), ValueError, r"p is 1\.5"),
        (lambda s: s.normal(size=-1), ValueError, "size is -1"),
        (lambda s: s.normal(size=(2, 1.5)), ValueError, r"size is \(2, 1\.5\)"),
        (lambda _: Stream.from_state({"seed": 1}), ValueError, "not what Stream.state gives"),
        (
            lambda _: Stream.from_state({"seed": 1, "path": [], "state": "0xzz", "inc": "0x1"}),
            ValueError,
            "not what Stream.state",
        ),
    ],
)
def test_bad_input_is_named(call: Callable[[Stream], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(Stream(21))
