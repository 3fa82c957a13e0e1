"""Dropout: the mask comes from the stream alone, the mean is kept, and evaluation is the identity."""

from typing import Any

import numpy as np
import pytest

from samebits.autograd import Tensor, gradient_check, gradients
from samebits.core import Stream, blocks
from samebits.nn.regularization import Dropout, dropout


def test_gradients_are_those_of_central_differences() -> None:
    gradient_check(lambda x: dropout(x, 0.3, Stream(0)), np.ones((4, 5)))


def test_kept_elements_are_drawn_from_the_stream_and_scaled() -> None:
    x = np.asarray(Stream(1).normal(size=(40, 50)))
    kept = Stream(2).bernoulli(0.75, (40, 50))
    found = dropout(Tensor(x), 0.25, Stream(2)).numpy()
    np.testing.assert_array_equal(found, np.where(kept, (x / 0.75).astype(np.float32), 0))
    assert 0.2 < 1 - kept.mean() < 0.3  # 2000 draws: within five standard deviations


def test_a_numpy_probability_has_the_bits_of_a_python_float() -> None:
    x = Tensor(np.asarray(Stream(1).normal(size=(40, 50))))
    p: Any = np.float32(0.3)
    assert dropout(x, p, Stream(2)).numpy().tobytes() == dropout(x, float(p), Stream(2)).numpy().tobytes()


def test_the_gradient_has_the_mask_of_the_value() -> None:
    x = Tensor(np.ones(1000, np.float32), requires_grad=True)
    output = dropout(x, 0.5, Stream(3))
    (g,) = gradients(output, [x], np.ones(1000, np.float32))
    assert g.numpy().tobytes() == output.numpy().tobytes()


def test_blocks_cannot_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    x = Tensor(Stream(1).normal(size=(30, 70)))
    expected = dropout(x, 0.1, Stream(2)).numpy().tobytes()
    for block in (7, 1000, 10**6):
        monkeypatch.setattr(blocks, "CACHE_BYTES", block)
        assert dropout(x, 0.1, Stream(2)).numpy().tobytes() == expected


def test_the_layer_does_nothing_outside_of_training_or_with_p_0() -> None:
    x = Tensor([1.0, 2.0])
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert Dropout(0.5)(x, Stream(0)).tolist() == dropout(x, 0.5, Stream(0)).tolist()


@pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
def test_empty_and_scalar_shapes(shape: tuple[int, ...]) -> None:
    assert dropout(Tensor(np.ones(shape, np.float32)), 0.5, Stream(0)).shape == shape


def test_errors_name_the_argument() -> None:
    x = Tensor([1.0])
    with pytest.raises(ValueError, match="Dropout: stream must be a Stream in training, got None"):
        Dropout(0.5)(x)
    for p in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match=f"dropout: p must be at least 0 and below 1, got {p}"):
            dropout(x, p, Stream(0))
        with pytest.raises(ValueError, match=f"Dropout: p must be at least 0 and below 1, got {p}"):
            Dropout(p)
    with pytest.raises(TypeError, match=r"dropout: x must be float32, got int64"):
        dropout(Tensor([1]), 0.5, Stream(0))
