"""Gradients in exact arithmetic are accurate at large offsets, in tails and at ties: they come from inputs, not from rounded results.

The oracle is mpmath with 60 digits. The relative error is at most 2.4e-7, which is 2 to 4 ulp: one rounding for the derivative, and one
for each factor that a rule multiplies it with.
"""

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

from samebits import autograd
from samebits.autograd import Tensor, ops
from samebits.autograd.ops.probabilities import softmax_at
from samebits.core import Mode, Stream, numerics

mpmath.mp.dps = 60
ULPS = 4 * 2.0**-24

EDGES = [-90.0, -20.0, -9.0, -1.5, -1e-3, -1e-30, 0.0, 1e-30, 1e-3, 0.75, 1.0, 2.5, 9.0, 20.0, 90.0]
POSITIVE = [1e-38, 1e-10, 0.25, 1.0 - 2.0**-24, 1.0, 1.0 + 2.0**-23, 3.0, 1e10, 1e38]


def gradient(f: Callable[[Tensor], Tensor], x: Any) -> np.ndarray:
    leaf = Tensor(x, requires_grad=True)
    f(leaf).backward()
    assert leaf.grad is not None
    return np.asarray(leaf.grad.numpy(), np.float64)


def assert_close(found: np.ndarray, expected: Any) -> None:
    """Within 2.4e-7 of a true value that is a normal float32, and within 1e-44 of a smaller one."""
    true = np.array([float(value) for value in np.ravel(np.array(expected, object))]).reshape(found.shape)
    representable = np.abs(true) < 3.4e38
    np.testing.assert_array_less(np.abs(found - true)[representable], (np.abs(true) * ULPS + 1e-44)[representable])


UNARY: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Any], Any], list[float]]] = {
    "tanh": (autograd.tanh, lambda x: mpmath.sech(x) ** 2, EDGES),
    "sigmoid": (autograd.sigmoid, lambda x: mpmath.exp(-x) / (1 + mpmath.exp(-x)) ** 2, EDGES),
    "erf": (autograd.erf, lambda x: 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-x * x), EDGES),
    "exp": (autograd.exp, mpmath.exp, EDGES[:-1]),
    "exp2": (autograd.exp2, lambda x: mpmath.power(2, x) * mpmath.log(2), EDGES),
    "sin": (autograd.sin, mpmath.cos, [*EDGES, 1e7]),
    "cos": (autograd.cos, lambda x: -mpmath.sin(x), [*EDGES, 1e7]),
    "log": (autograd.log, lambda x: 1 / x, POSITIVE),
    "sqrt": (autograd.sqrt, lambda x: 1 / (2 * mpmath.sqrt(x)), POSITIVE),
    "x ** 2.5": (lambda x: x**2.5, lambda x: mpmath.mpf(2.5) * mpmath.power(x, 1.5), POSITIVE),
    "x ** 1e-10": (lambda x: x ** float(np.float32(1e-10)), lambda x: _power_slope(x, np.float32(1e-10)), POSITIVE),
    "x ** 3": (lambda x: x**3, lambda x: 3 * x**2, [*EDGES, 1e12]),
    "x ** 100": (lambda x: x**100, lambda x: 100 * x**99, [0.0, 0.9, 1.0001, 1.3, -1.1]),
    "x ** -2": (lambda x: x**-2, lambda x: -2 / x**3, [1e-12, 1e-3, 3.0, -7.0, 1e12]),
    "x ** -10": (lambda x: x**-10, lambda x: -10 / x**11, [0.9, 1.0001, -1.3]),
    "x ** -0.5": (lambda x: x**-0.5, lambda x: -0.5 * mpmath.power(x, -1.5), POSITIVE[1:-1]),
    "2.5 ** x": (lambda x: 2.5**x, lambda x: mpmath.power(2.5, x) * mpmath.log(2.5), EDGES),
    "1 / x": (lambda x: 1.0 / x, lambda x: -1 / x**2, POSITIVE[1:-1]),
}


def _power_slope(x: Any, b: Any) -> Any:
    return mpmath.mpf(float(b)) * mpmath.power(x, mpmath.mpf(float(b)) - 1)


@pytest.mark.parametrize("name", UNARY)
def test_gradients_of_functions_are_accurate_in_tails(name: str) -> None:
    f, slope, points = UNARY[name]
    x = np.array(points, np.float32)
    assert_close(gradient(lambda t: f(t).sum(), x), [slope(mpmath.mpf(float(value))) for value in x])


ROWS = [
    [0.0, 0.0],
    [17.0, 0.0],
    [36.0, 0.0],
    [0.0, 60.0],
    [1e3, 1e3],
    [1e7, 1e7, 1e7],
    [3.0, -2.0, 0.5, 3.0],
    [-80.0, -81.0, -82.5],
    [5.0, -np.inf, 5.0],
]


def shares(row: list[float]) -> list[Any]:
    powers = [mpmath.exp(mpmath.mpf(value) - max(row)) if value > -np.inf else mpmath.mpf(0) for value in row]
    return [power / mpmath.fsum(powers) for power in powers]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_gradient_of_logsumexp_is_softmax(row: list[float]) -> None:
    assert_close(gradient(autograd.logsumexp, row), shares(row))


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_jacobian_of_softmax_is_accurate(row: list[float]) -> None:
    y = shares(row)
    for i in range(len(row)):
        true = [y[i] * (mpmath.fsum(y[:j] + y[j + 1 :]) if i == j else -y[j]) for j in range(len(row))]
        assert_close(gradient(lambda t, i=i: autograd.softmax(t)[i], row), true)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_jacobian_of_log_softmax_is_accurate(row: list[float]) -> None:
    y = shares(row)
    for i in range(len(row)):
        if row[i] > -np.inf:
            true = [mpmath.fsum(y[:j] + y[j + 1 :]) if i == j else -y[j] for j in range(len(row))]
            assert_close(gradient(lambda t, i=i: autograd.log_softmax(t)[i], row), true)


def test_log_softmax_of_a_confident_row_keeps_its_digits() -> None:
    assert autograd.log_softmax(Tensor([36.0, 0.0]))[0].item() == pytest.approx(-2.3195228302435696e-16, rel=1e-7)


@pytest.mark.parametrize("mode", ["exact", "int16", "fast"])
def test_softmax_at_some_places_is_that_of_the_whole(mode: Mode) -> None:
    x, ids = Stream(0).normal(size=1000), np.array([3, 999, 3])
    with numerics(mode):
        found, whole = softmax_at(x, ids), np.asarray(autograd.softmax(Tensor(x)).data)
    assert found is None or found.tobytes() == whole[ids].tobytes()
    assert found is None or mode != "fast"


def test_logsumexp_of_minus_infinity_has_the_gradient_zero() -> None:
    assert gradient(autograd.logsumexp, [-np.inf, -np.inf]).tolist() == [0.0, 0.0]


SAMPLES = [
    [1.0] * 3_000 + [1.0 + 2.0**-23],
    [1e6, 1e6 + 0.0625],
    [1.0, 2.0, 4.0],
    [1e7, 1e7 + 1, 1e7 + 2],
    [1e-30, 2e-30, 4e-30],
    [-3.5, -3.5, 7.0],
]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{len(sample)} from {sample[0]}")
@pytest.mark.parametrize("ddof", [0, 1])
def test_gradients_of_var_and_std_are_accurate_at_large_offsets(sample: list[float], ddof: int) -> None:
    x = [mpmath.mpf(float(np.float32(value))) for value in sample]
    mean, free = mpmath.fsum(x) / len(x), len(x) - ddof
    std = mpmath.sqrt(mpmath.fsum((value - mean) ** 2 for value in x) / free)
    found = gradient(lambda t: autograd.var(t, ddof=ddof), sample)
    np.testing.assert_allclose(found, [float(2 * (value - mean) / free) for value in x], rtol=ULPS, atol=float(std) * 1e-9)
    found = gradient(lambda t: autograd.std(t, ddof=ddof), sample)
    np.testing.assert_allclose(found, [float((value - mean) / (free * std)) for value in x], rtol=ULPS, atol=1e-8)


@pytest.mark.parametrize("g", [1.0, 1e-10])
@pytest.mark.parametrize(("a", "b"), [(1e-20, 1e-20), (3.0, 7.0), (1e-10, 3e10), (1e30, 1e20), (-2.5, 1e-3)])
def test_gradients_of_a_quotient_are_accurate(a: float, b: float, g: float) -> None:
    x, y, w = (np.float32(value) for value in (a, b, g))
    top, bottom, weight = (mpmath.mpf(float(value)) for value in (x, y, w))
    assert_close(gradient(lambda t: t / Tensor(y) * Tensor(w), x), weight / bottom)
    assert_close(gradient(lambda t: Tensor(x) / t * Tensor(w), y), -weight * top / bottom**2)


@pytest.mark.parametrize("exponent", [1e-10, 0.3, 2.5, -1.5, 30.0])
def test_gradients_of_the_exponent_are_accurate(exponent: float) -> None:
    b, x = np.float32(exponent), np.array([1e-3, 0.5, 1.0 - 2.0**-24, 1.0, 1.0 + 2.0**-23, 3.0], np.float32)
    true = [mpmath.power(a, float(b)) * mpmath.log(a) for a in map(mpmath.mpf, x.astype(float))]
    assert_close(gradient(lambda t: autograd.power(Tensor(x), t).sum(), np.full(6, b)), true)


def test_the_gradient_of_a_remainder_is_the_exact_quotient() -> None:
    a, b = np.float32(16777215.0), np.float32(0.7)
    assert gradient(lambda t: autograd.remainder(Tensor(a), t), b) == -np.float32(np.floor(np.float64(a) / np.float64(b)))


ALL = {
    "logsumexp": autograd.logsumexp,
    "softmax": lambda x: autograd.softmax(x, -1),
    "softmax along 0": lambda x: autograd.softmax(x, 0),
    "log_softmax": lambda x: autograd.log_softmax(x, -1),
    "var": lambda x: autograd.var(x, 0, ddof=1),
    "std": lambda x: autograd.std(x, 1),
    "tanh": autograd.tanh,
    "sigmoid": autograd.sigmoid,
    "erf": autograd.erf,
    "power": lambda x: (x * x + 0.5) ** 2.5,
    "power of tensors": lambda x: (x * x + 0.5) ** x,
    "cube": lambda x: x**3,
    "integer power": lambda x: x**7,
    "negative power": lambda x: x**-2,
    "quotient": lambda x: x / (x * x + 0.5),
}


@pytest.mark.parametrize("name", ALL)
def test_second_gradients_agree_with_differences(name: str) -> None:
    autograd.gradient_check(ALL[name], [[0.3, -1.2, 0.8], [2.0, 0.1, -0.4]], order=2)


# What has no derivative, or one that is a copy, a sum or a product of what it gets: nothing is computed from a result.
COPIES = "abs add astype clamp clip clone concatenate expand expand_dims flatten getitem negative permute relu reshape"
COPIES += " split squeeze stack subtract swapaxes take transpose unsqueeze where"
SUMS = "cumsum einsum matmul max maximum mean min minimum multiply scatter sum sum_to"
NONE = "all any arange argmax argmin full ones zeros"
TESTED = "cos divide erf exp exp2 log log_softmax logsumexp power remainder sigmoid sin softmax sqrt std tanh var"


def test_every_operation_is_accounted_for() -> None:
    assert sorted(f"{COPIES} {SUMS} {NONE} {TESTED}".split()) == sorted(ops.__all__)


LARGE = np.array([[1e6, 1e6 + 0.0625, 1e6], [-3e5, 1.0 + 2.0**-23, 1.0], [1e-30, -1e-30, 0.0]], np.float32)
WEIGHTS = np.array([[1.0, 3.0, -7.0], [1e-3, 0.75, 1e3], [2.0, -5.0, 1.0]], np.float32)
LINEAR: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "abs": lambda x, _: autograd.abs(x),
    "add": lambda x, _: x + x,
    "astype": lambda x, _: x.astype(x.dtype),
    "clip": lambda x, _: autograd.clip(x, -1e5, 1e6),
    "clone": lambda x, _: autograd.clone(x),
    "concatenate": lambda x, _: autograd.concatenate([x, x])[:3],
    "cumsum": lambda x, _: autograd.cumsum(x, 1),
    "einsum": lambda x, w: autograd.einsum("ij,kj->ik", x, w / 1024),
    "expand": lambda x, _: autograd.expand(x[:, :1], (3, 3)),
    "expand_dims": lambda x, _: autograd.expand_dims(x, 0)[0],
    "flatten": lambda x, _: autograd.flatten(x).reshape(3, 3),
    "getitem": lambda x, _: x[[0, 0, 2]],
    "matmul": lambda x, w: x @ (w / 1024),
    "max": lambda x, w: x.max(axis=1, keepdims=True) * 3.0 + w,
    "maximum": lambda x, _: autograd.maximum(x, x.detach()[:, ::-1]),
    "mean": lambda x, w: x.mean(axis=1, keepdims=True) + w,
    "min": lambda x, w: x.min(axis=0, keepdims=True) * 3.0 + w,
    "minimum": lambda x, _: autograd.minimum(x, x.detach()[:, ::-1]),
    "multiply": lambda x, w: x * w,
    "negative": lambda x, _: -x,
    "relu": lambda x, _: autograd.relu(x),
    "remainder": lambda x, _: x % 0.7,
    "split": lambda x, w: autograd.split(x, 3)[1] + w,
    "squeeze": lambda x, _: autograd.squeeze(x[:, :, None]),
    "stack": lambda x, _: autograd.stack([x, x])[1],
    "subtract": lambda x, w: w - x,
    "sum": lambda x, w: x.sum(axis=0, keepdims=True) + w,
    "swapaxes": lambda x, _: autograd.swapaxes(x, 0, 1),
    "take": lambda x, _: autograd.take(x, [2, 2, 0], axis=1),
    "transpose": lambda x, _: autograd.transpose(x),
    "where": lambda x, _: autograd.where(x > 0, x, 2.0 * x),
}


@pytest.mark.parametrize("name", LINEAR)
def test_gradients_at_large_offsets_and_ties_are_those_of_float64(name: str) -> None:
    """A product of matrices has grids of 26 bits, relative to the norms of its rows and columns."""

    def run(dtype: Any) -> np.ndarray:
        x, w = Tensor(LARGE.astype(dtype), requires_grad=True), Tensor(WEIGHTS.astype(dtype))
        (found,) = autograd.gradients(LINEAR[name](x, w), [x], w)
        return np.asarray(found.numpy(), np.float64)

    found = run(np.float32)
    with numerics("fast"):
        true = run(np.float64)
    atol = 4 * 2.0**-26 * np.linalg.norm(WEIGHTS) * np.linalg.norm(WEIGHTS / 1024) if name in {"matmul", "einsum"} else 1e-44
    np.testing.assert_allclose(found, true, rtol=ULPS, atol=atol)
