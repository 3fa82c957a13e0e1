"""LangChain's chat model for OpenAI's interface: one question, a stream, and a batch."""

import asyncio

import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI
from pydantic import SecretStr
from tests.clients.small_server import SECONDS, Alone, SmallServer

TOKENS = 24


def chat_model(server: SmallServer, seed: int) -> ChatOpenAI:
    return ChatOpenAI(
        model="small",
        base_url=f"{server.url}/v1",
        api_key=SecretStr("none"),
        seed=seed,
        max_completion_tokens=TOKENS,
        timeout=SECONDS,
        max_retries=0,
    )


def test_an_answer_is_that_of_the_model_alone(server: SmallServer, alone: Alone) -> None:
    answer = chat_model(server, 1).invoke("Hello")
    assert [answer.content] == alone.answers("Hello", seed=1, tokens=TOKENS)
    assert answer.response_metadata["system_fingerprint"].startswith("fp_")


def test_a_conversation_is_that_of_the_model_alone(server: SmallServer, alone: Alone) -> None:
    model, system = chat_model(server, 2), SystemMessage("Be brief.")
    first = model.invoke([system, HumanMessage("Hello")])
    second = model.invoke([system, HumanMessage("Hello"), AIMessage(first.content), HumanMessage("And you?")])
    expected = alone.answers("Hello", "And you?", system="Be brief.", seed=2, tokens=TOKENS)
    assert [first.content, second.content] == expected


def test_a_stream_has_the_same_text(server: SmallServer, alone: Alone) -> None:
    pieces = [piece.content for piece in chat_model(server, 3).stream("Hello")]
    assert len(pieces) > 3
    assert ["".join(map(str, pieces))] == alone.answers("Hello", seed=3, tokens=TOKENS)


def test_a_batch_has_the_texts_of_the_model_alone(server: SmallServer, alone: Alone) -> None:
    questions = [f"Question {number}" for number in range(16)]
    expected = [alone.answers(question, seed=4, tokens=TOKENS)[0] for question in questions]
    chain = ChatPromptTemplate.from_messages([("human", "Question {number}")]) | chat_model(server, 4)
    inputs = [{"number": number} for number in range(16)]
    assert [answer.content for answer in chain.batch(inputs, {"max_concurrency": 16})] == expected
    assert [answer.content for answer in asyncio.run(chain.abatch(inputs))] == expected


def test_an_error_names_the_field(server: SmallServer) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chat_model(server, -1).invoke("Hello")
    assert caught.value.param == "seed"
