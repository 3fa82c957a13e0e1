"""Language model: a decoder-only transformer, from token ids to logits (Vaswani et al., 2017; Radford et al., 2019).

    ids (B, T) -> embedding -> [+ positions] -> block -> ... -> block -> normalization -> logits (B, T, V)

One class has both architectures, GPT-2's and Llama's; `ModelConfig` chooses. Row t of the logits is computed from tokens 0..t
alone. Its bits do not depend on later tokens, on the other rows of the batch, or on whether a cache is used.

`parameter_count` and `flops_per_token` compute the cost of a model without making it.
"""

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.autograd import Tensor
from samebits.core import Stream, restore_arithmetic
from samebits.core.random import require_stream
from samebits.lm.checkpoint import CheckpointError
from samebits.lm.config import ModelConfig, TrainConfig
from samebits.lm.schema import ConfigError
from samebits.lm.weights import read_weights
from samebits.nn import initializer
from samebits.nn.arguments import integers
from samebits.nn.block import TransformerBlock
from samebits.nn.cache import KeyValueCache
from samebits.nn.dense import Linear, linear
from samebits.nn.embeddings import Embedding
from samebits.nn.initializer import Initializer
from samebits.nn.loss import cross_entropy
from samebits.nn.module import Module
from samebits.nn.normalization import LayerNorm, RMSNorm
from samebits.nn.positions import LearnedPositions, Rotary, llama3_factors
from samebits.nn.regularization import Dropout

__all__ = ["LanguageModel", "flops_per_token", "load_model", "parameter_count"]

Ids = npt.NDArray[np.integer[Any]] | Sequence[Any]
"""Token ids: an array of integers of any width, or nested lists of ints."""


class LanguageModel(Module):
    """A decoder-only transformer.

    Weights are initialized as in GPT-2: normal with standard deviation 0.02, and 0.02 / sqrt(2 layers) for the two projections
    of each block that are added to the residual stream; biases are 0 (Radford et al., 2019, section 2.3).

    Args:
        config: The architecture and the sizes; ``vocabulary_size`` must be above 0.
        stream: The source of the weights; each is drawn from the sub-stream of its name.
        initialize: Draws all matrices, if given; with `samebits.nn.initializer.zeros` a model is made at once, to load its weights.

    Raises:
        ConfigError: ``vocabulary_size`` is 0.
        TypeError: ``stream`` is not a `Stream`.

    Example:
        >>> config = ModelConfig(vocabulary_size=5, context=8, layers=1, heads=2, channels=16)
        >>> model = LanguageModel(config, stream=Stream(0))
        >>> ids = np.array([[1, 2, 3]])
        >>> model(ids).shape, model.loss(ids, ids).item() > 0
        ((1, 3, 5), True)
    """

    def __init__(self, config: ModelConfig, *, stream: Stream, initialize: Initializer | None = None) -> None:
        if config.vocabulary_size < 1:
            raise ConfigError("vocabulary_size must be above 0 to make a model: set it to the tokenizer's")
        require_stream("LanguageModel", stream)
        restore_arithmetic()  # the weights are computed here
        self.config = config
        channels, size = config.channels, config.vocabulary_size
        small = initialize or initializer.normal(std=0.02)
        self.embedding = Embedding(size, channels, stream=stream.split("embedding"), initialize=small)
        gpt2 = config.architecture == "gpt2"
        self.positions = (
            LearnedPositions(config.context, channels, stream=stream.split("positions"), initialize=small) if gpt2 else None
        )
        self.dropout = Dropout(config.dropout)
        self.blocks = _blocks(config, stream.split("blocks"), small, initialize or initializer.scaled_residual(config.layers))
        self.norm = LayerNorm(channels) if gpt2 else RMSNorm(channels, eps=config.norm_eps)
        self.head = None if config.tied else Linear(channels, size, bias=False, stream=stream.split("head"), initialize=small)

    def __call__(
        self,
        ids: Ids,
        cache: Sequence[KeyValueCache] | None = None,
        stream: Stream | None = None,
        at: npt.ArrayLike | None = None,
    ) -> Tensor:
        """The logits of the next token at every position, or at some positions of each sequence.

        Args:
            ids: Token ids (B, T): an array of integers or nested lists. T is at most the context minus the length of the cache.
            cache: One `KeyValueCache` per block with the keys and values of earlier tokens; those of ``ids`` are appended.
                Gradients do not flow through it: use it in `no_grad`.
            stream: The source of dropout; required in training if dropout is above 0.
            at: Positions in ``ids``, (B,) or (B, N), whose logits alone are computed: for a long text, those of all others take
                much time.

        Returns:
            float32 (B, T, V), or (B, N, V) with N positions of each sequence.

        Raises:
            FloatingPointError: In exact arithmetic, a value is not finite; the message names the block and the operation.
            IndexError: A token id is out of range; the message has its position and value.
            TypeError: ``ids`` is not made of integers.
            ValueError: ``ids`` does not have the shape (B, T), or T exceeds the context.
        """
        ids = integers("LanguageModel", "ids", ids)
        if ids.ndim != 2 or ids.shape[1] > self.config.context:
            raise ValueError(f"LanguageModel: ids must have shape (B, T), T at most {self.config.context}, got {ids.shape}")
        x = self.embedding(ids)
        if self.positions is not None:
            x = self.positions(x, 0 if cache is None else cache[0].lengths)
        x = self.dropout(x, _of(stream, "dropout"))
        for i, block in enumerate(self.blocks):
            try:
                x = block(x, None if cache is None else cache[i], stream=_of(stream, i))
            except FloatingPointError as error:
                raise FloatingPointError(f"blocks.{i}: {error}") from error
        if at is not None:
            x = x[np.arange(len(ids))[:, None], np.reshape(at, (len(ids), -1))]
        x = self.norm(x)
        return self.head(x) if self.head is not None else linear(x, self.embedding.weight)

    def loss(self, inputs: Ids, targets: Ids, stream: Stream | None = None) -> Tensor:
        """The mean over all tokens of ``-log p(target)``, in nats.

        Args:
            inputs: Token ids (B, T), as in `__call__`.
            targets: The token id that follows each, (B, T).
            stream: As in `__call__`.
        """
        return cross_entropy(self(inputs, stream=stream), targets)


def load_model(path: str | os.PathLike[str]) -> tuple[LanguageModel, TrainConfig]:
    """Load the model of a training run's checkpoint, in evaluation mode, and its configuration.

    Raises:
        CheckpointError: The file is damaged, or is not a checkpoint of a training run.
        OSError: The file cannot be read.

    Example:
        >>> import tempfile
        >>> from samebits.lm import Trainer
        >>> from samebits.text import Batches
        >>> config = TrainConfig(steps=1, warmup=0, model=ModelConfig(vocabulary_size=3, context=4, channels=8))
        >>> batches = Batches(np.arange(60) % 3, batch=12, time=4, stream=Stream(1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Trainer(config, LanguageModel(config.model, stream=Stream(0)), batches, folder=folder).train()
        ...     model, found = load_model(f"{folder}/checkpoint.safetensors")
        >>> model([[0, 1]]).shape, found == config
        ((1, 2, 3), True)
    """
    state, metadata = read_weights(path, digest_required=True)
    try:
        config = TrainConfig.from_toml(metadata["config"])
        _check_size(config.model, sum(x.size for x in state.values()))  # before memory is allocated
        model = LanguageModel(config.model, stream=Stream(0), initialize=initializer.zeros)
        model.load_state_dict(state)
    except KeyError:
        raise CheckpointError(f"{path}: not a checkpoint of a training run: its metadata have no config") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return model.eval(), config


def parameter_count(config: ModelConfig) -> int:
    """The number of parameters of a model, embeddings included, without making it.

    Example:
        >>> gpt2 = ModelConfig(vocabulary_size=50257, context=1024, layers=12, heads=12, channels=768)
        >>> parameter_count(gpt2)
        124439808
    """
    gpt2, channels = config.architecture == "gpt2", config.channels
    vectors = 4 if gpt2 else 2  # two normalizations, with or without biases
    biases = (
        5 * channels + config.hidden_size if gpt2 else config.qkv_bias * config.head_size * (config.heads + 2 * config.groups)
    )
    biases += 2 * config.head_size if config.qk_norm else 0
    block = _matrices(config) + vectors * channels + biases
    tables = config.vocabulary_size * (1 if config.tied else 2) + (config.context if gpt2 else 0)
    return config.layers * block + tables * channels + vectors // 2 * channels


def flops_per_token(config: ModelConfig) -> int:
    """The floating-point operations of a training step per token: ``6 N + 12 L H Q T``.

    N is the number of weights in matrices, with the output layer and without the embedding tables, L the number of layers, H
    that of heads, Q their size and T the context: Chowdhery et al., 2022, PaLM, appendix B, after Kaplan et al., 2020,
    section 2.1. A weight takes 2 operations in the forward pass and 4 in the backward pass. Attention is counted as if it were
    not masked.

    Example:
        >>> flops_per_token(ModelConfig(vocabulary_size=50257, context=1024, layers=12, heads=12, channels=768))
        854438400
    """
    weights = config.layers * _matrices(config) + config.vocabulary_size * config.channels
    return 6 * weights + 12 * config.layers * config.heads * config.head_size * config.context


def _check_size(config: ModelConfig, size: int) -> None:
    if parameter_count(config) > size:
        raise ValueError(f"the checkpoint must have {parameter_count(config)} parameters, as its config says, got {size}")


def _matrices(config: ModelConfig) -> int:
    """The number of weights in the matrices of a block."""
    channels, attended = config.channels, (config.heads + config.groups) * config.head_size
    feed_forward = (2 if config.architecture == "gpt2" else 3) * channels * config.hidden_size
    return 2 * channels * attended + feed_forward


def _blocks(config: ModelConfig, stream: Stream, first: Initializer, last: Initializer) -> list[TransformerBlock]:
    shared: dict[str, Any] = {
        "hidden": config.hidden_size,
        "dropout": config.dropout,
        "initialize": first,
        "initialize_output": last,
    }
    if config.architecture == "gpt2":
        make = partial(TransformerBlock.gpt2, config.channels, config.heads, **shared)
    else:
        make = partial(
            TransformerBlock.llama,
            config.channels,
            config.heads,
            key_value_heads=config.groups,
            head_channels=config.head_size,
            qkv_bias=config.qkv_bias,
            qk_norm=config.qk_norm,
            rotary=_rotary(config),  # shared: its tables grow with the longest text
            eps=config.norm_eps,
            **shared,
        )
    return [make(stream=stream.split(i)) for i in range(config.layers)]


def _rotary(config: ModelConfig) -> Rotary:
    size, base, factors = config.head_size, config.rope_base, None
    if config.rope_scaling == "linear":
        factors = np.full(size // 2, 1 / config.rope_factor)
    elif config.rope_scaling == "llama3":
        factors = llama3_factors(
            size, base, factor=config.rope_factor, low=config.rope_low, high=config.rope_high, context=config.rope_context
        )
    return Rotary(size, base=base, factors=factors)


def _of(stream: Stream | None, name: str | int) -> Stream | None:
    return None if stream is None else stream.split(name)
