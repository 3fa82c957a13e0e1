"""Models in GGUF files: what their keys mean, and which are refused."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.lm.models import PAIRS, changed_gguf

from samebits.core.block_formats import FORMATS
from samebits.lm.gguf import open_gguf
from samebits.lm.gguf_model import read_gguf_model
from samebits.lm.model_parts import PretrainedError
from samebits.nn.positions import llama3_factors
from samebits.text.tokenizer_file import spelled

OURS = "tokenizer.huggingface.json"
TYPES = np.array([1] * 262 + [4, 3], np.int32)


def test_keys_become_settings(tmp_path: Path) -> None:
    path = changed_gguf(
        tmp_path,
        {
            "general.name": "x",
            "llama.rope.scaling.type": "linear",
            "llama.rope.scaling.factor": 4.0,
            "tokenizer.chat_template": "t",
        },
    )
    config, description = read_gguf_model(path).config, read_gguf_model(path).description
    assert (config.rope_scaling, config.rope_factor, config.norm_eps) == ("linear", 4.0, 1e-5)
    assert (description.name, description.chat_template, description.files) == ("x", "t", (path,))
    assert len(description.digest) == 64 and description.digest == description.digest


def test_a_vocabulary_of_keys_is_that_of_the_tokenizer(tmp_path: Path) -> None:
    path = changed_gguf(tmp_path, {OURS: None})
    found = read_gguf_model(path).description.tokenizer
    assert found.digest == PAIRS.digest
    file = open_gguf(path)
    assert (file.metadata["tokenizer.ggml.tokens"], file.metadata["tokenizer.ggml.merges"]) == spelled(PAIRS)


def test_stop_ids_are_special_tokens_alone(tmp_path: Path) -> None:
    keys: dict[str, Any] = {OURS: None, "tokenizer.ggml.token_type": np.array([1] * 261 + [3] * 3, np.int32)}
    keys |= {"tokenizer.ggml.merges": PAIRS_WITHOUT, "tokenizer.ggml.eot_token_id": 261, "tokenizer.ggml.bos_token_id": 5}
    found = read_gguf_model(changed_gguf(tmp_path, keys)).description
    assert (found.eos_id, found.stop_ids, found.bos_id) == (263, (261, 263), None)


PAIRS_WITHOUT = spelled(PAIRS)[1][:5]


def frequencies(**change: Any) -> Any:
    divisors = (1 / llama3_factors(32, 1e4, factor=8.0, low=1.0, high=4.0, context=8192)).astype(np.float32)
    for place, value in change.items():
        divisors[int(place[1:])] = value
    return {"rope_freqs.weight": divisors}


def test_the_divisors_of_llama_3_become_its_scaling(tmp_path: Path) -> None:
    parts = read_gguf_model(changed_gguf(tmp_path, {}, frequencies(), head_channels=32))
    assert (parts.config.rope_scaling, parts.config.rope_factor) == ("llama3", 8.0)
    assert "rope_freqs.weight" not in parts.tensors


@pytest.mark.parametrize(
    "wrong", [frequencies(_15=7.0), frequencies(_0=0.0), frequencies(_0=np.inf), {"rope_freqs.weight": np.ones(5, np.float32)}]
)
def test_other_divisors_are_refused(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(PretrainedError, match=r"tensor 'rope_freqs\.weight' must be the scaling of Llama 3 for heads of 32"):
        read_gguf_model(changed_gguf(tmp_path, {}, wrong, head_channels=32))


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"general.architecture": "gemma"}, "general.architecture must be one of gpt2, llama, qwen2, qwen3, got 'gemma'"),
        ({"llama.block_count": None}, "there is no setting llama.block_count"),
        ({"llama.block_count": "2"}, "llama.block_count must be of type int, got '2'"),
        ({"llama.attention.head_count": 0}, "heads must be at least 1, got 0"),
        ({"llama.attention.value_length": 8}, "llama.attention.value_length must be 16, the size of a head, got 8"),
        ({"llama.rope.dimension_count": 8}, "llama.rope.dimension_count must be 16, the size of a head, got 8"),
        ({"llama.attention.sliding_window": 4}, "llama.attention.sliding_window must be 0 or at least the context of 8"),
        ({"llama.expert_count": 8}, "llama.expert_count must be 0, as experts are not supported, got 8"),
        ({"llama.rope.scaling.type": "yarn"}, "llama.rope.scaling.type must be none or linear, got 'yarn'"),
        ({OURS: "{}"}, "tokenizer.huggingface.json: model must be an object, got None"),
        ({OURS: None, "tokenizer.ggml.model": "llama"}, "tokenizer.ggml.model must be gpt2, byte pair encoding, got 'llama'"),
        ({OURS: None, "tokenizer.ggml.pre": "tekken"}, "tokenizer.ggml.pre must be one of gpt-2,"),
        ({OURS: None, "tokenizer.ggml.merges": None}, "tokenizer.ggml.tokens and tokenizer.ggml.merges must be lists of texts"),
        (
            {OURS: None, "tokenizer.ggml.token_type": TYPES[:9]},
            "tokenizer.ggml.token_type must have a number for each of 264 tokens",
        ),
        ({OURS: None, "tokenizer.ggml.token_type": TYPES[::-1].copy()}, "tokenizer: BytePairTokenizer"),
        (
            {"tokenizer.ggml.eos_token_id": 264},
            "tokenizer.ggml.eos_token_id must be below 264, the size of the vocabulary, got 264",
        ),
    ],
)
def test_what_is_not_supported_is_refused_by_name(tmp_path: Path, metadata: Any, says: str) -> None:
    with pytest.raises(PretrainedError, match=re.escape(says)):
        read_gguf_model(changed_gguf(tmp_path, metadata))


def test_tensors_are_not_read_before_they_are_used(tmp_path: Path) -> None:
    tensors = read_gguf_model(changed_gguf(tmp_path)).tensors
    assert all(not tensor.blocks.flags.owndata for tensor in tensors.values())
    one = tensors["blk.0.ffn_up.weight"]
    assert one.blocks.dtype == FORMATS["F32"].block and one.float32().shape == one.shape == (64, 32)
