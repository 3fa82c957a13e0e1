"""Terminal: where the commands print, and how an error becomes one line and an exit status.

Names in files and texts of models may have control characters, which a terminal would obey: they are printed as escapes.

0 success, 1 other bits than published, 2 an error, 130, 143, 129 and 138 ended by Ctrl-C, SIGTERM, SIGHUP and SIGUSR1.
"""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from samebits.core.records import visible

__all__ = [
    "console",
    "errors",
    "message_of",
    "noted_warnings",
    "print_error",
    "print_note",
    "printable",
    "reported_errors",
    "write_text",
]

_EXTRAS = {
    "jinja2": "chat",
    "prompt_toolkit": "chat",
    **dict.fromkeys(("prometheus_client", "starlette", "uvicorn"), "serve"),
}
_INSTALL = "python -m pip install samebits, or in a clone: python -m pip install ./packages/*"


def printable(text: str) -> str:
    r"""The text with its control characters as escapes, for a terminal; tabs and line ends stay.

    Example:
        >>> printable("\x1b[31mred\r\n")
        '\\x1b[31mred\\r\n'
    """
    return visible(text).replace("\r", "\\r")


class _Visible(Console):
    """A console that prints strings as `printable` gives them."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print strings, in which only our own markup is obeyed, and other objects."""
        super().print(*[printable(one) if isinstance(one, str) else one for one in objects], **options)


class _Console(_Visible):
    """A console that falls silent when its pipe is closed, so that ``samebits train | head`` trains to the end."""

    def on_broken_pipe(self) -> None:
        _discard_output()
        self.quiet = True


console = _Console(highlight=False)
errors = _Visible(stderr=True, highlight=False)


@contextmanager
def reported_errors() -> Iterator[None]:
    """Print an error that a user can correct as one line, and exit with its status.

    Raises:
        typer.Exit: The status is 2 after an error, 130 after Ctrl-C, 0 if the reader closed the pipe.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # print a question mark for what the terminal's encoding lacks
    try:
        yield
    except BrokenPipeError:
        _discard_output()
        raise typer.Exit(0) from None
    except KeyboardInterrupt as error:
        errors.print(f"\n{message_of(error)}")
        raise typer.Exit(130) from None
    except Exception as error:
        message = message_of(error)
        if message is None:
            raise
        print_error(message)
        raise typer.Exit(2) from error


def message_of(error: BaseException) -> str | None:
    """The line that tells a user of an error; None for an error of the program, which deserves its traceback.

    Example:
        >>> message_of(ValueError("steps must be at least 1")), message_of(KeyError("a"))
        ('steps must be at least 1', None)
    """
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted; every file is whole."
    if isinstance(error, MemoryError):
        return f"out of memory: {error}"
    if isinstance(error, ModuleNotFoundError):
        if error.name in _EXTRAS:
            return f'{error.name} is not installed: python -m pip install "samebits[{_EXTRAS[error.name]}]"'
        ours = error.name is not None and error.name.startswith("samebits")
        return f"{error.name} is not installed: {_INSTALL}" if ours else None
    try:
        from samebits.core import MachineError
        from samebits.text import CorpusError
    except ModuleNotFoundError as missing:
        return message_of(missing)
    expected = CorpusError, FloatingPointError, MachineError, ValueError, OSError
    return str(error) if isinstance(error, expected) else None


def print_error(message: str) -> None:
    """Print one line that begins with "error", to standard error."""
    errors.print(f"[bold red]error[/bold red]  {escape(message)}", soft_wrap=True)


def _discard_output() -> None:
    """Send the rest of the output to the null device."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


@contextmanager
def noted_warnings() -> Iterator[None]:
    """Print the warnings of the block as one line each, such as the files left out of a corpus."""
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        yield
    for note in notes:
        print_note(str(note.message))


def print_note(text: str) -> None:
    """Print one line that begins with "note", to standard error."""
    errors.print(f"[yellow]note[/yellow]  {escape(text)}", soft_wrap=True)


def write_text(text: str) -> None:
    """Write a model's text to standard output at once: to a terminal as `printable` gives it, otherwise as it is."""
    sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()
