"""Initializers: the distribution of each formula, from the stream alone."""

import math

import numpy as np
import pytest

from samebits.core import Stream
from samebits.nn import initializer

SHAPE = (300, 200)  # outputs, inputs

SPREADS = {
    "normal": (initializer.normal(std=0.3, mean=1.0), 1.0, 0.3, math.inf),
    "truncated_normal": (initializer.truncated_normal(std=0.5), 0.0, 0.5 * 0.879626, 1.0),  # of one cut at 2 std
    "uniform": (initializer.uniform(-1.0, 3.0), 1.0, 4 / math.sqrt(12), 2.0),
    "xavier_uniform": (initializer.xavier_uniform(), 0.0, math.sqrt(2 / 500), math.sqrt(6 / 500)),
    "xavier_normal": (initializer.xavier_normal(gain=2.0), 0.0, 2 * math.sqrt(2 / 500), math.inf),
    "kaiming_uniform": (initializer.kaiming_uniform(), 0.0, math.sqrt(2 / 200), math.sqrt(6 / 200)),
    "kaiming_uniform as in linear layers": (
        initializer.kaiming_uniform(gain=math.sqrt(1 / 3)),
        0.0,
        math.sqrt(1 / 3 / 200),
        math.sqrt(1 / 200),
    ),
    "kaiming_normal": (initializer.kaiming_normal(gain=1.0, fan="outputs"), 0.0, math.sqrt(1 / 300), math.inf),
    "scaled_residual": (initializer.scaled_residual(layers=8), 0.0, 0.02 / 4, math.inf),
}


@pytest.mark.parametrize("name", SPREADS)
def test_mean_standard_deviation_and_bounds_are_those_of_the_formula(name):
    make, mean, std, bound = SPREADS[name]
    x = make(Stream(3), SHAPE)
    assert x.shape == SHAPE and x.dtype == np.float32 and x.flags.c_contiguous
    wide = x.astype(np.float64)
    assert abs(wide.mean() - mean) < 5 * std / math.sqrt(x.size)  # five standard errors
    assert abs(wide.std() / std - 1) < 0.015
    assert np.abs(wide - mean).max() <= bound * (1 + 2**-23)


@pytest.mark.parametrize("name", SPREADS)
def test_the_stream_alone_decides(name):
    make, *_ = SPREADS[name]
    assert np.array_equal(make(Stream(1), (4, 6)), make(Stream(1), (4, 6)))
    assert not np.array_equal(make(Stream(1), (4, 6)), make(Stream(2), (4, 6)))


def test_zeros_and_ones_draw_nothing():
    stream = Stream(0)
    assert initializer.zeros(stream, (2, 3)).tolist() == [[0] * 3] * 2
    assert initializer.ones(stream, (3,)).tolist() == [1] * 3
    assert stream.state == Stream(0).state


def test_a_scalar_is_an_array_without_axes():
    assert isinstance(initializer.normal()(Stream(0), ()), np.ndarray)


def test_a_standard_deviation_by_inputs_requires_a_matrix():
    for make in (initializer.xavier_uniform(), initializer.xavier_normal(), initializer.kaiming_uniform()):
        with pytest.raises(ValueError, match=r"shape must be \(outputs, inputs\), neither 0, got \(3,\)"):
            make(Stream(0), (3,))


def test_unknown_options_are_refused():
    with pytest.raises(ValueError, match="kaiming_uniform: fan must be 'inputs' or 'outputs', got 'in'"):
        initializer.kaiming_uniform(fan="in")(Stream(0), SHAPE)
    with pytest.raises(ValueError, match="scaled_residual: layers must be at least 1, got 0"):
        initializer.scaled_residual(0)


def test_numpy_options_have_the_bits_of_python_numbers():
    gain = np.float32(1.3)
    for make in (initializer.xavier_uniform, initializer.xavier_normal, initializer.kaiming_uniform, initializer.kaiming_normal):
        assert make(gain)(Stream(0), SHAPE).tobytes() == make(float(gain))(Stream(0), SHAPE).tobytes()
    found = [
        initializer.scaled_residual(3, std)(Stream(0), SHAPE).tobytes() for std in (np.float32(0.02), float(np.float32(0.02)))
    ]
    assert found[0] == found[1]


def test_parameters_have_what_an_initializer_draws_and_can_be_edited() -> None:
    for make in (initializer.zeros, initializer.ones, initializer.normal(std=0.02)):
        parameter = initializer.initialized(make, Stream(1), (3, 2))
        assert parameter.requires_grad and parameter.is_leaf
        assert parameter.numpy().tobytes() == make(Stream(1), (3, 2)).tobytes()
        with parameter.edit() as array:
            array[...] = 5
        assert (parameter.numpy() == 5).all()
