"""Answers: the objects of OpenAI's interface that texts are sent as, whole or in chunks."""

import json
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any

from samebits.cli.server.engine_thread import Piece
from samebits.cli.server.requests import Asked
from samebits.cli.server.served import Served
from samebits.lm.generation import Token
from samebits.lm.receipts import Receipt, WrittenText

__all__ = ["Answer", "event"]

_LEAST = -9999.0  # the logarithm of any smaller probability: JSON has no infinity


def event(value: dict[str, Any]) -> bytes:
    """A server-sent event with a JSON object."""
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


class Answer:
    """The answer to a request, which gets the pieces of its texts.

    Args:
        asked: The request.
        served: The model.
        chat: Whether the texts are messages of a conversation.
    """

    def __init__(self, asked: Asked, served: Served, *, chat: bool) -> None:
        self._asked, self._served, self._chat = asked, served, chat
        self._head = {
            "id": ("chatcmpl-" if chat else "cmpl-") + secrets.token_hex(12),
            "object": "chat.completion" if chat else "text_completion",
            "created": int(time.time()),
            "model": served.id,
            "system_fingerprint": served.fingerprint,
        }
        self._texts = [_Text(prompt.echo) for prompt in asked.prompts]

    def add(self, pieces: Sequence[Piece]) -> None:
        """Take pieces of the texts."""
        for piece in pieces:
            self._texts[piece.text].add(piece)

    def whole(self, cached: Sequence[int]) -> dict[str, Any]:
        """The whole answer.

        Args:
            cached: How many tokens of each prompt the cache had.
        """
        choices = []
        for index, one in enumerate(self._texts):
            logprobs = self._logprobs(one.tokens, one.offsets)
            text = {"message": {"role": "assistant", "content": one.text, "refusal": None}} if self._chat else {"text": one.text}
            choices.append({"index": index, **text, "logprobs": logprobs, "finish_reason": one.finish})
        return {**self._head, "choices": choices, "usage": self.usage(cached), **self._receipt()}

    def begin(self) -> Iterator[dict[str, Any]]:
        """The first chunks of a stream."""
        for index, one in enumerate(self._texts):
            if self._chat:
                yield self._chunk(index, {"role": "assistant", "content": "", "refusal": None})
            elif one.text:
                yield self._chunk(index, one.text)

    def chunks(self, pieces: Sequence[Piece]) -> Iterator[dict[str, Any]]:
        """The chunks of some pieces, which are added too."""
        for piece in pieces:
            text = self._texts[piece.text]
            text.add(piece)
            token, last = piece.token, piece.finish or None
            logprobs = self._logprobs([token], text.offsets[-1:])
            if not self._chat:
                if token.text or logprobs or last:
                    yield self._chunk(piece.text, token.text, logprobs, last)
                continue
            if token.text or logprobs:
                yield self._chunk(piece.text, {"content": token.text}, logprobs)
            if last:
                yield self._chunk(piece.text, {}, None, last)

    def end(self, cached: Sequence[int]) -> Iterator[dict[str, Any]]:
        """The last chunks of a stream."""
        last = {"usage": self.usage(cached)} if self._asked.usage else {}
        if last := last | self._receipt():
            yield {**self._stream_head, "choices": [], **last}

    def usage(self, cached: Sequence[int]) -> dict[str, Any]:
        """How many tokens were read and written; a prompt of several texts counts once."""
        once = slice(0, None, self._asked.n)
        read = sum(len(prompt.ids) for prompt in self._asked.prompts[once])
        written = sum(len(one.tokens) for one in self._texts)
        return {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
            "prompt_tokens_details": {"cached_tokens": sum(cached[once])},
        }

    def counts(self, cached: Sequence[int]) -> dict[str, int]:
        """The counts of tokens for a record of the request."""
        usage = self.usage(cached)
        names = ("prompt_tokens", "completion_tokens")
        return {**{name: usage[name] for name in names}, **usage["prompt_tokens_details"]}

    @property
    def _stream_head(self) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk" if self._chat else "text_completion"}

    def _chunk(
        self, index: int, new: dict[str, Any] | str, logprobs: dict[str, Any] | None = None, finish: str | None = None
    ) -> dict[str, Any]:
        choice = {"index": index, "delta" if self._chat else "text": new, "logprobs": logprobs, "finish_reason": finish}
        found = {**self._stream_head, "choices": [choice]}
        return {**found, "usage": None} if self._asked.usage else found

    def _receipt(self) -> dict[str, Any]:
        """The receipt of all texts, if it is asked for."""
        asked, served = self._asked, self._served
        if not asked.receipt or served.arithmetic == "fast":
            return {}
        texts = []
        for prompt, one in zip(asked.prompts, self._texts, strict=True):
            ids = [token.id for token in one.tokens]
            chain, text = [token.chain for token in one.tokens], served.opened.tokenizer.decode(ids)
            texts.append(WrittenText(prompt=prompt.ids, stream=[asked.seed, *prompt.path], tokens=ids, chain=chain, text=text))
        receipt = Receipt(
            model=served.digest,
            tokenizer=served.tokenizer_digest,
            arithmetic=served.arithmetic,
            sampling=asked.sampling,
            texts=texts,
            source=served.id,
        )
        return {"receipt": json.loads(receipt.to_json())}

    def _logprobs(self, tokens: Sequence[Token], offsets: Sequence[int]) -> dict[str, Any] | None:
        """The probabilities of tokens, without the stop id that ends a text."""
        if self._asked.top is None:
            return None
        kept = [
            (token, place) for token, place in zip(tokens, offsets, strict=True) if token.id not in self._served.opened.stop_ids
        ]
        if self._chat:
            content = [
                {**self._named(one.id, one.logprob), "top_logprobs": [self._named(*pair) for pair in one.top]} for one, _ in kept
            ]
            return {"content": content, "refusal": None} if content else None
        top = [{self._name(id_): _finite(logprob) for id_, logprob in (*one.top, (one.id, one.logprob))} for one, _ in kept]
        return {
            "tokens": [self._name(one.id) for one, _ in kept],
            "token_logprobs": [_finite(one.logprob) for one, _ in kept],
            "top_logprobs": top,
            "text_offset": [place for _, place in kept],
        }

    def _named(self, id_: int, logprob: float) -> dict[str, Any]:
        return {"token": self._name(id_), "logprob": _finite(logprob), "bytes": list(self._served.opened.tokenizer.tokens[id_])}

    def _name(self, id_: int) -> str:
        r"""The text of a token; bytes that are no text as ``\xff``."""
        return self._served.opened.tokenizer.tokens[id_].decode("utf-8", "backslashreplace")


class _Text:
    """A text as far as it is written, with where each token begins: after so many characters."""

    def __init__(self, text: str) -> None:
        self.text, self.finish = text, ""
        self.tokens: list[Token] = []
        self.offsets: list[int] = []

    def add(self, piece: Piece) -> None:
        self.offsets.append(len(self.text))
        self.tokens.append(piece.token)
        self.text += piece.token.text
        self.finish = piece.finish


def _finite(logprob: float) -> float:
    return max(logprob, _LEAST)
