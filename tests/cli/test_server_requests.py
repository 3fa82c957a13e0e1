"""Requests are read strictly: what is wrong is an error that names its field, and what is right becomes what the engine is asked for."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.cli.serving import HELLO, served

from samebits.cli.server.fields import RequestError, parse_object
from samebits.cli.server.requests import Asked, read_chat, read_completion, read_verification
from samebits.core import Stream
from samebits.lm import Sampling
from samebits.text import CharacterTokenizer

pytestmark = pytest.mark.once

SERVED = served(tokens=100)
NAN, INFINITY = float("nan"), float("inf")


def chat(messages: Any = HELLO, **fields: Any) -> Asked:
    return read_chat({"messages": messages, **fields}, SERVED)


def complete(prompt: Any = "Hello", **fields: Any) -> Asked:
    return read_completion({"prompt": prompt, **fields}, SERVED)


def refused(read: Any, *arguments: Any, **fields: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read(*arguments, **fields)
    error: RequestError = caught.value
    json.dumps(error.body(), allow_nan=False).encode()
    assert 400 <= error.status < 500
    return error


def message(**fields: Any) -> list[dict[str, Any]]:
    return [*HELLO, {"role": "user", "content": "Why?"} | fields]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("messages", None, "is missing"),
        ("messages", "Hi", "must be an array, got 'Hi'"),
        ("messages", [], "must have from 1 to 200 values, got 0"),
        ("messages[0]", ["Hi"], "must be an object, got 'Hi'"),
        ("messages[1].role", message(role="robot"), "must be 'system' or 'developer' or 'user' or 'assistant', got 'robot'"),
        ("messages[1].role", message(role="tool"), "must be"),
        ("messages[1].role", message(role=["user"]), "must be"),
        ("messages[1].role", message(role=None), "is missing"),
        ("messages[1].content", message(content=None), "is missing"),
        ("messages[1].content", message(content=3), "must be a string, got 3"),
        ("messages[1].content", message(content="\ud800"), "must be text that UTF-8 can encode"),
        ("messages[1].content[0].type", message(content=[{"type": "image_url", "image_url": {}}]), "must be 'text'"),
        ("messages[1].content[0].text", message(content=[{"type": "text"}]), "is missing"),
        ("messages[1].content[0].more", message(content=[{"type": "text", "text": "a", "more": 1}]), "is not a field"),
        ("messages[1].name", message(name="Ann"), "is not supported, got 'Ann'"),
        ("messages[1].tool_calls", message(tool_calls=[{}]), "is not supported except as [], got [{}]"),
        ("messages[1].mood", message(mood="bad"), "is not a field of this request"),
        ("messages", HELLO * 201, "must have from 1 to 200 values, got 201"),
        ("messages", message(content="x" * 10**6), "must have fewer tokens than the context of 200, got 1000005 characters"),
        ("messages", message(content="x" * 300), "must have fewer tokens than the context of 200"),
    ],
)
def test_wrong_messages_are_refused_by_name(field: str, value: Any, words: str) -> None:
    error = refused(chat, value)
    assert error.param == field and words in str(error)
    assert (error.code == "context_length_exceeded") == ("context" in words)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("model", 1, "must be a string, got 1"),
        ("temperature", NAN, "must be 0 or from 1e-6 to 1e6, got nan"),
        ("temperature", -1, "must be 0 or"),
        ("temperature", "1", "must be 0 or"),
        ("temperature", True, "must be 0 or"),
        ("temperature", 10**400, "must be 0 or from 1e-6 to 1e6, got an integer of 1329 bits"),
        ("top_p", 0, "must be above 0 and at most 1, got 0"),
        ("top_p", INFINITY, "must be above 0"),
        ("min_p", 2, "must be from 0 to 1"),
        ("top_k", 0, "must be an int of at least 1"),
        ("top_k", 1.0, "must be an int of at least 1"),
        ("presence_penalty", -INFINITY, "must be from -100 to 100"),
        ("frequency_penalty", 101, "must be from -100 to 100"),
        ("repetition_penalty", 0, "must be from 1e-6 to 1e6"),
        ("logit_bias", [1], "must be an object, got [1]"),
        ("logit_bias", {"258": 1}, "from 0 to 257, each once, as its names, got '258'"),
        ("logit_bias", {"-1": 1}, "got '-1'"),
        ("logit_bias", {"1": 1, "01": 1}, "got '01'"),
        ("logit_bias", {"٣": 1}, "got '٣'"),
        ("logit_bias", {"1": "a"}, "must be from -100 to 100, got 'a'"),
        ("logit_bias", {"1": NAN}, "must be from -100 to 100, got nan"),
        ("logit_bias", {"1": 10**400}, "must be from -100 to 100"),
        ("n", 0, "must be an integer from 1 to 128, got 0"),
        ("n", 10**6, "must be an integer from 1 to 128"),
        ("n", 1.0, "must be an integer from 1 to 128"),
        ("n", True, "must be an integer from 1 to 128, got True"),
        ("seed", -1, "must be an integer from 0 to"),
        ("seed", 2**64, "must be an integer from 0 to"),
        ("max_tokens", 0, "must be an integer from 1 to 100, got 0"),
        ("max_tokens", 101, "must be an integer from 1 to 100, got 101"),
        ("stop", "", "must have strings of 1 to 1000 characters"),
        ("stop", 3, "must be a string, got 3"),
        ("stop", "x" * 1001, "must have strings of 1 to 1000 characters"),
        ("stop", ["a"] * 17, "must have from 1 to 16 values, got 17"),
        ("stop[1]", ["a", 1], "must be a string, got 1"),
        ("stream", "yes", "must be true or false, got 'yes'"),
        ("stream_options", {"include_usage": True}, "must not be given without stream true"),
        ("receipt", 1, "must be true or false, got 1"),
        ("store", True, "is not supported except as false, got True"),
        ("service_tier", "flex", 'is not supported except as "auto" or "default"'),
        ("mirostat", 2, "is not a field of this request"),
        ("a\n" + "x" * 100, 2, "is not a field of this request"),
    ],
)
def test_wrong_settings_are_refused_by_name(field: str, value: Any, words: str) -> None:
    for read in (chat, complete):
        error = refused(read, **{field.partition("[")[0]: value})
        assert words in str(error) and str(error.param).startswith(field if field.isprintable() else "'a\\nx")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"stream": True, "stream_options": {"more": 1}}, "stream_options.more"),
        ({"logprobs": 2}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"functions": [{}]}, "functions"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"audio": {}}, "audio"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"suffix": "a"}, "suffix"),
        ({"prompt": "a"}, "prompt"),
    ],
)
def test_wrong_fields_of_conversations_are_refused_by_name(fields: dict[str, Any], param: str) -> None:
    assert refused(chat, **fields).param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": 3}, "prompt"),
        ({"prompt": {}}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt[1]"),
        ({"prompt": [1, "a"]}, "prompt[1]"),
        ({"prompt": [[1], [258]]}, "prompt[1][0]"),
        ({"prompt": [[1], []]}, "prompt[1]"),
        ({"prompt": [1] * 200}, "prompt"),
        ({"prompt": ["a"] * 129}, "prompt"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"logprobs": True}, "logprobs"),
        ({"logprobs": 6}, "logprobs"),
        ({"echo": 1}, "echo"),
        ({"echo": True, "logprobs": 1}, "echo"),
        ({"best_of": 2}, "best_of"),
        ({"suffix": "a"}, "suffix"),
        ({"max_completion_tokens": 5}, "max_completion_tokens"),
        ({"messages": HELLO}, "messages"),
    ],
)
def test_wrong_fields_of_completions_are_refused_by_name(fields: dict[str, Any], param: str) -> None:
    assert refused(complete, **fields).param == param


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "line 1, column 1 is not: Expecting value"),
        (b'{"a": 1', "is not"),
        (b"[]", "must be a JSON object, got []"),
        (b"\xff", "byte 0 is not UTF-8"),
        (b'{"a": 1, "a": 2}', "each name of an object once, got 'a' twice"),
        (b'{"a": ' + b"9" * 5000 + b"}", "whose integers have fewer digits"),
        (b"[" * 200_000, "not nested so deeply"),
    ],
)
def test_a_body_that_is_no_object_is_refused(body: bytes, words: str) -> None:
    assert words in str(refused(parse_object, body))


def test_fields_that_change_nothing_are_accepted_and_null_is_not_given() -> None:
    plain = chat()
    harmless: dict[str, Any] = {"user": "me", "metadata": {"a": NAN}, "store": False, "service_tier": "auto", "tools": []}
    harmless |= {"parallel_tool_calls": True, "response_format": {"type": "text"}, "modalities": ["text"], "stop": []}
    absent = dict.fromkeys(("temperature", "n", "seed", "stop", "tools", "functions", "logit_bias", "stream", "mirostat"))
    assert chat(**harmless) == chat(**absent) == plain
    assert chat([{"role": "user", "content": "Hello", "refusal": None, "tool_calls": None, "annotations": []}]) == plain
    assert complete(suffix="", best_of=1, echo=False, **absent) == complete()


def test_what_is_not_given_is_that_of_the_model_and_of_the_command() -> None:
    asked = chat()
    assert asked.sampling == Sampling(temperature=0.5, top_k=20) and asked.tokens == 100 and asked.seed == 0 and asked.top is None
    assert complete().tokens == 16 and complete().prompts[0].path == ()
    given = chat(temperature=0, top_k=3, logit_bias={"65": -100}, max_completion_tokens=7, stop=["a", "b"], seed=2**64 - 1)
    assert given.sampling == Sampling(temperature=0, top_k=3, logit_bias={65: -100.0}) and given.tokens == 7
    assert given.stop == ("a", "b") and given.seed == 2**64 - 1


def test_parts_of_a_message_are_one_text_and_a_developer_is_the_system() -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    assert chat([{"role": "user", "content": parts}]) == chat()
    roles = [[{"role": role, "content": "Be brief."}, *HELLO] for role in ("system", "developer")]
    assert chat(roles[0]) == chat(roles[1])


def test_names_of_special_tokens_in_texts_are_text() -> None:
    assert 257 not in complete("<e>").prompts[0].ids
    assert chat([{"role": "user", "content": "<e>"}]).prompts[0].ids.count(257) == 1  # the template's own


def test_prompts_are_texts_or_ids_and_each_text_has_a_stream_of_its_own() -> None:
    assert complete([39, 72]).prompts == complete("Hi").prompts == complete(["Hi"]).prompts
    asked = complete(["Hi", "Ho"], n=2, echo=True)
    assert [(one.path, one.echo) for one in asked.prompts] == [((0,), "Hi"), ((1,), "Hi"), ((2,), "Ho"), ((3,), "Ho")]
    assert [one.path for one in complete([[39], [72]]).prompts] == [(0,), (1,)]
    turns = [*HELLO, {"role": "assistant", "content": "Hi"}, *HELLO]
    assert [one.path for one in chat(turns, n=2).prompts] == [(1, 0), (1, 1)]
    first, second = (request.stream.state for request in chat(turns, n=2, seed=5).requests([257]))
    assert first == Stream(5).split(1).split(0).state and second == Stream(5).split(1).split(1).state


def test_a_model_without_a_template_continues_texts_only() -> None:
    plain = served(None)
    error = refused(read_chat, {"messages": HELLO}, plain)
    assert "/v1/completions continues texts" in str(error) and error.param == "model"
    assert read_completion({"prompt": "Hi"}, plain).prompts[0].ids == [39, 72]


def test_what_no_receipt_can_prove_is_refused() -> None:
    assert refused(chat, receipt=True, seed=2**53).param == "seed"
    assert refused(chat, receipt=True, top_k=2**53).param == "top_k"
    error = refused(read_chat, {"messages": HELLO, "receipt": True}, served(arithmetic="fast"))
    assert error.param == "receipt" and "fast arithmetic" in str(error)


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({}, "receipt"),
        ({"receipt": "r.json"}, "receipt"),
        ({"receipt": {"kind": "text"}}, "receipt"),
        ({"receipt": {}, "sample": 0}, "sample"),
        ({"receipt": {}, "sample": NAN}, "sample"),
        ({"receipt": {}, "sample": True}, "sample"),
        ({"receipt": {}, "seed": -1}, "seed"),
        ({"receipt": {}, "model": "small"}, "model"),
    ],
)
def test_wrong_verifications_are_refused_by_name(values: dict[str, Any], param: str) -> None:
    assert refused(read_verification, values).param == param


def test_a_text_that_the_tokenizer_does_not_know_is_the_clients_error() -> None:
    tokenizer = CharacterTokenizer("".join(chr(1000 + i) for i in range(258)))
    strange = replace(SERVED, opened=replace(SERVED.opened, tokenizer=tokenizer))
    assert refused(read_completion, {"prompt": ["\u03e8", "Hi"]}, strange).param == "prompt[1]"


def test_a_template_that_refuses_the_messages_is_the_clients_error() -> None:
    strict = served("{% if messages[0]['role'] != 'user' %}{{ raise_exception('user first') }}{% endif %}")
    error = refused(read_chat, {"messages": [{"role": "system", "content": "a"}]}, strict)
    assert error.param == "messages" and "user first" in str(error)


def test_another_model_is_not_found() -> None:
    error = refused(chat, model="gpt-4o")
    assert error.status == 404 and error.code == "model_not_found" and error.param == "model"
    assert chat(model="small") == chat()
