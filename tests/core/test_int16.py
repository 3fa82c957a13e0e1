"""Products of 16-bit integers: what the definition says, in integers, within int32, in any order."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.core.definitions import FINITE, TAME, exponent_by_definition, near_the_edge, normal, on_grid_by_definition, same

from samebits.core import int16, linalg, numerics
from samebits.core.modes import INT16

CHUNK = 256


def matmul_by_definition(a: Any, b: Any) -> Any:
    """In Python's integers, chunk by chunk; every partial sum fits int32."""
    total = np.zeros((len(a), b.shape[1]))
    for start in range(0, a.shape[1], CHUNK):
        rows = [on_grid_by_definition(row[start : start + CHUNK], 15) for row in a]
        columns = [on_grid_by_definition(column[start : start + CHUNK], 15) for column in b.T]
        for i, (row, u) in enumerate(rows):
            for j, (column, v) in enumerate(columns):
                products = [x * y for x, y in zip(row, column, strict=True)]
                assert sum(map(abs, products)) < 2**31
                assert max(map(abs, [*row, *column])) <= 32767
                total[i, j] += np.float64(float(sum(products) * Fraction(2) ** (u + v)))
    with np.errstate(over="ignore"):
        return total.astype(np.float32) + np.float32(0)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(1, 7), st.integers(1, 4))
def test_matmul_is_what_its_definition_says_for_any_finite_operands(data: st.DataObject, m: int, k: int, n: int) -> None:
    elements = data.draw(st.sampled_from([FINITE, TAME]))
    a = data.draw(hnp.arrays(np.float32, (m, k), elements=elements))
    b = data.draw(hnp.arrays(np.float32, (k, n), elements=elements))
    assert same(int16.matmul(a, b), matmul_by_definition(a, b))


@pytest.mark.parametrize("spread", [0, 5, 20])
@pytest.mark.parametrize("k", [255, 256, 257, 700])
def test_matmul_is_what_its_definition_says_for_longer_operands(k: int, spread: int) -> None:
    a, b = normal(3, k, seed=1, spread=spread), normal(k, 3, seed=2, spread=spread)
    assert same(int16.matmul(a, b), matmul_by_definition(a, b))


@pytest.mark.parametrize("k", [5, 255, 256, 600])
@pytest.mark.parametrize("kind", ["constant", "one element", "edge", "powers", "subnormal", "huge"])
def test_vectors_that_come_near_the_bounds_fit_their_integers(k: int, kind: str) -> None:
    a = {
        "constant": np.full((3, k), 1 / 3, np.float32),
        "one element": np.where(np.arange(k) == k // 2, np.nextafter(np.float32(2**10), np.float32(0)), np.float32(0))[None],
        "edge": np.stack([near_the_edge(max(k, 5), seed)[:k] for seed in range(3)]),
        "powers": np.exp2(np.arange(3 * k) % 40 - 20).reshape(3, k).astype(np.float32),
        "subnormal": np.full((2, k), 1e-44, np.float32),
        "huge": np.full((2, k), 1e19, np.float32),
    }[kind]
    assert same(int16.matmul(a, a.T), matmul_by_definition(a, a.T))
    assert same(int16.matmul(-a, a.T), matmul_by_definition(-a, a.T))


def test_a_product_beyond_float32_is_infinite() -> None:
    assert int16.dot(np.full(3, 3e38, np.float32), np.full(3, 3e38, np.float32)) == np.inf
    assert int16.dot(np.full(3, 3e38, np.float32), np.full(3, -3e38, np.float32)) == -np.inf


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 6), st.sampled_from([1, 8, 300]), st.integers(1, 40))
def test_exchanging_the_operands_transposes_a_product_to_the_last_bit(data: st.DataObject, m: int, k: int, n: int) -> None:
    seed, spread = data.draw(st.integers(0, 99)), data.draw(st.sampled_from([0, 10]))
    a, b = normal(2, m, k, seed=seed, spread=spread), normal(2, k, n, seed=seed + 1, spread=spread)
    product = int16.matmul(a, b)
    assert same(product.swapaxes(1, 2), int16.matmul(b.swapaxes(1, 2), a.swapaxes(1, 2)))
    assert same(product[0].T, int16.matmul(b[0].T, int16.prepare(a[0].T)))
    assert same(product[0], int16.linear(a[0], b[0]))
    assert same(product[0, 0], int16.matmul(a[0, 0], b[0]))
    assert same(int16.dot(a, b[0]), np.stack([int16.matmul(one, b[0]) for one in a]))
    assert same(int16.vecdot(a[0], b[0, :, 0]), int16.matmul(a[0], b[0, :, :1])[:, 0])
    square = int16.matmul(a, a.swapaxes(1, 2))
    assert same(square, square.swapaxes(1, 2))


@pytest.mark.parametrize("rows", [1, 5, 40])
def test_a_row_does_not_depend_on_other_rows_or_columns(rows: int) -> None:
    a, b = normal(rows, 300), normal(300, 50, seed=1)
    assert same(int16.matmul(a, b)[:1, :17], int16.matmul(a[:1], b[:, :17]))


def test_a_bias_is_added_to_the_rounded_product() -> None:
    a, b, bias = normal(4, 300), normal(300, 50, seed=1), normal(50, seed=2)
    for right in (b, int16.prepare(b), int16.prepare(np.asfortranarray(b))):
        assert same(int16.linear(a, right, bias), int16.matmul(a, b) + bias)
    bias[3] = np.inf
    with pytest.raises(FloatingPointError):
        int16.linear(a, b, bias)


def test_products_inside_kernels_are_those_of_their_definition() -> None:
    a, b = normal(2, 3, 5, 300), normal(2, 3, 300, 4, seed=1)
    found = int16.multiply(int16.operand(a), int16.operand(b, -2))
    assert same(found.astype(np.float32) + np.float32(0), int16.matmul(a, b))


@pytest.mark.parametrize("k", [1, 16, 256, 2048])
def test_an_element_is_as_near_as_the_bound_says_and_the_bound_is_near(k: int) -> None:
    """Each element lies nearly half a step above an integer, with the least norm that has this exponent."""
    step = 2.0**-14
    x = np.full(k, (np.ceil(1 / np.sqrt(min(k, 256)) / step) + 0.4999) * step, np.float32)
    wide = x.astype(np.float64)
    exact = wide @ wide
    error = abs(float(int16.matmul(x[None], x[:, None])[0, 0]) - exact)
    assert 0.95 < error / (2.0**-14 * np.sqrt(min(k, 256)) * exact) < 1 + 2.0**-9


@pytest.mark.parametrize(("k", "limit"), [(64, 4e-4), (384, 4e-4), (4096, 4e-4)])
def test_the_error_is_that_of_tf32(k: int, limit: float) -> None:
    a, b = normal(40, k), normal(k, 40, seed=1)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    error = np.sqrt(np.mean((int16.matmul(a, b) - exact) ** 2) / np.mean(exact**2))
    assert 1e-5 < error < limit


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_an_operand_that_is_not_finite_is_named_with_its_place(bad: float) -> None:
    a, b = normal(4, 300), normal(300, 5)
    a[2, 280] = bad
    with pytest.raises(FloatingPointError, match=r"matmul: a\[2, 280\] must be finite"):
        int16.matmul(a, b)
    with pytest.raises(FloatingPointError, match=r"matmul: b\[280, 2\] must be finite"):
        int16.matmul(b.T, a.T)
    with pytest.raises(FloatingPointError, match=r"prepare: b\[2, 280\] must be finite"):
        int16.prepare(a)


def test_an_operand_prepared_in_another_arithmetic_is_refused() -> None:
    a = normal(3, 3)
    with pytest.raises(TypeError, match="prepared in int16 arithmetic"):
        int16.matmul(a, linalg.prepare(a))
    with pytest.raises(TypeError, match="prepared in exact arithmetic"):
        linalg.matmul(a, int16.prepare(a))
    with pytest.raises(ValueError, match="prepare: b must have 2 axes"):
        int16.prepare(a[0])


def test_the_arithmetic_differs_from_exact_in_products_alone() -> None:
    x = normal(5, 7)
    with numerics("exact") as exact, numerics("int16") as found:
        assert found is INT16
        assert found.exp is exact.exp
        assert found.kernels is exact.kernels
        assert not np.array_equal(found.matmul(x, x.T), exact.matmul(x, x.T))


def test_exponents_are_those_of_the_definition() -> None:
    x = normal(300, 40, spread=30)
    _, scales = int16.as_integers(x.T)
    for column, (first, second) in zip(x.T, scales, strict=True):
        assert first == 2.0 ** (exponent_by_definition(column[:256]) - 15)
        assert second == 2.0 ** (exponent_by_definition(column[256:]) - 15)
