"""Embedding: rows by id, sums of their gradients, ids of any integer type, and errors that say where and what."""

from typing import Any

import numpy as np
import pytest

from samebits.autograd import Tensor, gradient_check, gradients
from samebits.core import Stream, embedding_gradient
from samebits.nn.embeddings import Embedding, embedding


def test_gradients_are_those_of_central_differences() -> None:
    gradient_check(lambda w: embedding(np.array([[0, 2], [2, 2]]), w), np.ones((3, 4)))


@pytest.mark.parametrize("shape", [(), (0,), (7,), (2, 3), (2, 0, 3)])
def test_rows_by_id_and_sums_of_their_gradients(shape: tuple[int, ...]) -> None:
    weight = Tensor(Stream(0).normal(size=(5, 3)), requires_grad=True)
    ids = np.asarray(Stream(1).integers(5, size=shape))
    output = embedding(ids, weight)
    assert output.numpy().tobytes() == weight.numpy()[ids].tobytes()
    g = np.asarray(Stream(2).normal(size=(*shape, 3)))
    (found,) = gradients(output, [weight], g)
    assert found.numpy().tobytes() == embedding_gradient(ids, g, 5).tobytes()


def test_changing_the_ids_later_changes_no_gradient() -> None:
    weight, ids = Tensor(np.zeros((3, 1), np.float32), requires_grad=True), np.array([0, 1])
    output = embedding(ids, weight)
    ids[:] = 2
    assert gradients(output, [weight], np.ones((2, 1), np.float32))[0].tolist() == [[1.0], [1.0], [0.0]]


def test_ids_may_be_a_tensor() -> None:
    weight = Tensor([[1.0], [2.0]], requires_grad=True)
    output = embedding(Tensor([1, 1]), weight)
    output.sum().backward()
    assert weight.grad is not None
    assert (output.tolist(), weight.grad.tolist()) == ([[2.0], [2.0]], [[0.0], [2.0]])


@pytest.mark.parametrize("ids", [[[1, 0]], np.array([[1, 0]], np.int32), np.array([[1, 0]], np.uint8), Tensor([[1, 0]])])
def test_integers_of_any_type_are_ids(ids: Any) -> None:
    weight = Tensor([[1.0], [2.0]], requires_grad=True)
    output = embedding(ids, weight)
    assert output.tolist() == [[[2.0], [1.0]]]
    assert gradients(output, [weight], np.ones((1, 2, 1), np.float32))[0].tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 4), "Embedding: entries must be at least 1, got 0"),
        ((4, 0), "Embedding: channels must be at least 1, got 0"),
    ],
)
def test_sizes_are_at_least_1(arguments: Any, message: str) -> None:
    assert Embedding(1, 1, stream=Stream(0)).weight.shape == (1, 1)
    with pytest.raises(ValueError, match=message):
        Embedding(*arguments, stream=Stream(0))


def test_a_layer_without_a_stream_says_how_to_give_one() -> None:
    with pytest.raises(TypeError, match=r"Embedding: stream must be a Stream, got None; write stream=Stream\(0\)"):
        Embedding(2, 2)


def test_the_layer_draws_its_weight_from_a_stream_of_its_own() -> None:
    layer = Embedding(7, 3, stream=Stream(4))
    assert layer.weight.numpy().tobytes() == np.asarray(Stream(4).split("weight").normal(size=(7, 3))).tobytes()
    zeros = Embedding(7, 3, stream=Stream(4), initialize=lambda _, shape: np.zeros(shape, np.float32))
    assert not zeros(np.array([6])).numpy().any()


def test_errors_name_the_argument() -> None:
    weight = Tensor(np.zeros((5, 2), np.float32))
    with pytest.raises(IndexError, match=r"embedding: ids\[1, 0\] must be from 0 to 4, got 5"):
        embedding(np.array([[0, 1], [5, -1]]), weight)
    with pytest.raises(IndexError, match="embedding: ids must be from 0 to 4, got -1"):
        embedding(np.int64(-1), weight)
    with pytest.raises(TypeError, match=r"embedding: ids must be integers, got float64; convert with ids\.astype\(np\.int64\)"):
        embedding([0.0, 1.0], weight)
    with pytest.raises(TypeError, match="embedding: ids must be integers, got bool"):
        embedding(np.array([True]), weight)
    with pytest.raises(ValueError, match=r"embedding: weight must have two axes, entries and channels, got shape \(5,\)"):
        embedding(np.array([0]), Tensor(np.zeros(5, np.float32)))
    with pytest.raises(TypeError, match=r"embedding: weight must be float32, got int64"):
        embedding(np.array([0]), Tensor([[1]]))
