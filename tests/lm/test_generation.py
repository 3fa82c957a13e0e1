"""Generation: the text is the same with and without a cache, alone and in a batch, in pieces and as a whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.float_settings import CHANGED, change, kept_settings, only_where_known

from samebits.core import MachineError, Stream, numerics
from samebits.lm import LanguageModel, ModelConfig
from samebits.lm.chain import Chain
from samebits.lm.generation import StoppedText, generate, generate_batch, generate_ids, generate_tokens
from samebits.lm.sampling import Sampling
from samebits.text import BytePairTokenizer, ByteTokenizer, CharacterTokenizer

pytestmark = pytest.mark.once

LETTERS = CharacterTokenizer("\n abcdefgh")
ARCHITECTURES = ("gpt2", "llama")


def micro(architecture: str = "gpt2", vocabulary: int = 10, context: int = 12) -> LanguageModel:
    groups = 1 if architecture == "llama" else 0
    config = ModelConfig(
        architecture=architecture,
        vocabulary_size=vocabulary,
        context=context,
        layers=2,
        heads=2,
        key_value_heads=groups,
        channels=16,
    )
    model = LanguageModel(config, stream=Stream(0).split(architecture))
    with model.embedding.weight.edit() as weight:
        weight[...] *= np.float32(6)  # far from the same probability for all
    return model


MODELS = {architecture: micro(architecture) for architecture in ARCHITECTURES}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=6)
@given(length=st.integers(1, 30), tokens=st.integers(0, 20), seed=st.integers(0, 99))
def test_a_cache_changes_no_bit_however_often_the_context_is_full(architecture: str, length: int, tokens: int, seed: int) -> None:
    prompt = Stream(seed).split("prompt").integers(10, size=length)
    cached, uncached = (
        generate_ids(MODELS[architecture], prompt, tokens=tokens, stream=Stream(seed), cached=cached) for cached in (True, False)
    )
    assert cached.dtype == np.int64 and cached.tolist() == uncached.tolist() and len(cached) == tokens


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_from_a_cache_are_those_without_to_the_last_bit(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    choose = Sampling.choose
    monkeypatch.setattr(Sampling, "choose", lambda *args: (seen.append(args[1].tobytes()), choose(*args))[1])
    for cached in (True, False):
        generate_ids(MODELS[architecture], np.array([1, 2, 3]), tokens=20, stream=Stream(0), cached=cached)
    assert seen[:20] == seen[20:]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_prompt_gives_the_same_text_alone_and_in_a_batch(architecture: str) -> None:
    prompts = ["a", "bad cafe bad cafe bad cafe", "hag\n\n", "abcdefgh"]
    together = generate_batch(MODELS[architecture], LETTERS, prompts, tokens=15, stream=Stream(5))
    alone = [
        "".join(generate(MODELS[architecture], LETTERS, prompt, tokens=15, stream=Stream(5).split(i)))
        for i, prompt in enumerate(prompts)
    ]
    assert together == alone and all(len(text) == 15 for text in together)
    streams = [Stream(5).split(i) for i in range(4)]
    assert generate_batch(MODELS[architecture], LETTERS, prompts, tokens=15, stream=streams) == together


def test_stop_strings_end_each_text_of_a_batch_separately() -> None:
    prompts = ["a", "b", "c", "d"]
    whole = generate_batch(MODELS["gpt2"], LETTERS, prompts, tokens=30, stream=Stream(1))
    stopped = generate_batch(MODELS["gpt2"], LETTERS, prompts, tokens=30, stream=Stream(1), stop=["ab", "h"])
    cuts = [min([text.find(stop) for stop in ("ab", "h") if stop in text], default=30) for text in whole]
    assert stopped == [text[:cut] for text, cut in zip(whole, cuts, strict=True)]
    assert len(set(map(len, stopped))) > 1


@given(st.lists(st.sampled_from("ab\n"), max_size=12), st.lists(st.sampled_from(["a", "b", "ab", "ba", "aab"]), max_size=3))
def test_pieces_never_contain_a_part_of_a_stop_string(letters: list[str], stops: list[str]) -> None:
    text, whole = StoppedText("generate", LETTERS, stops), "".join(letters)
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


def test_dropout_is_off_and_the_mode_is_restored() -> None:
    config = ModelConfig(vocabulary_size=10, context=8, layers=1, heads=1, channels=8, dropout=0.5)
    model = LanguageModel(config, stream=Stream(0))
    texts = {"".join(generate(model, LETTERS, "a", tokens=12, stream=Stream(0))) for _ in range(2)}
    assert len(texts) == 1 and model.training and model.blocks[0].training
    assert "".join(generate(model.eval(), LETTERS, "a", tokens=12, stream=Stream(0))) in texts and not model.training


def test_the_arithmetic_is_the_one_active_at_the_call() -> None:
    with numerics("fast"):
        pieces = generate(MODELS["gpt2"], LETTERS, "a", tokens=5, stream=Stream(0))
    assert len("".join(pieces)) == 5


def test_wrong_arguments_are_refused_before_the_first_piece() -> None:
    model = MODELS["gpt2"]
    with pytest.raises(ValueError, match="generate: prompt must have at least one token, got none"):
        generate(model, LETTERS, "", tokens=5, stream=Stream(0))
    with pytest.raises(ValueError, match="encode: text must contain only characters of the vocabulary, got 'z' at character 1"):
        generate(model, LETTERS, "az", tokens=5, stream=Stream(0))
    with pytest.raises(ValueError, match="generate: tokens must be at least 0, got -1"):
        generate(model, LETTERS, "a", tokens=-1, stream=Stream(0))
    for stop in ("ab", [""]):
        with pytest.raises(ValueError, match=r"generate: stop must be a list of strings that are not empty, got "):
            generate(model, LETTERS, "a", tokens=5, stream=Stream(0), stop=stop)
    with pytest.raises(ValueError, match="generate_batch: stream must be one Stream or one per prompt, 2, got 1"):
        generate_batch(model, LETTERS, ["a", "b"], tokens=5, stream=[Stream(0)])
    with pytest.raises(ValueError, match="generate: tokenizer must have 10 tokens, as the model, got 256"):
        generate(model, ByteTokenizer(), "a", tokens=5, stream=Stream(0))
    with pytest.raises(TypeError, match=r"generate: stream must be a Stream, got 0"):
        generate(model, LETTERS, "a", tokens=5, stream=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"generate_ids: prompt must have shape \(T,\), got \(1, 2\)"):
        generate_ids(model, [[1, 2]], tokens=5, stream=Stream(0))
    assert generate_batch(model, LETTERS, [], tokens=5, stream=Stream(0)) == []
    assert list(generate(model, LETTERS, "a", tokens=0, stream=Stream(0))) == []


def test_lists_and_numpy_numbers_are_accepted() -> None:
    model = MODELS["llama"]
    sampling = Sampling(temperature=np.float32(0.5), top_k=np.int64(3))
    expected = generate_ids(model, np.array([1, 2]), tokens=6, stream=Stream(0), sampling=Sampling(temperature=0.5, top_k=3))
    for prompt in ([1, 2], np.array([1, 2], np.int32)):
        found = generate_ids(model, prompt, tokens=np.int64(6), stream=Stream(0), sampling=sampling)
        assert found.tolist() == expected.tolist()
    assert len(generate_batch(model, LETTERS, ["a"], tokens=np.int32(4), stream=Stream(0))[0]) == 4


def test_a_context_of_one_token_is_enough() -> None:
    model = micro(context=1)
    assert len(generate_ids(model, np.array([1, 2]), tokens=6, stream=Stream(0))) == 6


@only_where_known
@CHANGED
def test_generation_puts_float_settings_back_and_stops_if_they_change(bits: int) -> None:
    def text() -> list[str]:
        return list(generate(MODELS["gpt2"], LETTERS, "abc", tokens=20, stream=Stream(0)))

    expected = text()
    with kept_settings():
        change(bits)
        assert text() == expected
        change(bits)
        ids = generate_ids(MODELS["gpt2"], [1, 2], tokens=9, stream=Stream(0))
    assert ids.tolist() == generate_ids(MODELS["gpt2"], [1, 2], tokens=9, stream=Stream(0)).tolist()
    with kept_settings():
        pieces = generate(MODELS["gpt2"], LETTERS, "abc", tokens=20, stream=Stream(0))
        next(pieces)
        change(bits)
        with pytest.raises(MachineError, match="in this thread, so results may have wrong bits"):
            list(pieces)


def test_a_stop_id_ends_the_text_and_is_a_token_of_it() -> None:
    model, letters = MODELS["gpt2"], CharacterTokenizer("\n abcdefgh")
    whole = list(generate_tokens(model, letters, "a", tokens=30, stream=Stream(4)))
    stop = whole[9].id
    first = next(i for i, one in enumerate(whole) if one.id == stop)
    ended = list(generate_tokens(model, letters, "a", tokens=30, stream=Stream(4), stop_ids=[stop]))
    assert [one.id for one in ended] == [one.id for one in whole[: first + 1]] and ended[-1].text == ""
    text = "".join(one.text for one in whole[:first])
    assert "".join(generate(model, letters, "a", tokens=30, stream=Stream(4), stop_ids={stop})) == text
    assert generate_batch(model, letters, ["a"], tokens=30, stream=[Stream(4)], stop_ids=[stop]) == [text]
    with pytest.raises(ValueError, match="generate: a stop id must be from 0 to 9, got 10"):
        generate(model, letters, "a", tokens=1, stream=Stream(0), stop_ids=[10])


def test_what_a_stop_string_holds_back_is_given_before_a_stop_id() -> None:
    text = StoppedText("generate", ByteTokenizer(["<e>"]), ["abc"], [256])
    assert [text.add(97), text.add(98), text.add(256), text.rest()] == ["", "", "ab", ""] and text.stopped


def test_probabilities_are_those_of_the_logits_as_they_are() -> None:
    model, prompt = MODELS["llama"], [3, 1, 4]
    changed = Sampling(temperature=0.0, repetition_penalty=1.3, presence_penalty=0.4, logit_bias={5: 2.0}, top_k=3)
    for sampling in (Sampling(), changed):
        found = list(generate_tokens(model, LETTERS, prompt, tokens=9, top=4, stream=Stream(2), sampling=sampling))
        ids = [*prompt, *(one.id for one in found)]
        every = model([ids]).data[0].astype(np.float64)
        for one, logits in zip(found, every[2:], strict=False):
            expected = logits - np.log(np.exp(logits).sum())
            assert abs(one.logprob - expected[one.id]) < 1e-6
            assert [id_ for id_, _ in one.top] == np.argsort(-expected, kind="stable")[:4].tolist()
            assert max(abs(value - expected[id_]) for id_, value in one.top) < 1e-6
        assert "".join(one.text for one in found) == LETTERS.decode(ids[3:])
    assert next(generate_tokens(model, LETTERS, prompt, tokens=1, stream=Stream(2))).top == ()
    with pytest.raises(ValueError, match="generate_tokens: top must be from 0 to 10, got 11"):
        generate_tokens(model, LETTERS, prompt, tokens=1, top=11, stream=Stream(0))


@pytest.mark.parametrize("mode", ["exact", "int16"])
def test_equal_prompts_are_read_once_and_have_the_texts_that_they_have_alone(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    call = LanguageModel.__call__

    def counted(self: LanguageModel, ids: np.ndarray, *rest: object, **named: object) -> object:
        shapes.append(ids.shape)
        return call(self, ids, *rest, **named)  # type: ignore[arg-type]

    prompts = ["bad cafe", "h", "bad cafe", "bad cafe"]
    with numerics(mode):  # type: ignore[arg-type]
        alone = [
            "".join(generate(MODELS["llama"], LETTERS, prompt, tokens=15, stream=Stream(5).split(i)))
            for i, prompt in enumerate(prompts)
        ]
        monkeypatch.setattr(LanguageModel, "__call__", counted)
        together = generate_batch(MODELS["llama"], LETTERS, prompts, tokens=15, stream=Stream(5))
    assert together == alone and len(set(alone)) == 4
    assert shapes[:2] == [(2, 8), (4, 1)]


def test_a_prompt_may_be_token_ids() -> None:
    tokenizer = CharacterTokenizer("abcdefgh", ["<a>", "<b>"])
    texts = [
        "".join(generate(MODELS["gpt2"], tokenizer, prompt, tokens=9, stream=Stream(1), special="allow"))
        for prompt in ("ab<b>c", [0, 1, 9, 2], np.array([0, 1, 9, 2], np.int32))
    ]
    assert texts[0] == texts[1] == texts[2]
    for wrong, message in (([[1]], r"prompt must have shape \(T,\), got \(1, 1\)"), ([], "prompt must have at least one token")):
        with pytest.raises(ValueError, match=f"generate: {message}"):
            generate(MODELS["gpt2"], tokenizer, wrong, tokens=1, stream=Stream(0))


def test_a_chained_token_has_the_value_of_the_chain_over_all_logits_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []
    choose = Sampling.choose
    monkeypatch.setattr(Sampling, "choose", lambda *args: (seen.append(args[1].copy()), choose(*args))[1])
    sampling = Sampling(logit_bias={3: 2.0}, frequency_penalty=0.5)  # which are not part of the model's logits
    found = list(generate_tokens(MODELS["gpt2"], LETTERS, "abc", tokens=20, stream=Stream(4), sampling=sampling, chained=True))
    chain = Chain()
    assert [one.chain for one in found] == [chain.add(logits, one.id) for logits, one in zip(seen, found, strict=True)]
    assert next(generate_tokens(MODELS["gpt2"], LETTERS, "abc", tokens=1, stream=Stream(4))).chain == ""


def test_each_token_of_a_batch_has_the_chain_that_its_text_has_alone() -> None:
    found: dict[int, list[tuple[int, str]]] = {0: [], 1: [], 2: []}
    prompts, options = ["abc", "b", "abc"], {"tokens": 20, "stop": ["c"]}
    generate_batch(
        MODELS["gpt2"], LETTERS, prompts, stream=Stream(1), each=lambda number, *token: found[number].append(token), **options
    )
    for i, prompt in enumerate(prompts):
        alone = generate_tokens(MODELS["gpt2"], LETTERS, prompt, stream=Stream(1).split(i), chained=True, **options)
        assert found[i] == [(one.id, one.chain) for one in alone]
