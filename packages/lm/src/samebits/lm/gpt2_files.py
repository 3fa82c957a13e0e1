"""GPT-2 in files of others: its settings, and its tensors, in which queries, keys and values are one matrix.

    blk.0.attn_qkv.weight             (3 C, C)    ->    blk.0.attn_qkv.weight:query  :key  :value             (C, C) each
    transformer.h.0.attn.c_attn.weight (C, 3 C)   ->    transformer.h.0.attn.c_attn.weight:query  :key  :value

Hugging Face's matrices of GPT-2 are transposed. `gguf_model` and `hugging_face` read the files themselves.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from samebits.lm.config import ModelConfig
from samebits.lm.model_parts import PretrainedError, Settings, StoredTensor
from samebits.lm.schema import ConfigError
from samebits.lm.tensor_names import TensorNames, names_of

__all__ = ["config_of_folder", "config_of_gguf", "parts_of_folder", "parts_of_gguf", "separate_names"]

_EPS = 1e-5  # of our GPT-2

# Settings of a folder of which one value is supported.
_ONLY: dict[str, Any] = {
    "activation_function": "gelu_new",
    "layer_norm_epsilon": _EPS,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
}


def separate_names(name: str) -> TensorNames:
    """The names of a parameter of ours, those of queries, keys and values with their part.

    Example:
        >>> separate_names("blocks.0.attention.key.bias").gguf
        'blk.0.attn_qkv.bias:key'
    """
    layer = name.split(".")[-2]
    part = f":{layer}" if layer in {"query", "key", "value"} else ""
    return TensorNames(*(f"{one}{part}" for one in names_of(name, "gpt2")))


def config_of_gguf(keys: Settings, tensors: Mapping[str, StoredTensor]) -> ModelConfig:
    """The configuration of a model in a GGUF file.

    Raises:
        PretrainedError: A setting is missing, malformed or not supported.
    """
    if keys.get("attention.layer_norm_epsilon", float) != _EPS:
        keys.fail("attention.layer_norm_epsilon", f"{_EPS}, as others are not supported")
    names = {"context": "context_length", "layers": "block_count", "heads": "attention.head_count"}
    names |= {"channels": "embedding_length", "hidden": "feed_forward_length"}
    return _config(keys, tensors.get("token_embd.weight"), names, tied="output.weight" not in tensors)


def config_of_folder(settings: Settings, tensors: Mapping[str, StoredTensor]) -> ModelConfig:
    """The configuration of a model in a folder of Hugging Face; the tensors are those of `parts_of_folder`.

    Raises:
        PretrainedError: A setting is missing, malformed or not supported.
    """
    for name, only in _ONLY.items():
        if settings.get(name, type(only), only) != only:
            settings.fail(name, f"{only!r}, as others are not supported")
    names = {"context": "n_positions", "layers": "n_layer", "heads": "n_head", "channels": "n_embd", "hidden": "n_inner"}
    return _config(settings, tensors.get("transformer.wte.weight"), names, tied="lm_head.weight" not in tensors)


def parts_of_gguf(tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The tensors of a GGUF file, queries, keys and values apart."""
    return _separated(tensors, ".attn_qkv.")


def parts_of_folder(tensors: Mapping[str, StoredTensor], *, tied: bool) -> dict[str, StoredTensor]:
    """The tensors of a folder in our layout, without the masks that old files have, and the copy of the embedding in tied models."""
    found = {}
    for name, tensor in tensors.items():
        full = name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}"
        if full.endswith((".attn.bias", ".attn.masked_bias")) or (tied and full == "lm_head.weight"):
            continue
        if len(tensor.shape) == 2 and ".h." in full:
            tensor = tensor._replace(shape=tensor.shape[::-1], blocks=tensor.blocks.T)  # noqa: PLW2901
        found[full] = tensor
    return _separated(found, ".c_attn.")


def _separated(tensors: Mapping[str, StoredTensor], joined: str) -> dict[str, StoredTensor]:
    """The tensors, those with ``joined`` in their name as three of a third of the rows each."""
    found = {}
    for name, tensor in tensors.items():
        if joined not in name or not tensor.shape or tensor.shape[0] % 3:
            found[name] = tensor
            continue
        shape = (tensor.shape[0] // 3, *tensor.shape[1:])
        for part, blocks in zip(("query", "key", "value"), np.split(tensor.blocks, 3), strict=True):
            found[f"{name}:{part}"] = tensor._replace(shape=shape, blocks=blocks)
    return found


def _config(settings: Settings, embedding: StoredTensor | None, names: Mapping[str, str], *, tied: bool) -> ModelConfig:
    sizes: dict[str, Any] = {ours: settings.get(theirs, int, 0 if ours == "hidden" else None) for ours, theirs in names.items()}
    rows = embedding.shape[0] if embedding is not None and embedding.shape else 0
    try:
        return ModelConfig(architecture="gpt2", vocabulary_size=rows, tied=tied, **sizes)
    except ConfigError as error:
        raise PretrainedError(f"{settings.path}: {error}") from None
