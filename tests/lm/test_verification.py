"""A text is verified as it was written, and every change to its receipt is found, even if its digests were computed again."""

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lm.test_receipts import leaves, other, sealed

from samebits.core import Mode, Stream, numerics
from samebits.lm import LanguageModel, ModelConfig
from samebits.lm.generation import generate_tokens
from samebits.lm.receipts import Receipt, WrittenText, read_receipt
from samebits.lm.sampling import Sampling
from samebits.lm.verification import Verification, verify_text
from samebits.text import CharacterTokenizer

pytestmark = pytest.mark.once

LETTERS = CharacterTokenizer("\n abcdefgh")
DIGEST = "5" * 64
PENALTIES = Sampling(
    temperature=0.7, top_p=0.9, repetition_penalty=1.3, frequency_penalty=0.4, presence_penalty=0.2, logit_bias={3: 1.0}
)


def model(architecture: str = "llama") -> LanguageModel:
    groups = 1 if architecture == "llama" else 0
    sizes: dict[str, Any] = {"vocabulary_size": 10, "context": 12, "layers": 2, "heads": 2, "channels": 16}
    config = ModelConfig(architecture=architecture, key_value_heads=groups, **sizes)
    found = LanguageModel(config, stream=Stream(0).split(architecture)).eval()
    with found.embedding.weight.edit() as weight:
        weight[...] *= 6  # far from the same probability for all
    return found


MODEL = model()


def receipt(
    one: LanguageModel = MODEL,
    prompts: Sequence[Sequence[int]] = ([1, 2, 3],),
    *,
    tokens: int = 30,
    sampling: Sampling = PENALTIES,
    mode: Mode = "exact",
    seed: int = 4,
) -> Receipt:
    """That of texts written with a small model; their streams are split twice."""
    texts = []
    for number, prompt in enumerate(prompts):
        stream = Stream(seed).split(number).split(1)
        with numerics(mode):
            found = list(generate_tokens(one, LETTERS, prompt, tokens=tokens, stream=stream, sampling=sampling, chained=True))
        ids, chain = [token.id for token in found], [token.chain for token in found]
        texts.append(
            WrittenText(prompt=list(prompt), stream=[seed, number, 1], tokens=ids, chain=chain, text=LETTERS.decode(ids))
        )
    return Receipt(model=DIGEST, tokenizer=LETTERS.digest, arithmetic=mode, sampling=sampling, texts=texts)  # type: ignore[arg-type]


def verify(given: Receipt, one: LanguageModel = MODEL, **options: Any) -> Verification:
    return verify_text(given, one, LETTERS, model_digest=DIGEST, **options)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
@pytest.mark.parametrize("mode", ["exact", "int16"])
@settings(max_examples=4)
@given(
    lengths=st.lists(st.integers(1, 12), max_size=3),
    tokens=st.integers(0, 40),
    seed=st.integers(0, 99),
    sampling=st.sampled_from([Sampling(), Sampling(temperature=0), PENALTIES]),
)
def test_a_receipt_is_verified_however_often_the_context_was_full(
    architecture: str, mode: Mode, *, lengths: list[int], tokens: int, seed: int, sampling: Sampling
) -> None:
    one = model(architecture)
    prompts = [Stream(seed).integers(10, size=length).tolist() for length in lengths]
    given = receipt(one, prompts, tokens=tokens, sampling=sampling, mode=mode, seed=seed)
    assert verify(given, one) == Verification(tokens * len(prompts), tokens * len(prompts), None)
    part = verify(given, one, sample=0.1, seed=seed)
    assert part.difference is None and part.checked == -(-tokens * len(prompts) // 10)


GIVEN = receipt(prompts=[[1, 2, 3], [4] * 9])
VALUES = dataclasses.asdict(GIVEN)


def refused(path: tuple[str | int, ...]) -> str:
    """The field of the difference that is found after a value was changed and all digests computed again."""
    record = copy.deepcopy(VALUES)
    record = {"format": "samebits.receipt/1", "kind": "text", **record}
    record["sampling"]["logit_bias"] = {"3": 1.0}
    place: Any = record
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = (place[path[-1]] + 1) % 10 if "tokens" in path or "prompt" in path else other(place[path[-1]])
    difference = verify(read_receipt(sealed(record))).difference
    return difference.field if difference else ""


@pytest.mark.parametrize("path", [path for path in leaves(VALUES["texts"]) if path[1] != "stream"], ids=str)
def test_a_forged_text_is_found_at_its_first_change(path: tuple[str | int, ...]) -> None:
    text, field, *place = path
    expected = f"texts[{text}].{field}" + (f"[{place[0]}]" if place else "")
    if field == "prompt":
        expected = f"texts[{text}].chain[0]"
    assert refused(("texts", *path)) == expected


@pytest.mark.parametrize("path", [("texts", 0, "stream", 0), ("texts", 0, "stream", 1), ("texts", 0, "stream", 2)], ids=str)
def test_another_stream_is_found_at_the_first_token_that_it_changes(path: tuple[str | int, ...]) -> None:
    assert refused(path).startswith("texts[0].tokens[")


@pytest.mark.parametrize("name", ["model", "tokenizer"])
def test_another_model_or_tokenizer_is_found_by_its_digest(name: str) -> None:
    assert refused((name,)) == name


def test_another_arithmetic_is_found_in_the_first_logits() -> None:
    assert verify(dataclasses.replace(GIVEN, arithmetic="int16")).difference.field == "texts[0].chain[0]"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("texts[0].prompt[1]", {"prompt": [1, 10, 3]}),
        ("texts[0].tokens[2]", {"tokens": [1, 2, 99, *GIVEN.texts[0].tokens[3:]]}),
        ("texts[0].text", {"text": GIVEN.texts[0].text[:-1]}),
        ("texts[0].text", {"text": GIVEN.texts[0].text + " "}),
    ],
)
def test_ids_outside_the_vocabulary_and_other_texts_are_found(field: str, given: Any) -> None:
    texts = [dataclasses.replace(GIVEN.texts[0], **given), GIVEN.texts[1]]
    assert verify(dataclasses.replace(GIVEN, texts=texts)).difference.field == field  # type: ignore[union-attr]


def test_a_prompt_of_which_the_model_reads_a_part_proves_nothing() -> None:
    texts = [GIVEN.texts[0], dataclasses.replace(GIVEN.texts[1], prompt=[4] * 13)]
    assert verify(dataclasses.replace(GIVEN, texts=texts)).difference == ("texts[1].prompt", "13 tokens", "a context of 12")


def test_a_bias_of_no_token_is_found() -> None:
    found = verify(dataclasses.replace(GIVEN, sampling=Sampling(logit_bias={10: 1.0}))).difference
    assert found == ("sampling.logit_bias.10", "10", "a vocabulary of 10 tokens")


def test_a_sample_finds_the_changes_in_its_steps_alone() -> None:
    tokens = list(GIVEN.texts[0].tokens)
    tokens[20] = (tokens[20] + 1) % 10
    forged = dataclasses.replace(GIVEN, texts=[dataclasses.replace(GIVEN.texts[0], tokens=tokens), GIVEN.texts[1]])
    found = [verify(forged, sample=0.2, seed=seed).difference for seed in range(20)]
    assert any(one and one.field == "texts[0].tokens[20]" for one in found)
    assert {one.field.partition("[2")[0] for one in found if one} == {"texts[0].tokens", "texts[0].chain"}
    assert verify(forged, sample=0.2, seed=3) == verify(forged, sample=0.2, seed=3)


def test_a_receipt_of_no_text_has_nothing_to_verify() -> None:
    assert verify(dataclasses.replace(GIVEN, texts=[])) == Verification(0, 0, None)


def test_progress_is_told_of_every_step_and_may_end_the_verification() -> None:
    seen: list[tuple[int, int]] = []
    verify(GIVEN, sample=0.5, progress=lambda checked, steps: seen.append((checked, steps)))
    assert seen == [(number + 1, 30) for number in range(30)]

    def stop(checked: int, _: int) -> None:
        if checked == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        verify(GIVEN, progress=stop)


@pytest.mark.parametrize("sample", [0, -0.1, 1.1, float("nan")])
def test_a_sample_out_of_range_is_refused(sample: float) -> None:
    with pytest.raises(ValueError, match="verify_text: sample must be above 0 and at most 1, got"):
        verify(GIVEN, sample=sample)


def test_a_model_in_training_and_another_vocabulary_are_refused() -> None:
    with pytest.raises(ValueError, match="verify_text: model must be in evaluation mode"):
        verify(GIVEN, model().train())
    with pytest.raises(ValueError, match="verify_text: tokenizer must have 10 tokens, as the model, got 3"):
        verify_text(GIVEN, MODEL, CharacterTokenizer("abc"), model_digest=DIGEST)
