"""GPT-2 in files of others: joined and transposed matrices are ours again, and what differs from our GPT-2 is refused by name."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.lm.models import changed_folder, changed_gguf, exported, logits

from samebits.lm import checkpoint
from samebits.lm.export import export_gguf, export_hugging_face
from samebits.lm.model_parts import PretrainedError
from samebits.lm.pretrained import load_pretrained

pytestmark = pytest.mark.once

GPT2 = {"architecture": "gpt2"}


def test_files_of_the_hub_have_names_without_a_beginning_and_masks(tmp_path: Path) -> None:
    source = exported(**GPT2)
    export_hugging_face(source, tmp_path)
    tensors = checkpoint.load(tmp_path / "model.safetensors").tensors
    old: dict[str, Any] = {name.removeprefix("transformer."): x for name, x in tensors.items()}
    for i in range(2):
        old[f"h.{i}.attn.bias"], old[f"h.{i}.attn.masked_bias"] = np.tri(8, dtype=np.float32)[None, None], np.float32(-1e4)
    old["lm_head.weight"] = old["wte.weight"]
    checkpoint.save(tmp_path / "model.safetensors", old)
    found = load_pretrained(tmp_path)
    assert found.model.config == source.model.config and logits(found.model).tobytes() == logits(source.model).tobytes()


def test_joined_matrices_stay_quantized(tmp_path: Path) -> None:
    export_gguf(exported(**GPT2), tmp_path / "x.gguf", "q8_0")
    found, dequantized = (load_pretrained(tmp_path / "x.gguf", quantized=one).model for one in (True, False))
    key: Any = found.blocks[1].attention.key
    rows = dequantized.state_dict()["blocks.1.attention.key.weight"]
    assert key.weight.rows(np.arange(32)).tobytes() == rows.tobytes()


def test_the_hidden_size_may_be_left_to_the_channels(tmp_path: Path) -> None:
    found = load_pretrained(changed_folder(tmp_path, "config.json", {"n_inner": None}, hidden=0, **GPT2))
    assert found.model.config.hidden_size == 128


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"activation_function": "relu"}, "config.json: activation_function must be 'gelu_new', as others are not supported"),
        ({"layer_norm_epsilon": 1e-6}, "config.json: layer_norm_epsilon must be 1e-05, as others are not supported, got 1e-06"),
        ({"n_head": 3}, "config.json: channels must be a multiple of heads, which is 3, got 32"),
        ({"n_positions": None}, "config.json: there is no setting n_positions"),
        ({"vocab_size": 5}, "config.json: vocab_size must be that of tensor 'transformer.wte.weight', whose shape is (264, 32)"),
        ({"tie_word_embeddings": False}, None),
    ],
)
def test_settings_of_a_folder_are_checked(tmp_path: Path, settings: Any, says: str | None) -> None:
    folder = changed_folder(tmp_path, "config.json", settings, **GPT2)
    if says is None:  # without a matrix of its own, the output layer shares the embedding
        assert load_pretrained(folder).model.config.tied
    else:
        with pytest.raises(PretrainedError, match=re.escape(says)):
            load_pretrained(folder)


@pytest.mark.parametrize(
    ("metadata", "tensors", "says"),
    [
        ({"gpt2.attention.layer_norm_epsilon": 1e-6}, {}, "gpt2.attention.layer_norm_epsilon must be 1e-05, as others"),
        ({"gpt2.context_length": None}, {}, "there is no setting gpt2.context_length"),
        ({}, {"blk.1.attn_qkv.bias": None}, "tensor 'blk.1.attn_qkv.bias:query' is missing"),
        ({}, {"blk.1.attn_qkv.bias": np.ones(32, np.float32)}, "tensor 'blk.1.attn_qkv.bias:query' is missing"),
        ({}, {"token_embd.weight": None}, "tensor 'token_embd.weight' is missing"),
        ({}, {"token_embd.weight": np.ones((9, 32), np.float32)}, "tokens"),
    ],
)
def test_a_gguf_file_is_checked(tmp_path: Path, metadata: Any, tensors: Any, says: str) -> None:
    with pytest.raises(PretrainedError, match=re.escape(says)):
        load_pretrained(changed_gguf(tmp_path, metadata, tensors, **GPT2))
