"""Streams: the numbers have the right distribution, splits are independent, and a stream continues from its state."""

import json
import math
import re
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samebits.core.random import Stream, _multiply_high, _standard_normal, require_stream

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
    y = Stream(1).uniform(1000, low=1, high=np.nextafter(np.float32(1), np.float32(2)))
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
    stream, same = Stream(4), Stream(4)
    expected = (_standard_normal(same.words(1000).reshape(-1, 2)).reshape(-1) * 0.02 + 3.0).astype(np.float32)
    np.testing.assert_array_equal(stream.normal(1000, mean=3.0, std=0.02), expected)


def test_truncated_normal_numbers_are_normal_between_their_ends() -> None:
    x = Stream(5).truncated_normal(N, mean=1.0, std=2.0, low=-1.0, high=4.0)
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


def test_permutation_of_an_array_reorders_its_rows_in_a_copy() -> None:
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


def test_size_comes_first_as_an_int_a_tuple_or_a_list() -> None:
    np.testing.assert_array_equal(Stream(0).normal((2, 3)), Stream(0).normal(6).reshape(2, 3))
    np.testing.assert_array_equal(Stream(0).uniform([2, 3]), Stream(0).uniform(size=6).reshape(2, 3))
    assert Stream(0).truncated_normal(np.int64(3)).shape == (3,)


def test_repr_shows_the_names_of_the_splits() -> None:
    stream = Stream(7).split("layer").split(3)
    assert repr(stream) == "Stream(7).split('layer').split(3)"
    assert repr(eval(repr(stream))) == repr(stream)  # noqa: S307 - our own repr
    assert repr(Stream.from_state(stream.state)) == "Stream(7).split(...).split(3)"  # a state holds the digests of names
    assert repr(Stream.from_state(stream.state).split("a")) == "Stream(7).split(...).split(3).split('a')"


def test_numpy_scalars_are_numbers_too() -> None:
    third = np.float32(1 / 3)
    np.testing.assert_array_equal(Stream(np.uint64(1)).normal(5, std=third), Stream(1).normal(5, std=float(third)))
    np.testing.assert_array_equal(Stream(1).bernoulli(third, 99), Stream(1).bernoulli(float(third), 99))
    np.testing.assert_array_equal(Stream(1).split(np.int8(3)).words(np.int64(2)), Stream(1).split(3).words(2))
    np.testing.assert_array_equal(Stream(1).integers(np.uint8(0), np.uint8(200), 5), Stream(1).integers(0, 200, 5))
    np.testing.assert_array_equal(Stream(1).permutation(np.int64(5)), Stream(1).permutation(5))


def test_warnings_of_the_caller_are_not_raised() -> None:
    with np.errstate(all="raise"):
        Stream(1).normal(1000, std=1e-38)
        Stream(1).normal(1000, std=3e38)
        Stream(1).uniform(1000, high=1e-38)


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
        (lambda _: Stream(-1), ValueError, "Stream: seed must be from 0 to 18446744073709551615, got -1"),
        (lambda _: Stream(2**64), ValueError, "Stream: seed must be from 0 to 18446744073709551615, got 18446744073709551616"),
        (lambda _: Stream(1.5), TypeError, "Stream: seed must be an int, got 1.5"),
        (lambda _: Stream(True), TypeError, "Stream: seed must be an int, got True"),
        (lambda s: s.split(-1), ValueError, "split: name must be from 0 to 18446744073709551615, got -1"),
        (lambda s: s.split(None), TypeError, "split: name must be a str or an int, got None"),
        (lambda s: s.split(True), TypeError, "split: name must be a str or an int, got True"),
        (lambda s: s.words(-1), ValueError, "words: count must be at least 0, got -1"),
        (lambda s: s.uniform(low=1, high=1), ValueError, "uniform: low must be below high in float32, got low=1.0 and high=1.0"),
        (lambda s: s.uniform(low=1.00000001, high=1.00000002), ValueError, "uniform: low must be below high in float32"),
        (lambda s: s.uniform(high=math.inf), ValueError, "uniform: high must be finite in float32, got inf"),
        (lambda s: s.uniform(high="1"), TypeError, "uniform: high must be a number, got '1'"),
        (lambda s: s.normal(std=-1), ValueError, "normal: std must not be negative, got -1.0"),
        (lambda s: s.normal(mean=math.nan), ValueError, "normal: mean must be finite in float32, got nan"),
        (lambda s: s.normal(mean=1e39), ValueError, "normal: mean must be finite in float32, got 1e+39"),
        (lambda s: s.normal(-1), ValueError, "normal: size must not be negative, got -1"),
        (lambda s: s.normal((2.0, 3)), TypeError, "normal: size must be an int or a tuple of ints, got (2.0, 3)"),
        (lambda s: s.normal((2, True)), TypeError, "normal: size must be an int or a tuple of ints, got (2, True)"),
        (lambda s: s.normal(0.5), TypeError, "normal: size must be an int or a tuple of ints, got 0.5"),
        (lambda s: s.normal(None), TypeError, "normal: size must be an int or a tuple of ints, got None"),
        (lambda s: s.truncated_normal(std=0), ValueError, "truncated_normal: std must be positive, got 0.0"),
        (
            lambda s: s.truncated_normal(9, low=50, high=51),
            ValueError,
            "truncated_normal: at least 1 in 100 draws must fall between low and high, got low=50.0, high=51.0, mean=0.0, std=1.0",
        ),
        (lambda s: s.integers(0), ValueError, "integers: low must be below high, both within int64, got low=0 and high=0"),
        (lambda s: s.integers(0, 2**63 + 1), ValueError, "integers: low must be below high, both within int64"),
        (lambda s: s.integers(2.5), TypeError, "integers: low must be an int, got 2.5"),
        (lambda s: s.permutation(-1), ValueError, "permutation: x must be at least 0, got -1"),
        (lambda s: s.permutation(True), TypeError, "permutation: x must be an int, got True"),
        (lambda s: s.permutation(np.array(1)), ValueError, "permutation: x must be an int or an array with at least one axis"),
        (lambda s: s.choice(0, 1), ValueError, "choice: x must have at least one element to choose, got 0"),
        (lambda s: s.choice(3.7), TypeError, "choice: x must be an int, got 3.7"),
        (lambda s: s.choice(np.ones((2, 2))), ValueError, "choice: x must be an int or a 1-D array, got shape (2, 2)"),
        (lambda s: s.choice(-3), ValueError, "choice: x must be at least 0, got -3"),
        (
            lambda s: s.choice(3, 4, replace=False),
            ValueError,
            "choice: size must be at most 3 elements without replacement, got 4",
        ),
        (
            lambda s: s.choice(3, 1, replace=False, p=[1, 1, 1]),
            ValueError,
            "choice: replace must be True where p is given, got False",
        ),
        (lambda s: s.choice(3, 1, p=[1, 1]), ValueError, "choice: p must have shape (3,), a weight for each element, got (2,)"),
        (lambda s: s.choice(2, 1, p=[1, -1]), ValueError, "choice: p[1] must be finite and not negative, got -1.0"),
        (lambda s: s.choice(2, 1, p=[1e308, 1e308]), ValueError, "choice: the sum of p must be positive and finite, got inf"),
        (lambda s: s.choice(2, 1, p=[0, 0]), ValueError, "choice: the sum of p must be positive and finite, got 0.0"),
        (lambda s: s.bernoulli(1.5), ValueError, "bernoulli: p must be from 0 to 1, got 1.5"),
        (lambda s: s.bernoulli(math.nan), ValueError, "bernoulli: p must be from 0 to 1, got nan"),
        (lambda s: s.bernoulli(True), TypeError, "bernoulli: p must be a number, got True"),
        (
            lambda _: Stream.from_state(Stream(2).state | {"seed": 3}),
            ValueError,
            "from_state: the inc of state must be that of its seed and path",
        ),
        (lambda _: Stream.from_state({"seed": 1}), ValueError, "from_state: state must be what Stream.state returns"),
        (
            lambda _: Stream.from_state({"seed": 1, "path": [], "state": "0xzz", "inc": "0x1"}),
            ValueError,
            "from_state: state must be what Stream.state returns",
        ),
        (
            lambda _: Stream.from_state(Stream(2).split(1).state | {"path": [0, 1, 0]}),
            ValueError,
            "from_state: state must be what Stream.state returns",
        ),
        (lambda _: require_stream("Linear", 0), TypeError, "Linear: stream must be a Stream, got 0; write stream=Stream(0)"),
        (
            lambda _: require_stream("Linear", None),
            TypeError,
            "Linear: stream must be a Stream, got None; write stream=Stream(0)",
        ),
    ],
)
def test_bad_input_is_named(call: Callable[[Stream], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call(Stream(21))
