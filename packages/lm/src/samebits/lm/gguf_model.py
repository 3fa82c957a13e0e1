"""Models in GGUF files: what the keys of a file mean for the configuration, the tokenizer and the text of a model.

    general.architecture = "llama"      llama.block_count = 30      tokenizer.ggml.tokens = [...]      blk.0.attn_q.weight

The keys are those of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, and of llama.cpp where that is silent. `gguf` reads
the file itself.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from samebits.lm.config import ModelConfig
from samebits.lm.gguf import GGUFFile, open_gguf
from samebits.lm.model_parts import Description, ModelParts, PretrainedError, StoredTensor
from samebits.lm.sampling import Sampling
from samebits.lm.schema import ConfigError
from samebits.lm.tensor_names import names_of
from samebits.nn.positions import llama3_factors
from samebits.text.bytepair_tokenizer import BytePairTokenizer
from samebits.text.tokenizer import Tokenizer
from samebits.text.tokenizer_file import TokenizerFileError, tokenizer_from_json

__all__ = ["read_gguf_model"]

Value = TypeVar("Value", int, float, str, bool)

_ARCHITECTURES: dict[str, dict[str, Any]] = {"llama": {}, "qwen2": {"qkv_bias": True}, "qwen3": {"qk_norm": True}}
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
    keys = _Keys(file)
    tensors = {name: StoredTensor(path, entry.type, entry.shape, file.blocks(name)) for name, entry in file.entries.items()}
    config = _config(keys, tensors)
    tokenizer = _tokenizer(keys)
    return ModelParts(
        path=path,
        config=config,
        tensors=tensors,
        their_name=lambda name: names_of(name).gguf,
        paired=keys.architecture == "llama",
        description=_description(keys, tokenizer),
    )


class _Keys:
    """The metadata of a file, with their types checked; ``{}`` in a key stands for the architecture."""

    def __init__(self, file: GGUFFile) -> None:
        self.path, self.metadata, self.architecture = file.path, file.metadata, "general"
        self.architecture = self.get("general.architecture", str)
        if self.architecture not in _ARCHITECTURES:
            self.fail("general.architecture", f"one of {', '.join(_ARCHITECTURES)}", self.architecture)

    def fail(self, key: str, wanted: str, value: object) -> None:
        raise PretrainedError(f"{self.path}: {self.full(key)} must be {wanted}, got {value!r:.80}")

    def full(self, key: str) -> str:
        return key.format(self.architecture)

    def get(self, key: str, kind: type[Value], default: Value | None = None) -> Value:
        """A value; floats are the shortest decimals of the float32 in the file, as settings are elsewhere."""
        value = self.metadata.get(self.full(key), default)
        if value is None:
            raise PretrainedError(f"{self.path}: the metadata have no {self.full(key)}")
        if type(value) is not kind:
            self.fail(key, f"of type {kind.__name__}", value)
        return kind(str(np.float32(value))) if kind is float else value

    def token(self, name: str, size: int) -> int | None:
        """The id of a token, if it is given."""
        key = f"tokenizer.ggml.{name}_token_id"
        if key not in self.metadata:
            return None
        found = self.get(key, int)
        if not 0 <= found < size:
            self.fail(key, f"from 0 to {size - 1}", found)
        return found


def _config(keys: _Keys, tensors: dict[str, StoredTensor]) -> ModelConfig:
    channels, heads = keys.get("{}.embedding_length", int), keys.get("{}.attention.head_count", int)
    groups, context = keys.get("{}.attention.head_count_kv", int, heads), keys.get("{}.context_length", int)
    size = keys.get("{}.attention.key_length", int, channels // max(1, heads))
    for key in ("{}.attention.value_length", "{}.rope.dimension_count"):
        if (found := keys.get(key, int, size)) != size:
            keys.fail(key, f"{size}, the size of a head", found)
    if (window := keys.get("{}.attention.sliding_window", int, 0)) and window < context:
        keys.fail("{}.attention.sliding_window", f"0 or at least the context of {context}: it is not supported", window)
    if experts := keys.get("{}.expert_count", int, 0):
        keys.fail("{}.expert_count", "0: experts are not supported", experts)
    embedding = tensors.get("token_embd.weight")
    if embedding is None:
        raise PretrainedError(f"{keys.path}: tensor 'token_embd.weight' is missing")
    base = keys.get("{}.rope.freq_base", float, 10000.0)
    try:
        return ModelConfig(
            architecture="llama",
            vocabulary_size=embedding.shape[0] if embedding.shape else 0,
            context=context,
            layers=keys.get("{}.block_count", int),
            heads=heads,
            key_value_heads=0 if groups == heads else groups,
            channels=channels,
            hidden=keys.get("{}.feed_forward_length", int),
            tied="output.weight" not in tensors,
            head_channels=0 if size * heads == channels else size,
            norm_eps=keys.get("{}.attention.layer_norm_rms_epsilon", float),
            rope_base=base,
            **_ARCHITECTURES[keys.architecture],
            **_scaling(keys, tensors, size, base),
        )
    except ConfigError as error:
        raise PretrainedError(f"{keys.path}: {error}") from None


def _scaling(keys: _Keys, tensors: dict[str, StoredTensor], size: int, base: float) -> Mapping[str, Any]:
    """The settings of scaled rotary positions. Files of Llama 3 have the divisors of the frequencies as a tensor, which is removed."""
    kind = keys.get("{}.rope.scaling.type", str, "none")
    if kind not in {"none", "linear"}:
        keys.fail("{}.rope.scaling.type", "none or linear", kind)
    divisors = tensors.pop(_FREQUENCIES, None)
    if divisors is None:
        return {"rope_scaling": kind, "rope_factor": keys.get("{}.rope.scaling.factor", float, 1.0)} if kind == "linear" else {}
    values = divisors.float32()
    factor, usual = float(values.max()), ModelConfig()
    if factor > 0 and base > 1 and values.shape == (size // 2,):
        right = llama3_factors(size, base, factor=factor, low=usual.rope_low, high=usual.rope_high, context=usual.rope_context)
        if (abs(values * right - 1) < 1e-5).all():
            return {"rope_scaling": "llama3", "rope_factor": factor}
    raise PretrainedError(
        f"{keys.path}: tensor {_FREQUENCIES!r} must be the scaling of Llama 3 for heads of {size}, got {values!r:.80}"
    )


def _tokenizer(keys: _Keys) -> Tokenizer:
    whole = keys.metadata.get("tokenizer.huggingface.json")
    if isinstance(whole, str):
        try:
            return tokenizer_from_json(whole.encode(), f"{keys.path}: tokenizer.huggingface.json")
        except TokenizerFileError as error:
            raise PretrainedError(str(error)) from None
    if (model := keys.get("tokenizer.ggml.model", str)) != "gpt2":
        keys.fail("tokenizer.ggml.model", "gpt2, byte pair encoding", model)
    pattern = keys.get("tokenizer.ggml.pre", str, "gpt-2")
    if pattern not in _PATTERNS:
        keys.fail("tokenizer.ggml.pre", f"one of {', '.join(_PATTERNS)}", pattern)
    tokens, merges = keys.metadata.get("tokenizer.ggml.tokens"), keys.metadata.get("tokenizer.ggml.merges")
    types = keys.metadata.get("tokenizer.ggml.token_type")
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


def _description(keys: _Keys, tokenizer: Tokenizer) -> Description:
    special, size = set(tokenizer.special_tokens.values()), tokenizer.vocabulary_size
    # a file cannot say that it has no end of text: it then names an ordinary token
    bos, eos, *others = [
        one if one in special else None for one in (keys.token(name, size) for name in ("bos", "eos", "eot", "eom"))
    ]
    return Description(
        tokenizer=tokenizer,
        chat_template=keys.get("tokenizer.chat_template", str, "") or None,
        sampling=Sampling(),
        stop_ids=tuple(sorted({one for one in (eos, *others) if one is not None})),
        bos_id=bos,
        eos_id=eos,
        add_bos=keys.get("tokenizer.ggml.add_bos_token", bool, keys.metadata.get("tokenizer.ggml.pre") == "llama-bpe"),
        name=keys.get("general.name", str, keys.path.stem),
        files=(keys.path,),
    )
