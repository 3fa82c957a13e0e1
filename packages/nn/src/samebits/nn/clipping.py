"""Gradient clipping: all gradients are scaled by one factor if their common norm exceeds a limit."""

import math
from typing import NoReturn

import numpy as np

from samebits.autograd import Tensor
from samebits.core import current
from samebits.nn.arguments import number_within
from samebits.nn.optimizer import Parameters, named

__all__ = ["clip_gradient_norm"]


def clip_gradient_norm(parameters: Parameters, limit: float) -> float:
    """Scale all gradients by ``limit / (norm + 1e-6)`` where that is below 1, in place.

    The norm is that of all gradients as one vector: the norms of the tensors are rounded to float32, their squares are summed
    exactly (so in any order), and the root is taken. Pascanu et al., 2013, arXiv:1211.5063, algorithm 1.

    Args:
        parameters: Tensors, or (name, tensor) pairs; those without a gradient are skipped.
        limit: The largest norm that is left unchanged.

    Returns:
        The norm before clipping.

    Raises:
        FloatingPointError: A gradient is not finite; the message names it. No gradient is changed.
        ValueError: ``limit`` is not positive and finite.

    Example:
        >>> x = Tensor([3.0, 4.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> clip_gradient_norm([x], 1.0)
        10.0
        >>> x.grad
        Tensor([0.5999999, 0.7999999])
    """
    limit = number_within("clip_gradient_norm", "limit", limit, above=0)
    gradients = [(name, tensor.grad) for name, tensor in named("clip_gradient_norm", parameters) if tensor.grad is not None]
    norms = [float(current().norm(gradient.data)) for _, gradient in gradients]
    norm = math.sqrt(math.fsum(one * one for one in norms))
    if not math.isfinite(norm):
        _refuse(gradients, norms)
    factor = limit / (norm + 1e-6)
    if factor < 1:
        for _, gradient in gradients:
            with gradient.edit() as array:
                np.multiply(array, np.array(factor, array.dtype), out=array)
    return norm


def _refuse(gradients: list[tuple[str, Tensor]], norms: list[float]) -> NoReturn:
    """Raise FloatingPointError for the first gradient that is not finite."""
    for (name, gradient), norm in zip(gradients, norms, strict=True):
        finite = np.isfinite(gradient.data)
        if not finite.all():
            place = tuple(int(i) for i in np.unravel_index(int(np.argmin(finite)), gradient.shape))
            raise FloatingPointError(
                f"clip_gradient_norm: the gradient of parameter {name!r} must be finite, got {gradient.numpy()[place]} at {place}"
            )
        if not math.isfinite(norm):
            raise FloatingPointError(
                f"clip_gradient_norm: the norm of the gradient of parameter {name!r} must be finite in {gradient.dtype}"
            )
    raise FloatingPointError("clip_gradient_norm: the norm of the gradients must be finite in float64")
