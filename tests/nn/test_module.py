"""`Module`: parts by name and in order, training and evaluation, saved and restored state, the tree as text."""

import copy

import numpy as np
import pytest

from samebits.autograd import Tensor
from samebits.nn import Module, parameter


class Linear(Module):
    def __init__(self, inputs, outputs):
        self.weight = parameter(np.arange(outputs * inputs, dtype=np.float32).reshape(outputs, inputs))
        self.bias = parameter(np.zeros(outputs, np.float32))


class Model(Module):
    """Every way to hold a part: an attribute, a list, a tuple in a dict, a tensor that is a buffer, a tied weight."""

    def __init__(self):
        self.rate, self.name, self.nothing = 0.5, "m", None
        self.embedding = Linear(2, 5)
        self.blocks = [Linear(2, 2), Linear(2, 2)]
        self.scale = parameter(1.0)
        self.heads = {"left": (Linear(2, 1),)}
        self.table = Tensor([1.0, 2.0])
        self.tied = self.embedding.weight


NAMES = [
    "embedding.weight",
    "embedding.bias",
    "blocks.0.weight",
    "blocks.0.bias",
    "blocks.1.weight",
    "blocks.1.bias",
    "scale",
    "heads.left.0.weight",
    "heads.left.0.bias",
    "table",
]


def test_tensors_are_found_in_the_order_of_the_attributes_each_once():
    model = Model()
    assert [name for name, _ in model.named_tensors()] == NAMES
    assert [name for name, _ in model.named_parameters()] == NAMES[:-1]
    assert [tensor is model.blocks[1].bias for tensor in model.parameters()].index(True) == 5
    assert model.parameter_count() == 10 + 5 + 2 * 6 + 1 + 3


def test_modules_are_found_with_their_paths():
    names = [name for name, _ in Model().named_modules()]
    assert names == ["", "embedding", "blocks.0", "blocks.1", "heads.left.0"]


def test_children_are_the_modules_directly_below_each_once():
    model = Model()
    model.blocks[0].inner = Linear(1, 1)
    model.again = model.embedding
    names = [name for name, _ in model.named_children()]
    assert names == ["embedding", "blocks.0", "blocks.1", "heads.left.0"]
    assert list(model.children()) == [model.embedding, *model.blocks, model.heads["left"][0]]
    assert [type(module).__name__ for module in model.modules()] == ["Model"] + ["Linear"] * 5
    assert list(model.modules())[3] is model.blocks[0].inner


def test_a_module_that_holds_its_parent_is_walked_once():
    model = Model()
    model.blocks[0].parent = model
    assert [name for name, _ in model.named_tensors()] == NAMES
    assert "├ blocks.0: Linear: weight (2, 2), bias (2)\n│ └ parent: Model, as above\n" in repr(model)


def test_a_frozen_parameter_is_a_buffer():
    model = Model()
    model.scale.requires_grad = False
    assert "scale" not in dict(model.named_parameters())
    assert "scale" in model.state_dict()


def test_a_computed_tensor_cannot_be_a_part():
    model = Model()
    model.blocks[0].weight = parameter([1.0]) * 2
    with pytest.raises(ValueError, match=r"blocks\.0\.weight must be made with parameter\(\)"):
        list(model.parameters())


def test_train_and_eval_reach_every_module():
    model = Model()
    assert model.training and model.heads["left"][0].training
    assert model.eval() is model
    assert not any(module.training for _, module in model.named_modules())
    assert model.train().blocks[1].training


def test_zero_grad_sets_all_gradients_to_none():
    model = Model()
    (model.scale * model.scale).backward()
    assert model.scale.grad is not None
    model.zero_grad()
    assert model.scale.grad is None


def test_a_state_comes_back_bit_for_bit_in_place():
    model = Model()
    state = model.state_dict()
    assert list(state) == NAMES
    weight = model.embedding.weight
    for tensor in model.parameters():
        with tensor.edit() as array:
            array[...] = 1.5
    assert state["scale"] == 1  # a copy
    model.load_state_dict(state)
    assert model.embedding.weight is weight
    assert all(np.array_equal(array, state[name]) for name, array in model.state_dict().items())


def test_a_wrong_state_is_refused_with_all_that_is_wrong_and_changes_nothing():
    model = Model()
    state = {name: array + np.float32(1) for name, array in model.state_dict().items()}
    del state["scale"]
    state |= {"extra": np.zeros(2), "table": np.zeros(3, np.float32), "blocks.0.bias": np.zeros(2)}
    with pytest.raises(ValueError, match="does not fit this Model") as caught:
        model.load_state_dict(state)
    assert str(caught.value).split("\n  ")[1:] == [
        "scale is missing",
        "extra is unexpected",
        "blocks.0.bias must be float32 (2,), got float64 (2,)",
        "table must be float32 (2,), got float32 (3,)",
    ]
    assert model.embedding.bias.tolist() == [0] * 5


def test_without_strict_what_is_there_is_loaded_and_shapes_must_still_fit():
    model = Model()
    model.load_state_dict({"scale": np.float32(7), "extra": np.zeros(2)}, strict=False)
    assert model.scale.item() == 7
    with pytest.raises(ValueError, match="scale must be float32"):
        model.load_state_dict({"scale": np.zeros(1, np.float32)}, strict=False)


def test_a_copy_is_independent_and_keeps_ties():
    model = Model()
    other = copy.deepcopy(model)
    with other.tied.edit() as array:
        array[...] = 9
    assert other.embedding.weight.numpy().max() == 9
    assert model.embedding.weight.numpy().max() < 10 and model.embedding.weight.numpy()[0, 0] == 0
    assert [name for name, _ in other.named_parameters()] == NAMES[:-1]


def test_the_tree_as_text():
    assert repr(Model()) == (
        "Model  31 parameters: rate=0.5, name='m', scale (), table (2) buffer, tied (5, 2)\n"
        "├ embedding: Linear: weight (5, 2), bias (5)\n"
        "├ blocks.0: Linear: weight (2, 2), bias (2)\n"
        "├ blocks.1: Linear: weight (2, 2), bias (2)\n"
        "└ heads.left.0: Linear: weight (1, 2), bias (1)"
    )
    assert repr(Module()) == "Module  0 parameters"


def test_branches_of_branches_are_drawn():
    model = Model()
    model.embedding.inner = Linear(1, 1)
    assert "├ embedding: Linear: weight (5, 2), bias (5)\n│ └ inner: Linear: weight (1, 1), bias (1)\n├" in repr(model)


def test_a_state_may_be_the_parameters_of_another_module():
    one, other = Linear(2, 3), Linear(2, 3)
    other.load_state_dict({name: array + 7 for name, array in other.state_dict().items()})
    one.load_state_dict(dict(other.named_parameters()))
    assert one.weight.numpy().tobytes() == other.weight.numpy().tobytes()
    assert one.weight.requires_grad
