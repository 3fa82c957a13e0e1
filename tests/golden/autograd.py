"""Golden cases of samebits.autograd: values and gradients of every operation, and of one block of a transformer.

Run as a script, it prints each case's digest as JSON: so the tests run it again under other CPU levels, BLAS kernels and
thread counts. `nox -s update-digests` writes autograd.json from it, on purpose only.
"""

import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits import autograd
from samebits.autograd import Tensor, gradients
from samebits.core import Stream, digest

Array = npt.NDArray[Any]
Case = tuple[str, Callable[[], Array]]


def normal(*shape: int, name: str = "normal") -> Array:
    return np.asarray(Stream(0).split(name).normal(size=shape))


def positive(*shape: int, name: str = "positive") -> Array:
    return np.abs(normal(*shape, name=name)) + np.float32(0.1)


def block(n: Any, x: Any, w: Any, v: Any, gain: Any) -> Any:
    """One block of a transformer: normalization, causal attention, a gated layer, log-probabilities.

    ``n`` is samebits.autograd, or a library with the same names. x (B, T, C), w (C, 3 C), v (C, 2 C), gain (C,) -> (B, T, C).
    """
    batch, time, channels = x.shape
    heads = 2
    centered = x - n.mean(x, -1, keepdims=True)
    h = centered / n.sqrt(n.var(x, -1, keepdims=True) + 0.1) * gain
    parts = n.split(n.matmul(h, w), 3, 2)
    q, k, value = [n.permute(n.reshape(part, (batch, time, heads, channels // heads)), (0, 2, 1, 3)) for part in parts]
    scores = n.matmul(q, n.swapaxes(k, -1, -2)) / (channels // heads) ** 0.5
    scores = n.where(np.tril(np.ones((time, time), bool)), scores, -1e9)
    attended = n.permute(n.matmul(n.softmax(scores, -1), value), (0, 2, 1, 3))
    x = x + n.reshape(attended, (batch, time, channels))
    a, b = n.split(n.matmul(x, v), 2, 2)
    return n.log_softmax(x + n.tanh(a) * n.sigmoid(b), -1)


def value_and_gradients(function: Callable[..., Tensor], *arrays: Array) -> Array:
    """The value and the gradients of all inputs, for a fixed gradient of the value, in one row."""
    inputs = [Tensor(array, requires_grad=True) for array in arrays]
    output = function(*inputs)
    found = gradients(output, inputs, normal(*output.shape, name="gradient"))
    return np.concatenate([np.asarray(x.data).reshape(-1) for x in (output, *found)])


def second_gradients(function: Callable[..., Tensor], *arrays: Array) -> Array:
    """The gradients of the sum of squares of the gradients."""
    inputs = [Tensor(array, requires_grad=True) for array in arrays]
    first = gradients(function(*inputs).sum(), inputs, create_graph=True)
    total = sum([(g * g).sum() for g in first[1:]], (first[0] * first[0]).sum())
    return np.concatenate([g.numpy().reshape(-1) for g in gradients(total, inputs)])


def over(name: str, axis: Any) -> Callable[..., Tensor]:
    return partial(getattr(autograd, name), axis=axis)


def elementwise() -> Iterator[Case]:
    for name in ("exp", "tanh", "sigmoid", "sin", "cos", "abs", "relu", "negative"):
        yield name, partial(value_and_gradients, getattr(autograd, name), normal(70, 90))
    for name in ("log", "sqrt"):
        yield name, partial(value_and_gradients, getattr(autograd, name), positive(70, 90))
    for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum"):
        for left, right in (((70, 90), (70, 90)), ((70, 1, 9), (20, 1)), ((1000,), ())):
            yield (
                f"{name}: {left} and {right}",
                partial(value_and_gradients, getattr(autograd, name), normal(*left), positive(*right)),
            )


def reductions() -> Iterator[Case]:
    for name in ("sum", "mean", "var", "max", "min", "logsumexp"):
        for axis in (None, 0, 1, (0, 2)):
            yield f"{name} over {axis}", partial(value_and_gradients, over(name, axis), normal(20, 30, 40))
    for name in ("softmax", "log_softmax"):
        for axis in (-1, 0):
            yield f"{name} along {axis}", partial(value_and_gradients, over(name, axis), normal(60, 300))


def products_and_indices() -> Iterator[Case]:
    n = autograd
    for left, right in (
        ((33, 100), (100, 20)),
        ((2, 9, 24), (24, 31)),
        ((4, 1, 7, 5), (3, 5, 6)),
        ((100,), (100,)),
        ((3, 40), (40,)),
    ):
        yield f"matmul: {left} by {right}", partial(value_and_gradients, n.matmul, normal(*left), normal(*right, name="b"))
    ids = Stream(0).split("ids").integers(50, size=(40, 30))
    yield "embedding", lambda: value_and_gradients(lambda w: w[ids], normal(50, 16))
    yield "take along the second axis", lambda: value_and_gradients(lambda w: n.take(w, ids, 1), normal(3, 50, 4))
    yield "index by two arrays", lambda: value_and_gradients(lambda w: w[ids[0], ids[1, :30]], normal(50, 50))

    def pieces(x: Tensor) -> Tensor:
        whole = n.concatenate([x[::2], x[1:4]], 0)
        return n.stack([whole, n.concatenate([*n.split(x, [1, 3]), x], 0)[:9]], 1)

    yield "slices, concatenated and stacked", lambda: value_and_gradients(pieces, normal(12, 7))


def powers_and_selections() -> Iterator[Case]:
    n = autograd
    for exponent in (2.5, -1.5, 0.3):
        yield f"power {exponent}", partial(value_and_gradients, lambda x, e=exponent: x**e, positive(70, 90))
    yield "power of tensors", partial(value_and_gradients, n.power, positive(70, 90), normal(90, name="b"))
    yield "negative bases", lambda: value_and_gradients(lambda x: x ** np.arange(-4.0, 5.0, dtype=np.float32), normal(70, 9))
    yield "2 ** x", partial(value_and_gradients, lambda x: 2**x, normal(70, 90))
    yield "10 ** x", partial(value_and_gradients, lambda x: 10**x, normal(70, 90))
    yield "remainder", partial(value_and_gradients, n.remainder, normal(70, 90), positive(90, name="b"))
    yield "erf", partial(value_and_gradients, n.erf, normal(70, 90))
    yield "clip", partial(value_and_gradients, lambda x: n.clip(x, -0.5, 1.0), normal(70, 90))
    for axis in (None, 0, 1):
        yield f"std over {axis}", partial(value_and_gradients, over("std", axis), normal(20, 30, 40))
        yield f"cumsum along {axis}", partial(value_and_gradients, over("cumsum", axis), normal(20, 30))
    yield (
        "einsum",
        partial(value_and_gradients, partial(n.einsum, "bij,bkj,k->bi"), normal(3, 9, 20), normal(3, 7, 20), normal(7)),
    )
    yield "jvp", lambda: np.concatenate([t.numpy() for t in n.jvp(n.softmax, [normal(20, 30)], [normal(20, 30, name="b")])])
    yield "jacobian", lambda: n.jacobian(lambda x: (x @ x.T).tanh())(normal(4, 6)).numpy()


def composed() -> Iterator[Case]:
    arrays = [normal(*shape, name=str(i)) for i, shape in enumerate([(3, 17, 24), (24, 72), (24, 48), (24,)])]
    whole = partial(block, autograd)

    def many_ways(x: Tensor) -> Tensor:
        return x.sin() + x.exp() * x.cos() + x.tanh() / (x * x + 1) - x**3

    def trained() -> Array:
        x, w, v, gain = [Tensor(array * np.float32(0.3), requires_grad=i > 0) for i, array in enumerate(arrays)]
        for _ in range(10):
            loss = -whole(x, w, v, gain)[..., 0].mean()
            loss.backward()
            for p in (w, v, gain):
                if p.grad is not None:
                    with p.edit() as array:
                        array[...] = array - np.float32(0.1) * p.grad.data
                    p.grad = None
        return np.concatenate([p.numpy().reshape(-1) for p in (w, v, gain)])

    yield "one tensor used in many ways", partial(value_and_gradients, many_ways, normal(5000))
    yield "a transformer's block", partial(value_and_gradients, whole, *arrays)
    yield "a transformer's block: second gradients", partial(second_gradients, whole, *arrays)
    yield "a transformer's block: ten steps of training", trained


def cases() -> Iterator[Case]:
    for group in (elementwise, reductions, products_and_indices, powers_and_selections, composed):
        yield from group()


def digests() -> dict[str, str]:
    return {name: digest(make()) for name, make in cases()}


if __name__ == "__main__":
    json.dump(digests(), sys.stdout, indent=1)
