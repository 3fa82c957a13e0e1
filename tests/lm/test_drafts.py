"""Drafts: whatever is guessed, the tokens are the same; a good guess saves passes of the model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lm.requests import ARITHMETICS, LETTERS, MODEL, MODELS, alone, finished, micro, request, tokens_of

from samebits.core import Stream, numerics
from samebits.lm import LanguageModel, ModelConfig, Sampling, generate_tokens
from samebits.lm.drafts import Draft, ModelDraft, RepeatedDraft
from samebits.lm.engine import Engine, Written
from samebits.lm.prefixes import PrefixCache
from samebits.text import CharacterTokenizer

pytestmark = pytest.mark.once

GREEDY: dict[str, Any] = {"prompt": [1, 2, 3], "tokens": 40, "sampling": Sampling(temperature=0.0), "stop": [], "stop_ids": []}


class Constant:
    """Always the same id."""

    def __init__(self, id_: int) -> None:
        self.id = id_

    def draft(self, ids: Sequence[int], most: int) -> list[int]:  # noqa: ARG002
        return [self.id] * most


class Wrong:
    """Never the id that follows, for greedy requests that `known` has; it knows the text."""

    def __init__(self, text: list[int], shift: int) -> None:
        self.text, self.shift = text, shift

    def draft(self, ids: Sequence[int], most: int) -> list[int]:
        return [(one + self.shift) % 10 for one in self.text[len(ids) : len(ids) + most]]


class Moody:
    """Drafts of any length, of any ids."""

    def draft(self, ids: Sequence[int], most: int) -> list[int]:
        draw = Stream(sum(ids)).split(len(ids))
        found: list[int] = draw.integers(10, size=int(draw.integers(0, most + 1))).tolist()
        return found


def drafts() -> list[Draft]:
    return [RepeatedDraft(), ModelDraft(MODEL, LETTERS), ModelDraft(micro("gpt2"), LETTERS), Constant(4), Moody()]


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("architecture", MODELS)
@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize("count", [1, 3, 8])
def test_a_draft_changes_no_token(architecture: str, arithmetic: Any, kind: int, count: int) -> None:
    model = MODELS[architecture]
    with numerics(arithmetic):
        engine = Engine(model, LETTERS, slots=8, draft=drafts()[kind], piece=7)
        for i in range(count):
            engine.add(request(i))
        found = list(finished(engine))
        for i in range(count):
            assert tokens_of(found, i) == alone(request(i), i, model), i
    assert engine.drafted >= engine.accepted >= 0


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@settings(max_examples=8)
@given(actions=st.lists(st.sampled_from(["add", "step", "step", "cancel"]), min_size=3, max_size=30), kind=st.integers(0, 4))
def test_drafts_and_kept_prefixes_change_no_token_of_requests_that_come_and_go(
    arithmetic: Any, actions: list[str], kind: int
) -> None:
    with numerics(arithmetic):
        engine = Engine(MODEL, LETTERS, slots=3, draft=drafts()[kind], prefixes=PrefixCache("m", arithmetic), piece=9)
        found: list[Written] = []
        added = 0
        for i, action in enumerate(actions):
            if action == "add":
                engine.add(request(added))
                added += 1
            elif action == "step":
                found += engine.step()
            else:
                engine.cancel(i * 5 % max(added, 1))
        found += finished(engine)
        for i in range(added):
            tokens, expected = tokens_of(found, i), alone(request(i), i)
            ended = any(written.finish for written in found if written.number == i)
            assert tokens == (expected if ended else expected[: len(tokens)])


def test_a_perfect_draft_writes_several_tokens_in_a_step() -> None:
    engine = Engine(MODEL, LETTERS, draft=ModelDraft(MODEL, LETTERS))
    engine.add(request(0, **GREEDY))
    steps = []
    while engine.active:
        steps.append(len(engine.step()))
    assert sum(steps) == 40 and max(steps) == 16 and len(steps) <= 6
    assert engine.accepted == engine.drafted == 40 - len(steps)


def test_a_draft_that_is_always_wrong_costs_no_token() -> None:
    expected = [token.id for token in alone(request(0, **GREEDY), 0)]
    engine = Engine(MODEL, LETTERS, draft=Wrong([1, 2, 3, *expected], 1))
    engine.add(request(0, **GREEDY))
    found = list(finished(engine))
    assert [token.id for token in tokens_of(found, 0)] == expected
    assert engine.accepted == 0 < engine.drafted < 60


def test_text_that_repeats_is_guessed_from_itself() -> None:
    engine = Engine(MODEL, LETTERS, draft=RepeatedDraft())
    engine.add(request(0, **GREEDY))
    list(finished(engine))
    assert engine.accepted > 10  # a small greedy model repeats itself


def test_a_draft_ends_with_the_request_and_the_context() -> None:
    class Noted(Constant):
        asked: list[tuple[int, int]] = []  # noqa: RUF012

        def draft(self, ids: Sequence[int], most: int) -> list[int]:
            self.asked.append((len(ids), most))
            return super().draft(ids, most)

    draft = Noted(4)
    engine = Engine(MODEL, LETTERS, draft=draft)
    forced = Sampling(temperature=0.0, logit_bias={4: 100.0})
    engine.add(request(0, prompt=[1] * 40, tokens=100, sampling=forced, stop=[], stop_ids=[]))
    found = list(finished(engine))
    assert len(found) == 8 and found[-1].finish == "length" and all(length + most < 48 for length, most in draft.asked)


def test_a_drafted_token_that_has_no_value_ends_no_request() -> None:
    model = micro(tied=False)
    with model.embedding.weight.edit() as weight:
        weight[9] = np.float32(np.nan)
    engine = Engine(model, LETTERS, draft=Constant(9))
    options: dict[str, Any] = {**GREEDY, "sampling": Sampling(logit_bias={9: -100.0})}
    for i in range(2):
        engine.add(request(i, **options))
    found = list(finished(engine))
    for i in range(2):
        assert tokens_of(found, i) == alone(request(i, **options), i, model)
    assert engine.accepted == 0


# Guesses


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 20))
def test_a_repeated_draft_is_what_followed_the_last_time(ids: list[int], most: int) -> None:
    found = RepeatedDraft().draft(ids, most)
    for length in (4, 3, 2):
        places = [i for i in range(len(ids) - length) if ids[i : i + length] == ids[-length:]]
        if places:
            text = list(ids)
            for i in range(most):
                text.append(text[places[-1] + length + i])
            assert found == text[len(ids) :]
            return
    assert found == []


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_a_model_drafts_what_it_would_write_itself(arithmetic: Any) -> None:
    with numerics(arithmetic):
        draft, greedy = ModelDraft(MODEL, LETTERS), Sampling(temperature=0.0)
        texts = [[i, 1, 2, *range(10), i] for i in range(10)]  # more than it keeps
        for most in (4, 1, 7):
            for text in texts:
                found = draft.draft(text, most)
                expected = generate_tokens(MODEL, LETTERS, text, tokens=most, stream=Stream(0), sampling=greedy)
                assert found == [token.id for token in expected]
                text.extend(found[:2])


def test_a_model_drafts_nothing_beyond_its_context_and_after_a_logit_that_is_not_finite() -> None:
    assert ModelDraft(MODEL, LETTERS).draft([1] * 44, 5) == [] != ModelDraft(MODEL, LETTERS).draft([1] * 43, 5)
    model = micro(tied=False)
    with model.embedding.weight.edit() as weight:
        weight[:] = np.float32(np.nan)
    assert ModelDraft(model, LETTERS).draft([1], 5) == []


def test_models_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="ModelDraft: model must have 2 tokens, as the tokenizer, got 10"):
        ModelDraft(MODEL, CharacterTokenizer("ab"))
    with pytest.raises(ValueError, match="ModelDraft: model must be in evaluation mode"):
        ModelDraft(LanguageModel(ModelConfig(vocabulary_size=10, channels=16), stream=Stream(0)), LETTERS)
