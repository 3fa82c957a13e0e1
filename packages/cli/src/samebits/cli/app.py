"""The command ``samebits``: every room of the lab, a command each."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from samebits.cli.drift_output import RichOutput
from samebits.core import describe_machine
from samebits.core.selftest import run_selftest
from samebits.drift.command import DESCRIPTION, HELP, Options, run_command

__all__ = ["app"]

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, rich_markup_mode="rich")
console = Console(highlight=False)

JSON = Annotated[bool, typer.Option("--json", help=HELP["as_json"])]


@app.callback()
def main() -> None:
    """Numbers and language models with the same bits on every machine."""


@app.command()
def check(*, as_json: JSON = False) -> None:
    """Describe this machine, run the self-test, and say whether it gives the same bits as every other."""
    machine, outcomes = describe_machine(), run_selftest()
    wrong = [outcome for outcome in outcomes if not outcome.ok]
    if as_json:
        print(json.dumps({"same_bits": not wrong, "machine": asdict(machine), "outcomes": [asdict(one) for one in outcomes]}))
        raise typer.Exit(bool(wrong))
    console.print(escape(str(machine)), end="\n\n")
    for outcome in wrong:
        console.print(f"[red]differs[/red]  {outcome.case}: {outcome.digest[:16]}, expected {(outcome.expected or 'none')[:16]}")
    if wrong:
        console.print(f"[bold red]This machine gives other bits[/bold red] in {len(wrong)} of {len(outcomes)} known results.")
        raise typer.Exit(1)
    console.print(f"[bold green]This machine gives the same bits[/bold green]: all {len(outcomes)} known results agree.")


@app.command(help=DESCRIPTION)
def drift(
    targets: Annotated[list[str] | None, typer.Argument(metavar="[MODULE:FUNCTION | FILES]", help=HELP["targets"])] = None,
    *,
    numpys: Annotated[list[str] | None, typer.Option("--numpy", metavar="VERSION", help=HELP["numpys"])] = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help=HELP["timeout"])] = Options.timeout,
    join: Annotated[bool, typer.Option("--join", help=HELP["join"])] = False,
    record: Annotated[Path | None, typer.Option(metavar="FOLDER", help=HELP["record"])] = None,
    render: Annotated[Path | None, typer.Option(metavar="FOLDER", help=HELP["render"])] = None,
    as_json: JSON = False,
) -> None:
    """The command of samebits.drift, in color."""
    options = Options(targets or (), numpys or (), timeout, join, record, render, as_json)
    raise typer.Exit(run_command(options, RichOutput()))


@app.command()
def train(
    config: Annotated[Path | None, typer.Argument(help="A TOML file of settings, see docs/lm.md.")] = None,
    *,
    preset: Annotated[
        str | None, typer.Option(help="A configuration that comes with samebits; tiny, if nothing is said.")
    ] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="Plain NumPy arithmetic: quicker, and other bits on every machine.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    out: Annotated[Path | None, typer.Option(help="The folder to keep the run in; runs/NAME, if nothing is said.")] = None,
) -> None:
    """Train a language model, let it write, and say whether its bits are those that were published.

    Exit status: 0 the same bits, or none are published; 1 other bits; 2 an error; 130 interrupted, and saved.
    """
    from samebits.cli import language

    raise typer.Exit(language.train(config, preset=preset, fast=fast, resume=resume, out=out))


RUN = Annotated[Path, typer.Argument(metavar="RUN_OR_CHECKPOINT", help="The folder of a run, or a checkpoint in it.")]


@app.command()
def generate(
    run: RUN,
    *,
    prompt: Annotated[str, typer.Option(help="What to go on from.")] = "\n",
    tokens: Annotated[int, typer.Option(min=0, help="How many tokens to write at most.")] = 500,
    temperature: Annotated[float, typer.Option(help="Below 1 likely tokens become likelier; 0 takes the likeliest.")] = 0.8,
    top_k: Annotated[int | None, typer.Option(help="Only the k likeliest.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Only the likeliest with this probability together.")] = None,
    min_p: Annotated[float | None, typer.Option(help="Only those this fraction as likely as the likeliest.")] = None,
    repetition_penalty: Annotated[float, typer.Option(help="Above 1, what occurred already becomes less likely.")] = 1.0,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text; may be given several times.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Where the random numbers come from.")] = 0,
    fast: Annotated[bool, typer.Option("--fast", help="Plain NumPy arithmetic.")] = False,
) -> None:
    """Let a trained model go on from a prompt. The same seed gives the same text on every machine."""
    from samebits.cli import language

    status = language.generate(
        run,
        prompt=prompt,
        tokens=tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        stop=stop or [],
        seed=seed,
        fast=fast,
    )
    raise typer.Exit(status)


@app.command("eval")
def evaluate(
    run: RUN,
    *,
    data: Annotated[str | None, typer.Option(help="Another text: a file, a folder, or a corpus by name.")] = None,
    windows: Annotated[int, typer.Option(min=0, help="Windows to evaluate, evenly spread; 0 is all.")] = 0,
    fast: Annotated[bool, typer.Option("--fast", help="Plain NumPy arithmetic.")] = False,
) -> None:
    """Say how well a trained model foretells the text that was held out: loss, perplexity, bits per byte."""
    from samebits.cli import language

    raise typer.Exit(language.evaluate(run, data=data, windows=windows, fast=fast))


@app.command()
def info(run: RUN) -> None:
    """Say what a checkpoint holds: its settings, tensors, digests and step."""
    from samebits.cli import language

    raise typer.Exit(language.info(run))
