"""Dropout: in training, each element becomes 0 with probability p, so that no unit can rely on another.

    y = x / (1 - p) where kept, 0 elsewhere

so its mean is x, and in use nothing is to be done. What is kept is drawn from an explicit `Stream`, a word for each element
in C order; the mask is kept as bools for the gradient, which is the same function of the gradient.
"""

from typing import Any

import numpy as np

from samebits.autograd import Tensor, kernel
from samebits.core import Kernels, Stream
from samebits.nn.module import Module
from samebits.nn.parts import Array, by_elements, by_rows

__all__ = ["Dropout", "dropout"]


def dropout(x: Tensor, p: float, stream: Stream) -> Tensor:
    """Dropout (Srivastava et al., 2014).

    Args:
        x: Floating, any shape.
        p: The probability of 0, from 0 (included) to 1 (excluded).
        stream: What the mask is drawn from.

    Returns:
        A tensor of the shape and dtype of ``x``.

    Raises:
        ValueError: ``p`` is out of range.

    Example:
        >>> dropout(Tensor([1.0, 2.0, 3.0, 4.0]), 0.5, Stream(3))
        Tensor([2., 4., 0., 0.])
    """
    if not 0 <= p < 1:
        raise ValueError(f"dropout: p is {p}: a probability from 0 to 1, and not 1, is needed")
    kept, p = np.empty(x.shape, np.bool_), float(p)
    flat = kept.reshape(-1)
    for part in by_rows(flat.size, 1):  # a word is eight bytes, so not all at once
        flat[part] = stream.bernoulli(1 - p, part.stop - part.start)
    return _dropped(x, kept, 1 / (1 - p))


def _scale(x: Array, kept: Array, scale: float) -> Any:
    def formula(_: Kernels, out: Array, values: Array, mask: Array) -> None:
        np.multiply(values, mask, out=out)
        out *= out.dtype.type(scale)

    return by_elements("dropout", formula, x=x, kept=kept)


@kernel(lambda g, kept, scale: (_scale(g, kept, scale),))
def _dropped(x: Array, kept: Array, scale: float) -> tuple[Array, tuple[Array, float]]:
    return _scale(x, kept, scale), (kept, scale)


class Dropout(Module):
    """`dropout` in training, nothing otherwise.

    Args:
        p: The probability of 0.

    Example:
        >>> Dropout(0.5).eval()(Tensor([1.0, 2.0]))
        Tensor([1., 2.])
    """

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"Dropout: p is {p}: a probability from 0 to 1, and not 1, is needed")
        self.p = p

    def __call__(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """X with dropout; in training with p above 0, a stream is needed."""
        if not self.training or not self.p:
            return x
        if stream is None:
            raise ValueError("Dropout: training needs a stream to draw from: layer(x, stream)")
        return dropout(x, self.p, stream)
