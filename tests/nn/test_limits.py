"""Both sides of every documented limit, and what holds at the limits. Those of constructors are in `test_constructors`."""

import math
from typing import Any

import numpy as np
import pytest
from tests.limits import Limit, check_both_sides

from samebits import nn
from samebits.autograd import Tensor
from samebits.core import Stream
from samebits.nn import initializer, schedule
from samebits.nn.cache import KeyValueCache
from samebits.nn.clipping import clip_gradient_norm
from samebits.nn.embeddings import embedding
from samebits.nn.loss import cross_entropy
from samebits.nn.normalization import batch_norm, layer_norm, rms_norm
from samebits.nn.positions import LearnedPositions, Rotary, SinusoidalPositions
from samebits.nn.regularization import dropout
from samebits.nn.scaled_dot_product import MOST_KEYS, attention, check_shapes

pytestmark = pytest.mark.once

TINY, BELOW_1, ABOVE_1 = math.nextafter(0.0, 1.0), math.nextafter(1.0, 0.0), math.nextafter(1.0, 2.0)
X = Tensor(np.arange(6, dtype=np.float32).reshape(2, 3) + 1)
HEADS = Tensor(np.ones((1, 2, 3, 4), np.float32))
TOKENS = Tensor(np.zeros((2, 3, 4), np.float32))


def optimized(make: Any, **options: Any) -> None:
    x = nn.parameter([[1.0, 2.0], [3.0, 4.0]])
    optimizer = make([x], **options)
    (x * x).sum().backward()
    optimizer.step()
    assert np.isfinite(x.data).all()


def stepped(rate: float) -> None:
    x = nn.parameter([1.0])
    optimizer = nn.SGD([x], learning_rate=0.5)
    (x * x).sum().backward()
    optimizer.step(rate)


def drawn(make: Any) -> Any:
    return make(Stream(0), (2, 3))


def clipped(limit: float) -> float:
    x = nn.parameter([3.0, 4.0])
    (x * x).sum().backward()
    return clip_gradient_norm([x], limit)


def appended(time: int = 1, counts: Any = None) -> None:
    cache = KeyValueCache(1, 1, 4, 2)
    new = np.ones((1, 1, time, 2), np.float32)
    cache.append(new, new, counts)


LIMITS: dict[str, Limit] = {
    "dropout: p": (lambda v: dropout(X, v, Stream(0)), [0, TINY, BELOW_1], [-TINY, 1, math.nan]),
    "attention: dropout": (lambda v: attention(HEADS, HEADS, HEADS, dropout=v, stream=Stream(0)), [0, 0.5], [-TINY, 1.0]),
    "attention: offset": (lambda v: attention(HEADS, HEADS, HEADS, causal=True, offset=v), [0, 2], [-1, 3]),
    "attention: k must have at most": (
        lambda v: check_shapes((1, 1, 1, 1), (1, 1, v, 1), (1, 1, v, 1)),
        [MOST_KEYS],
        [MOST_KEYS + 1],
    ),
    "attention: k must have at least one": (lambda v: check_shapes((1, 1, v, 1), (1, 1, 0, 1), (1, 1, 0, 1)), [0], [1]),
    "SGD: momentum": (lambda v: optimized(nn.SGD, learning_rate=0.1, momentum=v), [0, BELOW_1], [-TINY, 1.0]),
    "SGD: learning_rate": (lambda v: optimized(nn.SGD, learning_rate=v), [TINY, 1e30], [0.0, -TINY, math.inf]),
    "SGD: weight_decay": (lambda v: optimized(nn.SGD, learning_rate=0.1, weight_decay=v), [0, 1.0], [-TINY, math.inf]),
    r"AdamW: betas\[0\]": (lambda v: optimized(nn.AdamW, betas=(v, 0.9)), [0, BELOW_1], [-TINY, 1.0]),
    r"AdamW: betas\[1\]": (lambda v: optimized(nn.AdamW, betas=(0.9, v)), [0, BELOW_1], [-TINY, 1.0]),
    "AdamW: eps": (lambda v: optimized(nn.AdamW, eps=v), [0, 1.0], [-TINY, math.inf]),
    r"Lion: betas\[0\]": (lambda v: optimized(nn.Lion, betas=(v, 0.9)), [0, BELOW_1], [-TINY, 1.0]),
    "Muon: momentum": (lambda v: optimized(nn.Muon, momentum=v), [0, BELOW_1], [-TINY, 1.0]),
    "Muon: iterations": (lambda v: optimized(nn.Muon, iterations=v), [1, 5], [0]),
    "SGD.step: learning_rate": (stepped, [0, 1.0], [-TINY, math.inf, math.nan]),
    "clip_gradient_norm: limit": (clipped, [TINY, 1e30], [0.0, math.inf, math.nan]),
    "layer_norm: eps": (lambda v: layer_norm(X, eps=v), [0, 1.0], [-TINY, math.inf]),
    "rms_norm: eps": (lambda v: rms_norm(X, eps=v), [0, 1.0], [-TINY, math.inf]),
    "batch_norm: momentum": (lambda v: batch_norm(X, momentum=v), [0, 1], [-TINY, ABOVE_1]),
    "batch_norm: x": (lambda v: batch_norm(X[:v]), [2], [1]),
    "embedding: ids": (lambda v: embedding([v], X), [0, 1], [-1, 2]),
    "cross_entropy: targets": (lambda v: cross_entropy(X, [0, v]), [0, 2, -100], [-1, 3]),
    "LearnedPositions: positions": (
        lambda v: LearnedPositions(5, 4, stream=Stream(0))(TOKENS, v),
        [0, 2, [0, 2]],
        [3, [0, 3]],
    ),
    "LearnedPositions: offset": (lambda v: LearnedPositions(5, 4, stream=Stream(0))(TOKENS, v), [0], [-1, [0, -1]]),
    "SinusoidalPositions: offset": (lambda v: SinusoidalPositions(4)(TOKENS, v), [0, 1000], [-1, [0, -1], [0, 0, 0]]),
    "Rotary: offset": (lambda v: Rotary(4)(HEADS, v), [0, [7]], [-1, [0, 0]]),
    "Rotary: base": (lambda v: Rotary(4, base=v), [ABOVE_1, 1e30], [1.0, 0.0, math.inf]),
    "Rotary: channels": (Rotary, [2, 4], [0, 1, 3]),
    "KeyValueCache: capacity": (appended, [1, 4], [5]),
    "KeyValueCache: counts": (lambda v: appended(2, [v]), [1, 2], [-1, 3, 0]),
    "constant: step": (lambda v: schedule.constant(v, peak=1.0), [0, 2**62], [-1]),
    "constant: peak": (lambda v: schedule.constant(0, peak=v), [0, 1e300], [-TINY, math.inf]),
    "linear_warmup: warmup": (lambda v: schedule.linear_warmup(0, peak=1.0, warmup=v), [0, 1], [-1]),
    "cosine: steps": (lambda v: schedule.cosine(0, peak=1.0, steps=v, warmup=5), [5], [4]),
    "cosine: final": (lambda v: schedule.cosine(0, peak=1.0, steps=5, final=v), [0, 1.0], [-TINY]),
    "warmup_stable_decay: steps": (lambda v: schedule.warmup_stable_decay(0, peak=1.0, steps=v, warmup=3, decay=2), [5], [4]),
    "normal: std": (lambda v: drawn(initializer.normal(std=v)), [0, 1.0], [-TINY, math.inf]),
    "truncated_normal: std": (lambda v: drawn(initializer.truncated_normal(std=v)), [1e-3, 1.0], [0, -1.0]),
    "truncated_normal: cut": (lambda v: drawn(initializer.truncated_normal(cut=v)), [0.5, 2.0], [0, -1.0]),
    "uniform: high": (lambda v: drawn(initializer.uniform(0.0, v)), [1e-30, 1.0], [0.0, -1.0]),
    "xavier_uniform: gain": (lambda v: drawn(initializer.xavier_uniform(v)), [1e-30, 1.0], [0.0]),
    "xavier_normal: gain": (lambda v: drawn(initializer.xavier_normal(v)), [1e-30, 1.0], [0.0]),
    "kaiming_uniform: gain": (lambda v: drawn(initializer.kaiming_uniform(v)), [1e-30, 1.0], [0.0]),
    "kaiming_normal: gain": (lambda v: drawn(initializer.kaiming_normal(v)), [1e-30, 1.0], [0.0]),
    "scaled_residual: layers": (lambda v: drawn(initializer.scaled_residual(v)), [1, 2], [0]),
}


@pytest.mark.parametrize("name", LIMITS)
def test_the_inside_of_a_limit_is_accepted_and_the_outside_is_refused_by_name(name: str) -> None:
    check_both_sides(LIMITS[name], name)


def test_dropout_of_0_keeps_every_element_and_of_nearly_1_none() -> None:
    assert dropout(X, 0, Stream(0)).tolist() == X.tolist()
    assert not dropout(X, BELOW_1, Stream(0)).numpy().any()


def test_the_momentum_of_batch_norm_is_the_share_of_the_batch() -> None:
    means, variances = X.numpy().mean(axis=0), X.numpy().var(axis=0, ddof=1)
    for momentum, expected in ((0, ([0, 0, 0], [1, 1, 1])), (1, (means, variances))):
        mean, variance = Tensor(np.zeros(3, np.float32)), Tensor(np.ones(3, np.float32))
        batch_norm(X, running_mean=mean, running_var=variance, momentum=momentum)
        assert mean.tolist() == list(expected[0]) and variance.tolist() == list(expected[1])


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 3)])
def test_a_linear_layer_may_have_one_input_or_one_output(shape: tuple[int, int]) -> None:
    layer = nn.Linear(*shape, bias=False, stream=Stream(0))
    x = Tensor(np.arange(2 * shape[0], dtype=np.float32).reshape(2, shape[0]), requires_grad=True)
    y = layer(x)
    assert y.shape == (2, shape[1])
    expected = x.numpy().astype(np.float64) @ layer.weight.numpy().astype(np.float64).T
    assert np.abs(y.numpy() - expected).max() < 1e-6
    y.sum().backward()
    assert x.grad is not None and layer.weight.grad is not None
    assert np.abs(x.grad.numpy() - layer.weight.numpy().sum(axis=0)).max() < 1e-6
    assert layer.weight.grad.tolist() == [x.numpy().sum(axis=0).tolist()] * shape[1]


def test_one_class_has_no_loss_and_no_gradient() -> None:
    logits = Tensor([[2.0], [-3.0]], requires_grad=True)
    loss = cross_entropy(logits, [0, 0])
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and logits.grad.tolist() == [[0.0], [0.0]]
