"""The speed that the compiled kernels must reach, beside what they reach here: every limit of limits.py, met or missed.

    ./nox -s parity -- bench goals [WORD ...] [--threads 1 2] [--seconds 1]

With words, only the lines whose names contain one of them. Both sides of a line take turns, in a process for each number of threads; a
figure is the ratio of their fastest calls, which other load on the machine affects least.
"""

import argparse
import os
import subprocess
import sys
import timeit
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import core
import limits
import lm
import nn
import numpy as np
import torch
from core import Pair
from limits import Limit
from torch.nn import functional as F  # noqa: N812 - as everywhere

from samebits import kernels
from samebits.autograd import Tensor, gradients
from samebits.core import Stream, numerics, tanh
from samebits.drift.record import describe_surroundings

Line = tuple[str, Limit, Callable[[float], float]]
TRAINING_SECONDS = 8.0  # a step of the larger model takes a second


def ratios(pairs: Iterable[Pair], limit: Callable[[str], Limit | None]) -> Iterator[Line]:
    """Lines for the pairs of functions that have a limit."""
    for pair in pairs:
        found = limit(pair.name)
        if found:
            yield pair.name, found, lambda seconds, pair=pair: core.measure(pair, seconds).ratio


def numbers() -> Iterator[Line]:
    yield from ratios(core.elementary(), lambda name: None if "beside" in name else limits.ELEMENTARY)
    cases = {"matmul 1024³": limits.MATMUL, "matmul (4096, 384) by (384, 1536)": limits.MATMUL}
    cases["matmul attention 48×64×32: weights by v"] = limits.WEIGHTS_BY_VALUES
    cases |= {pair.name: limits.MATMUL_INT16 for pair in core.products() if pair.name.startswith("int16")}
    yield from ratios(core.products(), cases.get)
    x = Stream(0).normal((1,))
    yield "tanh (1,), microseconds", limits.SCALAR, lambda _: min(timeit.repeat(lambda: tanh(x), number=1000, repeat=20)) * 1e3


def layers() -> Iterator[Line]:
    """Layers and losses, forward and backward in one call, beside PyTorch eager."""
    x, up, weight, bias = nn.normal(4096, 384), nn.normal(1, 4096, 384)[0], nn.normal(384), nn.normal(1, 384)[0]
    targets = Stream(1).integers(384, size=4096)
    cases: list[tuple[str, Any, Any, list[Any]]] = [
        ("softmax", nn.softmax, lambda x: F.softmax(x, -1), [x]),
        ("layer norm", nn.layer_norm, lambda x, w, b: F.layer_norm(x, (384,), w, b), [x, weight, bias]),
        ("RMS norm", nn.rms_norm, lambda x, w: F.rms_norm(x, (384,), w, 1e-5), [x, weight]),
        ("GELU", nn.gelu, F.gelu, [x]),
        ("GELU (tanh)", lambda x: nn.gelu(x, "tanh"), lambda x: F.gelu(x, approximate="tanh"), [x]),
        ("SiLU", nn.silu, F.silu, [x]),
        ("SwiGLU", nn.swiglu, lambda x, y: F.silu(x) * y, [x, up]),
        ("cross entropy", nn.cross_entropy, F.cross_entropy, [x, targets]),
    ]

    def pair(name: str, ours: Any, theirs: Any, arrays: list[Any]) -> Pair:
        floating = [array.dtype.kind == "f" for array in arrays]
        mine = [Tensor(array, requires_grad=True) if f else array for array, f in zip(arrays, floating, strict=True)]
        yours = [torch.tensor(array, requires_grad=f) for array, f in zip(arrays, floating, strict=True)]
        leaves = [[one for one, f in zip(side, floating, strict=True) if f] for side in (mine, yours)]
        g = np.ones(ours(*mine).shape, np.float32)
        ones = torch.from_numpy(g)
        return Pair(
            f"{name} 4096×384, forward and backward",
            lambda: gradients(ours(*mine), leaves[0], g),
            lambda: torch.autograd.grad(theirs(*yours), leaves[1], ones),
        )

    yield from ratios((pair(*case) for case in cases), lambda _: limits.LAYER)
    yield from ratios([adamw()], lambda _: limits.ADAMW)
    yield from ratios([attention()], lambda _: limits.ATTENTION_INT16)


def attention() -> Pair:
    """In int16 arithmetic, 12×6×256×64, the arrays in the memory order that projections leave them in."""
    mine = [Tensor(nn.normal(12, 256, 6 * 64).reshape(12, 256, 6, 64).swapaxes(1, 2), requires_grad=True) for _ in range(3)]
    yours = [torch.tensor(x.numpy(), requires_grad=True) for x in mine]
    g = np.ones((12, 6, 256, 64), np.float32)
    ones = torch.from_numpy(g)

    def ours() -> Any:
        with numerics("int16"):
            return gradients(nn.attention(*mine), mine, g)

    return Pair(
        "int16 attention 12×6×256×64, forward and backward",
        ours,
        lambda: torch.autograd.grad(F.scaled_dot_product_attention(*yours, is_causal=True), yours, ones),
    )


def adamw() -> Pair:
    arrays = [nn.normal(1536, 384, 4), nn.normal(384, 384, 12), nn.normal(1536)]
    ours, theirs = [nn.parameter(array) for array in arrays], [torch.tensor(array, requires_grad=True) for array in arrays]
    for one, other in zip(ours, theirs, strict=True):
        one.grad, other.grad = one.detach(), other.detach().clone()
    return Pair("AdamW, 4.1 million", nn.AdamW(ours).step, torch.optim.AdamW(theirs, fused=True).step)


def models() -> Iterator[Line]:
    """Training and writing, each side of training in a process of its own."""

    def measure(what: str, size: str, mode: str, seconds: float) -> float:
        found: dict[str, float] = {}
        for side in {"training": (mode, "torch") * 2, "memory": (mode, "torch"), "writing": ("all",)}[what]:
            speeds = lm.child(["--measure", what, size, side, str(min(seconds, 1.0) * TRAINING_SECONDS)])
            found |= {name: max(speed, found.get(name, 0.0)) for name, speed in speeds.items()}
        return found[mode] / found["torch"]

    for what, mode, sizes in (
        ("training", "exact", limits.TRAINING),
        ("training", "int16", limits.TRAINING_INT16),
        ("writing", "exact", limits.WRITING),
        ("writing", "int16", limits.WRITING_INT16),
        ("memory", "int16", limits.MEMORY_INT16),
    ):
        for size, limit in sizes.items():
            name = f"{mode} {what} {size}, {'megabytes' if what == 'memory' else 'speed'} over PyTorch's"
            yield name, limit, lambda seconds, what=what, size=size, mode=mode: measure(what, size, mode, seconds)


def measure_all(options: argparse.Namespace) -> None:
    """Print the lines of this process's number of threads."""
    threads = os.environ["SAMEBITS_THREADS"]
    torch.set_num_threads(int(threads))
    for group in (numbers, layers, models):
        for name, limit, measure in group():
            if not options.words or any(word in name for word in options.words):
                value = measure(options.seconds)
                print(f"| {name} | {threads} | {value:.2f} | {limit} | {limit.verdict(value)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each line; for those of models eight times as much")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        measure_all(options)
        return
    level = kernels.level() or "none"
    print(f"{describe_surroundings()['processor']}, {os.cpu_count()} CPUs, level of the compiled kernels: {level}\n")
    print("| ratio of times, ours over theirs, where nothing else is said | threads | measured | limit | |")
    print("| --- | ---: | ---: | ---: | --- |", flush=True)
    for threads in options.threads:
        settings = dict.fromkeys(lm.THREADS, str(threads))
        command = [sys.executable, __file__, "--here", "--seconds", str(options.seconds), *options.words]
        subprocess.run(command, env={**os.environ, **settings}, check=True)


if __name__ == "__main__":
    main()
