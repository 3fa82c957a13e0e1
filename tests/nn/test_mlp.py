"""The perceptrons: their formulas, and names and values of their parameters."""

from typing import Any

import numpy as np

from samebits.autograd import Tensor, gradient_check, tanh
from samebits.core import Stream
from samebits.nn.activation import gelu, swiglu
from samebits.nn.dense import linear
from samebits.nn.mlp import MLP, SwiGLU


def normal(*shape: int, name: str = "normal") -> Any:
    return np.asarray(Stream(0).split(name).normal(size=shape))


def test_mlp_is_two_linear_layers_with_an_activation_between() -> None:
    layer, x = MLP(4, 6, 3, stream=Stream(1)), Tensor(normal(2, 5, 4))
    expected = layer.down(gelu(layer.up(x)))
    assert layer(x).numpy().tobytes() == expected.numpy().tobytes()
    assert [name for name, _ in layer.named_parameters()] == ["up.weight", "up.bias", "down.weight", "down.bias"]
    assert layer.down.weight.shape == (3, 6)


def test_swiglu_gates_one_linear_layer_by_another() -> None:
    layer, x = SwiGLU(4, 6, stream=Stream(1)), Tensor(normal(2, 5, 4))
    expected = layer.down(swiglu(layer.gate(x), layer.up(x)))
    assert layer(x).numpy().tobytes() == expected.numpy().tobytes()
    assert [name for name, _ in layer.named_parameters()] == ["gate.weight", "up.weight", "down.weight"]


def test_gradients_are_those_of_central_differences() -> None:
    gradient_check(
        lambda x, u, a, d, b: linear(tanh(linear(x, u, a)), d, b), normal(3, 4), normal(5, 4), normal(5), normal(2, 5), normal(2)
    )
    gradient_check(
        lambda x, g, u, d: linear(swiglu(linear(x, g), linear(x, u)), d), normal(3, 4), normal(5, 4), normal(5, 4), normal(4, 5)
    )


def test_options_do_not_change_the_values_of_other_parameters() -> None:
    plain, chosen = (
        MLP(4, 6, stream=Stream(1)),
        MLP(4, 6, bias=False, stream=Stream(1), initialize_output=lambda _, shape: np.zeros(shape, np.float32)),
    )
    assert plain.up.weight.numpy().tobytes() == chosen.up.weight.numpy().tobytes()
    assert not chosen.down.weight.numpy().any()
    assert chosen.down.bias is None
    gated = SwiGLU(4, 6, bias=True, stream=Stream(1), initialize=lambda _, shape: np.ones(shape, np.float32))
    assert all((layer.weight.numpy() == 1).all() for layer in (gated.gate, gated.up, gated.down))


def test_any_function_of_a_tensor_may_be_the_activation() -> None:
    layer, x = MLP(4, 6, activation=tanh, stream=Stream(1)), Tensor(normal(2, 4))
    assert layer(x).numpy().tobytes() == layer.down(tanh(layer.up(x))).numpy().tobytes()
