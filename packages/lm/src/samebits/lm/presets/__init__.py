"""Presets: configurations that come with the package, and the published digests of their results.

    preset  ->  training in exact or int16 arithmetic  ->  SHA-256 of the weights, and of a text that the model generates

A preset is a TOML file beside this module. The digests are in published.json, which only `packages/lm/scripts/publish.py` writes:
a changed digest is a breaking change.
"""

import difflib
import hashlib
from dataclasses import replace
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Annotated, TypedDict, cast

from samebits.core import Stream
from samebits.core.records import Limits, RecordError, parse_json, shown
from samebits.lm import checkpoint
from samebits.lm.config import TrainConfig
from samebits.lm.generation import generate
from samebits.lm.model import LanguageModel
from samebits.lm.sampling import Sampling
from samebits.lm.schema import ConfigError
from samebits.text.tokenizer import Tokenizer

__all__ = ["DEFAULT", "digests", "names", "preset", "published", "read_published", "sample"]

DEFAULT = "tiny"
"""The preset that is trained by default."""

_FILES = resources.files(__name__)
_TOKENS = 400  # in a sample
_Digest = Annotated[str, Limits(pattern="[0-9a-f]{64}")]


class _Published(TypedDict):
    """What `digests` returns, in published.json."""

    weights: _Digest
    text: _Digest


class _Arithmetics(TypedDict, total=False):
    """The digests of a preset in each arithmetic that has any."""

    exact: _Published
    int16: _Published


Published = dict[str, dict[str, dict[str, str]]]
"""Digests by the name of the preset and the arithmetic."""


def names() -> list[str]:
    """The names of all presets.

    Example:
        >>> names()
        ['micro', 'nanogpt-cpu', 'python', 'shakespeare', 'tiny']
    """
    return sorted(file.name.removesuffix(".toml") for file in _FILES.iterdir() if file.name.endswith(".toml"))


def preset(name: str) -> TrainConfig:
    """The configuration of a preset.

    Raises:
        ConfigError: The name is unknown.

    Example:
        >>> preset("nanogpt-cpu").model.layers
        4
    """
    if name not in names():
        near = difflib.get_close_matches(name, names(), 1)
        hint = f"did you mean {near[0]!r}?" if near else f"the presets are {', '.join(names())}"
        raise ConfigError(f"unknown preset {name!r}: {hint}")
    return TrainConfig.from_toml((_FILES / f"{name}.toml").read_text("utf-8"))


def published(config: TrainConfig) -> dict[str, str] | None:
    """The published `digests` of a run of this configuration, in its arithmetic; None if there are none.

    Example:
        >>> published(TrainConfig(steps=300)) is None
        True
    """
    known = read_published(_FILES / "published.json")
    return next((found.get(config.numerics) for name, found in known.items() if _plain(preset(name)) == _plain(config)), None)


def read_published(file: Traversable) -> Published:
    """The published digests in a file.

    Raises:
        OSError: The file cannot be read.
        RecordError: It is not a record of published digests; the message names the file and the field.
    """
    known = cast("Published", parse_json(file.read_bytes(), dict[str, _Arithmetics], source=str(file)))
    presets = names()
    for name in known:
        if name not in presets:
            raise RecordError(f"{file}: {shown(name)} is not a preset; the presets are {', '.join(presets)}")
    return known


def _plain(config: TrainConfig) -> TrainConfig:
    """The configuration in exact arithmetic, with the vocabulary size that a file has: 0, for the tokenizer's."""
    return replace(config, numerics="exact", model=replace(config.model, vocabulary_size=0))


def sample(model: LanguageModel, tokenizer: Tokenizer) -> str:
    """The text whose digest is published: 400 tokens after a newline, at temperature 0.8, from ``Stream(0).split("sample")``."""
    return "".join(
        generate(model, tokenizer, "\n", tokens=_TOKENS, sampling=Sampling(temperature=0.8), stream=Stream(0).split("sample"))
    )


def digests(model: LanguageModel, text: str) -> dict[str, str]:
    """SHA-256 of a model's weights (`samebits.lm.checkpoint.digest`) and of a text.

    Example:
        >>> from samebits.lm import ModelConfig
        >>> model = LanguageModel(ModelConfig(vocabulary_size=3, context=4, layers=1, channels=8), stream=Stream(0))
        >>> digests(model, "abc")["text"][:16]
        'ba7816bf8f01cfea'
    """
    return {"weights": checkpoint.digest(model.state_dict()), "text": hashlib.sha256(text.encode()).hexdigest()}
