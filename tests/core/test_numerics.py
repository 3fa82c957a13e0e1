"""One face, two arithmetics: the choice holds where it was made, and the fast side does what the exact one does, nearly."""

import threading
from dataclasses import fields

import numpy as np
import pytest

from samebits import core
from samebits.core import Stream, current, numerics
from samebits.core.modes import EXACT, FAST, Kernels

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
    with pytest.raises(ValueError, match="numerics: mode must be 'exact' or 'fast', got 'quick'"), numerics("quick"):
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


@pytest.mark.parametrize("name", [field.name for field in fields(Kernels)])
def test_kernels_agree(name: str) -> None:
    x = np.abs(X.astype(np.float64)) + 0.01
    if name == "sum":
        np.testing.assert_allclose(EXACT.kernels.sum(x.copy(), -1), FAST.kernels.sum(x, -1), rtol=1e-12)
        return
    exact, fast = np.empty_like(x), np.empty_like(x)
    getattr(EXACT.kernels, name)(x, exact)
    getattr(FAST.kernels, name)(x, fast)
    np.testing.assert_allclose(exact, fast, rtol=7e-10 if name == "exp" else 1e-12)  # this exp is the short one


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


def test_working_dtypes() -> None:
    assert EXACT.working(np.float32) == np.float64
    assert FAST.working(np.float32) == np.float32
    assert FAST.working(np.float64) == np.float64
