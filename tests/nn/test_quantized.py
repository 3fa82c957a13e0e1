"""Layers with quantized weights: what they compute, alone and together, and what they refuse."""

import numpy as np
import pytest

from samebits.autograd import GraphError, Tensor, no_grad
from samebits.core import Stream
from samebits.core.block_formats import dequantize, quantize
from samebits.core.quantized import QuantizedMatrix
from samebits.nn.dense import Linear, linear, linears
from samebits.nn.module import parameter
from samebits.nn.quantized import QuantizedEmbedding, QuantizedLinear, quantized_linear


def matrix(outputs: int, inputs: int = 64) -> QuantizedMatrix:
    return QuantizedMatrix(quantize(Stream(outputs).normal((outputs, inputs)), "Q4_1"), "Q4_1")


def normal(*shape: int) -> Tensor:
    return Tensor(Stream(0).normal(shape))


def test_a_layer_multiplies_and_adds_its_bias() -> None:
    weight, x, bias = matrix(5), normal(2, 3, 64), normal(5)
    found = QuantizedLinear(weight)(x)
    assert found.shape == (2, 3, 5) and found.data.tobytes() == weight.multiply(x.data).tobytes()
    assert QuantizedLinear(weight, bias)(x).data.tobytes() == (found.data + bias.data).tobytes()
    assert linear(x, weight, bias).data.tobytes() == (found.data + bias.data).tobytes()


def test_a_layer_says_its_sizes_and_has_no_parameter_but_its_bias() -> None:
    layer = QuantizedLinear(matrix(5), parameter(np.zeros(5, np.float32)))
    assert (layer.inputs, layer.outputs, layer.parameter_count()) == (64, 5, 5) and layer.weight.dtype == np.dtype(np.float32)
    assert list(QuantizedEmbedding(matrix(5)).named_tensors()) == []


def test_several_layers_of_one_x_give_what_each_gives() -> None:
    layers: list[Linear | QuantizedLinear] = [
        QuantizedLinear(matrix(5)),
        Linear(64, 4, stream=Stream(1)),
        QuantizedLinear(matrix(3)),
    ]
    x = normal(2, 64)
    with no_grad():
        assert [y.data.tobytes() for y in linears(x, layers)] == [layer(x).data.tobytes() for layer in layers]


def test_an_embedding_has_the_rows_of_its_table() -> None:
    blocks = quantize(Stream(1).normal((7, 32)), "Q8_0")
    table, ids = QuantizedEmbedding(QuantizedMatrix(blocks, "Q8_0")), np.array([[3, 0], [6, 3]])
    assert table(ids).data.tobytes() == dequantize(blocks, "Q8_0")[ids].tobytes()
    assert table(2).shape == (32,) and table([]).shape == (0, 32)
    with pytest.raises(IndexError, match=r"embedding: ids\[1\] must be from 0 to 6, got 7"):
        table([0, 7])


def test_gradients_are_refused() -> None:
    weight, x = matrix(5), parameter(np.zeros((1, 64), np.float32))
    with pytest.raises(GraphError, match=r"a quantized weight has no gradients; use no_grad\(\)"):
        linear(x, weight)
    with pytest.raises(GraphError, match="no gradients"):
        quantized_linear(normal(1, 64), weight, parameter(np.zeros(5, np.float32)))
    with no_grad():
        assert linear(x, weight).shape == (1, 5)


def test_shapes_and_values_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"bias must have shape \(5,\), the outputs of weight, got \(4,\)"):
        quantized_linear(normal(1, 64), matrix(5), normal(4))
    with pytest.raises(ValueError, match=r"multiply: x must have shape \(..., 64\), got \(1, 65\)"):
        linear(normal(1, 65), matrix(5))
    with pytest.raises(FloatingPointError, match=r"multiply: x\[0, 0\] must be finite, got inf"):
        linear(Tensor(np.full((1, 64), np.inf, np.float32)), matrix(5))
