"""Training: train a model while its loss is shown, then print a sample of it and whether its bits are the published ones."""

import os
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

from rich.markup import escape

from samebits.cli import curve
from samebits.cli.memory import keep_freed_pages
from samebits.cli.mpi import joined
from samebits.cli.run_folders import choose_run
from samebits.cli.terminal import console, noted_warnings, write_text
from samebits.cli.training_progress import shown_progress
from samebits.core import Mode, numerics
from samebits.lm import Interrupted, TrainConfig, presets, start
from samebits.lm.metrics import read_metrics
from samebits.lm.run import INITIAL, Run
from samebits.lm.run_lock import locked
from samebits.lm.workers import Workers

__all__ = ["train_model"]


def train_model(
    config: Path | None,
    *,
    preset: str | None,
    arithmetic: Mode | None,
    resume: bool,
    init_from: Path | None,
    out: Path | None,
    keep_checkpoints: bool,
    workers: int | None = None,
) -> int:
    """Train a model, print its loss curve and a sample, and compare its bits with the published ones; returns the exit status."""
    keep_freed_pages()
    with joined(workers) as processes:
        if resume and init_from:
            raise ValueError("train: --init-from starts a new run, --resume continues one; leave out either")
        if processes.rank:
            folder, chosen = processes.gather(None)[0]
            return _train(folder, chosen, None, processes, keep=keep_checkpoints)
        folder, chosen = choose_run(config, preset, arithmetic=arithmetic, resume=resume, out=out)
        processes.gather((folder, chosen))
        with locked(folder):
            return _train(folder, chosen, init_from, processes, keep=keep_checkpoints)


def _train(folder: Path, config: TrainConfig, init_from: Path | None, workers: Workers, *, keep: bool) -> int:
    began = time.perf_counter()
    with noted_warnings(), console.status("preparing the data") if console.is_terminal else nullcontext():
        run = start(config, folder, init_from=init_from, keep_checkpoints=keep, workers=workers)
    _introduce(run)
    try:
        with nullcontext() if workers.rank else shown_progress(run):
            run.trainer.train()
    except Interrupted as interrupted:
        step, steps = run.trainer.step, run.config.steps
        console.print(f"\nInterrupted after step {step} of {steps}; the run is saved. To continue:\n")
        console.print(f"  {_this_command()} train --resume --out {escape(str(folder))}\n", soft_wrap=True)
        return 128 + interrupted.signal
    return 0 if workers.rank else _conclude(run, time.perf_counter() - began)


def _this_command() -> str:
    """The command to print for the user; nox runs it from an environment that is not on the path."""
    return escape(os.path.relpath(sys.argv[0])) if "NOX_CURRENT_SESSION" in os.environ else "samebits"


def _introduce(run: Run) -> None:
    """Print the data, the model and the size of the run."""
    config, data = run.config, run.data
    model = config.model
    console.print(
        f"[bold]{escape(str(run.folder))}[/bold]  {escape(config.data)}: {len(data.training):,} training tokens, "
        f"{len(data.validation):,} validation tokens, vocabulary of {data.tokenizer.vocabulary_size}",
        soft_wrap=True,
    )
    console.print(
        f"{model.architecture}, {model.layers} layers, {model.channels} channels, {run.trainer.model.parameter_count():,} parameters; "
        f"{config.steps:,} steps of {config.batch} × {model.context} tokens, {config.numerics} arithmetic",
        soft_wrap=True,
    )
    if (size := run.trainer.workers.size) > 1:
        console.print(f"{config.shards} shards, shared by {size} workers")
    if run.trainer.step:
        console.print(f"resuming after step {run.trainer.step:,}")
    elif run.trainer.initial:
        console.print(f"starting from the weights in {escape(str(run.folder / INITIAL))}", soft_wrap=True)


def _conclude(run: Run, seconds: float) -> int:
    """Print the loss curve, a sample and the verdict; returns the exit status."""
    records = read_metrics(run.folder)
    training = [(int(record["step"]), record["loss"]) for record in records if "loss" in record]
    validation = [(int(record["step"]), record["validation_loss"]) for record in records if "validation_loss" in record]
    if training and not console.options.ascii_only:  # the curve is drawn in Braille
        console.print("\n[bold]loss[/bold] in nats per token, running mean")
        smooth = curve.running_mean([loss for _, loss in training], max(1, len(training) // 50))
        for line in curve.sketch(list(zip([step for step, _ in training], smooth, strict=True))):
            console.print(escape(line), soft_wrap=True)
    drawn = _draw_curve(run, training, validation)
    with numerics(run.config.numerics):
        text = presets.sample(run.trainer.model.eval(), run.data.tokenizer)
    console.print("\n[bold]sample[/bold]\n")
    write_text(text)
    console.print(
        f"\n\n{seconds:,.0f} s; the run is in [bold]{escape(str(run.folder))}[/bold]{drawn}. To generate more:", soft_wrap=True
    )
    console.print(f'  {_this_command()} generate {escape(str(run.folder))} --prompt "First "', soft_wrap=True)
    if run.config.numerics != "fast":  # which has no receipt
        console.print(
            f"To train its first steps again, and compare:\n  {_this_command()} verify {escape(str(run.folder))}", soft_wrap=True
        )
    published = None if run.trainer.initial else presets.published(run.config)  # those are of runs from random weights
    return _compare(presets.digests(run.trainer.model, text), published)


def _draw_curve(run: Run, training: curve.Points, validation: curve.Points) -> str:
    """Draw the curve into the run's folder; returns a clause that says so, or how to have it drawn."""
    title = f"{run.folder.name}: {run.config.model.layers} layers, {run.config.model.channels} channels"
    try:
        for ending in ("svg", "png"):
            curve.draw(run.folder / f"loss.{ending}", training, validation, title=title)
    except ModuleNotFoundError:
        return "; python -m pip install matplotlib to have the curve drawn there"
    return ", with the curve as loss.svg and loss.png"


def _compare(found: Mapping[str, str], expected: Mapping[str, str] | None) -> int:
    """Print whether the digests are the published ones; returns the exit status."""
    console.print(f"\nweights {found['weights'][:16]}   text {found['text'][:16]}")
    if expected is None:
        console.print("No digest is published for this configuration.")
        return 0
    wrong = [name for name in found if found[name] != expected.get(name)]
    if wrong:
        for name in wrong:
            console.print(f"[red]differs[/red]  {name}: published is {expected.get(name, 'nothing')[:16]}")
        console.print("[bold red]Other bits than published.[/bold red] Run `samebits check` to find the reason.")
        return 1
    console.print("[bold green]The same bits as published.[/bold green]")
    return 0
