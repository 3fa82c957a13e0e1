"""The block of a transformer: attention between tokens, then a perceptron for each, both added to what comes in.

    x = x + attention(norm_1(x))
    x = x + mlp(norm_2(x))

Normalised before each part ("pre-norm"; Xiong et al., 2020), as in GPT-2 and Llama, which differ in the parts alone:

    gpt2     LayerNorm    biases       MLP with GELU (tanh)    as many key and value heads as heads
    llama    RMSNorm      no biases    SwiGLU                  rotary positions, queries in groups
"""

from functools import partial
from typing import Self

import numpy.typing as npt

from samebits.autograd import Tensor
from samebits.core import Stream
from samebits.nn.activation import gelu
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
    """A block of any parts that fit; `gpt2` and `llama` choose them.

    Args:
        norm_1: Before the attention.
        attention: Between tokens.
        norm_2: Before the perceptron.
        mlp: For every token by itself.
        dropout: With what probability an element of what a part adds is dropped in training.

    Example:
        >>> import numpy as np
        >>> block = TransformerBlock.gpt2(8, 2, stream=Stream(0))
        >>> block(Tensor(np.ones((1, 5, 8)))).shape
        (1, 5, 8)
    """

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
        stream: Stream,
        initialize: Initializer | None = None,
        initialize_output: Initializer | None = None,
    ) -> Self:
        """A block of GPT-2 (Radford et al., 2019).

        Args:
            channels: The length of the last axis of x; a multiple of ``heads``.
            heads: The number of heads.
            hidden: The length inside the perceptron, by default 4 ``channels``.
            bias: Whether linear layers and norms have one.
            dropout: With what probability weights of the attention, and elements of what is added, are dropped in training.
            stream: Where the parameters are drawn from.
            initialize: Draws the weights of linear layers; GPT-2's own is ``normal(std=0.02)``.
            initialize_output: Draws those of the two layers whose results are added; GPT-2's own is `scaled_residual`.
        """
        draw, last = initialize, initialize_output
        within = stream.split("attention")
        return cls(
            norm_1=LayerNorm(channels, bias=bias),
            attention=MultiHeadAttention(
                channels, heads, bias=bias, dropout=dropout, stream=within, initialize=draw, initialize_output=last
            ),
            norm_2=LayerNorm(channels, bias=bias),
            mlp=MLP(
                channels,
                hidden or 4 * channels,
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
        hidden: int | None = None,
        rotary: Rotary | None = None,
        eps: float = 1e-5,
        dropout: float = 0.0,
        stream: Stream,
        initialize: Initializer | None = None,
        initialize_output: Initializer | None = None,
    ) -> Self:
        """A block of Llama (Touvron et al., 2023).

        Args:
            channels: The length of the last axis of x; a multiple of ``heads``.
            heads: The number of heads.
            key_value_heads: The number of key and value heads, by default ``heads``.
            hidden: The length inside the perceptron, by default 8/3 ``channels`` rounded up to a multiple of 32.
            rotary: Turns queries and keys; blocks may share one, and its tables. By default a new one.
            eps: That of the norms.
            dropout: As in `gpt2`.
            stream: As in `gpt2`.
            initialize: As in `gpt2`.
            initialize_output: As in `gpt2`.
        """
        turn = rotary or Rotary(channels // heads)
        width = hidden or -(-8 * channels // 96) * 32
        return cls(
            norm_1=RMSNorm(channels, eps=eps),
            attention=MultiHeadAttention(
                channels,
                heads,
                key_value_heads=key_value_heads,
                bias=False,
                rotary=turn,
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
        """X (B, T, channels) -> (B, T, channels); cache, counts and stream are those of `MultiHeadAttention`."""

        def drawn(name: str) -> Stream | None:
            return None if stream is None else stream.split(name)

        attended = self.attention(self.norm_1(x), cache, counts, drawn("attention"))
        x = x + self.dropout_1(attended, drawn("dropout_1"))
        return x + self.dropout_2(self.mlp(self.norm_2(x)), drawn("dropout_2"))

    def cache(self, batch: int, capacity: int) -> KeyValueCache:
        """An empty cache for this block's attention."""
        return self.attention.cache(batch, capacity)
