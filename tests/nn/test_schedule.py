"""Schedules: their formulas, also at the first and last step, and errors."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samebits.nn import schedule

COSINE = partial(schedule.cosine, peak=0.6, final=0.06, warmup=10, steps=100)
STABLE = partial(schedule.warmup_stable_decay, peak=0.6, final=0.06, warmup=10, decay=20, steps=100)


def test_warm_up_rises_to_the_peak_and_never_starts_at_zero():
    for rate in (partial(schedule.linear_warmup, peak=0.6, warmup=10), COSINE, STABLE):
        assert [rate(step) for step in range(10)] == [0.6 * (step + 1) / 10 for step in range(10)]
        assert rate(9) == rate(10) == 0.6


def test_no_warm_up_starts_at_the_peak():
    assert schedule.linear_warmup(0, peak=0.5, warmup=0) == 0.5
    assert schedule.cosine(0, peak=0.5, steps=3) == 0.5
    assert schedule.warmup_stable_decay(0, peak=0.5, steps=3, decay=1) == 0.5


def test_cosine_is_its_formula():
    for step in range(10, 101):
        expected = 0.06 + 0.54 * (1 + math.cos(math.pi * (step - 10) / 90)) / 2
        assert math.isclose(COSINE(step), expected, rel_tol=1e-15)  # a few roundings
    assert math.isclose(COSINE(55), 0.33, rel_tol=1e-15)


def test_warmup_stable_decay_is_constant_then_a_line():
    assert {STABLE(step) for step in range(9, 81)} == {0.6}
    assert math.isclose(STABLE(90), 0.33, rel_tol=1e-15)


def test_the_rate_after_the_last_step_is_the_final_one():
    for rate in (COSINE, STABLE):
        assert rate(100) == rate(1000) == 0.06
    assert schedule.cosine(0, peak=1.0, steps=0) == 0.0


@given(st.integers(0, 300), st.integers(0, 50), st.integers(0, 50), st.floats(0, 1), st.floats(0, 1))
def test_rates_are_python_floats_between_zero_and_the_peak(step, warmup, decay, a, b):
    final, peak = sorted((a, b))
    for rate in (
        schedule.constant(step, peak=peak),
        schedule.linear_warmup(step, peak=peak, warmup=warmup),
        schedule.cosine(step, peak=peak, final=final, warmup=warmup, steps=200),
        schedule.warmup_stable_decay(step, peak=peak, final=final, warmup=warmup, decay=decay, steps=200),
    ):
        assert type(rate) is float
        assert 0 <= rate <= peak * (1 + 2**-50)


def test_numpy_rates_have_the_bits_of_python_floats():
    peak, final = np.float32(3e-4), np.float32(1e-5)  # products in float32 are rounded to it from NumPy 2 on
    for rate in (schedule.cosine, partial(schedule.warmup_stable_decay, decay=5)):
        for step in range(12):
            plain = rate(step, peak=float(peak), final=float(final), warmup=3, steps=10)
            assert rate(step, peak=peak, final=final, warmup=3, steps=10) == plain


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: schedule.constant(-1, peak=1.0), "constant: step must be at least 0, got -1"),
        (lambda: schedule.constant(0, peak=math.nan), "constant: peak must be finite and at least 0, got nan"),
        (lambda: schedule.linear_warmup(0, peak=1.0, warmup=-2), "linear_warmup: warmup must be at least 0, got -2"),
        (lambda: schedule.cosine(0, peak=1.0, steps=5, warmup=6), "cosine: steps must be at least 6, with warmup=6, got 5"),
        (
            lambda: schedule.cosine(0, peak=1.0, steps=5, final=-1.0),
            "cosine: final must be finite and at least 0, got -1.0",
        ),
        (
            lambda: schedule.warmup_stable_decay(0, peak=1.0, steps=5, warmup=3, decay=3),
            "warmup_stable_decay: steps must be at least 6, with warmup=3 and decay=3, got 5",
        ),
    ],
)
def test_errors_name_the_function_and_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_rates_are_computed_by_numpys_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's floats are rounded twice on 32-bit x86: the arithmetic here sees none but those that come in and go out."""
    seen = []
    between = schedule._between
    monkeypatch.setattr(
        schedule, "_between", lambda given, part: seen.extend([part, given.peak, given.final]) or between(given, part)
    )
    assert isinstance(schedule.cosine(3, peak=0.1, steps=7), float)
    assert isinstance(schedule.warmup_stable_decay(3, peak=0.1, steps=7, decay=6), float)
    assert [type(one) for one in seen] == [np.float64] * 6


def test_rates_that_overflow_do_not_warn() -> None:
    with np.errstate(all="raise"):
        assert schedule.linear_warmup(9, peak=1e308, warmup=20) == np.inf
        assert schedule.cosine(1, peak=5e-324, final=5e-324, steps=3) >= 0
