"""Softmax, its logarithm, and logsumexp, without overflow.

In exact arithmetic they and their gradients are computed from x in float64, and rounded once. -inf gives the probability 0; a
row without a finite maximum has no softmax, and raises FloatingPointError.
"""

# ruff: noqa: PLW0108 - rules call operations that are defined below them

from collections.abc import Callable
from typing import Any

import numpy as np

from samebits.autograd.graph import Array, Value
from samebits.autograd.operations import operation
from samebits.autograd.ops.axes import either, places
from samebits.autograd.ops.elementwise import multiply, negative, subtract
from samebits.autograd.ops.reductions import kept, over_rows
from samebits.autograd.ops.reductions import sum as sum_
from samebits.autograd.tensor import Axis, Tensor
from samebits.core import Kernels, current, refuse_rows
from samebits.core.compiled import integers, pair, run


def softmax(x: Tensor, axis: int = -1, *, dim: int | None = None) -> Tensor:
    """e^x / sum(e^x) along ``axis``.

    Raises:
        FloatingPointError: In exact arithmetic, a row has no finite maximum.

    Example:
        >>> softmax(Tensor([0.0, 0.0, -float("inf")]))
        Tensor([0.5, 0.5, 0. ])
    """
    return _softmax(x, either(axis, dim, -1))


def _softmax_rule(g: Any, x: Any, axis: int) -> Any:
    return softmax_pull(g, x, _axes(x, axis))


@operation(_softmax_rule)
def _softmax(x: Any, axis: int) -> Array:
    return _by_rows("softmax", _softmax_formula, x, axis)


@pair("softmax", "f f")
def _softmax_formula(kernels: Kernels, out: Array, x: Array) -> None:
    shifted = _shifted(kernels, x)
    kernels.exp(shifted, shifted)
    np.divide(shifted, kernels.sum(shifted, -1)[:, None], out=out)


def softmax_at(x: Array, ids: Array) -> Array | None:
    """The softmax of float32 x (N,) at ``ids`` (K,), if it has the same bits for every order of x; None if that is not certain.

    It takes less time than the whole, and is certain in nearly all cases where there are kernels.

    Example:
        >>> found = softmax_at(np.zeros(4, np.float32), np.array([2]))
        >>> found is None or found.tolist() == [0.25]
        True
    """
    out = np.empty(len(ids), np.float32)
    if current().working(x.dtype) != np.float64:
        return None
    return out if run(_softmax_at, [out], [x], [ids, integers(len(ids))], work=(1, len(x))) else None


@pair("softmax_at", "f f q q")
def _softmax_at(out: Array, x: Array, ids: Array, _: Array) -> None:
    out[...] = _softmax(x, -1)[ids]


def log_softmax(x: Tensor, axis: int = -1, *, dim: int | None = None) -> Tensor:
    """log(softmax(x)) along ``axis``, without overflow.

    Raises:
        FloatingPointError: In exact arithmetic, a row has no finite maximum.

    Example:
        >>> log_softmax(Tensor([0.0, 0.0]))
        Tensor([-0.6931472, -0.6931472])
    """
    return _log_softmax(x, either(axis, dim, -1))


def _log_softmax_rule(g: Any, x: Any, axis: int) -> Any:
    return _log_softmax_pull(g, x, _axes(x, axis))


@operation(_log_softmax_rule)
def _log_softmax(x: Any, axis: int) -> Array:
    return _by_rows("log_softmax", _log_softmax_formula, x, axis)


@pair("log_softmax", "f f")
def _log_softmax_formula(kernels: Kernels, out: Array, x: Array) -> None:
    shifted = _shifted(kernels, x)
    _, _, rest, _ = exp_weights(kernels, shifted)
    kernels.log1p(rest, logarithm := np.empty_like(rest))
    np.subtract(shifted, logarithm[:, None], out=out)


def logsumexp(x: Tensor, axis: Axis = None, *, keepdims: bool = False, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over ``axis``, without overflow; -inf where all elements are. ValueError over no elements.

    Example:
        >>> logsumexp(Tensor([1000.0, 1000.0]))
        Tensor(1000.6932)
    """
    return _logsumexp(x, places("logsumexp", x, either(axis, dim)), keepdims or keepdim)


def _logsumexp_rule(g: Any, x: Any, axes: tuple[int, ...]) -> Any:
    return multiply(kept(g, axes, x.shape), _shares(x, axes))


@operation(_logsumexp_rule)
def _logsumexp(x: Value, axes: tuple[int, ...], keepdims: bool) -> Any:
    return current().logsumexp(x, axis=axes, keepdims=keepdims)


def _pulled(g: Any, x: Any, axes: tuple[int, ...]) -> Any:
    return softmax_pull(g, x, axes)


@operation(_pulled)
def _shares(x: Value, axes: tuple[int, ...]) -> Any:
    """e^x / sum(e^x) over ``axes``, 0 where all are -inf."""
    return over_rows("logsumexp", _shares_formula, axes, x)


@pair("exp_shares", "f f")
def _shares_formula(kernels: Kernels, out: Array, x: Array) -> None:
    weights, _, _, total = exp_weights(kernels, x)
    np.divide(weights, np.where(total == 0, total.dtype.type(1), total)[:, None], out=out)


def exp_weights(kernels: Kernels, rows: Array) -> tuple[Array, Array, Array, Array]:
    """e^(x - top) of each row; the place of its top; the sum of the other weights; and the whole sum.

    The weight of the top is 1. Where the others are tiny, their own sum keeps the digits that 1 + rest loses.
    """
    tops = np.argmax(rows, axis=-1)
    here = np.arange(len(rows), dtype=np.int64), tops
    shifts = np.where(np.isfinite(rows[here]), rows[here], rows.dtype.type(0))
    kernels.exp(rows - shifts[:, None], weights := np.empty_like(rows))
    own = weights[here]
    weights[here] = 0
    rest = kernels.sum(weights, -1)
    weights[here] = own
    return weights, tops, rest, rest + own


@operation(_pulled, lambda g, a, x, axes: _softmax_pull_rule(g, a, x, axes))
def softmax_pull(a: Value, x: Value, axes: tuple[int, ...]) -> Any:
    """The gradient y (a - sum(a y)) of x, with y = softmax(x) over ``axes`` and a the gradient of y.

    a is taken relative to its value at the top of the row, which changes nothing, and there nothing is lost.
    """
    return over_rows("softmax", _softmax_gradient, axes, x, a)


@pair("softmax_gradient", "f f f")
def _softmax_gradient(kernels: Kernels, out: Array, x: Array, gradient: Array) -> None:
    weights, tops, _, total = exp_weights(kernels, x)
    weights /= total[:, None]
    relative = gradient - gradient[np.arange(len(x), dtype=np.int64), tops][:, None]
    np.subtract(relative, kernels.sum(relative * weights, -1)[:, None], out=out)
    out *= weights


def _softmax_pull_rule(g: Any, a: Any, x: Any, axes: tuple[int, ...]) -> Any:
    """softmax_pull of the gradient of y: g (a - sum(a y)) - a sum(g y)."""
    y = _shares(x, axes)
    left = multiply(g, subtract(a, sum_(multiply(a, y), axes, keepdims=True)))
    return softmax_pull(subtract(left, multiply(a, sum_(multiply(g, y), axes, keepdims=True))), x, axes)


@operation(
    lambda g, x, axes: _log_softmax_push(g, x, axes),
    lambda g, a, x, axes: multiply(negative(sum_(a, axes, keepdims=True)), softmax_pull(g, x, axes)),
)
def _log_softmax_pull(a: Value, x: Value, axes: tuple[int, ...]) -> Any:
    """The gradient a - y sum(a) of x, with y = softmax(x) over ``axes`` and a the gradient of log(y).

    At the top of a row, where y is near 1, it is a rest / total - y (sum of the other a), in which nothing cancels.
    """
    return over_rows("log_softmax", _log_softmax_gradient, axes, x, a)


@pair("log_softmax_gradient", "f f f")
def _log_softmax_gradient(kernels: Kernels, out: Array, x: Array, gradient: Array) -> None:
    weights, tops, rest, total = exp_weights(kernels, x)
    here = np.arange(len(x), dtype=np.int64), tops
    top = gradient[here]
    others = gradient.copy()
    others[here] = 0
    sums = kernels.sum(others, -1)
    np.subtract(gradient, weights * ((sums + top) / total)[:, None], out=out)
    out[here] = (top * rest - weights[here] * sums) / total


def _log_softmax_push(g: Any, x: Any, axes: tuple[int, ...]) -> Any:
    """g - sum(g y), the transpose of `_log_softmax_pull` in its first argument."""
    return subtract(g, sum_(multiply(g, _shares(x, axes)), axes, keepdims=True))


def _axes(x: Any, axis: int) -> tuple[int, ...]:
    return (axis % x.ndim,)


def _shifted(kernels: Kernels, x: Array) -> Array:
    """The rows of x less their maxima, which must be finite."""
    tops = np.maximum.reduce(x, axis=-1, keepdims=True)
    kernels.require_finite(tops)
    return x - tops


def _by_rows(name: str, formula: Callable[[Kernels, Array, Array], None], x: Array, axis: int) -> Array:
    """Evaluate ``formula(kernels, out, x)`` for the vectors along ``axis``."""
    numerics = current().checked(name, x=x)
    if not x.ndim:
        raise ValueError(f"{name}: x must have at least one axis, got shape ()")
    moved = np.moveaxis(x, axis, -1)
    out = np.empty(moved.shape, x.dtype)

    if x.size:
        rows, results = [array.reshape(-1, moved.shape[-1]) for array in (moved, out)]
        try:
            numerics.evaluate_rows(formula, [results], [rows])
        except FloatingPointError:
            refuse_rows(name, "x", moved)
    return np.moveaxis(out, -1, axis)
