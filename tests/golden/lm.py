"""Golden cases of samebits.lm: micro models of both architectures, their logits, gradients and ten steps of training, interrupted and not;
texts that are written side by side; receipts; the files of exported models; blocks of random bytes as float32.

Run as a script, it prints each case's digest as JSON: so the tests run it again under other CPU levels, BLAS kernels and
thread counts. `nox -s update-digests` writes lm.json from it, on purpose only.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from samebits.autograd import no_grad
from samebits.core import Mode, Stream, numerics
from samebits.core.block_formats import FORMATS, dequantize
from samebits.lm import LanguageModel, ModelConfig, Sampling, TrainConfig, Trainer, checkpoint, generate_tokens
from samebits.lm.drafts import RepeatedDraft
from samebits.lm.engine import Engine, Request
from samebits.lm.export import WEIGHTS, export_gguf, export_hugging_face
from samebits.lm.prefixes import PrefixCache
from samebits.lm.pretrained import Pretrained, load_pretrained
from samebits.lm.receipts import RECEIPT, Receipt, WrittenText, read_receipt
from samebits.text import Batches, CharacterTokenizer, evaluation_windows

ARCHITECTURES = ("gpt2", "llama")
MODES: tuple[Mode, ...] = ("exact", "int16")
IDS = Stream(0).split("ids").integers(23, size=(3, 17))
TOKENS = np.arange(2000, dtype=np.int64) ** 2 // 7 % 23


def model(architecture: str, **options: Any) -> LanguageModel:
    sizes = {"vocabulary_size": 23, "context": 16, "layers": 2, "heads": 4, "channels": 16}
    groups = 2 if architecture == "llama" else 4
    return LanguageModel(ModelConfig(architecture=architecture, key_value_heads=groups, **{**sizes, **options}), stream=Stream(0))


def gradients(one: LanguageModel) -> dict[str, Any]:
    one.loss(IDS[:, :-1].copy(), IDS[:, 1:].copy(), Stream(1)).backward()
    return {name: p.grad.numpy() for name, p in one.named_parameters() if p.grad is not None}


class CutError(Exception):
    """Ends a run in the middle."""


def cut(trainer: Trainer, _: Mapping[str, float]) -> None:
    if trainer.step == 7:
        raise CutError


def trained(architecture: str, folder: Path, *callbacks: Any, **options: Any) -> dict[str, Any]:
    """The weights and the last metrics of ten steps with every feature of training."""
    one = model(architecture, dropout=0.1, tied=architecture == "gpt2")
    config = TrainConfig(
        steps=10,
        warmup=2,
        batch=4,
        shards=2,
        evaluate_every=5,
        checkpoint_every=3,
        learning_rate=0.01,
        model=one.config,
        **options,
    )
    batches = Batches(TOKENS, batch=4, time=16, stream=Stream(2))
    windows = list(evaluation_windows(TOKENS[:81], time=16, batch=2))
    Trainer(config, one, batches, windows, folder=folder, callbacks=callbacks).train()
    last = json.loads((folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    return {**one.state_dict(), "metrics": np.array([last["loss"], last["gradient_norm"], last["validation_loss"]])}


def loaded(weights: str, folder: Path) -> np.ndarray:
    """The logits of a model of others, whose matrices stay as they are in its file."""
    tokenizer = CharacterTokenizer("abcdefghijklmnopqrstu é", ["<end>"])
    one = model("llama", channels=64, vocabulary_size=24, qk_norm=True, head_channels=32)
    export_gguf(Pretrained(name="small", model=one, tokenizer=tokenizer, eos_id=23), folder / "x.gguf", weights)
    with no_grad():
        return load_pretrained(folder / "x.gguf").model(IDS[:, :16]).numpy()


def exported(architecture: str, folder: Path) -> dict[str, str]:
    """SHA-256 of the files of an exported model, by format."""
    one = model(architecture, channels=32, vocabulary_size=24)
    source = Pretrained(name="small", model=one, tokenizer=CharacterTokenizer("abcdefghijklmnopqrstu é", ["<end>"]), eos_id=23)
    for weights in WEIGHTS:
        export_gguf(source, folder / f"GGUF of {weights}", weights)
    export_hugging_face(source, folder)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def written(architecture: str, mode: Mode) -> list[tuple[int, str]]:
    """The digest chains of texts that are written side by side, with kept prefixes and drafts."""
    one, letters = model(architecture, context=64).eval(), CharacterTokenizer("abcdefghijklmnopqrstu é")
    with numerics(mode):
        engine = Engine(one, letters, slots=3, prefixes=PrefixCache("", mode), draft=RepeatedDraft(), piece=16)
    for i in range(6):
        prompt = [*IDS[0], *IDS[1, : 5 * i], *IDS[0, : i % 3]]
        sampling = Sampling(temperature=i / 4, top_p=0.9)
        engine.add(Request(prompt=prompt, tokens=4 + 3 * i, stream=Stream(i), sampling=sampling, chained=True))
    found = []
    while engine.active:
        found += [(one.number, one.token.chain) for one in engine.step() if one.token]
    return sorted(found, key=lambda pair: pair[0])


def receipt(architecture: str, mode: Mode) -> Receipt:
    """The receipt of a text that is longer than the context."""
    one, letters = model(architecture).eval(), CharacterTokenizer("abcdefghijklmnopqrstu é")
    sampling, prompt = Sampling(temperature=0.7, top_p=0.9, repetition_penalty=1.2), IDS[0, :5].tolist()
    with numerics(mode):
        found = list(generate_tokens(one, letters, prompt, tokens=40, stream=Stream(1), sampling=sampling, chained=True))
    ids, chain = [token.id for token in found], [token.chain for token in found]
    text = WrittenText(prompt=prompt, stream=[1], tokens=ids, chain=chain, text=letters.decode(ids))
    weights = checkpoint.digest(one.state_dict())
    return Receipt(model=weights, tokenizer=letters.digest, arithmetic=mode, sampling=sampling, texts=[text])  # type: ignore[arg-type]


def digests() -> dict[str, str]:
    found = {}
    for architecture in ARCHITECTURES:
        one = model(architecture)
        found[f"{architecture}: logits"] = checkpoint.digest({"logits": one(IDS[:, :-1]).numpy()})
        found[f"{architecture}: gradients"] = checkpoint.digest(gradients(one))
        found[f"{architecture}: gradients with dropout, untied"] = checkpoint.digest(
            gradients(model(architecture, dropout=0.2, tied=False))
        )
        for mode in MODES:
            text = json.dumps(written(architecture, mode))
            found[f"{architecture}: texts side by side, {mode}"] = hashlib.sha256(text.encode()).hexdigest()
            found[f"{architecture}: receipt of a text, {mode}"] = receipt(architecture, mode).digest
        with tempfile.TemporaryDirectory() as folder:
            found |= {f"{architecture}: {name}": digest for name, digest in exported(architecture, Path(folder)).items()}
        with tempfile.TemporaryDirectory() as folder:
            whole = trained(architecture, Path(folder, "whole"))
            try:
                trained(architecture, Path(folder, "cut"), cut)
            except CutError:
                resumed = trained(architecture, Path(folder, "cut"))
            int16 = trained(architecture, Path(folder, "int16"), numerics="int16")
            found[f"{architecture}: ten steps, int16"] = checkpoint.digest(int16)
            found[f"{architecture}: ten steps"] = checkpoint.digest(whole)
            found[f"{architecture}: ten steps, cut and resumed"] = checkpoint.digest(resumed)
            for name in ("int16", "whole", "cut"):
                content = Path(folder, name, RECEIPT).read_bytes()
                found[f"{architecture}: receipt of ten steps, {name}"] = read_receipt(content).digest
    for kind in WEIGHTS:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            found[f"qwen 3: logits of a file, {kind}"] = checkpoint.digest({"logits": loaded(kind, Path(folder))})
    for name, (weights, block, _) in FORMATS.items():
        raw = Stream(0).split(name).integers(256, size=(3, 2**15 // weights * block.itemsize)).astype(np.uint8)
        found[f"random blocks of {name}"] = checkpoint.digest({"weights": dequantize(raw.view(block), name)})
    return found


if __name__ == "__main__":
    json.dump(digests(), sys.stdout, indent=1)
