"""Matrix product, whose rules are matrix products too.

    y = a b        da = g bᵀ        db = aᵀ g

so in exact arithmetic every element of a gradient is a sum without rounding errors, rounded once, however many rows.
"""

import math
from typing import Any

import numpy as np

from samebits.autograd.graph import Value
from samebits.autograd.operations import operands, operation
from samebits.autograd.ops.reductions import expand
from samebits.autograd.ops.shapes import reshape, swapaxes
from samebits.autograd.tensor import Operand, Tensor
from samebits.core import current


def matmul(a: Operand, b: Operand) -> Tensor:
    """The matrix product, with NumPy's rules: (..., m, K) by (..., K, n) gives (..., m, n), leading axes broadcast.

    A vector ``a`` is one row, a vector ``b`` one column, and the result lacks that axis.

    Raises:
        FloatingPointError: In exact arithmetic, an operand (a gradient, in the backward pass) has an infinity or a NaN.
        ValueError: The shapes do not match.

    Example:
        >>> a = Tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> matmul(a, Tensor([1.0, 10.0]))
        Tensor([21., 43.])
    """
    x: Any
    y: Any
    x, y = operands("matmul", a, b)
    if not x.ndim or not y.ndim:
        raise ValueError(f"matmul: a and b must have at least one axis, got shapes {x.shape} and {y.shape}")
    if x.shape[-1] != y.shape[-2:][0]:
        raise ValueError(f"matmul: b must have {x.shape[-1]} rows, as a of shape {x.shape} has columns, got shape {y.shape}")
    left = reshape(x, (1, *x.shape)) if x.ndim == 1 else x
    right = reshape(y, (*y.shape, 1)) if y.ndim == 1 else y
    if right.ndim == 2:
        product = _matmul_weight(left, right)
    else:
        batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        product = _matmul(expand(left, batch + left.shape[-2:]), expand(right, batch + right.shape[-2:]))
    shape = product.shape
    if x.ndim == 1:
        shape = shape[:-2] + shape[-1:]
    return reshape(product, shape[:-1] if y.ndim == 1 else shape)


def _rule_a(g: Any, b: Any) -> Any:
    return _matmul(g, swapaxes(b, -1, -2))


def _rule_b(g: Any, a: Any) -> Any:
    return _matmul(swapaxes(a, -1, -2), g)


@operation(_rule_a, _rule_b)
def _matmul(a: Value, b: Value) -> Any:
    """(batch, m, K) by (batch, K, n)."""
    return current().matmul(a, b)


def _weight_rule_a(g: Any, b: Any) -> Any:
    return _matmul_weight(g, swapaxes(b, -1, -2))


def _weight_rule_b(g: Any, a: Any) -> Any:
    return _matmul_weight(swapaxes(_tall(a), 0, 1), _tall(g))


@operation(_weight_rule_a, _weight_rule_b)
def _matmul_weight(a: Value, b: Value) -> Any:
    """(..., m, K) by (K, n): one matrix for all, whose gradient is one product over all rows."""
    return current().matmul(a, b)


def _tall(x: Any) -> Any:
    """(..., m, K) as (... m, K)."""
    return reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))
