"""The command ``samebits``: every room of the lab, a command each."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from samebits.core import describe_machine
from samebits.core.selftest import selftest

__all__ = ["app"]

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, rich_markup_mode="rich")
console = Console(highlight=False)

JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@app.callback()
def main() -> None:
    """Numbers and language models with the same bits on every machine."""


@app.command()
def check(*, as_json: JSON = False) -> None:
    """Describe this machine, run the self-test, and say whether it gives the same bits as every other."""
    machine, outcomes = describe_machine(), selftest()
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


@app.command()
def drift(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODULE:FUNCTION | FILES]", help="A function of yours without arguments; or what to join."),
    ] = None,
    *,
    numpys: Annotated[list[str] | None, typer.Option("--numpy", help="Try the function on this NumPy too, such as 1.26.")] = None,
    timeout: Annotated[float, typer.Option(help="Stop a run of the function after this many seconds.")] = 600.0,
    join: Annotated[bool, typer.Option("--join", help="Join FILES: records of --record, or answers about one function.")] = False,
    record: Annotated[Path | None, typer.Option(help="Write what was measured to this folder, for --join.")] = None,
    render: Annotated[Path | None, typer.Option(help="Write drift.md and drift.svg to this folder.")] = None,
    as_json: JSON = False,
) -> None:
    """Say what changes bits here: the CPU level, the BLAS kernel, the threads, the C library, the NumPy version.

    Without arguments, some 270 operations of NumPy are tried, and their samebits twins. With MODULE:FUNCTION, your function is.
    Exit status: 0 the same bits everywhere (of your function, or of the twins), 1 other bits, 2 an error.
    """
    from samebits.lab.drift import report  # it starts processes and draws: `samebits check` needs none of it

    raise typer.Exit(
        report.main(targets or [], numpys=numpys or [], timeout=timeout, join=join, record=record, render=render, as_json=as_json)
    )
