"""The cost of reproducible bits: samebits.core beside plain float32 NumPy, one thread, in one run.

    ./nox -s benchmark -- core [GROUP ...] [--svg FILE]

The two sides take turns. A figure is the fastest of the calls that fit in the given time, which other load on the machine affects least.
The groups are elementary, products, sums, scatters, random and fast.
"""

# ruff: noqa: E402 - settings come before what reads them

import argparse
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

for setting in ("OPENBLAS_NUM_THREADS", "SAMEBITS_THREADS"):
    os.environ.setdefault(setting, "1")

import limits
import numpy as np

from samebits import core
from samebits.core import Stream
from samebits.core.files import replace_text
from samebits.drift.record import describe_surroundings

Call = Callable[[], object]


class Pair(NamedTuple):
    """A function of ours and NumPy's counterpart, and the limit on the ratio of their times."""

    name: str
    ours: Call
    numpy: Call
    limit: float | None = None


class Figure(NamedTuple):
    pair: Pair
    ours: float
    numpy: float

    @property
    def ratio(self) -> float:
        return self.ours / self.numpy


def normal(*shape: int) -> np.ndarray:
    return Stream(0).split(str(shape)).normal(shape)


def elementary() -> Iterator[Pair]:
    x = normal(4_000_000)
    for name in ("exp", "expm1", "exp2", "log", "log1p", "log2", "log10", "tanh", "sin", "cos", "sqrt"):
        y = np.abs(x) + np.float32(0.01) if "log" in name or name == "sqrt" else x
        ours, numpy = getattr(core, name), getattr(np, name)
        yield Pair(f"{name}, 4 million", lambda f=ours, y=y: f(y), lambda f=numpy, y=y: f(y), limits.ELEMENTARY.value())
    yield Pair("sigmoid, 4 million, beside 1 / (1 + np.exp(-x))", lambda: core.sigmoid(x), lambda: 1 / (1 + np.exp(-x)))
    yield Pair("erf, 4 million, beside np.exp", lambda: core.erf(x), lambda: np.exp(x))


def int16(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with core.numerics("int16") as arithmetic:
        return arithmetic.matmul(a, b)


def products() -> Iterator[Pair]:
    x, w, g = normal(4096, 384), normal(384, 1536), normal(4096, 1536)
    limit = limits.MATMUL.value()
    cases = [
        ("1024³", normal(1024, 1024), normal(1024, 1024), limit),
        ("2048³", normal(2048, 2048), normal(2048, 2048), limit),
        ("(2048, 768) by (768, 3072)", normal(2048, 768), normal(768, 3072), limit),
        ("(4096, 384) by (384, 1536)", x, w, limit),
        ("its gradient for w, K = 4096", x.T, g, limit),
        ("its gradient for x", g, w.T, limit),
    ]
    for heads, length, size in ((48, 256, 64), (48, 64, 32)):
        q, weights = normal(heads, length, size), normal(heads, length, length)
        cases += [
            (f"attention {heads}×{length}×{size}: q by kᵀ", q, q.swapaxes(1, 2), 4.5),
            (f"attention {heads}×{length}×{size}: weights by v", weights, q, limits.WEIGHTS_BY_VALUES.value()),
        ]
    for name, a, b, limit in cases:
        yield Pair(f"matmul {name}", lambda a=a, b=b: core.matmul(a, b), lambda a=a, b=b: np.matmul(a, b), limit)
    x2, w2 = normal(1024, 1536), normal(1536, 384)
    for name, a, b in (
        ("1024³", normal(1024, 1024), normal(1024, 1024)),
        ("(4096, 384) by (384, 1536)", x, w),
        ("(1024, 1536) by (1536, 384)", x2, w2),
        ("its gradient for w", x2.T, x[:1024]),
        ("its gradient for x", x[:1024], w2.T),
    ):
        yield Pair(
            f"int16 matmul {name}", lambda a=a, b=b: int16(a, b), lambda a=a, b=b: np.matmul(a, b), limits.MATMUL_INT16.value()
        )
    for rows in (1, 16):
        y, prepared = x[:rows], core.prepare(w)
        yield Pair(
            f"matmul ({rows}, 384) by prepared (384, 1536)",
            lambda y=y, p=prepared: core.matmul(y, p),
            lambda y=y: np.matmul(y, w),
        )


def sums() -> Iterator[Pair]:
    for shape, axes in (((4096, 384), (0, 1)), ((1000, 1000), (0, 1)), ((64, 64, 384), (1,)), ((1_000_000,), (0,))):
        x = normal(*shape)
        for axis in axes:
            yield Pair(
                f"sum {shape} over axis {axis}", lambda x=x, a=axis: core.sum(x, a), lambda x=x, a=axis: np.sum(x, axis=a), 6
            )
    x = normal(4096, 384)
    for name in ("mean", "var", "max", "cumsum"):
        ours, numpy = getattr(core, name), getattr(np, name)
        yield Pair(f"{name} (4096, 384) over axis 1", lambda f=ours: f(x, 1), lambda f=numpy: f(x, axis=1))


def scatters() -> Iterator[Pair]:
    gradient = normal(8192, 384)
    for vocabulary in (65, 8192, 50257):
        ids = Stream(1).integers(vocabulary, size=8192)
        yield Pair(
            f"embedding gradient, 8192 × 384, {vocabulary} ids, beside np.add.at",
            lambda i=ids, v=vocabulary: core.embedding_gradient(i, gradient, v),
            lambda i=ids, v=vocabulary: np.add.at(np.zeros((v, 384), np.float32), i, gradient),
            1,
        )


def random() -> Iterator[Pair]:
    stream, generator, n = Stream(2), np.random.Generator(np.random.PCG64(2)), 1_000_000
    yield Pair("normal, 1 million", lambda: stream.normal(n), lambda: generator.standard_normal(n, dtype=np.float32), 2.5)
    yield Pair("uniform, 1 million", lambda: stream.uniform(n), lambda: generator.random(n, dtype=np.float32))
    yield Pair("integers, 1 million", lambda: stream.integers(1000, size=n), lambda: generator.integers(1000, size=n))
    yield Pair("permutation, 1 million", lambda: stream.permutation(n), lambda: generator.permutation(n))


def fast() -> Iterator[Pair]:
    a, x = normal(256, 256), normal(100_000)
    with core.numerics("fast"):
        yield Pair("fast: matmul 256³", lambda: core.current().matmul(a, a), lambda: np.matmul(a, a), 1.05)
        yield Pair("fast: exp, 100 thousand", lambda: core.current().exp(x), lambda: np.exp(x), 1.05)
        yield Pair("fast: sum, 100 thousand", lambda: core.current().sum(x), lambda: np.sum(x), 1.05)


GROUPS = {"elementary": elementary, "products": products, "sums": sums, "scatters": scatters, "random": random, "fast": fast}


def measure(pair: Pair, seconds: float) -> Figure:
    """The fastest of the calls that take turns for ``seconds``, at least seven each."""
    pair.ours(), pair.numpy()
    times: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 7:
        for call, taken in zip((pair.ours, pair.numpy), times, strict=True):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
    return Figure(pair, min(times[0]), min(times[1]))


def line(figure: Figure) -> str:
    limit = f"{figure.pair.limit:g}" if figure.pair.limit else ""
    return f"| {figure.pair.name} | {figure.ours * 1e3:.3f} | {figure.numpy * 1e3:.3f} | {figure.ratio:.2f} | {limit} |"


def svg(figures: list[Figure], machine: str) -> str:
    """Bars of the ratios, each number beside its bar, and a tick where there is a limit."""
    row, left, width, top = 19, 460, 380, 64
    scale = width / max(max(one.ratio, one.pair.limit or 0) for one in figures)
    whole, height = left + width + 20, row * len(figures) + top + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {height}" width="{whole}">',
        '<g font-family="system-ui, sans-serif" font-size="12" fill="#33333b">',
        f'<rect width="{whole}" height="{height}" rx="8" fill="#ffffff"/>',
        f'<text x="20" y="24" font-weight="600">Time of samebits over that of float32 NumPy, one thread, {escape(machine)}</text>',
        '<rect x="20" y="34" width="2" height="17" fill="#33333b"/>',
        '<text x="30" y="47">the limit set for this function</text>',
        '<rect x="230" y="36" width="22" height="13" fill="#e8a39b"/>',
        '<text x="260" y="47">slower than the limit</text>',
    ]
    for number, one in enumerate(figures):
        y, over = top + row * number, one.pair.limit is not None and one.ratio > one.pair.limit
        parts.append(f'<text x="{left - 52}" y="{y + 13}" text-anchor="end">{escape(one.pair.name)}</text>')
        parts.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end" font-weight="600">{one.ratio:.1f}</text>')
        color = "#e8a39b" if over else "#9fc5e8"
        parts.append(f'<rect x="{left}" y="{y + 3}" width="{one.ratio * scale:.1f}" height="13" fill="{color}"/>')
        if one.pair.limit:
            parts.append(f'<rect x="{left + one.pair.limit * scale:.1f}" y="{y + 1}" width="2" height="17" fill="#33333b"/>')
    return "\n".join([*parts, "</g>", "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", choices=[*GROUPS, []], default=[], metavar="GROUP")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each line")
    parser.add_argument("--svg", type=Path, help="draw the ratios to this file")
    options = parser.parse_args()
    print(f"{core.describe_machine()}\n\n| | ours, ms | NumPy, ms | ratio | limit |\n| --- | ---: | ---: | ---: | ---: |")
    figures = []
    for group in options.groups or GROUPS:
        for pair in GROUPS[group]():
            figures.append(measure(pair, options.seconds))
            print(line(figures[-1]), flush=True)
    if options.svg:
        replace_text(options.svg, svg(figures, describe_surroundings()["processor"]))


if __name__ == "__main__":
    main()
