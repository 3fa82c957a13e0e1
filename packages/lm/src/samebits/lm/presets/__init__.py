"""Presets: configurations that come with the package, and the digests of what they give on every machine.

    preset  ->  training, in exact arithmetic  ->  SHA-256 of the weights, and of a text that the model writes

A preset is a TOML file beside this module, of the same form as anybody's. published.json has the digests of those that were
trained to the end; `packages/lm/scripts/publish.py` writes it, on purpose only: another digest is a breaking change.
"""

import difflib
import hashlib
import json
from dataclasses import replace
from importlib import resources

from samebits.core import Stream
from samebits.lm import checkpoint
from samebits.lm.config import ConfigError, TrainConfig
from samebits.lm.generation import generate
from samebits.lm.model import LanguageModel
from samebits.lm.sampling import Sampling
from samebits.text.tokenizer import Tokenizer

__all__ = ["DEFAULT", "digests", "names", "preset", "published", "sample"]

DEFAULT = "tiny"
"""What is trained if nothing else is asked for."""

_FILES = resources.files(__name__)
_TOKENS = 400  # of the sample


def names() -> list[str]:
    """The presets there are.

    Example:
        >>> names()
        ['micro', 'nanogpt-cpu', 'python', 'shakespeare', 'tiny']
    """
    return sorted(file.name.removesuffix(".toml") for file in _FILES.iterdir() if file.name.endswith(".toml"))


def preset(name: str) -> TrainConfig:
    """The configuration of a preset.

    Raises:
        ConfigError: There is no preset of that name.

    Example:
        >>> preset("nanogpt-cpu").model.layers
        4
    """
    if name not in names():
        near = difflib.get_close_matches(name, names(), 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names())}"
        raise ConfigError(f"there is no preset {name!r}: {hint}")
    return TrainConfig.from_toml((_FILES / f"{name}.toml").read_text("utf-8"))


def published(config: TrainConfig) -> dict[str, str] | None:
    """What `digests` must give at the end of a run of this configuration, None if nobody said.

    Example:
        >>> published(TrainConfig(steps=300)) is None
        True
    """
    known: dict[str, dict[str, str]] = json.loads((_FILES / "published.json").read_text("utf-8"))
    return next((found for name, found in known.items() if _plain(preset(name)) == _plain(config)), None)


def _plain(config: TrainConfig) -> TrainConfig:
    """The configuration before the vocabulary's size was taken from the tokenizer."""
    return replace(config, model=replace(config.model, vocabulary_size=0))


def sample(model: LanguageModel, tokenizer: Tokenizer) -> str:
    """The text that a model writes to be compared: 400 tokens after an empty line, at temperature 0.8, from stream 0."""
    return "".join(
        generate(model, tokenizer, "\n", tokens=_TOKENS, sampling=Sampling(temperature=0.8), stream=Stream(0).split("sample"))
    )


def digests(model: LanguageModel, text: str) -> dict[str, str]:
    """SHA-256 of a model's weights, as `samebits.lm.checkpoint.digest` has it, and of a text."""
    return {"weights": checkpoint.digest(model.state_dict()), "text": hashlib.sha256(text.encode()).hexdigest()}
