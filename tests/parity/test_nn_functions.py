"""Activations, normalization, losses, embedding and dropout beside PyTorch's: values and all gradients.

In exact arithmetic our float32 is compared with PyTorch's float64, relative to the largest element: a few roundings of 6e-8 each,
so 2e-6 allows for sums over a hundred rows and nothing else. In float64 both sides round at 1e-16, so 1e-12.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.nn import functional

from samebits import nn
from samebits.autograd import Tensor, gradients
from samebits.core import Stream, numerics

Array = np.ndarray[Any, Any]


class Case(NamedTuple):
    """A function of ours and PyTorch's, and the shapes of the arguments with gradients."""

    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    shapes: list[tuple[int, ...]]
    scale: float = 1.0


IDS = Stream(0).split("ids").integers(17, size=(6, 20))
SOME = np.where(IDS % 5 == 0, -100, IDS)
MEAN, VAR = np.asarray(Stream(0).normal(size=24)), np.abs(np.asarray(Stream(1).normal(size=24))) + np.float32(0.1)


def channels_second(function: Callable[..., Any]) -> Callable[..., Any]:
    """A PyTorch function of (B, C, T), for (B, T, C)."""
    return lambda x, *vectors: function(x.transpose(1, 2), *vectors).transpose(1, 2)


def alike(array: Array, x: Any) -> Any:
    """A constant of the type and dtype of ``x``."""
    return torch.tensor(array, dtype=x.dtype) if isinstance(x, torch.Tensor) else Tensor(array.astype(x.dtype))


CASES = {
    "relu": Case(nn.relu, functional.relu, [(6, 20, 24)]),
    "gelu": Case(nn.gelu, functional.gelu, [(6, 20, 24)], 3.0),
    "gelu, tanh": Case(lambda x: nn.gelu(x, "tanh"), lambda x: functional.gelu(x, approximate="tanh"), [(6, 20, 24)], 3.0),
    "silu": Case(nn.silu, functional.silu, [(6, 20, 24)], 3.0),
    "glu": Case(nn.glu, functional.glu, [(6, 20, 24)]),
    "glu along axis 1": Case(lambda x: nn.glu(x, 1), lambda x: functional.glu(x, 1), [(6, 20, 24)]),
    "swiglu": Case(nn.swiglu, lambda a, b: functional.silu(a) * b, [(6, 20, 24), (6, 20, 24)]),
    "softmax": Case(nn.softmax, lambda x: functional.softmax(x, -1), [(6, 20, 24)], 3.0),
    "layer_norm": Case(nn.layer_norm, lambda x, w, b: functional.layer_norm(x, (24,), w, b), [(6, 20, 24), (24,), (24,)]),
    "layer_norm, far from 0": Case(
        lambda x, w, b: nn.layer_norm(x + 100.0, w, b),
        lambda x, w, b: functional.layer_norm(x + 100.0, (24,), w, b),
        [(6, 20, 24), (24,), (24,)],
    ),
    "layer_norm alone": Case(nn.layer_norm, lambda x: functional.layer_norm(x, (24,)), [(6, 20, 24)]),
    "rms_norm": Case(nn.rms_norm, lambda x, w: functional.rms_norm(x, (24,), w, 1e-5), [(6, 20, 24), (24,)]),
    "batch_norm": Case(
        nn.batch_norm,
        channels_second(lambda x, w, b: functional.batch_norm(x, None, None, w, b, training=True)),
        [(6, 20, 24), (24,), (24,)],
    ),
    "batch_norm outside of training": Case(
        lambda x, w, b: nn.batch_norm(x, w, b, alike(MEAN, x), alike(VAR, x), training=False),
        channels_second(lambda x, w, b: functional.batch_norm(x, alike(MEAN, x), alike(VAR, x), w, b)),
        [(6, 20, 24), (24,), (24,)],
    ),
    "cross_entropy": Case(
        lambda x: nn.cross_entropy(x, SOME),
        lambda x: functional.cross_entropy(x.reshape(-1, 17), torch.tensor(SOME.reshape(-1))),
        [(6, 20, 17)],
        3.0,
    ),
    "cross_entropy, far logits": Case(
        lambda x: nn.cross_entropy(x, IDS),
        lambda x: functional.cross_entropy(x.reshape(-1, 17), torch.tensor(IDS.reshape(-1))),
        [(6, 20, 17)],
        100.0,
    ),
    "mean_squared_error": Case(nn.mean_squared_error, functional.mse_loss, [(6, 20, 24), (6, 20, 24)]),
    "embedding": Case(lambda w: nn.embedding(IDS, w), lambda w: functional.embedding(torch.tensor(IDS), w), [(17, 24)]),
}


def compare(case: Case, dtype: type, tolerance: float) -> None:
    """Compare values and gradients with PyTorch's float64, for the same float32 inputs."""
    arrays = [np.asarray(Stream(0).split(i).normal(shape, std=case.scale)) for i, shape in enumerate(case.shapes)]
    inputs = [Tensor(array.astype(dtype), requires_grad=True) for array in arrays]
    theirs = [torch.tensor(array.astype(np.float64), requires_grad=True) for array in arrays]
    output, result = case.ours(*inputs), case.theirs(*theirs)
    g = np.asarray(Stream(1).normal(size=output.shape)) if output.ndim else np.ones((), np.float32)
    found = [output, *gradients(output, inputs, g.astype(dtype))]
    right = [result, *torch.autograd.grad(result, theirs, torch.tensor(g.astype(np.float64)).reshape(result.shape))]
    for mine, other in zip(found, right, strict=True):
        expected = other.detach().numpy()
        assert mine.shape == expected.shape and mine.dtype == dtype
        np.testing.assert_allclose(mine.numpy(), expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("name", CASES)
def test_exact_values_and_gradients_are_pytorchs(name: str) -> None:
    compare(CASES[name], np.float32, 2e-6)


@pytest.mark.parametrize("name", CASES)
def test_float64_values_and_gradients_are_pytorchs(name: str) -> None:
    with numerics("fast"):
        compare(CASES[name], np.float64, 1e-12)


@pytest.mark.parametrize("name", CASES)
def test_fast_values_and_gradients_are_pytorchs(name: str) -> None:
    with numerics("fast"):
        compare(CASES[name], np.float32, 2e-5)  # float32 throughout: sums of a hundred terms, and cancellation


def test_running_statistics_are_pytorchs() -> None:
    ours, theirs = nn.BatchNorm(5), torch.nn.BatchNorm1d(5, dtype=torch.float64)
    for step in range(5):
        x = np.asarray(Stream(step).normal((7, 9, 5), mean=step, std=2))
        ours(Tensor(x))
        theirs(torch.tensor(x.astype(np.float64)).transpose(1, 2))
    np.testing.assert_allclose(ours.running_mean.numpy(), theirs.running_mean.numpy(), rtol=2e-6)
    np.testing.assert_allclose(ours.running_var.numpy(), theirs.running_var.numpy(), rtol=2e-6)


def test_dropout_is_pytorchs_for_the_same_mask() -> None:
    x = np.asarray(Stream(0).normal(size=(6, 20)))
    found = nn.dropout(Tensor(x), 0.3, Stream(1)).numpy()
    mask = torch.tensor(Stream(1).bernoulli(0.7, (6, 20)))
    expected = torch.ops.aten.native_dropout_backward(torch.tensor(x.astype(np.float64)), mask, 1 / 0.7)
    np.testing.assert_allclose(found, expected.numpy(), rtol=2e-6)
