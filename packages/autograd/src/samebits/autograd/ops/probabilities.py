"""Softmax and its logarithm along an axis, without overflow.

In exact arithmetic they are computed in float64 and rounded once. -inf gives the probability 0; a row without a finite
maximum has no softmax, and raises FloatingPointError.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from samebits.autograd.graph import Array
from samebits.autograd.operations import operation
from samebits.autograd.ops.axes import either
from samebits.autograd.ops.elementwise import exp, multiply, subtract
from samebits.autograd.ops.reductions import sum as sum_
from samebits.autograd.tensor import Tensor
from samebits.core import Kernels, current, refuse_rows


def softmax(x: Tensor, axis: int = -1, *, dim: int | None = None) -> Tensor:
    """e^x / sum(e^x) along ``axis``.

    Raises:
        FloatingPointError: In exact arithmetic, a row has no finite maximum.

    Example:
        >>> softmax(Tensor([0.0, 0.0, -float("inf")]))
        Tensor([0.5, 0.5, 0. ])
    """
    return _softmax(x, either(axis, dim, -1))


@operation(lambda g, out, axis: multiply(out, subtract(g, sum_(multiply(g, out), axis, keepdims=True))))
def _softmax(x: Any, axis: int) -> Array:
    def finish(kernels: Kernels, shifted: Array, out: Array) -> None:
        kernels.exp(shifted, shifted)
        np.divide(shifted, kernels.sum(shifted, -1)[:, None], out=out)

    return _by_rows("softmax", finish, x, axis)


def log_softmax(x: Tensor, axis: int = -1, *, dim: int | None = None) -> Tensor:
    """log(softmax(x)) along ``axis``, without overflow.

    Raises:
        FloatingPointError: In exact arithmetic, a row has no finite maximum.

    Example:
        >>> log_softmax(Tensor([0.0, 0.0]))
        Tensor([-0.6931472, -0.6931472])
    """
    return _log_softmax(x, either(axis, dim, -1))


@operation(lambda g, out, axis: subtract(g, multiply(exp(out), sum_(g, axis, keepdims=True))))
def _log_softmax(x: Any, axis: int) -> Array:
    def finish(kernels: Kernels, shifted: Array, out: Array) -> None:
        kernels.exp(shifted, powers := np.empty_like(shifted))
        total = kernels.sum(powers, -1)[:, None]
        kernels.log(total, logarithm := np.empty_like(total))
        np.subtract(shifted, logarithm, out=out)

    return _by_rows("log_softmax", finish, x, axis)


def _by_rows(name: str, finish: Callable[[Kernels, Array, Array], None], x: Array, axis: int) -> Array:
    """Evaluate ``finish(kernels, x - max, out)`` for the vectors along ``axis``."""
    numerics = current().checked(name, x=x)
    if not x.ndim:
        raise ValueError(f"{name}: x must have at least one axis, got shape ()")
    moved = np.moveaxis(x, axis, -1)
    out = np.empty(moved.shape, x.dtype)

    def formula(kernels: Kernels, target: Array, block: Array) -> None:
        tops = np.maximum.reduce(block, axis=-1, keepdims=True)
        kernels.require_finite(tops)
        finish(kernels, block - tops, target)

    if x.size:
        rows, results = [array.reshape(-1, moved.shape[-1]) for array in (moved, out)]
        try:
            numerics.evaluate_rows(formula, [results], [rows])
        except FloatingPointError:
            refuse_rows(name, "x", moved)
    return np.moveaxis(out, -1, axis)
