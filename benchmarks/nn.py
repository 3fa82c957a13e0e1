"""Layers, losses and optimizers: exact and fast arithmetic beside plain float32 NumPy and PyTorch, one thread, in one run.

Run as ``python benchmarks/nn.py [WORD ...]``: with words, only the cases whose names contain one of them. PyTorch is optional.
The sides take turns; a figure is the fastest of the calls that fit in the time limit, which is least affected by other load on the
machine. Plain NumPy is the formula as usually written, with a new array for each step; it has no backward pass here.
"""

# ruff: noqa: E402, PLW0108 - settings come before what reads them; PyTorch's functions may not be there

import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

for setting in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "SAMEBITS_THREADS"):
    os.environ.setdefault(setting, "1")
sys.path[:] = [
    path for path in sys.path if Path(path).resolve() != Path(__file__).parent
]  # "autograd" is a package, not this file

import numpy as np

from samebits.autograd import Tensor, gradients
from samebits.core import Stream, numerics
from samebits.nn.activation import gelu, silu, softmax, swiglu
from samebits.nn.adamw import AdamW
from samebits.nn.clipping import clip_gradient_norm
from samebits.nn.dense import linear
from samebits.nn.embeddings import embedding
from samebits.nn.loss import cross_entropy
from samebits.nn.module import parameter
from samebits.nn.normalization import batch_norm, layer_norm, rms_norm
from samebits.nn.regularization import dropout
from samebits.nn.scaled_dot_product import attention

SECONDS = 1.0

Array = np.ndarray[Any, Any]
Call = Callable[[], object]


class Case(NamedTuple):
    """One computation, in our two arithmetics and by the peers."""

    name: str
    exact: Call
    fast: Call
    numpy: Call | None = None
    torch: Call | None = None


def normal(*shape: int) -> Array:
    return np.asarray(Stream(0).split(str(shape)).normal(size=shape))


def quick(call: Call) -> Call:
    """``call`` in fast arithmetic."""

    def run() -> None:
        with numerics("fast"):
            call()

    return run


def layer(name: str, ours: Any, numpy: Any, theirs: Any, *arrays: Array) -> Iterator[Case]:
    """A layer, forward and backward: functions of the same ``arrays``; those of floating numbers get gradients."""
    floating = [array.dtype.kind == "f" for array in arrays]
    tensors = [Tensor(array, requires_grad=True) if f else array for array, f in zip(arrays, floating, strict=True)]
    leaves = [tensor for tensor in tensors if isinstance(tensor, Tensor)]
    output = ours(*tensors)
    g = np.ones(output.shape, np.float32)
    with numerics("fast"):
        fast_output = ours(*tensors)
    forward = backward = None
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)
        inputs = [torch.tensor(array, requires_grad=f) for array, f in zip(arrays, floating, strict=True)]
        needed = [tensor for tensor, f in zip(inputs, floating, strict=True) if f]
        result = theirs(*inputs)
        ones = torch.ones_like(result)

        def forward() -> object:
            return theirs(*inputs)

        def backward() -> object:
            return torch.autograd.grad(result, needed, ones, retain_graph=True)

    def step() -> object:
        return ours(*tensors)

    yield Case(f"{name}, forward", step, quick(step), numpy and (lambda: numpy(*arrays)), forward)
    yield Case(
        f"{name}, backward",
        lambda: gradients(output, leaves, g, retain_graph=True),
        quick(lambda: gradients(fast_output, leaves, g, retain_graph=True)),
        None,
        backward,
    )


def torch_functions() -> Any:
    """PyTorch's functions, or a placeholder that is never called."""
    if importlib.util.find_spec("torch"):
        return importlib.import_module("torch.nn.functional")
    return None


F = torch_functions()
_ROOT, _CUBIC, _HALF = np.float32(0.7978845608), np.float32(0.044715), np.float32(0.5)


def numpy_softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def numpy_layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(x.var(-1, keepdims=True) + np.float32(1e-5)) * weight + bias


def numpy_rms_norm(x: Array, weight: Array) -> Array:
    return x / np.sqrt(np.square(x).mean(-1, keepdims=True) + np.float32(1e-5)) * weight


def numpy_batch_norm(x: Array, weight: Array, bias: Array) -> Array:
    return (x - x.mean(0)) / np.sqrt(x.var(0) + np.float32(1e-5)) * weight + bias


def numpy_cross_entropy(x: Array, targets: Array) -> Any:
    top = x.max(-1, keepdims=True)
    sums = np.log(np.exp(x - top).sum(-1)) + top[:, 0]
    return (sums - x[np.arange(len(x)), targets]).mean()


def activations() -> Iterator[Case]:
    x, up = normal(3072, 1536), normal(3072, 1, 1536).reshape(3072, 1536)
    yield from layer(
        "gelu (tanh) 3072×1536",
        lambda x: gelu(x, "tanh"),
        lambda x: _HALF * x * (1 + np.tanh(_ROOT * (x + _CUBIC * x * x * x))),
        lambda x: F.gelu(x, approximate="tanh"),
        x,
    )
    yield from layer("gelu (erf) 3072×1536", gelu, None, lambda x: F.gelu(x), x)
    yield from layer("silu 3072×1536", silu, lambda x: x / (1 + np.exp(-x)), lambda x: F.silu(x), x)
    yield from layer("swiglu 3072×1536", swiglu, lambda x, y: x / (1 + np.exp(-x)) * y, lambda x, y: F.silu(x) * y, x, up)


def rows() -> Iterator[Case]:
    x, weight, bias = normal(3072, 384), normal(384), normal(1, 384)[0]
    for shape in ((3072, 384), (18432, 256)):
        yield from layer(f"softmax {shape[0]}×{shape[1]}", softmax, numpy_softmax, lambda x: F.softmax(x, -1), normal(*shape))
    yield from layer(
        "layer norm 3072×384", layer_norm, numpy_layer_norm, lambda x, w, b: F.layer_norm(x, (384,), w, b), x, weight, bias
    )
    yield from layer("rms norm 3072×384", rms_norm, numpy_rms_norm, lambda x, w: F.rms_norm(x, (384,), w, 1e-5), x, weight)
    yield from layer(
        "batch norm 3072×384",
        batch_norm,
        numpy_batch_norm,
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        x,
        weight,
        bias,
    )


def ends() -> Iterator[Case]:
    for count, vocabulary in ((3072, 81), (512, 8192)):
        targets = Stream(1).integers(vocabulary, size=count)
        yield from layer(
            f"cross entropy {count}×{vocabulary}",
            cross_entropy,
            numpy_cross_entropy,
            lambda x, t: F.cross_entropy(x, t),
            normal(count, vocabulary),
            targets,
        )
    ids = Stream(2).integers(8192, size=3072)
    yield from layer(
        "embedding 3072 of 8192×384",
        lambda w, i: embedding(i, w),
        lambda w, i: w[i],
        lambda w, i: F.embedding(i, w),
        normal(8192, 384),
        ids,
    )
    stream = Stream(3)
    yield from layer("dropout 3072×384", lambda x: dropout(x, 0.1, stream), None, lambda x: F.dropout(x, 0.1), normal(3072, 384))


def numpy_adamw(p: Array, g: Array, m: Array, v: Array, t: int) -> None:
    m += (g - m) * np.float32(0.1)
    v += (g * g - v) * np.float32(0.001)
    p *= np.float32(1 - 1e-5)
    p -= np.float32(1e-3 / (1 - 0.9**t)) * m / (np.sqrt(v / np.float32(1 - 0.999**t)) + np.float32(1e-8))


def updates() -> Iterator[Case]:
    """A step of AdamW, and the norm of all gradients, on the parameters of six blocks of 384 channels."""
    block = [(384, 384)] * 4 + [(1536, 384), (384, 1536)] + [(384,)] * 8 + [(1536,)]
    arrays = [normal(*shape) for shape in [(81, 384), (256, 384), *block * 6]]
    tensors = [parameter(array) for array in arrays]
    for tensor in tensors:
        tensor.grad = tensor.detach()
    ours, step, clip = AdamW(tensors), None, None
    state = [[array.copy(), array, np.zeros_like(array), np.zeros_like(array)] for array in arrays]
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)
        leaves = [torch.tensor(array, requires_grad=True) for array in arrays]
        for leaf in leaves:
            leaf.grad = leaf.detach().clone()
        step = torch.optim.AdamW(leaves).step

        def clip() -> object:
            return torch.nn.utils.clip_grad_norm_(leaves, 1e9)

    yield Case("AdamW, 10.7 million", ours.step, quick(ours.step), lambda: [numpy_adamw(*s, 9) for s in state], step)
    norms = lambda: clip_gradient_norm(tensors, 1e9)  # noqa: E731
    yield Case("gradient norm, 10.7 million", norms, quick(norms), lambda: sum(float((g * g).sum()) for g in arrays), clip)


def numpy_attention(q: Array, k: Array, v: Array) -> Array:
    """(B, H, T, D), with all scores in memory."""
    scores = q @ k.swapaxes(-1, -2) / np.float32(q.shape[-1] ** 0.5)
    scores[..., ~np.tri(q.shape[2], dtype=bool)] = -np.inf
    return numpy_softmax(scores) @ v


def numpy_attention_both(q: Array, k: Array, v: Array, g: Array) -> tuple[Array, Array, Array]:
    """The forward pass and the gradients."""
    scale = np.float32(q.shape[-1] ** -0.5)
    scores = q @ k.swapaxes(-1, -2) * scale
    scores[..., ~np.tri(q.shape[2], dtype=bool)] = -np.inf
    p = numpy_softmax(scores)
    ds = p * (g @ v.swapaxes(-1, -2) - (g * (p @ v)).sum(-1, keepdims=True)) * scale
    return ds @ k, ds.swapaxes(-1, -2) @ q, p.swapaxes(-1, -2) @ g


def both(name: str, ours: Any, numpy: Any, theirs: Any, *arrays: Array) -> Case:
    """Forward and backward pass together, from new leaves, as in a training step."""
    g = np.ones(ours(*map(Tensor, arrays)).shape, np.float32)

    def step() -> object:
        leaves = [Tensor(array, requires_grad=True) for array in arrays]
        return gradients(ours(*leaves), leaves, g)

    def peer() -> object:
        leaves = [torch.tensor(array, requires_grad=True) for array in arrays]
        return torch.autograd.grad(theirs(*leaves), leaves, torch.from_numpy(g))

    there = importlib.util.find_spec("torch")
    if there:
        import torch

        torch.set_num_threads(1)
    return Case(f"{name}, both", step, quick(step), numpy and (lambda: numpy(*arrays, g)), peer if there else None)


def projected(attend: Any, project: Any, heads: int) -> Any:
    """Apply the projections q, k, v (C, C), attention, and an output projection to x (B, T, C)."""

    def run(x: Any, *weights: Any) -> Any:
        batch, length, channels = x.shape
        parts = [project(x, w).reshape(batch, length, heads, channels // heads).swapaxes(1, 2) for w in weights[:3]]
        return project(attend(*parts).swapaxes(1, 2).reshape(batch, length, channels), weights[3])

    return run


def attentions() -> Iterator[Case]:
    for rows, inputs, outputs in ((3072, 384, 384), (3072, 384, 1536), (3072, 1536, 384)):
        arrays = normal(rows, inputs), normal(outputs, inputs), normal(1, outputs)[0]
        name = f"linear {rows}×{inputs} to {outputs}"
        yield from layer(name, linear, lambda x, w, b: x @ w.T + b, lambda x, w, b: F.linear(x, w, b), *arrays)
    for batch, heads, length, width in ((12, 6, 256, 64), (12, 4, 64, 32)):
        q, k, v = (normal(batch, heads, length, width, part)[..., 0] for part in (1, 1, 1))
        name = f"attention {batch}×{heads}×{length}×{width}"
        k, v = k[:, ::-1].copy(), v[:, :, ::-1].copy()

        def theirs(q: Any, k: Any, v: Any) -> Any:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)

        yield from layer(name, attention, numpy_attention, theirs, q, k, v)
        yield both(name, attention, numpy_attention_both, theirs, q, k, v)
        channels = heads * width
        weights = [normal(channels, channels, i + 1)[..., 0] / np.float32(channels**0.5) for i in range(4)]
        ours, peer = projected(attention, linear, heads), projected(theirs, lambda x, w: F.linear(x, w), heads)
        yield from layer(f"{name} projected", ours, None, peer, normal(batch, length, channels), *weights)
        yield both(f"{name} projected", ours, None, peer, normal(batch, length, channels), *weights)


GROUPS = [activations, rows, attentions, ends, updates]


def measure(case: Case) -> dict[str, float]:
    """The fastest of calls that take turns for SECONDS, at least three each, in milliseconds."""
    calls = {side: call for side, call in case._asdict().items() if side != "name" and call is not None}
    best = dict.fromkeys(calls, float("inf"))
    for call in calls.values():
        call()
    end, rounds = time.perf_counter() + SECONDS, 0
    while rounds < 3 or time.perf_counter() < end:
        for side, call in calls.items():
            start = time.perf_counter()
            call()
            best[side] = min(best[side], time.perf_counter() - start)
        rounds += 1
    return {side: seconds * 1e3 for side, seconds in best.items()}


def main() -> None:
    words = sys.argv[1:]
    print(f"{'milliseconds, one thread':48} {'exact':>8} {'fast':>8} {'NumPy':>8} {'PyTorch':>8}   exact/NumPy  fast/PyTorch")
    for group in GROUPS:
        for case in group():
            if words and not any(word in case.name for word in words):
                continue
            times = measure(case)
            shown = [f"{times[side]:8.2f}" if side in times else f"{'':8}" for side in ("exact", "fast", "numpy", "torch")]
            ratios = [
                f"{times[ours] / times[theirs]:12.2f}" if theirs in times else f"{'':12}"
                for ours, theirs in (("exact", "numpy"), ("fast", "torch"))
            ]
            print(f"{case.name:48} {' '.join(shown)}  {' '.join(ratios)}", flush=True)


if __name__ == "__main__":
    main()
