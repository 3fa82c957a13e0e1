"""Receipts: written by the commands that write text, and verified by ``samebits verify``."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from samebits.cli.memory import keep_freed_pages
from samebits.cli.models import open_model
from samebits.cli.terminal import console, errors
from samebits.core import Mode
from samebits.core.canonical import LARGEST_INTEGER
from samebits.core.files import replace_file, require_file
from samebits.lm import verification
from samebits.lm.receipts import RECEIPT, Receipt, TrainingReceipt, read_receipt
from samebits.lm.retraining import read_run_receipt, verify_training
from samebits.lm.verification import Verification, verify_text

__all__ = ["require_provable", "verify_receipt", "write_receipt"]


def require_provable(command: str, arithmetic: Mode, seed: int) -> Literal["exact", "int16"]:
    """Refuse what a receipt cannot prove, before anything is written; returns the arithmetic.

    Raises:
        ValueError: The arithmetic is fast, or JSON has no number for the seed.
    """
    if arithmetic == "fast":
        raise ValueError(f"{command}: --receipt needs exact or int16 arithmetic; fast has other bits on every machine")
    if seed > LARGEST_INTEGER:
        raise ValueError(f"{command}: --seed must be at most {LARGEST_INTEGER} for a receipt, got {seed}")
    return arithmetic


def write_receipt(path: Path, receipt: Receipt) -> None:
    """Write a receipt, and print its digest to standard error."""
    with replace_file(path) as file:
        file.write(receipt.to_json())
    errors.print(f"receipt {escape(str(path))}  {receipt.digest}", soft_wrap=True)


def verify_receipt(path: Path, *, model: Path | None, sample: float | None, seed: int | None, steps: str | None) -> int:
    """Verify a receipt, and print whether its bits are those of this machine; returns the exit status.

    Args:
        path: The file, or the folder of a training run.
        model: The model that wrote texts; by default the one that the receipt names.
        sample: The part of the tokens of texts to check; by default all.
        seed: Which part; by default a random one, so that nobody knows before.
        steps: The steps of a training run to train again, ``A:B``.
    """
    file = path / RECEIPT if path.is_dir() else path
    receipt = read_run_receipt(path) if path.is_dir() else _read(file)
    console.print(f"[bold]{escape(str(file))}[/bold]  {receipt.digest}", soft_wrap=True)
    if isinstance(receipt, TrainingReceipt):
        if any(one is not None for one in (model, sample, seed)):
            raise ValueError("verify: --model, --sample and --seed are for receipts of texts; a training run has --steps")
        return _verify_training(file.parent, steps)
    if steps:
        raise ValueError("verify: --steps is for receipts of training runs; a text has --sample")
    return _verify_text(receipt, model or Path(receipt.source), 1.0 if sample is None else sample, seed)


def _read(file: Path) -> Receipt | TrainingReceipt:
    require_file(file)
    return read_receipt(file.read_bytes(), str(file))


def _verify_text(receipt: Receipt, source: Path, sample: float, seed: int | None) -> int:
    try:
        opened = open_model(source)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; --model names the model of a receipt") from None
    seed = secrets.randbits(32) if seed is None else seed
    check = partial(verify_text, receipt, opened.model, opened.tokenizer, model_digest=opened.digest)
    with _shown() as progress:
        found = check(sample=sample, seed=seed, progress=progress)
    chosen = "" if found.checked == found.steps else f", chosen by --sample {sample} --seed {seed}"
    console.print(f"{found.checked:,} of {found.steps:,} tokens{chosen}, {receipt.arithmetic} arithmetic", soft_wrap=True)
    return _conclude(found)


def _verify_training(folder: Path, steps: str | None) -> int:
    parts = re.fullmatch("([0-9]{0,15}):([0-9]{0,15})", steps or ":")
    if parts is None:
        raise ValueError(f"verify: --steps must have the form A:B, such as 0:200, got {steps}")
    keep_freed_pages()
    first, last = int(parts[1] or 0), int(parts[2]) if parts[2] else None
    with _shown() as progress:
        found = verify_training(folder, first=first, last=last, progress=progress)
    console.print(f"{found.checked:,} of {found.steps:,} steps, trained again from step {first:,} on", soft_wrap=True)
    return _conclude(found)


@contextmanager
def _shown() -> Iterator[verification.Progress]:
    """Show how far a verification is, in a terminal."""
    bar = Progress(
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task("", total=None)
    with bar:
        yield lambda checked, steps: bar.update(task, completed=checked, total=steps)


def _conclude(found: Verification) -> int:
    """Print the verdict; returns the exit status."""
    if found.difference is None:
        console.print("[bold green]The same bits.[/bold green]")
        return 0
    field, expected, got = found.difference
    console.print(
        f"[red]differs[/red]  {escape(field)}: the receipt says {escape(expected)}, computed {escape(got)}", soft_wrap=True
    )
    console.print(
        "[bold red]Other bits than the receipt's.[/bold red] The first difference is where it was changed, or where "
        "this machine computes other bits: `samebits check` finds these.",
        soft_wrap=True,
    )
    return 1
