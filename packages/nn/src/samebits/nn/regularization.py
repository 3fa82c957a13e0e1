"""Dropout: in training, each element is set to 0 with probability p, so that no unit relies on another.

    y = x / (1 - p) where kept, 0 elsewhere

The mean of y is x, so nothing is scaled in evaluation. The mask is drawn from an explicit `Stream`, one word for each element
in C order, and is kept as bools: the gradient is the same function of the incoming gradient.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.autograd import Tensor, kernel
from samebits.core import Kernels, Stream, current
from samebits.core.compiled import pair
from samebits.core.random import require_stream
from samebits.nn.arguments import number_within
from samebits.nn.module import Module

__all__ = ["Dropout", "dropout"]

Array = npt.NDArray[Any]


def dropout(x: Tensor, p: float, stream: Stream) -> Tensor:
    """Dropout (Srivastava et al., 2014).

    Args:
        x: Floating, any shape.
        p: The probability of 0, of at least 0 and below 1.
        stream: The mask is drawn from it.

    Returns:
        A tensor of the shape and dtype of ``x``.

    Raises:
        TypeError: ``stream`` is not a stream, or ``p`` not a number.
        ValueError: ``p`` is out of range.

    Example:
        >>> dropout(Tensor([1.0, 2.0, 3.0, 4.0]), 0.5, Stream(3))
        Tensor([2., 4., 0., 0.])
    """
    p, stream = number_within("dropout", "p", p, below=1), require_stream("dropout", stream)
    return _dropped(x, stream.bernoulli(1 - p, x.shape), 1 / (1 - p))


def _scale(x: Array, kept: Array, scale: float) -> Any:
    numerics = current().checked("dropout", x=x)
    out = np.empty(x.size, x.dtype)
    factor = np.array(scale, numerics.working(x.dtype))
    numerics.evaluate_rows(_dropout_formula, [out], [np.reshape(x, -1), np.reshape(kept, -1)], shared=[factor])
    return out.reshape(x.shape)[()]


@pair("dropout", "f f ? d")
def _dropout_formula(_: Kernels, out: Array, x: Array, kept: Array, scale: Array) -> None:
    np.multiply(x, kept, out=out)
    out *= scale


@kernel(lambda g, kept, scale: (_scale(g, kept, scale),))
def _dropped(x: Any, kept: Any, scale: float) -> tuple[Array, tuple[Array, float]]:
    return _scale(x, kept, scale), (kept, scale)


class Dropout(Module):
    """`dropout` in training, the identity otherwise.

    Args:
        p: The probability of 0, of at least 0 and below 1.

    Example:
        >>> Dropout(0.5).eval()(Tensor([1.0, 2.0]))
        Tensor([1., 2.])
    """

    draws = True

    def __init__(self, p: float = 0.5) -> None:
        self.p = number_within("Dropout", "p", p, below=1)

    def __call__(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Apply dropout to x, of any shape; in training with p above 0, a stream is required."""
        if not self.training or not self.p:
            return x
        if stream is None:
            raise ValueError(
                "Dropout: stream must be a Stream in training, got None; call layer(x, stream), or layer.eval() before"
            )
        return dropout(x, self.p, stream)
