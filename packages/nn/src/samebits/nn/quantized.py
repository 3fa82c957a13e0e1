"""Layers with quantized weights, for inference: their products are those of `samebits.core.quantized`, in every arithmetic.

    y = x Wᵀ + b          W a `QuantizedMatrix`, b float32

A quantized weight is no parameter: it is not trained, copied or saved with the others.
"""

from typing import Any

from samebits.autograd import GraphError, Tensor
from samebits.autograd.graph import recording
from samebits.autograd.tensor import wrap
from samebits.core.quantized import QuantizedMatrix
from samebits.nn.embeddings import checked_ids
from samebits.nn.module import Module

__all__ = ["QuantizedEmbedding", "QuantizedLinear", "quantized_linear"]


def quantized_linear(x: Tensor, weight: QuantizedMatrix, bias: Tensor | None = None) -> Tensor:
    """The linear map x Wᵀ + b of a quantized weight.

    Args:
        x: float32 (..., inputs).
        weight: (outputs, inputs).
        bias: float32 (outputs,), or None.

    Returns:
        (..., outputs); adding the bias rounds again.

    Raises:
        FloatingPointError: x is not finite.
        GraphError: A gradient is required: use `no_grad`.
        TypeError: x is not float32.
        ValueError: The shapes do not fit.

    Example:
        >>> from samebits.core.block_formats import quantize
        >>> weight = QuantizedMatrix(quantize(Tensor([[1.0] * 32] * 2).data, "Q8_0"), "Q8_0")
        >>> quantized_linear(Tensor([[1.0] * 32]), weight).shape
        (1, 2)
    """
    if recording.get() and (x.requires_grad or (bias is not None and bias.requires_grad)):
        raise GraphError("quantized_linear: a quantized weight has no gradients; use no_grad()")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"quantized_linear: bias must have shape {weight.shape[:1]}, the outputs of weight, got {bias.shape}")
    out = weight.multiply(x.data)
    if bias is not None:
        out += bias.data
    return wrap(out, None)


class QuantizedLinear(Module):
    """A linear layer with a quantized weight: y = x Wᵀ + b.

    Args:
        weight: (outputs, inputs).
        bias: float32 (outputs,), or None.

    Example:
        >>> from samebits.core.block_formats import quantize
        >>> layer = QuantizedLinear(QuantizedMatrix(quantize(Tensor([[1.0] * 32] * 2).data, "Q8_0"), "Q8_0"))
        >>> layer(Tensor([[1.0] * 32])).shape
        (1, 2)
    """

    def __init__(self, weight: QuantizedMatrix, bias: Tensor | None = None) -> None:
        self.outputs, self.inputs = weight.shape
        self.weight, self.bias = weight, bias

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the layer to x (..., inputs); returns (..., outputs)."""
        return quantized_linear(x, self.weight, self.bias)


class QuantizedEmbedding(Module):
    """An embedding whose table (V, C) is quantized; a tied output layer multiplies by its ``weight``.

    Example:
        >>> from samebits.core.block_formats import quantize
        >>> table = QuantizedEmbedding(QuantizedMatrix(quantize(Tensor([[1.0] * 32] * 81).data, "Q8_0"), "Q8_0"))
        >>> table([[3, 1, 4]]).shape
        (1, 3, 32)
    """

    def __init__(self, weight: QuantizedMatrix) -> None:
        self.weight = weight

    def __call__(self, ids: Any) -> Tensor:
        """The vectors (..., C) of ids (...)."""
        return wrap(self.weight.rows(checked_ids(ids, self.weight.shape[0])), None)
