"""Activations: formulas to 0.6 ulp, gradients, all shapes, and the same bits in blocks of any size."""

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

from samebits import autograd
from samebits.autograd import Tensor, gradient_check, gradients
from samebits.core import Stream, blocks
from samebits.core.arithmetic import horner
from samebits.nn import mills
from samebits.nn.activation import gelu, glu, silu, swiglu

Array = np.ndarray[Any, Any]

ONE: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": gelu,
    "gelu of GPT-2": lambda x: gelu(x, "tanh"),
    "silu": silu,
    "glu": glu,
}
ALL: dict[str, tuple[Callable[..., Tensor], int]] = {**{name: (f, 1) for name, f in ONE.items()}, "swiglu": (swiglu, 2)}


def normal(*shape: int, name: str = "x", scale: float = 1.0) -> Array:
    return np.asarray(Stream(0).split(name).normal(shape, std=scale))


def bits(function: Callable[..., Tensor], *arrays: Array) -> list[bytes]:
    inputs = [Tensor(array, requires_grad=True) for array in arrays]
    output = function(*inputs)
    found = gradients(output, inputs, normal(*output.shape, name="gradient"))
    return [x.numpy().tobytes() for x in (output, *found)]


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_those_of_central_differences(name: str) -> None:
    function, count = ALL[name]
    for scale in (1.0, 4.0):
        gradient_check(function, *[normal(3, 4, name=str(i), scale=scale) for i in range(count)])


@pytest.mark.parametrize("name", ALL)
def test_blocks_and_memory_layout_cannot_change_a_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, count = ALL[name]
    arrays = [normal(40, 60, name=str(i), scale=3) for i in range(count)]
    expected = bits(function, *arrays)
    for block in (1, 77, 10**6):
        monkeypatch.setattr(blocks, "CACHE_BYTES", block if block > 1 else 50)
        assert bits(function, *arrays) == expected
    assert bits(function, *[np.asfortranarray(x) for x in arrays]) == expected


@pytest.mark.parametrize("name", ALL)
def test_empty_and_scalar_shapes_keep_shape_and_dtype(name: str) -> None:
    function, count = ALL[name]
    for shape in ((0,), (0, 4), (2, 0)) + (() if name == "glu" else ((), (1,))):
        inputs = [Tensor(np.ones(shape, np.float32), requires_grad=True) for _ in range(count)]
        output = function(*inputs)
        assert output.dtype == np.float32
        if name != "glu":
            assert output.shape == shape
        for x, g in zip(inputs, gradients(output, inputs, np.ones(output.shape, np.float32)), strict=True):
            assert g.shape == x.shape


def exact_gelu(x: float) -> float:
    return x * math.erfc(-x / math.sqrt(2)) / 2


def exact_gelu_tanh(x: float) -> float:
    v = 2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return x / (1 + math.exp(-v)) if v > -700 else x * math.exp(v)


def exact_silu(x: float) -> float:
    return x / (1 + math.exp(-x)) if x > -700 else 0.0


@pytest.mark.parametrize(
    ("function", "reference"), [(gelu, exact_gelu), (ONE["gelu of GPT-2"], exact_gelu_tanh), (silu, exact_silu)]
)
def test_values_are_at_most_0_6_ulp_from_the_true_value(
    function: Callable[[Tensor], Tensor], reference: Callable[[float], float]
) -> None:
    # the reference is float64, with an error near 1e-14 of the value: 1e-7 ulp of float32
    x = np.concatenate([normal(4000, scale=2), np.linspace(-16, 9, 4000).astype(np.float32), normal(1000, scale=1e-3)])
    right = np.array([reference(float(value)) for value in x])
    found = function(Tensor(x)).numpy().astype(np.float64)
    ulps = np.abs(found - right) / np.spacing(np.abs(right).astype(np.float32))
    assert ulps.max() <= 0.6


def test_values_at_the_ends_of_the_range() -> None:
    x = Tensor([0.0, 100.0, -200.0, float("inf"), 3e38])
    for name in ("gelu", "gelu of GPT-2", "silu"):
        values = ONE[name](x).numpy()
        np.testing.assert_array_equal(np.abs(values), np.array([0, 100, 0, np.inf, 3e38], np.float32))
        (nan,) = ONE[name](Tensor([float("nan")])).numpy().view(np.uint32)
        assert nan == 0x7FC00000
        zeros = Tensor([0.0, -0.0], requires_grad=True)
        (slope,) = gradients(ONE[name](zeros), [zeros], np.ones(2, np.float32))
        np.testing.assert_array_equal(slope.numpy(), np.array([0.5, 0.5], np.float32))


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match="gelu: approximate must be 'none' or 'tanh', got 'erf'"):
        gelu(Tensor([1.0]), "erf")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="glu: axis -1 of x must have an even length, got 3"):
        glu(Tensor([1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match=r"swiglu: up must have the shape of gate, \(1,\), got \(2,\)"):
        swiglu(Tensor([1.0]), Tensor([1.0, 2.0]))
    with pytest.raises(TypeError, match=r"silu: x must be float32, got int64"):
        silu(Tensor([1]))
    with pytest.raises(TypeError, match=r"swiglu: up must be float32 as gate is, got int64"):
        swiglu(Tensor([1.0]), Tensor([1]))


def test_the_ratio_of_mills_is_within_3e_14_of_the_truth() -> None:
    """Phi(-a) / phi(a) against mpmath, as far out as Phi(-a) is a float32."""
    a = np.linspace(0.0, 15.0, 1501)
    with mpmath.workdps(30):
        roots = [(mpmath.mpf(t), mpmath.mpf(t) / mpmath.sqrt(2)) for t in a.tolist()]
        exact = [float(mpmath.sqrt(mpmath.pi / 2) * mpmath.erfc(root) * mpmath.exp(t * t / 2)) for t, root in roots]
    over, under = (horner([np.array(one) for one in c], a) for c in (mills.MILLS_OVER, mills.MILLS_UNDER))
    np.testing.assert_allclose(over / under, exact, rtol=3e-14)


def test_the_gate_of_glu_has_a_gradient_where_the_sigmoid_is_near_one():
    gate = Tensor([40.0, 30.0, -40.0], requires_grad=True)
    glu(autograd.concatenate([Tensor([2.0, 2.0, 2.0]), gate])).sum().backward()
    expected = 2 * np.exp(np.array([-40.0, -30.0, -40.0]))
    np.testing.assert_allclose(gate.grad.numpy(), expected, rtol=1e-6)
