"""Engine: requests that come and go side by side have the tokens that each has alone."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lm.requests import ARITHMETICS, LETTERS, MODEL, MODELS, alone, finished, micro, request, tokens_of

from samebits.core import Stream, numerics
from samebits.lm import LanguageModel, Sampling
from samebits.lm.engine import Engine, Written
from samebits.text import CharacterTokenizer

pytestmark = pytest.mark.once


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("architecture", MODELS)
def test_eight_requests_have_the_tokens_that_each_has_alone(architecture: str, arithmetic: Any) -> None:
    model = MODELS[architecture]
    with numerics(arithmetic):
        engine = Engine(model, LETTERS, slots=8, piece=7)
        assert [engine.add(request(i)) for i in range(8)] == list(range(8))
        found = list(finished(engine))
        for i in range(8):
            assert tokens_of(found, i) == alone(request(i), i, model), i
    assert {written.finish for written in found} == {"", "stop", "length"}


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@settings(max_examples=12)
@given(
    actions=st.lists(st.sampled_from(["add", "add", "step", "step", "step", "cancel"]), min_size=3, max_size=40),
    slots=st.integers(1, 5),
    piece=st.integers(1, 12),
)
def test_requests_that_come_and_go_change_no_bit_of_the_others(
    arithmetic: Any, actions: list[str], slots: int, piece: int
) -> None:
    with numerics(arithmetic):
        engine = Engine(MODEL, LETTERS, slots=slots, piece=piece)
        found: list[Written] = []
        added, canceled = 0, set()
        for i, action in enumerate(actions):
            if action == "add":
                assert engine.add(request(added)) == added
                added += 1
            elif action == "step":
                found += engine.step()
            elif added:
                canceled.add(i * 7 % added)
                engine.cancel(i * 7 % added)
            assert engine.running <= slots
        found += finished(engine)
        for i in range(added):
            tokens, expected = tokens_of(found, i), alone(request(i), i)
            ended = [written for written in found if written.number == i and written.finish]
            if i in canceled and not ended:
                assert tokens == expected[: len(tokens)]
            else:
                assert tokens == expected and len(ended) == 1
    assert engine.running == engine.waiting == 0


def test_a_prompt_is_read_in_pieces_while_others_write() -> None:
    engine = Engine(MODEL, LETTERS, slots=3, piece=8)
    engine.add(request(1, prompt=[1], tokens=20, stop=[], stop_ids=[]))
    assert len(engine.step()) == 1
    engine.add(request(2, prompt=[2] * 20, tokens=2, stop=[], stop_ids=[]))
    engine.add(request(3, prompt=[3], tokens=2, stop=[], stop_ids=[]))
    numbers = [[written.number for written in engine.step()] for _ in range(5)]
    assert numbers == [[0], [0], [0, 1], [0, 1, 2], [0, 2]]


def test_waiting_requests_start_in_their_order() -> None:
    engine = Engine(MODEL, LETTERS, slots=1)
    for i in range(3):
        engine.add(request(i, tokens=2, prompt=[1, 2], stop=[], stop_ids=[]))
    engine.step()
    assert (engine.running, engine.waiting, engine.active) == (1, 2, True)
    assert [written.number for written in finished(engine)] == [0, 1, 1, 2, 2]
    assert (engine.running, engine.waiting, engine.active) == (0, 0, False)
    assert engine.step() == []


def test_a_canceled_request_frees_its_slot_at_once() -> None:
    engine = Engine(MODEL, LETTERS, slots=1)
    for i in range(3):
        engine.add(request(i, tokens=20, prompt=[1, 2], stop=[], stop_ids=[]))
    engine.step()
    engine.cancel(0)
    engine.cancel(1)
    engine.cancel(99)
    assert {written.number for written in engine.step()} == {2}


def test_text_ends_with_the_context() -> None:
    engine = Engine(MODEL, LETTERS)
    engine.add(request(1, prompt=[1] * 40, tokens=100, stop=[], stop_ids=[]))
    found = list(finished(engine))
    assert engine.context == 48 and [written.finish for written in found] == [""] * 7 + ["length"]


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_rows_grow_and_keep_what_they_hold(arithmetic: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samebits.lm.engine._CAPACITY", 16)
    model = micro(context=200)
    with numerics(arithmetic):
        engine = Engine(model, LETTERS, slots=2)
        for i, length in enumerate((3, 150)):
            engine.add(request(i, prompt=[i] * length, tokens=45, stop=[], stop_ids=[]))
        found = list(finished(engine))
        for i, length in enumerate((3, 150)):
            assert tokens_of(found, i) == alone(request(i, prompt=[i] * length, tokens=45, stop=[], stop_ids=[]), i, model)


@pytest.mark.parametrize("arithmetic", [*ARITHMETICS, "fast"])
def test_a_request_whose_logits_are_not_finite_ends_alone(arithmetic: Any) -> None:
    model = micro(tied=False)
    with model.embedding.weight.edit() as weight:
        weight[9] = np.float32(np.nan)  # of a token that some requests read
    common: dict[str, Any] = {"stop": [], "stop_ids": [], "tokens": 8}
    forced = Sampling(logit_bias={9: 100.0, **dict.fromkeys(range(9), -100.0)})
    banned = Sampling(logit_bias={9: -100.0})
    requests = [
        request(0, prompt=[1, 2, 3], sampling=banned, **common),
        request(1, prompt=[1, 2], sampling=forced, **common),
        request(2, prompt=[1, 2, 9], sampling=banned, **common),
        request(3, prompt=[4], sampling=banned, **common),
    ]
    with numerics(arithmetic):
        engine = Engine(model, LETTERS, slots=4, piece=2)
    for one in requests:
        engine.add(one)
    found = list(finished(engine))
    errors = [written for written in found if written.finish == "error"]
    assert sorted(written.number for written in errors) == [1, 2]
    assert all(written.token is None and ("finite" in written.error or "NaN" in written.error) for written in errors)
    with numerics(arithmetic):
        for i in (0, 3):
            ids = [token.id for token in tokens_of(found, i)]
            assert ids == [
                token.id for token in alone(request(i, prompt=requests[i].prompt, sampling=banned, **common), i, model)
            ]


def test_a_model_that_diverged_ends_requests_in_fast_arithmetic_too() -> None:
    model = micro()
    with model.embedding.weight.edit() as weight:
        weight[9] = np.float32(np.nan)
    with numerics("fast"):
        engine = Engine(model, LETTERS)
        engine.add(request(0))
        assert [(one.finish, one.token) for one in finished(engine)] == [("error", None)]


def test_steps_have_the_arithmetic_in_which_the_engine_was_made() -> None:
    with numerics("int16"):
        engine = Engine(MODEL, LETTERS)
        expected = alone(request(5, top=2), 5)
    engine.add(request(5, top=2))
    assert tokens_of(list(finished(engine)), 0) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": []}, "prompt must have from 1 to 47 tokens, got 0"),
        ({"prompt": [1] * 48}, "prompt must have from 1 to 47 tokens, got 48"),
        ({"prompt": [10]}, "a token id of prompt must be from 0 to 9, got 10"),
        ({"tokens": 0}, "tokens must be at least 1, got 0"),
        ({"top": 11}, "top must be from 0 to 10, got 11"),
        ({"stop": [""]}, "stop must be a list of strings that are not empty"),
        ({"stop_ids": [10]}, "a stop id must be from 0 to 9, got 10"),
        ({"sampling": Sampling(logit_bias={10: 1.0})}, "sampling must have a logit_bias of ids below 10, got 10"),
    ],
)
def test_requests_that_cannot_be_answered_are_refused(options: dict[str, Any], message: str) -> None:
    engine = Engine(MODEL, LETTERS)
    with pytest.raises(ValueError, match=message):
        engine.add(request(0, **options))
    assert not engine.active


def test_models_and_numbers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="slots must be at least 1, got 0"):
        Engine(MODEL, LETTERS, slots=0)
    with pytest.raises(ValueError, match="tokenizer must have 10 tokens, as the model, got 2"):
        Engine(MODEL, CharacterTokenizer("ab"))
    with pytest.raises(ValueError, match="model must be in evaluation mode"):
        Engine(LanguageModel(MODEL.config, stream=Stream(0)), LETTERS)
    with pytest.raises(TypeError, match=r"Engine\.add: stream must be a Stream"):
        Engine(MODEL, LETTERS).add(request(0, stream=7))
