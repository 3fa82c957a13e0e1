"""The linear layer, y = x Wᵀ + b, and a cache of weights on their grids.

    y = x Wᵀ + b        dx = g W        dW = gᵀ x        db = the sum of g over all rows

In exact arithmetic a product first rounds its right operand to a grid (`samebits.core.prepare`). That is a small part of the
product of many rows, and nearly all the work for one row, as in generation. So a weight that is used a second time, unchanged,
is cached on its grid, in both directions, with the same bits. It is stored as float32, which represents it exactly, and
converted to float64 a part at a time: for few rows, reading the weight from memory takes most of the time. Training with one
batch a step changes every weight before its next use, and caches nothing.
"""

import math
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.autograd import Tensor, edits, kernel
from samebits.core import Numerics, Prepared, Stream, current, refuse_non_finite
from samebits.core.arguments import integer
from samebits.core.random import require_stream
from samebits.nn.initializer import Initializer, kaiming_uniform
from samebits.nn.module import Module, parameter

__all__ = ["MOST_KEPT", "Linear", "linear"]

Array = npt.NDArray[Any]

MOST_KEPT = 2**30
"""The size limit of the cache in bytes, with 4 bytes for an element and a direction; further weights are not cached."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The linear map x Wᵀ + b.

    Args:
        x: Floating, (..., inputs).
        weight: (outputs, inputs), of the dtype of x; a tied output layer passes the weight of the embedding.
        bias: (outputs,), or None.

    Returns:
        (..., outputs). In exact arithmetic the product is that of `samebits.core.matmul`, and adding the bias rounds again.

    Raises:
        FloatingPointError: In exact arithmetic, an infinity or a NaN in an argument, or in the gradient.
        TypeError: The dtypes differ.
        ValueError: The shapes do not fit.

    Example:
        >>> linear(Tensor([[1.0, 2.0]]), Tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), Tensor([0.5, 0.5, 0.5]))
        Tensor([[1.5, 2.5, 3.5]])
    """
    return _linear(x, weight, bias, isinstance(weight, Tensor))


def _linear_rule(g: Array, x: Array, weight: Array, biased: bool, kept: bool) -> tuple[Array | None, ...]:
    numerics = current().checked("linear", gradient=g)
    rows = _rows(g)
    try:
        to_x = numerics.matmul(rows, _right_operand(numerics, weight, transposed=False) if kept else weight)
        to_weight = numerics.matmul(rows.T, _rows(x))
    except FloatingPointError:
        refuse_non_finite("the gradient of linear", gradient=g, weight=weight, x=x)
    return to_x.reshape(x.shape), to_weight, numerics.sum(rows, axis=0) if biased else None


@kernel(_linear_rule)
def _linear(x: Any, weight: Any, bias: Any, kept: bool) -> tuple[Array, tuple[Any, ...]]:
    numerics = current().checked("linear", x=x, weight=weight, **({} if bias is None else {"bias": bias}))
    if x.ndim < 1 or weight.ndim != 2 or x.shape[-1] != weight.shape[1] or not weight.shape[1]:
        raise ValueError(
            f"linear: x and weight must have shapes (..., inputs) and (outputs, inputs), got {x.shape} and {weight.shape}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"linear: bias must have shape {weight.shape[:1]}, the outputs of weight, got {bias.shape}")
    try:
        out = numerics.linear(_rows(x), _right_operand(numerics, weight, transposed=True) if kept else weight.T, bias)
    except FloatingPointError:
        refuse_non_finite("linear", x=x, weight=weight, **({} if bias is None else {"bias": bias}))
    return out.reshape(*x.shape[:-1], len(weight)), (x, weight, bias is not None, kept)


def _rows(x: Array) -> Array:
    """Reshape x (..., channels) to one matrix: NumPy multiplies a stack matrix by matrix, which is much slower."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


# Weights on their grids


@dataclass(eq=False)
class _Weight:
    """A weight in one direction, at the time ``stamp`` of its last edit; ``prepared`` after its second use."""

    array: weakref.ref[Array]
    stamp: int
    prepared: Prepared | None = None


_weights: dict[tuple[int, bool], _Weight] = {}


def _right_operand(numerics: Numerics, weight: Array, *, transposed: bool) -> Array | Prepared:
    """Return the weight, or its transpose, as the right operand of a product: prepared if it was used before, unchanged.

    A weight is identified by its array and the time of its last edit. Its entry is removed with its array.
    """
    operand = weight.T if transposed else weight
    if numerics.products.compact is None:
        return operand
    key = id(weight), transposed
    entry, stamp = _weights.get(key), edits.stamp_of(weight)
    if entry is None or entry.array() is not weight or entry.stamp != stamp:
        _weights[key] = _Weight(weakref.ref(weight, lambda gone: _forget(key, gone)), stamp)
        return operand
    if entry.prepared is None and weight.nbytes + kept_bytes() <= MOST_KEPT:
        entry.prepared = numerics.products.compact(operand)
        if entry.prepared is not None:
            edits.freeze(weight)  # a write to `data` itself would go unnoticed
    return operand if entry.prepared is None else entry.prepared


def _forget(key: tuple[int, bool], gone: weakref.ref[Array]) -> None:
    """Remove the entry of a deleted array, unless another array has replaced it."""
    entry = _weights.get(key)
    if entry is not None and entry.array is gone:
        del _weights[key]


def kept_bytes() -> int:
    """Return the size of the cache in bytes."""
    return sum([entry.prepared.values.nbytes for entry in list(_weights.values()) if entry.prepared is not None])


class Linear(Module):
    """A linear layer: y = x Wᵀ + b.

    Args:
        inputs: The length of the last axis of x.
        outputs: The length of the last axis of y.
        bias: Whether there is a bias b.
        stream: The parameters are drawn from its sub-streams "weight" and "bias".
        initialize: Draws the weight; the bias is then zero. By default both are uniform within ±1 / sqrt(inputs), as in
            PyTorch.

    Example:
        >>> layer = Linear(3, 2, stream=Stream(0))
        >>> layer(Tensor([[1.0, 2.0, 3.0]])).shape
        (1, 2)
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        bias: bool = True,
        stream: Stream | None = None,
        initialize: Initializer | None = None,
    ) -> None:
        self.inputs = inputs = integer("Linear", "inputs", inputs, least=1)
        self.outputs = outputs = integer("Linear", "outputs", outputs, least=1)
        stream = require_stream("Linear", stream)
        self.weight = parameter((initialize or kaiming_uniform(math.sqrt(1 / 3)))(stream.split("weight"), (outputs, inputs)))
        self.bias: Tensor | None = None
        if bias:
            bound = 1 / math.sqrt(inputs)
            drawn = np.zeros(outputs, np.float32) if initialize else stream.split("bias").uniform(outputs, low=-bound, high=bound)
            self.bias = parameter(drawn)

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the layer to x (..., inputs); returns (..., outputs)."""
        return linear(x, self.weight, self.bias)
