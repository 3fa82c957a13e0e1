"""Sums over shards: exact on the grids of all shards, in any order and grouping, near the true mean."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from samebits.core.shards import LARGEST, grid_sum, largest_exponents, mean_of_shards, rounded_mean

# all finite float32 numbers, from subnormal to near overflow; their exponents are drawn evenly
FINITE = st.builds(
    lambda sign, exponent, digits: np.array(sign << 31 | exponent << 23 | digits, np.uint32).view(np.float32)[()],
    st.integers(0, 1),
    st.integers(0, 254),
    st.integers(0, 2**23 - 1),
)
NEAR = st.builds(lambda x, e: np.ldexp(np.float32(x), e), st.integers(-(2**24), 2**24), st.integers(-30, 5))
SHARDS = st.integers(1, 9).flatmap(lambda n: st.lists(arrays(np.float32, 3, elements=FINITE | NEAR), min_size=n, max_size=n))


def digits(count: int) -> int:
    return 51 - (count - 1).bit_length()


def in_fractions(values: list[float]) -> Fraction:
    """The sum as the docstring defines it, in integers: each value rounded to the grid, ties to even."""
    terms = [Fraction(float(x)) for x in values]
    exponent = -126
    while any(abs(x) >= Fraction(2) ** exponent for x in terms):
        exponent += 1
    unit = Fraction(2) ** (exponent - digits(len(terms)))
    return sum((round(x / unit) * unit for x in terms), Fraction(0))


@settings(max_examples=30)
@given(SHARDS)
def test_the_sum_is_that_of_integers(parts: list[np.ndarray]) -> None:
    total = grid_sum(parts, largest_exponents(parts), len(parts))
    assert [Fraction(x) for x in total.tolist()] == [in_fractions(list(column)) for column in np.stack(parts, 1)]


@settings(max_examples=30)
@given(SHARDS, st.data())
def test_order_and_grouping_change_no_bit(parts: list[np.ndarray], data: st.DataObject) -> None:
    expected = mean_of_shards(parts)
    shuffled = data.draw(st.permutations(parts))
    assert mean_of_shards(shuffled).tobytes() == expected.tobytes()
    owners = data.draw(st.lists(st.integers(0, 3), min_size=len(parts), max_size=len(parts)))
    groups = [[part for part, owner in zip(shuffled, owners, strict=True) if owner == one] for one in range(4)]
    top = np.maximum.reduce([largest_exponents(group) for group in groups if group])
    sums = [grid_sum(group, top, len(parts)) for group in groups]
    total = (sums[0] + sums[1]) + (sums[2] + sums[3])
    assert total.tobytes() == (((sums[3] + sums[1]) + sums[0]) + sums[2]).tobytes()
    if len(parts) > 1:
        assert rounded_mean(total, len(parts)).tobytes() == expected.tobytes()


@settings(max_examples=30)
@given(SHARDS)
def test_the_error_is_within_the_bound_of_the_docstring(parts: list[np.ndarray]) -> None:
    count = len(parts)
    for values, found in zip(np.stack(parts, 1), mean_of_shards(parts), strict=True):
        true = sum((Fraction(float(x)) for x in values), Fraction(0)) / count
        largest = max(abs(Fraction(float(x))) for x in values)
        rounding = max(abs(true) / 2**24, Fraction(1, 2**150)) * (1 + Fraction(1, 2**20))
        assert abs(Fraction(float(found)) - true) <= largest * Fraction(4 ** (count - 1).bit_length(), 2**52) + rounding


@settings(max_examples=30)
@given(arrays(np.float32, 4, elements=FINITE | NEAR), arrays(np.float32, 4, elements=FINITE | NEAR))
def test_the_mean_of_two_is_rounded_once(a: np.ndarray, b: np.ndarray) -> None:
    for x, y, found in zip(a, b, mean_of_shards([a, b]), strict=True):
        true = (Fraction(float(x)) + Fraction(float(y))) / 2
        neighbors = [found, np.nextafter(found, np.float32(-np.inf)), np.nextafter(found, np.float32(np.inf))]
        distances = [abs(Fraction(float(one)) - true) for one in neighbors if np.isfinite(one)]
        assert distances[0] == min(distances)
        if distances.count(distances[0]) > 1:  # a tie
            assert np.array(found).view(np.uint32) % 2 == 0


@settings(max_examples=30)
@given(arrays(np.float32, (2, 3), elements=FINITE))
def test_the_mean_of_one_is_itself_and_that_of_equals_too(x: np.ndarray) -> None:
    assert mean_of_shards([x]) is x
    for count in (2, 3, 7, 64):
        assert (mean_of_shards([x] * count) == x).all()


def test_memory_layout_and_blocks_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [np.sin(np.arange(24, dtype=np.float32) * k).reshape(4, 6) for k in range(1, 4)]
    expected = mean_of_shards(parts)
    assert mean_of_shards([np.asfortranarray(part) for part in parts]).tobytes() == expected.tobytes()
    monkeypatch.setattr("samebits.core.blocks.CACHE_BYTES", 40)
    assert mean_of_shards(parts).tobytes() == expected.tobytes()


@settings(max_examples=30)
@given(SHARDS)
def test_kernels_change_no_bit(parts: list[np.ndarray]) -> None:
    long = [np.resize(part, 100) for part in parts]
    found = mean_of_shards(long)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("samebits.core.compiled.run", lambda *_, **__: False)
        assert mean_of_shards(long).tobytes() == found.tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(bad: float) -> None:
    parts = [np.array([1, bad], np.float32), np.ones(2, np.float32)]
    assert largest_exponents(parts).tolist() == [127, 255]
    with pytest.raises(FloatingPointError):
        mean_of_shards(parts)


def test_the_number_of_shards_is_limited() -> None:
    x = np.ones(1, np.float32)
    with pytest.raises(ValueError, match="the number of shards must be from 1 to 1048576, got 0"):
        mean_of_shards([])
    with pytest.raises(ValueError, match="got 1048577"):
        grid_sum([x], largest_exponents([x]), LARGEST + 1)
    assert grid_sum([x], largest_exponents([x]), LARGEST).tolist() == [1.0]


def test_no_elements_have_a_mean() -> None:
    assert mean_of_shards([np.empty((0, 3), np.float32)] * 2).shape == (0, 3)
