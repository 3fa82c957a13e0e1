"""Drift report: what `samebits drift` prints. Progress goes to standard error, the verdict to standard output."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from samebits.drift import map as driftmap
from samebits.drift import picture as driftpicture
from samebits.drift import record as drift
from samebits.drift import verdict
from samebits.drift.difference import Difference
from samebits.drift.map import AXES, Map
from samebits.drift.variants import Run, available
from samebits.drift.verdict import Verdict

__all__ = ["main"]


def main(
    targets: Sequence[str],
    *,
    numpys: Sequence[str] = (),
    timeout: float = 600.0,
    join: bool = False,
    record: Path | None = None,
    render: Path | None = None,
    as_json: bool = False,
) -> int:
    """Do what the command line asks for; returns the exit status: 0 the same bits, 1 other bits, 2 an error."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        _refuse_what_does_not_fit(targets, numpys, join=join, record=record, render=render)
        if join:
            found = _joined([Path(target) for target in targets])
        elif targets:
            found = _about(targets[0], numpys, timeout)
        else:
            found = _measured(record)
        if isinstance(found, Verdict):
            return _tell(console, found, as_json=as_json)
        return _show(console, found, render, as_json=as_json, short=bool(record or render))
    except (ValueError, RuntimeError, OSError) as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]error[/bold red]  {escape(str(error))}")
        return 2


def _refuse_what_does_not_fit(
    targets: Sequence[str], numpys: Sequence[str], *, join: bool, record: Path | None, render: Path | None
) -> None:
    if join and not targets:
        raise ValueError("--join needs the files to join, such as reports/drift/*.json")
    if join and (numpys or record):
        raise ValueError("--join measures nothing: leave out --numpy and --record")
    if not join and len(targets) > 1:
        raise ValueError(f"one function at a time, not {len(targets)}: {' '.join(targets)} (to join files, add --join)")
    if not join and targets and (record or render):
        raise ValueError("--record and --render are for the map of NumPy's operations, not for a function: use --json")
    if numpys and not targets:
        raise ValueError("--numpy is for a function of yours: give one as module:function")


def _measured(record: Path | None) -> Map:
    with _progress("NumPy's operations", len(available()) + 1) as done:
        measured = drift.measure_cell(done=done)
    if record:
        drift.write(measured, record)
    return Map.of([measured])


def _about(function: str, numpys: Sequence[str], timeout: float) -> Verdict:
    with _progress(function, len(available()) + 1 + len(numpys)) as done:
        return verdict.investigate(function, numpys=numpys, timeout=timeout, done=done)


def _joined(paths: Sequence[Path]) -> Map | Verdict:
    """The map or the verdict of some files, whichever they are of."""
    try:
        answers = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        formats = {answer["format"] for answer in answers}
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"the files to join must come from `samebits drift`, by --record or --json ({error!r})") from error
    if formats == {verdict.FORMAT}:
        return verdict.join(answers)
    if formats == {driftmap.FORMAT}:
        return Map.of(answers)
    raise ValueError(f"the files to join must be of one kind and of this version, not {' and '.join(sorted(map(str, formats)))}")


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[Run], None]]:
    """A bar on standard error that moves with every run, where that is a terminal."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("[dim]{task.fields[last]}")
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(escape(what), total=total, last="")
        yield lambda one: bar.update(task, advance=1, last=escape(one.variant.name))


def _tell(console: Console, found: Verdict, *, as_json: bool) -> int:
    """Print the verdict about one function; returns the exit status."""
    if as_json:
        print(json.dumps(found.as_json()))
        return found.status
    for axis, title in verdict.AXES.items():
        if any(one.axis == axis for one in found.runs) and found.deterministic:
            _tell_axis(console, found, axis, title)
    for one in found.failed:
        console.print(f"[red]failed[/red]  {escape(one.name)}: {escape(one.error)}")
    colour = {0: "green", 1: "red", 2: "yellow"}[found.status]
    console.print(f"\n[bold {colour}]{escape(found.sentence())}.[/bold {colour}]")
    if not found.deterministic:
        console.print("Seed its random numbers, and let nothing depend on time, addresses, or the order of a set.")
    elif not any(one.axis in ("version", "machine", "place") for one in found.runs):
        numpy = found.where["machine"]["numpy"]
        console.print(
            f"[dim]Tried with NumPy {numpy} alone: --numpy 1.26 tries another; --json and --join compare machines.[/dim]"
        )
    return found.status


def _tell_axis(console: Console, found: Verdict, axis: str, title: str) -> None:
    """One line for an axis along which the bits stand still; for another one, a line for every result."""
    count = found.results(axis)
    tried = ", ".join(dict.fromkeys(one.name for one in found.runs if one.axis == axis and one.digests))
    if count < 2:
        text = f"[green]same bits[/green]  [dim]{escape(tried)}[/dim]" if count else "[yellow]not measured[/yellow]"
        console.print(f"{title:<24}{text}")
        return
    console.print(f"{title:<24}[bold red]{count} results[/bold red]")
    found_groups = found.groups(axis)
    if place := found_groups[0][0].place:
        console.print(f"    [dim]on {escape(place)}[/dim]")
    groups = [(", ".join(one.name for one in group), group[0]) for group in found_groups]
    width = min(max(len(names) for names, _ in groups), 48)
    for names, first in groups:
        worst = max(first.differences, key=_size, default="")
        console.print(f"    {escape(names):<{width}}  {escape(str(worst))}".rstrip())


def _size(difference: Difference) -> float:
    return float("inf") if difference.note else float(difference.max_ulp or difference.max_abs or 0)


def _show(console: Console, found: Map, render: Path | None, *, as_json: bool, short: bool) -> int:
    """Print the map of NumPy's operations, or the summary alone where the rest is in files; returns the exit status."""
    moving = [row for row in found.rows if row.twins > 1 or row.failures]
    if render:
        driftpicture.write(found, render)
    if as_json:
        print(json.dumps(found.as_json()))
        return int(bool(moving))
    if not short:
        _show_rows(console, found)
    for record in found.records:
        for variant in record["variants"]:
            if variant["error"]:
                console.print(f"[yellow]not measured[/yellow]  {variant['name']}: {escape(variant['error'])}")
    for row in moving:
        failed = f", failed in {row.failures} cells" if row.failures else ""
        console.print(f"[bold red]samebits.core.{row.twin}[/bold red] ({escape(row.name)}): {row.twins} results{failed}")
    console.print(f"\n[bold]{escape(found.summary())}.[/bold]")
    return int(bool(moving))


def _show_rows(console: Console, found: Map) -> None:
    axes = [axis for axis in AXES if found.measured(axis)]
    wide = max((len(row.name) for row in found.drifting), default=0)
    console.print(f"[bold]{'operation':<{wide}}  {'  '.join(AXES[axis] for axis in axes)}  samebits twin[/bold]")
    for row in found.drifting:
        counts = [f"{row.results[axis] if row.results[axis] > 1 else '':<{len(AXES[axis])}}" for axis in axes]
        twin = f"{row.twin}: {'same bits' if row.twins == 1 else f'[bold red]{row.twins} results[/bold red]'}" if row.twin else ""
        console.print(f"{escape(row.name):<{wide}}  [red]{'  '.join(counts)}[/red]  {twin}".rstrip())
