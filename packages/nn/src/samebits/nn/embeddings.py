"""Embedding: a table with a row of numbers for each token, from which rows are taken by token id.

    y[...] = weight[ids[...]]

It is a linear layer for one-hot vectors, without the multiplications. The gradient of a row is the sum of the gradients of
all positions that took it: `samebits.core.embedding_gradient`.
"""

from typing import Any

import numpy as np

from samebits.autograd import Tensor, kernel
from samebits.core import Stream, current
from samebits.nn.initializer import Initializer, normal
from samebits.nn.module import Module, parameter
from samebits.nn.parts import Array, floating

__all__ = ["Embedding", "embedding"]


def embedding(ids: Any, weight: Tensor) -> Tensor:
    """The rows of ``weight`` at ``ids``.

    Args:
        ids: int64 of any shape (...), each from 0 to V - 1.
        weight: Floating (V, C).

    Returns:
        A tensor (..., C) of the dtype of ``weight``.

    Raises:
        IndexError: An id is out of range; the message has its position and value.
        TypeError: ``ids`` is not int64, or ``weight`` not floating.
        ValueError: ``weight`` has not two axes.

    Example:
        >>> embedding(np.array([1, 0, 1]), Tensor([[1.0, 2.0], [3.0, 4.0]]))
        Tensor([[3., 4.],
                [1., 2.],
                [3., 4.]])
    """
    return _embedding(ids, weight)


@kernel(lambda g, ids, length: (None, current().embedding_gradient(ids, np.ascontiguousarray(g), length)))
def _embedding(ids: Any, weight: Array) -> tuple[Array, tuple[Any, int]]:
    floating("embedding", weight=weight)
    if weight.ndim != 2:
        raise ValueError(f"embedding: weight has shape {weight.shape}: two axes are needed, entries and channels")
    if not isinstance(ids, np.ndarray | np.generic) or ids.dtype != np.int64:
        raise TypeError(f"embedding: ids must be an int64 array, not {getattr(ids, 'dtype', type(ids).__name__)}")
    array = np.array(ids)  # a copy: the gradient needs it later
    wrong = (array < 0) | (array >= len(weight))
    if wrong.any():
        place = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), array.shape))
        where = f"ids[{', '.join(map(str, place))}]" if place else "ids"
        raise IndexError(f"embedding: {where} is {array[place]}, but must be from 0 to {len(weight) - 1}")
    return weight.take(array, axis=0), (array, len(weight))


class Embedding(Module):
    """`embedding` with its weight (V, C).

    Args:
        entries: V, the number of tokens.
        channels: C.
        stream: What the weight is drawn from.
        initialize: How, as ``initialize(stream, shape)``; by default from the standard normal distribution.

    Example:
        >>> Embedding(81, 16, stream=Stream(0))(np.array([[3, 1, 4]])).shape
        (1, 3, 16)
    """

    def __init__(self, entries: int, channels: int, *, stream: Stream, initialize: Initializer | None = None) -> None:
        self.weight = parameter((initialize or normal())(stream.split("weight"), (entries, channels)))

    def __call__(self, ids: Any) -> Tensor:
        """The rows (..., C) of ids (...)."""
        return embedding(ids, self.weight)
