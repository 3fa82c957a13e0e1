"""Folders of Hugging Face: what their settings mean, several files of weights, and what is refused."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.lm.models import changed_folder, exported, logits

from samebits.lm import Sampling, checkpoint
from samebits.lm.export import export_hugging_face
from samebits.lm.hugging_face import read_folder
from samebits.lm.model_parts import PretrainedError
from samebits.lm.pretrained import load_pretrained

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


def split(folder: Path) -> dict[str, Any]:
    """Move the weights to two files; returns the index."""
    tensors = checkpoint.load(folder / WEIGHTS).tensors
    (folder / WEIGHTS).unlink()
    names = sorted(tensors)
    files = {"a.safetensors": names[:7], "b.safetensors": names[7:]}
    for file, some in files.items():
        checkpoint.save(folder / file, {name: tensors[name] for name in some})
    index = {"metadata": {}, "weight_map": {name: file for file, some in files.items() for name in some}}
    (folder / INDEX).write_text(json.dumps(index), "utf-8")
    return index


def test_weights_may_be_in_several_files(tmp_path: Path) -> None:
    source = exported(qkv_bias=True)
    export_hugging_face(source, tmp_path)
    split(tmp_path)
    found = load_pretrained(tmp_path)
    assert logits(found.model).tobytes() == logits(source.model).tobytes()
    assert [path.name for path in found.files] == ["a.safetensors", "b.safetensors"]
    assert found.digest == hashlib.sha256(b"".join(path.read_bytes() for path in found.files)).hexdigest()


def test_bfloat16_and_float16_become_float32(tmp_path: Path) -> None:
    source = exported()
    export_hugging_face(source, tmp_path, "f16")
    state, wanted = load_pretrained(tmp_path).model.state_dict(), source.model.state_dict()
    assert all(np.array_equal(state[name], x.astype(np.float16).astype(np.float32)) for name, x in wanted.items())
    checkpoint.save(
        tmp_path / WEIGHTS, {name: x.view(np.uint16) for name, x in checkpoint.load(tmp_path / WEIGHTS).tensors.items()}
    )
    data = (tmp_path / WEIGHTS).read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = data[8:start].replace(b'"U16"', b'"BF16"')  # the tensors are then at odd places
    (tmp_path / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + data[start:])
    found = load_pretrained(tmp_path).model.state_dict()
    half = {name: x.astype(np.float16).view(np.uint16).astype(np.uint32) << np.uint32(16) for name, x in wanted.items()}
    assert all(found[name].tobytes() == half[name].tobytes() for name in half)


def test_settings_of_newer_and_older_files_mean_the_same(tmp_path: Path) -> None:
    llama3 = {"factor": 8, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    older = {"rope_theta": 500, "rope_scaling": {"type": "llama3", **llama3}}
    newer = {"rope_theta": None, "rope_scaling": None, "rope_parameters": {"rope_theta": 500.0, "rope_type": "llama3", **llama3}}
    first, second = (read_folder(changed_folder(tmp_path, settings=one)).config for one in (older, newer))
    assert first == second and (first.rope_scaling, first.rope_base, first.rope_factor) == ("llama3", 500.0, 8.0)
    for scaling, name in (({"rope_type": "linear", "factor": 2.0}, "linear"), ({"rope_type": "default"}, "none")):
        assert read_folder(changed_folder(tmp_path, settings={"rope_scaling": scaling})).config.rope_scaling == name


def test_a_mistral_with_a_long_window_is_a_llama(tmp_path: Path) -> None:
    settings = {"model_type": "mistral", "sliding_window": 8}
    assert read_folder(changed_folder(tmp_path, settings=settings)).config == exported().model.config


def test_advice_on_sampling_and_stop_ids_are_read(tmp_path: Path) -> None:
    advice: dict[str, Any] = {"temperature": 0.7, "top_k": 20, "top_p": 0.8, "eos_token_id": [263, 262], "do_sample": True}
    found = read_folder(changed_folder(tmp_path, "generation_config.json", advice)).description
    assert found.sampling == Sampling(temperature=0.7, top_k=20, top_p=0.8) and found.stop_ids == (262, 263)
    assert found.name == tmp_path.name and found.chat_template is None
    others: list[tuple[dict[str, Any], Sampling]] = [
        ({"top_k": 0}, Sampling()),
        ({"do_sample": False}, Sampling(temperature=0.0)),
    ]
    for advice, wanted in others:
        assert read_folder(changed_folder(tmp_path, "generation_config.json", advice)).description.sampling == wanted
    (tmp_path / "generation_config.json").unlink()
    assert read_folder(tmp_path).description.sampling == Sampling()


def test_a_chat_template_may_be_in_three_places(tmp_path: Path) -> None:
    for value in ("t", [{"name": "tools", "template": "x"}, {"name": "default", "template": "t"}]):
        changed_folder(tmp_path, "tokenizer_config.json", {"chat_template": value})
        assert read_folder(tmp_path).description.chat_template == "t"
    (tmp_path / "chat_template.jinja").write_text("é", "utf-8")
    assert read_folder(tmp_path).description.chat_template == "é"
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(PretrainedError, match=r"chat_template\.jinja: not UTF-8 at byte 0"):
        read_folder(tmp_path)


@pytest.mark.parametrize("nested", [True, False])
def test_whether_texts_begin_with_a_token_is_in_either_file_of_the_tokenizer(tmp_path: Path, nested: bool) -> None:
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<end>", "type_id": 0}}], "pair": []}
    post = {"type": "Sequence", "processors": [{"type": "ByteLevel"}, template]} if nested else template
    changed_folder(tmp_path, "tokenizer.json", {"post_processor": post})
    assert not read_folder(tmp_path).description.add_bos
    settings = json.loads((tmp_path / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**settings, "bos_token_id": 263}), "utf-8")
    found = read_folder(tmp_path).description
    assert found.add_bos and found.bos_id == 263
    (tmp_path / "tokenizer_config.json").write_text('{"add_bos_token": false}', "utf-8")
    assert not read_folder(tmp_path).description.add_bos


def test_rows_without_tokens_become_tokens_that_no_text_has(tmp_path: Path) -> None:
    text = changed_folder(tmp_path).joinpath("tokenizer.json").read_text("utf-8")
    changed_folder(tmp_path, vocabulary_size=300)
    document = json.loads(text)
    del document["model"]["samebits_digest"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(document), "utf-8")
    found = load_pretrained(tmp_path).tokenizer
    assert found.vocabulary_size == 300 and found.special_tokens["[PAD299]"] == 299
    assert found.encode_ordinary("low [PAD299]").tolist() == exported().tokenizer.encode("low [PAD299]").tolist()


def test_a_tied_model_may_have_the_embedding_twice(tmp_path: Path) -> None:
    changed_folder(tmp_path)
    tensors = checkpoint.load(tmp_path / WEIGHTS).tensors
    tensors |= {
        "lm_head.weight": tensors["model.embed_tokens.weight"],
        "model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(3),
    }
    checkpoint.save(tmp_path / WEIGHTS, tensors)
    assert load_pretrained(tmp_path).model.config.tied


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"model_type": "gemma3"}, "model_type must be one of gpt2, llama, mistral, qwen2, qwen3, got 'gemma3'"),
        ({"hidden_act": "gelu"}, "hidden_act must be 'silu', as others are not supported, got 'gelu'"),
        ({"attention_bias": True}, "attention_bias must be False, as others are not supported, got True"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor must be 1.0, as others are not supported, got 0.5"),
        ({"model_type": "mistral", "sliding_window": 4}, "sliding_window must be null or at least the context of 8, as sliding"),
        ({"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 4}, "sliding_window must be null"),
        ({"num_hidden_layers": None}, "there is no setting num_hidden_layers"),
        ({"num_hidden_layers": 2.0}, "num_hidden_layers must be of type int, got 2.0"),
        ({"num_attention_heads": -2}, "heads must be at least 1, got -2"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "rope_scaling.rope_type must be default, linear or llama3, got 'yarn'"),
        ({"rope_scaling": "yarn"}, "rope_scaling must be an object, got 'yarn'"),
        ({"vocab_size": 265}, "vocab_size must be that of tensor 'model.embed_tokens.weight', whose shape is (264, 32), got 265"),
        ({"eos_token_id": 264}, "eos_token_id must be from 0 to 263, or several of these, got 264"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(tmp_path: Path, settings: Any, says: str) -> None:
    with pytest.raises(PretrainedError, match=re.escape(f"config.json: {says}")):
        read_folder(changed_folder(tmp_path, settings=settings))


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("generation_config.json", {"temperature": -1}, "generation_config.json: Sampling: temperature must be 0 or from"),
        ("tokenizer_config.json", {"chat_template": 3}, "tokenizer_config.json: chat_template must be a template, or objects"),
        ("tokenizer.json", {"normalizer": {"type": "Lowercase"}}, "tokenizer.json: normalizer must be"),
    ],
)
def test_malformed_files_are_refused_by_name(tmp_path: Path, name: str, settings: Any, says: str) -> None:
    with pytest.raises(PretrainedError, match=re.escape(says)):
        read_folder(changed_folder(tmp_path, name, settings))
    (tmp_path / name).write_text("{", "utf-8")
    with pytest.raises(PretrainedError, match=re.escape(f"{name}: line 1, column")):
        read_folder(tmp_path)


def test_files_that_are_missing_are_named(tmp_path: Path) -> None:
    for name in ("tokenizer.json", WEIGHTS, "config.json"):
        changed_folder(tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(PretrainedError, match=rf"there is no {re.escape(name)}"):
            read_folder(tmp_path)


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    index = split(changed_folder(tmp_path))
    for names, says in (
        ({"x": "../a.safetensors"}, "weight_map must be an object of names of files in the folder"),
        ([], "weight_map must be an object"),
        ({"x": "a.safetensors"}, "tensor 'model.layers"),
    ):
        (tmp_path / INDEX).write_text(json.dumps({**index, "weight_map": names}), "utf-8")
        with pytest.raises(PretrainedError, match=re.escape(says)):
            load_pretrained(tmp_path)
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"x": "a.safetensors", "y": "c.safetensors"}}), "utf-8")
    (tmp_path / "c.safetensors").write_bytes(b"short")
    with pytest.raises(PretrainedError, match=r"c\.safetensors: truncated"):
        read_folder(tmp_path)
    (tmp_path / "c.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes())
    with pytest.raises(PretrainedError, match=r"c\.safetensors: tensor '.*' is also in a\.safetensors"):
        read_folder(tmp_path)
    checkpoint.save(tmp_path / WEIGHTS, {"x": np.ones(3, np.int32)})
    with pytest.raises(PretrainedError, match="tensor 'x' must be F32, F16 or BF16, got I32"):
        read_folder(tmp_path)
    checkpoint.save(tmp_path / WEIGHTS, {"x": np.ones(3, np.float32)})
    with pytest.raises(PretrainedError, match=r"tensor 'model\.embed_tokens\.weight' is missing"):
        read_folder(tmp_path)
