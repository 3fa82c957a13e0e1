"""`samebits serve` as clients see it: real connections to a real server of the small model."""

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.cli.serving import HELLO, NOW, Serving, served, serving, until
from tests.cli.small_model import pretrained
from typer.testing import CliRunner, Result

from samebits.cli import app as cli_app
from samebits.cli import models
from samebits.cli.chat_templates import model_template
from samebits.cli.server import app, command, engine_thread, log, verifier
from samebits.cli.server.answers import Answer
from samebits.cli.server.app import Access
from samebits.cli.server.log import LOGGER
from samebits.cli.terminal import message_of
from samebits.core import Stream, numerics
from samebits.lm import generate_batch, generate_tokens
from samebits.lm.conversation import Conversation
from samebits.lm.drafts import RepeatedDraft
from samebits.lm.engine import Engine, Written
from samebits.lm.export import export_gguf
from samebits.lm.pretrained import Pretrained
from samebits.lm.receipts import Receipt, TrainingReceipt, read_receipt
from samebits.text import BytePairTokenizer

pytestmark = pytest.mark.once

CHAT, COMPLETE, VERIFY = "/v1/chat/completions", "/v1/completions", "/v1/verify"
SAMPLING = pretrained().sampling


@pytest.fixture(scope="module")
def server() -> Iterator[Serving]:
    with serving(queue=16) as one:
        yield one


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that take a while, so that a text of many tokens takes long."""
    step = Engine.step

    def slowed(self: Engine) -> Any:
        time.sleep(0.01)
        return step(self)

    monkeypatch.setattr(Engine, "step", slowed)


def conversation(seed: int) -> Conversation:
    model = pretrained()
    template = model_template(model, name="small", now=NOW)
    options: dict[str, Any] = {"stop_ids": model.stop_ids, "sampling": model.sampling, "seed": seed, "tokens": 20}
    with numerics("int16"):
        return Conversation(model.model, model.tokenizer, template, **options)


def text_of(chunks: list[Any], index: int = 0) -> str:
    found = [one for chunk in chunks for one in chunk["choices"] if one["index"] == index]
    return "".join(one["text"] if "text" in one else one["delta"].get("content", "") for one in found)


# Answers


@pytest.mark.parametrize("seed", [0, 7])
def test_answers_are_those_of_a_conversation_alone(server: Serving, seed: int) -> None:
    alone, messages = conversation(seed), list(HELLO)
    for question in ("Hello", "Why?"):
        messages[-1] = {"role": "user", "content": question}
        first = "".join(alone.ask(question))
        second = "".join(alone.regenerate())
        answer = server.chat(messages, seed=seed, n=2, max_tokens=20)
        assert [one["message"]["content"] for one in answer["choices"]] == [first, second] and first != second
        assert answer["usage"]["prompt_tokens"] == len(alone.turns[-1].read)
        messages += [{"role": "assistant", "content": second}, {}]


def test_texts_are_those_that_are_generated_alone(server: Serving) -> None:
    model, ids = pretrained(), [40, 72]
    with numerics("int16"):
        found = list(
            generate_tokens(
                model.model, model.tokenizer, ids, tokens=30, stream=Stream(3), sampling=SAMPLING, stop_ids=[257], top=2
            )
        )
        batch = generate_batch(model.model, model.tokenizer, [ids, ids, [41]], tokens=9, stream=Stream(0), sampling=SAMPLING)
    choice = server.complete(ids, max_tokens=30, seed=3, logprobs=2)["choices"][0]
    assert choice["text"] == "".join(one.text for one in found)
    assert choice["logprobs"]["token_logprobs"] == [one.logprob for one in found]
    assert [one["text"] for one in server.complete([ids, ids, [41]], max_tokens=9)["choices"]] == batch


@pytest.mark.parametrize("logprobs", [False, True])
def test_a_stream_has_the_text_of_the_whole_answer(server: Serving, logprobs: bool) -> None:
    fields: dict[str, Any] = {"n": 3, "max_tokens": 25, "seed": 5, "logprobs": logprobs}
    whole = server.chat(**fields)
    chunks = server.events(CHAT, messages=HELLO, stream_options={"include_usage": True}, **fields)
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"] == whole["usage"]
    assert all(one["usage"] is None for one in chunks[:-1])
    assert {one["object"] for one in chunks} == {"chat.completion.chunk"} and len({one["id"] for one in chunks}) == 1
    for choice in whole["choices"]:
        mine = [one for chunk in chunks for one in chunk["choices"] if one["index"] == choice["index"]]
        assert mine[0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
        assert text_of(chunks, choice["index"]) == choice["message"]["content"]
        assert [one["finish_reason"] for one in mine if one["finish_reason"]] == [choice["finish_reason"]]
        logged = [token for one in mine if one["logprobs"] for token in one["logprobs"]["content"]]
        assert logged == (choice["logprobs"]["content"] if logprobs else [])
    plain = server.events(CHAT, messages=HELLO, **fields)
    assert all("usage" not in one for one in plain) and text_of(plain) == whole["choices"][0]["message"]["content"]


def test_a_stream_of_texts_has_the_whole_texts(server: Serving) -> None:
    fields: dict[str, Any] = {"prompt": ["One", "Two"], "max_tokens": 9, "echo": True}
    whole = server.complete(**fields)
    assert [one["text"][:3] for one in whole["choices"]] == ["One", "Two"]
    chunks = server.events(COMPLETE, **fields)
    assert [text_of(chunks, index) for index in (0, 1)] == [one["text"] for one in whole["choices"]]
    fields = {"prompt": "One", "max_tokens": 9, "logprobs": 1}
    logged = server.complete(**fields)["choices"][0]["logprobs"]
    parts = [one["logprobs"] for chunk in server.events(COMPLETE, **fields) for one in chunk["choices"]]
    assert {name: [value for part in parts for value in part[name]] for name in logged} == logged


def test_probabilities_have_the_shapes_of_openai(server: Serving) -> None:
    choice = server.chat(logprobs=True, top_logprobs=2, max_tokens=6)["choices"][0]
    assert set(choice["logprobs"]) == {"content", "refusal"} and len(choice["logprobs"]["content"]) == 6
    for token in choice["logprobs"]["content"]:
        assert set(token) == {"token", "logprob", "bytes", "top_logprobs"} and len(token["top_logprobs"]) == 2
        assert all(set(one) == {"token", "logprob", "bytes"} and one["logprob"] <= 0 for one in token["top_logprobs"])
    written = bytes(byte for token in choice["logprobs"]["content"] for byte in token["bytes"])
    assert written.decode("utf-8", "replace") == choice["message"]["content"]
    logprobs = server.complete("Hi", logprobs=0, max_tokens=4)["choices"][0]["logprobs"]
    assert [list(one) for one in logprobs["top_logprobs"]] == [[token] for token in logprobs["tokens"]]
    assert logprobs["text_offset"] == [0, 1, 2, 3]


def test_a_text_ends_at_a_stop_string_at_a_stop_id_or_at_its_length(server: Serving) -> None:
    whole = server.complete("Hello", max_tokens=30)["choices"][0]
    assert whole["finish_reason"] == "length"
    stop = whole["text"][4:6]
    for given in (stop, ["nowhere", stop]):
        cut = server.complete("Hello", max_tokens=30, stop=given)["choices"][0]
        assert cut["text"] == whole["text"][: whole["text"].index(stop)] and cut["finish_reason"] == "stop"
    ended = server.chat(logit_bias={"257": 100}, logprobs=True)
    assert ended["choices"][0]["message"]["content"] == "" and ended["choices"][0]["finish_reason"] == "stop"
    assert ended["choices"][0]["logprobs"] is None and ended["usage"]["completion_tokens"] == 1
    full = server.complete([40] * 195, max_tokens=100)
    assert full["choices"][0]["finish_reason"] == "length" and full["usage"]["total_tokens"] <= 200


def test_what_is_asked_together_has_the_bits_of_what_is_asked_alone(server: Serving) -> None:
    alone = [server.complete("Hello", seed=seed, max_tokens=20)["choices"][0]["text"] for seed in range(6)]
    connections = [server.connect() for _ in alone]
    for seed, one in enumerate(connections):
        one.request("POST", COMPLETE, json.dumps({"prompt": "Hello", "seed": seed, "max_tokens": 20}))
    assert [json.loads(one.getresponse().read())["choices"][0]["text"] for one in connections] == alone
    for one in connections:
        one.close()


def test_a_fingerprint_stands_for_the_model_and_the_arithmetic(server: Serving) -> None:
    fingerprints = {served(arithmetic=mode).fingerprint for mode in ("exact", "int16")}
    assert len(fingerprints) == 2 and server.chat()["system_fingerprint"] in fingerprints
    assert server.chat()["id"] != server.chat()["id"]


def test_tokens_that_are_guessed_change_nothing(server: Serving) -> None:
    fields: dict[str, Any] = {"prompt": "abcabcabcabcabc", "max_tokens": 60, "temperature": 0, "logprobs": 1}
    with serving(draft=RepeatedDraft()) as one:
        assert one.complete(**fields)["choices"] == server.complete(**fields)["choices"]
        metrics = one.ask("/metrics").body.decode()
        assert float(re.findall("samebits_accepted_tokens_total ([0-9.]+)", metrics)[0]) > 5


def test_a_prompt_that_was_read_before_is_not_read_again_and_changes_nothing(server: Serving, tmp_path: Path) -> None:
    expected = server.chat(max_tokens=8, n=2)
    for cached in (0, 23):  # the second server finds what the first wrote
        with serving(prefixes=2**20, folder=tmp_path / "prefixes") as one:
            answer = one.chat(max_tokens=8, n=2)
            assert answer["choices"] == expected["choices"]
            assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == cached
            assert one.chat()["usage"]["prompt_tokens_details"]["cached_tokens"] == 23


def test_a_folder_that_cannot_be_made_is_an_error_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), serving(prefixes=2**20, folder=tmp_path / "file"):
        pass


# Receipts


def test_a_receipt_of_an_answer_is_verified_and_a_changed_one_is_refused(server: Serving) -> None:
    receipt = server.chat(receipt=True, n=2, max_tokens=12, seed=9)["receipt"]
    assert [one["stream"] for one in receipt["texts"]] == [[9, 0, 0], [9, 0, 1]]
    assert server.events(CHAT, messages=HELLO, receipt=True, n=2, max_tokens=12, seed=9)[-1]["receipt"] == receipt
    found = server.ask(VERIFY, {"receipt": receipt}).json
    assert found == {"ok": True, "digest": receipt["digest"], "checked": 24, "steps": 24, "difference": None}
    assert server.ask(VERIFY, {"receipt": receipt, "sample": 0.25, "seed": 1}).json["checked"] == 6
    receipt["texts"][1]["tokens"][3] ^= 1
    refused = server.ask(VERIFY, {"receipt": receipt})
    assert refused.status == 400 and "texts was changed" in refused.json["error"]["message"]
    assert refused.json["error"]["param"] == "receipt" and refused.json["error"]["code"] == "invalid_receipt"
    training = TrainingReceipt(config="", data="", tokenizer="", checkpoints=[])
    refused = server.ask(VERIFY, {"receipt": json.loads(training.to_json())})
    assert refused.status == 400 and "got that of a training run" in refused.json["error"]["message"]


def test_a_receipt_of_other_tokens_says_where_they_differ(server: Serving) -> None:
    receipt = read_receipt(json.dumps(server.complete("Hello", receipt=True)["receipt"]).encode())
    assert (
        isinstance(receipt, Receipt)
        and receipt.texts[0].stream == [0]
        and receipt.source == "small"
        and receipt.sampling == SAMPLING
    )
    receipt.texts[0].tokens[3] ^= 1
    found = server.ask(VERIFY, {"receipt": json.loads(receipt.to_json())})
    assert found.status == 200 and found.json["ok"] is False
    assert found.json["difference"]["field"].startswith("texts[0].") and "[3]" in found.json["difference"]["field"]


def test_verifications_wait_for_each_other_and_end_in_time(server: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    receipt = server.complete("Hello", receipt=True)["receipt"]
    with serving(timeout=1) as one:
        began = threading.Event()

        def stuck(*_: Any, progress: Any, **__: Any) -> None:
            began.set()
            while True:
                progress(0, 1)
                time.sleep(0.01)

        monkeypatch.setattr(verifier, "verify_text", stuck)
        assert one.ask(VERIFY, {"receipt": receipt}).json["error"]["code"] == "timeout" and began.is_set()
        monkeypatch.setattr(verifier, "verify_text", mock.Mock(side_effect=FloatingPointError("a logit is NaN")))
        assert one.ask(VERIFY, {"receipt": receipt}).json["error"]["message"] == "a logit is NaN"
        monkeypatch.setattr(verifier, "WAITING", 0)
        assert one.ask(VERIFY, {"receipt": receipt}).status == 429


# Addresses


def test_the_models_are_one(server: Serving) -> None:
    listed = server.ask("/v1/models").json
    assert listed["object"] == "list" and listed["data"] == [server.ask("/v1/models/small").json]
    assert listed["data"][0]["id"] == "small" and listed["data"][0]["meta"]["digest"] == pretrained().digest
    assert server.ask("/v1/models/other").json["error"]["code"] == "model_not_found"
    assert server.ask("/health").json == {"status": "ok"}


def test_the_page_runs_its_own_script_alone(server: Serving) -> None:
    page = server.ask("/")
    assert page.status == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(one.strip().split(" ", 1) for one in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'" and policy["connect-src"] == "'self'"
    assert policy["script-src"].startswith("'sha256-") and "unsafe" not in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/nowhere", "GET", 404), (CHAT, "GET", 405), ("/v1/models", "DELETE", 405)]
)
def test_errors_of_addresses_have_the_shape_of_openai(server: Serving, path: str, method: str, status: int) -> None:
    answered = server.ask(path, method=method)
    assert answered.status == status and set(answered.json["error"]) == {"message", "type", "param", "code"}


def test_errors_of_requests_name_the_field(server: Serving) -> None:
    answered = server.ask(CHAT, {"messages": [{"role": "robot"}]})
    assert answered.status == 400 and answered.json["error"]["param"] == "messages[0].role"
    assert answered.json["error"]["type"] == "invalid_request_error"
    assert server.ask(CHAT, b'{"messages').json["error"]["code"] == "invalid_json"


def test_metrics_count_requests_and_tokens(server: Serving) -> None:
    def values() -> dict[str, float]:
        text = server.ask("/metrics").body.decode()
        samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
        return {one.name + "".join(f" {value}" for value in one.labels.values()): one.value for one in samples}

    before = values()
    server.complete("Hello", max_tokens=7)
    server.ask("/secret/path")
    after = values()
    gained = {name: value - before.get(name, 0) for name, value in after.items()}
    assert gained["samebits_prompt_tokens_total"] == 5 and gained["samebits_written_tokens_total"] == 7
    assert gained[f"samebits_requests_total {COMPLETE} 200"] == gained["samebits_requests_total other 404"] == 1
    assert gained["samebits_first_token_seconds_count"] == 1 and gained["samebits_token_seconds_count"] == 6
    assert after["samebits_running_texts"] == after["samebits_waiting_texts"] == 0


def test_errors_are_logged_with_their_tracebacks() -> None:
    error = MemoryError("no \x1b[2Jmemory")
    record = logging.LogRecord("x", logging.ERROR, "", 0, "the engine failed", (), (MemoryError, error, None))
    assert "no \\x1b[2Jmemory" in log._Text().format(record)
    found = json.loads(log._Json().format(record))
    assert found["level"] == "error" and "MemoryError" in found["traceback"]


def test_a_path_is_in_one_line_of_the_log() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "request", (), None)
    record.fields = {"path": "/a\n12:00:00 request path=/b"}
    assert log._Text().format(record).endswith("request path=/a\\n12:00:00 request path=/b")


def test_a_record_of_a_request_has_counts_and_no_text(server: Serving, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, LOGGER.name):
        answered = [
            server.ask(CHAT, {"messages": HELLO, "max_tokens": 3}),
            server.ask(COMPLETE, {"prompt": "Hello", "max_tokens": 4, "stream": True}),
        ]
        whole, stream = (record_of(caplog, id=one.headers["x-request-id"]) for one in answered)
    assert set(whole) == {"method", "path", "status", "seconds", "id", "prompt_tokens", "completion_tokens", "cached_tokens"}
    assert (whole["path"], whole["status"], whole["prompt_tokens"], whole["completion_tokens"]) == (CHAT, 200, 24, 3)
    assert (stream["path"], stream["status"], stream["prompt_tokens"], stream["completion_tokens"]) == (COMPLETE, 200, 5, 4)


def test_a_record_of_an_error_has_its_code(server: Serving, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, LOGGER.name):
        refused = server.ask(CHAT, {"messages": HELLO, "seeed": 3})
        record = record_of(caplog, id=refused.headers["x-request-id"])
    assert (record["status"], record["code"]) == (400, "unknown_parameter")


def record_of(caplog: pytest.LogCaptureFixture, **values: Any) -> dict[str, Any]:
    """The fields of the first record with some values, which may come after the answer."""
    found: list[dict[str, Any]] = []

    def arrived() -> bool:
        records = [record.__dict__["fields"] for record in list(caplog.records)]
        found.extend(one for one in records if values.items() <= one.items())
        return bool(found)

    until(arrived)
    return found[0]


# Limits


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_frees_its_slot(stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    with serving(slots=1, queue=1) as one, caplog.at_level(logging.INFO, LOGGER.name):
        connection = one.connect()
        fields = {"prompt": "Hello", "max_tokens": 150, "stream": stream, "logit_bias": {"257": -100}}
        connection.request("POST", COMPLETE, json.dumps(fields))
        if stream:
            connection.getresponse().read(10)
        else:
            until(lambda: one.thread.load)
        connection.close()
        one.settle()
        assert one.complete("Hello", max_tokens=1)["usage"]["completion_tokens"] == 1
    record = record_of(caplog, **({"end": "disconnected", "status": 200} if stream else {"status": 499}))
    assert record["completion_tokens"] < 150


@pytest.mark.usefixtures("slow")
def test_requests_beyond_the_queue_are_told_to_come_back() -> None:
    with serving(slots=1, queue=1) as one:
        connections = [one.connect() for _ in range(2)]
        for connection in connections:
            connection.request("POST", COMPLETE, json.dumps({"prompt": "Hello", "max_tokens": 30}))
        until(lambda: one.thread.load == 2)
        answered = one.ask(COMPLETE, {"prompt": "Hello"})
        assert answered.status == 429 and answered.headers["retry-after"] == "1"
        assert answered.json["error"]["code"] == "rate_limit_exceeded"
        assert [connection.getresponse().status for connection in connections] == [200, 200]
        for connection in connections:
            connection.close()
        answered = one.ask(COMPLETE, {"prompt": "Hello", "n": 3})
        assert answered.status == 400 and answered.json["error"]["param"] == "n"


@pytest.mark.usefixtures("slow")
def test_an_answer_that_takes_too_long_is_ended() -> None:
    with serving(slots=1, timeout=0.5) as one:
        answered = one.ask(COMPLETE, {"prompt": "Hello", "max_tokens": 150})
        assert answered.status == 504 and answered.json["error"]["code"] == "timeout" and one.thread.load == 0
        lines = one.ask(COMPLETE, {"prompt": "Hello", "max_tokens": 150, "stream": True}).body.decode().strip().split("\n\n")
        assert len(lines) > 2 and json.loads(lines[-1].removeprefix("data: "))["error"]["type"] == "server_error"
        assert one.ask(COMPLETE, {"prompt": "Hello", "max_tokens": 2}).status == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_long_is_refused(server: Serving, monkeypatch: pytest.MonkeyPatch, chunked: bool) -> None:
    monkeypatch.setattr(app, "BODY", 1000)
    connection = server.connect()
    body = json.dumps({"prompt": "x" * 2000}).encode()
    connection.request("POST", COMPLETE, iter([body[:900], body[900:]]) if chunked else body, encode_chunked=chunked)
    answer = connection.getresponse()
    assert answer.status == 413 and json.loads(answer.read())["error"]["code"] == "body_too_large"
    connection.close()


def test_a_body_that_does_not_arrive_is_not_waited_for(server: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "ARRIVAL", 0.1)
    connection = server.connect()
    begin_post(connection)
    assert connection.getresponse().status == 408
    connection.close()


def test_bodies_beyond_some_that_arrive_are_told_to_come_back(server: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "READ", 1)
    connection = server.connect()
    begin_post(connection)
    until(lambda: server.ask(COMPLETE, {"prompt": "Hello", "max_tokens": 1}).status == 429)
    connection.close()
    until(lambda: server.ask(COMPLETE, {"prompt": "Hello", "max_tokens": 1}).status == 200)


@pytest.mark.parametrize(
    "sent", [b"", b"GET /health HTTP/1.1\r\nHost: lo", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he"]
)
def test_a_connection_without_a_whole_request_is_closed(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "QUIET", 0.5)
    with serving() as one, socket.create_connection(("127.0.0.1", one.port), timeout=10) as connection:
        connection.sendall(sent)
        received = b"".join(iter(lambda: received_by(connection), b""))
        assert received.count(b"200 OK") == sent.count(b"\r\n\r\n")


def test_connections_beyond_the_largest_number_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "CONNECTIONS", 1)
    with serving() as one, socket.create_connection(("127.0.0.1", one.port), timeout=10) as first:
        with socket.create_connection(("127.0.0.1", one.port), timeout=10) as second:
            assert received_by(second) == b""
        first.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert received_by(first).startswith(b"HTTP/1.1 200 OK")


def received_by(connection: socket.socket) -> bytes:
    """Some bytes; none when the connection was closed."""
    try:
        return connection.recv(1000)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("busy", [0.0, 1.5])
def test_a_client_that_does_not_read_is_not_waited_for(
    busy: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made, chunks = command.Connection.connection_made, Answer.chunks

    def late(self: Answer, pieces: Any) -> Any:  # then all the rest is sent at once
        time.sleep(busy if self not in seen else 0)
        seen.append(self)
        return chunks(self, pieces)

    seen: list[Answer] = []
    monkeypatch.setattr(Answer, "chunks", late)

    def small(self: command.Connection, transport: Any) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        made(self, transport)

    monkeypatch.setattr(command.Connection, "connection_made", small)
    monkeypatch.setattr(command, "QUIET", 0.2)
    with serving(slots=8) as one, caplog.at_level(logging.INFO, LOGGER.name), socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", one.port))
        fields = {"prompt": "Hello", "n": 12, "max_tokens": 190, "logprobs": 5, "stream": True, "logit_bias": {"257": -100}}
        body = json.dumps(fields).encode()
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        record_of(caplog, path=COMPLETE, end="disconnected")
        one.settle()


def begin_post(connection: HTTPConnection, **headers: str) -> None:
    """Send the beginning of a request."""
    connection.putrequest("POST", COMPLETE)
    for name, value in {"Content-Length": "100", **headers}.items():
        connection.putheader(name, value)
    connection.endheaders(b"{")


def test_an_exception_of_the_engine_ends_its_requests_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    step, failing = Engine.step, [True]

    def failed(self: Engine) -> Any:
        if failing.pop() if failing else False:
            raise MemoryError("no memory")
        return step(self)

    monkeypatch.setattr(Engine, "step", failed)
    monkeypatch.setattr(engine_thread, "_PAUSE", 0)
    with serving() as one:
        answered = one.ask(COMPLETE, {"prompt": "Hello"})
        assert answered.status == 500 and answered.json["error"]["type"] == "server_error" and one.thread.load == 0
        assert one.ask(COMPLETE, {"prompt": "Hello"}).status == 200
    assert "no memory" in caplog.text


def test_without_another_engine_requests_fail_and_the_server_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_thread, "_PAUSE", 0)
    with serving() as one:
        with monkeypatch.context() as patch:
            patch.setattr(Engine, "step", mock.Mock(side_effect=MemoryError))
            patch.setattr(command, "Engine", mock.Mock(side_effect=OSError("no folder")))
            for _ in range(3):
                assert one.ask(COMPLETE, {"prompt": "Hello"}).status == 500
        until(lambda: one.ask(COMPLETE, {"prompt": "Hello"}).status == 200 and one.thread.load == 0)
    with serving() as one:
        monkeypatch.setattr(Engine, "step", mock.Mock(side_effect=MemoryError))
        monkeypatch.setattr(command, "Engine", mock.Mock(side_effect=OSError("no folder")))
        assert one.ask(COMPLETE, {"prompt": "Hello"}).status == 500


def test_logits_without_a_value_end_the_request_that_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Engine.step

    def failed(self: Engine) -> Any:
        return [Written(0, None, "error", "a logit is NaN") if one.number == 0 else one for one in step(self)]

    monkeypatch.setattr(Engine, "step", failed)
    with serving() as one:
        answered = one.ask(COMPLETE, {"prompt": "Hello", "n": 3})
        assert answered.status == 500 and answered.json["error"]["message"] == "a logit is NaN" and one.thread.load == 0
        assert one.ask(COMPLETE, {"prompt": "Hello"}).status == 200


def test_an_exception_outside_the_engine_ends_its_request_alone(
    server: Serving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(app, "Answer", mock.Mock(side_effect=KeyError("secret")))
    answered = server.ask(COMPLETE, {"prompt": "Hello"})
    assert answered.status == 500 and answered.json["error"]["type"] == "server_error" and b"secret" not in answered.body
    monkeypatch.undo()
    server.settle()
    assert server.ask(COMPLETE, {"prompt": "Hello"}).status == 200
    assert "KeyError: 'secret'" in caplog.text


def test_what_the_engine_refuses_is_the_clients_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_thread, "_PAUSE", 0)
    monkeypatch.setattr(Engine, "add", mock.Mock(side_effect=[KeyError("a"), ValueError("Engine.add: no")]))
    with serving() as one:
        assert one.ask(COMPLETE, {"prompt": "Hello"}).status == 500
        answered = one.ask(COMPLETE, {"prompt": "Hello"})
        assert answered.status == 400 and answered.json["error"]["message"] == "Engine.add: no" and one.thread.load == 0


# Access


def test_an_api_key_is_asked_for() -> None:
    with serving(access=Access(key="sécretà")) as one:
        for path in ("/v1/models", "/metrics", "/nowhere"):
            answered = one.ask(path)
            assert answered.status == 401 and answered.headers["www-authenticate"] == "Bearer"
            assert answered.json["error"]["code"] == "invalid_api_key"
        for wrong in ("Bearer", "Bearer ", "Basic sécretà", "Bearer secret"):
            assert one.ask("/v1/models", Authorization=wrong).status == 401
        sent = "sécretà".encode().decode("latin-1")  # whose last character is a space
        assert one.ask("/v1/models", Authorization=f"Bearer {sent}").status == 200
        assert one.ask("/").status == one.ask("/health").status == 200


def test_other_hosts_and_origins_are_refused() -> None:
    with serving(access=Access(hosts=("127.0.0.1", "localhost"), origins=("https://friend.example",))) as one:
        for host in ("evil.example", "localhost.evil.example:80", "", "[::1]"):
            answered = one.ask("/health", Host=host)
            assert answered.status == 400 and answered.json["error"]["code"] == "host_not_allowed"
        assert one.ask("/health", Host="localhost:1234").status == one.ask("/health", Host="LOCALHOST").status == 200
        assert one.ask(COMPLETE, {"prompt": "Hi"}, Origin="https://evil.example").status == 403
        assert one.ask(COMPLETE, {"prompt": "Hi"}, Origin="null").status == 403
        same = one.ask(COMPLETE, {"prompt": "Hi"}, Origin=f"http://127.0.0.1:{one.port}")
        assert same.status == 200 and "access-control-allow-origin" not in same.headers
        friend = one.ask(COMPLETE, {"prompt": "Hi"}, Origin="https://friend.example")
        assert friend.status == 200 and friend.headers["access-control-allow-origin"] == "https://friend.example"
        preflight = {"Origin": "https://friend.example", "Access_Control_Request_Method": "POST"}
        asked = one.ask(COMPLETE, method="OPTIONS", **preflight, Access_Control_Request_Headers="authorization,content-type")
        assert asked.status == 200 and "authorization" in asked.headers["access-control-allow-headers"].lower()


def test_all_origins_may_be_allowed() -> None:
    with serving(access=Access(origins=("*",))) as one:
        answered = one.ask("/v1/models", Origin="https://other.example")
        assert answered.status == 200 and answered.headers["access-control-allow-origin"] == "*"


# The command


def run(monkeypatch: pytest.MonkeyPatch, *options: str) -> Result:
    """`samebits serve` with a server that ends at once; its lines are in standard error."""
    monkeypatch.setattr(models, "load_pretrained", lambda path: pretrained() if path.name == "small.gguf" else other())
    monkeypatch.setattr(command.Server, "run", mock.Mock())
    return CliRunner().invoke(cli_app.app, ["serve", "small.gguf", "--port", "0", *options])


def other() -> Pretrained:
    """A model with another tokenizer."""
    return replace(pretrained(), tokenizer=BytePairTokenizer([], ["<e>", "<s>"]))


def test_the_command_reports_where_it_serves_and_who_may_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(monkeypatch, "--log-format", "json")
    first, last = (json.loads(line) for line in done.stderr.splitlines())
    assert done.exit_code == 0 and last["message"] == "ended" and first["digest"] == pretrained().digest
    assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+", first["url"]) and first["level"] == "info"
    assert "everyone in the network may use this server" in run(monkeypatch, "--host", "0.0.0.0").stderr  # noqa: S104 - not a server
    assert "everyone" not in run(monkeypatch, "--host", "0.0.0.0", "--api-key", "key").stderr  # noqa: S104 - not a server
    assert re.match(r"\d\d:\d\d:\d\d serving url=http", run(monkeypatch, "--log-format", "text").stderr)
    assert run(monkeypatch, "--numerics", "fast").exit_code == 0
    assert run(monkeypatch, "--draft", "small.gguf", "--prefix-cache", "0").exit_code == 0


def test_what_cannot_be_served_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = run(monkeypatch, "--draft", "other.gguf")
    assert refused.exit_code == 2 and "--draft must be a model with the tokenizer of small, got other.gguf" in refused.stderr
    for wrong in ("https://a.example/", "a.example", "null"):
        refused = run(monkeypatch, "--cors", wrong)
        assert (
            refused.exit_code == 2
            and f"--cors must be an origin such as https://example.org, without a path, or *, got {wrong}" in refused.stderr
        )
    assert run(monkeypatch, "--cors", "*", "--cors", "http://localhost:3000").exit_code == 0
    assert "--timeout must be a finite number" in run(monkeypatch, "--timeout", "inf").stderr
    assert "--api-key must not be empty" in run(monkeypatch, "--api-key", "").stderr
    assert "--prefix-folder needs a" in run(monkeypatch, "--prefix-folder", "kept", "--prefix-cache", "0").stderr
    assert "--no-speculate forbids" in run(monkeypatch, "--draft", "small.gguf", "--no-speculate").stderr
    for option in ("--draft", "--prefix-folder"):
        refused = run(monkeypatch, option, "kept", "--numerics", "fast")
        assert refused.exit_code == 2 and "need exact or int16 arithmetic, got fast" in refused.stderr
    with socket.create_server(("127.0.0.1", 0)) as listener:
        used = run(monkeypatch, "--port", str(listener.getsockname()[1]))
    assert used.exit_code == 2 and "; --host and --port name another address" in used.stderr


def test_an_empty_variable_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMEBITS_API_KEY", "")
    assert run(monkeypatch).exit_code == 0


def test_a_missing_extra_is_named() -> None:
    for name in ("starlette", "uvicorn", "prometheus_client"):
        assert 'pip install "samebits[serve]"' in str(message_of(ModuleNotFoundError(name=name)))


@contextmanager
def process(folder: Path) -> Iterator[tuple[subprocess.Popen[str], HTTPConnection]]:
    """`samebits serve` in a process of its own, and a connection to it."""
    export_gguf(pretrained(), folder / "small.gguf")
    arguments = [sys.executable, "-m", "samebits.cli", "serve", str(folder / "small.gguf"), "--port", "0", "--log-format", "json"]
    environment = {**os.environ, "SAMEBITS_API_KEY": "key"}
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stderr is not None
        ready = json.loads(running.stderr.readline())
        assert ready["message"] == "serving" and ready["model"] == "small" and ready["url"].startswith("http://127.0.0.1:")
        connection = HTTPConnection(ready["url"].removeprefix("http://"), timeout=20)
        try:
            yield running, connection
        finally:
            connection.close()
            running.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_sigterm_lets_answers_end_and_nothing_begin(tmp_path: Path) -> None:
    with process(tmp_path) as (running, connection):
        body = json.dumps({"prompt": "Hello", "max_tokens": 190, "stream": True, "logit_bias": {"257": -100}})
        connection.request("POST", COMPLETE, body, {"Authorization": "Bearer key"})
        answer = connection.getresponse()
        assert answer.read(6) == b"data: "
        running.send_signal(signal.SIGTERM)
        assert answer.read().endswith(b"data: [DONE]\n\n")
        records = [json.loads(line) for line in running.stderr or ()]
        assert running.wait(20) == 0
    assert [one["message"] for one in records[-2:]] == ["request", "ended"] and records[-2]["completion_tokens"] == 190


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_a_second_sigterm_waits_for_no_answer(tmp_path: Path) -> None:
    with process(tmp_path) as (running, connection):
        begin_post(connection, Expect="100-continue", Authorization="Bearer key")
        assert connection.sock.recv(100).startswith(b"HTTP/1.1 100")  # it waits for the rest
        running.send_signal(signal.SIGTERM)
        ending = json.loads(running.stderr.readline()) if running.stderr else {}
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(0.3)
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0
    assert ending["message"].startswith("ending when all is answered") and ending["requests"] == 1
