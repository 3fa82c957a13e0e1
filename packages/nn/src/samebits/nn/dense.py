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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.autograd import Tensor, edits, kernel
from samebits.autograd.graph import recording
from samebits.autograd.tensor import wrap
from samebits.core import Numerics, Prepared, Stream, current, refuse_non_finite
from samebits.core.arguments import integer
from samebits.core.quantized import QuantizedMatrix
from samebits.core.random import require_stream
from samebits.nn.initializer import Initializer, initialized, kaiming_uniform
from samebits.nn.module import Module, parameter
from samebits.nn.quantized import QuantizedLinear, quantized_linear

__all__ = ["MOST_KEPT", "Linear", "linear", "linears"]

Array = npt.NDArray[Any]

MOST_KEPT = 2**30
"""The size limit of the cache in bytes, with 4 bytes for an element and a direction; further weights are not cached."""


def linear(x: Tensor, weight: Tensor | QuantizedMatrix, bias: Tensor | None = None) -> Tensor:
    """The linear map x Wᵀ + b.

    Args:
        x: Floating, (..., inputs).
        weight: (outputs, inputs), of the dtype of x, or quantized; a tied output layer passes the weight of the embedding.
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
    if isinstance(weight, QuantizedMatrix):
        return quantized_linear(x, weight, bias)
    return _linear(x, weight, bias, isinstance(weight, Tensor))


def linears(x: Tensor, layers: Sequence["Linear | QuantizedLinear"]) -> list[Tensor]:
    """Apply several layers to one x; in `no_grad` as one product, which saves the most where x has few rows.

    Example:
        >>> layers = [Linear(3, 2, stream=Stream(0)), Linear(3, 4, stream=Stream(1))]
        >>> [y.shape for y in linears(Tensor([[1.0, 2.0, 3.0]]), layers)]
        [(1, 2), (1, 4)]
    """
    numerics, weights = current(), [layer.weight.data for layer in layers if isinstance(layer, Linear)]
    right = None
    if len(weights) < len(layers):
        return [layer(x) for layer in layers]
    if not recording.get() and x.ndim and x.dtype == weights[0].dtype and x.shape[-1:] == weights[0].shape[-1:]:
        right = _prepared(numerics, weights, transposed=True)
    if right is None:
        return [layer(x) for layer in layers]
    biases = [np.zeros(layer.weight.shape[0], x.dtype) if layer.bias is None else layer.bias.data for layer in layers]
    try:
        out = numerics.linear(_rows(x.data), right, np.concatenate(biases))
    except FloatingPointError:
        return [layer(x) for layer in layers]  # which name the argument
    found, start = [], 0
    for weight in weights:
        part = out[:, start : start + len(weight)]
        found.append(wrap(part.reshape(*x.shape[:-1], len(weight)), None))
        start += len(weight)
    return found


def _linear_rule(g: Array, x: Array, weight: Array, biased: bool, kept: bool) -> tuple[Array | None, ...]:
    numerics = current().checked("linear", gradient=g)
    rows = _rows(g)
    try:
        to_x = numerics.linear(rows, _right_operand(numerics, weight, transposed=False) if kept else weight, None)
        to_weight = numerics.linear(rows.T, _rows(x), None)
    except FloatingPointError:
        refuse_non_finite("the gradient of linear", gradient=g, weight=weight, x=x)
    return to_x.reshape(x.shape), to_weight, numerics.sum(rows, axis=0) if biased else None


@kernel(_linear_rule)
def _linear(x: Any, weight: Any, bias: Any, kept: bool) -> tuple[Array, tuple[Any, ...]]:
    given = {"x": x, "weight": weight} if bias is None else {"x": x, "weight": weight, "bias": bias}
    numerics = current().checked("linear", **given)
    if x.ndim < 1 or weight.ndim != 2 or x.shape[-1] != weight.shape[1] or not weight.shape[1]:
        raise ValueError(
            f"linear: x and weight must have shapes (..., inputs) and (outputs, inputs), got {x.shape} and {weight.shape}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"linear: bias must have shape {weight.shape[:1]}, the outputs of weight, got {bias.shape}")
    try:
        out = numerics.linear(_rows(x), _right_operand(numerics, weight, transposed=True) if kept else weight.T, bias)
    except FloatingPointError:
        refuse_non_finite("linear", **given)
    return out.reshape(*x.shape[:-1], len(weight)), (x, weight, bias is not None, kept)


def _rows(x: Array) -> Array:
    """Reshape x (..., channels) to one matrix: NumPy multiplies a stack matrix by matrix, which is much slower."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


# Weights on their grids


@dataclass(eq=False)
class _Weight:
    """Weights in one direction, at the times ``stamps`` of their last edits; ``prepared`` side by side after their second use."""

    arrays: tuple[weakref.ref[Array], ...]
    stamps: list[int]
    prepared: Prepared | None = None
    unedited: int = -1
    """`edits.last` when the stamps were compared: while it is that, nothing was edited."""


_weights: dict[tuple[int | str, ...], _Weight] = {}


def _prepared(numerics: Numerics, weights: Sequence[Array], *, transposed: bool) -> Prepared | None:
    """Return weights with the same inputs, or their transposes, as one right operand of a product, if used before, unchanged.

    Weights are identified by their arrays and the times of their last edits. Their entry is removed with one of them.
    """
    compact = numerics.products.compact
    if compact is None:
        return None
    key = (*map(id, weights), numerics.name, transposed)
    entry, now = _weights.get(key), edits.last
    same = entry is not None and not any(a() is not b for a, b in zip(entry.arrays, weights, strict=True))
    if entry is not None and same and entry.unedited == now and entry.prepared is not None:
        return entry.prepared
    stamps = [edits.stamp_of(weight) for weight in weights]
    if entry is None or not same or entry.stamps != stamps:
        references = tuple([weakref.ref(weight, lambda gone: _forget(key, gone)) for weight in weights])
        _weights[key] = _Weight(references, stamps)
        return None
    if entry.prepared is None and sum([weight.nbytes for weight in weights]) + kept_bytes() <= MOST_KEPT:
        try:
            whole = weights[0] if len(weights) == 1 else np.concatenate(weights)
            entry.prepared = compact(whole.T if transposed else whole)
        except (FloatingPointError, TypeError, ValueError):
            return None  # a product with each weight itself names what is wrong
        if entry.prepared is not None:
            for weight in weights:
                edits.freeze(weight)  # a write to `data` itself would go unnoticed
    entry.unedited = now
    return entry.prepared


def _right_operand(numerics: Numerics, weight: Array, *, transposed: bool) -> Array | Prepared:
    """Return the weight, or its transpose, as the right operand of a product: prepared if it was used before, unchanged."""
    found = _prepared(numerics, [weight], transposed=transposed)
    return found or (weight.T if transposed else weight)


def _forget(key: tuple[int | str, ...], gone: weakref.ref[Array]) -> None:
    """Remove the entry of a deleted array, unless other arrays have replaced its own."""
    entry = _weights.get(key)
    if entry is not None and any(array is gone for array in entry.arrays):
        del _weights[key]


def kept_bytes() -> int:
    """Return the size of the cache in bytes."""
    return sum([entry.prepared.nbytes for entry in list(_weights.values()) if entry.prepared is not None])


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
        draw = initialize or kaiming_uniform(math.sqrt(1 / 3))
        self.weight = initialized(draw, stream.split("weight"), (outputs, inputs))
        self.bias: Tensor | None = None
        if bias:
            bound = 1 / math.sqrt(inputs)
            drawn = np.zeros(outputs, np.float32) if initialize else stream.split("bias").uniform(outputs, low=-bound, high=bound)
            self.bias = parameter(drawn)

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the layer to x (..., inputs); returns (..., outputs)."""
        return linear(x, self.weight, self.bias)
