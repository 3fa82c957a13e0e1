"""Many different requests to small models, and the tokens that each has alone."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from samebits.core import Stream
from samebits.lm import LanguageModel, ModelConfig, Sampling, Token, generate_tokens
from samebits.lm.engine import Engine, Request, Written
from samebits.text import CharacterTokenizer

LETTERS = CharacterTokenizer("\n abcdefgh")
ARITHMETICS = ("exact", "int16")
SAMPLINGS = (
    Sampling(),
    Sampling(temperature=0.0),
    Sampling(temperature=0.7, top_p=0.8, repetition_penalty=1.2),
    Sampling(top_k=4, min_p=0.05, presence_penalty=0.5, frequency_penalty=0.3, logit_bias={3: 1.5, 9: -2.0}),
)


def micro(architecture: str = "llama", context: int = 48, tied: bool = True) -> LanguageModel:
    config = ModelConfig(
        architecture=architecture,
        vocabulary_size=10,
        context=context,
        layers=2,
        heads=2,
        key_value_heads=1 if architecture == "llama" else 0,
        channels=16,
        tied=tied,
    )
    model = LanguageModel(config, stream=Stream(0).split(architecture))
    with model.embedding.weight.edit() as weight:
        weight[...] *= np.float32(6)  # far from the same probability for all
    return model.eval()


MODELS = {architecture: micro(architecture) for architecture in ("gpt2", "llama")}
MODEL = MODELS["llama"]


def request(number: int, **options: Any) -> Request:
    """One of many different requests."""
    draw = Stream(number).split("request")
    given: dict[str, Any] = {
        "prompt": draw.integers(10, size=int(draw.integers(1, 40))).tolist(),
        "tokens": int(draw.integers(1, 20)),
        "stream": Stream(number),
        "sampling": SAMPLINGS[number % len(SAMPLINGS)],
        "stop": [["ab", "h"], []][number // 2 % 2],
        "stop_ids": [[5], []][number // 4 % 2],
        "top": number % 3,
        "logged": number % 5 == 0,
        "chained": number % 2 == 0,
    }
    return Request(**{**given, **options})


def alone(one: Request, number: int, model: LanguageModel = MODEL) -> list[Token]:
    """The tokens of a request by itself, while they fit the context."""
    most = min(one.tokens, model.config.context - len(one.prompt))
    found = generate_tokens(
        model,
        LETTERS,
        list(one.prompt),
        tokens=most,
        stream=Stream(number),
        sampling=one.sampling,
        stop=one.stop,
        stop_ids=one.stop_ids,
        top=one.top,
        chained=one.chained,
    )
    return [token if one.logged or one.top else Token(token.id, token.text, 0.0, (), token.chain) for token in found]


def finished(engine: Engine) -> Iterator[Written]:
    while engine.active:
        yield from engine.step()


def tokens_of(found: Sequence[Written], number: int) -> list[Token]:
    tokens = [written.token for written in found if written.number == number]
    assert None not in tokens
    return [token for token in tokens if token is not None]
