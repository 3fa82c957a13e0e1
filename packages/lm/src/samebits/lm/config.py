"""Configurations: what a model is and how it is trained, frozen and checked, read from TOML and written as TOML.

A file has the settings of `TrainConfig`, and those of `ModelConfig` in the table ``[model]``. Omitted settings have their
defaults; unknown ones are refused.

    steps = 2000
    optimizer = "adamw"
    [model]
    layers = 4

What a setting is, and how its limits are checked, is in `schema`.
"""

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

from samebits.core import Mode
from samebits.core.files import require_file
from samebits.core.records import RecordError, parse_toml, shown
from samebits.lm.schema import ConfigError, Setting, check, from_values, toml_lines
from samebits.text.file_kinds import TOML, file_kind

__all__ = ["ModelConfig", "TrainConfig"]

_OF_LLAMA = ("head_channels", "norm_eps", "qkv_bias", "qk_norm", "rope_base", "rope_scaling")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The architecture and the sizes of a language model.

    Raises:
        ConfigError: A value has the wrong type or is out of its limits, or two values contradict each other.

    Example:
        >>> ModelConfig(vocabulary_size=81, layers=2, heads=2, channels=32).head_size
        16
        >>> ModelConfig(heads=3)
        Traceback (most recent call last):
            ...
        samebits.lm.schema.ConfigError: channels must be a multiple of heads, which is 3, got 128
    """

    architecture: Annotated[
        str,
        Setting(
            '"gpt2": learned positions, LayerNorm, GELU and biases (Radford et al., 2019); '
            '"llama": rotary positions, RMSNorm, SwiGLU and no biases (Touvron et al., 2023).',
            choices=("gpt2", "llama"),
        ),
    ] = "gpt2"
    vocabulary_size: Annotated[int, Setting("Vocabulary size; 0 takes it from the tokenizer.", least=0)] = 0
    context: Annotated[int, Setting("Context length in tokens.", least=1)] = 64
    layers: Annotated[int, Setting("Number of transformer blocks.", least=1)] = 4
    heads: Annotated[int, Setting("Number of attention heads per block.", least=1)] = 4
    key_value_heads: Annotated[
        int,
        Setting(
            'Number of key and value heads per block, for "llama" (grouped queries, Ainslie et al., 2023); 0 means as many as heads.',
            least=0,
        ),
    ] = 0
    channels: Annotated[int, Setting("Size of the embeddings.", least=1)] = 128
    hidden: Annotated[
        int,
        Setting(
            'Hidden size of the feed-forward layers; 0 means 4 channels for "gpt2", '
            'and 8/3 channels rounded up to a multiple of 32 for "llama".',
            least=0,
        ),
    ] = 0
    dropout: Annotated[float, Setting("Dropout probability (Srivastava et al., 2014).", least=0, below=1)] = 0.0
    tied: Annotated[bool, Setting("Share the embedding matrix with the output layer (Press and Wolf, 2017).")] = True
    head_channels: Annotated[
        int, Setting('Size of an attention head, for "llama"; 0 means channels / heads.', least=0, only_changed=True)
    ] = 0
    norm_eps: Annotated[float, Setting('Added to the mean square in RMSNorm, for "llama".', above=0, only_changed=True)] = 1e-5
    qkv_bias: Annotated[
        bool, Setting('Biases of queries, keys and values, for "llama", as in Qwen 2 (Yang et al., 2024).', only_changed=True)
    ] = False
    qk_norm: Annotated[
        bool,
        Setting(
            'RMSNorm over each head of queries and keys, for "llama", as in Qwen 3 (Yang et al., 2025; Henry et al., 2020).',
            only_changed=True,
        ),
    ] = False
    rope_base: Annotated[
        float, Setting('Base of the wavelengths of rotary positions, for "llama".', above=1, only_changed=True)
    ] = 10000.0
    rope_scaling: Annotated[
        str,
        Setting(
            'Slows rotary positions down for longer texts, for "llama": "linear" by rope_factor (Chen et al., 2023), '
            '"llama3" the long wavelengths by rope_factor (Grattafiori et al., 2024).',
            choices=("none", "linear", "llama3"),
            only_changed=True,
        ),
    ] = "none"
    rope_factor: Annotated[
        float, Setting("How many times longer the texts are with rope_scaling.", above=0, only_changed=True)
    ] = 1.0
    rope_low: Annotated[
        float,
        Setting('Turns in rope_context tokens up to which "llama3" scales by the whole factor.', above=0, only_changed=True),
    ] = 1.0
    rope_high: Annotated[
        float, Setting('Turns in rope_context tokens from which "llama3" does not scale.', only_changed=True)
    ] = 4.0
    rope_context: Annotated[
        int, Setting('Context length of the training before "llama3" scaling, in tokens.', least=1, only_changed=True)
    ] = 8192

    def __post_init__(self) -> None:
        check(self)
        if self.architecture == "gpt2":
            for one in fields(self):
                if one.name in _OF_LLAMA and getattr(self, one.name) != one.default:
                    raise ConfigError(f'{one.name} must be {one.default!r} for "gpt2", got {getattr(self, one.name)!r}')
        if self.rope_low >= self.rope_high:
            raise ConfigError(f"rope_low must be below rope_high, which is {self.rope_high}, got {self.rope_low}")
        if self.head_channels % 2:
            raise ConfigError(f"head_channels must be even, got {self.head_channels}")
        if not self.head_channels and self.channels % self.heads:
            raise ConfigError(f"channels must be a multiple of heads, which is {self.heads}, got {self.channels}")
        if self.architecture == "gpt2" and self.groups != self.heads:
            raise ConfigError(f'key_value_heads must be 0 for "gpt2", got {self.key_value_heads}')
        if self.heads % self.groups:
            raise ConfigError(f"key_value_heads must divide heads, which is {self.heads}, got {self.key_value_heads}")
        if self.architecture == "llama" and self.head_size % 2:  # without head_channels
            raise ConfigError(
                f'channels must be a multiple of 2 heads for "llama", which is {2 * self.heads}, got {self.channels}'
            )

    @property
    def head_size(self) -> int:
        """The channels of one attention head."""
        return self.head_channels or self.channels // self.heads

    @property
    def groups(self) -> int:
        """The number of key and value heads."""
        return self.key_value_heads or self.heads

    @property
    def hidden_size(self) -> int:
        """The hidden size of the feed-forward layers."""
        if self.hidden:
            return self.hidden
        return 4 * self.channels if self.architecture == "gpt2" else -(-8 * self.channels // 96) * 32


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a language model is trained, and on what.

    Raises:
        ConfigError: A value has the wrong type or is out of its limits, or two values contradict each other.

    Example:
        >>> TrainConfig.from_toml("steps = 500").steps
        500
        >>> TrainConfig.from_toml("learningrate = 0.1")
        Traceback (most recent call last):
            ...
        samebits.lm.schema.ConfigError: unknown setting 'learningrate': did you mean 'learning_rate'?
    """

    data: Annotated[str, Setting("Name of a corpus, or path of a text file or of a folder of text files.")] = "shakespeare"
    tokenizer: Annotated[
        str, Setting('"character", "byte", "bytepair" (trained on the data), or the path of a saved tokenizer.')
    ] = "character"
    merged_vocabulary: Annotated[int, Setting('Vocabulary size of a trained "bytepair" tokenizer.', least=257)] = 1024
    validation: Annotated[float, Setting("Fraction of the text, at its end, that is held out.", above=0, below=1)] = 0.1
    undecodable: Annotated[
        str,
        Setting(
            'Bytes that are not UTF-8: "keep" them, which "character" refuses, or "replace" them with U+FFFD.',
            choices=("keep", "replace"),
        ),
    ] = "keep"
    special: Annotated[
        str,
        Setting(
            'Names of special tokens in the text: "refuse" them, "allow" them to be the tokens, or read them as "text".',
            choices=("refuse", "allow", "text"),
        ),
    ] = "refuse"
    end_of_text: Annotated[str, Setting('Special token between documents; "" puts an empty line there.')] = ""
    steps: Annotated[int, Setting("Number of optimizer steps.", least=1)] = 2000
    batch: Annotated[int, Setting("Sequences per step, each as long as the context.", least=1)] = 12
    shards: Annotated[
        int,
        Setting(
            "Number of equal parts of a batch, which are computed one after the other or by several workers; a divisor of batch.",
            least=1,
        ),
    ] = 1
    schedule: Annotated[
        str,
        Setting(
            'Learning rate after the warmup: "cosine" decays to final_learning_rate (Loshchilov and Hutter, 2017), '
            '"wsd" stays constant and decays over the last `decay` steps, "constant" stays constant.',
            choices=("cosine", "wsd", "constant"),
        ),
    ] = "cosine"
    learning_rate: Annotated[float, Setting("Largest learning rate.", above=0)] = 1e-3
    final_learning_rate: Annotated[float, Setting('Final learning rate; ignored by "constant".', least=0)] = 1e-4
    warmup: Annotated[int, Setting("Number of steps over which the learning rate rises linearly.", least=0)] = 100
    decay: Annotated[int, Setting('Number of steps of the final decay; only for "wsd".', least=0)] = 200
    optimizer: Annotated[
        str,
        Setting(
            '"adamw" (Loshchilov and Hutter, 2019), "lion" (Chen et al., 2023), "sgd" with momentum, '
            'or "muon" (Jordan et al., 2024) for the matrices of the blocks with AdamW for everything else.',
            choices=("adamw", "lion", "muon", "sgd"),
        ),
    ] = "adamw"
    weight_decay: Annotated[float, Setting("Weight decay of matrices, as a multiple of the learning rate.", least=0)] = 0.1
    beta1: Annotated[
        float,
        Setting(
            'Decay of the mean gradient; for "muon", that of its AdamW.', least=0, below=1, optimizers=("adamw", "lion", "muon")
        ),
    ] = 0.9
    beta2: Annotated[
        float,
        Setting(
            'Decay of the mean squared gradient, for "lion" of the momentum; for "muon", that of its AdamW.',
            least=0,
            below=1,
            optimizers=("adamw", "lion", "muon"),
        ),
    ] = 0.99
    momentum: Annotated[
        float, Setting("Fraction of the momentum that is kept at each step.", least=0, below=1, optimizers=("muon", "sgd"))
    ] = 0.95
    adamw_learning_rate: Annotated[
        float, Setting("Largest learning rate of Muon's AdamW, which has the same schedule.", above=0, optimizers=("muon",))
    ] = 1e-3
    clip: Annotated[float, Setting("Largest 2-norm of the gradient; 0 clips nothing.", least=0)] = 1.0
    evaluate_every: Annotated[
        int, Setting("Steps between evaluations; before the first of them, there is one at each power of two.", least=1)
    ] = 250
    evaluation_windows: Annotated[
        int, Setting("Number of held-out sequences to evaluate on, evenly spread; 0 means all.", least=0)
    ] = 200
    checkpoint_every: Annotated[int, Setting("Steps between checkpoints; the last step always has one.", least=1)] = 250
    seed: Annotated[int, Setting("Seed of all random numbers.", least=0, below=2**63)] = 0
    numerics: Annotated[
        Mode,
        Setting(
            '"exact": the same bits on every machine; "int16": likewise, with products of 16-bit integers; "fast": plain NumPy.',
            choices=("exact", "int16", "fast"),
        ),
    ] = "exact"
    model: ModelConfig = field(default_factory=ModelConfig)

    def __post_init__(self) -> None:
        check(self)
        if not isinstance(self.model, ModelConfig):
            raise ConfigError(f"model must be a ModelConfig, got {shown(self.model)}")
        if self.batch % self.shards:
            raise ConfigError(f"shards must divide batch, which is {self.batch}, got {self.shards}")
        if self.final_learning_rate > self.learning_rate:
            raise ConfigError(
                f"final_learning_rate must be at most learning_rate, which is {self.learning_rate}, got {self.final_learning_rate}"
            )
        parts = {"constant": 0, "cosine": self.warmup, "wsd": self.warmup + self.decay}
        if parts[self.schedule] > self.steps:
            names = "warmup + decay" if self.schedule == "wsd" else "warmup"
            raise ConfigError(f"{names} must be at most steps, which is {self.steps}, got {parts[self.schedule]}")

    @classmethod
    def from_toml(cls, text: str) -> "TrainConfig":
        """The configuration in a TOML text.

        Raises:
            ConfigError: The text is not TOML, or has an unknown setting or a value that is refused.
        """
        try:
            values = parse_toml(text)
        except RecordError as error:
            raise ConfigError(str(error)) from None
        model = values.get("model", {})
        if not isinstance(model, dict):
            raise ConfigError(f"model must be a table [model], got {shown(model)}")
        return from_values(cls, {**values, "model": from_values(ModelConfig, model, where=" in [model]")})

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "TrainConfig":
        """The configuration in a TOML file; see `from_toml`.

        Raises:
            ConfigError: As in `from_toml`, after the file's name; or the file is not UTF-8.
            OSError: The file cannot be read.
        """
        require_file(path)
        data = Path(path).read_bytes()
        try:
            return cls.from_toml(data.decode("utf-8-sig"))
        except (UnicodeDecodeError, ConfigError) as error:
            kind = file_kind(data)
            if kind not in {None, TOML}:
                raise ConfigError(f"{path}: this is {kind}, not a TOML file") from None
            if isinstance(error, UnicodeDecodeError):
                raise ConfigError(f"{path}: not valid TOML: not UTF-8 at byte {error.start}") from None
            raise ConfigError(f"{path}: {error}") from None

    def to_toml(self) -> str:
        r"""All settings as TOML, each under a comment with its meaning; `from_toml` gives the same configuration.

        Example:
            >>> print(*TrainConfig(steps=500).to_toml().splitlines()[-2:], sep="\n")
            # Share the embedding matrix with the output layer (Press and Wolf, 2017).
            tied = true
        """
        return "\n".join([*toml_lines(self), "[model]", "", *toml_lines(self.model)])
