"""`softmax` and `log_softmax` along an axis: e^x over its sum, and the logarithm of that, without overflow.

In exact arithmetic they are computed in float64, rows at a time, and rounded once. -inf is a probability of 0; a row that
has no finite maximum has no softmax, and raises FloatingPointError.
"""

from collections.abc import Callable

import numpy as np

from samebits.autograd.graph import Array
from samebits.autograd.operations import operation
from samebits.autograd.ops.elementwise import exp, multiply, subtract
from samebits.autograd.ops.reductions import sum as sum_
from samebits.autograd.tensor import Tensor
from samebits.core import Numerics, current

_BLOCK = 32768  # elements at a time, which stay in the cache
_SHORT = 64  # rows this short are quickly added up


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """e^x / sum(e^x) along ``axis``.

    Example:
        >>> softmax(Tensor([0.0, 0.0, -float("inf")]))
        Tensor([0.5, 0.5, 0. ])
    """
    return _softmax(x, axis)


@operation(lambda g, out, axis: multiply(out, subtract(g, sum_(multiply(g, out), axis, keepdims=True))))
def _softmax(x: Array, axis: int) -> Array:
    def finish(numerics: Numerics, shifted: Array, powers: Array, out: Array) -> None:  # noqa: ARG001
        out[...] = np.divide(powers, _total(numerics, powers), out=powers)

    return _by_rows("softmax", finish, x, axis)


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """log(softmax(x)) along ``axis``."""
    return _log_softmax(x, axis)


@operation(lambda g, out, axis: subtract(g, multiply(exp(out), sum_(g, axis, keepdims=True))))
def _log_softmax(x: Array, axis: int) -> Array:
    def finish(numerics: Numerics, shifted: Array, powers: Array, out: Array) -> None:
        total = _total(numerics, powers)
        numerics.kernels.log(total, logarithm := np.empty_like(total))
        out[...] = np.subtract(shifted, logarithm, out=shifted)

    return _by_rows("log_softmax", finish, x, axis)


def _total(numerics: Numerics, powers: Array) -> Array:
    """The sums of the rows. Steps of the halving tree are quicker in new arrays than in place, where their parts overlap."""
    terms, kernels = powers, numerics.kernels
    while numerics.name == "exact" and (terms is powers or terms.shape[1] > _SHORT):
        length = terms.shape[1]
        half = length // 2
        sums = np.empty((len(terms), length - half), terms.dtype)
        np.add(terms[:, :half], terms[:, length - half :], out=sums[:, :half])
        sums[:, half:] = terms[:, half : length - half]
        terms = sums
    return kernels.sum(terms, -1)[:, None]


def _by_rows(name: str, finish: Callable[[Numerics, Array, Array, Array], None], x: Array, axis: int) -> Array:
    """``finish(numerics, x - max, e^(x - max), out)`` on blocks of rows along ``axis``."""
    numerics = current()
    if x.dtype.type not in numerics.dtypes:
        needed = " or ".join([dtype.__name__ for dtype in numerics.dtypes])
        raise TypeError(f"{name}: x has dtype {x.dtype}; {needed} is needed")
    if not x.ndim:
        raise ValueError(f"{name}: x has no axis {axis}: its shape is ()")
    moved = np.moveaxis(x, axis, -1)
    out = np.empty(moved.shape, x.dtype)
    rows, results = moved.reshape(-1, moved.shape[-1]) if x.size else moved, out.reshape(-1, moved.shape[-1]) if x.size else out
    height = max(1, _BLOCK // max(1, moved.shape[-1]))
    with np.errstate(all="ignore"):
        for start in range(0, len(rows) if x.size else 0, height):
            part = rows[start : start + height].astype(numerics.working(x.dtype), copy=False)
            top = np.maximum.reduce(part, axis=-1, keepdims=True)
            if numerics.name == "exact" and not np.isfinite(top).all():
                _refuse(name, top, moved, start)
            block = part - top
            numerics.kernels.exp(block, powers := np.empty_like(block))
            finish(numerics, block, powers, results[start : start + height])
    return np.moveaxis(out, -1, axis)


def _refuse(name: str, top: Array, x: Array, start: int) -> None:
    row = start + int(np.argmin(np.isfinite(top)))
    place = ", ".join(map(str, np.unravel_index(row, x.shape[:-1]))) if x.ndim > 1 else ""
    values = x.reshape(-1, x.shape[-1])[row]
    worst = values[~(values < np.inf)][0] if not (values < np.inf).all() else values[0]
    raise FloatingPointError(f"{name}: the row [{place}] has no finite maximum: {worst} is in it") from None
