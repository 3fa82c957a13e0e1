"""Time same-bit products, sums and scatters beside NumPy's float32 ones: python benchmarks/core_numbers.py [group ...].

Set OPENBLAS_NUM_THREADS=1 for one thread. The two sides take turns; the figures are the best of many calls each.
"""

import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from samebits.core import indexing, linalg, reductions

SECONDS = 2.0
rng = np.random.default_rng(0)


def normal(*shape: int) -> NDArray[np.float32]:
    return rng.standard_normal(shape).astype(np.float32)


def compare(name: str, ours: Callable[[], object], theirs: Callable[[], object]) -> None:
    best = {ours: np.inf, theirs: np.inf}
    end = time.perf_counter() + SECONDS
    rounds = 0
    while time.perf_counter() < end or rounds < 5:
        for f, fastest in best.items():
            start = time.perf_counter()
            f()
            best[f] = min(fastest, time.perf_counter() - start)
        rounds += 1
    numpy, same = best[theirs] * 1e3, best[ours] * 1e3
    print(f"{name:52} NumPy {numpy:9.3f} ms   same bits {same:9.3f} ms   {same / numpy:6.2f}")


def products() -> None:
    x, w, g = normal(4096, 384), normal(384, 1536), normal(4096, 1536)
    cases = {
        "1024^3": (normal(1024, 1024), normal(1024, 1024)),
        "2048^3": (normal(2048, 2048), normal(2048, 2048)),
        "(2048, 768) @ (768, 3072)": (normal(2048, 768), normal(768, 3072)),
        "x @ w: (4096, 384) @ (384, 1536)": (x, w),
        "x.T @ g: (384, 4096) @ (4096, 1536)": (x.T, g),
        "g @ w.T: (4096, 1536) @ (1536, 384)": (g, w.T),
        "logits: (1024, 384) @ (384, 8192)": (normal(1024, 384), normal(384, 8192)),
    }
    for heads, time_, size in ((48, 256, 64), (48, 64, 32)):
        q, k = normal(heads, time_, size), normal(heads, time_, size)
        weights = normal(heads, time_, time_)
        cases[f"q @ k.T: {heads} x ({time_}, {size}) @ ({size}, {time_})"] = q, k.swapaxes(1, 2)
        cases[f"weights @ v: {heads} x ({time_}, {time_}) @ ({time_}, {size})"] = weights, k
        cases[f"weights.T @ g: {heads} x ({time_}, {time_}) @ ({time_}, {size})"] = weights.swapaxes(1, 2), k
    for name, (a, b) in cases.items():
        compare(name, lambda a=a, b=b: linalg.matmul(a, b), lambda a=a, b=b: np.matmul(a, b))
    for rows in (1, 16, 256, 1024):
        p, y = linalg.prepare(w), x[:rows]
        compare(f"({rows}, 384) @ (384, 1536)", lambda y=y: linalg.matmul(y, w), lambda y=y: np.matmul(y, w))
        compare(f"({rows}, 384) @ prepared (384, 1536)", lambda y=y, p=p: linalg.matmul(y, p), lambda y=y: np.matmul(y, w))


def sums() -> None:
    cases = [
        (normal(4096, 384), (0, 1, None)),
        (normal(1000, 1000), (0, 1, None)),
        (normal(64, 64, 384), (0, 1, 2, (0, 1), (0, 2))),
        (normal(1_000_000), (0,)),
        (normal(12288, 65), (1,)),
        (normal(16, 50257), (1,)),
    ]
    for x, axes in cases:
        for axis in axes:
            compare(
                f"sum {x.shape} axis {axis}",
                lambda x=x, i=axis: reductions.sum(x, i),
                lambda x=x, i=axis: np.sum(x, axis=i),
            )
    x = normal(4096, 384)
    for name in ("mean", "var", "max", "cumsum"):
        ours, theirs = getattr(reductions, name), getattr(np, name)
        for axis in (0, 1):
            compare(f"{name} {x.shape} axis {axis}", partial(ours, x, axis), partial(theirs, x, axis))


def scatters() -> None:
    gradient = normal(8192, 384)
    for size in (65, 1000, 8192, 50257):
        uniform = rng.integers(0, size, 8192)
        ids = {
            "uniform": uniform,
            "Zipf": np.minimum(rng.zipf(1.2, 8192) - 1, size - 1),
            "one id": np.zeros_like(uniform),
        }
        for kind, i in ids.items():

            def theirs(i: NDArray[np.int64] = i, size: int = size) -> None:
                np.add.at(np.zeros((size, 384), np.float32), i, gradient)

            name = f"embedding gradient 8192 x 384, {size} ids, {kind}"
            compare(name, lambda i=i, size=size: indexing.embedding_gradient(i, gradient, size), theirs)
    weights = gradient.ravel()[:100_000]
    ids = rng.integers(0, 1000, 100_000)
    compare("bincount 100 000, weights", lambda: indexing.bincount(ids, weights), lambda: np.bincount(ids, weights))
    compare("bincount 100 000", lambda: indexing.bincount(ids), lambda: np.bincount(ids))


for group in sys.argv[1:] or ("products", "sums", "scatters"):
    {"products": products, "sums": sums, "scatters": scatters}[group]()
