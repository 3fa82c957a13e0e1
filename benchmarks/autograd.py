"""Overhead per operation and peak memory of a training step, beside PyTorch and HIPS autograd.

Run as ``python benchmarks/autograd.py``. Peers that are not installed are skipped. Times are the best of many rounds, in one
process and one thread, the libraries in turn. Each measurement of memory has a new process: it is the growth of its
peak during one step after a small one. Operations are counted in the forward pass; the time is that of forward and backward
together.
"""

import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).parent]  # "autograd" is a peer, not this file
for setting in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "SAMEBITS_THREADS"):
    os.environ.setdefault(setting, "1")

import numpy as np  # noqa: E402 - after the settings that it reads

SECONDS = 3.0
LAYERS, BATCH, TIME, CHANNELS, HEADS = 4, 8, 256, 256, 4


def chain(x: Any, length: int) -> Any:
    """``length`` operations, one after the other, half of them products and half sums."""
    y = x
    for _ in range(length // 2):
        y = y * x
        y = y + x
    return y


def chained(start: Any, length: int) -> dict[str, Callable[[], object]]:
    """Each library's forward and backward pass through a chain that begins with ``start``."""
    from samebits.autograd import Tensor
    from samebits.core import numerics

    x = Tensor(start, requires_grad=True)

    def ours() -> None:
        x.grad = None
        chain(x, length).backward(ones)

    def ours_fast() -> None:
        with numerics("fast"):
            ours()

    ones = Tensor(np.ones_like(start))
    libraries: dict[str, Callable[[], object]] = {"samebits": ours, "samebits, fast": ours_fast}
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)
        t, t_ones = torch.tensor(start, requires_grad=True), torch.tensor(np.ones_like(start))

        def theirs() -> None:
            t.grad = None
            chain(t, length).backward(t_ones)

        libraries["PyTorch"] = theirs
    if importlib.util.find_spec("autograd"):
        from autograd import make_vjp

        pull = make_vjp(lambda z: chain(z, length))
        libraries["HIPS autograd"] = lambda: pull(start)[0](np.ones_like(start))
    return libraries


def compare(title: str, libraries: dict[str, Callable[[], object]], operations: int) -> None:
    best = dict.fromkeys(libraries, float("inf"))
    for step in libraries.values():  # the first call loads and allocates
        step()
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        for name, step in libraries.items():
            start = time.perf_counter()
            step()
            best[name] = min(best[name], time.perf_counter() - start)
    times = "   ".join(f"{name} {seconds / operations * 1e6:6.2f}" for name, seconds in best.items())
    print(f"{title:42} {times}   µs per operation")


def model(n: Any, x: Any, weights: list[Any]) -> Any:
    """Blocks of a transformer, written in the same operations for every library; a scalar."""
    mask = n.mask(np.tril(np.ones((TIME, TIME), bool)))
    for w_in, w_out, w_up, w_down in zip(*[iter(weights)] * 4, strict=True):
        batch, length, channels = x.shape
        h = (x - n.mean(x, -1)) / n.sqrt(n.var(x, -1) + 1e-5)
        q, k, v = [
            n.permute(part.reshape((batch, length, HEADS, channels // HEADS)), (0, 2, 1, 3)) for part in n.split3(h @ w_in)
        ]
        scores = n.where(mask, (q @ n.permute(k, (0, 1, 3, 2))) / (channels // HEADS) ** 0.5, n.low)
        attended = n.permute(n.softmax(scores, -1) @ v, (0, 2, 1, 3)).reshape((batch, length, channels))
        x = x + attended @ w_out
        x = x + n.tanh(x @ w_up) @ w_down
    return -n.log_softmax(x, -1)[:, :, 0].mean()


def namespace(library: str) -> tuple[Any, Callable[[Any], Any]]:
    """The operations of ``model`` in a library, and how it makes a leaf of an array."""
    if library == "PyTorch":
        import torch

        torch.set_num_threads(1)
        functions = SimpleNamespace(
            mask=torch.tensor,
            low=torch.tensor(-1e9),
            mean=lambda x, axis: torch.mean(x, axis, keepdim=True),
            var=lambda x, axis: torch.var(x, axis, correction=0, keepdim=True),
            sqrt=torch.sqrt,
            permute=torch.permute,
            split3=lambda x: torch.chunk(x, 3, 2),
            where=torch.where,
            softmax=torch.softmax,
            log_softmax=torch.log_softmax,
            tanh=torch.tanh,
        )
        return functions, lambda array: torch.tensor(array, requires_grad=True)
    from samebits import autograd

    functions = SimpleNamespace(
        mask=lambda array: array,
        low=-1e9,
        mean=lambda x, axis: autograd.mean(x, axis, keepdims=True),
        var=lambda x, axis: autograd.var(x, axis, keepdims=True),
        sqrt=autograd.sqrt,
        permute=autograd.permute,
        split3=lambda x: autograd.split(x, 3, 2),
        where=autograd.where,
        softmax=autograd.softmax,
        log_softmax=autograd.log_softmax,
        tanh=autograd.tanh,
    )
    return functions, lambda array: autograd.Tensor(array, requires_grad=True)


def peak_of_a_step(library: str) -> None:
    """Print by how many MB one step raised the peak of this process, its seconds, and its loss."""
    from samebits.core import numerics

    functions, leaf = namespace(library)
    generator = np.random.Generator(np.random.PCG64(0))
    with numerics("fast" if "fast" in library else "exact"):
        shapes = [(CHANNELS, 3 * CHANNELS), (CHANNELS, CHANNELS), (CHANNELS, 4 * CHANNELS), (4 * CHANNELS, CHANNELS)] * LAYERS
        weights = [leaf((generator.standard_normal(shape) * shape[0] ** -0.5).astype(np.float32)) for shape in shapes]
        x = generator.standard_normal((BATCH, TIME, CHANNELS)).astype(np.float32)
        model(functions, leaf(x[:1]), weights[:4]).backward()  # libraries take memory when they are first used
        for weight in weights:
            weight.grad = None
        before = resident()
        reset_peak()
        start = time.perf_counter()
        loss = model(functions, leaf(x), weights)
        loss.backward()
        seconds = time.perf_counter() - start
        print(json.dumps({"MB": (peak() - before) / 2**20, "seconds": seconds, "loss": loss.item()}))


def resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def main() -> None:
    compare("a chain of 100, scalars", chained(np.float32(0.5), 100), 100)
    compare("a chain of 2, scalars", chained(np.float32(0.5), 2), 2)
    compare("a chain of 100, arrays of 3 by 4", chained(np.full((3, 4), 0.5, np.float32), 100), 100)
    compare("a chain of 100, arrays of 100 by 100", chained(np.full((100, 100), 0.5, np.float32), 100), 100)
    libraries = ["samebits", "samebits, fast", *(["PyTorch"] if importlib.util.find_spec("torch") else [])]
    print(f"one step of {LAYERS} blocks, {BATCH} x {TIME} x {CHANNELS}, peak above what was there before:")
    for library in libraries:
        result = subprocess.run([sys.executable, __file__, "--memory", library], capture_output=True, check=True, text=True)
        figures = json.loads(result.stdout)
        print(f"  {library:16} {figures['MB']:7.1f} MB   {figures['seconds']:6.2f} s   loss {figures['loss']:.6f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        peak_of_a_step(sys.argv[2])
    else:
        main()
