"""Normalization: formulas to 0.6 ulp, gradients, running statistics, and the same bits in blocks of any size."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from samebits.autograd import Tensor, gradient_check, gradients
from samebits.core import Stream, blocks
from samebits.nn.normalization import BatchNorm, LayerNorm, RMSNorm, batch_norm, layer_norm, rms_norm

Array = np.ndarray[Any, Any]

FULL: dict[str, tuple[Callable[..., Tensor], int]] = {
    "layer_norm": (layer_norm, 2),
    "rms_norm": (rms_norm, 1),
    "batch_norm": (batch_norm, 2),
}


def normal(*shape: int, name: str = "x") -> Array:
    return np.asarray(Stream(0).split(name).normal(shape, mean=0.5, std=2))


def arguments(name: str, *shape: int) -> list[Array]:
    return [normal(*shape), *[normal(shape[-1], name=str(i)) for i in range(FULL[name][1])]]


def bits(function: Callable[..., Tensor], *arrays: Array) -> list[bytes]:
    inputs = [Tensor(array, requires_grad=True) for array in arrays]
    output = function(*inputs)
    found = gradients(output, inputs, normal(*output.shape, name="gradient"))
    return [x.numpy().tobytes() for x in (output, *found)]


@pytest.mark.parametrize("name", FULL)
def test_gradients_are_those_of_central_differences(name: str) -> None:
    function, _ = FULL[name]
    gradient_check(function, *arguments(name, 3, 4, 5))
    gradient_check(function, *arguments(name, 67, 2))  # more than two groups of rows
    gradient_check(function, normal(3, 5))


def test_gradients_with_a_bias_alone_and_outside_of_training() -> None:
    gradient_check(lambda x, b: layer_norm(x, None, b), normal(3, 5), normal(5))
    with_constants = [normal(5, name="mean"), np.abs(normal(5, name="var"))]
    gradient_check(
        lambda x, w, b: batch_norm(x, w, b, *[Tensor(c.astype(x.dtype)) for c in with_constants], training=False),
        *arguments("batch_norm", 6, 5),
    )


@pytest.mark.parametrize("name", FULL)
def test_blocks_and_memory_layout_cannot_change_a_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = arguments(name, 101, 70)
    expected = bits(FULL[name][0], *arrays)
    for block in (10, 5000, 10**6):
        monkeypatch.setattr(blocks, "CACHE_BYTES", block)
        assert bits(FULL[name][0], *arrays) == expected
    assert bits(FULL[name][0], *[np.asfortranarray(x) for x in arrays]) == expected


@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
def test_a_row_has_the_same_bits_alone_and_in_a_batch(name: str) -> None:
    x, *vectors = arguments(name, 5, 33)
    whole = FULL[name][0](Tensor(x), *map(Tensor, vectors)).numpy()
    for i in range(5):
        assert FULL[name][0](Tensor(x[i]), *map(Tensor, vectors)).numpy().tobytes() == whole[i].tobytes()


def reference(values: list[float], eps: float, *, centeredd: bool) -> list[float]:
    """A row normalized with sums that are rounded once."""
    mean = math.fsum(values) / len(values) if centeredd else 0.0
    centered = [value - mean for value in values]
    scale = 1 / math.sqrt(math.fsum(value * value for value in centered) / len(values) + eps)
    return [value * scale for value in centered]


@pytest.mark.parametrize("name", FULL)
def test_values_are_at_most_0_6_ulp_from_the_true_value(name: str) -> None:
    # the reference has an error of some 1e-16 of the largest term; a result near 0 after the bias is compared with that
    x, weight, *bias = arguments(name, 40, 384)
    if name == "batch_norm":
        x = x.T
        weight, *bias = [vector[:40] for vector in (weight, *bias)]
    found = FULL[name][0](*map(Tensor, (x, weight, *bias))).numpy().astype(np.float64)
    rows = x.T if name == "batch_norm" else x
    right = np.array([reference([float(v) for v in row], 1e-5, centeredd=name != "rms_norm") for row in rows])
    right = (right.T if name == "batch_norm" else right) * weight + sum(b.astype(np.float64) for b in bias)
    ulps = np.abs(found - right) / np.spacing(np.maximum(np.abs(right), 1e-4).astype(np.float32))
    assert ulps.max() <= 0.6


def test_running_values_change_by_momentum_with_the_unbiased_variance() -> None:
    layer = BatchNorm(3, momentum=0.25)
    x = normal(4, 5, 3)
    layer(Tensor(x))
    flat = x.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(layer.running_mean.numpy(), 0.25 * flat.mean(0), rtol=1e-6)
    np.testing.assert_allclose(layer.running_var.numpy(), 0.75 + 0.25 * flat.var(0, ddof=1), rtol=1e-6)
    before = layer.state_dict()
    alone = layer.eval()(Tensor(x[:1, :1])).numpy()
    expected = (x[:1, :1] - before["running_mean"]) / np.sqrt(before["running_var"] + np.float32(1e-5))
    np.testing.assert_allclose(alone, expected, rtol=1e-5)
    assert {name: array.tobytes() for name, array in layer.state_dict().items()} == {n: a.tobytes() for n, a in before.items()}


def test_parameters_and_buffers_have_the_names_of_pytorchs() -> None:
    assert list(LayerNorm(3).state_dict()) == ["weight", "bias"]
    assert list(LayerNorm(3, bias=False).state_dict()) == ["weight"]
    assert list(RMSNorm(3).state_dict()) == ["weight"]
    assert list(BatchNorm(3).state_dict()) == ["weight", "bias", "running_mean", "running_var"]
    x = Tensor(normal(2, 3))
    assert LayerNorm(3)(x).numpy().tobytes() == layer_norm(x).numpy().tobytes()
    assert RMSNorm(3)(x).numpy().tobytes() == rms_norm(x).numpy().tobytes()


def test_empty_arrays() -> None:
    for name in ("layer_norm", "rms_norm"):
        inputs = [Tensor(x, requires_grad=True) for x in arguments(name, 0, 4)]
        output = FULL[name][0](*inputs)
        assert output.shape == (0, 4)
        assert [g.tolist() for g in gradients(output, inputs, np.empty((0, 4), np.float32))[1:]] == [[0.0] * 4] * FULL[name][1]


def test_errors_name_the_argument() -> None:
    x = Tensor(np.ones((2, 3), np.float32))
    with pytest.raises(ValueError, match=r"layer_norm: weight must have shape \(3,\), the channels of x \(2, 3\), got \(2,\)"):
        layer_norm(x, Tensor([1.0, 1.0]))
    with pytest.raises(ValueError, match=r"rms_norm: x must have an axis of channels, got shape \(\)"):
        rms_norm(Tensor(1.0))
    with pytest.raises(ValueError, match=r"rms_norm: x must have at least one channel, got shape \(2, 0\)"):
        rms_norm(Tensor(np.ones((2, 0), np.float32)))
    with pytest.raises(TypeError, match=r"layer_norm: x must be float32, got int64"):
        layer_norm(Tensor([1, 2]))
    with pytest.raises(
        ValueError, match=r"batch_norm: x must have at least two values for each channel in training, got shape \(1, 3\)"
    ):
        batch_norm(Tensor(np.ones((1, 3), np.float32)))
    with pytest.raises(ValueError, match="batch_norm: running_var must be a tensor in evaluation, got None"):
        batch_norm(x, running_mean=Tensor(np.ones(3, np.float32)), training=False)


def test_a_numpy_momentum_has_the_bits_of_a_python_float() -> None:
    momentum: Any = np.float32(0.1)
    found = []
    for one in (momentum, float(momentum)):
        running = Tensor(normal(500, name="running"))
        batch_norm(Tensor(normal(4, 500)), running_mean=running, momentum=one)
        found.append(running.numpy().tobytes())
    assert found[0] == found[1]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FULL)
@pytest.mark.parametrize("size", [3e38, 1e-45, np.inf])
def test_no_warning_escapes(name: str, size: float) -> None:
    x, *vectors = arguments(name, 40, 3)
    x[7] = size
    with np.errstate(all="raise"):
        tensors = [Tensor(array, requires_grad=True) for array in (x, *vectors)]
        FULL[name][0](*tensors).backward(np.full(x.shape, 3e38, np.float32))
        BatchNorm(3)(Tensor(x))
    assert all(tensor.grad is not None for tensor in tensors)
