"""Export: a model in the files of other programs, a GGUF file for llama.cpp or a folder for Hugging Face's transformers.

    small.gguf    settings, vocabulary and tensors in F32, F16, Q8_0 or Q4_0
    small/        config.json   generation_config.json   model.safetensors   tokenizer.json   tokenizer_config.json

Tensors have the names in `tensor_names` and the layout that is expected there: GPT-2's queries, keys and values are one matrix, and
Hugging Face's matrices of GPT-2 are transposed; in GGUF files of Llama, the two rows of a query or key that a rotation turns
together are neighbors. The same model gives the same bytes.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core.block_formats import FORMATS, quantize
from samebits.core.files import replace_text
from samebits.lm import checkpoint
from samebits.lm.config import ModelConfig
from samebits.lm.gguf_writer import write_gguf
from samebits.lm.model import LanguageModel, parameter_count
from samebits.lm.pretrained import Pretrained
from samebits.lm.sampling import Sampling
from samebits.lm.tensor_names import names_of, paired_rows
from samebits.text.bytepair_tokenizer import BytePairTokenizer
from samebits.text.plain_tokenizers import CharacterTokenizer
from samebits.text.tokenizer_file import spelled, spelling, tokenizer_json

__all__ = ["WEIGHTS", "export_gguf", "export_hugging_face"]

Float32 = npt.NDArray[np.float32]

WEIGHTS = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 7}
"""The types of weights that a GGUF file may have, and their numbers in llama.cpp."""

_CLASSES = {
    "gpt2": "GPT2LMHeadModel",
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
_PATTERNS = {"gpt2": "gpt-2"}  # llama.cpp's name, where it is another
_NORMAL, _CONTROL, _ADDED, _UNUSED = 1, 3, 4, 5  # llama.cpp's types of tokens


def export_gguf(source: Pretrained, path: str | os.PathLike[str], weights: str = "f32") -> None:
    """Write a model to a GGUF file, which llama.cpp and `samebits.lm.gguf` read.

    Vectors stay float32, and so do learned positions. With ``"q4_0"`` the embedding and the output layer are Q8_0. Matrices whose rows
    are no multiple of 32 long are F16 instead of quantized.

    Args:
        source: The model, with float32 weights.
        path: The file to create or to replace.
        weights: The type of the matrices, one of `WEIGHTS`.

    Raises:
        FloatingPointError: A weight is too large for the type.
        TypeError: The tokenizer is of a class that a file cannot represent.
        ValueError: ``weights`` is something else, the model is quantized or has settings that GGUF files cannot represent, or a special
            token is spelled like an ordinary one.
        OSError: The file cannot be written; an older file is unchanged.
    """
    if weights not in WEIGHTS:
        raise ValueError(f"export_gguf: weights must be one of {', '.join(WEIGHTS)}, got {weights!r}")
    tensors = {name: _encoded(name, x, weights.upper()) for name, x in _gguf_tensors(source.model).items()}
    write_gguf(path, {**_settings(source, weights), **_vocabulary(source)}, tensors)


def export_hugging_face(source: Pretrained, folder: str | os.PathLike[str], weights: str = "f32") -> None:
    """Write a model to a folder, which ``from_pretrained`` of Hugging Face's transformers reads.

    Args:
        source: The model, with float32 weights.
        folder: The folder; it is created if needed, and files of the same names are replaced, ``config.json`` last.
        weights: ``"f32"`` or ``"f16"``.

    Raises:
        FloatingPointError: A weight is too large for float16.
        TypeError: The tokenizer is of a class that a file cannot represent.
        ValueError: ``weights`` is something else, the model is quantized, or a special token is spelled like an ordinary one.
        OSError: A file cannot be written.
    """
    if weights not in {"f32", "f16"}:
        raise ValueError(f"export_hugging_face: weights must be f32 or f16, got {weights!r}")
    tensors: dict[str, Any] = _hugging_face_tensors(source.model)
    if weights == "f16":
        tensors = {name: _float16(name, x) for name, x in tensors.items()}
    files = {
        "tokenizer.json": tokenizer_json(source.tokenizer),
        "tokenizer_config.json": _json(_tokenizer_config(source)),
        "generation_config.json": _json(_generation_config(source)),
        "config.json": _json(_config(source, weights)),
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    checkpoint.save(Path(folder, "model.safetensors"), tensors, {"format": "pt"})
    for name, text in files.items():
        replace_text(Path(folder, name), text)


def _family(config: ModelConfig) -> str:
    """The architecture by its name in both formats."""
    if config.qk_norm:
        if config.qkv_bias:
            raise ValueError("export: a model with qk_norm must not have qkv_bias, as no architecture of other programs has both")
        return "qwen3"
    return "qwen2" if config.qkv_bias else config.architecture


def _weights(model: LanguageModel) -> dict[str, Float32]:
    """All weights; quantized layers have none to write."""
    found = model.state_dict()
    if sum(x.size for x in found.values()) < parameter_count(model.config):
        raise ValueError("export: source must have float32 weights, but has quantized ones; load it with quantized=False")
    return found


def _gguf_tensors(model: LanguageModel) -> dict[str, Float32]:
    config, found = model.config, dict[str, list[Float32]]()
    heads = {"query": config.heads, "key": config.groups}
    for name, x in _weights(model).items():
        layer = name.split(".")[-2]
        if layer in heads and _family(config) == "llama":
            x = x[paired_rows(heads[layer], config.head_size)]  # noqa: PLW2901
        found.setdefault(names_of(name, config.architecture).gguf, []).append(x)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _hugging_face_tensors(model: LanguageModel) -> dict[str, Float32]:
    architecture, found = model.config.architecture, dict[str, list[Float32]]()
    for name, x in _weights(model).items():
        found.setdefault(names_of(name, architecture).hugging_face, []).append(x)
    tensors = {name: np.concatenate(parts) for name, parts in found.items()}
    return {name: x.T if x.ndim == 2 and name.startswith("transformer.h.") else x for name, x in tensors.items()}


def _encoded(name: str, x: Float32, kind: str) -> npt.NDArray[Any]:
    """A tensor as blocks of its type."""
    if kind == "F32" or x.ndim == 1 or name.startswith("position_embd"):
        return x
    if kind == "Q4_0" and name in {"token_embd.weight", "output.weight"}:
        kind = "Q8_0"
    return _float16(name, x) if kind == "F16" or x.shape[-1] % FORMATS[kind].weights else quantize(x, kind)


def _float16(name: str, x: Float32) -> npt.NDArray[np.float16]:
    with np.errstate(over="ignore"):
        half = x.astype(np.float16)
    if not np.isfinite(half).all():
        raise FloatingPointError(f"export: the weights must be at most 65504 for f16, but {name} has {np.abs(x).max()}")
    return half


def _settings(source: Pretrained, weights: str) -> dict[str, Any]:
    """The metadata of the model."""
    config = source.model.config
    family = _family(config)
    values: dict[str, Any] = {
        "context_length": config.context,
        "embedding_length": config.channels,
        "block_count": config.layers,
        "feed_forward_length": config.hidden_size,
        "attention.head_count": config.heads,
        "attention.head_count_kv": config.groups,
        "vocab_size": config.vocabulary_size,
    }
    if family == "gpt2":
        values["attention.layer_norm_epsilon"] = source.model.norm.eps
    else:
        values["attention.layer_norm_rms_epsilon"] = config.norm_eps
        values["attention.key_length"] = values["attention.value_length"] = values["rope.dimension_count"] = config.head_size
        values["rope.freq_base"] = config.rope_base
    if config.rope_scaling == "linear":
        values |= {"rope.scaling.type": "linear", "rope.scaling.factor": config.rope_factor}
    elif config.rope_scaling != "none":
        raise ValueError(f'export: rope_scaling must be "none" or "linear" in a GGUF file, got "{config.rope_scaling}"')
    version = {} if weights in {"f32", "f16"} else {"general.quantization_version": 2}
    return {
        "general.architecture": family,
        "general.type": "model",
        "general.name": source.name,
        "general.file_type": WEIGHTS[weights],
        **version,
        **{f"{family}.{key}": value for key, value in values.items()},
    }


def _vocabulary(source: Pretrained) -> dict[str, Any]:
    """The metadata of the tokenizer, which is a byte pair encoding there, whatever it is here."""
    tokenizer = source.tokenizer
    names, merges = _characters(tokenizer) if isinstance(tokenizer, CharacterTokenizer) else spelled(tokenizer)
    types = dict.fromkeys(tokenizer.special_tokens.values(), _CONTROL) | dict.fromkeys(tokenizer.added_tokens.values(), _ADDED)
    unused = [f"[PAD{id_}]" for id_ in range(len(names), source.model.config.vocabulary_size)]
    kinds = [types.get(id_, _NORMAL) for id_ in range(len(names))] + [_UNUSED] * len(unused)
    pattern = tokenizer.pattern if isinstance(tokenizer, BytePairTokenizer) else "gpt2"
    # llama.cpp takes token 11 for the end of a text if there is none: give it one that hardly a text has
    last = max(range(len(names)), key=tokenizer.tokens.__getitem__)
    eos_id = last if source.eos_id is None else source.eos_id
    values = {
        "model": "gpt2",
        "pre": _PATTERNS.get(pattern, pattern),
        "tokens": names + unused,
        "token_type": np.array(kinds, np.int32),
        "merges": merges,
        "bos_token_id": eos_id if source.bos_id is None else source.bos_id,
        "eos_token_id": eos_id,
        "add_bos_token": source.add_bos,
    }
    template = {} if source.chat_template is None else {"tokenizer.chat_template": source.chat_template}
    settings = {f"tokenizer.ggml.{key}": value for key, value in values.items()}
    return {**settings, "tokenizer.huggingface.json": tokenizer_json(tokenizer), **template}


def _characters(tokenizer: CharacterTokenizer) -> tuple[list[str], list[str]]:
    """The spellings of characters, byte by byte, and the merges that join the bytes of each."""
    special = {id_: name for name, id_ in tokenizer.special_tokens.items()}
    names = [special.get(id_) or spelling(token) for id_, token in enumerate(tokenizer.tokens)]
    merges = [f"{name[:n]} {name[n]}" for id_, name in enumerate(names) if id_ not in special for n in range(1, len(name))]
    return names, list(dict.fromkeys(merges))


def _config(source: Pretrained, weights: str) -> dict[str, Any]:
    """The contents of config.json."""
    config = source.model.config
    family = _family(config)
    values = {
        "architectures": [_CLASSES[family]],
        "model_type": family,
        "torch_dtype": {"f32": "float32", "f16": "float16"}[weights],
        "vocab_size": config.vocabulary_size,
        "tie_word_embeddings": config.tied,
        "bos_token_id": source.bos_id,
        "eos_token_id": source.eos_id,
    }
    if family == "gpt2":
        return values | {
            "n_positions": config.context,
            "n_embd": config.channels,
            "n_layer": config.layers,
            "n_head": config.heads,
            "n_inner": config.hidden_size,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": source.model.norm.eps,
            **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), config.dropout),
        }
    scaling = {"rope_type": config.rope_scaling, "factor": config.rope_factor}
    if config.rope_scaling == "llama3":
        scaling |= {"low_freq_factor": config.rope_low, "high_freq_factor": config.rope_high}
        scaling |= {"original_max_position_embeddings": config.rope_context}
    return values | {
        "max_position_embeddings": config.context,
        "hidden_size": config.channels,
        "intermediate_size": config.hidden_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.groups,
        "head_dim": config.head_size,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_base,
        "rope_scaling": None if config.rope_scaling == "none" else scaling,
        "attention_bias": False,
        "mlp_bias": False,
    }


def _generation_config(source: Pretrained) -> dict[str, Any]:
    """The contents of generation_config.json: what ends a text, and how tokens are chosen if not as by default."""
    stop: int | list[int] | None = list(source.stop_ids) if len(source.stop_ids) > 1 else source.eos_id
    values: dict[str, Any] = {"bos_token_id": source.bos_id, "eos_token_id": stop}
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    if source.sampling != Sampling():
        values["do_sample"] = source.sampling.temperature > 0
        values |= {name: getattr(source.sampling, name) for name in names if getattr(source.sampling, name) is not None}
    return values


def _tokenizer_config(source: Pretrained) -> dict[str, Any]:
    """The contents of tokenizer_config.json."""
    names: dict[int | None, str] = {id_: name for name, id_ in source.tokenizer.special_tokens.items()}
    values = {"bos_token": names.get(source.bos_id), "eos_token": names.get(source.eos_id), "chat_template": source.chat_template}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": source.model.config.context,
        "clean_up_tokenization_spaces": False,
        **{key: value for key, value in values.items() if value is not None},
    }


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
