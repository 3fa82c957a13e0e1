"""Multi-head attention: several attentions in parallel, each on its own part of the channels.

    x -> query, key, value -> heads -> (normalization) -> (rotary encoding) -> attention -> heads joined -> output

With fewer key and value heads than heads, each serves a group of heads (grouped-query attention). With a cache, x has the
next tokens of sequences; in exact arithmetic the result has the same bits as that of the whole sequence at once.
"""

from typing import Any

import numpy.typing as npt

from samebits.autograd import GraphError, Tensor, ops
from samebits.autograd.tensor import wrap
from samebits.core import Stream
from samebits.core.arguments import integer
from samebits.core.random import require_stream
from samebits.nn.arguments import check_multiple, number_within
from samebits.nn.cache import KeyValueCache
from samebits.nn.dense import Linear, linears
from samebits.nn.initializer import Initializer
from samebits.nn.module import Module
from samebits.nn.normalization import RMSNorm
from samebits.nn.positions import Rotary
from samebits.nn.scaled_dot_product import attend, attention

__all__ = ["MultiHeadAttention"]


class MultiHeadAttention(Module):
    """Causal self-attention with learned projections (Vaswani et al., 2017, section 3.2.2).

    Args:
        channels: The length of the last axis of x and of the result; a multiple of ``heads`` if there are no ``head_channels``.
        heads: The number of heads.
        key_value_heads: The number of key and value heads; ``heads`` is a multiple of it. By default ``heads``.
        head_channels: The number of channels of a head, by default ``channels / heads``.
        bias: Whether the projections have a bias.
        output_bias: Whether that to the result has one, by default as ``bias``.
        norm_eps: The eps of an RMSNorm over each head of queries and keys (Henry et al., 2020, Query-key normalization); by default
            there is none.
        rotary: Rotates queries and keys by their positions, if given.
        dropout: The probability of dropping a weight of the attention in training.
        stream: The parameters are drawn from its sub-streams, by their names.
        initialize: Draws the weights of query, key and value; by default as in `Linear`.
        initialize_output: Draws the weight of output; by default as ``initialize``.

    Example:
        >>> layer = MultiHeadAttention(8, 2, stream=Stream(0))
        >>> layer(Tensor([[[1.0] * 8] * 5])).shape
        (1, 5, 8)
    """

    draws = True

    def __init__(
        self,
        channels: int,
        heads: int,
        *,
        key_value_heads: int | None = None,
        head_channels: int | None = None,
        bias: bool = True,
        output_bias: bool | None = None,
        norm_eps: float | None = None,
        rotary: Rotary | None = None,
        dropout: float = 0.0,
        stream: Stream | None = None,
        initialize: Initializer | None = None,
        initialize_output: Initializer | None = None,
    ) -> None:
        owner, groups = "MultiHeadAttention", heads if key_value_heads is None else key_value_heads
        self.channels, self.heads = integer(owner, "channels", channels, least=1), integer(owner, "heads", heads, least=1)
        self.key_value_heads = integer(owner, "key_value_heads", groups, least=1)
        self.dropout = number_within(owner, "dropout", dropout, below=1)
        if head_channels is None:
            check_multiple(owner, channels=self.channels, heads=self.heads)
        check_multiple(owner, heads=self.heads, key_value_heads=self.key_value_heads)
        default = self.channels // self.heads
        self.head_channels = width = integer(owner, "head_channels", default if head_channels is None else head_channels, least=1)
        if rotary is not None and rotary.channels != width:
            raise ValueError(f"{owner}: rotary must have {width} channels, those of a head, got {rotary.channels}")
        self.rotary, parameters = rotary, require_stream(owner, stream)

        def layer(name: str, heads: int) -> Linear:
            return Linear(self.channels, heads * width, bias=bias, stream=parameters.split(name), initialize=initialize)

        self.query = layer("query", self.heads)
        self.key = layer("key", self.key_value_heads)
        self.value = layer("value", self.key_value_heads)
        self.output = Linear(
            self.heads * width,
            self.channels,
            bias=bias if output_bias is None else output_bias,
            stream=parameters.split("output"),
            initialize=initialize_output or initialize,
        )
        self.query_norm, self.key_norm = (None if norm_eps is None else RMSNorm(width, eps=norm_eps) for _ in range(2))

    def __call__(
        self,
        x: Tensor,
        cache: KeyValueCache | None = None,
        counts: npt.ArrayLike | None = None,
        stream: Stream | None = None,
    ) -> Tensor:
        """Attend from every token to itself and the tokens before it.

        Args:
            x: Floating, (B, T, channels).
            cache: A cache of this layer with the tokens before x; those of x are appended. It has no gradients: use `no_grad`.
            counts: With a cache, the number of tokens of each sequence (B,), from 0 to T; the results of the rest are undefined.
            stream: Dropout draws from it; required in training if ``dropout`` is above 0.

        Returns:
            (B, T, channels).

        Raises:
            CacheOverrunError: The cache is too small for x.
            GraphError: A cache is given, and a gradient is required.
            ValueError: The shapes do not fit, dropout has no stream, or there are counts without a cache.
        """
        if x.ndim != 3 or x.shape[2] != self.channels:
            raise ValueError(f"MultiHeadAttention: x must have shape (B, T, {self.channels}), got {x.shape}")
        query, key, value = linears(x, [self.query, self.key, self.value])
        q, k, v = self._split(query, self.query_norm), self._split(key, self.key_norm), self._split(value)
        offset: Any = 0 if cache is None else cache.lengths
        if self.rotary is not None:
            q, k = self.rotary(q, offset), self.rotary(k, offset)
        if cache is not None:
            return self.output(_cached(q, k, v, cache, counts))
        if counts is not None:
            raise ValueError("MultiHeadAttention: counts must be None without a cache")
        mixed = attention(q, k, v, dropout=self.dropout if self.training else 0.0, stream=stream)
        return self.output(ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), (*x.shape[:2], self.heads * self.head_channels)))

    def cache(self, batch: int, capacity: int) -> KeyValueCache:
        """An empty cache for this layer, of ``capacity`` tokens for each of ``batch`` sequences."""
        return KeyValueCache(batch, self.key_value_heads, capacity, self.head_channels, self.key.weight.dtype)

    def _split(self, x: Tensor, norm: RMSNorm | None = None) -> Tensor:
        """(B, T, H D) as (B, H, T, D), each head normalized, else without a copy."""
        shape = (*x.shape[:2], x.shape[2] // self.head_channels, self.head_channels)
        if x.node is None:  # no gradients, so no operations
            heads = wrap(x.data.reshape(shape), None)
            return wrap((norm(heads) if norm else heads).data.swapaxes(1, 2), None)
        heads = ops.reshape(x, shape)
        return ops.transpose(norm(heads) if norm else heads, (0, 2, 1, 3))


def _cached(q: Tensor, k: Tensor, v: Tensor, cache: KeyValueCache, counts: npt.ArrayLike | None) -> Tensor:
    """Attention of the next tokens to those in the cache and themselves, the heads joined."""
    if q.requires_grad or k.requires_grad or v.requires_grad:
        raise GraphError("MultiHeadAttention: a cache has no gradients; use no_grad(), or no cache")
    offset = cache.append(k.data, v.data, counts)
    mixed = attend(q.data, cache.context(), offset, int(cache.lengths.max()))
    batch, heads, time, width = q.shape
    return wrap(mixed.swapaxes(1, 2).reshape(batch, time, heads * width), None)
