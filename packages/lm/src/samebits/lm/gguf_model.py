"""Models in GGUF files: what the keys of a file mean for the configuration, the tokenizer and the text of a model.

    general.architecture = "llama"      llama.block_count = 30      tokenizer.ggml.tokens = [...]      blk.0.attn_q.weight

The keys are those of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, and of llama.cpp where that is silent. `gguf` reads
the file itself.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from samebits.lm.config import ModelConfig
from samebits.lm.gguf import open_gguf
from samebits.lm.gpt2_files import config_of_gguf, parts_of_gguf, separate_names
from samebits.lm.model_parts import Description, ModelParts, PretrainedError, Settings, StoredTensor
from samebits.lm.sampling import Sampling
from samebits.lm.schema import ConfigError
from samebits.lm.tensor_names import TensorNames, names_of
from samebits.nn.positions import llama3_factors
from samebits.text.bytepair_tokenizer import BytePairTokenizer
from samebits.text.tokenizer import Tokenizer
from samebits.text.tokenizer_file import TokenizerFileError, tokenizer_from_json

__all__ = ["read_gguf_model"]

_ARCHITECTURES: dict[str, dict[str, Any]] = {"gpt2": {}, "llama": {}, "qwen2": {"qkv_bias": True}, "qwen3": {"qk_norm": True}}
"""The settings that an architecture implies."""

_PATTERNS = {"gpt-2": "gpt2", "gpt2": "gpt2", "smollm": "smollm", "qwen2": "qwen2"}
_PATTERNS |= dict.fromkeys(("llama-bpe", "llama3", "llama-v3"), "llama-bpe")

_UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED = 2, 3, 4, 5  # types of tokens
_FREQUENCIES = "rope_freqs.weight"


def read_gguf_model(path: Path) -> ModelParts:
    """The parts of the model in a file.

    Raises:
        GGUFError: The file is not a well-formed GGUF file.
        PretrainedError: The architecture or a setting is not supported.
        OSError: The file cannot be read.
    """
    file = open_gguf(path)
    general = Settings(path, {name: _shortest(value) for name, value in file.metadata.items()})
    architecture = general.get("general.architecture", str)
    if architecture not in _ARCHITECTURES:
        general.fail("general.architecture", f"one of {', '.join(_ARCHITECTURES)}")
    tensors = {name: StoredTensor(path, entry.type, entry.shape, file.blocks(name)) for name, entry in file.entries.items()}
    if "token_embd.weight" not in tensors:
        raise PretrainedError(f"{path}: tensor 'token_embd.weight' is missing")
    keys = Settings(path, general.values, f"{architecture}.")
    names: Callable[[str], TensorNames] = names_of
    if architecture == "gpt2":
        config, tensors, names = config_of_gguf(keys, tensors), parts_of_gguf(tensors), separate_names
    else:
        config = _config(keys, tensors, _ARCHITECTURES[architecture])
    return ModelParts(
        path=path,
        config=config,
        tensors=tensors,
        their_name=lambda name: names(name).gguf,
        paired=architecture == "llama",
        description=_description(general, config.vocabulary_size),
    )


def _shortest(value: Any) -> Any:
    """A float32 of a file as the shortest decimal, such as 1e-05, as it is written elsewhere."""
    return float(str(np.float32(value))) if type(value) is float else value


def _config(keys: Settings, tensors: dict[str, StoredTensor], implied: Mapping[str, Any]) -> ModelConfig:
    channels, heads = keys.get("embedding_length", int), keys.get("attention.head_count", int)
    groups, context = keys.get("attention.head_count_kv", int, heads), keys.get("context_length", int)
    size = keys.get("attention.key_length", int, channels // max(1, heads))
    for name in ("attention.value_length", "rope.dimension_count"):
        if keys.get(name, int, size) != size:
            keys.fail(name, f"{size}, the size of a head")
    if 0 < keys.get("attention.sliding_window", int, 0) < context:
        keys.fail("attention.sliding_window", f"0 or at least the context of {context}, as sliding windows are not supported")
    if keys.get("expert_count", int, 0):
        keys.fail("expert_count", "0, as experts are not supported")
    embedding, base = tensors["token_embd.weight"], keys.get("rope.freq_base", float, 10000.0)
    try:
        return ModelConfig(
            architecture="llama",
            vocabulary_size=embedding.shape[0] if embedding.shape else 0,
            context=context,
            layers=keys.get("block_count", int),
            heads=heads,
            key_value_heads=0 if groups == heads else groups,
            channels=channels,
            hidden=keys.get("feed_forward_length", int),
            tied="output.weight" not in tensors,
            head_channels=0 if size * heads == channels else size,
            norm_eps=keys.get("attention.layer_norm_rms_epsilon", float),
            rope_base=base,
            **implied,
            **_scaling(keys, tensors, size, base),
        )
    except ConfigError as error:
        raise PretrainedError(f"{keys.path}: {error}") from None


def _scaling(keys: Settings, tensors: dict[str, StoredTensor], size: int, base: float) -> Mapping[str, Any]:
    """The settings of scaled rotary positions. Files of Llama 3 have the divisors of the frequencies as a tensor, which is removed."""
    kind = keys.get("rope.scaling.type", str, "none")
    if kind not in {"none", "linear"}:
        keys.fail("rope.scaling.type", "none or linear")
    divisors = tensors.pop(_FREQUENCIES, None)
    if divisors is None:
        return {"rope_scaling": kind, "rope_factor": keys.get("rope.scaling.factor", float, 1.0)} if kind == "linear" else {}
    values = divisors.float32()
    factor, usual = float(values.max()), ModelConfig()
    if 0 < factor < math.inf and base > 1 and values.shape == (size // 2,):
        right = llama3_factors(size, base, factor=factor, low=usual.rope_low, high=usual.rope_high, context=usual.rope_context)
        if (abs(values * right - 1) < 1e-5).all():
            return {"rope_scaling": "llama3", "rope_factor": factor}
    raise PretrainedError(
        f"{keys.path}: tensor {_FREQUENCIES!r} must be the scaling of Llama 3 for heads of {size}, got {values!r:.80}"
    )


def _tokenizer(keys: Settings, size: int) -> Tokenizer:
    if whole := keys.get("tokenizer.huggingface.json", str, ""):
        try:
            return tokenizer_from_json(whole.encode(), f"{keys.path}: tokenizer.huggingface.json", size)
        except TokenizerFileError as error:
            raise PretrainedError(str(error)) from None
    if keys.get("tokenizer.ggml.model", str) != "gpt2":
        keys.fail("tokenizer.ggml.model", "gpt2, byte pair encoding")
    pattern = keys.get("tokenizer.ggml.pre", str, "gpt-2")
    if pattern not in _PATTERNS:
        keys.fail("tokenizer.ggml.pre", f"one of {', '.join(_PATTERNS)}")
    tokens, merges, types = (keys.values.get(f"tokenizer.ggml.{name}") for name in ("tokens", "merges", "token_type"))
    if not isinstance(tokens, list) or not isinstance(merges, list):
        raise PretrainedError(f"{keys.path}: tokenizer.ggml.tokens and tokenizer.ggml.merges must be lists of texts")
    if not isinstance(types, np.ndarray) or types.shape != (len(tokens),):
        raise PretrainedError(f"{keys.path}: tokenizer.ggml.token_type must have a number for each of {len(tokens)} tokens")
    special, added = (
        {tokens[i]: int(i) for i in np.flatnonzero(np.isin(types, kinds))}
        for kinds in ((_UNKNOWN, _CONTROL, _UNUSED), (_USER_DEFINED,))
    )
    try:
        return BytePairTokenizer.from_parts(tokens, merges, special, pattern=_PATTERNS[pattern], added_tokens=added)
    except ValueError as error:
        raise PretrainedError(f"{keys.path}: tokenizer: {error}") from None


def _description(keys: Settings, vocabulary_size: int) -> Description:
    tokenizer = _tokenizer(keys, vocabulary_size)
    bos, eos, *others = (_special(keys, f"tokenizer.ggml.{name}_token_id", tokenizer) for name in ("bos", "eos", "eot", "eom"))
    return Description(
        tokenizer=tokenizer,
        chat_template=keys.get("tokenizer.chat_template", str, "") or None,
        sampling=Sampling(),
        stop_ids=tuple(sorted({one for one in (eos, *others) if one is not None})),
        bos_id=bos,
        eos_id=eos,
        add_bos=keys.get("tokenizer.ggml.add_bos_token", bool, keys.values.get("tokenizer.ggml.pre") == "llama-bpe"),
        name=keys.get("general.name", str, keys.path.stem),
        files=(keys.path,),
    )


def _special(keys: Settings, name: str, tokenizer: Tokenizer) -> int | None:
    """The id of a special token; None for an ordinary one, which files name that cannot say that there is none."""
    found = keys.get(name, int, -1)
    if found >= tokenizer.vocabulary_size:
        keys.fail(name, f"below {tokenizer.vocabulary_size}, the size of the vocabulary")
    return found if found in tokenizer.special_tokens.values() else None
