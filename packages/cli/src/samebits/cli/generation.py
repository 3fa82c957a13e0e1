"""Generation: print a model's continuation of a prompt, token by token."""

from collections.abc import Sequence
from pathlib import Path

from samebits.cli.run_folders import reproducible
from samebits.cli.terminal import noted_warnings, write_text
from samebits.core import Mode, Stream, numerics
from samebits.lm import Sampling, generate, open_run

__all__ = ["print_continuation"]


def print_continuation(
    source: Path,
    prompt: str,
    *,
    tokens: int,
    sampling: Sampling,
    stop: Sequence[str],
    seed: int,
    arithmetic: Mode | None,
    special: str,
) -> int:
    """Print the prompt and its continuation as it is generated; returns the exit status."""
    with noted_warnings():
        model, config, tokenizer = open_run(source)
    with numerics(arithmetic or reproducible(config)):
        pieces = generate(
            model, tokenizer, prompt, tokens=tokens, sampling=sampling, stop=stop, stream=Stream(seed), special=special
        )
        write_text(prompt)
        try:
            for piece in pieces:
                write_text(piece)
        except KeyboardInterrupt:
            write_text("\n")
            return 130
    write_text("\n")
    return 0
