"""Requests: the bodies of /v1/chat/completions and /v1/completions, as the texts that they ask for; and of /v1/verify.

Fields have the names and the meaning of OpenAI's interface. Those that change nothing here are accepted, those that cannot be obeyed
are refused, and ``top_k``, ``min_p``, ``repetition_penalty`` and ``receipt`` are added. Where no ``seed`` is given it is 0, so the same
request always has the same answer. Choice i of a conversation with m answers so far draws from ``Stream(seed).split(m).split(i)``, as
`samebits chat` does; text k of a completion from ``Stream(seed).split(k)``, or ``Stream(seed)`` if it is the only one, as
`samebits generate` does.
"""

import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from samebits.cli.server.fields import Fields, Read, RequestError, array, flag, integer, object_fields, one_of, text
from samebits.cli.server.served import Served
from samebits.core import Stream
from samebits.core.canonical import LARGEST_INTEGER
from samebits.core.records import shown
from samebits.lm import Sampling
from samebits.lm.engine import Request
from samebits.lm.receipts import Receipt, ReceiptError, read_receipt

__all__ = ["Asked", "Prompt", "read_chat", "read_completion", "read_verification"]

T = TypeVar("T")

CHOICES = 128
"""The largest n."""
STOPS = 16
"""The largest number of stop strings."""
_NUMBERS = ("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "top_k")


@dataclass(frozen=True)
class Prompt:
    """The ids of a prompt, the numbers that the stream of its text is split by, and what the text begins with."""

    ids: list[int]
    path: tuple[int, ...]
    echo: str = ""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a request asks for.

    Args:
        prompts: That of each text.
        n: How many texts each prompt has.
        tokens: The largest number of tokens of a text.
        sampling: How tokens are chosen.
        stop: The strings that end a text.
        seed: The seed of all texts.
        stream: Whether to send the texts as they are written.
        usage: Whether to send counts of tokens at the end of a stream.
        top: How many of the most likely tokens to send with each; None for no probabilities at all.
        receipt: Whether to send a receipt.
    """

    prompts: list[Prompt]
    n: int
    tokens: int
    sampling: Sampling
    stop: tuple[str, ...]
    seed: int
    stream: bool
    usage: bool
    top: int | None
    receipt: bool

    def requests(self, stop_ids: Sequence[int]) -> list[Request]:
        """What the engine is asked for, one request for each text."""
        found = []
        for prompt in self.prompts:
            stream = Stream(self.seed)
            for number in prompt.path:
                stream = stream.split(number)
            found.append(
                Request(
                    prompt=prompt.ids,
                    tokens=self.tokens,
                    stream=stream,
                    sampling=self.sampling,
                    stop=self.stop,
                    stop_ids=stop_ids,
                    top=self.top or 0,
                    logged=self.top is not None,
                    chained=self.receipt,
                )
            )
        return found


def read_chat(values: dict[str, Any], served: Served) -> Asked:
    """What a request for the next message of a conversation asks for.

    Raises:
        RequestError: A field is wrong, missing, unknown or not supported.
    """
    fields = Fields(values)
    served.require(fields.take("model", text, served.id))
    if served.encoder is None:
        raise RequestError(
            f"{served.id} has no chat template, so it was not trained to answer; /v1/completions continues texts", param="model"
        )
    messages = fields.need("messages", array(_message, most=served.context))
    _require_length(sum(len(one["content"]) for one in messages), served, "messages")
    fields.allow("tools", [])
    fields.allow("tool_choice", "none", "auto")
    fields.allow("functions", [])
    fields.allow("function_call", "none", "auto")
    fields.allow("response_format", {"type": "text"})
    fields.allow("modalities", ["text"])
    fields.refuse("audio", "web_search_options", "reasoning_effort", "verbosity")
    fields.ignore("parallel_tool_calls", "prediction")
    tokens = _tokens(fields, served, ("max_completion_tokens", "max_tokens"), served.answer)
    logged = fields.take("logprobs", flag, default=False)
    top = fields.take("top_logprobs", integer(0, 20), 0)
    if top and not logged:
        raise RequestError("top_logprobs must not be given without logprobs true", param="top_logprobs")
    try:
        ids = served.encoder.encode(messages)
    except ValueError as error:
        raise RequestError(str(error), param="messages") from None
    _require_fit(ids, served, "messages")
    turn = sum(one["role"] == "assistant" for one in messages)
    n, rest = _shared(fields, served)
    prompts = [Prompt(ids, (turn, number)) for number in range(n)]
    return Asked(prompts=prompts, n=n, tokens=tokens, top=top if logged else None, **rest)


def read_completion(values: dict[str, Any], served: Served) -> Asked:
    """What a request for continuations of texts asks for.

    Raises:
        RequestError: A field is wrong, missing, unknown or not supported.
    """
    fields = Fields(values)
    served.require(fields.take("model", text, served.id))
    given = _prompts(fields, served)
    fields.allow("suffix", "")
    fields.allow("best_of", 1)
    tokens = _tokens(fields, served, ("max_tokens",), min(16, served.tokens))
    top = fields.take("logprobs", _optional(integer(0, 5)), None)
    echo = fields.take("echo", flag, default=False)
    if echo and top is not None:
        raise RequestError("echo is not supported together with logprobs", param="echo", code="unsupported_parameter")
    n, rest = _shared(fields, served)
    alone = n * len(given) == 1
    prompts = [
        Prompt(ids, () if alone else (place * n + number,), written if echo else "")
        for place, (ids, written) in enumerate(given)
        for number in range(n)
    ]
    return Asked(prompts=prompts, n=n, tokens=tokens, top=top, **rest)


def read_verification(values: dict[str, Any]) -> tuple[Receipt, float, int]:
    """The receipt that a request wants to be verified, which part of its steps, and the seed that chooses them.

    Raises:
        RequestError: A field is wrong, missing or unknown, or the receipt was changed.
    """
    fields = Fields(values)
    content = fields.need("receipt", _object)
    sample = fields.take("sample", _part_of_all, 1.0)
    seed = fields.take("seed", integer(0, 2**64 - 1), secrets.randbits(32))
    fields.end()
    try:
        receipt = read_receipt(json.dumps(content).encode())
    except ReceiptError as error:
        raise RequestError(str(error), param="receipt", code="invalid_receipt") from None
    if not isinstance(receipt, Receipt):
        raise RequestError("receipt must be that of a text, got that of a training run", param="receipt", code="invalid_receipt")
    return receipt, sample, seed


def _part_of_all(value: Any, name: str) -> float:
    if type(value) not in {int, float} or not 0 < value <= 1:
        raise RequestError(f"{name} must be above 0 and at most 1, got {shown(value)}", param=name, code="invalid_value")
    return float(value)


def _object(value: Any, name: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise RequestError(f"{name} must be an object, got {shown(value)}", param=name, code="invalid_value")
    return value


def _shared(fields: Fields, served: Served) -> tuple[int, dict[str, Any]]:
    """n, and the fields that both kinds of requests have; no other may be left."""
    n = fields.take("n", integer(1, CHOICES), 1)
    stream = fields.take("stream", flag, default=False)
    usage = False
    options = fields.take("stream_options", _optional(object_fields), None)
    if options is not None:
        if not stream:
            raise RequestError("stream_options must not be given without stream true", param="stream_options")
        usage = options.take("include_usage", flag, default=False)
        options.ignore("include_obfuscation")
        options.end()
    seed = fields.take("seed", integer(0, 2**64 - 1), 0)
    receipt = fields.take("receipt", flag, default=False)
    if receipt and served.arithmetic == "fast":
        raise RequestError("receipt needs exact or int16 arithmetic, but this server has fast arithmetic", param="receipt")
    if receipt and seed > LARGEST_INTEGER:
        raise RequestError(f"seed must be at most {LARGEST_INTEGER} for a receipt, got {seed}", param="seed")
    sampling = _sampling(fields, served)
    if receipt and (sampling.top_k or 0) > LARGEST_INTEGER:
        raise RequestError(f"top_k must be at most {LARGEST_INTEGER} for a receipt, got {sampling.top_k}", param="top_k")
    none: tuple[str, ...] = ()
    found = {
        "sampling": sampling,
        "stop": fields.take("stop", _stop, none),
        "seed": seed,
        "stream": stream,
        "usage": usage,
        "receipt": receipt,
    }
    fields.ignore("user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention")
    fields.allow("service_tier", "auto", "default")
    fields.allow("store", False)
    fields.end()
    return n, found


def _tokens(fields: Fields, served: Served, names: Sequence[str], default: int) -> int:
    given = {name: fields.take(name, integer(1, served.tokens), 0) for name in names}
    found = {value for value in given.values() if value}
    if len(found) > 1:
        raise RequestError(f"max_tokens must not be given with another {names[0]}, got {given}", param="max_tokens")
    return found.pop() if found else default


def _require_length(characters: int, served: Served, name: str) -> None:
    """Refuse a text that cannot fit before it is encoded, which takes long; a token has a limited number of characters."""
    if characters > served.longest:
        raise RequestError(
            f"{name} must have fewer tokens than the context of {served.context}, got {characters} characters",
            param=name,
            code="context_length_exceeded",
        )


def _require_fit(ids: Sequence[int], served: Served, name: str) -> None:
    if not ids:
        raise RequestError(f"{name} must have at least one token, got none", param=name)
    if len(ids) >= served.context:
        raise RequestError(
            f"{name} must have fewer tokens than the context of {served.context}, got {len(ids)}",
            param=name,
            code="context_length_exceeded",
        )


def _message(value: Any, name: str) -> dict[str, str]:
    fields = object_fields(value, name)
    role = fields.need("role", one_of("system", "developer", "user", "assistant"))
    content = fields.need("content", _content)
    fields.refuse("name", "refusal", "audio", "function_call", "tool_call_id")
    fields.allow("tool_calls", [])
    fields.allow("annotations", [])
    fields.end()
    return {"role": "system" if role == "developer" else role, "content": content}


def _content(value: Any, name: str) -> str:
    """A text, or the texts of its parts one after the other."""
    return text(value, name) if type(value) is not list else "".join(array(_part)(value, name))


def _part(value: Any, name: str) -> str:
    fields = object_fields(value, name)
    fields.need("type", one_of("text"))
    found = fields.need("text", text)
    fields.end()
    return found


def _prompts(fields: Fields, served: Served) -> list[tuple[list[int], str]]:
    """The ids and the text of each prompt."""
    opened = served.opened
    one_id = integer(0, opened.tokenizer.vocabulary_size - 1)

    def encoded(value: Any, name: str) -> tuple[list[int], str]:
        if type(value) is list:
            ids = array(one_id)(value, name)
            written = opened.tokenizer.decode(ids)
        else:
            written = text(value, name)
            _require_length(len(written), served, name)
            try:
                ids = [*opened.start, *opened.tokenizer.encode_ordinary(written).tolist()]
            except ValueError as error:
                raise RequestError(str(error), param=name) from None
        _require_fit(ids, served, name)
        return ids, written

    def all_encoded(value: Any, name: str) -> list[tuple[list[int], str]]:
        several = type(value) is list and value and type(value[0]) is not int
        return array(encoded, most=CHOICES)(value, name) if several else [encoded(value, name)]

    return fields.need("prompt", all_encoded)


def _stop(value: Any, name: str) -> tuple[str, ...]:
    found = [text(value, name)] if type(value) is not list else array(text, most=STOPS)(value, name) if value else []
    if not all(found) or any(len(one) > 1000 for one in found):
        raise RequestError(f"{name} must have strings of 1 to 1000 characters, got {shown(value)}", param=name)
    return tuple(found)


def _sampling(fields: Fields, served: Served) -> Sampling:
    """The model's own, with what is given instead."""
    found = served.opened.sampling
    for option in _NUMBERS:
        found = fields.take(option, _replaced(found, option), found)
    return fields.take("logit_bias", _biased(found, served), found)


def _replaced(sampling: Sampling, option: str) -> Read[Sampling]:
    """Reads one option of some sampling."""

    def read(value: Any, name: str) -> Sampling:
        try:
            return replace(sampling, **{option: value})
        except ValueError as error:
            raise _refused(error, name) from None

    return read


def _biased(sampling: Sampling, served: Served) -> Read[Sampling]:
    """Reads the bias of tokens, whose ids are the names of an object."""
    vocabulary = served.opened.tokenizer.vocabulary_size

    def read(value: Any, name: str) -> Sampling:
        bias: dict[int, float] = {}
        for written, one in _object(value, name).items():
            id_ = int(written) if re.fullmatch("[0-9]{1,10}", written) else vocabulary
            if id_ >= vocabulary or id_ in bias:
                raise RequestError(
                    f"{name} must have the ids of tokens, from 0 to {vocabulary - 1}, each once, as its names, got {shown(written)}",
                    param=name,
                )
            bias[id_] = one
        try:
            return replace(sampling, logit_bias=bias)
        except ValueError as error:
            raise _refused(error, name) from None

    return read


def _refused(error: ValueError, name: str) -> RequestError:
    """The error of an option of `Sampling`, to the client."""
    message = str(error).removeprefix("Sampling: ").replace(", or None", "")  # null is the same as not given
    return RequestError(message, param=name, code="invalid_value")


def _optional(read: Read[T]) -> Read[T | None]:
    """The same, for a field that may be left out."""
    return read
