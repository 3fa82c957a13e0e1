"""How long the elementary functions take beside NumPy's: one thread, float32; medians of runs taken in turn.

python benchmarks/elementary.py [SIZE ...]
"""

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from samebits.core import elementary

RUNS = 15
# NumPy has no sigmoid, erf and rsqrt: beside sigmoid and rsqrt stands what one writes instead, beside erf np.exp.
PEERS: dict[str, Callable[..., object]] = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "erf": np.exp,
}
FUNCTIONS = ["exp", "expm1", "exp2", "log", "log1p", "log2", "log10"]
FUNCTIONS += ["tanh", "sigmoid", "sin", "cos", "erf", "sqrt", "rsqrt"]


def seconds(function: Callable[..., object], x: object, repeat: int) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    for _ in range(repeat):
        function(x)
    return (time.perf_counter() - start) / repeat


def main() -> None:
    """Print the table."""
    sizes = [int(a) for a in sys.argv[1:]] or [4, 4096, 4_000_000]
    print(f"NumPy {np.__version__}")
    print("function  elements       ours      NumPy  ratio  ns/element")
    for size in sizes:
        normal = np.random.default_rng(0).standard_normal(size).astype(np.float32)
        repeat = max(1, 200_000 // size)
        for name in FUNCTIONS:
            x = np.abs(normal) + np.float32(0.01) if name.startswith("log") or name.endswith("sqrt") else normal
            ours, peer = getattr(elementary, name), PEERS.get(name) or getattr(np, name)
            times = [(seconds(ours, x, repeat), seconds(peer, x, repeat)) for _ in range(RUNS)]
            a, b = (statistics.median(column) for column in zip(*times, strict=True))
            print(f"{name:8}  {size:>8}  {a * 1e6:7.1f} us {b * 1e6:7.1f} us  {a / b:5.1f}  {a / size * 1e9:10.2f}")


if __name__ == "__main__":
    main()
