"""`softmax` and `log_softmax` along an axis: e^x over its sum, and the logarithm of that, without overflow.

In exact arithmetic they are computed in float64, rows at a time, and rounded once. -inf is a probability of 0; a row that
has no finite maximum has no softmax, and raises FloatingPointError.
"""

from collections.abc import Callable
from typing import NoReturn

import numpy as np

from samebits.autograd.graph import Array
from samebits.autograd.operations import operation
from samebits.autograd.ops.elementwise import exp, multiply, subtract
from samebits.autograd.ops.reductions import sum as sum_
from samebits.autograd.tensor import Tensor
from samebits.core import Kernels, current

_BLOCK = 65536  # elements at a time, which stay in the cache


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """e^x / sum(e^x) along ``axis``.

    Example:
        >>> softmax(Tensor([0.0, 0.0, -float("inf")]))
        Tensor([0.5, 0.5, 0. ])
    """
    return _softmax(x, axis)


@operation(lambda g, out, axis: multiply(out, subtract(g, sum_(multiply(g, out), axis, keepdims=True))))
def _softmax(x: Array, axis: int) -> Array:
    def finish(kernels: Kernels, shifted: Array, out: Array) -> None:
        kernels.exp(shifted, shifted)
        np.divide(shifted, kernels.sum(shifted, -1)[:, None], out=out, casting="same_kind")

    return _by_rows("softmax", finish, x, axis)


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """log(softmax(x)) along ``axis``."""
    return _log_softmax(x, axis)


@operation(lambda g, out, axis: subtract(g, multiply(exp(out), sum_(g, axis, keepdims=True))))
def _log_softmax(x: Array, axis: int) -> Array:
    def finish(kernels: Kernels, shifted: Array, out: Array) -> None:
        kernels.exp(shifted, powers := np.empty_like(shifted))
        total = kernels.sum(powers, -1)[:, None]
        kernels.log(total, logarithm := np.empty_like(total))
        np.subtract(shifted, logarithm, out=out, casting="same_kind")

    return _by_rows("log_softmax", finish, x, axis)


def _by_rows(name: str, finish: Callable[[Kernels, Array, Array], None], x: Array, axis: int) -> Array:
    """``finish(kernels, x - max, out)`` on blocks of rows along ``axis``."""
    numerics = current()
    if x.dtype.type not in numerics.dtypes:
        needed = " or ".join([dtype.__name__ for dtype in numerics.dtypes])
        raise TypeError(f"{name}: x has dtype {x.dtype}; {needed} is needed")
    if not x.ndim:
        raise ValueError(f"{name}: x has no axis {axis}: its shape is ()")
    moved = np.moveaxis(x, axis, -1)
    out = np.empty(moved.shape, x.dtype)
    rows, results = moved.reshape(-1, moved.shape[-1]) if x.size else moved, out.reshape(-1, moved.shape[-1]) if x.size else out
    height, working = max(1, _BLOCK // max(1, moved.shape[-1])), numerics.working(x.dtype)
    with np.errstate(all="ignore"):
        for start in range(0, len(rows) if x.size else 0, height):
            part = rows[start : start + height]
            top = np.maximum.reduce(part, axis=-1, keepdims=True).astype(working)
            if numerics.name == "exact" and not np.isfinite(top).all():
                refuse_row(f"{name}: the row ", moved, start + int(np.argmin(np.isfinite(top))))
            wide = part.astype(working, copy=False)
            shifted = np.subtract(wide, top, out=None if wide is part else wide)
            finish(numerics.kernels, shifted, results[start : start + height])
    return np.moveaxis(out, -1, axis)


def refuse_row(what: str, x: Array, row: int) -> NoReturn:
    """Raise FloatingPointError for a row of x (..., n), counted over all leading axes, whose maximum is not finite."""
    place = ", ".join(map(str, np.unravel_index(row, x.shape[:-1]))) if x.ndim > 1 else ""
    values = x.reshape(-1, x.shape[-1])[row]
    worst = values[~(values < np.inf)][0] if not (values < np.inf).all() else values[0]
    raise FloatingPointError(f"{what}[{place}] has no finite maximum: {worst} is in it") from None
