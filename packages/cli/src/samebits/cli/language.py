"""The commands around a language model: train, generate, eval and info, as people see them.

What they do is in `samebits.lm`, which is imported here when a command is called: who only wants `samebits drift` installs less.
Every function returns an exit status: 0 all is well, 1 the bits are not those published, 2 an error, in one line, without a
traceback, 130 interrupted by Ctrl-C, after all was saved.
"""

import functools
import itertools
import os
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from samebits.cli import curve
from samebits.cli.memory import keep_freed
from samebits.core import numerics

if TYPE_CHECKING:
    from samebits.lm import TrainConfig
    from samebits.lm.run import Run

__all__ = ["evaluate", "generate", "info", "train"]


class _Console(Console):
    """One that falls silent when nobody reads it any more, so that `samebits train | head` trains to the end."""

    def on_broken_pipe(self) -> None:
        _nobody_reads()
        self.quiet = True


console = _Console(highlight=False)
errors = Console(stderr=True, highlight=False)

Arguments = ParamSpec("Arguments")

RUNS = Path("runs")
_INSTALL = "python -m pip install 'samebits-lab[train]', or in a clone ./packages/{core,autograd,text,nn,lm}"


def _command(body: Callable[Arguments, int]) -> Callable[Arguments, int]:
    """Say in one line what a user can put right."""

    @functools.wraps(body)
    def command(*args: Arguments.args, **kwargs: Arguments.kwargs) -> int:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")  # what the terminal cannot show is a question mark, not an error
        try:
            from samebits.lm import TrainingError
            from samebits.text import CorpusError
        except ModuleNotFoundError as error:
            if error.name is None or not error.name.startswith("samebits"):
                raise
            return _failed(f"{error.name} is not installed, and the language model needs it: {_INSTALL}")
        try:
            return body(*args, **kwargs)
        except KeyboardInterrupt:
            errors.print("\ninterrupted; what was saved before is there")
            return 130
        except BrokenPipeError:
            _nobody_reads()
            return 0
        except MemoryError as error:
            return _failed(f"out of memory: {error}")
        except (TrainingError, CorpusError, FloatingPointError, ValueError, OSError) as error:
            return _failed(str(error))

    return command


def _nobody_reads() -> None:
    """Let the rest of the output go nowhere: the other end of the pipe is closed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _failed(message: str) -> int:
    errors.print(f"[bold red]error[/bold red]  {escape(message)}", soft_wrap=True)
    return 2


@_command
def train(config: Path | None, *, preset: str | None, fast: bool, resume: bool, out: Path | None) -> int:
    """Train a model, let it speak, draw its curve, and compare its bits with those published."""
    from samebits.lm import Interrupted
    from samebits.lm.run import start

    keep_freed()
    folder, chosen = _chosen(config, preset, fast=fast, resume=resume, out=out)
    began = time.perf_counter()
    with _notes(), console.status("preparing the data") if console.is_terminal else nullcontext():
        run = start(chosen, folder)
    _introduce(run)
    try:
        with _progress(run):
            run.trainer.train()
    except Interrupted:
        step, steps = run.trainer.step, run.config.steps
        console.print(f"\nInterrupted after step {step} of {steps}; all is saved. To go on:\n")
        console.print(f"  {_ourselves()} train --resume --out {escape(str(folder))}\n", soft_wrap=True)
        return 130
    return _conclude(run, time.perf_counter() - began)


@contextmanager
def _notes() -> Iterator[None]:
    """Say in a line each what is warned of meanwhile, such as what was left out of a corpus."""
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        yield
    for note in notes:
        errors.print(f"[yellow]note[/yellow]  {escape(str(note.message))}", soft_wrap=True)


def _ourselves() -> str:
    """How to call this command again: nox has it in an environment that is not on the user's path."""
    return escape(os.path.relpath(sys.argv[0])) if "NOX_CURRENT_SESSION" in os.environ else "samebits"


def _chosen(config: Path | None, preset: str | None, *, fast: bool, resume: bool, out: Path | None) -> "tuple[Path, TrainConfig]":
    """The folder and the configuration that the options mean."""
    from samebits.lm import TrainConfig, presets
    from samebits.lm.run import CONFIG
    from samebits.lm.training import CHECKPOINT

    if config and preset:
        raise ValueError(f"there are two configurations, {config} and the preset {preset!r}: one is needed")
    name = config.stem if config else preset or presets.DEFAULT
    folder = out or (_newest(name) if resume else _fresh(name))
    there = any((folder / name).exists() for name in (CONFIG, CHECKPOINT))
    if resume and not there:
        raise ValueError(f"there is no run in {folder} to go on with: leave out --resume to begin one")
    if there and not resume:
        raise ValueError(f"there is a run in {folder}: --resume goes on with it, --out takes another folder")
    if resume and not (config or preset):
        chosen = TrainConfig.read(folder / CONFIG)
    else:
        chosen = TrainConfig.read(config) if config else presets.preset(preset or presets.DEFAULT)
    return folder, replace(chosen, numerics="fast") if fast else chosen


def _folders(name: str) -> Iterator[Path]:
    """Where runs of that name go, one after the other."""
    yield RUNS / name
    number = 2
    while True:
        yield RUNS / f"{name}-{number}"
        number += 1


def _fresh(name: str) -> Path:
    """The first of them that is not there."""
    return next(folder for folder in _folders(name) if not folder.exists())


def _newest(name: str) -> Path:
    """The last of them that has a run."""
    from samebits.lm.run import CONFIG

    there = itertools.takewhile(Path.exists, _folders(name))
    return next(reversed([folder for folder in there if (folder / CONFIG).exists()]), RUNS / name)


def _introduce(run: "Run") -> None:
    config, data = run.config, run.data
    model = config.model
    console.print(
        f"[bold]{escape(str(run.folder))}[/bold]  {escape(config.data)}, {len(data.training):,} tokens to train on, "
        f"{data.tokenizer.vocabulary_size} different; {len(data.validation):,} held out",
        soft_wrap=True,
    )
    console.print(
        f"{model.flavour}, {model.layers} layers, {model.channels} channels, {run.trainer.model.parameter_count():,} parameters; "
        f"{config.steps:,} steps of {config.batch} × {model.context} tokens, {config.numerics} arithmetic",
        soft_wrap=True,
    )
    if run.trainer.step:
        console.print(f"going on from step {run.trainer.step:,}")


# While it trains


@contextmanager
def _progress(run: "Run") -> Iterator[None]:
    """A bar in a terminal, lines elsewhere, and a line for each evaluation in both."""
    lately: deque[float] = deque(maxlen=50)
    config = run.config
    tokens = config.batch * config.model.context
    bar = Progress(
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}  {task.fields[speed]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task("", total=config.steps, completed=run.trainer.step, loss="", speed="")

    def after(trainer: Any, record: Mapping[str, float]) -> None:
        del trainer
        step = int(record["step"])
        if "seconds" in record:
            lately.append(record["seconds"])
            speed = f"{tokens * len(lately) / max(sum(lately), 1e-9):,.0f} tokens/s"
            bar.update(task, completed=step, loss=f"{record['loss']:.3f}", speed=speed)
        if "validation_loss" in record or (not console.is_terminal and step % max(1, config.steps // 10) == 0):
            bar.console.print(_line(record, tokens, lately, config.steps), soft_wrap=True)

    run.trainer.callbacks.append(after)
    with bar:
        yield


def _line(record: Mapping[str, float], tokens: int, lately: Sequence[float], steps: int) -> str:
    step = int(record["step"])
    parts = [f"step {step:>{len(f'{steps:,}')},} of {steps:,}"]
    if "loss" in record:
        parts.append(f"loss {record['loss']:.3f}")
    if "validation_loss" in record:
        parts.append(f"validation {record['validation_loss']:.3f}")
    if "bits_per_byte" in record:
        parts.append(f"bits per byte {record['bits_per_byte']:.3f}")
    if lately:
        mean = sum(lately) / len(lately)
        parts += [f"{tokens / max(mean, 1e-9):,.0f} tokens/s", f"{mean * (steps - step):,.0f} s left"]
    return "   ".join(parts)


# When it is trained


def _conclude(run: "Run", seconds: float) -> int:
    """The curve, what the model writes, and the verdict."""
    from samebits.lm import presets
    from samebits.lm.run import read_metrics

    records = read_metrics(run.folder)
    training = [(int(record["step"]), record["loss"]) for record in records if "loss" in record]
    validation = [(int(record["step"]), record["validation_loss"]) for record in records if "validation_loss" in record]
    if training and not console.options.ascii_only:  # it is drawn with Braille
        console.print("\n[bold]loss[/bold], nats a token, running mean")
        smooth = curve.running_mean([loss for _, loss in training], max(1, len(training) // 50))
        for line in curve.sketch(list(zip([step for step, _ in training], smooth, strict=True))):
            console.print(escape(line), soft_wrap=True)
    drawn = _draw(run, training, validation)
    with numerics("exact" if run.config.numerics == "exact" else "fast"):
        text = presets.sample(run.trainer.model.eval(), run.data.tokenizer)
    console.print("\n[bold]it writes[/bold]\n")
    _say(text)
    console.print(
        f"\n\n{seconds:,.0f} s; everything is in [bold]{escape(str(run.folder))}[/bold]{drawn}. More of it:", soft_wrap=True
    )
    console.print(f'  {_ourselves()} generate {escape(str(run.folder))} --prompt "First "', soft_wrap=True)
    found = presets.digests(run.trainer.model, text)
    return _verdict(found, presets.published(run.config))


def _draw(run: "Run", training: curve.Points, validation: curve.Points) -> str:
    """Draw the curve into the run's folder, and say so, or how to have it drawn."""
    title = f"{run.folder.name}: {run.config.model.layers} layers, {run.config.model.channels} channels"
    try:
        for ending in ("svg", "png"):
            curve.draw(run.folder / f"loss.{ending}", training, validation, title=title)
    except ModuleNotFoundError:
        return "; python -m pip install matplotlib, and the curve is drawn there too"
    return ", with the curve as loss.svg and loss.png"


def _verdict(found: Mapping[str, str], expected: Mapping[str, str] | None) -> int:
    console.print(f"\nweights {found['weights'][:16]}   text {found['text'][:16]}")
    if expected is None:
        console.print("No digest is published for this configuration.")
        return 0
    wrong = [name for name in found if found[name] != expected.get(name)]
    if wrong:
        for name in wrong:
            console.print(f"[red]differs[/red]  {name}: published is {expected.get(name, 'nothing')[:16]}")
        console.print("[bold red]Other bits than published.[/bold red] `samebits check` looks for the reason.")
        return 1
    console.print("[bold green]The same bits as published.[/bold green]")
    return 0


# Writing


@_command
def generate(
    source: Path,
    *,
    prompt: str,
    tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
    repetition_penalty: float,
    stop: Sequence[str],
    seed: int,
    fast: bool,
) -> int:
    """Let a trained model go on from a prompt, as it writes."""
    from samebits.core import Stream
    from samebits.lm.generation import generate as pieces
    from samebits.lm.run import open_run
    from samebits.lm.sampling import Sampling

    sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)
    model, _, tokenizer = open_run(source)
    with numerics("fast" if fast else "exact"):
        stream = pieces(model, tokenizer, prompt, tokens=tokens, sampling=sampling, stop=stop, stream=Stream(seed))
        _say(prompt)
        try:
            for piece in stream:
                _say(piece)
        except KeyboardInterrupt:
            _say("\n")
            return 130
    _say("\n")
    return 0


def _say(text: str) -> None:
    """Print a model's text as it is."""
    sys.stdout.write(text)
    sys.stdout.flush()


# Looking


@_command
def evaluate(source: Path, *, data: str | None, windows: int, fast: bool) -> int:
    """How well a trained model foretells the text that was held out, or another."""
    from samebits.lm import byte_lengths
    from samebits.lm import evaluate as measure
    from samebits.lm.data import Data, collect, encoded
    from samebits.lm.data import windows as spread
    from samebits.lm.run import checkpoint_of, open_run

    model, config, tokenizer = open_run(source)
    config = replace(config, evaluation_windows=windows)
    if data is None:
        ids = Data.open(checkpoint_of(source).parent).validation.ids
    else:
        with _notes():
            ids = np.concatenate(list(encoded(tokenizer, collect(data))))
    with numerics("fast" if fast else "exact"):
        found = measure(model, spread(ids, config), byte_lengths(tokenizer))
    console.print(f"loss           {found.loss:.6f} nats a token\nperplexity     {found.perplexity:.4f}")
    if found.bits_per_byte is not None:
        console.print(f"bits per byte  {found.bits_per_byte:.6f}")
    console.print(f"tokens         {found.tokens:,}")
    return 0


@_command
def info(source: Path) -> int:
    """What a checkpoint holds: its configuration, its tensors, its digests and its step."""
    from samebits.lm import checkpoint, flops_per_token, load_model
    from samebits.lm.run import checkpoint_of

    file = checkpoint_of(source)
    model, config = load_model(file)
    entries, metadata = checkpoint.read_header(file)
    for line in config.to_toml().splitlines():
        if line and not line.startswith("#"):
            console.print(escape(line), soft_wrap=True)
    console.print(f"\n{'tensor':40} {'dtype':6} shape")
    for name, entry in entries.items():
        shape = " × ".join(map(str, entry.shape)) or "one number"
        console.print(f"{escape(name):40} {entry.dtype:6} {shape}", soft_wrap=True)
    console.print(f"\nstep        {int(metadata.get('step', 0)):,} of {config.steps:,}")
    console.print(f"parameters  {model.parameter_count():,}; {flops_per_token(model.config):,} operations to learn from a token")
    console.print(f"weights     {checkpoint.digest(model.state_dict())}")
    console.print(f"checkpoint  {metadata.get(checkpoint.DIGEST, 'none')}")
    return 0
