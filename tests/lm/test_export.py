"""Export: files of other programs hold the weights, the sizes and the vocabulary of a model, and the same model gives the same bytes.

`tests/parity/test_export.py` opens them in other programs.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samebits.autograd import no_grad
from samebits.core import Stream
from samebits.core.block_formats import dequantize, quantize
from samebits.lm import LanguageModel, ModelConfig, Sampling, checkpoint
from samebits.lm.export import export_gguf, export_hugging_face
from samebits.lm.gguf import open_gguf
from samebits.lm.pretrained import Pretrained, load_pretrained
from samebits.lm.tensor_names import halved_rows
from samebits.text import ByteTokenizer, CharacterTokenizer, load_tokenizer
from samebits.text.bytepair_tokenizer import BytePairTokenizer

pytestmark = pytest.mark.once

CHARACTERS = CharacterTokenizer(" abcé€", ["<end>"])
PAIRS = BytePairTokenizer.train(["low lower lowest 2026 "] * 2, 264, ["<end>"], pattern="smollm")


def exported(tokenizer: Any = CHARACTERS, **settings: Any) -> Pretrained:
    """A model of 2 layers whose weights and biases are all different."""
    sizes = {
        "architecture": "llama",
        "vocabulary_size": tokenizer.vocabulary_size,
        "context": 8,
        "layers": 2,
        "heads": 2,
        "channels": 32,
    }
    model = LanguageModel(ModelConfig(**{**sizes, **settings}), stream=Stream(0))
    model.load_state_dict({name: Stream(1).split(name).normal(size=x.shape) for name, x in model.state_dict().items()})
    return Pretrained(
        model=model.eval(),
        tokenizer=tokenizer,
        chat_template=None,
        sampling=Sampling(),
        stop_ids=(),
        bos_id=None,
        eos_id=tokenizer.special_tokens.get("<end>"),
        add_bos=False,
        name="small",
        files=(),
    )


@pytest.mark.parametrize("tied", [True, False])
def test_a_llama_in_gguf_has_our_weights_with_the_rotated_rows_as_neighbors(tmp_path: Path, tied: bool) -> None:
    source = exported(key_value_heads=1, tied=tied)
    export_gguf(source, tmp_path / "x.gguf")
    file, state = open_gguf(tmp_path / "x.gguf"), source.model.state_dict()
    assert len(file.entries) == len(state) and {one.type for one in file.entries.values()} == {"F32"}
    assert np.array_equal(file.tensor("token_embd.weight"), state["embedding.weight"])
    assert np.array_equal(file.tensor("blk.1.attn_q.weight")[halved_rows(2, 16)], state["blocks.1.attention.query.weight"])
    assert np.array_equal(file.tensor("blk.1.attn_k.weight")[halved_rows(1, 16)], state["blocks.1.attention.key.weight"])
    assert np.array_equal(file.tensor("blk.0.attn_v.weight"), state["blocks.0.attention.value.weight"])
    assert np.array_equal(file.tensor("output_norm.weight"), state["norm.weight"])
    assert ("output.weight" in file.entries) is not tied


def test_a_gpt2_in_gguf_has_queries_keys_and_values_in_one_matrix(tmp_path: Path) -> None:
    source = exported(architecture="gpt2")
    export_gguf(source, tmp_path / "x.gguf")
    file, state = open_gguf(tmp_path / "x.gguf"), source.model.state_dict()
    for kind in ("weight", "bias"):
        parts = [state[f"blocks.0.attention.{part}.{kind}"] for part in ("query", "key", "value")]
        assert np.array_equal(file.tensor(f"blk.0.attn_qkv.{kind}"), np.concatenate(parts))
    assert np.array_equal(file.tensor("position_embd.weight"), state["positions.weight"])
    assert file.metadata["gpt2.attention.layer_norm_epsilon"] == np.float32(1e-5)


def test_the_settings_of_a_model_are_in_its_metadata(tmp_path: Path) -> None:
    export_gguf(exported(key_value_heads=1, rope_scaling="linear", rope_factor=2.0), tmp_path / "x.gguf")
    found = open_gguf(tmp_path / "x.gguf").metadata
    expected: dict[str, Any] = {
        "context_length": 8,
        "embedding_length": 32,
        "block_count": 2,
        "feed_forward_length": 96,
        "vocab_size": 7,
    }
    expected |= {"attention.head_count": 2, "attention.head_count_kv": 1, "attention.key_length": 16, "rope.dimension_count": 16}
    expected |= {"rope.freq_base": 10000, "attention.layer_norm_rms_epsilon": np.float32(1e-5), "rope.scaling.factor": 2}
    assert {key: found[f"llama.{key}"] for key in expected} == expected
    assert (found["general.architecture"], found["general.name"], found["general.file_type"]) == ("llama", "small", 0)


@pytest.mark.parametrize(("weights", "number"), [("f16", 1), ("q8_0", 7), ("q4_0", 2)])
def test_matrices_are_of_the_type_and_vectors_are_not(tmp_path: Path, weights: str, number: int) -> None:
    source = exported(architecture="gpt2")
    export_gguf(source, tmp_path / "x.gguf", weights)
    file, state = open_gguf(tmp_path / "x.gguf"), source.model.state_dict()
    types = {name.removesuffix(".weight"): one.type for name, one in file.entries.items()}
    assert types["blk.0.attn_qkv"] == types["blk.1.ffn_down"] == weights.upper()
    assert types["token_embd"] == ("Q8_0" if weights == "q4_0" else weights.upper())
    assert {types[name] for name in ("position_embd", "blk.0.attn_norm", "blk.0.attn_qkv.bias", "output_norm")} == {"F32"}
    up = state["blocks.1.mlp.up.weight"]
    right = up.astype(np.float16) if weights == "f16" else dequantize(quantize(up, weights.upper()), weights.upper())
    assert np.array_equal(file.tensor("blk.1.ffn_up.weight"), right)
    assert file.metadata["general.file_type"] == number


def test_rows_that_blocks_do_not_fit_are_float16(tmp_path: Path) -> None:
    export_gguf(exported(channels=16, hidden=32), tmp_path / "x.gguf", "q4_0")
    types = {name: one.type for name, one in open_gguf(tmp_path / "x.gguf").entries.items()}
    assert types["blk.0.ffn_up.weight"] == types["token_embd.weight"] == "F16" and types["blk.0.ffn_down.weight"] == "Q4_0"


def test_a_byte_pair_vocabulary_is_spelled_in_letters(tmp_path: Path) -> None:
    export_gguf(exported(PAIRS), tmp_path / "x.gguf")
    found = open_gguf(tmp_path / "x.gguf").metadata
    tokens, merges = found["tokenizer.ggml.tokens"], found["tokenizer.ggml.merges"]
    assert (len(tokens), tokens[-1], merges[0]) == (264, "<end>", "l o") and found["tokenizer.ggml.pre"] == "smollm"
    assert found["tokenizer.ggml.token_type"].tolist() == [1] * 263 + [3] and found["tokenizer.ggml.eos_token_id"] == 263
    assert found["tokenizer.ggml.add_bos_token"] is False


def test_the_bytes_of_a_character_are_merged(tmp_path: Path) -> None:
    export_gguf(exported(CHARACTERS), tmp_path / "x.gguf")
    found = open_gguf(tmp_path / "x.gguf").metadata
    assert found["tokenizer.ggml.tokens"] == ["Ġ", "a", "b", "c", "Ã©", "âĤ¬", "<end>"]
    assert found["tokenizer.ggml.merges"] == ["Ã ©", "â Ĥ", "âĤ ¬"] and found["tokenizer.ggml.pre"] == "gpt-2"


@pytest.mark.parametrize(("tokenizer", "last"), [(ByteTokenizer(), 255), (CharacterTokenizer("c€ab"), 1)])
def test_a_text_ends_with_a_rare_token_if_there_is_none_for_its_end(tmp_path: Path, tokenizer: Any, last: int) -> None:
    export_gguf(exported(tokenizer), tmp_path / "x.gguf")
    assert open_gguf(tmp_path / "x.gguf").metadata["tokenizer.ggml.eos_token_id"] == last
    export_hugging_face(exported(tokenizer), tmp_path / "x")
    assert json.loads((tmp_path / "x/generation_config.json").read_text())["eos_token_id"] is None


def test_rows_beyond_the_vocabulary_are_unused_tokens(tmp_path: Path) -> None:
    export_gguf(exported(CHARACTERS, vocabulary_size=9), tmp_path / "x.gguf")
    found = open_gguf(tmp_path / "x.gguf").metadata
    assert found["tokenizer.ggml.tokens"][7:] == ["[PAD7]", "[PAD8]"]
    assert found["tokenizer.ggml.token_type"].tolist() == [1] * 6 + [3, 5, 5]


@pytest.mark.parametrize("tokenizer", [CHARACTERS, PAIRS, ByteTokenizer()])
def test_both_files_hold_the_tokenizer_itself(tmp_path: Path, tokenizer: Any) -> None:
    source = replace(exported(tokenizer), bos_id=0, add_bos=True, chat_template="{{ messages }}")
    export_gguf(source, tmp_path / "x.gguf")
    export_hugging_face(source, tmp_path / "x")
    found = open_gguf(tmp_path / "x.gguf").metadata
    assert load_tokenizer(tmp_path / "x/tokenizer.json").digest == tokenizer.digest
    assert found["tokenizer.huggingface.json"].encode() == (tmp_path / "x/tokenizer.json").read_bytes()
    assert (found["tokenizer.ggml.bos_token_id"], found["tokenizer.ggml.add_bos_token"]) == (0, True)
    settings = json.loads((tmp_path / "x/tokenizer_config.json").read_text())
    assert found["tokenizer.chat_template"] == settings["chat_template"] == "{{ messages }}"
    assert settings.get("eos_token") == ("<end>" if tokenizer.special_tokens else None)


def test_a_llama_for_hugging_face_has_our_weights(tmp_path: Path) -> None:
    source = exported(key_value_heads=1, norm_eps=1e-6, tied=False)
    export_hugging_face(source, tmp_path / "x")
    tensors, metadata, _ = checkpoint.load(tmp_path / "x/model.safetensors")
    state = source.model.state_dict()
    assert metadata == {"format": "pt"} and len(tensors) == len(state)
    assert np.array_equal(tensors["model.layers.1.self_attn.q_proj.weight"], state["blocks.1.attention.query.weight"])
    assert np.array_equal(tensors["lm_head.weight"], state["head.weight"])
    config = json.loads((tmp_path / "x/config.json").read_text())
    expected = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 7, "hidden_size": 32, "head_dim": 16}
    expected |= {"num_key_value_heads": 1, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "rope_scaling": None}
    expected |= {"eos_token_id": 6, "bos_token_id": None, "tie_word_embeddings": False, "max_position_embeddings": 8}
    assert expected.items() <= config.items()


def test_a_gpt2_for_hugging_face_has_transposed_matrices(tmp_path: Path) -> None:
    source = exported(architecture="gpt2")
    export_hugging_face(source, tmp_path / "x")
    tensors, state = checkpoint.load(tmp_path / "x/model.safetensors").tensors, source.model.state_dict()
    parts = [state[f"blocks.0.attention.{part}.weight"] for part in ("query", "key", "value")]
    assert np.array_equal(tensors["transformer.h.0.attn.c_attn.weight"], np.concatenate(parts).T)
    assert np.array_equal(tensors["transformer.wpe.weight"], state["positions.weight"])
    config = json.loads((tmp_path / "x/config.json").read_text())
    expected = {"model_type": "gpt2", "n_inner": 128, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}
    assert expected.items() <= config.items()


@pytest.mark.parametrize(("settings", "family"), [({"qkv_bias": True}, "qwen2"), ({"qk_norm": True}, "qwen3")])
def test_qwen_has_a_name_of_its_own_and_our_order_of_rows(tmp_path: Path, settings: Any, family: str) -> None:
    source = exported(**settings)
    export_gguf(source, tmp_path / "x.gguf")
    export_hugging_face(source, tmp_path / "x", "f16")
    file, state = open_gguf(tmp_path / "x.gguf"), source.model.state_dict()
    assert file.metadata["general.architecture"] == family and file.metadata[f"{family}.block_count"] == 2
    assert np.array_equal(file.tensor("blk.0.attn_q.weight"), state["blocks.0.attention.query.weight"])
    tensors = checkpoint.load(tmp_path / "x/model.safetensors").tensors
    assert len(tensors) == len(file.entries) == len(state) and {x.dtype.name for x in tensors.values()} == {"float16"}
    config = json.loads((tmp_path / "x/config.json").read_text())
    assert (config["model_type"], config["torch_dtype"]) == (family, "float16")


def test_scaled_rotations_are_settings_for_hugging_face(tmp_path: Path) -> None:
    source = exported(rope_scaling="llama3", rope_factor=8.0, rope_context=4)
    export_hugging_face(source, tmp_path / "x")
    expected = {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4}
    expected["original_max_position_embeddings"] = 4
    assert json.loads((tmp_path / "x/config.json").read_text())["rope_scaling"] == expected
    with pytest.raises(ValueError, match='rope_scaling must be "none" or "linear" in a GGUF file, got "llama3"'):
        export_gguf(source, tmp_path / "x.gguf")


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        export_hugging_face(exported(), tmp_path / folder)
        export_gguf(exported(), tmp_path / folder / "x.gguf", "q8_0")
    names = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "x.gguf"}
    assert names == {path.name for path in (tmp_path / "a").iterdir()}
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


@pytest.mark.parametrize(
    "settings", [{"key_value_heads": 1, "tied": False}, {"qk_norm": True}, {"rope_scaling": "linear", "rope_factor": 2.0}]
)
@pytest.mark.parametrize("tokenizer", [CHARACTERS, PAIRS])
def test_a_gguf_of_float32_is_read_back_with_the_same_logits(tmp_path: Path, tokenizer: Any, settings: Any) -> None:
    source = exported(tokenizer, **settings)
    export_gguf(source, tmp_path / "x.gguf")
    found = load_pretrained(tmp_path / "x.gguf")
    assert found.model.config == replace(source.model.config, hidden=source.model.config.hidden_size)
    ids = np.arange(6)[None]
    assert found.model(ids).numpy().tobytes() == source.model(ids).numpy().tobytes()
    assert (found.tokenizer.digest, found.eos_id, found.name) == (tokenizer.digest, source.eos_id, "small")


def test_a_quantized_gguf_is_read_back(tmp_path: Path) -> None:
    source = exported(PAIRS)
    export_gguf(source, tmp_path / "x.gguf", "q8_0")
    found, ids = load_pretrained(tmp_path / "x.gguf").model, np.arange(6)[None]
    with no_grad():
        logits, close = source.model(ids).numpy(), found(ids).numpy()
    assert abs(close - logits).max() < 0.05 * abs(logits).max()  # weights of 8 bits


def test_how_tokens_are_chosen_is_for_hugging_face(tmp_path: Path) -> None:
    source = replace(exported(), sampling=Sampling(0.5, top_k=9), stop_ids=(3, 6))
    export_hugging_face(source, tmp_path / "x")
    expected = {"bos_token_id": None, "eos_token_id": [3, 6], "do_sample": True, "temperature": 0.5, "top_k": 9}
    expected["repetition_penalty"] = 1.0
    assert json.loads((tmp_path / "x/generation_config.json").read_text()) == expected


def test_what_files_cannot_represent_is_refused(tmp_path: Path) -> None:
    source = exported()
    with pytest.raises(ValueError, match="weights must be one of f32, f16, q4_0, q8_0, got 'q5_0'"):
        export_gguf(source, tmp_path / "x.gguf", "q5_0")
    with pytest.raises(ValueError, match="weights must be f32 or f16, got 'q8_0'"):
        export_hugging_face(source, tmp_path / "x", "q8_0")
    with pytest.raises(ValueError, match="qk_norm must not have qkv_bias"):
        export_gguf(exported(qk_norm=True, qkv_bias=True), tmp_path / "x.gguf")
    large = source.model.state_dict()
    large["blocks.0.mlp.up.weight"][3, 2] = 1e5
    source.model.load_state_dict(large)
    with pytest.raises(FloatingPointError, match=r"at most 65504 for f16, but blk\.0\.ffn_up\.weight has 100000"):
        export_gguf(source, tmp_path / "x.gguf", "f16")
    assert not list(tmp_path.iterdir())


def test_a_quantized_model_is_refused_instead_of_written_without_its_matrices(tmp_path: Path) -> None:
    export_gguf(exported(), tmp_path / "x.gguf", "q8_0")
    source = load_pretrained(tmp_path / "x.gguf")
    for export in (export_gguf, export_hugging_face):
        with pytest.raises(
            ValueError, match="source must have float32 weights, but has quantized ones; load it with quantized=False"
        ):
            export(source, tmp_path / "y")
    assert [one.name for one in tmp_path.iterdir()] == ["x.gguf"]
