"""Optimizers by name: the usual groups, Muon with AdamW, one interface for steps and states, errors."""

from typing import Any

import numpy as np
import pytest

from samebits.autograd import Tensor
from samebits.core import Stream
from samebits.nn import (
    OPTIMIZERS,
    SGD,
    AdamW,
    CombinedOptimizer,
    Embedding,
    Linear,
    Module,
    Muon,
    Optimizer,
    build_optimizer,
    cross_entropy,
    decay_groups,
    hidden_matrices,
    parameter,
)

pytestmark = pytest.mark.once


class Model(Module):
    """A perceptron over two tokens, with every kind of parameter: embedding, matrices, biases, an output layer."""

    def __init__(self) -> None:
        stream = Stream(3)
        self.embedding = Embedding(11, 6, stream=stream.split("embedding"))
        self.hidden = Linear(12, 8, stream=stream.split("hidden"))
        self.head = Linear(8, 11, stream=stream.split("head"))

    def __call__(self, ids: Any) -> Tensor:
        return self.head(self.hidden(self.embedding(ids).reshape(-1, 12)).tanh())


def train(model: Model, optimizer: Optimizer, steps: range) -> None:
    for step in steps:
        ids = Stream(0).split(step).integers(11, size=(5, 3))
        cross_entropy(model(ids[:, :2]), ids[:, 2]).backward()
        optimizer.step(0.01 / (1 + step))
        optimizer.zero_grad()


def build(name: str, model: Model) -> Optimizer:
    return build_optimizer(name, model.named_parameters(), learning_rate=0.01, weight_decay=0.1)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_restored_run_continues_with_the_same_bits(name: str) -> None:
    whole, first, second = Model(), Model(), Model()
    train(whole, build(name, whole), range(6))

    before = build(name, first)
    train(first, before, range(3))
    after = build(name, second)
    second.load_state_dict(first.state_dict())
    after.load_state_dict(before.state_dict())
    train(second, after, range(3, 6))
    for key, array in whole.state_dict().items():
        assert array.tobytes() == second.state_dict()[key].tobytes(), key
    assert not np.array_equal(whole.head.weight.numpy(), first.head.weight.numpy())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_is_arrays_under_the_names_of_all_parameters(name: str) -> None:
    model = Model()
    state = build(name, model).state_dict()
    assert {key.rpartition(".")[0] for key in state} == {key for key, _ in model.named_parameters()}
    assert all(isinstance(array, np.ndarray) for array in state.values())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_matrices_decay_and_vectors_do_not(name: str) -> None:
    slots = build(name, Model()).slots
    assert {slot.name: slot.options.weight_decay for slot in slots} == {
        "embedding.weight": 0.1,
        "hidden.weight": 0.1,
        "hidden.bias": 0.0,
        "head.weight": 0.1,
        "head.bias": 0.0,
    }


def test_decay_groups_keep_the_order_and_everything() -> None:
    pairs = [
        (name, parameter(np.ones(shape, np.float32))) for name, shape in (("a", 2), ("b", (2, 2)), ("c", ()), ("d", (1, 1, 1)))
    ]
    groups = decay_groups(pairs)
    assert [[name for name, _ in group["parameters"]] for group in groups] == [["b", "d"], ["a", "c"]]


def test_muon_takes_the_matrices_of_hidden_layers_and_adamw_the_rest() -> None:
    optimizer = build("muon", Model())
    assert isinstance(optimizer, CombinedOptimizer)
    assert {slot.name: type(slot.owner) for slot in optimizer.slots} == {
        "hidden.weight": Muon,
        "embedding.weight": AdamW,
        "head.weight": AdamW,
        "hidden.bias": AdamW,
        "head.bias": AdamW,
    }


def test_names_of_matrices_that_are_not_hidden_can_be_given() -> None:
    pairs = [(name, parameter([[1.0]])) for name in ("embedding.weight", "embeddings.weight", "a.head.weight", "b.weight")]
    pairs.append(("b.bias", parameter([1.0])))
    assert [name for name, _ in hidden_matrices(pairs)] == ["embeddings.weight", "b.weight"]
    assert [name for name, _ in hidden_matrices(pairs, {"b"})] == ["embedding.weight", "embeddings.weight", "a.head.weight"]


def test_the_steps_of_muon_with_adamw_are_those_of_both_apart() -> None:
    together, apart = Model(), Model()
    adamw = {"learning_rate": 0.002, "betas": (0.9, 0.95)}
    one = build_optimizer("muon", together.named_parameters(), learning_rate=0.01, weight_decay=0.1, adamw=adamw)
    muon = Muon([("hidden.weight", apart.hidden.weight)], learning_rate=0.01, weight_decay=0.1)
    others = [pair for pair in apart.named_parameters() if pair[0] != "hidden.weight"]
    second = AdamW(decay_groups(others), learning_rate=0.002, betas=(0.9, 0.95), weight_decay=0.1)
    for model, optimizers in ((together, [one]), (apart, [muon, second])):
        for step in range(3):
            ids = Stream(0).split(step).integers(11, size=(5, 3))
            cross_entropy(model(ids[:, :2]), ids[:, 2]).backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
    for key, array in together.state_dict().items():
        assert array.tobytes() == apart.state_dict()[key].tobytes(), key


def test_a_rate_of_a_step_scales_all_rates_in_proportion() -> None:
    x, y = parameter([1.0]), parameter([1.0])
    optimizer = CombinedOptimizer([SGD([("x", x)], learning_rate=0.2), SGD([("y", y)], learning_rate=0.1)])
    for tensor in (x, y):
        tensor.grad = Tensor([1.0])
    optimizer.step(0.4)
    assert [round(tensor.item(), 6) for tensor in (x, y)] == [0.6, 0.8]


def test_muon_for_matrices_alone_is_muon() -> None:
    assert type(build_optimizer("muon", [("w", parameter([[1.0]]))], learning_rate=0.1)) is Muon


def test_the_representation_has_a_line_for_each_group() -> None:
    assert repr(build("muon", Model())).splitlines() == [
        "CombinedOptimizer  269 parameters",
        "├ Muon: 96 parameters: learning_rate=0.01, momentum=0.95, nesterov=True, weight_decay=0.1, iterations=5",
        "├ AdamW: 154 parameters: learning_rate=0.01, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.1",
        "└ AdamW: 19 parameters: learning_rate=0.01, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0",
    ]


def test_unknown_names_and_options_are_refused() -> None:
    pairs = [("w", parameter([[1.0]]))]
    with pytest.raises(ValueError, match="build_optimizer: name must be one of adam, adamw, lion, muon, sgd, got 'AdamW'"):
        build_optimizer("AdamW", pairs, learning_rate=0.1)
    with pytest.raises(TypeError, match="momentum"):
        build_optimizer("adamw", pairs, learning_rate=0.1, momentum=0.9)
    with pytest.raises(TypeError, match="build_optimizer: adamw is an option of 'muon', got it with 'sgd'"):
        build_optimizer("sgd", pairs, learning_rate=0.1, adamw={})
    with pytest.raises(ValueError, match="Muon: parameters must not be empty"):
        build_optimizer("muon", [("b", parameter([1.0]))], learning_rate=0.1)
    with pytest.raises(TypeError, match="build_optimizer: parameters must be tensors or"):
        build_optimizer("sgd", Model(), learning_rate=0.1)  # type: ignore[arg-type]


def test_parameters_of_two_optimizers_must_differ() -> None:
    x = parameter([1.0])
    with pytest.raises(ValueError, match="CombinedOptimizer: parameter 'x' is given twice"):
        CombinedOptimizer([SGD([("x", x)], learning_rate=0.1), AdamW([("x", parameter([1.0]))])])
    with pytest.raises(ValueError, match="CombinedOptimizer: parameter 'y' is given twice"):
        CombinedOptimizer([SGD([("x", x)], learning_rate=0.1), AdamW([("y", x)])])
    with pytest.raises(ValueError, match="CombinedOptimizer: parameters must not be empty"):
        CombinedOptimizer([])
    with pytest.raises(TypeError, match="CombinedOptimizer: optimizers must be a list of optimizers, got SGD"):
        CombinedOptimizer(SGD([x], learning_rate=0.1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="CombinedOptimizer: optimizers must be a list of optimizers, got Tensor in it"):
        CombinedOptimizer([x])  # type: ignore[list-item]
