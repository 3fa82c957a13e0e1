"""Array operations: sums, products, linear algebra, sorting, Fourier transforms, indexing, curves and statistics."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from samebits.drift.inputs import integers, matrix, named, uniform
from samebits.drift.operation import Operation, called_with, in_both_precisions

__all__ = ["table"]


def table() -> Iterator[Operation]:
    """The operations, group by group."""
    yield from sums()
    yield from products()
    yield from linear_algebra()
    yield from sorting()
    yield from transforms()
    yield from indexing()
    yield from curves()


def sums() -> Iterator[Operation]:
    group = "sums"
    for dtype in ("float32", "float64"):
        square, mine = matrix(20, 301, 299, dtype=dtype), dtype == "float32"
        for axis in (None, 0, 1):
            where = "whole" if axis is None else f"axis {axis}"
            yield Operation(group, f"sum {where} {dtype}", "sum", [square], {"axis": axis}, counterpart="sum" * mine)
        for name in ("mean", "var", "std"):
            yield Operation(group, f"{name} {dtype}", name, [square], counterpart=name * mine)
        yield Operation(group, f"cumsum {dtype}", "cumsum", [named("unit", dtype)], counterpart="cumsum" * mine)
        yield Operation(group, f"cumprod {dtype}", "cumprod", [named("above", dtype)[:300] / np.asarray(4, dtype)])
        yield Operation(group, f"prod {dtype}", "prod", [named("above", dtype)[:301] / np.asarray(4, dtype)])
        yield Operation(group, f"add.reduceat {dtype}", "add.reduceat", [named("unit", dtype), np.arange(0, 20_000, 450)])
    x = matrix(21, 50, 80, dtype="float32")
    yield Operation(
        group,
        "logaddexp.reduce",
        "logaddexp.reduce",
        [x],
        counterpart="logsumexp",
        counterpart_call=lambda logsumexp: logsumexp(x, axis=0),
    )
    yield Operation(group, "sum strided float32", named("unit", "float32")[::3].sum)
    yield Operation(group, "sum float16", lambda: named("unit", "float32").astype(np.float16).sum())
    yield Operation(group, "sum complex", (matrix(22, 9000) + 1j * matrix(23, 9000)).sum)
    yield Operation(group, "average with weights", "average", [named("unit", "float64")], {"weights": named("above", "float64")})
    yield Operation(group, "nansum", lambda: np.nansum(named("unit", "float64")))
    yield Operation(group, "cov", "cov", [matrix(24, 20, 300)])
    yield Operation(group, "corrcoef", "corrcoef", [matrix(24, 20, 300)])


def products() -> Iterator[Operation]:
    group = "products"
    for dtype in ("float32", "float64"):
        mine = dtype == "float32"
        a, b = matrix(30, 201, 300, dtype=dtype), matrix(31, 300, 103, dtype=dtype)
        v, w = matrix(36, 300, dtype=dtype), matrix(37, 4099, dtype=dtype)
        yield Operation(group, f"A @ B {dtype}", "matmul", [a, b], counterpart="matmul" * mine)
        yield Operation(group, f"A @ A.T {dtype}", "matmul", [a, a.T], counterpart="matmul" * mine)
        yield Operation(group, f"matrix @ vector {dtype}", "matmul", [a, v], counterpart="matmul" * mine)
        yield Operation(group, f"dot of 4099 {dtype}", "dot", [w, w[::-1].copy()], counterpart="dot" * mine)
        yield Operation(group, f"dot of 7 {dtype}", "dot", [w[:7], w[7:14]], counterpart="dot" * mine)
        yield Operation(group, f"einsum optimize {dtype}", "einsum", ["ij,jk->ik", a, b], {"optimize": True})
        yield Operation(group, f"norm whole {dtype}", "linalg.norm", [a], counterpart="norm" * mine)
        yield Operation(group, f"norm axis 1 {dtype}", "linalg.norm", [a], {"axis": 1}, counterpart="norm" * mine)
    a, v = matrix(32, 37, 53, dtype="float32"), matrix(36, 53, dtype="float32")
    yield Operation(group, "A @ B of 37×53×11", "matmul", [a, matrix(33, 53, 11, dtype="float32")], counterpart="matmul")
    yield Operation(group, "A.T @ B", "matmul", [a.T, matrix(33, 37, 64, dtype="float32")], counterpart="matmul")
    yield Operation(group, "vector @ matrix", "matmul", [v, a.T], counterpart="matmul")
    batch = [matrix(34, 8, 33, 65, dtype="float32"), matrix(35, 8, 65, 20, dtype="float32")]
    yield Operation(group, "matmul of a batch", "matmul", batch, counterpart="matmul")
    yield Operation(group, "vecdot", "vecdot", [a, v], counterpart="vecdot")
    yield Operation(group, "inner", "inner", [a, a])
    yield Operation(group, "einsum ij,jk", "einsum", ["ij,jk->ik", a, matrix(33, 53, 11, dtype="float32")])
    yield Operation(group, "einsum ii", "einsum", ["ii->", matrix(38, 300, 300)])
    yield Operation(group, "outer", "outer", [matrix(39, 99), matrix(40, 99)])
    yield Operation(group, "kron", "kron", [matrix(41, 9, 9), matrix(42, 7, 7)])
    yield Operation(group, "tensordot", "tensordot", [matrix(43, 9, 20, 30), matrix(44, 20, 30, 8)])
    yield Operation(group, "matmul complex", lambda: (matrix(45, 60, 60) + 1j) @ (matrix(46, 60, 60) - 1j))
    yield Operation(group, "matmul int64", lambda: integers(47, 999, 60, 60) @ integers(48, 999, 60, 60))


def linear_algebra() -> Iterator[Operation]:
    group = "linear algebra"
    square = matrix(50, 60, 60) + 8.0 * np.eye(60)
    half = integers(51, 65, 60, 60).astype(np.float64) / 64.0  # the products below are exact, so the same everywhere
    spd, tall = half @ half.T + 60.0 * np.eye(60), matrix(52, 90, 40)
    symmetric = square + square.T
    for name, arguments in {
        "svd": [tall],
        "qr": [tall],
        "solve": [square, matrix(53, 60, 5)],
        "inv": [square],
        "cholesky": [spd],
        "eigh": [symmetric],
        "eig": [square],
        "det": [square / 8.0],
        "pinv": [tall],
        "lstsq": [tall, matrix(54, 90)],
    }.items():
        keywords = {"rcond": None} if name == "lstsq" else {}
        yield Operation(group, name, f"linalg.{name}", arguments, keywords)
    for name in ("svd", "solve", "inv", "cholesky"):
        single = (spd if name == "cholesky" else square).astype(np.float32)
        arguments = [single, matrix(55, 60, dtype="float32")] if name == "solve" else [single]
        yield Operation(group, f"{name} float32", f"linalg.{name}", arguments)


def sorting() -> Iterator[Operation]:
    group = "sorting"
    yield from in_both_precisions(group, "sort", "wide")
    for dtype in ("float32", "float64", "int64"):
        ties = named("ties", "float64").astype(dtype)
        mine = "argsort" if dtype in ("float32", "int64") else ""
        yield Operation(group, f"argsort of ties {dtype}", "argsort", [ties], counterpart=mine)
        yield Operation(
            group,
            f"argsort stable {dtype}",
            "argsort",
            [ties],
            {"kind": "stable"},
            counterpart=mine,
            counterpart_call=called_with(ties),
        )
        yield Operation(group, f"argpartition {dtype}", "argpartition", [ties, 5000])
    yield Operation(group, "argsort short float32", "argsort", [named("ties", "float32")[:14]], counterpart="argsort")
    yield Operation(group, "partition", "partition", [named("wide", "float64"), 5000])
    yield Operation(group, "searchsorted", "searchsorted", [np.arange(-16.0, 16.0), named("wide", "float64")])
    yield Operation(group, "unique", "unique", [named("ties", "int64")], {"return_index": True, "return_inverse": True})
    yield Operation(group, "lexsort", "lexsort", [(named("ties", "float64"), integers(60, 9, 20_011))])
    yield Operation(group, "argmax of ties", "argmax", [named("ties", "float32").reshape(1, -1)], {"axis": 1})
    yield Operation(group, "median", "median", [named("wide", "float64")])


def transforms() -> Iterator[Operation]:
    group = "Fourier"
    x, prime = matrix(70, 1024), matrix(71, 1009)
    yield Operation(group, "fft", "fft.fft", [x])
    yield Operation(group, "fft float32", "fft.fft", [x.astype(np.float32)])
    yield Operation(group, "fft of prime length", "fft.fft", [prime])
    yield Operation(group, "ifft", "fft.ifft", [x + 1j * x[::-1]])
    yield Operation(group, "rfft", "fft.rfft", [x])
    yield Operation(group, "irfft", "fft.irfft", [x + 1j * x[::-1]])
    yield Operation(group, "fft2", "fft.fft2", [x.reshape(32, 32)])


def indexing() -> Iterator[Operation]:
    group = "indexing"
    x, where = named("wide", "float64"), integers(80, 500, 20_011)
    single = named("wide", "float32")
    yield Operation(group, "take", "take", [x, where])
    yield Operation(group, "mask", lambda: x[x > 0])
    yield Operation(group, "where", "where", [x > 0, x, -x])
    yield Operation(group, "bincount", "bincount", [where], counterpart="bincount")
    yield Operation(group, "bincount with weights", "bincount", [where, single], counterpart="bincount")
    scatter = "segment_sum"
    yield Operation(
        group, "add.at", add_at, [single, where], counterpart=scatter, counterpart_call=called_with(single, where, 500)
    )


def add_at(values: Any, where: Any) -> Any:
    target = np.zeros(500, values.dtype)
    np.add.at(target, where, values)
    return target


def curves() -> Iterator[Operation]:
    group = "curves and statistics"
    x, y, p = named("wide", "float64"), named("unit", "float64"), np.sort(uniform(90, 300))
    yield Operation(group, "interp", "interp", [y, p, matrix(91, 300)])
    yield Operation(group, "convolve", "convolve", [y[:3000], matrix(92, 51)])
    yield Operation(group, "convolve float32", "convolve", [named("unit", "float32")[:3000], matrix(92, 51, dtype="float32")])
    yield Operation(group, "correlate", "correlate", [y[:3000], matrix(93, 300)])
    yield Operation(group, "histogram", "histogram", [x, 50])
    yield Operation(group, "histogram density", "histogram", [x, 50], {"density": True})
    yield Operation(group, "digitize", "digitize", [x, np.arange(-16.0, 16.0)])
    yield Operation(group, "percentile", "percentile", [x, [1.0, 33.3, 90.0]])
    yield Operation(group, "quantile float32", "quantile", [named("wide", "float32"), np.float32(0.3)])
    yield Operation(group, "polyval", "polyval", [matrix(94, 8), y])
    yield Operation(group, "polyfit", "polyfit", [p, matrix(95, 300), 4])
    yield Operation(group, "gradient", "gradient", [y])
    yield Operation(group, "diff", "diff", [y])
    yield Operation(group, "linspace", "linspace", [-1.0, 2.0, 1001])
    yield Operation(group, "linspace float32", "linspace", [-1.0, 2.0, 1001], {"dtype": "float32"})
    yield Operation(group, "arange of 0.1", "arange", [0.0, 100.0, 0.1])
    yield Operation(group, "unwrap", "unwrap", [x])
    yield Operation(group, "hanning", "hanning", [501])
    yield Operation(group, "kaiser", "kaiser", [501, 8.6])
    yield Operation(group, "vander", "vander", [y[:50], 9])
