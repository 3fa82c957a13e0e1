"""Golden cases of samebits.core: every public function over the inputs that matter.

Run as a script, it prints each case's digest as JSON: so the tests run it again under other CPU levels, BLAS kernels and
thread counts. `nox -s update-digests` writes core.json from it, on purpose only.
"""

import itertools
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits import core
from samebits.core import Stream, digest
from samebits.core.block_formats import FORMATS, quantize
from samebits.core.quantized import QuantizedMatrix
from samebits.core.shards import mean_of_shards

Array = npt.NDArray[Any]
Case = tuple[str, Callable[[], Array]]

ELEMENTARY = ["exp", "expm1", "exp2", "log", "log1p", "log2", "log10", "tanh", "sigmoid", "sin", "cos", "erf", "sqrt", "rsqrt"]
REDUCTIONS = ["sum", "mean", "var", "std", "max", "min", "norm", "logsumexp"]
SPECIAL = [0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007FFFFF, 0x00800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000]
SPECIAL += [0xFF800000, 0x7FC00000, 0xFFC00001, 0x7F800001, 0x3F800000, 0xBF800000, 0x3F7FFFFF, 0x42B17217, 0xC2CFF1B5]
BLOCK = 32768


def bits(values: list[int]) -> Array:
    return np.array(values, np.uint32).view(np.float32)


def anything(count: int, name: str = "anything") -> Array:
    """Floats of every exponent and sign, NaN and infinity among them."""
    return (Stream(0).split(name).words(count) >> np.uint64(32)).astype(np.uint32).view(np.float32)


def finite(count: int, name: str = "finite") -> Array:
    """Floats of every exponent from 2^-149 to 2."""
    return (anything(count, name).view(np.uint32) & np.uint32(0xBFFFFFFF)).view(np.float32)


def normal(*shape: int, name: str = "normal") -> Array:
    return Stream(0).split(name).normal(size=shape)


def elementary() -> Iterator[Case]:
    for name in ELEMENTARY:
        function = getattr(core, name)
        yield f"{name}: special values", lambda f=function: f(bits(SPECIAL))  # type: ignore[misc]
        yield f"{name}: every exponent", lambda f=function: f(anything(50_000))  # type: ignore[misc]
        yield f"{name}: around 0", lambda f=function: f(normal(50_000) * np.float32(4))  # type: ignore[misc]
        yield f"{name}: subnormals", lambda f=function: f(np.arange(0, 2**23, 997, dtype=np.uint32).view(np.float32))  # type: ignore[misc]
        yield f"{name}: a strided view", lambda f=function: f(normal(60, 70)[::-2, ::3].T)  # type: ignore[misc]
        for size in (0, 1, BLOCK - 1, BLOCK, BLOCK + 1):
            yield f"{name}: {size} elements", lambda f=function, n=size: f(normal(n))  # type: ignore[misc]


def products(core: Any) -> Iterator[Case]:
    for m, k, n in itertools.product((1, 3, 33), (0, 1, 2, 17, 384), (1, 5, 64)):
        yield f"matmul: ({m}, {k}) by ({k}, {n})", lambda m=m, k=k, n=n: core.matmul(normal(m, k), normal(k, n, name="b"))  # type: ignore[misc]
    yield "matmul: large", lambda: core.matmul(normal(300, 1000), normal(1000, 200, name="b"))
    yield "matmul: every exponent", lambda: core.matmul(finite(60 * 50).reshape(60, 50), finite(50 * 40, "b").reshape(50, 40))
    yield (
        "matmul: products that overflow",
        lambda: core.matmul(normal(20, 30) * np.float32(1e25), normal(30, 20) * np.float32(1e25)),
    )
    yield (
        "matmul: products that vanish",
        lambda: core.matmul(normal(20, 30) * np.float32(1e-25), normal(30, 20) * np.float32(1e-20)),
    )
    yield "matmul: transposed operands", lambda: core.matmul(normal(80, 60).T, normal(90, 80, name="b").T)
    yield "matmul: strided operands", lambda: core.matmul(normal(80, 60)[::2, ::3], normal(60, 80)[::3, ::-2])
    yield "matmul: attention", lambda: core.matmul(normal(2, 3, 40, 16), normal(2, 3, 40, 16, name="k").swapaxes(-1, -2))
    yield "matmul: broadcast batch", lambda: core.matmul(normal(2, 1, 7, 5), normal(3, 5, 4, name="b"))
    yield "matmul: one weight for a batch", lambda: core.matmul(normal(4, 9, 24), normal(24, 31, name="b"))
    yield "matmul: matrix by vector", lambda: core.matmul(normal(50, 70), normal(70, name="b"))
    yield "matmul: vector by matrix", lambda: core.matmul(normal(50), normal(50, 70, name="b"))
    yield "matmul: with its own transpose", lambda: core.matmul(normal(64, 100), normal(64, 100).T)
    yield "matmul: prepared", lambda: core.matmul(normal(33, 100), core.prepare(normal(100, 20)))
    yield "dot", lambda: np.asarray(core.dot(normal(1000), normal(1000, name="b")))
    yield "dot: many axes", lambda: core.dot(normal(3, 20), normal(4, 20, 5))
    yield "vecdot", lambda: core.vecdot(normal(30, 100), normal(30, 100, name="b"))
    yield "vecdot: along the first axis", lambda: core.vecdot(normal(100, 3), normal(100, 3, name="b"), axis=0)


def linalg() -> Iterator[Case]:
    yield from products(core)


def int16() -> Iterator[Case]:
    with core.numerics("int16") as arithmetic:
        for name, make in products(arithmetic):
            yield f"int16 {name}", make
        few, b, bias = normal(3, 600), normal(600, 20, name="b"), normal(20, name="bias")
        yield "int16 linear: few rows", lambda: arithmetic.linear(few, arithmetic.prepare(b), bias)
        yield "int16 linear: many rows", lambda: arithmetic.linear(normal(70, 600), b, bias)


def quantized() -> Iterator[Case]:
    for name, (weights, block, decode) in FORMATS.items():
        if decode is None:
            continue
        raw = Stream(0).split(name).integers(256, size=(40, 1024 // weights * block.itemsize)).astype(np.uint8)
        blocks = raw.view(block)
        for field in set(block.names or ()) & {"d", "m", "e"}:
            blocks[field] = (blocks[field].view("<u2") & 0xBFFF).view("<f2")
        matrix = QuantizedMatrix(blocks, name)
        for rows in (1, 50):
            yield f"quantized {name}: {rows} rows", lambda m=matrix, n=rows: m.multiply(normal(n, 1024))  # type: ignore[misc]
        yield f"quantized {name}: every exponent", lambda m=matrix: m.multiply(finite(5 * 1024).reshape(5, 1024))  # type: ignore[misc]
    for name in ("Q8_0", "Q4_0", "Q4_1"):
        yield f"quantize {name}", lambda name=name: quantize(normal(50, 640), name).view(np.uint8)  # type: ignore[misc]


def reductions() -> Iterator[Case]:
    for name in REDUCTIONS:
        function = getattr(core, name)
        for shape, axis in (((1000,), None), ((70, 90), 0), ((70, 90), 1), ((5, 6, 7), (0, 2)), ((5, 6, 7), 1), ((100_003,), 0)):
            yield f"{name}: {shape} over {axis}", lambda f=function, s=shape, a=axis: np.asarray(f(normal(*s), axis=a))  # type: ignore[misc]
        yield f"{name}: transposed", lambda f=function: f(normal(70, 90).T, axis=0, keepdims=True)  # type: ignore[misc]
        yield f"{name}: every exponent", lambda f=function: f(finite(9000).reshape(90, 100), axis=1)  # type: ignore[misc]
        yield f"{name}: infinities, NaN, zeros", lambda f=function: f(bits(SPECIAL * 4).reshape(4, 18).T, axis=1)  # type: ignore[misc]
    yield "sum: nothing", lambda: core.sum(normal(0, 3), axis=0)
    yield "var: ddof", lambda: core.var(normal(7, 8), axis=1, ddof=1)
    yield "cumsum", lambda: core.cumsum(normal(3, 1000), axis=1)
    yield "cumsum: flattened", lambda: core.cumsum(normal(30, 50))


def shards() -> Iterator[Case]:
    for count in (2, 3, 5, 64):
        yield f"mean of {count} shards", lambda n=count: mean_of_shards([normal(40, 50, name=f"shard {i}") for i in range(n)])  # type: ignore[misc]
        yield (
            f"mean of {count} shards: every exponent",
            lambda n=count: mean_of_shards([finite(5000, f"shard {i}") for i in range(n)]),  # type: ignore[misc]
        )


def indexing() -> Iterator[Case]:
    ids = Stream(0).split("ids").integers(50, size=2000)
    yield "argsort: numbers", lambda: core.argsort(ids)
    yield "argsort: floats with NaN and zeros", lambda: core.argsort(np.tile(bits(SPECIAL), 20).reshape(20, 18), axis=0)
    yield "segment_sum", lambda: core.segment_sum(normal(2000, 6), ids, 60)
    yield "segment_sum: every exponent", lambda: core.segment_sum(finite(2000), ids, 50)
    yield "segment_sum: one id", lambda: core.segment_sum(normal(2000), ids * 0, 1)
    yield "bincount", lambda: core.bincount(ids, minlength=55)
    yield "bincount: weights", lambda: core.bincount(ids, normal(2000))
    yield "embedding_gradient", lambda: core.embedding_gradient(ids.reshape(40, 50), normal(40, 50, 8), 65)

    def scattered() -> Array:
        target = normal(50, 3, name="target")
        core.scatter_add(target, ids, normal(2000, 3))
        return target

    yield "scatter_add", scattered


def random() -> Iterator[Case]:
    draws: dict[str, Callable[[Stream, int | tuple[int, ...]], Array]] = {
        "words": lambda s, n: s.words(int(np.prod(n))),
        "uniform": lambda s, n: s.uniform(n, low=-1, high=3),
        "normal": lambda s, n: s.normal(n, mean=1, std=0.02),
        "truncated_normal": lambda s, n: s.truncated_normal(size=n),
        "integers": lambda s, n: s.integers(-5, 2**40, n),
        "permutation": lambda s, n: s.permutation(int(np.prod(n))),
        "choice": lambda s, n: s.choice(3, n, p=[0.2, 0.3, 0.5]),
        "bernoulli": lambda s, n: s.bernoulli(0.1, n),
    }
    for name, draw in draws.items():
        for size in (1, 1001, (40, 500)):
            yield f"Stream.{name}: {size}", lambda d=draw, n=size: np.asarray(d(Stream(2026), n))  # type: ignore[misc]
        yield f"Stream.{name}: split", lambda d=draw: np.asarray(d(Stream(2026).split("layer").split(3), 100))  # type: ignore[misc]


def cases() -> Iterator[Case]:
    for group in (elementary, linalg, int16, quantized, reductions, shards, indexing, random):
        yield from group()


def digests() -> dict[str, str]:
    return {name: digest(make()) for name, make in cases()}


if __name__ == "__main__":
    json.dump(digests(), sys.stdout, indent=1)
