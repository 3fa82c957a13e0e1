"""The command ``samebits``: every room of the lab, a command each."""

import json
from dataclasses import asdict
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
