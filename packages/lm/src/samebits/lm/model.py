"""Language model: tokens in, a score for every next token out, by transformer blocks (Vaswani et al., 2017; Radford et al., 2019).

    ids (B, T) -> embedding -> [+ positions] -> block -> ... -> block -> normalisation -> logits (B, T, V)

One class has both flavours, made of the same parts: `ModelConfig` says which. Row t of the logits is computed from tokens
0..t alone, with bits that depend on nothing else: not on later tokens, on the other rows of the batch, or on a cache.

Also here: what a model of some configuration costs, in parameters and in operations.
"""

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.autograd import Tensor
from samebits.core import Stream
from samebits.lm.checkpoint import CheckpointError, load
from samebits.lm.config import ConfigError, ModelConfig, TrainConfig
from samebits.nn import initializer
from samebits.nn.block import TransformerBlock
from samebits.nn.cache import KeyValueCache
from samebits.nn.dense import Linear, linear
from samebits.nn.embeddings import Embedding
from samebits.nn.loss import cross_entropy
from samebits.nn.module import Module
from samebits.nn.normalization import LayerNorm, RMSNorm
from samebits.nn.positions import LearnedPositions, Rotary
from samebits.nn.regularization import Dropout

__all__ = ["LanguageModel", "flops_per_token", "load_model", "parameter_count"]

Int64 = npt.NDArray[np.int64]


class LanguageModel(Module):
    """A transformer that gives a score to every next token.

    Weights are drawn as GPT-2's: normal with standard deviation 0.02, the two projections of each block that end in a sum
    0.02 / sqrt(2 layers), biases 0 (Radford et al., 2019, section 2.3).

    Args:
        config: What the model is; its ``vocabulary_size`` must be known.
        stream: Where weights are drawn from, each from the sub-stream of its name.

    Raises:
        ConfigError: The vocabulary is empty.

    Example:
        >>> config = ModelConfig(vocabulary_size=5, context=8, layers=1, heads=2, channels=16)
        >>> model = LanguageModel(config, stream=Stream(0))
        >>> ids = np.array([[1, 2, 3]])
        >>> model(ids).shape, model.loss(ids, ids).item() > 0
        ((1, 3, 5), True)
    """

    def __init__(self, config: ModelConfig, *, stream: Stream) -> None:
        if config.vocabulary_size < 1:
            raise ConfigError("vocabulary_size is 0: at least 1 is needed to make a model, as the tokenizer has")
        self.config = config
        channels, size = config.channels, config.vocabulary_size
        small = initializer.normal(std=0.02)
        self.embedding = Embedding(size, channels, stream=stream.split("embedding"), initialize=small)
        gpt2 = config.flavour == "gpt2"
        self.positions = (
            LearnedPositions(config.context, channels, stream=stream.split("positions"), initialize=small) if gpt2 else None
        )
        self.dropout = Dropout(config.dropout)
        self.blocks = _blocks(config, stream.split("blocks"))
        self.norm = LayerNorm(channels) if gpt2 else RMSNorm(channels)
        self.head = None if config.tied else Linear(channels, size, bias=False, stream=stream.split("head"), initialize=small)

    def __call__(
        self,
        ids: Int64,
        cache: Sequence[KeyValueCache] | None = None,
        stream: Stream | None = None,
    ) -> Tensor:
        """The logits of the token after each.

        Args:
            ids: Tokens, int64 (B, T), T at most the context less what the cache has.
            cache: That of each block, with what came before; the tokens are added. It has no gradients: use `no_grad`.
            stream: What dropout draws from, needed in training if there is any.

        Returns:
            float32 (B, T, V).

        Raises:
            FloatingPointError: In exact arithmetic, something is not finite; the message has the block and the operation.
            IndexError: A token is out of range; the message has its position and value.
            TypeError: ``ids`` is not int64.
            ValueError: ``ids`` has not two axes, or there are more tokens than the context has room for.
        """
        if ids.ndim != 2 or not ids.shape[1] <= self.config.context:
            raise ValueError(f"ids has shape {ids.shape}: (B, T) is needed, T at most the context, {self.config.context}")
        x = self.embedding(ids)
        if self.positions is not None:
            x = self.positions(x, 0 if cache is None else cache[0].lengths)
        x = self.dropout(x, _of(stream, "dropout"))
        for i, block in enumerate(self.blocks):
            try:
                x = block(x, None if cache is None else cache[i], stream=_of(stream, i))
            except FloatingPointError as error:
                raise FloatingPointError(f"blocks.{i}: {error}") from error
        x = self.norm(x)
        return self.head(x) if self.head is not None else linear(x, self.embedding.weight)

    def loss(self, inputs: Int64, targets: Int64, stream: Stream | None = None) -> Tensor:
        """The mean over all tokens of ``-log p(target)``, in nats; inputs and targets int64 (B, T)."""
        return cross_entropy(self(inputs, stream=stream), targets)


def load_model(path: str | os.PathLike[str]) -> tuple[LanguageModel, TrainConfig]:
    """The model of a checkpoint, ready for use, and the configuration it was trained with.

    Raises:
        CheckpointError: The file is damaged, or is no checkpoint of a model.
        OSError: The file cannot be read.
    """
    tensors, metadata, _ = load(path)
    try:
        config = TrainConfig.from_toml(metadata["config"])
        prefix = "model."
        state = {name.removeprefix(prefix): x for name, x in tensors.items() if name.startswith(prefix)}
        _check_size(config.model, sum(x.size for x in state.values()))  # before room is made for what is not there
        model = LanguageModel(config.model, stream=Stream(0))
        model.load_state_dict(state)
    except KeyError:
        raise CheckpointError(f"{path}: there is no config in the metadata: this is no checkpoint of a training run") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return model.eval(), config


def parameter_count(config: ModelConfig) -> int:
    """The numbers that a model has, embeddings included, without making it.

    Example:
        >>> gpt2 = ModelConfig(vocabulary_size=50257, context=1024, layers=12, heads=12, channels=768)
        >>> parameter_count(gpt2)
        124439808
    """
    channels, vectors = config.channels, 4 if config.flavour == "gpt2" else 2  # two normalisations, each with biases or not
    biases = 5 * channels + config.hidden_size if config.flavour == "gpt2" else 0
    block = _matrices(config) + vectors * channels + biases
    tables = config.vocabulary_size * (1 if config.tied else 2) + (config.context if config.flavour == "gpt2" else 0)
    return config.layers * block + tables * channels + vectors // 2 * channels


def flops_per_token(config: ModelConfig) -> int:
    """Multiplications and additions of a training step, for each of its tokens: ``6 N + 12 L H Q T``.

    N counts the numbers in matrices, the last layer's included and the looked-up tables not, L the layers, H the heads, Q
    their size and T the context: Chowdhery et al., 2022, PaLM, appendix B, after Kaplan et al., 2020, section 2.1. Each
    weight takes part in 2 operations forwards and 4 backwards; attention is counted whole, though half of it is masked.

    Example:
        >>> flops_per_token(ModelConfig(vocabulary_size=50257, context=1024, layers=12, heads=12, channels=768))
        854438400
    """
    weights = config.layers * _matrices(config) + config.vocabulary_size * config.channels
    return 6 * weights + 12 * config.layers * config.channels * config.context


def _check_size(config: ModelConfig, size: int) -> None:
    if parameter_count(config) > size:
        raise ValueError(f"its configuration needs {parameter_count(config)} parameters, there are {size}")


def _matrices(config: ModelConfig) -> int:
    """The numbers in the matrices of a block."""
    channels, shared = config.channels, config.groups * config.head_size
    perceptron = (2 if config.flavour == "gpt2" else 3) * channels * config.hidden_size
    return 2 * channels * channels + 2 * channels * shared + perceptron


def _blocks(config: ModelConfig, stream: Stream) -> list[TransformerBlock]:
    first, last = initializer.normal(std=0.02), initializer.scaled_residual(config.layers)
    shared: dict[str, Any] = {
        "hidden": config.hidden_size,
        "dropout": config.dropout,
        "initialize": first,
        "initialize_output": last,
    }
    if config.flavour == "gpt2":
        make = partial(TransformerBlock.gpt2, config.channels, config.heads, **shared)
    else:
        rotary = Rotary(config.head_size)  # one for all, as its tables grow with the text
        make = partial(
            TransformerBlock.llama, config.channels, config.heads, key_value_heads=config.groups, rotary=rotary, **shared
        )
    return [make(stream=stream.split(i)) for i in range(config.layers)]


def _of(stream: Stream | None, name: str | int) -> Stream | None:
    return None if stream is None else stream.split(name)
