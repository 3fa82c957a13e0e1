"""Multi-head attention: several attentions side by side, each on its own part of the channels.

    x -> query, key, value -> heads -> (rotary encoding) -> attention -> heads joined -> output

With fewer key and value heads than heads, each serves a group of these. With a cache, x are the next tokens of sequences
whose earlier tokens were seen before: in exact arithmetic the bits are those of the whole text at once.
"""

from typing import Any

import numpy.typing as npt

from samebits.autograd import GraphError, Tensor, ops
from samebits.autograd.tensor import wrap
from samebits.core import Stream
from samebits.nn.cache import KeyValueCache
from samebits.nn.dense import Linear
from samebits.nn.initializer import Initializer
from samebits.nn.module import Module
from samebits.nn.positions import Rotary
from samebits.nn.scaled_dot_product import attend, attention

__all__ = ["MultiHeadAttention"]


class MultiHeadAttention(Module):
    """Causal self-attention with learned projections (Vaswani et al., 2017, section 3.2.2).

    Args:
        channels: The length of the last axis of x and of the result; a multiple of ``heads``.
        heads: The number of heads.
        key_value_heads: The number of key and value heads; ``heads`` is a multiple of it. By default as many as heads.
        bias: Whether the projections have one.
        rotary: Turns queries and keys by their positions, if given.
        dropout: With what probability a weight of the attention is dropped in training.
        stream: Where the parameters are drawn from.
        initialize: Draws the weights of query, key and value; by default as in `Linear`.
        initialize_output: Draws the weight of output; by default as ``initialize``.

    Example:
        >>> import numpy as np
        >>> layer = MultiHeadAttention(8, 2, stream=Stream(0))
        >>> layer(Tensor(np.ones((1, 5, 8)))).shape
        (1, 5, 8)
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        *,
        key_value_heads: int | None = None,
        bias: bool = True,
        rotary: Rotary | None = None,
        dropout: float = 0.0,
        stream: Stream,
        initialize: Initializer | None = None,
        initialize_output: Initializer | None = None,
    ) -> None:
        groups = heads if key_value_heads is None else key_value_heads
        if heads < 1 or groups < 1 or channels % heads or heads % groups:
            raise ValueError(
                f"MultiHeadAttention: channels is {channels}, heads {heads} and key_value_heads {groups}: each must be a multiple of the next"
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"MultiHeadAttention: dropout is {dropout}: a probability from 0 to below 1 is needed")
        self.channels, self.heads, self.key_value_heads, self.dropout = channels, heads, groups, dropout
        width = channels // heads
        if rotary is not None and rotary.channels != width:
            raise ValueError(f"MultiHeadAttention: rotary has {rotary.channels} channels: {width} are needed, those of a head")
        self.rotary = rotary

        def layer(name: str, outputs: int, draw: Initializer | None) -> Linear:
            return Linear(channels, outputs, bias=bias, stream=stream.split(name), initialize=draw)

        self.query = layer("query", channels, initialize)
        self.key = layer("key", groups * width, initialize)
        self.value = layer("value", groups * width, initialize)
        self.output = layer("output", channels, initialize_output or initialize)

    def __call__(
        self,
        x: Tensor,
        cache: KeyValueCache | None = None,
        counts: npt.ArrayLike | None = None,
        stream: Stream | None = None,
    ) -> Tensor:
        """Let every token see itself and those before it.

        Args:
            x: (B, T, channels).
            cache: Of this layer, with the tokens before x; those of x are added to it. It has no gradients: use `no_grad`.
            counts: With a cache, how many of the T tokens count for each sequence (B,); the results of others mean nothing.
            stream: Where dropout draws from; needed in training if there is any.

        Returns:
            (B, T, channels).

        Raises:
            CacheOverrunError: The cache has no room for x.
            GraphError: A cache was given, and a gradient is required.
            ValueError: The shapes do not fit, dropout has no stream, or there are counts without a cache.
        """
        if x.ndim != 3 or x.shape[2] != self.channels:
            raise ValueError(f"MultiHeadAttention: x has shape {x.shape}: (B, T, {self.channels}) is needed")
        q, k, v = self._split(self.query(x)), self._split(self.key(x)), self._split(self.value(x))
        offset: Any = 0 if cache is None else cache.lengths
        if self.rotary is not None:
            q, k = self.rotary(q, offset), self.rotary(k, offset)
        if cache is not None:
            mixed = _cached(q, k, v, cache, counts)
        elif counts is not None:
            raise ValueError("MultiHeadAttention: counts are for a cache, and there is none")
        else:
            mixed = attention(q, k, v, dropout=self.dropout if self.training else 0.0, stream=stream)
        return self.output(ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), x.shape))

    def cache(self, batch: int, capacity: int) -> KeyValueCache:
        """An empty cache for this layer, of ``capacity`` tokens for each of ``batch`` sequences."""
        return KeyValueCache(batch, self.key_value_heads, capacity, self.channels // self.heads, self.key.weight.dtype)

    def _split(self, x: Tensor) -> Tensor:
        """(B, T, H D) as (B, H, T, D), without a copy."""
        width = self.channels // self.heads
        return ops.transpose(ops.reshape(x, (*x.shape[:2], x.shape[2] // width, width)), (0, 2, 1, 3))


def _cached(q: Tensor, k: Tensor, v: Tensor, cache: KeyValueCache, counts: npt.ArrayLike | None) -> Tensor:
    """Attention of the next tokens to those in the cache and themselves."""
    if q.requires_grad or k.requires_grad or v.requires_grad:
        raise GraphError("a cache keeps no graph: compute under no_grad(), or without a cache")
    offset = cache.append(k.data, v.data, counts)
    return wrap(attend(q.data, cache.context(), offset), None)
