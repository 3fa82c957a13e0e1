"""Chat templates: the Jinja template of a model's file, which writes a conversation as the model was trained to read it.

A template is a program of whoever made the file. It runs in Jinja's sandbox, which gives it the messages and a few functions, and
no attribute of Python. The variables are those that `transformers` gives: messages, add_generation_prompt, bos_token, eos_token.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from samebits.lm.messages import Message, Template
from samebits.lm.pretrained import Pretrained

__all__ = ["chat_template", "model_template"]


def chat_template(source: str, *, name: str, bos: str, eos: str, now: datetime) -> Template:
    """The function that renders messages by a template.

    Args:
        source: The template.
        name: The model, for error messages.
        bos: The name of the token that begins a text, or "".
        eos: The name of the token that ends one, or "".
        now: The date and time for templates that ask for them.

    Raises:
        ValueError: The template is not valid; from the function, it refuses the messages.

    Example:
        >>> source = "{% for one in messages %}[{{ one.role }}] {{ one.content }}{{ eos_token }}{% endfor %}"
        >>> chat_template(source, name="a", bos="", eos="<e>", now=datetime(2026, 1, 1))([{"role": "user", "content": "Hi"}])
        '[user] Hi<e>'
    """

    def refuse(message: str) -> NoReturn:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.filters["tojson"] = _json
    del environment.filters["random"], environment.globals["lipsum"]  # which are not the same each time
    environment.globals |= {"raise_exception": refuse, "strftime_now": now.strftime}
    try:
        template = environment.from_string(source)
    except (TemplateError, RecursionError, MemoryError, ValueError) as error:
        raise ValueError(f"{name}: the chat template is not valid: {error}") from error

    def render(messages: Sequence[Message]) -> str:
        try:
            return template.render(messages=messages, add_generation_prompt=True, bos_token=bos, eos_token=eos)
        except Exception as error:  # a template is a program: it may raise any
            raise ValueError(f"{name}: the chat template refuses the conversation: {error}") from error

    return render


def model_template(model: Pretrained, *, name: str, now: datetime) -> Template:
    """The function that renders messages for a model, by the template of its file.

    Args:
        model: The model.
        name: Its name, for error messages.
        now: The date and time for templates that ask for them.

    Raises:
        ValueError: The model has no template, or as in `chat_template`.
    """
    if model.chat_template is None:
        raise ValueError(
            f"{name}: the model has no chat template, so it was not trained to answer; samebits generate continues texts"
        )
    bos, eos = (
        model.tokenizer.tokens[one].decode("utf-8", "replace") if one is not None else "" for one in (model.bos_id, model.eos_id)
    )
    return chat_template(model.chat_template, name=name, bos=bos, eos=eos, now=now)


def _json(value: Any, indent: int | None = None, **options: Any) -> str:
    """JSON in which only JSON's own characters are escaped; Jinja's filter escapes those of HTML too."""
    return json.dumps(value, ensure_ascii=False, indent=indent, **options)
