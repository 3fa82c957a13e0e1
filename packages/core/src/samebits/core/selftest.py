"""The self-test: known results computed on this machine, compared with their expected digests.

The first cases are the operations of NumPy that samebits uses: conversions, correctly rounded arithmetic, exact products,
stable sorting, indexing, random words. The others are the functions of samebits.core. A wrong digest names what this machine
computes differently. The expected digests are in ``selftest.json``, beside this file. To run it without the command:

    python -m samebits.core.selftest
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits import core
from samebits.core.hashing import digest

__all__ = ["Outcome", "run_selftest"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Outcome:
    """The result of one case on this machine."""

    case: str
    digest: str
    expected: str | None

    @property
    def ok(self) -> bool:
        """Whether the digest is the expected one."""
        return self.digest == self.expected


def run_selftest() -> list[Outcome]:
    """Run every case and compare its digest with the expected one.

    Returns:
        An `Outcome` for each case, in a fixed order.

    Example:
        >>> all(outcome.ok for outcome in run_selftest())
        True
    """
    expected = json.loads(files("samebits.core").joinpath("selftest.json").read_text(encoding="utf-8"))
    with np.errstate(all="ignore"):
        return [Outcome(name, digest(make()), expected.get(name)) for name, make in cases()]


def words(count: int) -> npt.NDArray[np.uint64]:
    """Raw 64-bit words of PCG64, which NumPy guarantees (NEP 19)."""
    return np.random.PCG64(np.random.SeedSequence(1)).random_raw(count)  # noqa: TID251 - NEP 19 keeps raw words stable


def floats(count: int) -> npt.NDArray[np.float32]:
    """Finite float32 numbers of all sizes and both signs, subnormals included, from raw words."""
    bits = (words(count) >> np.uint64(32)).astype(np.uint32) & np.uint32(0xBFFFFFFF)
    return bits.view(np.float32)


def integers(*shape: int) -> Array:
    """Integers from -1000 to 1000 in float64: products of such matrices are exact in any order."""
    count = math.prod(shape)
    return ((words(count) % np.uint64(2001)).astype(np.float64) - 1000.0).reshape(shape)


def cases() -> Iterator[tuple[str, Callable[[], Array]]]:
    """Every case: its name, and the function that computes its array."""
    x, y = floats(4096), floats(8192)[4096:]
    grid = integers(40, 30)
    special = np.array([0x7F800000, 0xFF800000, 0, 0x80000000, 1, 0x80000001, 0x7F7FFFFF], np.uint32).view(np.float32)
    order = (words(500) % np.uint64(20)).astype(np.int64)

    for dtype in (
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        "float32",
        "float64",
    ):
        yield f"range as {dtype}", lambda dtype=dtype: np.arange(-3, 4).astype(dtype)  # type: ignore[misc]
    yield "random words", lambda: words(1000)
    yield "random floats", lambda: x
    yield "special values", lambda: special
    yield "no elements", lambda: np.empty((0, 3), np.float32)
    yield "no dimensions", lambda: np.array(1.5, np.float32)

    yield "float32 to float64", lambda: x.astype(np.float64)
    yield "float64 to float32", lambda: (x.astype(np.float64) * 1.1).astype(np.float32)
    yield "float32 to float16", lambda: (np.minimum(np.abs(x), np.float32(60000))).astype(np.float16)
    yield "float64 to int64", lambda: (integers(999) * 1.37).astype(np.int64)
    yield "int64 to float32", lambda: (words(999) >> np.uint64(20)).astype(np.int64).astype(np.float32)

    yield "float32 add", lambda: x + y
    yield "float32 subtract", lambda: x - y
    yield "float32 multiply", lambda: x * y
    yield "float32 divide", lambda: x / y
    yield "float32 square root", lambda: np.sqrt(np.abs(x))
    yield "float64 divide", lambda: x.astype(np.float64) / y
    yield "float64 square root", lambda: np.sqrt(np.abs(x.astype(np.float64)))
    yield "multiply then add rounds twice", lambda: x * np.float32(1.1) + x
    yield "subnormal results", lambda: x * np.float32(1e-20) * np.float32(1e-20)
    yield "round to even", lambda: np.rint(integers(500) * 0.25)
    yield "round to a grid", lambda: (integers(500) * 0.1 + 1.5 * 2.0**32) - 1.5 * 2.0**32
    yield "floor", lambda: np.floor(integers(500) * 0.1)
    yield "compare", lambda: x < y
    yield "choose", lambda: np.where(x < y, x, y)
    yield "bits of floats", lambda: x.view(np.uint32) >> np.uint32(23)

    yield "exact product of matrices", lambda: grid @ grid.T
    yield "exact product at 2^53", lambda: (integers(8, 64) % 8 + 11863270.0) @ (integers(64, 8) % 8 + 11863270.0)
    yield "exact product of a transpose", lambda: grid.T @ np.ascontiguousarray(grid)
    yield "exact sum by columns", lambda: grid.sum(axis=0)
    yield "largest and smallest", lambda: np.stack([x.max(), x.min()]) + np.float32(0)
    yield "halving tree", lambda: halving_tree(x.astype(np.float64))
    yield "stable sort order", lambda: np.argsort(order, kind="stable").astype(np.int64)
    yield "gather", lambda: np.take(grid, order, axis=0)
    yield "every other row, turned", lambda: grid[::-2].T
    yield "segment sums", lambda: np.add.reduceat(integers(500), np.arange(0, 500, 7))
    yield from own_cases(x, y, order)


def own_cases(x: Array, y: Array, ids: Array) -> Iterator[tuple[str, Callable[[], Array]]]:
    """The cases of the functions of samebits.core."""
    a, b = x.reshape(64, 64), y.reshape(64, 64)
    for name in (
        "exp",
        "expm1",
        "exp2",
        "log",
        "log1p",
        "log2",
        "log10",
        "tanh",
        "sigmoid",
        "sin",
        "cos",
        "erf",
        "sqrt",
        "rsqrt",
    ):
        yield f"core.{name}", lambda name=name: getattr(core, name)(x)  # type: ignore[misc]
    for name in ("sum", "mean", "var", "std", "max", "min", "norm", "logsumexp", "cumsum"):
        yield f"core.{name}", lambda name=name: getattr(core, name)(a, axis=1)  # type: ignore[misc]
    yield "core.matmul", lambda: core.matmul(a, b.T)
    yield "core.vecdot", lambda: core.vecdot(a, b)
    yield "core.argsort", lambda: core.argsort(x)
    yield "core.segment_sum", lambda: core.segment_sum(x[:500], ids, 20)
    yield "core.bincount", lambda: core.bincount(ids, y[:500])
    yield "core.embedding_gradient", lambda: core.embedding_gradient(ids[:64], a, 20)
    for name in ("uniform", "normal", "truncated_normal"):
        yield f"core.Stream.{name}", lambda name=name: getattr(core.Stream(1).split("selftest"), name)(size=1000)  # type: ignore[misc]
    yield "core.Stream.integers", lambda: core.Stream(1).integers(1000, size=1000)
    yield "core.Stream.permutation", lambda: core.Stream(1).permutation(1000)


def halving_tree(x: Array) -> Array:
    """Sum of ``2^n`` numbers: add the second half to the first until one is left, in an order no library chooses."""
    while x.size > 1:
        x = x[: x.size // 2] + x[x.size // 2 :]
    return x


def main() -> int:
    """Print the cases with another digest, and a count; return the exit status."""
    outcomes = run_selftest()
    wrong = [outcome for outcome in outcomes if not outcome.ok]
    for outcome in wrong:
        print(f"differs: {outcome.case}: {outcome.digest}, expected {outcome.expected}")
    print(f"{len(outcomes) - len(wrong)} of {len(outcomes)} known results have the expected digest")
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
