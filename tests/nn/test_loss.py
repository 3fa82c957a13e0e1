"""Losses: the mean over counted targets, gradients, errors, and the same bits in blocks of any size."""

import math
from typing import Any

import numpy as np
import pytest

from samebits.autograd import Tensor, gradient_check, gradients
from samebits.core import Stream, blocks, numerics
from samebits.nn.loss import cross_entropy, mean_squared_error

Array = np.ndarray[Any, Any]


def normal(*shape: int, name: str = "x", scale: float = 1.0) -> Array:
    return np.asarray(Stream(0).split(name).normal(shape, std=scale))


def ids(*shape: int, vocabulary: int) -> Array:
    found = Stream(0).split("ids").integers(vocabulary, size=shape)
    found.reshape(-1)[::5] = -100
    return found


def naive(logits: Array, targets: Array) -> float:
    """The definition, in Python's floats, about the maximum of each row."""
    terms = []
    for row, target in zip(logits.reshape(-1, logits.shape[-1]).tolist(), targets.reshape(-1).tolist(), strict=True):
        if target != -100:
            top = max(row)
            terms.append(math.log(math.fsum(math.exp(x - top) for x in row)) + top - row[target])
    return math.fsum(terms) / len(terms)


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_cross_entropy_is_the_mean_over_counted_targets_to_0_6_ulp(scale: float) -> None:
    for shape in ((7, 9), (2, 50, 81), (3, 1000)):
        logits, targets = normal(*shape, scale=scale), ids(*shape[:-1], vocabulary=shape[-1])
        right = naive(logits, targets)
        assert abs(cross_entropy(Tensor(logits), targets).item() - right) <= 0.6 * np.spacing(np.float32(right))


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_gradients_are_those_of_central_differences(scale: float) -> None:
    gradient_check(lambda x: cross_entropy(x, ids(2, 3, vocabulary=5)), normal(2, 3, 5, scale=scale))
    gradient_check(lambda x: cross_entropy(x, np.array([1, 7]), 7), normal(2, 4))
    gradient_check(mean_squared_error, normal(3, 4), normal(3, 4, name="y"))


def test_the_gradient_is_softmax_less_onehot_to_0_6_ulp() -> None:
    logits, targets = normal(20, 30, scale=3), ids(20, vocabulary=30)
    x = Tensor(logits, requires_grad=True)
    cross_entropy(x, targets).backward()
    powers = np.exp(logits.astype(np.float64))
    right = powers / powers.sum(-1, keepdims=True)
    right[np.arange(20), np.where(targets < 0, 0, targets)] -= 1
    right[targets < 0] = 0
    right /= np.count_nonzero(targets >= 0)
    assert x.grad is not None
    found = x.grad.numpy().astype(np.float64)
    # a difference from 1 keeps the float64 error of 1e-16, so what is below 1e-7 is compared with that
    assert (np.abs(found - right) / np.spacing(np.maximum(np.abs(right), 1e-7).astype(np.float32))).max() <= 0.6
    assert not found[targets < 0].any()


def bits(logits: Array, targets: Array) -> list[bytes]:
    x = Tensor(logits, requires_grad=True)
    output = cross_entropy(x, targets)
    return [output.numpy().tobytes(), gradients(output, [x])[0].numpy().tobytes()]


def test_blocks_and_memory_layout_cannot_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, targets = normal(50, 81, scale=20), ids(50, vocabulary=81)  # some rows are taken about their maximum, some are not
    x, y = normal(3000), normal(3000, name="y")
    expected, error = bits(logits, targets), mean_squared_error(Tensor(x), Tensor(y)).numpy().tobytes()
    for block in (10, 1000, 10**6):
        monkeypatch.setattr(blocks, "CACHE_BYTES", block)
        assert bits(logits, targets) == expected
        assert mean_squared_error(Tensor(x), Tensor(y)).numpy().tobytes() == error
    assert bits(np.asfortranarray(logits), targets) == expected


def test_a_second_pass_over_a_retained_graph_finds_the_same() -> None:
    x = Tensor(normal(4, 5), requires_grad=True)
    loss = cross_entropy(x, ids(4, vocabulary=5))
    first, second = [gradients(loss, [x], retain_graph=True)[0].numpy().tobytes() for _ in range(2)]
    assert first == second


def test_changing_the_targets_later_changes_no_gradient() -> None:
    x, targets = Tensor(normal(4, 5), requires_grad=True), np.array([0, 1, 2, 3])
    loss = cross_entropy(x, targets)
    expected = gradients(loss, [x], retain_graph=True)[0].tolist()
    targets[:] = 4
    assert gradients(loss, [x])[0].tolist() == expected


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_large_logits_lose_no_accuracy(mode: Any) -> None:
    with numerics(mode):
        logits = Tensor(np.array([[1000, 1000], [-1000, -1000], [0, -np.inf], [3e38, -3e38]], np.float32), requires_grad=True)
        loss = cross_entropy(logits, np.array([0, 1, 0, 0]))
        loss.backward()
    assert loss.item() == pytest.approx(math.log(2) / 2)
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad.numpy(), np.array([[-1, 1], [1, -1], [0, 0], [0, 0]]) / 8, atol=1e-7)


def test_ignored_positions_may_have_any_logits() -> None:
    logits = Tensor(np.array([[np.nan, np.inf], [0, 0]], np.float32), requires_grad=True)
    loss = cross_entropy(logits, np.array([-100, 0]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0, 0], [-0.5, 0.5]]


def test_mean_squared_error_to_0_6_ulp() -> None:
    for shape in ((), (1,), (1000,), (30, 50)):
        x, y = normal(*shape), normal(*shape, name="y")
        differences = [a - b for a, b in zip(np.ravel(x).tolist(), np.ravel(y).tolist(), strict=True)]
        right = math.fsum(d * d for d in differences) / len(differences)
        assert abs(mean_squared_error(Tensor(x), Tensor(y)).item() - right) <= 0.6 * np.spacing(np.float32(right))


def test_errors_name_the_argument() -> None:
    x = Tensor(normal(2, 3, 4))
    with pytest.raises(IndexError, match=r"cross_entropy: targets\[1, 2\] must be from 0 to 3, or -100, got 4"):
        cross_entropy(x, np.array([[0, 1, 2], [3, 0, 4]]))
    with pytest.raises(IndexError, match=r"targets\[0, 0\] must be from 0 to 3, or -100, got -1"):
        cross_entropy(x, np.full((2, 3), -1))
    with pytest.raises(ValueError, match=r"targets must have the shape of logits without the last axis, \(2, 3\), got \(2,\)"):
        cross_entropy(x, np.array([0, 1]))
    with pytest.raises(ValueError, match="at least one target must count, got 6 that do not"):
        cross_entropy(x, np.full((2, 3), -100))
    with pytest.raises(TypeError, match="cross_entropy: targets must be integers, got float32"):
        cross_entropy(x, np.zeros((2, 3), np.float32))
    with pytest.raises(TypeError, match=r"logits must be float32, got int64"):
        cross_entropy(Tensor([[1, 2]]), np.array([0]))
    with pytest.raises(ValueError, match=r"prediction and target must have one shape, not empty, got \(2,\) and \(3,\)"):
        mean_squared_error(Tensor([1.0, 2.0]), Tensor([1.0, 2.0, 3.0]))
    for bad in (np.nan, np.inf):
        with pytest.raises(FloatingPointError, match=rf"row \[1\] of logits must have a finite maximum, got {bad}"):
            cross_entropy(Tensor(np.array([[0, 0], [0, bad]], np.float32)), np.array([0, 0]))


@pytest.mark.parametrize("convert", [list, lambda x: x.astype(np.int32), lambda x: x.astype(np.int8), Tensor])
def test_integers_of_any_type_are_targets(convert: Any) -> None:
    logits, targets = Tensor(normal(5, 7), requires_grad=True), np.array([0, 6, -100, 3, 3])
    expected = cross_entropy(logits, targets)
    found = cross_entropy(logits, convert(targets))
    assert found.numpy().tobytes() == expected.numpy().tobytes()
    (a,), (b,) = gradients(expected, [logits]), gradients(found, [logits])
    assert a.numpy().tobytes() == b.numpy().tobytes()


def test_the_gradient_of_a_certain_target_is_a_positive_zero() -> None:
    logits = Tensor([[1000.0, 0.0], [0.0, 1000.0]], requires_grad=True)
    cross_entropy(logits, [0, 1]).backward()
    assert logits.grad is not None
    assert logits.grad.numpy().tobytes() == np.zeros((2, 2), np.float32).tobytes()


@pytest.mark.parametrize(
    ("row", "loss"), [([36.0, 0.0], 2.3195228302435696e-16), ([50.0, 0.0], 1.928749847963918e-22), ([0.0, 50.0], 50.0)]
)
def test_confident_rows_keep_their_digits(row, loss):
    logits = Tensor([row], requires_grad=True)
    found = cross_entropy(logits, [0])
    assert found.item() == pytest.approx(loss, rel=1e-7)
    found.backward()
    rest = loss if row[0] else 1.0
    np.testing.assert_allclose(logits.grad.numpy(), [[-rest, rest]], rtol=1e-7)
    assert np.signbit(logits.grad.numpy()).tolist() == [[True, False]]
