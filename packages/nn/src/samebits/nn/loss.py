"""Losses: one number that measures how far predictions are from their targets.

    cross_entropy(logits, targets) = mean over counted positions of  log(sum(e^logits)) - logits[target]

It is one fused kernel. It keeps the logits and three numbers for each row. The gradient, (softmax(logits) - onehot) / count, is
computed from these in the returned array, so that no other array of the size of the logits is allocated.
"""

# ruff: noqa: PLR0917 - the arguments of rules are positional

from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.autograd import Tensor, kernel
from samebits.core import GROUP_ROWS, ColumnSums, Kernels, current, refuse_rows, store
from samebits.core.arguments import integer
from samebits.core.compiled import pair
from samebits.nn.arguments import integers

__all__ = ["cross_entropy", "mean_squared_error"]

Array = npt.NDArray[Any]


def cross_entropy(logits: Tensor, targets: Any, ignore_index: int = -100) -> Tensor:
    """The mean negative log-probability of the targets, in nats.

    Args:
        logits: Floating (..., V), for instance (B, T, V) or (N, V). -inf is a probability of 0.
        targets: Integers (...), each from 0 to V - 1, or ``ignore_index`` for a position that does not count: an array or
            tensor of any integer dtype, or a list.
        ignore_index: See ``targets``.

    Returns:
        A scalar tensor.

    Raises:
        IndexError: A target is out of range; the message has its position and value.
        FloatingPointError: In exact arithmetic, the logits of a counted position have no finite maximum.
        TypeError: ``targets`` are not integers, or ``logits`` are not floating.
        ValueError: The shapes do not fit, or no position counts.

    Example:
        >>> cross_entropy(Tensor([[0.0, 0.0], [5.0, -5.0]]), [1, -100])
        Tensor(0.6931472)
    """
    return _cross_entropy(logits, targets, ignore_index)


def mean_squared_error(prediction: Tensor, target: Any) -> Tensor:
    """The mean of (prediction - target)^2 over all elements.

    Args:
        prediction: Floating, any shape.
        target: Of the same shape and dtype, a tensor or an array; a tensor may require a gradient too.

    Returns:
        A scalar tensor.

    Raises:
        ValueError: The shapes differ, or there are no elements.

    Example:
        >>> mean_squared_error(Tensor([1.0, 2.0]), Tensor([1.0, 4.0]))
        Tensor(2.)
    """
    return _mean_squared_error(prediction, target if isinstance(target, Tensor) else Tensor(target))


def _check_targets(logits: Array, targets: Any, ignore_index: int) -> tuple[Array, Array]:
    """The targets in one row, and which of them count."""
    given = integers("cross_entropy", "targets", targets)
    if not logits.ndim or given.shape != logits.shape[:-1]:
        raise ValueError(
            f"cross_entropy: targets must have the shape of logits without the last axis, {logits.shape[:-1]}, got {given.shape}"
        )
    ids = np.array(given).reshape(-1)  # a copy: the gradient needs it later
    counted = ids != np.int64(integer("cross_entropy", "ignore_index", ignore_index))
    wrong = counted & ((ids < 0) | (ids >= logits.shape[-1]))
    if wrong.any():
        first = int(np.argmax(wrong))
        place = ", ".join(str(int(i)) for i in np.unravel_index(first, given.shape))
        raise IndexError(
            f"cross_entropy: targets[{place}] must be from 0 to {logits.shape[-1] - 1}, or {ignore_index}, got {ids[first]}"
        )
    if not counted.any():
        raise ValueError(f"cross_entropy: at least one target must count, got {ids.size} that do not")
    return ids, counted


@kernel(lambda g, *saved: (_cross_entropy_gradient(g, *saved),))
def _cross_entropy(logits: Any, targets: Any, ignore_index: int) -> tuple[Any, tuple[Any, ...]]:
    numerics = current().checked("cross_entropy", logits=logits)
    kernels = numerics.kernels
    ids, counted = _check_targets(logits, targets, ignore_index)
    working = numerics.working(logits.dtype)
    rows = logits.reshape(-1, logits.shape[-1])
    shifts, totals, logs = np.empty((3, len(rows)), working)  # the sum of e^(x - shift) of each row, and its logarithm
    numerics.evaluate_rows(_exp_sums, [shifts, totals, logs], [rows])
    with np.errstate(all="ignore"):
        places = np.flatnonzero(counted)
        losses = logs[places]
        try:
            kernels.require_finite(losses)
        except FloatingPointError:
            refuse_rows("cross_entropy", "logits", logits, counted)
        losses -= rows[places, ids[places]] - shifts[places]
        loss = kernels.sum(losses, 0) / working.type(len(places))
        return store(loss, np.empty((), logits.dtype))[()], (logits, shifts, totals, logs, ids, counted)


@pair("exp_sums", "d d d f")
def _exp_sums(kernels: Kernels, shift: Array, total: Array, log: Array, x: Array) -> None:
    shift[...], total[...], log[...] = kernels.exp_sums(x)


def _cross_entropy_gradient(
    g: Any, logits: Array, shifts: Array, totals: Array, logs: Array, ids: Array, counted: Array
) -> Array:
    """(e^(x - shift) / total - onehot) g / count in counted rows, 0 in others."""
    out = np.empty(logits.shape, logits.dtype)
    share = np.array(totals.dtype.type(g) / totals.dtype.type(np.count_nonzero(counted)))
    rows, results = [array.reshape(-1, logits.shape[-1]) for array in (logits, out)]
    current().evaluate_rows(_logits_gradient, [results], [rows, shifts, totals, logs, ids, counted], shared=[share])
    return out


@pair("cross_entropy_gradient", "f f d d d q ? d")
def _logits_gradient(
    kernels: Kernels, out: Array, x: Array, shift: Array, total: Array, log: Array, ids: Array, counted: Array, share: Array
) -> None:
    """At the target the gradient is -(total - own) / total, times share.

    Where the target is the maximum, own is 1 and total - own is expm1(log(total)), in which nothing cancels.
    """
    kernels.exp(x - shift[:, None] if shift.any() else x, out)
    places = np.flatnonzero(counted)
    here = places, ids[places]
    kernels.expm1(log[places], others := np.empty_like(log[places]))
    others = np.where(x[here] == shift[places], others, total[places] - out[here])
    out *= share / total[:, None]
    out[here] = 0 - others * (share / total[places])  # +0 where the others are 0
    if len(places) < len(out):
        out[~counted] = 0


def _mean_squared_error_gradient(g: Any, a: Array, b: Array) -> tuple[Array, Array]:
    def formula(_: Any, to_a: Array, to_b: Array, x: Array, y: Array) -> None:
        np.subtract(x, y, out=to_a)
        to_a *= to_a.dtype.type(2 * float(g) / a.size)
        np.negative(to_a, out=to_b)

    found: tuple[Array, Array] = current().evaluate("mean_squared_error", formula, results=2, prediction=a, target=b)
    return found


@kernel(_mean_squared_error_gradient)
def _mean_squared_error(prediction: Any, target: Any) -> tuple[Any, tuple[Array, Array]]:
    a, b = np.asarray(prediction), np.asarray(target)
    numerics = current().checked("mean_squared_error", prediction=a, target=b)
    if a.shape != b.shape or not a.size:
        raise ValueError(f"mean_squared_error: prediction and target must have one shape, not empty, got {a.shape} and {b.shape}")
    working = numerics.working(a.dtype)
    squares = ColumnSums(numerics.kernels, 1, working)

    def formula(_: Kernels, x: Array, y: Array) -> None:
        distance = x - y
        distance *= distance
        squares.add(distance)

    numerics.evaluate_rows(formula, [], [a.reshape(-1, 1), b.reshape(-1, 1)], GROUP_ROWS)
    with np.errstate(all="ignore"):
        mean = squares.total()[0] / working.type(a.size)
    return store(mean, np.empty((), a.dtype))[()], (a, b)
