"""Generation: the same text with and without a cache, alone and in a batch, in pieces and whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samebits.core import Stream, numerics
from samebits.lm import LanguageModel, ModelConfig
from samebits.lm.generation import _Text, generate, generate_batch, generate_ids
from samebits.lm.sampling import Sampling
from samebits.text import BytePairTokenizer, ByteTokenizer, CharacterTokenizer

pytestmark = pytest.mark.once

LETTERS = CharacterTokenizer("\n abcdefgh")
FLAVOURS = ("gpt2", "llama")


def micro(flavour: str = "gpt2", vocabulary: int = 10, context: int = 12) -> LanguageModel:
    groups = 1 if flavour == "llama" else 0
    config = ModelConfig(
        flavour=flavour, vocabulary_size=vocabulary, context=context, layers=2, heads=2, key_value_heads=groups, channels=16
    )
    model = LanguageModel(config, stream=Stream(0).split(flavour))
    with model.embedding.weight.edit() as weight:
        weight[...] *= np.float32(6)  # far from the same probability for all
    return model


MODELS = {flavour: micro(flavour) for flavour in FLAVOURS}


@pytest.mark.parametrize("flavour", FLAVOURS)
@settings(max_examples=6)
@given(length=st.integers(1, 30), tokens=st.integers(0, 20), seed=st.integers(0, 99))
def test_a_cache_changes_no_bit_however_often_the_context_is_full(flavour: str, length: int, tokens: int, seed: int) -> None:
    prompt = Stream(seed).split("prompt").integers(10, size=length)
    cached, anew = (
        generate_ids(MODELS[flavour], prompt, tokens=tokens, stream=Stream(seed), cached=cached) for cached in (True, False)
    )
    assert cached.dtype == np.int64 and cached.tolist() == anew.tolist() and len(cached) == tokens


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_logits_from_a_cache_are_those_without_to_the_last_bit(flavour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    choose = Sampling.choose
    monkeypatch.setattr(Sampling, "choose", lambda *args: (seen.append(args[1].tobytes()), choose(*args))[1])
    for cached in (True, False):
        generate_ids(MODELS[flavour], np.array([1, 2, 3]), tokens=20, stream=Stream(0), cached=cached)
    assert seen[:20] == seen[20:]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_prompt_alone_writes_what_it_writes_in_a_batch(flavour: str) -> None:
    prompts = ["a", "bad cafe bad cafe bad cafe", "hag\n\n", "abcdefgh"]
    together = generate_batch(MODELS[flavour], LETTERS, prompts, tokens=15, stream=Stream(5))
    alone = [
        "".join(generate(MODELS[flavour], LETTERS, prompt, tokens=15, stream=Stream(5).split(i)))
        for i, prompt in enumerate(prompts)
    ]
    assert together == alone and all(len(text) == 15 for text in together)
    streams = [Stream(5).split(i) for i in range(4)]
    assert generate_batch(MODELS[flavour], LETTERS, prompts, tokens=15, stream=streams) == together


def test_stops_end_each_text_of_a_batch_for_itself() -> None:
    prompts = ["a", "b", "c", "d"]
    whole = generate_batch(MODELS["gpt2"], LETTERS, prompts, tokens=30, stream=Stream(1))
    stopped = generate_batch(MODELS["gpt2"], LETTERS, prompts, tokens=30, stream=Stream(1), stop=["ab", "h"])
    cuts = [min([text.find(stop) for stop in ("ab", "h") if stop in text], default=30) for text in whole]
    assert stopped == [text[:cut] for text, cut in zip(whole, cuts, strict=True)]
    assert len(set(map(len, stopped))) > 1


@given(st.lists(st.sampled_from("ab\n"), max_size=12), st.lists(st.sampled_from(["a", "b", "ab", "ba", "aab"]), max_size=3))
def test_pieces_never_show_what_a_stop_takes_back(letters: list[str], stops: list[str]) -> None:
    text, whole = _Text(LETTERS, stops), "".join(letters)
    pieces = []
    for token in LETTERS.encode(whole):
        pieces.append(text.add(int(token)))
        if text.stopped:
            break
    pieces.append(text.rest())
    assert "".join(pieces) == whole[: min([whole.find(stop) for stop in stops if stop in whole], default=len(whole))]


def test_pieces_come_one_by_one() -> None:
    stream, taken = Stream(0), []
    for piece in generate(MODELS["gpt2"], LETTERS, "a", tokens=10**9, stream=stream):
        taken.append(piece)
        if len(taken) == 5:
            break
    assert "".join(taken) == "".join(generate(MODELS["gpt2"], LETTERS, "a", tokens=5, stream=Stream(0)))


def test_no_character_is_split() -> None:
    tokenizer = BytePairTokenizer([])  # all bytes, one by one
    euro = tokenizer.encode("a€😀").tolist()
    model = micro(vocabulary=256, context=16)
    script = iter([*euro, *euro[:3]])  # ends within a character
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sampling, "choose", lambda *_: next(script))
        pieces = list(generate(model, tokenizer, "a", tokens=len(euro) + 3, stream=Stream(0)))
    assert pieces == ["a", "€", "😀", "a", "�"]


def test_dropout_is_off_and_the_mode_stays() -> None:
    config = ModelConfig(vocabulary_size=10, context=8, layers=1, heads=1, channels=8, dropout=0.5)
    model = LanguageModel(config, stream=Stream(0))
    texts = {"".join(generate(model, LETTERS, "a", tokens=12, stream=Stream(0))) for _ in range(2)}
    assert len(texts) == 1 and model.training and model.blocks[0].training
    assert "".join(generate(model.eval(), LETTERS, "a", tokens=12, stream=Stream(0))) in texts and not model.training


def test_the_arithmetic_is_that_of_the_call_wherever_pieces_are_taken() -> None:
    with numerics("fast"):
        pieces = generate(MODELS["gpt2"], LETTERS, "a", tokens=5, stream=Stream(0))
    assert len("".join(pieces)) == 5


def test_what_cannot_be_done_is_refused_before_the_first_piece() -> None:
    model = MODELS["gpt2"]
    with pytest.raises(ValueError, match="a prompt is empty: at least one token is needed"):
        generate(model, LETTERS, "", tokens=5, stream=Stream(0))
    with pytest.raises(
        ValueError, match="encode: text must contain only the 10 characters of the vocabulary, got 'z' at character 1"
    ):
        generate(model, LETTERS, "az", tokens=5, stream=Stream(0))
    with pytest.raises(ValueError, match="tokens is -1"):
        generate(model, LETTERS, "a", tokens=-1, stream=Stream(0))
    for stop in ("ab", [""]):
        with pytest.raises(ValueError, match=r"stop is .*a list of texts is needed, none of them empty"):
            generate(model, LETTERS, "a", tokens=5, stream=Stream(0), stop=stop)
    with pytest.raises(ValueError, match="stream has 1 streams: one, or 2 are needed"):
        generate_batch(model, LETTERS, ["a", "b"], tokens=5, stream=[Stream(0)])
    with pytest.raises(ValueError, match="the tokenizer has 256 tokens, the model 10"):
        generate(model, ByteTokenizer(), "a", tokens=5, stream=Stream(0))
    assert generate_batch(model, LETTERS, [], tokens=5, stream=Stream(0)) == []
    assert list(generate(model, LETTERS, "a", tokens=0, stream=Stream(0))) == []


def test_a_context_of_one_token_is_enough() -> None:
    model = micro(context=1)
    assert len(generate_ids(model, np.array([1, 2]), tokens=6, stream=Stream(0))) == 6
