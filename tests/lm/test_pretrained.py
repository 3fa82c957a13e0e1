"""Models of others: what is exported is loaded with the same bits, and files that do not fit are refused by name."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.lm.models import changed_gguf, exported, logits

from samebits.core.block_formats import dequantize, quantize
from samebits.lm.export import export_gguf, export_hugging_face
from samebits.lm.model_parts import PretrainedError
from samebits.lm.pretrained import load_pretrained
from samebits.nn.quantized import QuantizedEmbedding, QuantizedLinear

FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {"architecture": "gpt2"},
    "gpt2, untied": {"architecture": "gpt2", "tied": False},
    "llama": {"key_value_heads": 1, "rope_base": 1e5, "norm_eps": 1e-6},
    "untied": {"tied": False, "rope_scaling": "linear", "rope_factor": 2.0},
    "qwen2": {"qkv_bias": True},
    "qwen3": {"qk_norm": True, "head_channels": 32},
}


@pytest.mark.parametrize("export", [export_gguf, export_hugging_face])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_exported_model_is_loaded_with_the_same_bits(tmp_path: Path, family: str, export: Any) -> None:
    source = exported(**FAMILIES[family])
    export(source, tmp_path / "x")
    found = load_pretrained(tmp_path / "x")
    assert found.model.config == source.model.config and not found.model.training
    assert found.tokenizer.digest == source.tokenizer.digest
    assert (found.eos_id, found.stop_ids, found.add_bos) == (263, (263,), False)
    assert logits(found.model).tobytes() == logits(source.model).tobytes()


@pytest.mark.parametrize("settings", [{}, {"tied": False, "qkv_bias": True}])
def test_quantized_matrices_stay_as_they_are_in_the_file(tmp_path: Path, settings: Any) -> None:
    source = exported(key_value_heads=1, **settings)
    export_gguf(source, tmp_path / "x.gguf", "q8_0")
    found, dequantized = (load_pretrained(tmp_path / "x.gguf", quantized=one).model for one in (True, False))
    embedding: Any = found.embedding
    attention: Any = found.blocks[1].attention
    assert type(embedding) is QuantizedEmbedding and type(attention.key) is QuantizedLinear
    wanted = source.model.state_dict()
    key = dequantize(quantize(wanted["blocks.1.attention.key.weight"], "Q8_0"), "Q8_0")
    assert attention.key.weight.rows(np.arange(16)).tobytes() == key.tobytes()
    assert dequantized.state_dict()["blocks.1.attention.key.weight"].tobytes() == key.tobytes()
    if settings:
        assert attention.key.bias.numpy().tobytes() == wanted["blocks.1.attention.key.bias"].tobytes()
    np.testing.assert_allclose(logits(found), logits(dequantized), rtol=0, atol=2e-3)  # logits are about 5


@pytest.mark.parametrize(
    ("metadata", "tensors", "says"),
    [
        ({}, {"blk.1.attn_q.weight": None}, "y.gguf: tensor 'blk.1.attn_q.weight' is missing"),
        ({}, {"token_embd.weight": None}, "y.gguf: tensor 'token_embd.weight' is missing"),
        ({}, {"blk.1.attn_q.bias": np.ones(32, np.float32)}, "y.gguf: tensor 'blk.1.attn_q.bias' is not one of a model with"),
        (
            {},
            {"blk.0.ffn_up.weight": np.ones((32, 64), np.float32)},
            "tensor 'blk.0.ffn_up.weight' must have shape (64, 32), as the settings say, got (32, 64)",
        ),
        ({}, {"output_norm.weight": np.full(32, np.nan, np.float32)}, "tensor 'output_norm.weight' must be finite"),
        (
            {},
            {"token_embd.weight": np.ones((263, 32), np.float32)},
            "the tokenizer must have 263 tokens, as the model has embeddings",
        ),
        ({"llama.block_count": 2**31}, {}, "the settings are those of 2147483648 blocks and"),
        ({"llama.embedding_length": 2**20}, {}, "the settings are those of 2 blocks and"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path: Path, metadata: Any, tensors: Any, says: str) -> None:
    with pytest.raises(PretrainedError, match=re.escape(says)):
        load_pretrained(changed_gguf(tmp_path, metadata, tensors))


def test_a_quantized_tensor_that_is_not_finite_is_named(tmp_path: Path) -> None:
    blocks = quantize(np.ones((64, 32), np.float32), "Q8_0")
    blocks["d"][3] = np.inf
    with pytest.raises(PretrainedError, match=r"tensor 'blk\.0\.ffn_up\.weight' must be finite, but it has NaN or infinities"):
        load_pretrained(changed_gguf(tmp_path, {}, {"blk.0.ffn_up.weight": blocks}))
