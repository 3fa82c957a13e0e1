"""What the files of a model of others hold: a configuration, tensors that are not read yet, and what belongs to its text.

`gguf_model` and `hugging_face` find these parts, each in its format; `pretrained` makes a model of them.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from samebits.core.block_formats import dequantize
from samebits.core.records import shown
from samebits.lm.config import ModelConfig
from samebits.lm.sampling import Sampling
from samebits.text.tokenizer import Tokenizer

__all__ = ["Description", "ModelParts", "PretrainedError", "Settings", "StoredTensor"]

Value = TypeVar("Value", int, float, str, bool)

_AT_ONCE = 2**20


class PretrainedError(ValueError):
    """The files of a model are malformed, incomplete or of a kind that is not supported; the message names file and tensor or setting.

    Example:
        >>> raise PretrainedError("model.gguf: tensor 'output_norm.weight' is missing")
        Traceback (most recent call last):
        samebits.lm.model_parts.PretrainedError: model.gguf: tensor 'output_norm.weight' is missing
    """


class Settings:
    """The settings in a file, whose types are checked when they are used.

    Args:
        path: The file, for errors.
        values: The settings by name; None is none.
        prefix: Begins every name.

    Example:
        >>> Settings(Path("config.json"), {"hidden_size": "64"}).get("hidden_size", int)
        Traceback (most recent call last):
        samebits.lm.model_parts.PretrainedError: config.json: hidden_size must be of type int, got '64'
    """

    def __init__(self, path: Path, values: Mapping[str, Any], prefix: str = "") -> None:
        self.path, self.values, self.prefix = path, values, prefix

    def get(self, name: str, kind: type[Value], default: Value | None = None) -> Value:
        """A setting, an int where a float is meant as a float.

        Raises:
            PretrainedError: It has another type, or is missing and has no default.
        """
        value = self.values.get(self.prefix + name)
        if value is None:
            if default is None:
                raise PretrainedError(f"{self.path}: there is no setting {self.prefix}{name}")
            return default
        if kind is float and type(value) is int and abs(value) < 2**53:
            return kind(value)
        if type(value) is not kind:
            self.fail(name, f"of type {kind.__name__}")
        return value

    def fail(self, name: str, wanted: str) -> NoReturn:
        """Refuse a setting.

        Raises:
            PretrainedError: Always.
        """
        value = self.values.get(self.prefix + name)
        raise PretrainedError(f"{self.path}: {self.prefix}{name} must be {wanted}, got {shown(value)}")


class StoredTensor(NamedTuple):
    """A tensor in a file that is mapped into memory."""

    path: Path
    format: str
    """One of `samebits.core.block_formats.FORMATS`."""
    shape: tuple[int, ...]
    blocks: npt.NDArray[Any]

    def float32(self) -> npt.NDArray[np.float32]:
        """Its elements, dequantized.

        Example:
            >>> StoredTensor(Path("x"), "F16", (2, 1), np.ones((2, 1), "<f2")).float32().tolist()
            [[1.0], [1.0]]
        """
        return dequantize(self.blocks, self.format).reshape(self.shape)


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a model comes with beside its weights."""

    tokenizer: Tokenizer
    chat_template: str | None = None
    """A Jinja template that renders messages; None if the model has none."""
    sampling: Sampling = field(default_factory=Sampling)
    """How its makers advise to choose tokens; the default if they do not say."""
    stop_ids: tuple[int, ...] = ()
    """The ids that end an answer, in ascending order."""
    bos_id: int | None = None
    """The id of the token that begins a text, if there is one."""
    eos_id: int | None = None
    """The id of the token that ends a text, if there is one."""
    add_bos: bool = False
    """Whether the model was trained on texts that begin with ``bos_id``."""
    name: str
    files: tuple[Path, ...] = ()
    """The files of its weights."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the files of its weights, one after the other, in 64 hexadecimal digits."""
        found = hashlib.sha256()
        for path in self.files:
            with path.open("rb") as file:
                while part := file.read(_AT_ONCE):
                    found.update(part)
        return found.hexdigest()


class ModelParts(NamedTuple):
    """The parts of a model."""

    path: Path
    """Where they were found, for errors."""
    config: ModelConfig
    tensors: dict[str, StoredTensor]
    """By their names in the files."""
    their_name: Callable[[str], str]
    """The name in the files of a parameter of ours."""
    paired: bool
    """Whether rows of queries and keys are in the order of `tensor_names.paired_rows`."""
    description: Description
