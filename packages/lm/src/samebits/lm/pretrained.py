"""Models that others trained: `load_pretrained` makes a model of a GGUF file or of a folder of Hugging Face.

    file or folder  ->  parts: configuration, tensors, tokenizer  ->  a model without weights  ->  each weight from its tensor

The parts are found by `gguf_model` and `hugging_face`; the files are mapped into memory, and a tensor is read when it is used.
"""

import math
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.autograd import Tensor
from samebits.core import Stream
from samebits.core.block_formats import FORMATS
from samebits.core.files import require_file
from samebits.core.quantized import QuantizedMatrix
from samebits.lm.gguf_model import read_gguf_model
from samebits.lm.hugging_face import read_folder
from samebits.lm.model import LanguageModel, parameter_count
from samebits.lm.model_parts import Description, ModelParts, PretrainedError, StoredTensor
from samebits.lm.tensor_names import halved_rows
from samebits.nn import initializer
from samebits.nn.embeddings import Embedding
from samebits.nn.quantized import QuantizedEmbedding, QuantizedLinear

__all__ = ["Pretrained", "build_model", "load_pretrained"]

Order = npt.NDArray[np.int64] | None


@dataclass(frozen=True, kw_only=True)
class Pretrained(Description):
    """A model of others and what it comes with, from `load_pretrained`; or one to export.

    Example:
        >>> from samebits.lm import ModelConfig
        >>> from samebits.text import ByteTokenizer
        >>> model = LanguageModel(ModelConfig(vocabulary_size=256, layers=1, channels=8), stream=Stream(0)).eval()
        >>> Pretrained(name="small", model=model, tokenizer=ByteTokenizer()).sampling.temperature
        1.0
    """

    model: LanguageModel
    """In evaluation mode."""


def load_pretrained(path: str | os.PathLike[str], *, quantized: bool = True) -> Pretrained:
    """Load a model of the families GPT-2, Llama (also SmolLM2, Mistral), Qwen 2 and Qwen 3.

    Args:
        path: A GGUF file, or a folder of Hugging Face.
        quantized: Whether matrices in a format with blocks stay as they are in the file (`samebits.nn.quantized`); otherwise all
            weights are float32.

    Raises:
        GGUFError: The file is not a well-formed GGUF file.
        PretrainedError: The architecture or a setting is not supported, or the tensors do not fit it.
        OSError: A file cannot be read.

    Example:
        >>> import tempfile
        >>> from samebits.lm import ModelConfig
        >>> from samebits.lm.export import export_gguf
        >>> from samebits.text import ByteTokenizer
        >>> config = ModelConfig(architecture="llama", vocabulary_size=256, layers=1, channels=32)
        >>> model = LanguageModel(config, stream=Stream(0)).eval()
        >>> with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        ...     export_gguf(Pretrained(name="small", model=model, tokenizer=ByteTokenizer()), f"{folder}/small.gguf")
        ...     found = load_pretrained(f"{folder}/small.gguf")
        >>> found.name, found.model.parameter_count() == model.parameter_count(), found.tokenizer
        ('small', True, <ByteTokenizer of 256 tokens>)
    """
    path = Path(path)
    if not path.is_dir():
        require_file(path)
    parts = read_folder(path) if path.is_dir() else read_gguf_model(path)
    found, wanted = parts.description.tokenizer.vocabulary_size, parts.config.vocabulary_size
    if found != wanted:
        raise PretrainedError(f"{path}: the tokenizer must have {wanted} tokens, as the model has embeddings, got {found}")
    described = {field.name: getattr(parts.description, field.name) for field in fields(Description)}
    return Pretrained(model=build_model(parts, quantized=quantized).eval(), **described)


def build_model(parts: ModelParts, *, quantized: bool) -> LanguageModel:
    """A model with the weights of its parts; see `load_pretrained`.

    Raises:
        PretrainedError: A tensor is missing, unknown, has another shape, or is not finite.
    """
    config, unused = parts.config, dict(parts.tensors)
    size = sum(math.prod(tensor.shape) for tensor in unused.values())
    if config.layers > len(unused) or parameter_count(config) > 2 * size:  # before memory is allocated
        raise PretrainedError(
            f"{parts.path}: the settings are those of {config.layers} blocks and {parameter_count(config)} parameters, "
            f"but there are {len(unused)} tensors of {size}"
        )
    model = LanguageModel(config, stream=Stream(0), initialize=initializer.zeros)
    for name, parameter in list(model.named_parameters()):
        theirs = parts.their_name(name)
        tensor = unused.pop(theirs, None)
        if tensor is None:
            raise PretrainedError(f"{parts.path}: tensor {theirs!r} is missing")
        if tensor.shape != parameter.shape:
            raise PretrainedError(
                f"{tensor.path}: tensor {theirs!r} must have shape {parameter.shape}, as the settings say, got {tensor.shape}"
            )
        try:
            if quantized and FORMATS[tensor.format].weights > 1 and len(tensor.shape) == 2:
                _put_quantized(model, name, tensor, _order(parts, name))
            else:
                _put(parameter, tensor, _order(parts, name))
        except FloatingPointError:
            raise PretrainedError(f"{tensor.path}: tensor {theirs!r} must be finite, but it has NaN or infinities") from None
    for theirs, tensor in unused.items():
        raise PretrainedError(f"{tensor.path}: tensor {theirs!r} is not one of a model with these settings")
    return model


def _put(parameter: Tensor, tensor: StoredTensor, order: Order) -> None:
    values = tensor.float32()
    if not np.isfinite(values).all():
        raise FloatingPointError
    with parameter.edit() as target:
        target[...] = values if order is None else values[order]


def _put_quantized(model: LanguageModel, name: str, tensor: StoredTensor, order: Order) -> None:
    """Replace a layer by a quantized one; the weight of the old one takes no memory."""
    *path, layer, _ = name.split(".")
    parent: Any = model
    for part in path:
        parent = parent[int(part)] if part.isdecimal() else getattr(parent, part)
    old, matrix = getattr(parent, layer), QuantizedMatrix(tensor.blocks, tensor.format)
    if order is not None:
        matrix = matrix.permuted(order)
    setattr(parent, layer, QuantizedEmbedding(matrix) if isinstance(old, Embedding) else QuantizedLinear(matrix, old.bias))


def _order(parts: ModelParts, name: str) -> Order:
    """The order of the rows of a stored tensor, if it is not ours."""
    layer = name.split(".")[-2]
    if not parts.paired or layer not in {"query", "key"}:
        return None
    return halved_rows(parts.config.heads if layer == "query" else parts.config.groups, parts.config.head_size)
