"""Evaluation: three measures computed from the tokens' losses, independent of how the windows are grouped."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.float_settings import CHANGED, change, kept_settings, only_where_known

from samebits.core import MachineError, Stream, numerics
from samebits.lm import LanguageModel, ModelConfig, byte_lengths, evaluate
from samebits.lm.evaluation import exact_terms, token_losses
from samebits.text import BytePairTokenizer, CharacterTokenizer, evaluation_windows

TOKENS = Stream(0).integers(7, size=100)
MODEL = LanguageModel(ModelConfig(vocabulary_size=7, context=8, layers=1, heads=2, channels=16, dropout=0.5), stream=Stream(1))


def test_the_three_numbers_follow_from_each_other() -> None:
    windows = list(evaluation_windows(TOKENS, time=8, batch=3))
    lengths = np.array([1, 2, 3, 1, 1, 4, 1])
    found = evaluate(MODEL, windows, lengths)
    assert found.tokens == 99
    assert math.isclose(
        found.loss, np.mean(np.concatenate([token_losses(MODEL.eval()(x).data, y).reshape(-1) for x, y in windows]))
    )
    assert math.isclose(found.perplexity, math.exp(found.loss), rel_tol=1e-6)  # rounded to float32
    assert found.bits_per_byte is not None
    assert math.isclose(found.bits_per_byte, found.loss * 99 / math.log(2) / lengths[TOKENS[1:]].sum())
    assert evaluate(MODEL, windows).bits_per_byte is None


def test_grouping_of_windows_does_not_change_a_bit() -> None:
    results = [evaluate(MODEL, evaluation_windows(TOKENS, time=8, batch=batch)) for batch in (1, 2, 5, 100)]
    assert results == [results[0]] * 4


def test_the_loss_is_the_training_loss() -> None:
    inputs, targets = next(evaluation_windows(TOKENS, time=8, batch=100))
    for mode in ("exact", "fast"):
        with numerics(mode):  # type: ignore[arg-type]
            trained = MODEL.eval().loss(inputs, targets).item()
            assert abs(evaluate(MODEL, [(inputs, targets)]).loss - trained) < 1e-6  # the loss is rounded to float32


def test_the_mode_of_the_model_is_restored() -> None:
    for mode in (True, False):
        MODEL.train(mode)
        evaluate(MODEL, evaluation_windows(TOKENS[:17], time=8, batch=4))
        assert MODEL.training is mode


def test_byte_lengths_are_those_of_the_text() -> None:
    assert byte_lengths(CharacterTokenizer("aé€")).tolist() == [1, 2, 3]
    assert byte_lengths(CharacterTokenizer("aé€", ["<|end|>"])).tolist() == [1, 2, 3, 0]
    tokenizer = BytePairTokenizer.train(["low lower lowest"], 258)
    text = "lower still"
    assert byte_lengths(tokenizer)[tokenizer.encode(text)].sum() == len(text)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="evaluate: windows must not be empty"):
        evaluate(MODEL, [])
    with pytest.raises(ValueError, match=r"evaluate: lengths must have shape \(7,\), got \(3,\)"):
        evaluate(MODEL, [([[1]], [[2]])], [1, 1, 1])
    with pytest.raises(IndexError, match="token_losses: targets must be from 0 to 3, got -1 to 0"):
        token_losses(np.zeros((2, 4), np.float32), np.array([0, -1]))


def test_lists_and_narrow_integers_are_accepted() -> None:
    expected = evaluate(MODEL, [(np.array([[1, 2, 3]]), np.array([[2, 3, 4]]))], np.ones(7, np.int64))
    assert evaluate(MODEL, [([[1, 2, 3]], [[2, 3, 4]])], [1] * 7) == expected
    narrow = np.array([[1, 2, 3]], np.int32), np.array([[2, 3, 4]], np.uint16)
    assert evaluate(MODEL, [narrow], np.ones(7, np.int32)) == expected


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    broken = LanguageModel(MODEL.config, stream=Stream(1))
    with broken.embedding.weight.edit() as array:
        array[5] = np.nan
    windows = [(np.array([[1, 5]]), np.array([[1, 2]]))]
    with (
        numerics("fast"),
        np.errstate(all="ignore"),
        pytest.raises(FloatingPointError, match="the loss of token 0 is not finite"),
    ):
        evaluate(broken, windows)


@only_where_known
@CHANGED
def test_evaluation_puts_float_settings_back_and_stops_if_they_change(bits: int) -> None:
    windows = list(evaluation_windows(TOKENS, time=8, batch=3))
    expected = evaluate(MODEL, windows)
    with kept_settings():
        change(bits)
        assert evaluate(MODEL, windows) == expected
        with pytest.raises(MachineError, match="in this thread, so results may have wrong bits"):
            evaluate(MODEL, (change(bits) or window for window in windows))  # type: ignore[func-returns-value]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), max_size=20), st.integers(1, 4))
def test_exact_terms_have_the_exact_sum_of_the_values(values: list[float], parts: int) -> None:
    terms = [term for i in range(parts) for term in exact_terms(values[i::parts])]
    assert sum(map(Fraction, terms)) == sum(map(Fraction, values)) and math.fsum(terms) == math.fsum(values)
