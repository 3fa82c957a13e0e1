"""Terminal: control characters in names and texts are shown, not obeyed."""

import io
import sys

import pytest

from samebits.cli import terminal
from samebits.cli.drift_output import RichOutput
from samebits.cli.terminal import print_note, printable, write_text

pytestmark = pytest.mark.once

RED = "\x1b[31mred\x1b]0;title\x07\x9b2J\r\b\x7f"
SHOWN = r"\x1b[31mred\x1b]0;title\x07\x9b2J\r\x08\x7f"


class Terminal(io.StringIO):
    """Standard output that is a terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def test_control_characters_are_shown_as_escapes_and_other_text_as_it_is() -> None:
    assert printable(RED) == SHOWN
    text = "a\tb\né 日本 😀 \\x1b"
    assert printable(text) == text


@pytest.mark.parametrize(("stream", "expected"), [(Terminal, SHOWN), (io.StringIO, RED)])
def test_generated_text_is_shown_in_a_terminal_and_raw_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO], expected: str
) -> None:
    output = stream()
    monkeypatch.setattr(sys, "stdout", output)
    write_text(RED)
    assert output.getvalue() == expected


def test_what_the_commands_print_has_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.console.print(terminal.escape(f"name {RED}"), soft_wrap=True)
    print_note(RED)
    output = RichOutput()
    output.show([RED, (RED, "red")])
    output.error(RED)
    printed = capsys.readouterr()
    assert printed.out == f"name {SHOWN}\n{SHOWN}{SHOWN}\n"
    assert printed.err == f"note  {SHOWN}\nerror  {SHOWN}\n"
