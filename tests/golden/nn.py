"""Golden cases of samebits.nn: values and all gradients of every layer and kernel, generation token by token, initializers,
schedules, and 20 training steps of a small perceptron with every optimizer.

Run as a script, it prints each case's digest as JSON: so the tests run it again under other CPU levels, BLAS kernels and
thread counts. `nox -s update-digests` writes nn.json from it, on purpose only.
"""

import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits import nn
from samebits.autograd import Tensor, gradients, no_grad, tanh
from samebits.core import Stream, digest, numerics
from samebits.nn import (
    MLP,
    SGD,
    Adam,
    AdamW,
    LearnedPositions,
    Linear,
    Lion,
    Module,
    Muon,
    Optimizer,
    Rotary,
    SinusoidalPositions,
    SwiGLU,
    TransformerBlock,
    attention,
    clip_gradient_norm,
    cross_entropy,
    initializer,
    linear,
    schedule,
)
from samebits.nn.positions import llama3_factors

Array = npt.NDArray[Any]
Case = tuple[str, Callable[[], Array]]


def normal(*shape: int, name: str = "normal", scale: float = 1.0) -> Array:
    return np.asarray(Stream(0).split(name).normal(shape, std=scale))


def together(function: Callable[..., Tensor], *arrays: Array, parameters: Any = ()) -> Callable[[], Array]:
    """The value, and the gradients of all arrays and parameters for a fixed gradient of the value, in one row."""

    def run() -> Array:
        inputs = [Tensor(array, requires_grad=True) for array in arrays]
        output = function(*inputs)
        g = normal(*output.shape, name="gradient") if output.ndim else None
        found = gradients(output, [*inputs, *parameters], g)
        return np.concatenate([np.asarray(x.data).reshape(-1) for x in (output, *found)])

    return run


def activations() -> Iterator[Case]:
    x = np.concatenate(
        [normal(70, 90, scale=3).reshape(-1), np.arange(-700, 700, dtype=np.int64).astype(np.float32) / np.float32(46)]
    )
    for name in ("relu", "gelu", "silu", "glu"):
        yield name, together(getattr(nn, name), x)
    yield "gelu, tanh", together(lambda x: nn.gelu(x, "tanh"), x)
    yield "swiglu", together(nn.swiglu, x, x[::-1].copy())


def normalizations() -> Iterator[Case]:
    for shape in ((3, 50, 96), (301, 7)):
        weight, bias = normal(shape[-1], name="weight"), normal(shape[-1], name="bias")
        yield f"layer_norm {shape}", together(nn.layer_norm, normal(*shape) + np.float32(3), weight, bias)
        yield f"rms_norm {shape}", together(nn.rms_norm, normal(*shape), weight)
        yield f"batch_norm {shape}", together(nn.batch_norm, normal(*shape), weight, bias)

    def running() -> Array:
        layer = nn.BatchNorm(6)
        for step in range(3):
            layer(Tensor(normal(40, 6, name=str(step))))
        used = layer.eval()(Tensor(normal(2, 6)))
        return np.concatenate([layer.running_mean.numpy(), layer.running_var.numpy(), used.numpy().reshape(-1)])

    yield "batch_norm, running values", running


def losses() -> Iterator[Case]:
    for shape, scale in (((4, 30, 81), 3.0), ((9, 1000), 60.0)):
        targets = Stream(0).split("targets").integers(shape[-1], size=shape[:-1])
        targets[..., ::5] = -100
        yield (
            f"cross_entropy {shape}",
            together(lambda x, t=targets: nn.cross_entropy(x, t), normal(*shape, scale=scale)),
        )
    yield "mean_squared_error", together(nn.mean_squared_error, normal(1234), normal(1234, name="target"))


def embedding_and_dropout() -> Iterator[Case]:
    ids = Stream(0).split("ids").integers(50, size=(40, 30))
    yield "embedding", together(lambda w: nn.embedding(ids, w), normal(50, 16))
    yield "dropout", together(lambda x: nn.dropout(x, 0.1, Stream(0).split("dropout")), normal(70, 90))


def token_by_token(block: TransformerBlock, x: Array) -> Callable[[], Array]:
    """A prompt of 30 tokens and single steps after it, through a cache."""

    def run() -> Array:
        with no_grad():
            cache = block.cache(len(x), x.shape[1])
            cuts = [0, 30, *range(31, x.shape[1] + 1)]
            pieces = [block(Tensor(x[:, i:j]), cache) for i, j in pairwise(cuts)]
        return np.concatenate([piece.numpy() for piece in pieces], axis=1)

    return run


def all_at_once(block: TransformerBlock, x: Array) -> Callable[[], Array]:
    return lambda: block(Tensor(x)).numpy().copy()


def in_int16(make: Callable[[], Array]) -> Callable[[], Array]:
    def run() -> Array:
        with numerics("int16"):
            return make()

    return run


def attention_and_blocks() -> Iterator[Case]:
    yield "linear", together(linear, normal(3, 40, 33), normal(50, 33, name="w"), normal(50, name="b"))
    for q, k, causal in (
        ((2, 4, 100, 16), (2, 4, 100, 16), True),
        ((2, 6, 40, 24), (2, 2, 90, 24), True),
        ((3, 2, 33, 8), (3, 1, 50, 8), False),
    ):
        arrays = normal(*q, name="q"), normal(*k, name="k"), normal(*k, name="v")

        def attend(q: Tensor, k: Tensor, v: Tensor, causal: bool = causal) -> Tensor:
            return attention(q, k, v, causal)

        def dropped(q: Tensor, k: Tensor, v: Tensor, causal: bool = causal) -> Tensor:
            return attention(q, k, v, causal, dropout=0.1, stream=Stream(2))

        name = f"attention: {q} to {k}{'' if causal else ', all keys'}"
        yield name, together(attend, *arrays)
        yield f"{name}, dropout", together(dropped, *arrays)
    yield "attention, int16", in_int16(together(attention, *[normal(2, 4, 300, 16, name=name) for name in "qkv"]))
    x, block = normal(2, 50, 48), TransformerBlock.llama(48, 6, key_value_heads=2, stream=Stream(1))
    yield "block, int16", in_int16(together(block, x, parameters=list(block.parameters())))
    yield "block, int16, token by token", in_int16(token_by_token(block, x))
    yield "rotary", together(Rotary(16), normal(2, 3, 200, 16))
    yield "rotary at places", together(lambda x: Rotary(16)(x, np.array([5, 700])), normal(2, 3, 20, 16))
    factors = llama3_factors(16, 500.0, factor=8.0, low=1.0, high=4.0, context=100)
    yield "rotary, scaled as in Llama 3", together(Rotary(16, base=500.0, factors=factors), normal(2, 3, 200, 16))
    yield "sinusoidal positions", together(SinusoidalPositions(16), normal(2, 300, 16))
    learned = LearnedPositions(50, 16, stream=Stream(1))
    yield "learned positions", together(learned, normal(2, 30, 16), parameters=list(learned.parameters()))
    for layer in (MLP(24, 40, stream=Stream(1)), SwiGLU(24, 40, stream=Stream(1))):
        yield type(layer).__name__, together(layer, normal(2, 30, 24), parameters=list(layer.parameters()))
    for name, block in (
        ("gpt2", TransformerBlock.gpt2(48, 6, stream=Stream(1))),
        ("llama", TransformerBlock.llama(48, 6, key_value_heads=2, stream=Stream(1))),
        ("qwen 2", TransformerBlock.llama(48, 6, key_value_heads=2, qkv_bias=True, stream=Stream(1))),
        ("qwen 3", TransformerBlock.llama(48, 6, key_value_heads=2, head_channels=12, qk_norm=True, stream=Stream(1))),
    ):
        x = normal(2, 50, 48)
        yield f"block: {name}", together(block, x, parameters=list(block.parameters()))
        yield f"block: {name}, token by token", token_by_token(block, x)
        yield f"block: {name}, all at once", all_at_once(block, x)


class Perceptron(Module):
    """Two linear layers."""

    def __init__(self, stream: Stream) -> None:
        self.hidden = Linear(12, 24, stream=stream.split("hidden"))
        self.output = Linear(24, 5, stream=stream.split("output"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.output(tanh(self.hidden(x)))


def trained(make: Callable[[Perceptron], list[Optimizer]]) -> Array:
    """All parameters and the state of the optimizers, after 20 steps."""
    model = Perceptron(Stream(1))
    optimizers = make(model)
    x, classes = Stream(2).normal(size=(64, 12)), Stream(3).integers(5, size=64)
    for step in range(20):
        loss = cross_entropy(model(Tensor(x)), classes)
        loss.backward()
        clip_gradient_norm(model.named_parameters(), 0.5)
        for one in optimizers:
            one.step(one.learning_rate * schedule.cosine(step, peak=1.0, warmup=5, steps=20))
            one.zero_grad()
    arrays = [*model.state_dict().values(), *[a for one in optimizers for a in one.state_dict().values()], loss.numpy()]
    return np.concatenate([array.astype(np.float32).reshape(-1) for array in arrays])


def muon(model: Perceptron) -> list[Optimizer]:
    """Muon for the matrices, AdamW for the rest."""
    matrices = [pair for pair in model.named_parameters() if pair[1].ndim == 2]
    others = [pair for pair in model.named_parameters() if pair[1].ndim != 2]
    return [Muon(matrices, learning_rate=0.02), AdamW(others, learning_rate=0.01)]


def optimizers() -> Iterator[Case]:
    def one(kind: Any, **options: Any) -> Callable[[Perceptron], list[Optimizer]]:
        return lambda model: [kind(model.named_parameters(), **options)]

    for name, make in (
        ("SGD", one(SGD, learning_rate=0.1)),
        ("SGD with momentum and decay", one(SGD, learning_rate=0.1, momentum=0.9, weight_decay=0.01)),
        ("SGD with Nesterov's momentum", one(SGD, learning_rate=0.1, momentum=0.9, nesterov=True)),
        ("AdamW", one(AdamW, learning_rate=0.01, betas=(0.9, 0.95), weight_decay=0.1)),
        ("Adam", one(Adam, learning_rate=0.01, betas=(0.9, 0.95), weight_decay=0.1)),
        ("Lion", one(Lion, learning_rate=0.003, weight_decay=0.1)),
        ("Muon and AdamW", muon),
    ):
        yield f"{name}: 20 steps of a perceptron", partial(trained, make)


def schedules() -> Iterator[Case]:
    def rates(function: Callable[..., float], **options: Any) -> Array:
        return np.array([function(step, peak=0.3, warmup=7, **options) for step in range(120)])

    yield "linear_warmup", partial(rates, schedule.linear_warmup)
    yield "cosine", partial(rates, schedule.cosine, steps=100, final=0.03)
    yield "warmup_stable_decay", partial(rates, schedule.warmup_stable_decay, steps=100, decay=30, final=0.03)


def initializers() -> Iterator[Case]:
    for name, make in (
        ("normal", initializer.normal(std=0.02)),
        ("truncated_normal", initializer.truncated_normal(std=0.02)),
        ("uniform", initializer.uniform(-0.3, 0.1)),
        ("xavier_uniform", initializer.xavier_uniform()),
        ("xavier_normal", initializer.xavier_normal()),
        ("kaiming_uniform", initializer.kaiming_uniform()),
        ("kaiming_normal", initializer.kaiming_normal(fan="outputs")),
        ("scaled_residual", initializer.scaled_residual(layers=6)),
    ):
        yield name, partial(make, Stream(4), (60, 40))


def cases() -> Iterator[Case]:
    for group in (
        activations,
        normalizations,
        losses,
        embedding_and_dropout,
        attention_and_blocks,
        initializers,
        schedules,
        optimizers,
    ):
        yield from group()


def digests() -> dict[str, str]:
    return {name: digest(make()) for name, make in cases()}


if __name__ == "__main__":
    json.dump(digests(), sys.stdout, indent=1)
