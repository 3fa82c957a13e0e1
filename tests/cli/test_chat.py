"""`samebits chat` as a user runs it, on a small model with random weights."""

import io
import json
import sys
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from tests.cli import small_run
from tests.cli.small_model import pretrained
from typer.testing import CliRunner, Result

from samebits.cli import chat, terminal
from samebits.cli.app import app
from samebits.lm import Sampling

pytestmark = pytest.mark.once

DIGEST = pretrained().digest


@pytest.fixture(autouse=True)
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one = pretrained()
    monkeypatch.setattr(chat, "load_pretrained", lambda _: one)


def run(lines: str | bytes, *options: str) -> Result:
    return small_run.run("chat", "small.gguf", "--tokens", "20", *options, lines=lines)


def answers(done: Result) -> list[str]:
    """The lines of standard output without the first."""
    return done.stdout.splitlines()[1:]


def test_questions_from_a_pipe_are_answered_and_the_digest_is_printed() -> None:
    done = run("Hello\n\nWhy?\n")
    assert done.exit_code == 0 and done.stdout.startswith(f"small [model]  {DIGEST[:16]}; /help lists the commands\n")
    assert "digest " in answers(done)[-1] and len(answers(done)[-1]) == 71
    assert run("Hello\n\nWhy?\n").output == done.output
    assert answers(run("Hello\n/quit\nWhy?\n"))[0] == answers(done)[0] != answers(run("Hello\n", "--seed", "1"))[0]
    assert answers(run("")) == []


def test_a_closed_standard_input_has_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert list(chat._lines()) == []


def test_questions_from_a_pipe_are_utf8_in_every_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("é\n".encode() + b"\xff\nWhy?"), "latin-1"))
    lines = list(chat._lines())
    assert lines == ["é", "\udcff", "Why?"]
    done = run("Hello\n\udcff\nWhy?\n".encode(errors="surrogateescape"))
    assert "lone surrogates" in done.stderr and "digest" in answers(done)[-1]


def test_a_closed_pipe_ends_the_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def closed(text: str) -> None:
        asked.append(text)
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(chat, "write_text", closed)
    monkeypatch.setattr(terminal, "_discard_output", lambda: None)
    done = run("Hello\nWhy?\n")
    assert done.exit_code == 0 and not done.stderr and len(asked) == 1


def test_settings_are_those_of_the_model_and_the_options() -> None:
    lines = answers(run("/settings\n", "--top-k", "7", "--min-p", "0.1", "--seed", "3", "--numerics", "int16"))
    shown = dict(line.split() for line in lines)
    assert shown["temperature"] == "0.5" and shown["top_k"] == "7" and shown["min_p"] == "0.1" and shown["top_p"] == "none"
    assert shown["seed"] == "3" and shown["tokens"] == "20" and shown["numerics"] == "int16"


def test_reset_begins_again_and_regenerate_draws_again() -> None:
    first, again, other = answers(run("Hello\n/reset\nHello\n/regenerate\n"))[:3]
    assert first == again != other
    assert "there must be a question" in run("/regenerate\n").stderr


def test_the_system_prompt_is_shown_and_set() -> None:
    lines = answers(run("/system\n/system Be [brief].\n/system\nHello\n/system Be long.\n/reset\nHello\n"))
    assert lines[:2] == ["The system prompt is that of the chat template, if it has one.", "Be [brief]."]
    assert lines[2] != lines[3]
    assert answers(run("/system\n", "--system", "Be kind.")) == ["Be kind."]


def test_a_conversation_is_saved_with_its_settings_and_its_digest() -> None:
    done = run("Hé\n/save talk.json\n/save\n/save no/where.json\n/save ~nobody-here/x\n/digest\n", "--system", "Be brief.")
    record = json.loads(Path("talk.json").read_bytes())
    assert [one["role"] for one in record["messages"]] == ["system", "user", "assistant"]
    assert record["messages"][1]["content"] == "Hé" and record["settings"]["temperature"] == 0.5
    assert record["model"] == DIGEST and answers(done)[-1] == answers(done)[-2] == f"digest {record['digest']}"
    assert "/save must be followed by the name of a file" in done.stderr and "no/where.json" in done.stderr.replace("\\", "/")


def test_help_lists_the_commands_and_others_are_refused() -> None:
    done = run("/help\n/what\n")
    assert all(name in done.stdout for name in [*chat.COMMANDS, "/quit"])
    assert done.exit_code == 0 and "/what is not a command; /help lists them" in done.stderr


def test_a_full_context_and_a_cut_answer_are_said() -> None:
    done = run("".join(f"question {i}, which is of some length\n" for i in range(6)))
    assert "the context is full: the oldest 1 turns are no longer read" in done.stderr
    assert "an answer has at most 20 tokens" in done.stderr
    assert "question must have at most" in run("x" * 300 + "\n").stderr


def test_ctrl_c_ends_the_answer_and_not_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    choose, calls = Sampling.choose, iter(range(10**6))

    def interrupted(*arguments: object) -> int:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return choose(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Sampling, "choose", interrupted)
    done = run("Hello\nWhy?\n")
    assert done.exit_code == 0 and "stopped" in done.stderr and len(answers(done)) >= 3


def test_typed_lines_are_edited_and_alt_enter_begins_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Typed())
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        keys.send_text("one\x1b\rtwo\r" + "given up\x03" + "/help\r" + "\x04")
        assert list(chat._lines()) == ["one\ntwo", "/help"]


class Typed(io.StringIO):
    """Standard input that is a terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def test_what_cannot_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "load_pretrained", lambda _: pretrained(None))
    done = run("Hello\n")
    assert done.exit_code == 2 and "small.gguf: the model has no chat template" in done.stderr
    done = CliRunner().invoke(app, ["chat", "runs/tiny"])
    assert done.exit_code == 2 and "chat: MODEL must be a GGUF file, a folder of Hugging Face, or smollm2" in done.stderr
    monkeypatch.delitem(sys.modules, "samebits.cli.chat", raising=False)
    monkeypatch.setitem(sys.modules, "prompt_toolkit", None)  # as if it were not installed
    done = CliRunner().invoke(app, ["chat", "small.gguf"])
    assert done.exit_code == 2 and 'prompt_toolkit is not installed: python -m pip install "samebits[chat]"' in done.stderr
