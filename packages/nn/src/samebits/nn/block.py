"""The transformer block: attention between tokens, then a perceptron for each token, both with a residual connection.

    x = x + attention(norm_1(x))
    x = x + mlp(norm_2(x))

It normalizes before each part ("pre-norm"; Xiong et al., 2020), as in GPT-2 and Llama, which differ only in the parts:

    gpt2     LayerNorm    biases       MLP with GELU (tanh)    as many key and value heads as heads
    llama    RMSNorm      no biases    SwiGLU                  rotary positions, grouped queries

Qwen's blocks are Llama's with biases of queries, keys and values (Qwen 2) or with normalized queries and keys (Qwen 3).
"""

from functools import partial
from typing import Self

import numpy.typing as npt

from samebits.autograd import Tensor
from samebits.core import Stream
from samebits.core.arguments import integer
from samebits.core.random import require_stream
from samebits.nn.activation import gelu
from samebits.nn.arguments import check_multiple
from samebits.nn.cache import KeyValueCache
from samebits.nn.initializer import Initializer
from samebits.nn.mlp import MLP, SwiGLU
from samebits.nn.module import Module
from samebits.nn.multihead import MultiHeadAttention
from samebits.nn.normalization import LayerNorm, RMSNorm
from samebits.nn.positions import Rotary
from samebits.nn.regularization import Dropout

__all__ = ["TransformerBlock"]


class TransformerBlock(Module):
    """A block of given parts; `gpt2` and `llama` make the usual ones.

    Args:
        norm_1: The normalization before the attention.
        attention: The attention.
        norm_2: The normalization before the perceptron.
        mlp: The perceptron.
        dropout: The probability of dropping an element of the result of either part in training.

    Example:
        >>> block = TransformerBlock.gpt2(8, 2, stream=Stream(0))
        >>> block(Tensor([[[1.0] * 8] * 5])).shape
        (1, 5, 8)
    """

    draws = True

    def __init__(
        self,
        *,
        norm_1: LayerNorm | RMSNorm,
        attention: MultiHeadAttention,
        norm_2: LayerNorm | RMSNorm,
        mlp: MLP | SwiGLU,
        dropout: float = 0.0,
    ) -> None:
        self.norm_1 = norm_1
        self.attention = attention
        self.norm_2 = norm_2
        self.mlp = mlp
        self.dropout_1, self.dropout_2 = Dropout(dropout), Dropout(dropout)

    @classmethod
    def gpt2(
        cls,
        channels: int,
        heads: int,
        *,
        hidden: int | None = None,
        bias: bool = True,
        dropout: float = 0.0,
        stream: Stream | None = None,
        initialize: Initializer | None = None,
        initialize_output: Initializer | None = None,
    ) -> Self:
        """A block of GPT-2 (Radford et al., 2019).

        Args:
            channels: The length of the last axis of x; a multiple of ``heads``.
            heads: The number of heads.
            hidden: The length of the hidden axis of the perceptron, by default 4 ``channels``.
            bias: Whether linear layers and norms have a bias.
            dropout: The probability of dropping weights of the attention, and elements of what is added, in training.
            stream: The parameters are drawn from its sub-streams, by their names.
            initialize: Draws the weights of linear layers; GPT-2 uses ``normal(std=0.02)``.
            initialize_output: Draws those of the two layers whose results are added; GPT-2 uses `scaled_residual`.

        Example:
            >>> TransformerBlock.gpt2(8, 2, stream=Stream(0)).parameter_count()
            872
        """
        channels, draw, last = integer("TransformerBlock.gpt2", "channels", channels, least=1), initialize, initialize_output
        stream = require_stream("TransformerBlock.gpt2", stream)
        within = stream.split("attention")
        return cls(
            norm_1=LayerNorm(channels, bias=bias),
            attention=MultiHeadAttention(
                channels, heads, bias=bias, dropout=dropout, stream=within, initialize=draw, initialize_output=last
            ),
            norm_2=LayerNorm(channels, bias=bias),
            mlp=MLP(
                channels,
                4 * channels if hidden is None else hidden,
                activation=partial(gelu, approximate="tanh"),
                bias=bias,
                stream=stream.split("mlp"),
                initialize=draw,
                initialize_output=last,
            ),
            dropout=dropout,
        )

    @classmethod
    def llama(
        cls,
        channels: int,
        heads: int,
        *,
        key_value_heads: int | None = None,
        head_channels: int | None = None,
        hidden: int | None = None,
        qkv_bias: bool = False,
        qk_norm: bool = False,
        rotary: Rotary | None = None,
        eps: float = 1e-5,
        dropout: float = 0.0,
        stream: Stream | None = None,
        initialize: Initializer | None = None,
        initialize_output: Initializer | None = None,
    ) -> Self:
        """A block of Llama (Touvron et al., 2023).

        Args:
            channels: The length of the last axis of x; a multiple of ``heads`` if there are no ``head_channels``.
            heads: The number of heads.
            key_value_heads: The number of key and value heads, by default ``heads``.
            head_channels: The number of channels of a head, by default ``channels / heads``.
            hidden: The length of the hidden axis of the perceptron, by default 8/3 ``channels`` rounded up to a multiple of 32.
            qkv_bias: Whether queries, keys and values have biases.
            qk_norm: Whether queries and keys are normalized, as in `MultiHeadAttention`.
            rotary: Rotates queries and keys; blocks may share one, and its tables. By default a new one.
            eps: The eps of the norms.
            dropout: As in `gpt2`.
            stream: As in `gpt2`.
            initialize: As in `gpt2`.
            initialize_output: As in `gpt2`.

        Example:
            >>> TransformerBlock.llama(8, 2, hidden=24, stream=Stream(0)).parameter_count()
            848
        """
        owner = "TransformerBlock.llama"
        channels, heads = integer(owner, "channels", channels, least=1), integer(owner, "heads", heads, least=1)
        if head_channels is None:
            check_multiple(owner, channels=channels, heads=heads)
        stream = require_stream(owner, stream)
        width = -(-8 * channels // 96) * 32 if hidden is None else hidden
        return cls(
            norm_1=RMSNorm(channels, eps=eps),
            attention=MultiHeadAttention(
                channels,
                heads,
                key_value_heads=key_value_heads,
                head_channels=head_channels,
                bias=qkv_bias,
                output_bias=False,
                norm_eps=eps if qk_norm else None,
                rotary=rotary or Rotary(channels // heads if head_channels is None else head_channels),
                dropout=dropout,
                stream=stream.split("attention"),
                initialize=initialize,
                initialize_output=initialize_output,
            ),
            norm_2=RMSNorm(channels, eps=eps),
            mlp=SwiGLU(channels, width, stream=stream.split("mlp"), initialize=initialize, initialize_output=initialize_output),
            dropout=dropout,
        )

    def __call__(
        self,
        x: Tensor,
        cache: KeyValueCache | None = None,
        counts: npt.ArrayLike | None = None,
        stream: Stream | None = None,
    ) -> Tensor:
        """Apply the block to x (B, T, channels); cache, counts and stream are those of `MultiHeadAttention`."""

        def drawn(name: str) -> Stream | None:
            return None if stream is None else stream.split(name)

        attended = self.attention(self.norm_1(x), cache, counts, drawn("attention"))
        x = x + self.dropout_1(attended, drawn("dropout_1"))
        return x + self.dropout_2(self.mlp(self.norm_2(x)), drawn("dropout_2"))

    def cache(self, batch: int, capacity: int) -> KeyValueCache:
        """An empty cache for this block's attention."""
        return self.attention.cache(batch, capacity)
