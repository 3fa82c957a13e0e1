"""Models in folders of Hugging Face: what the files that transformers reads mean for the configuration, the text and the weights.

    config.json               sizes and settings             tokenizer.json            the tokenizer
    model.safetensors         the weights, or several files  tokenizer_config.json     whether texts begin with a token
      with model.safetensors.index.json                      chat_template.jinja       also in tokenizer_config.json
    generation_config.json    how to sample, where to stop

Weights are F32, F16 or BF16. Files of other kinds, such as pytorch_model.bin, are not read: they are programs.
"""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from samebits.core.block_formats import FORMATS
from samebits.core.files import require_file
from samebits.core.records import RecordError, parse_json, read_json
from samebits.lm.config import ModelConfig
from samebits.lm.gpt2_files import config_of_folder, parts_of_folder, separate_names
from samebits.lm.model_parts import Description, ModelParts, PretrainedError, Settings, StoredTensor
from samebits.lm.safetensors import SafetensorsError, read_header
from samebits.lm.sampling import Sampling
from samebits.lm.schema import ConfigError
from samebits.lm.tensor_names import TensorNames, names_of
from samebits.text.tokenizer import Tokenizer
from samebits.text.tokenizer_file import TokenizerFileError, tokenizer_from_json

__all__ = ["read_folder"]

_FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "llama": {},
    "mistral": {},
    "qwen2": {"qkv_bias": True},
    "qwen3": {"qk_norm": True},
}
"""The settings that a ``model_type`` implies."""

# Settings of which one value is supported: what others would change is not.
_ONLY: dict[str, Any] = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "partial_rotary_factor": 1.0}

_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"


def read_folder(folder: Path) -> ModelParts:
    """The parts of the model in a folder.

    Raises:
        PretrainedError: A file is missing or malformed, or the architecture or a setting is not supported.
        OSError: A file cannot be read.
    """
    settings = _settings(folder / "config.json")
    family = settings.get("model_type", str)
    if family not in _FAMILIES:
        settings.fail("model_type", f"one of {', '.join(_FAMILIES)}")
    files = _weight_files(folder)
    tensors = _tensors(files)
    names: Callable[[str], TensorNames] = names_of
    if family == "gpt2":
        tensors, names = parts_of_folder(tensors, tied=settings.get("tie_word_embeddings", bool, True)), separate_names
        config = config_of_folder(settings, tensors)
    else:
        config = _config(settings, tensors, _FAMILIES[family])
    name = names("embedding.weight").hugging_face
    if name not in tensors:
        raise PretrainedError(f"{folder}: tensor {name!r} is missing")
    if tensors[name].shape[:1] != (settings.get("vocab_size", int),):
        settings.fail("vocab_size", f"that of tensor {name!r}, whose shape is {tensors[name].shape}")
    return ModelParts(
        path=folder,
        config=config,
        tensors=tensors,
        their_name=lambda name: names(name).hugging_face,
        paired=False,
        description=_description(folder, settings, config, files),
    )


def _settings(path: Path, *, required: bool = True) -> Settings:
    """The JSON object in a file."""
    if not required and not path.exists():
        return Settings(path, {})
    if not path.exists():
        raise PretrainedError(f"{path.parent}: there is no {path.name}")
    try:
        return Settings(path, read_json(path, dict[str, Any]))
    except RecordError as error:
        raise PretrainedError(str(error)) from None


def _config(settings: Settings, tensors: dict[str, StoredTensor], implied: dict[str, Any]) -> ModelConfig:
    for name, only in _ONLY.items():
        if settings.get(name, type(only), only) != only:
            settings.fail(name, f"{only!r}, as others are not supported")
    channels, heads = settings.get("hidden_size", int), settings.get("num_attention_heads", int)
    context, groups = settings.get("max_position_embeddings", int), settings.get("num_key_value_heads", int, heads)
    size = settings.get("head_dim", int, channels // max(1, heads))
    _refuse_windows(settings, context, default="qkv_bias" not in implied and "qk_norm" not in implied)
    tied = settings.get("tie_word_embeddings", bool, "lm_head.weight" not in tensors)
    if tied:
        tensors.pop("lm_head.weight", None)  # some files have the embedding twice
    try:
        return ModelConfig(
            architecture="llama",
            vocabulary_size=settings.get("vocab_size", int),
            context=context,
            layers=settings.get("num_hidden_layers", int),
            heads=heads,
            key_value_heads=0 if groups == heads else groups,
            channels=channels,
            hidden=settings.get("intermediate_size", int),
            tied=tied,
            head_channels=0 if size * heads == channels else size,
            norm_eps=settings.get("rms_norm_eps", float),
            **implied,
            **_rope(settings),
        )
    except ConfigError as error:
        raise PretrainedError(f"{settings.path}: {error}") from None


def _refuse_windows(settings: Settings, context: int, *, default: bool) -> None:
    """Refuse attention to the last tokens alone, unless the window is as long as the context."""
    used = settings.get("use_sliding_window", bool, default)
    if used and 0 < settings.get("sliding_window", int, 0) < context:
        settings.fail("sliding_window", f"null or at least the context of {context}, as sliding windows are not supported")


def _rope(settings: Settings) -> dict[str, Any]:
    """The settings of rotary positions, which are in an object of one of two names; the base may be outside."""
    name = "rope_parameters" if settings.values.get("rope_parameters") else "rope_scaling"
    values = settings.values.get(name) or {}
    if not isinstance(values, dict):
        settings.fail(name, "an object")
    rope = Settings(settings.path, {f"{name}.{key}": value for key, value in values.items()}, f"{name}.")
    found: dict[str, Any] = {"rope_base": rope.get("rope_theta", float, settings.get("rope_theta", float, 10000.0))}
    key = "rope_type" if "rope_type" in values else "type"
    kind = rope.get(key, str, "default")
    if kind == "default":
        return found
    if kind not in {"linear", "llama3"}:
        rope.fail(key, "default, linear or llama3")
    found |= {"rope_scaling": kind, "rope_factor": rope.get("factor", float)}
    if kind == "llama3":
        found |= {"rope_low": rope.get("low_freq_factor", float), "rope_high": rope.get("high_freq_factor", float)}
        found |= {"rope_context": rope.get("original_max_position_embeddings", int)}
    return found


def _weight_files(folder: Path) -> tuple[Path, ...]:
    """The files of the weights, by name."""
    if (folder / _WEIGHTS).exists():
        return (folder / _WEIGHTS,)
    if not (folder / _INDEX).exists():
        raise PretrainedError(f"{folder}: there is no {_WEIGHTS}, nor {_INDEX}; weights in other formats are not read")
    index = _settings(folder / _INDEX)
    names = index.values.get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) and Path(name).name == name for name in names.values()):
        index.fail("weight_map", "an object of names of files in the folder")
    return tuple(folder / name for name in sorted(set(names.values())))


def _tensors(files: Iterable[Path]) -> dict[str, StoredTensor]:
    """The tensors in files, which are mapped into memory."""
    found: dict[str, StoredTensor] = {}
    for path in files:
        require_file(path)
        try:
            with path.open("rb") as file:
                entries, _ = read_header(file, str(path))
                start, mapped = file.tell(), np.asarray(np.memmap(file, np.uint8, "r"))
        except SafetensorsError as error:
            raise PretrainedError(str(error)) from None
        for name, one in entries.items():
            if name.endswith(".rotary_emb.inv_freq"):  # computed from the settings
                continue
            if one.dtype not in FORMATS:
                raise PretrainedError(f"{path}: tensor {name!r} must be F32, F16 or BF16, got {one.dtype}")
            if name in found:
                raise PretrainedError(f"{path}: tensor {name!r} is also in {found[name].path.name}")
            part = mapped[start + one.start : start + one.stop].view(FORMATS[one.dtype].block)
            found[name] = StoredTensor(path, one.dtype, one.shape, part.reshape(one.shape))
    return found


def _description(folder: Path, settings: Settings, config: ModelConfig, files: tuple[Path, ...]) -> Description:
    generation = _settings(folder / "generation_config.json", required=False)
    texts = _settings(folder / "tokenizer_config.json", required=False)
    path, size = folder / "tokenizer.json", config.vocabulary_size
    if not path.exists():
        raise PretrainedError(f"{folder}: there is no {path.name}; other tokenizers are not read")
    data = path.read_bytes()
    try:
        tokenizer = tokenizer_from_json(data, str(path), size)
    except TokenizerFileError as error:
        raise PretrainedError(str(error)) from None
    bos, eos = (_ids(settings, generation, f"{name}_token_id", tokenizer) for name in ("bos", "eos"))
    return Description(
        tokenizer=tokenizer,
        chat_template=_chat_template(folder, texts),
        sampling=_sampling(generation),
        stop_ids=tuple(sorted(set(eos))),
        bos_id=bos[0] if bos else None,
        eos_id=eos[0] if eos else None,
        add_bos=bool(bos) and texts.get("add_bos_token", bool, _adds_bos(data, tokenizer, bos)),
        name=folder.resolve().name,
        files=files,
    )


def _ids(settings: Settings, generation: Settings, name: str, tokenizer: Tokenizer) -> list[int]:
    """The ids of a kind of token: one or several in either file, those of config.json first."""
    found: list[int] = []
    for file in (settings, generation):
        value = file.values.get(name)
        ids = value if isinstance(value, list) else [] if value is None else [value]
        if not all(type(one) is int and 0 <= one < tokenizer.vocabulary_size for one in ids):
            file.fail(name, f"from 0 to {tokenizer.vocabulary_size - 1}, or several of these")
        found += ids
    return found


def _chat_template(folder: Path, texts: Settings) -> str | None:
    """The template in a file of its own or in tokenizer_config.json, of several the one that is called "default"."""
    if (path := folder / "chat_template.jinja").exists():
        try:
            return path.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise PretrainedError(f"{path}: not UTF-8 at byte {error.start}") from None
    value = texts.values.get("chat_template")
    if isinstance(value, list):
        value = next((one.get("template") for one in value if isinstance(one, dict) and one.get("name") == "default"), None)
    if not isinstance(value, str | None):
        texts.fail("chat_template", "a template, or objects of name and template")
    return value


def _sampling(generation: Settings) -> Sampling:
    """How the makers advise to sample; what they leave out has our default."""
    if generation.values.get("do_sample") is False:
        return Sampling(temperature=0.0)
    given = {name: generation.values[name] for name in _SAMPLING if generation.values.get(name) is not None}
    if given.get("top_k") == 0:
        del given["top_k"]
    try:
        return Sampling(**given)
    except ValueError as error:
        raise PretrainedError(f"{generation.path}: {error}") from None


def _adds_bos(data: bytes, tokenizer: Tokenizer, bos: list[int]) -> bool:
    """Whether the post-processor of a tokenizer puts the token that begins a text before it."""
    names = {name for name, id_ in tokenizer.special_tokens.items() if id_ in bos}
    return b"TemplateProcessing" in data and _begins_with(parse_json(data, dict[str, Any]).get("post_processor"), names)


def _begins_with(processor: Any, names: Collection[str]) -> bool:
    match processor:
        case {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": name}}, *_]}:
            return name in names
        case {"type": "Sequence", "processors": [*parts]}:
            return any(_begins_with(part, names) for part in parts)
    return False
