"""Both sides of every documented limit, and what holds at the limits."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.limits import Limit, check_both_sides, check_frozen

from samebits.core import Stream
from samebits.lm import ConfigError, Evaluation, LanguageModel, ModelConfig, Sampling, TrainConfig, evaluate
from samebits.lm.data import Data, prepare, reopen, windows
from samebits.lm.generation import StoppedText, generate_ids
from samebits.lm.safetensors import portable, written
from samebits.lm.schema import Setting, settings
from samebits.text import CharacterTokenizer

pytestmark = pytest.mark.once

TINY = math.nextafter(0.0, 1.0)
LETTERS = CharacterTokenizer("abcx")
SIZES = {"context": 4, "layers": 1, "heads": 1, "channels": 4}


def below(number: float) -> float:
    return math.nextafter(number, -math.inf)


def above(number: float) -> float:
    return math.nextafter(number, math.inf)


def model(vocabulary: int = 4) -> LanguageModel:
    return LanguageModel(ModelConfig(vocabulary_size=vocabulary, **SIZES), stream=Stream(0))


MODEL = model()


def evaluated(target: int) -> None:
    evaluate(MODEL, [(np.array([[0, 1]]), np.array([[0, target]]))])


LIMITS: dict[str, Limit] = {
    "temperature": (lambda v: Sampling(temperature=v), [0, 1e-6, 1e6], [-TINY, TINY, below(1e-6), above(1e6), math.inf]),
    "top_k": (lambda v: Sampling(top_k=v), [1, 2**40, None], [0, -1, 1.0]),
    "top_p": (lambda v: Sampling(top_p=v), [TINY, 1, None], [0, -TINY, above(1.0), math.nan]),
    "min_p": (lambda v: Sampling(min_p=v), [0, 1, None], [-TINY, above(1.0), math.nan]),
    "repetition_penalty": (lambda v: Sampling(repetition_penalty=v), [1e-6, 1e6], [below(1e-6), above(1e6), 0]),
    "vocabulary_size": (model, [1, 2], [0]),
    "T at most 4": (lambda v: MODEL(np.zeros((1, v), np.int64)), [1, 4], [5]),
    "ids": (lambda v: MODEL([[v]]), [0, 3], [-1, 4]),
    "generate_ids: tokens": (lambda v: generate_ids(MODEL, [1], tokens=v, stream=Stream(0)), [0, 1, 9], [-1]),
    "prompt": (lambda v: generate_ids(MODEL, [1] * v, tokens=1, stream=Stream(0)), [1, 4, 5, 50], [0]),
    "targets": (evaluated, [0, 3], [-1, 4]),
    "at most 4194304 bytes of header": (lambda v: written({}, {"t": "x" * v}), [2**22 - 25], [2**22 - 24]),
    "at most 32 axes": (lambda v: portable("x", np.zeros((1,) * v, np.float32)), [0, 32], []),
    "at least 2 ids": (lambda v: windows(np.zeros(v, np.uint16), replace(TRAIN, evaluation_windows=0)), [2, 9], [1, 0]),
}

# a configuration in which every setting may be at its limits
TRAIN = TrainConfig(warmup=0, decay=0, final_learning_rate=0.0, model=ModelConfig(heads=1))


@pytest.mark.parametrize("name", LIMITS)
def test_the_inside_of_a_limit_is_accepted_and_the_outside_is_refused_by_name(name: str) -> None:
    check_both_sides(LIMITS[name], name)


def edges(kind: type, setting: Setting) -> tuple[list[Any], list[Any]]:
    """The numbers just inside and just outside the limits of a setting."""
    step: Callable[[float, int], Any] = (lambda x, n: int(x) + n) if kind is int else lambda x, n: (x, above(x), below(x))[n]
    inside, outside = [], []
    if setting.least > -math.inf:
        inside.append(step(setting.least, 0)), outside.append(step(setting.least, -1))
    if setting.above > -math.inf:
        inside.append(step(setting.above, 1)), outside.append(step(setting.above, 0))
    if setting.below < math.inf:
        inside.append(step(setting.below, -1)), outside.append(step(setting.below, 0))
    return inside, outside


@pytest.mark.parametrize("config", [TRAIN, TRAIN.model])
def test_every_setting_is_accepted_at_its_limits_and_refused_beyond(config: Any) -> None:
    tried = 0
    for name, (kind, _, setting) in settings(type(config)).items():
        given: dict[str, Any] = {"optimizer": setting.optimizers[0]} if setting.optimizers else {}
        given |= {"architecture": "llama"} if setting.only_changed else {}
        inside, outside = edges(kind, setting)
        for value in inside:
            options = given | ({"batch": 1} if name == "shards" else {})
            assert getattr(replace(config, **options, **{name: value}), name) == value
        for value in outside:
            with pytest.raises(ConfigError, match=f"^{name} must be "):
                replace(config, **given, **{name: value})
        tried += len(inside)
    assert tried > 7


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ({"steps": 5, "warmup": 5}, {"steps": 5, "warmup": 6}),
        ({"steps": 5, "warmup": 2, "decay": 3, "schedule": "wsd"}, {"steps": 5, "warmup": 3, "decay": 3, "schedule": "wsd"}),
        ({"steps": 5, "warmup": 6, "schedule": "constant"}, {"steps": 0, "schedule": "constant"}),
        ({"learning_rate": 0.5, "final_learning_rate": 0.5}, {"learning_rate": 0.5, "final_learning_rate": above(0.5)}),
        ({"batch": 6, "shards": 6}, {"batch": 6, "shards": 12}),
    ],
)
def test_settings_may_be_as_large_as_others_allow(inside: dict[str, Any], outside: dict[str, Any]) -> None:
    replace(TRAIN, **inside)
    with pytest.raises(ConfigError):
        replace(TRAIN, **outside)


def test_a_vocabulary_of_one_token_is_trained_and_generates_it() -> None:
    one = model(1)
    loss = one.loss([[0, 0, 0]], [[0, 0, 0]])
    loss.backward()
    assert loss.item() == 0
    assert generate_ids(one, [0], tokens=6, stream=Stream(0)).tolist() == [0] * 6


def test_the_vocabulary_of_merges_is_ignored_for_other_tokenizers(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the quick brown fox\n" * 20)
    config = replace(TRAIN, data=str(tmp_path / "a.txt"), tokenizer="byte", merged_vocabulary=300)
    first, made = prepare(config, tmp_path / "run"), (tmp_path / "run" / "training.tokens").stat().st_mtime_ns
    for use in (prepare, reopen):
        again = use(replace(config, merged_vocabulary=400), tmp_path / "run")
        assert again.digest == first.digest and (tmp_path / "run" / "training.tokens").stat().st_mtime_ns == made
    merged = replace(config, tokenizer="bytepair", merged_vocabulary=260)
    assert prepare(merged, tmp_path / "merged").tokenizer.vocabulary_size == 260
    with pytest.raises(ConfigError, match="merged_vocabulary was 260 and is 261"):
        reopen(replace(merged, merged_vocabulary=261), tmp_path / "merged")


@pytest.mark.parametrize(
    ("logits", "chosen"),
    [([0.5, 0.4], 1), ([0.5, 0.2], 0), ([-0.5, -0.9], 1), ([-0.5, -1.1], 0), ([0.0, 0.1], 1), ([0.0, -0.1], 0)],
)
def test_a_repeated_logit_is_divided_above_0_and_multiplied_below(logits: list[float], chosen: int) -> None:
    sampling = Sampling(temperature=0, repetition_penalty=2.0)
    assert sampling.choose(np.array(logits, np.float32), Stream(0), [0]) == chosen


@pytest.mark.parametrize(
    ("stop", "pieces"),
    [
        (["abc"], ["x", "", "", "ab", "a", "", "abx", "", "", "ab"]),  # the end of the text is given at the end
        (["bx", "aab"], ["x", "", "a", "b", "", "", ""]),
        (["xa"], ["", "", ""]),
        (["xb", "c"], ["", "xa", "b", "a", "a", "b", "", "xa", "b", ""]),
        ([], [*"xabaabxab", ""]),
    ],
)
def test_as_much_text_is_held_back_as_may_begin_a_stop_string(stop: list[str], pieces: list[str]) -> None:
    text, found = StoppedText("generate", LETTERS, stop), []
    for token in LETTERS.encode("xabaabxab"):
        found.append(text.add(int(token)))
        if text.stopped:
            break
    assert [*found, text.rest()] == pieces


@pytest.mark.parametrize(("wanted", "starts"), [(1, [0]), (2, [0, 8]), (3, [0, 4, 12]), (4, [0, 4, 8, 12])])
def test_evaluation_windows_are_evenly_spread_and_all_if_there_are_no_more(wanted: int, starts: list[int]) -> None:
    config = replace(TRAIN, batch=2, model=ModelConfig(**SIZES))
    for count in (21, 24):
        found = windows(np.arange(count), replace(config, evaluation_windows=wanted))
        assert [int(row[0]) for inputs, _ in found for row in inputs] == starts
        assert [len(inputs) for inputs, _ in found] == [2] * (wanted // 2) + [1] * (wanted % 2)
        assert all((inputs + 1 == targets).all() for inputs, targets in found)
        for every in (5, 6, 0):
            found = windows(np.arange(count), replace(config, evaluation_windows=every))
            assert np.concatenate([targets.reshape(-1) for _, targets in found]).tolist() == [*range(1, count)]


@pytest.mark.parametrize("kind", [Data, Evaluation, Sampling, Setting])
def test_an_object_that_others_may_hold_cannot_be_changed(kind: type) -> None:
    check_frozen(kind)
