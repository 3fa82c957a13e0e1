"""Errors of samebits.core and of plain float32 NumPy against the true value: a table in Markdown.

    ./nox -s benchmark -- errors

Elementary functions: the largest error in units in the last place (ulp; 0.5 is the least possible) and the share of results that are
not the nearest float32. Products and sums: the root mean square error over the mean magnitude of the true values, in units of 1e-7.
True values are computed in float64, those of sums exactly by math.fsum.
"""

import math

import numpy as np

from samebits import core
from samebits.core import Stream

FUNCTIONS = {"exp": np.exp, "log": np.log, "tanh": np.tanh, "sin": np.sin, "exp2": np.exp2, "log1p": np.log1p}


def normal(*shape: int) -> np.ndarray:
    return Stream(0).split(str(shape)).normal(shape)


def off(found: np.ndarray, true: np.ndarray) -> str:
    """The largest error in ulp, and the share of results that are not the nearest."""
    nearest = true.astype(np.float32)
    ulps = np.abs(found - true) / np.spacing(np.abs(nearest)).astype(np.float64)
    return f"{ulps.max():.2f} ulp, {np.mean(found != nearest):.1%}"


def elementary() -> None:
    print("| | samebits | NumPy |\n| --- | --- | --- |")
    x = normal(4_000_000) * np.float32(4)
    for name, numpy in FUNCTIONS.items():
        y = np.abs(x) + np.float32(2**-20) if "log" in name else x
        true = numpy(y.astype(np.float64))
        print(f"| {name}, 4 million normal numbers times 4 | {off(getattr(core, name)(y), true)} | {off(numpy(y), true)} |")


def relative(found: np.ndarray, true: np.ndarray) -> str:
    return f"{1e7 * math.sqrt(np.mean((found - true) ** 2)) / np.mean(np.abs(true)):.2f}"


def sums() -> None:
    print("\n| 1e-7 | samebits | NumPy |\n| --- | ---: | ---: |")
    for length in (64, 384, 4096, 16384):
        a, b = normal(128, length), normal(length, 96)
        true = a.astype(np.float64) @ b.astype(np.float64)
        print(f"| matmul, K = {length} | {relative(core.matmul(a, b), true)} | {relative(np.matmul(a, b), true)} |")
    for length in (384, 1_000_000):
        x = np.abs(normal(8, length))
        true = np.array([math.fsum(row.tolist()) for row in x])
        print(f"| sum of {length} positive numbers | {relative(core.sum(x, 1), true)} | {relative(np.sum(x, axis=1), true)} |")


if __name__ == "__main__":
    print(core.describe_machine(), end="\n\n")
    elementary()
    sums()
