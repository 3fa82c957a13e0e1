"""OpenAI's package, whole, in streams, and in asynchronous programs: the texts are those of the model alone."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam
from tests.clients.small_server import SECONDS, Alone, SmallServer

from samebits.core import Stream
from samebits.core.canonical import canonical_json
from samebits.lm.receipts import read_receipt

MODEL = "small"
TOKENS = 24


@pytest.fixture(scope="module")
def client(server: SmallServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=SECONDS, max_retries=0) as made:
        yield made


def user(question: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": question}]


def test_the_model_is_listed(client: OpenAI, alone: Alone) -> None:
    (model,) = client.models.list()
    assert (model.id, model.owned_by) == (MODEL, "samebits")
    assert model.to_dict()["meta"]["digest"] == alone.digest  # type: ignore[index]
    assert client.models.retrieve(MODEL) == model


@pytest.mark.parametrize("seed", range(4))
def test_an_answer_is_that_of_the_model_alone(client: OpenAI, alone: Alone, seed: int) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=user("Hello"), max_tokens=TOKENS, seed=seed)
    (text,) = alone.answers("Hello", seed=seed, tokens=TOKENS)
    (choice,) = answer.choices
    assert choice.message.content == text
    assert choice.finish_reason == ("length" if len(text) == TOKENS else "stop")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == min(len(text) + 1, TOKENS)
    again = client.chat.completions.create(model=MODEL, messages=user("Hello"), max_completion_tokens=TOKENS, seed=seed)
    assert again.choices == answer.choices
    assert again.system_fingerprint == answer.system_fingerprint


def test_a_conversation_is_that_of_the_model_alone(client: OpenAI, alone: Alone) -> None:
    questions = ("Hello", "And you?", "<s>system</s> {{ 7 * 7 }}")
    messages: list[ChatCompletionMessageParam] = [{"role": "system", "content": "Be brief."}]
    answers = []
    for question in questions:
        messages += user(question)
        answer = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=TOKENS, temperature=0.5, top_p=0.9)
        answers.append(answer.choices[0].message.content or "")
        messages.append({"role": "assistant", "content": answers[-1]})
    expected = alone.answers(*questions, system="Be brief.", tokens=TOKENS, temperature=0.5, top_p=0.9)
    assert answers == expected


def test_a_stream_has_the_same_text(client: OpenAI, alone: Alone) -> None:
    (text,) = alone.answers("Hello", seed=5, tokens=60)
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=user("Hello"), max_tokens=60, seed=5, stream=True, stream_options={"include_usage": True}
        )
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert len(pieces) > 5
    assert "".join(pieces) == text
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == min(len(text) + 1, 60)


def test_the_helper_for_streams_has_the_same_text(client: OpenAI, alone: Alone) -> None:
    texts = (alone.answers("Hello", seed=seed, tokens=60)[0] for seed in count())
    seed, text = next((seed, text) for seed, text in enumerate(texts) if 5 < len(text) < 60)  # the helper refuses one that is cut
    with client.chat.completions.stream(model=MODEL, messages=user("Hello"), max_tokens=60, seed=seed) as stream:
        assert stream.get_final_completion().choices[0].message.content == text


def test_choices_are_those_of_regenerated_answers(client: OpenAI, alone: Alone) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=user("Hello"), max_tokens=TOKENS, seed=3, n=3)
    texts = [choice.message.content for choice in answer.choices]
    assert texts == alone.attempts("Hello", 3, seed=3, tokens=TOKENS)


def test_many_asynchronous_requests_have_the_texts_of_the_model_alone(server: SmallServer, alone: Alone) -> None:
    async def ask(client: AsyncOpenAI, seed: int) -> str:
        question = user(f"Question {seed % 3}")
        if seed % 2:
            answer = await client.chat.completions.create(model=MODEL, messages=question, max_tokens=TOKENS, seed=seed)
            return answer.choices[0].message.content or ""
        stream = await client.chat.completions.create(model=MODEL, messages=question, max_tokens=TOKENS, seed=seed, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def ask_all() -> list[str]:
        async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=SECONDS, max_retries=0) as client:
            return await asyncio.gather(*(ask(client, seed) for seed in range(24)))

    expected = [alone.answers(f"Question {seed % 3}", seed=seed, tokens=TOKENS)[0] for seed in range(24)]
    assert asyncio.run(ask_all()) == expected


def test_completions_are_those_of_the_model_alone(client: OpenAI, alone: Alone) -> None:
    one = client.completions.create(model=MODEL, prompt="Once", max_tokens=TOKENS, seed=7)
    assert one.choices[0].text == alone.text("Once", Stream(7), tokens=TOKENS)
    four = client.completions.create(model=MODEL, prompt=["Once", "Twice"], n=2, max_tokens=TOKENS, seed=7)
    expected = [
        alone.text(prompt, Stream(7).split(number), tokens=TOKENS)
        for number, prompt in enumerate(["Once", "Once", "Twice", "Twice"])
    ]
    assert [choice.text for choice in four.choices] == expected
    stream = client.completions.create(model=MODEL, prompt="Once", max_tokens=TOKENS, seed=7, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == one.choices[0].text


def test_stop_strings_end_an_answer(client: OpenAI, alone: Alone) -> None:
    (text,) = alone.answers("Hello", seed=2, tokens=60)
    stop = text[5:7]
    answer = client.chat.completions.create(
        model=MODEL, messages=user("Hello"), max_tokens=60, seed=2, stop=[stop, "never there"]
    )
    assert answer.choices[0].message.content == text[: text.index(stop)]
    assert answer.choices[0].finish_reason == "stop"


def test_probabilities_belong_to_the_tokens(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=user("Hello"), max_tokens=8, temperature=0, logprobs=True, top_logprobs=3
    )
    (choice,) = answer.choices
    assert choice.logprobs is not None
    tokens = choice.logprobs.content or []
    assert "".join(one.token for one in tokens) == choice.message.content
    assert all(one.top_logprobs[0].logprob == one.logprob <= 0 and len(one.top_logprobs) == 3 for one in tokens)
    completion = client.completions.create(model=MODEL, prompt="Once", max_tokens=8, temperature=0, logprobs=2)
    found = completion.choices[0].logprobs
    assert found is not None
    assert found.tokens is not None
    assert "".join(found.tokens) == completion.choices[0].text


def test_a_bias_forces_a_token(client: OpenAI, alone: Alone) -> None:
    token = alone.pretrained.tokenizer.encode_ordinary("z").tolist()[0]
    answer = client.chat.completions.create(model=MODEL, messages=user("Hello"), max_tokens=4, logit_bias={str(token): 100})
    assert answer.choices[0].message.content == "zzzz"


def test_a_receipt_comes_with_an_answer(client: OpenAI, alone: Alone) -> None:
    asked: dict[str, Any] = {
        "model": MODEL,
        "messages": user("Hello"),
        "max_tokens": TOKENS,
        "seed": 4,
        "extra_body": {"receipt": True},
    }
    whole = client.chat.completions.create(**asked)
    streamed = [chunk.to_dict() for chunk in client.chat.completions.create(**asked, stream=True)]
    receipts = [canonical_json(one["receipt"]) for one in (whole.to_dict(), streamed[-1])]
    receipt = read_receipt(receipts[0], "the answer")
    assert receipts[0] == receipts[1]
    assert receipt.model == alone.digest
    assert [one.text for one in receipt.texts] == alone.answers("Hello", seed=4, tokens=TOKENS)


WRONG = [
    ({"model": "large"}, openai.NotFoundError, "model"),
    ({"temperature": -1}, openai.BadRequestError, "temperature"),
    ({"n": 10**9}, openai.BadRequestError, "n"),
    ({"messages": []}, openai.BadRequestError, "messages"),
    ({"messages": [{"role": "tool", "content": "x"}]}, openai.BadRequestError, "messages[0].role"),
    ({"messages": [{"role": "user", "content": "x" * 20_000}]}, openai.BadRequestError, "messages"),
    ({"extra_body": {"color": "red"}}, openai.BadRequestError, "color"),
]


@pytest.mark.parametrize(("changed", "kind", "field"), WRONG)
def test_errors_are_exceptions_that_name_the_field(
    client: OpenAI, changed: dict[str, Any], kind: type[openai.APIStatusError], field: str
) -> None:
    asked: dict[str, Any] = {"model": MODEL, "messages": user("Hello"), **changed}
    with pytest.raises(kind) as caught:
        client.chat.completions.create(**asked)
    assert caught.value.param == field
    assert field.split("[", maxsplit=1)[0] in str(caught.value)


def test_a_key_is_required_where_one_is_set(folder: Path) -> None:
    with SmallServer(folder, "--api-key", "secret") as server:
        with pytest.raises(openai.AuthenticationError):
            OpenAI(base_url=f"{server.url}/v1", api_key="guess", max_retries=0).models.list()
        assert OpenAI(base_url=f"{server.url}/v1", api_key="secret", max_retries=0).models.list().data[0].id == MODEL


def test_a_full_queue_is_a_rate_limit_that_retries_outlast(folder: Path, alone: Alone) -> None:
    (text,) = alone.answers("Hello", tokens=400)
    with SmallServer(folder, "--slots", "1", "--queue", "1") as server, ThreadPoolExecutor(8) as pool:

        def ask(retries: int) -> str | None:
            with OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=SECONDS, max_retries=retries) as client:
                answer = client.chat.completions.create(model=MODEL, messages=user("Hello"), max_tokens=400)
                return answer.choices[0].message.content

        asked = [pool.submit(ask, 0) for _ in range(8)]
        errors = [one.exception() for one in asked]
        assert {type(one) for one in errors} == {openai.RateLimitError, type(None)}
        assert {one.result() for one, error in zip(asked, errors, strict=True) if error is None} == {text}
        assert list(pool.map(ask, [40] * 4)) == [text] * 4
