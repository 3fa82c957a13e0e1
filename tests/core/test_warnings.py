"""Exact functions never warn: no setting of NumPy's errors changes what they do, and results are those of IEEE 754."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from samebits import core
from samebits.core import Stream
from samebits.core.modes import EXACT

FINITE = np.array([[0, -0.0, 1e-45, -1e-45], [3.4e38, -3.4e38, 3e38, 1e-20], [100, -200, 1, -1]], np.float32)
SPECIAL = np.array([[0, -0.0, np.inf, -np.inf], [np.nan, 3.4e38, 1e-45, -1e-45], [-3.4e38, 100, -200, -1]], np.float32)
IDS = np.array([0, 1, 1], np.int64)
OF_ONE_ARRAY = [
    "cos",
    "erf",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log1p",
    "log2",
    "log10",
    "rsqrt",
    "sigmoid",
    "sin",
    "sqrt",
    "tanh",
    "sum",
    "mean",
    "var",
    "std",
    "max",
    "min",
    "norm",
    "logsumexp",
    "cumsum",
    "argsort",
]
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    **{name: lambda source, x, name=name: getattr(source, name)(x) for name in OF_ONE_ARRAY},  # type: ignore[misc]
    "segment_sum": lambda source, x: source.segment_sum(x, IDS, 2),
    "embedding_gradient": lambda source, x: source.embedding_gradient(IDS, x, 2),
    "bincount": lambda source, x: source.bincount(IDS, x[:, 0]),
    "scatter_add": lambda source, x: source.scatter_add(x.copy(), IDS, x),
}
PRODUCTS: dict[str, Callable[[Any, Any], Any]] = {
    "matmul": lambda source, x: source.matmul(x, x.T),
    "dot": lambda source, x: source.dot(x, x.T),
    "vecdot": lambda source, x: source.vecdot(x, x),
    "prepare": lambda source, x: source.prepare(x),
}
DRAWS: dict[str, Callable[[Stream], Any]] = {
    "uniform": lambda stream: stream.uniform(99, low=-3e38, high=3e38),
    "normal": lambda stream: stream.normal(999, std=3e38),
    "truncated_normal": lambda stream: stream.truncated_normal(99, std=1e-45),
    "integers": lambda stream: stream.integers(-(2**63), 2**63 - 1, 99),
    "permutation": lambda stream: stream.permutation(99),
    "choice": lambda stream: stream.choice(3, 9, p=[1e-300, 0.0, 1.0]),
    "bernoulli": lambda stream: stream.bernoulli(1e-300, 99),
    "words": lambda stream: stream.words(9),
}
# numbers with no floating-point operation on data, or none that could warn
QUIET = {
    *(
        [
            "digest",
            "describe_machine",
            "check_arithmetic",
            "require_arithmetic",
            "restore_arithmetic",
            "current",
            "numerics",
            "require_stream",
        ]
    ),
    *(["refuse_non_finite", "refuse_rows", "row_blocks", "store"]),
}


def test_every_public_function_is_tested_here() -> None:
    functions = {name for name in core.__all__ if callable(getattr(core, name)) and name.islower()}
    assert functions == {*CALLS, *PRODUCTS, *QUIET}
    methods = {name for name in vars(Stream) if not name.startswith("_") and callable(getattr(Stream, name))}
    assert methods - {"split", "state", "from_state"} == set(DRAWS)


@pytest.mark.parametrize("name", [*CALLS, *PRODUCTS])
def test_settings_of_errors_change_nothing(name: str) -> None:
    for x in (FINITE, SPECIAL) if name in CALLS else (FINITE,):
        for source in (core, EXACT):
            expected = (CALLS | PRODUCTS)[name](source, x)  # pytest turns a warning into an error
            for setting in ("raise", "warn", "print", "ignore"):
                with np.errstate(all=setting):  # type: ignore[arg-type]
                    found = (CALLS | PRODUCTS)[name](source, x)
                if isinstance(found, np.ndarray | np.generic):
                    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", DRAWS)
def test_random_numbers_do_not_warn(name: str) -> None:
    expected = DRAWS[name](Stream(0))
    with np.errstate(all="raise"):
        assert DRAWS[name](Stream(0)).tobytes() == expected.tobytes()


def test_results_are_those_of_ieee_754() -> None:
    with np.errstate(all="raise"):
        assert core.log(np.float32(0)) == -np.inf
        assert np.isnan(core.log(np.float32(-1)))
        assert core.exp(np.float32(100)) == np.inf
        assert core.exp(np.float32(-200)) == 0
        assert core.rsqrt(np.float32(0)) == np.inf
        assert core.sum([3e38, 3e38]) == np.inf
        assert np.isnan(core.sum([np.inf, -np.inf]))
        assert np.isnan(core.mean(np.zeros(0, np.float32)))
        assert core.matmul([3e38], [3e38]) == np.inf
        assert core.exp(np.float32(-103)) == np.float32(1e-45)  # subnormal


def test_products_of_what_is_not_finite_are_errors_and_not_warnings() -> None:
    for name, call in PRODUCTS.items():
        with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match=f"{name}: .* must be finite"):
            call(core, SPECIAL)
