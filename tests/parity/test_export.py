"""Exported models in other programs: Hugging Face's transformers, the `gguf` package, and llama.cpp where its Python binding is installed.

The logits of transformers differ by the rounding of float32, those of llama.cpp also by its table of GELU, of float16; the ids chosen
from them are the same.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from tests.parity.test_gguf import compare
from transformers import AutoModelForCausalLM, AutoTokenizer

from samebits.autograd import no_grad
from samebits.core import Stream
from samebits.core.block_formats import dequantize
from samebits.lm import LanguageModel, ModelConfig, Sampling
from samebits.lm.export import export_gguf, export_hugging_face
from samebits.lm.gguf import open_gguf
from samebits.lm.pretrained import Pretrained
from samebits.text import ByteTokenizer, CharacterTokenizer
from samebits.text.bytepair_tokenizer import BytePairTokenizer
from samebits.text.tokenizer import Tokenizer

TEXT = "so the quick brown fox jumps over 12 lazy dogs — naïve, 2026\n"
TOKENIZERS: list[Tokenizer] = [
    ByteTokenizer(),
    CharacterTokenizer.of([TEXT]),
    BytePairTokenizer.train([TEXT], 290, ["<end>"]),
    BytePairTokenizer.train([TEXT], 280, pattern="smollm"),
]
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "gpt2": {"architecture": "gpt2"},
    "llama": {"architecture": "llama", "key_value_heads": 2, "norm_eps": 1e-6, "tied": False},
    "llama3": {"architecture": "llama", "rope_scaling": "llama3", "rope_factor": 8.0, "rope_context": 16},
    "qwen2": {"architecture": "llama", "key_value_heads": 1, "qkv_bias": True, "rope_base": 1e6},
    "qwen3": {"architecture": "llama", "key_value_heads": 2, "qk_norm": True, "head_channels": 32},
}
both = pytest.mark.parametrize("name", ["gpt2", "llama"])


def model_of(name: str, tokenizer: Tokenizer = TOKENIZERS[1]) -> Pretrained:
    """A model whose greedy text does not repeat one token: its weights are several times larger than at the start of training."""
    config = ModelConfig(
        vocabulary_size=tokenizer.vocabulary_size, context=64, layers=2, heads=4, channels=64, **ARCHITECTURES[name]
    )
    model = LanguageModel(config, stream=Stream(3)).eval()
    state = model.state_dict()
    noise = {key: Stream(1).split(key).normal(size=x.shape).astype(np.float32) for key, x in state.items()}
    model.load_state_dict({key: x * 6 if x.ndim == 2 else x + noise[key] * np.float32(0.3) for key, x in state.items()})
    end = tokenizer.special_tokens.get("<end>")
    others: dict[str, Any] = {"chat_template": None, "sampling": Sampling(), "stop_ids": (), "bos_id": None, "add_bos": False}
    return Pretrained(model=model, tokenizer=tokenizer, eos_id=end, name=name, files=(), **others)


def greedy(logits: Callable[[list[int]], Any], ids: list[int]) -> list[int]:
    """The most likely tokens after a prompt."""
    ids = list(ids)
    for _ in range(48):
        ids.append(int(logits(ids)[-1].argmax()))
    return ids


def logits_of(source: Pretrained, ids: list[int]) -> Any:
    with no_grad():
        return source.model([ids]).numpy()[0]


def torch_logits(model: Any, ids: list[int]) -> Any:
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_transformers_computes_the_same_logits_and_chooses_the_same_tokens(tmp_path: Path, name: str) -> None:
    source = model_of(name)
    export_hugging_face(source, tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    for prompt in ("so the", "naïve", "2026\n", "dogs — ", "q"):
        ids = source.tokenizer.encode(prompt).tolist()
        right = logits_of(source, ids)
        assert abs(torch_logits(theirs, ids) - right).max() < 5e-6 * abs(right).max()
        ours = greedy(partial(logits_of, source), ids)
        chosen = theirs.generate(torch.tensor([ids]), max_new_tokens=48, do_sample=False)[0].tolist()
        assert chosen == ours and len(set(ours)) > 2


@both
def test_weights_of_16_bits_are_close(tmp_path: Path, name: str) -> None:
    source = model_of(name)
    export_hugging_face(source, tmp_path, "f16")
    theirs, ids = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32), [3, 1, 4, 1, 5]
    right = logits_of(source, ids)
    assert abs(torch_logits(theirs, ids) - right).max() < 5e-3 * abs(right).max()  # 2^-11 in each weight


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=repr)
def test_transformers_has_the_same_ids_and_the_same_text(tmp_path: Path, tokenizer: Tokenizer) -> None:
    export_hugging_face(model_of("llama", tokenizer), tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for text in (TEXT, *TEXT.split(), "  fox\n\n12"):
        ids = tokenizer.encode(text).tolist()
        assert theirs(text)["input_ids"] == ids and theirs.decode(ids) == text
    assert theirs.eos_token == ("<end>" if tokenizer.special_tokens else None)


@both
@pytest.mark.parametrize("weights", ["f32", "f16", "q8_0", "q4_0"])
def test_a_gguf_file_is_read_by_the_reference(tmp_path: Path, name: str, weights: str) -> None:
    source = model_of(name)
    export_gguf(source, tmp_path / "x.gguf", weights)
    assert compare(tmp_path / "x.gguf") == len(source.model.state_dict()) - (8 if name == "gpt2" else 0)


def test_weights_are_quantized_as_by_the_reference(tmp_path: Path) -> None:
    source = model_of("gpt2")
    export_gguf(source, tmp_path / "x.gguf", "q4_0")
    file, right = open_gguf(tmp_path / "x.gguf"), source.model.state_dict()["blocks.1.mlp.up.weight"]
    kind = gguf.GGMLQuantizationType.Q4_0
    assert file.blocks("blk.1.ffn_up.weight").tobytes() == gguf.quantize(right, kind).tobytes()
    assert np.array_equal(file.tensor("blk.1.ffn_up.weight"), dequantize(file.blocks("blk.1.ffn_up.weight"), "Q4_0"))


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_transformers_reads_the_gguf_file(tmp_path: Path, name: str) -> None:
    """It reads neither the context of GPT-2 from there nor the size of heads of Qwen 3, and assumes those of the published models."""
    pytest.importorskip("accelerate", reason="transformers reads GGUF files only with accelerate")
    source = model_of(name)
    export_gguf(source, tmp_path / "x.gguf")
    theirs, ids = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="x.gguf", dtype=torch.float32), [3, 1, 4, 1, 5]
    right = logits_of(source, ids)
    assert abs(torch_logits(theirs, ids) - right).max() < 5e-6 * abs(right).max()


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=repr)
@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen2", "qwen3"])
def test_llama_cpp_has_the_same_ids_and_chooses_the_same_tokens(tmp_path: Path, name: str, tokenizer: Tokenizer) -> None:
    llama_cpp = pytest.importorskip("llama_cpp", reason="it has no wheel, and takes an hour to compile")
    source = model_of(name, tokenizer)
    export_gguf(source, tmp_path / "x.gguf")
    settings = {"n_ctx": 256, "logits_all": True, "verbose": False, "n_threads": 1, "n_threads_batch": 1}
    settings |= {"type_k": 0, "type_v": 0}  # a cache of float32
    theirs = llama_cpp.Llama(str(tmp_path / "x.gguf"), **settings)

    def logits(ids: list[int]) -> Any:
        theirs.reset()
        theirs.eval(ids)
        return np.array(theirs.scores[: len(ids)])

    for prompt in (TEXT[:30], "naïve", "2026\n"):
        ids = tokenizer.encode(prompt).tolist()
        assert theirs.tokenize(prompt.encode(), add_bos=False) == ids and theirs.detokenize(ids) == prompt.encode()
        right = logits_of(source, ids)
        assert abs(logits(ids) - right).max() < (1e-3 if name == "gpt2" else 5e-6) * abs(right).max()
        ids = ids[:16]
        assert greedy(logits, ids) == greedy(partial(logits_of, source), ids)
