"""Generation: print a model's continuation of a prompt, token by token, or those of several prompts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from samebits.cli.models import open_model
from samebits.cli.mpi import joined
from samebits.cli.terminal import write_text
from samebits.core import Mode, Stream, numerics
from samebits.lm import generate, generate_batch
from samebits.lm.workers import require_same, require_same_arithmetic
from samebits.text.tokenizer import encode_special

__all__ = ["print_continuations"]


def print_continuations(
    source: Path,
    prompts: Sequence[str],
    *,
    tokens: int,
    given: Mapping[str, Any],
    stop: Sequence[str],
    seed: int,
    arithmetic: Mode | None,
    special: str,
    workers: int | None = None,
) -> int:
    """Print each prompt and its continuation; returns the exit status.

    One text is printed as it is generated. Several are generated at once, and each is that of its prompt and ``Stream(seed).split(i)``.
    """
    with joined(workers) as processes:
        opened = open_model(source)
        model, tokenizer = opened.model, opened.tokenizer
        sampling = replace(opened.sampling, **given)
        begun: list[Any] = list(prompts)
        if opened.start:
            begun = [[*opened.start, *encode_special(tokenizer, prompt, special).tolist()] for prompt in prompts]
        options: dict[str, Any] = {"sampling": sampling, "stop": stop, "stop_ids": opened.stop_ids}
        options |= {"tokens": tokens, "special": special}
        with numerics(arithmetic or opened.arithmetic):
            if len(prompts) == 1:
                if processes.rank == 0:
                    return _print_as_generated(prompts[0], generate(model, tokenizer, begun[0], stream=Stream(seed), **options))
                return 0
            require_same_arithmetic(processes)
            require_same(processes, ("the weights", opened.digest))
            texts = generate_batch(model, tokenizer, begun, stream=Stream(seed), workers=processes, **options)
        if processes.rank == 0:
            write_text("\n".join(f"{prompt}{text}\n" for prompt, text in zip(prompts, texts, strict=True)))
    return 0


def _print_as_generated(prompt: str, pieces: Iterator[str]) -> int:
    write_text(prompt)
    try:
        for piece in pieces:
            write_text(piece)
    except KeyboardInterrupt:
        write_text("\n")
        return 130
    write_text("\n")
    return 0
