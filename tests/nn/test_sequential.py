"""`Sequential` and activations as modules: composition, names, streams, errors."""

import copy
from typing import Any

import numpy as np
import pytest

from samebits import nn
from samebits.autograd import Tensor
from samebits.core import Stream
from samebits.nn import GELU, Dropout, Linear, Module, MultiHeadAttention, ReLU, Sequential, Sigmoid, SiLU, Tanh, TransformerBlock

pytestmark = pytest.mark.once

X = Tensor(np.asarray(Stream(0).normal(size=(3, 4))))


def make() -> Sequential:
    stream = Stream(1)
    return Sequential(Linear(4, 5, stream=stream.split("a")), ReLU(), Linear(5, 2, stream=stream.split("b")))


def test_modules_are_called_one_after_the_other() -> None:
    model = make()
    assert model(X).numpy().tobytes() == model[2](nn.relu(model[0](X))).numpy().tobytes()


def test_parameters_are_named_by_position() -> None:
    model = make()
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert [name for name, _ in model.named_children()] == ["0", "1", "2"]
    model.load_state_dict(model.state_dict())


def test_a_sequential_is_a_sequence() -> None:
    model = make().eval()
    assert len(model) == 3 and model[-1] is model[2] and list(model) == [model[0], model[1], model[2]]
    with pytest.raises(IndexError):
        model[3]
    twelve = Sequential(*[ReLU() for _ in range(12)])
    assert [name for name, _ in twelve.named_children()] == [str(i) for i in range(12)]
    assert list(twelve) == [twelve[i] for i in range(12)]


def test_one_module_may_occur_twice() -> None:
    layer = Linear(4, 4, stream=Stream(0))
    model = Sequential(layer, layer)
    assert model(X).numpy().tobytes() == layer(layer(X)).numpy().tobytes()
    assert list(model.state_dict()) == ["0.weight", "0.bias"] and len(list(model.children())) == 1


def test_modules_that_draw_get_a_stream_of_their_position() -> None:
    model = Sequential(Dropout(0.5), Sequential(ReLU(), Dropout(0.3)))
    stream = Stream(7)
    inner = stream.split("1").split("1")
    expected = nn.dropout(nn.relu(nn.dropout(X, 0.5, stream.split("0"))), 0.3, inner)
    assert model(X, stream=stream).numpy().tobytes() == expected.numpy().tobytes()
    with pytest.raises(ValueError, match="Dropout: stream must be a Stream in training, got None"):
        model(X)
    assert model.eval()(X).numpy().tobytes() == nn.relu(X).numpy().tobytes()


def test_attention_and_blocks_draw_too() -> None:
    x = Tensor(np.asarray(Stream(0).normal(size=(1, 5, 8))))
    block = TransformerBlock.gpt2(8, 2, dropout=0.2, stream=Stream(1))
    attention = MultiHeadAttention(8, 2, dropout=0.2, stream=Stream(2))
    stream = Stream(3)
    expected = attention(block(x, stream=stream.split("0")), stream=stream.split("1"))
    assert Sequential(block, attention)(x, stream=stream).numpy().tobytes() == expected.numpy().tobytes()


def test_a_copy_is_independent() -> None:
    model = make()
    other = copy.deepcopy(model)
    with other[0].weight.edit() as array:  # type: ignore[attr-defined]
        array[...] = 0
    assert not np.array_equal(other(X).numpy(), model(X).numpy())


@pytest.mark.parametrize("wrong", [nn.relu, ReLU, [ReLU()], None])
def test_only_modules_are_taken(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"Sequential: module 1 must be a Module, such as ReLU\(\), got"):
        Sequential(ReLU(), wrong)


def test_an_empty_sequential_is_refused() -> None:
    with pytest.raises(ValueError, match="Sequential: at least one module is required"):
        Sequential()


@pytest.mark.parametrize(
    ("module", "function"),
    [(ReLU(), nn.relu), (SiLU(), nn.silu), (Sigmoid(), nn.sigmoid), (Tanh(), nn.tanh), (GELU(), nn.gelu)],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_an_activation_is_its_function(module: Module, function: Any) -> None:
    assert module(X).numpy().tobytes() == function(X).numpy().tobytes()
    assert not list(module.named_tensors())


def test_gelu_has_its_tanh_form() -> None:
    assert GELU("tanh")(X).numpy().tobytes() == nn.gelu(X, "tanh").numpy().tobytes()
    with pytest.raises(ValueError, match="GELU: approximate must be 'none' or 'tanh', got 'erf'"):
        GELU("erf")  # type: ignore[arg-type]
