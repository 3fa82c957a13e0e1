"""Output of ``samebits drift``: the lines of the drift report in color, and a progress bar."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from samebits.cli.terminal import printable
from samebits.drift import ProcessResult
from samebits.drift.command import PlainOutput
from samebits.drift.report import Line

__all__ = ["RichOutput"]


class RichOutput(PlainOutput):
    """Prints in color, and shows progress as a bar on standard error if that is a terminal."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self.errors = Console(stderr=True, highlight=False, soft_wrap=True)

    def show(self, line: Line) -> None:
        """Print a line of the answer."""
        text = Text.assemble(*[printable(part) if isinstance(part, str) else (printable(part[0]), part[1]) for part in line])
        text.rstrip()
        self.console.print(text)

    def error(self, message: str) -> None:
        """Print an error."""
        self.errors.print(Text.assemble(("error", "bold red"), f"  {printable(message)}"))

    def progress(self, what: str, total: int) -> AbstractContextManager[Callable[[ProcessResult], None]]:
        """A bar that advances with every process."""
        return _bar(self.errors, what, total)


@contextmanager
def _bar(console: Console, what: str, total: int) -> Iterator[Callable[[ProcessResult], None]]:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("[dim]{task.fields[last]}")
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(escape(printable(what)), total=total, last="")
        yield lambda one: bar.update(task, advance=1, last=escape(printable(one.variant.name)))
