"""Chat: a conversation with a model in the terminal.

A line is a question, or a command such as ``/help``. The answer is printed as it is generated, and Ctrl-C ends it. Questions may come
from a pipe: then a conversation is a file of lines, and its digest is the same on every machine.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from rich.markup import escape

from samebits.cli.chat_templates import model_template
from samebits.cli.models import ARITHMETIC, PACKAGED, advised, find_model
from samebits.cli.receipts import require_provable, write_receipt
from samebits.cli.terminal import console, print_error, print_note, write_text
from samebits.core import Mode, numerics
from samebits.core.files import replace_file
from samebits.lm.conversation import Conversation
from samebits.lm.pretrained import load_pretrained
from samebits.lm.receipts import Receipt

__all__ = ["Chat", "chat_with"]


def chat_with(
    source: str,
    *,
    system: str | None,
    given: Mapping[str, Any],
    seed: int,
    tokens: int | None,
    arithmetic: Mode | None,
    now: datetime,
    receipt: Path | None = None,
) -> int:
    """Open a model and converse with it until the input ends; returns the exit status.

    Args:
        source: The model's file, folder or name.
        system: The system prompt.
        given: Options of `Sampling` that replace those of the model's file.
        seed: The seed of the answers.
        tokens: The largest number of tokens of an answer.
        arithmetic: The arithmetic; by default that of `samebits.cli.models`.
        now: The date for templates that ask for it.
        receipt: The file to write the receipt of all answers to.

    Raises:
        ValueError: The model cannot answer, or an option is wrong.
        OSError: The model does not exist or cannot be read.
    """
    path = find_model(source)
    if path is None:
        raise ValueError(
            f"chat: MODEL must be a GGUF file, a folder of Hugging Face, or {' or '.join(PACKAGED)}, got {source}; a model that "
            "samebits train has trained continues texts: samebits generate"
        )
    model = load_pretrained(path)
    template = model_template(model, name=str(path), now=now)
    mode = arithmetic or ARITHMETIC
    sampling = replace(advised(source, model), **given)
    if receipt:
        reproducible = require_provable("chat", mode, seed)
    with numerics(mode):
        conversation = Conversation(
            model.model,
            model.tokenizer,
            template,
            stop_ids=model.stop_ids,
            sampling=sampling,
            seed=seed,
            tokens=tokens,
            system=system,
            chained=receipt is not None,
        )
    console.print(f"[bold]{escape(model.name)}[/bold]  {model.digest[:16]}; /help lists the commands", soft_wrap=True)
    status = Chat(conversation, model.digest).run(_lines())
    if receipt:
        write_receipt(
            receipt,
            Receipt(
                model=model.digest,
                tokenizer=model.tokenizer.digest,
                arithmetic=reproducible,
                sampling=sampling,
                texts=conversation.written(),
                source=source,
            ),
        )
    return status


class Chat:
    """A conversation that is led by lines: questions, and commands that begin with a slash.

    Args:
        conversation: The conversation.
        model: The digest of the model's file.
    """

    def __init__(self, conversation: Conversation, model: str) -> None:
        self._conversation, self._model = conversation, model

    def run(self, lines: Iterator[str]) -> int:
        """Obey all lines; returns the exit status.

        Raises:
            BrokenPipeError: The reader closed the pipe.
        """
        for line in lines:
            if line.strip() == "/quit":
                break
            try:
                self._obey(line)
            except BrokenPipeError:  # nobody reads the answers
                raise
            except (ValueError, OSError) as error:
                print_error(str(error))
        if self._conversation.turns:
            self.digest()
        return 0

    def _obey(self, line: str) -> None:
        name, _, rest = line.strip().partition(" ")
        if not name.startswith("/"):
            if name:
                self._answer(lambda: self._conversation.ask(line))
        elif name in COMMANDS:
            COMMANDS[name][0](self, rest.strip())
        else:
            raise ValueError(f"{name} is not a command; /help lists them")

    def _answer(self, begin: Callable[[], Iterator[str]]) -> None:
        """Print an answer as it is generated, until Ctrl-C."""
        conversation, before = self._conversation, self._conversation.dropped
        try:
            pieces = begin()
            if conversation.dropped > before:
                print_note(f"the context is full: the oldest {conversation.dropped} turns are no longer read")
            for piece in pieces:
                write_text(piece)
        except KeyboardInterrupt:
            write_text("\n")
            print_note("stopped; the model remembers its answer as far as it came")
            return
        write_text("\n")
        if len(conversation.turns[-1].answer) == conversation.tokens:
            print_note(f"an answer has at most {conversation.tokens} tokens; --tokens changes that")

    def regenerate(self, _: str = "") -> None:
        """Answer the last question again, with other random numbers."""
        self._answer(self._conversation.regenerate)

    def system(self, prompt: str = "") -> None:
        """Set the system prompt, or show it."""
        if prompt:
            self._conversation.system = prompt
        else:
            console.print(escape(self._conversation.system or "The system prompt is that of the chat template, if it has one."))

    def reset(self, _: str = "") -> None:
        """Begin again; the system prompt stays."""
        self._conversation.reset()

    def save(self, path: str = "") -> None:
        """Write the conversation to FILE as JSON, with the settings and the digest."""
        if not path:
            raise ValueError("/save must be followed by the name of a file")
        record = {
            "model": self._model,
            "settings": self._settings(),
            "digest": self._conversation.digest(self._model),
            "messages": self._conversation.messages(),
        }
        with replace_file(os.path.expanduser(path)) as file:  # noqa: PTH111 -- Path's raises RuntimeError for an unknown user
            file.write(json.dumps(record, ensure_ascii=False, indent=1).encode("utf-8", "replace") + b"\n")

    def settings(self, _: str = "") -> None:
        """Show how tokens are chosen."""
        for name, value in self._settings().items():
            console.print(f"{name:19} {'none' if value is None else value}")

    def digest(self, _: str = "") -> None:
        """Show the digest of the model, the settings and all tokens so far."""
        console.print(f"digest {self._conversation.digest(self._model)}", soft_wrap=True)

    def help(self, _: str = "") -> None:
        """List the commands."""
        for name, (command, argument) in COMMANDS.items():
            console.print(escape(f"{name + ' ' + argument:16}{command.__doc__}"), soft_wrap=True)
        console.print(escape(f"{'/quit':16}End, as Ctrl-D does. Ctrl-C ends an answer, Alt-Enter a line of a question."))

    def _settings(self) -> dict[str, Any]:
        one = self._conversation
        return {**asdict(one.sampling), "seed": one.seed, "tokens": one.tokens, "numerics": one.arithmetic}


COMMANDS: dict[str, tuple[Callable[[Chat, str], None], str]] = {
    "/regenerate": (Chat.regenerate, ""),
    "/system": (Chat.system, "TEXT"),
    "/reset": (Chat.reset, ""),
    "/save": (Chat.save, "FILE"),
    "/settings": (Chat.settings, ""),
    "/digest": (Chat.digest, ""),
    "/help": (Chat.help, ""),
}
"""The commands, with the name of their argument."""


def _lines() -> Iterator[str]:
    """The lines of a pipe or a file, in UTF-8 on every machine; in a terminal, those that are typed."""
    if sys.stdin is None:  # closed by the caller
        return
    if not sys.stdin.isatty():
        if hasattr(sys.stdin, "reconfigure"):
            sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")  # other bytes are an error of their line alone
        yield from (line.removesuffix("\n") for line in sys.stdin)
        return
    session: PromptSession[str] = PromptSession(
        key_bindings=_keys(), completer=WordCompleter([*COMMANDS, "/quit"], sentence=True), complete_while_typing=False
    )
    while True:
        try:
            yield session.prompt("> ")
        except KeyboardInterrupt:  # what is typed is given up
            continue
        except EOFError:
            return


def _keys() -> KeyBindings:
    """Alt-Enter begins another line."""
    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys
