"""Configurations: what a model is and how it is trained, frozen and checked, read from TOML and written as TOML.

Every setting stands once, with its type, its default, its meaning and its limits; errors, the comments of a written file and
the tables of the documentation are made from that. A file has the settings of `TrainConfig`, and those of `ModelConfig` in
the table ``[model]``; what it leaves out has its default, and a name that there is not is refused.

    steps = 2000
    [model]
    layers = 4
"""

import dataclasses
import difflib
import json
import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

__all__ = ["ConfigError", "ModelConfig", "Setting", "TrainConfig", "settings", "table"]


class ConfigError(ValueError):
    """A setting is unknown, of the wrong type, or out of its limits; the message says which and what would be right."""


@dataclass(frozen=True)
class Setting:
    """What a setting means and which values it may have: in ``choices``, or at least ``least``, above ``above``, below ``below``."""

    meaning: str
    choices: tuple[str, ...] = ()
    least: float = -math.inf
    above: float = -math.inf
    below: float = math.inf

    def allows(self, value: Any) -> bool:
        if isinstance(value, str):
            return not self.choices or value in self.choices
        return math.isfinite(value) and value >= self.least and self.above < value < self.below

    @property
    def limits(self) -> str:
        """In words, after "it is", empty where there are none."""
        if self.choices:
            return " or ".join(json.dumps(choice) for choice in self.choices)
        words = (("at least", self.least), ("above", self.above), ("below", self.below))
        return " and ".join(f"{word} {limit}" for word, limit in words if math.isfinite(limit))


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What a language model is.

    Raises:
        ConfigError: A value is of the wrong type or out of its limits, or two do not go together.

    Example:
        >>> ModelConfig(vocabulary_size=81, layers=2, heads=2, channels=32).head_size
        16
        >>> ModelConfig(heads=3)
        Traceback (most recent call last):
            ...
        samebits.lm.config.ConfigError: channels is 128: a multiple of heads is needed, which is 3
    """

    flavour: Annotated[
        str,
        Setting(
            'The parts: "gpt2" has learned positions, LayerNorm, GELU and biases (Radford et al., 2019); '
            '"llama" has rotary positions, RMSNorm, SwiGLU and no biases (Touvron et al., 2023).',
            choices=("gpt2", "llama"),
        ),
    ] = "gpt2"
    vocabulary_size: Annotated[int, Setting("Tokens that there are; 0 takes it from the tokenizer.", least=0)] = 0
    context: Annotated[int, Setting("Tokens that the model sees at once.", least=1)] = 64
    layers: Annotated[int, Setting("Transformer blocks, one on the other.", least=1)] = 4
    heads: Annotated[int, Setting("Attention heads of a block.", least=1)] = 4
    key_value_heads: Annotated[
        int,
        Setting(
            "Heads of keys and values of llama, each for a group of heads (Ainslie et al., 2023); 0 is as many as heads.", least=0
        ),
    ] = 0
    channels: Annotated[int, Setting("Numbers that stand for a token between the blocks.", least=1)] = 128
    hidden: Annotated[
        int,
        Setting(
            "Numbers inside a block's perceptron; 0 is 4 channels for gpt2, and 8/3 for llama, up to a multiple of 32.", least=0
        ),
    ] = 0
    dropout: Annotated[float, Setting("Share of numbers set to 0 in training (Srivastava et al., 2014).", least=0, below=1)] = 0.0
    tied: Annotated[bool, Setting("Whether the last layer is the embedding turned round (Press and Wolf, 2017).")] = True

    def __post_init__(self) -> None:
        _check(self)
        if self.channels % self.heads:
            raise ConfigError(f"channels is {self.channels}: a multiple of heads is needed, which is {self.heads}")
        if self.flavour == "gpt2" and self.groups != self.heads:
            raise ConfigError(f"key_value_heads is {self.key_value_heads}: 0 is needed, as gpt2 has one for each of its heads")
        if self.heads % self.groups:
            raise ConfigError(f"key_value_heads is {self.key_value_heads}: a divisor of heads is needed, which is {self.heads}")
        if self.flavour == "llama" and self.head_size % 2:
            raise ConfigError(
                f"channels is {self.channels}: an even number for each of {self.heads} heads is needed to rotate them"
            )

    @property
    def head_size(self) -> int:
        """Channels of an attention head."""
        return self.channels // self.heads

    @property
    def groups(self) -> int:
        """Heads of keys and values."""
        return self.key_value_heads or self.heads

    @property
    def hidden_size(self) -> int:
        """Numbers inside a block's perceptron."""
        if self.hidden:
            return self.hidden
        return 4 * self.channels if self.flavour == "gpt2" else -(-8 * self.channels // 96) * 32


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a language model is trained, and on what.

    Raises:
        ConfigError: A value is of the wrong type or out of its limits, or two do not go together.

    Example:
        >>> TrainConfig.from_toml("steps = 500").steps
        500
        >>> TrainConfig.from_toml("learningrate = 0.1")
        Traceback (most recent call last):
            ...
        samebits.lm.config.ConfigError: there is no setting 'learningrate': did you mean 'learning_rate'?
    """

    data: Annotated[str, Setting("A corpus by name, or the path of a text file or of a folder of them.")] = "shakespeare"
    tokenizer: Annotated[
        str, Setting('"character", "byte", "bytepair" (trained on the data), or the path of a saved tokenizer.')
    ] = "character"
    merged_vocabulary: Annotated[int, Setting("Tokens of a bytepair tokenizer that is trained.", least=257)] = 1024
    validation: Annotated[float, Setting("Share of the data, its end, that is held out for evaluation.", above=0, below=1)] = 0.1
    steps: Annotated[int, Setting("Updates of the weights.", least=1)] = 2000
    batch: Annotated[int, Setting("Windows of the context's length that an update learns from.", least=1)] = 12
    micro_batches: Annotated[
        int, Setting("Equal parts that a batch is computed in, one after the other, to save memory; a divisor of batch.", least=1)
    ] = 1
    schedule: Annotated[
        str,
        Setting(
            'How the learning rate goes after its warm-up: "cosine" falls to the final rate (Loshchilov and Hutter, 2017), '
            '"wsd" stays and falls over the last `decay` steps, "constant" stays.',
            choices=("cosine", "wsd", "constant"),
        ),
    ] = "cosine"
    learning_rate: Annotated[float, Setting("The largest learning rate.", above=0)] = 1e-3
    final_learning_rate: Annotated[float, Setting("Where the learning rate falls to, but with a constant schedule.", least=0)] = (
        1e-4
    )
    warmup: Annotated[int, Setting("Steps over which the learning rate rises in a line.", least=0)] = 100
    decay: Annotated[int, Setting('Steps over which it falls at the end, with "wsd".', least=0)] = 200
    weight_decay: Annotated[
        float, Setting("How much of each matrix decays, times the learning rate (Loshchilov and Hutter, 2019).", least=0)
    ] = 0.1
    beta1: Annotated[float, Setting("AdamW's memory of gradients.", least=0, below=1)] = 0.9
    beta2: Annotated[float, Setting("AdamW's memory of their squares.", least=0, below=1)] = 0.99
    clip: Annotated[float, Setting("The largest 2-norm of all gradients together; 0 clips nothing.", least=0)] = 1.0
    evaluate_every: Annotated[int, Setting("Steps from one evaluation to the next; there is one at the end too.", least=1)] = 250
    evaluation_windows: Annotated[
        int, Setting("Windows of the held-out text that are evaluated, evenly spread; 0 is all.", least=0)
    ] = 200
    checkpoint_every: Annotated[int, Setting("Steps from one checkpoint to the next; there is one at the end too.", least=1)] = (
        250
    )
    seed: Annotated[int, Setting("Where all random numbers come from.", least=0, below=2**63)] = 0
    numerics: Annotated[
        str, Setting('"exact" has the same bits on every machine; "fast" is plain NumPy.', choices=("exact", "fast"))
    ] = "exact"
    model: ModelConfig = field(default_factory=ModelConfig)

    def __post_init__(self) -> None:
        _check(self)
        if self.batch % self.micro_batches:
            raise ConfigError(f"micro_batches is {self.micro_batches}: a divisor of batch is needed, which is {self.batch}")
        if self.final_learning_rate > self.learning_rate:
            raise ConfigError(
                f"final_learning_rate is {self.final_learning_rate}: at most learning_rate is needed, which is {self.learning_rate}"
            )
        parts = {"constant": 0, "cosine": self.warmup, "wsd": self.warmup + self.decay}
        if parts[self.schedule] > self.steps:
            names = "warmup and decay are together" if self.schedule == "wsd" else "warmup is"
            raise ConfigError(f"{names} {parts[self.schedule]}: at most steps is needed, which is {self.steps}")

    @classmethod
    def from_toml(cls, text: str) -> "TrainConfig":
        """The configuration that a TOML text describes.

        Raises:
            ConfigError: It is no TOML, or has a setting that there is not, or a value that will not do.
        """
        try:
            return _made(cls, tomllib.loads(text), "")
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"this is no TOML: {error}") from None

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "TrainConfig":
        """As `from_toml`, from a file, whose name errors begin with.

        Raises:
            ConfigError: As `from_toml`, or the file is not UTF-8.
            OSError: The file cannot be read.
        """
        try:
            return cls.from_toml(Path(path).read_bytes().decode())
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: this is no TOML: it is not UTF-8 at byte {error.start}") from None
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None

    def to_toml(self) -> str:
        r"""The TOML text of all settings, each under a comment with its meaning; `from_toml` gives the same configuration.

        Example:
            >>> print(*TrainConfig(steps=500).to_toml().splitlines()[-2:], sep="\n")
            # Whether the last layer is the embedding turned round (Press and Wolf, 2017).
            tied = true
        """
        return "\n".join([*_lines(self), "[model]", "", *_lines(self.model)])


Config = TypeVar("Config", ModelConfig, TrainConfig)


def settings(config: type[ModelConfig] | type[TrainConfig]) -> dict[str, tuple[type, Any, Setting]]:
    """Type, default and meaning of every setting, by name, in order; without the table ``[model]``."""
    hints = get_type_hints(config, include_extras=True)
    annotated = {f.name: (get_args(hints[f.name]), f.default) for f in dataclasses.fields(config)}
    return {name: (parts[0], default, parts[1]) for name, (parts, default) in annotated.items() if parts}


def table(config: type[ModelConfig] | type[TrainConfig]) -> str:
    """The settings as a table in Markdown."""
    rows = ["| setting | default | meaning | limits |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{name}` | `{_value(default)}` | {setting.meaning} | {setting.limits} |"
        for name, (_, default, setting) in settings(config).items()
    ]
    return "\n".join(rows)


def _check(config: ModelConfig | TrainConfig) -> None:
    """Refuse values of the wrong type or out of their limits; make floating numbers of whole ones where these are meant."""
    for name, (kind, _, setting) in settings(type(config)).items():
        value = getattr(config, name)
        if type(value) is int and abs(value) >= 2**63:
            raise ConfigError(f"{name} is a number of {value.bit_length()} bits: one below 2^63 is needed, as TOML has them")
        if kind is float and type(value) is int:
            value = float(value)
            object.__setattr__(config, name, value)  # in its own making, a frozen object may
        if type(value) is not kind:
            words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
            raise ConfigError(f"{name} is {value!r}: {words[kind]} is needed")
        if not setting.allows(value):
            raise ConfigError(f"{name} is {value!r}: {setting.limits or 'a finite number'} is needed")


def _made(config: type[Config], values: Mapping[str, Any], inside: str) -> Config:
    """A configuration from the values of a TOML table."""
    known = [f.name for f in dataclasses.fields(config)]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"there is no setting {inside}{name!r}: {hint}")
    model = values.get("model")
    if config is ModelConfig or model is None:
        return config(**values)
    if not isinstance(model, dict):
        raise ConfigError(f"model is {model!r}: a table [model] is needed")
    return config(**{**values, "model": _made(ModelConfig, model, "[model] ")})


def _lines(config: ModelConfig | TrainConfig) -> list[str]:
    return [
        line
        for name, (_, _, setting) in settings(type(config)).items()
        for line in (f"# {setting.meaning}", f"{name} = {_value(getattr(config, name))}", "")
    ]


def _value(value: Any) -> str:
    """As TOML writes it: texts have the escapes of JSON, but for DEL, and numbers those of Python."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else repr(value)
