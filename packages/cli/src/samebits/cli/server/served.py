"""What is served: a model with everything that reading requests and describing answers takes."""

import hashlib
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from samebits.cli.chat_templates import model_template
from samebits.cli.models import OpenModel, open_model
from samebits.cli.server.fields import RequestError
from samebits.core import Mode
from samebits.core.records import shown
from samebits.lm import parameter_count
from samebits.lm.messages import MessageEncoder
from samebits.lm.run import checkpoint_of

__all__ = ["Served", "open_served"]

_ANSWER = 1024  # tokens, as those of `samebits chat`


@dataclass(frozen=True)
class Served:
    """A model that is served.

    Args:
        id: Its name in requests and answers.
        opened: The model, its tokenizer, and how its tokens are chosen by default.
        arithmetic: The arithmetic of all answers.
        encoder: Reads messages; None if the model has no chat template.
        tokens: The largest number of tokens of a text.
    """

    id: str
    opened: OpenModel
    arithmetic: Mode
    encoder: MessageEncoder | None
    tokens: int

    @property
    def context(self) -> int:
        """The number of tokens of a prompt and its text together."""
        return self.opened.model.config.context

    @property
    def answer(self) -> int:
        """The largest number of tokens of an answer that asks for no other."""
        return min(self.tokens, _ANSWER, self.context // 2)

    @cached_property
    def longest(self) -> int:
        """The largest number of characters of a prompt."""
        return self.context * max(map(len, self.opened.tokenizer.tokens))

    @cached_property
    def digest(self) -> str:
        """The digest of the model."""
        return self.opened.digest

    @cached_property
    def tokenizer_digest(self) -> str:
        """The digest of its tokenizer."""
        return self.opened.tokenizer.digest

    @cached_property
    def fingerprint(self) -> str:
        """Stands for all that the bits of answers depend on, beside the request: the model and the arithmetic."""
        return "fp_" + hashlib.sha256(f"samebits.fingerprint/1 {self.digest} {self.arithmetic}".encode()).hexdigest()[:16]

    @cached_property
    def description(self) -> dict[str, Any]:
        """The model in OpenAI's list of models, with what it is in ``meta``."""
        pretrained, sampling = self.opened.pretrained, self.opened.sampling
        meta = {
            "name": pretrained.name if pretrained else self.id,
            "digest": self.digest,
            "arithmetic": self.arithmetic,
            "context": self.context,
            "parameters": parameter_count(self.opened.model.config),  # quantized ones too
            "chat": self.encoder is not None,
            "tokens": self.tokens,
            "sampling": {name: value for name, value in asdict(sampling).items() if name != "logit_bias"},
        }
        return {"id": self.id, "object": "model", "created": 0, "owned_by": "samebits", "meta": meta}

    def require(self, name: str) -> None:
        """Check that a request names this model.

        Raises:
            RequestError: It names another.
        """
        if name != self.id:
            message = f"model must be {self.id!r}, the one that is served, got {shown(name)}"
            raise RequestError(message, status=404, param="model", code="model_not_found")


def open_served(source: Path, *, arithmetic: Mode | None, tokens: int | None, now: datetime) -> Served:
    """Open a model to serve.

    Args:
        source: The model's file, folder or name, or a training run.
        arithmetic: The arithmetic; by default that of `samebits.cli.models`.
        tokens: The largest number of tokens of a text; by default the context.
        now: The date for chat templates that ask for it.

    Raises:
        ValueError: A file is damaged, or holds a model of another kind.
        OSError: A file is missing or cannot be read.
    """
    opened = open_model(source)
    context = opened.model.config.context
    encoder = None
    if opened.pretrained and opened.pretrained.chat_template is not None:
        encoder = MessageEncoder(opened.tokenizer, model_template(opened.pretrained, name=str(source), now=now))
    place = source if opened.pretrained else checkpoint_of(source).parent
    name = place.resolve().stem if place.suffix.lower() == ".gguf" else place.resolve().name
    return Served(name, opened, arithmetic or opened.arithmetic, encoder, min(tokens or context, context))
