"""Evaluation: how well a trained model predicts a text, and what its checkpoint holds."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.markup import escape

from samebits.cli.models import open_model
from samebits.cli.mpi import joined
from samebits.cli.terminal import console, noted_warnings
from samebits.core import Mode, digest, numerics
from samebits.lm import byte_lengths, checkpoint, evaluate, flops_per_token, load_model
from samebits.lm.data import Data, collect, encoded
from samebits.lm.data import windows as spread
from samebits.lm.run import checkpoint_of
from samebits.lm.training import saved_step
from samebits.lm.workers import require_same, require_same_arithmetic

__all__ = ["print_checkpoint", "print_evaluation"]


def print_evaluation(
    source: Path, *, data: str | None, windows: int, arithmetic: Mode | None, special: str | None, workers: int | None = None
) -> int:
    """Print loss, perplexity and bits per byte on the validation text or another; returns the exit status.

    The digest is that of the weights, the tokens, the settings, and the loss to its last bit.
    """
    with joined(workers) as processes:
        opened = open_model(source)
        mode = arithmetic or opened.arithmetic
        config = replace(opened.config, evaluation_windows=windows, special=special or opened.config.special)
        if data is not None:
            with noted_warnings():
                ids = np.concatenate(list(encoded(opened.tokenizer, collect(data, config.undecodable), config)))
        elif opened.pretrained:
            raise ValueError(f"eval: --data must name a text to evaluate {source} on, which has none of its own")
        else:
            ids = Data.open(checkpoint_of(source).parent).validation.ids
        chosen, weights, text = spread(ids, config), opened.digest, digest(ids)
        with numerics(mode):
            require_same_arithmetic(processes)
            require_same(processes, ("the weights", weights), ("the text", text))
            found = evaluate(opened.model, chosen, byte_lengths(opened.tokenizer), workers=processes)
        console.print(f"loss           {found.loss:.6f} nats per token\nperplexity     {found.perplexity:.4f}")
        if found.bits_per_byte is not None:
            console.print(f"bits per byte  {found.bits_per_byte:.6f}")
        console.print(f"tokens         {found.tokens:,}")
        parts = [weights, text, mode, str(config.model.context), str(windows), found.loss.hex()]
        console.print(f"digest         {hashlib.sha256(' '.join(parts).encode()).hexdigest()}", soft_wrap=True)
    return 0


def print_checkpoint(source: Path) -> int:
    """Print the configuration, tensors, digests and step of a checkpoint; returns the exit status."""
    file = checkpoint_of(source)
    model, config = load_model(file)
    entries, metadata = checkpoint.read_header(file)
    try:
        step = saved_step(metadata, config)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    for line in config.to_toml().splitlines():
        if line and not line.startswith("#"):
            console.print(escape(line), soft_wrap=True)
    console.print(f"\n{'tensor':40} {'dtype':6} shape")
    for name, entry in entries.items():
        shape = " × ".join(map(str, entry.shape)) or "scalar"
        console.print(f"{escape(name):40} {entry.dtype:6} {shape}", soft_wrap=True)
    console.print(f"\nstep        {step:,} of {config.steps:,}")
    console.print(f"parameters  {model.parameter_count():,}; {flops_per_token(model.config):,} operations per training token")
    if "initial" in metadata:
        console.print(f"started from weights of the digest {escape(metadata['initial'])}", soft_wrap=True)
    console.print(f"weights     {checkpoint.digest(model.state_dict())}")
    console.print(f"checkpoint  {metadata.get(checkpoint.DIGEST, 'none')}")
    return 0
