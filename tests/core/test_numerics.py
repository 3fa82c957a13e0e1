"""The active arithmetic holds where it was chosen, and fast arithmetic agrees with exact up to rounding."""

import threading
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
import pytest

from samebits import core
from samebits.core import GROUP_ROWS, ColumnSums, Stream, blocks, current, numerics
from samebits.core.modes import EXACT, FAST, Kernel, Kernels
from samebits.core.selftest import run_selftest

X = Stream(1).normal(size=(20, 30))
IDS = Stream(2).integers(7, size=20)
CALLS = {
    **dict.fromkeys(("exp", "expm1", "exp2", "tanh", "sigmoid", "sin", "cos", "erf", "sum", "mean", "var", "std", "norm"), (X,)),
    **{name: (np.abs(X) + np.float32(0.01),) for name in ("log", "log1p", "log2", "log10", "sqrt", "rsqrt")},
    **dict.fromkeys(("max", "min", "logsumexp", "cumsum", "argsort"), (X, 1)),
    "matmul": (X, X.T),
    "dot": (X, X.T),
    "vecdot": (X, X),
    "segment_sum": (X, IDS, 7),
    "bincount": (IDS, X[:, 0]),
    "embedding_gradient": (IDS, X, 7),
}


def test_exact_is_the_default_and_comes_back() -> None:
    assert current().name == "exact"
    with numerics("fast") as fast:
        assert current() is fast is FAST
        with numerics("exact"):
            assert current() is EXACT
        assert current() is FAST
    assert current() is EXACT


def test_the_choice_comes_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), numerics("fast"):
        raise ZeroDivisionError
    assert current() is EXACT


def test_other_threads_are_not_touched() -> None:
    seen: list[str] = []
    with numerics("fast"):
        thread = threading.Thread(target=lambda: seen.append(current().name))
        thread.start()
        thread.join()
    assert seen == ["exact"]


def test_an_unknown_arithmetic_is_refused() -> None:
    with pytest.raises(ValueError, match="numerics: mode must be 'exact', 'int16' or 'fast', got 'quick'"), numerics("quick"):
        pass


def test_the_functions_of_core_are_always_exact() -> None:
    expected = core.digest(core.exp(X))
    with numerics("fast"):
        assert core.digest(core.exp(X)) == expected


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fast_agrees_with_exact(name: str, dtype: type) -> None:
    expected = getattr(EXACT, name)(*CALLS[name])
    operands = [x.astype(dtype) if isinstance(x, np.ndarray) and x.dtype == np.float32 else x for x in CALLS[name]]
    found = getattr(FAST, name)(*operands)
    assert found.shape == expected.shape
    assert found.dtype == (expected.dtype if expected.dtype == np.int64 else dtype)
    # float32 sums of 30 to 600 terms of size 1, and NumPy's functions of a few ulp
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [field.name for field in fields(Kernels) if field.type is Kernel])
def test_kernels_agree(name: str) -> None:
    x = np.abs(X.astype(np.float64)) + 0.01
    exact, fast = np.empty_like(x), np.empty_like(x)
    getattr(EXACT.kernels, name)(x, exact)
    getattr(FAST.kernels, name)(x, fast)
    np.testing.assert_allclose(exact, fast, rtol=7e-10 if name == "exp" else 1e-12)  # this exp is the short one


def test_sums_of_kernels_agree() -> None:
    x, exact, fast = np.concatenate([X, X, X]).astype(np.float64), EXACT.kernels, FAST.kernels
    factors = x[0] * 3
    np.testing.assert_allclose(exact.sum(x, -1), fast.sum(x, -1), rtol=1e-12)
    np.testing.assert_allclose(exact.row_sums(x), fast.row_sums(x), rtol=1e-12)
    np.testing.assert_allclose(exact.row_sums(x, factors), fast.row_sums(x, factors), rtol=1e-12)
    assert len(exact.group_sums(x)) == 2  # 60 rows
    np.testing.assert_allclose(exact.group_sums(x).sum(axis=0), fast.group_sums(x)[0], rtol=1e-12)


def test_sums_of_powers_agree_and_have_finite_shifts() -> None:
    x = X.astype(np.float64)
    x[1], x[2], x[3], x[4, 0], x[5] = 1000.0, -1000.0, -np.inf, np.inf, -np.inf
    x[5, 3] = 7.0
    with np.errstate(all="ignore"):
        found = [arithmetic.kernels.exp_sums(x) for arithmetic in (EXACT, FAST)]
        logs = [logarithms + shifts for shifts, _, logarithms in found]
        for _, sums, logarithms in found:
            np.testing.assert_allclose(logarithms, np.log(sums), rtol=1e-12, atol=1e-12)
    assert all(np.isfinite(shifts).all() for shifts, _, _ in found)
    np.testing.assert_allclose(logs[0], logs[1], rtol=1e-8)  # the short exp
    np.testing.assert_allclose(logs[0][[1, 2, 5]], [1000 + np.log(30), -1000 + np.log(30), 7], rtol=1e-8)
    assert logs[0][3] == -np.inf
    assert logs[0][4] == np.inf


def test_the_logarithm_of_a_sum_keeps_a_rest_that_is_tiny() -> None:
    _, sums, logs = EXACT.kernels.exp_sums(np.array([[0.0, -50.0], [3.0, -33.0]]))
    assert sums[0] == 1.0
    np.testing.assert_allclose(logs, [1.928749847963918e-22, 2.3195228302435696e-16], rtol=1e-8)


def test_exact_kernels_refuse_what_is_not_finite() -> None:
    for bad in (np.inf, -np.inf, np.nan):
        with pytest.raises(FloatingPointError):
            EXACT.kernels.require_finite(np.array([1.0, bad]))
        FAST.kernels.require_finite(np.array([1.0, bad]))
    EXACT.kernels.require_finite(np.zeros(2))


def test_products_of_prepared_operands_are_those_of_matmul() -> None:
    a, b = X[None].repeat(2, axis=0), X.T[None].repeat(2, axis=0)
    for arithmetic in (EXACT, FAST):
        products, expected = arithmetic.products, arithmetic.matmul(a, b)
        found = products.multiply(products.operand(a), products.operand(b, -2))
        assert found.astype(np.float32).tobytes() == expected.tobytes()
        found = products.multiply(products.operand(b, -2).swapaxes(1, 2), products.operand(a).swapaxes(1, 2))
        assert found.astype(np.float32).tobytes() == expected.tobytes()


@pytest.mark.parametrize("rows", [1, 16, 17])
def test_compact_operands_give_the_bits_of_the_operand(rows: int) -> None:
    assert FAST.products.compact is None
    assert EXACT.products.compact is not None
    wide = Stream(3).normal(size=(300, 50))
    for b in (wide, np.asfortranarray(wide)):
        a, compact = Stream(4).normal(size=(rows, 300)), EXACT.products.compact(b)
        assert compact is not None
        assert compact.values.nbytes == b.nbytes
        assert EXACT.matmul(a, compact).tobytes() == EXACT.matmul(a, b).tobytes()
    assert EXACT.products.compact(np.full((600, 2), np.finfo(np.float32).max)) is None


def test_prepared_operands_work_in_both() -> None:
    for arithmetic in (EXACT, FAST):
        np.testing.assert_array_equal(arithmetic.matmul(X, arithmetic.prepare(X.T)), arithmetic.matmul(X, X.T))


def test_scatter_add_and_its_indices() -> None:
    for arithmetic in (EXACT, FAST):
        target = np.ones((7, 30), np.float32)
        arithmetic.scatter_add(target, IDS, X)
        np.testing.assert_allclose(target, 1 + arithmetic.segment_sum(X, IDS, 7), rtol=1e-5, atol=1e-6)
        with pytest.raises(IndexError):
            arithmetic.segment_sum(X, IDS - 1, 7)


def test_formulas_are_evaluated_at_every_element() -> None:
    def formula(_: Kernels, *blocks: np.ndarray) -> None:
        total, product, x, y, mask = blocks
        assert x.dtype == total.dtype
        assert mask.dtype == np.bool_
        np.add(x, y, out=total)
        np.multiply(x, y * mask, out=product)

    x, y, mask = X, X[::-1], X > 0
    for arithmetic in (EXACT, FAST):
        total, product = arithmetic.evaluate("both", formula, 2, x=x, y=y, mask=mask)
        np.testing.assert_array_equal(total, x + y)
        np.testing.assert_array_equal(product, x * y * mask)
        scalar = arithmetic.evaluate("both", formula, 2, x=x[0, 0], y=y[0, 0], mask=mask[0, 0])[0]
        assert type(scalar) is np.float32


def test_column_sums_depend_on_the_groups_and_not_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x = Stream(5).normal(size=(1000, 7)) * np.float32(1000)
    for arithmetic in (EXACT, FAST):
        found = set()
        for size in (1, 5000, 10**6):
            monkeypatch.setattr(blocks, "CACHE_BYTES", size)
            sums = ColumnSums(arithmetic.kernels, 7, arithmetic.working(x.dtype))
            arithmetic.evaluate_rows(lambda _, block, sums=sums: sums.add(block), [], [x], GROUP_ROWS)
            np.testing.assert_allclose(sums.total(), x.astype(np.float64).sum(axis=0), rtol=1e-4)
            found.add(sums.total().tobytes())
        assert len(found) == 1 or arithmetic is FAST


def test_indices_are_int64_where_numpys_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on 32-bit platforms."""

    def narrow(function: Any, *given: Any, **options: Any) -> Any:
        found = function(*given, **options)
        return found.astype(np.int32) if found.dtype == np.int64 else found

    for name in ("argsort", "bincount"):
        monkeypatch.setattr(np, name, partial(narrow, getattr(np, name)))
    for arithmetic in (EXACT, FAST):
        assert arithmetic.argsort(X).dtype == np.int64
        assert arithmetic.bincount(IDS).dtype == np.int64
    assert Stream(0).permutation(9).dtype == np.int64
    assert [outcome.case for outcome in run_selftest() if not outcome.ok] == []


def test_other_dtypes_are_refused_with_the_remedy() -> None:
    with pytest.raises(TypeError, match=r"f: x must be float32, got float64; convert with x.astype\(np.float32\)"):
        EXACT.checked("f", x=X.astype(np.float64))
    with pytest.raises(TypeError, match=r"f: x must be float32 or float64, got int64"):
        FAST.checked("f", x=IDS)
    with pytest.raises(TypeError, match=r"f: y must be float32 as x is, got float64"):
        FAST.checked("f", x=X, y=X.astype(np.float64))
    assert FAST.checked("f", x=X, y=X) is FAST


def test_working_dtypes() -> None:
    assert EXACT.working(np.float32) == np.float64
    assert FAST.working(np.float32) == np.float32
    assert FAST.working(np.float64) == np.float64
