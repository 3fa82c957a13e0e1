"""Embedding: a table with a vector for each token, looked up by token id.

    y[...] = weight[ids[...]]

It equals a linear layer for one-hot vectors, without the multiplications. The gradient of a row is the sum of the gradients
of all positions with its id: `samebits.core.embedding_gradient`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.autograd import Tensor, kernel
from samebits.core import Stream, current
from samebits.core.arguments import integer
from samebits.core.random import require_stream
from samebits.nn.arguments import integers
from samebits.nn.initializer import Initializer, initialized, normal
from samebits.nn.module import Module

__all__ = ["Embedding", "embedding"]

Array = npt.NDArray[Any]


def embedding(ids: Any, weight: Tensor) -> Tensor:
    """The rows of ``weight`` at ``ids``.

    Args:
        ids: Integers of any shape (...), each from 0 to V - 1: an array or tensor of any integer dtype, or a list.
        weight: Floating (V, C).

    Returns:
        A tensor (..., C) of the dtype of ``weight``.

    Raises:
        IndexError: An id is out of range; the message has its position and value.
        TypeError: ``ids`` are not integers, or ``weight`` is not floating.
        ValueError: ``weight`` does not have two axes.

    Example:
        >>> embedding([1, 0, 1], Tensor([[1.0, 2.0], [3.0, 4.0]]))
        Tensor([[3., 4.],
                [1., 2.],
                [3., 4.]])
    """
    return _embedding(ids, weight)


@kernel(lambda g, ids, length: (None, current().embedding_gradient(ids, np.ascontiguousarray(g), length)))
def _embedding(ids: Any, weight: Any) -> tuple[Array, tuple[Any, int]]:
    current().checked("embedding", weight=weight)
    if weight.ndim != 2:
        raise ValueError(f"embedding: weight must have two axes, entries and channels, got shape {weight.shape}")
    array = np.array(checked_ids(ids, len(weight)))  # a copy: the gradient needs it later
    return weight.take(array, axis=0), (array, len(weight))


def checked_ids(ids: Any, entries: int) -> npt.NDArray[np.int64]:
    """Return ids as an int64 array, which may be the same array; IndexError if one is not from 0 to ``entries`` - 1."""
    array = integers("embedding", "ids", ids)
    wrong = (array < 0) | (array >= entries)
    if wrong.any():
        place = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), array.shape))
        where = f"ids[{', '.join(map(str, place))}]" if place else "ids"
        raise IndexError(f"embedding: {where} must be from 0 to {entries - 1}, got {array[place]}")
    return array


class Embedding(Module):
    """`embedding` with its weight (V, C).

    Args:
        entries: V, the number of tokens.
        channels: C, the length of a vector.
        stream: The weight is drawn from its sub-stream "weight".
        initialize: Draws the weight; by default from the standard normal distribution, as in PyTorch.

    Example:
        >>> Embedding(81, 16, stream=Stream(0))([[3, 1, 4]]).shape
        (1, 3, 16)
    """

    def __init__(
        self, entries: int, channels: int, *, stream: Stream | None = None, initialize: Initializer | None = None
    ) -> None:
        shape = integer("Embedding", "entries", entries, least=1), integer("Embedding", "channels", channels, least=1)
        stream = require_stream("Embedding", stream)
        self.weight = initialized(initialize or normal(), stream.split("weight"), shape)

    def __call__(self, ids: Any) -> Tensor:
        """The vectors (..., C) of ids (...)."""
        return embedding(ids, self.weight)
