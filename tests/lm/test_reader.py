"""Reader: what was read before is not read again, and the logits are the same."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lm.requests import ARITHMETICS, MODEL

from samebits.autograd import no_grad
from samebits.core import numerics
from samebits.lm import LanguageModel
from samebits.lm.reader import Reader, common_beginning

pytestmark = pytest.mark.once

IDS = st.lists(st.integers(0, 2), min_size=1, max_size=40)


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@settings(max_examples=10)
@given(st.lists(IDS, min_size=1, max_size=5))
def test_logits_are_those_of_a_whole_pass(arithmetic: Any, texts: list[list[int]]) -> None:
    with numerics(arithmetic):
        reader = Reader(MODEL)
        for text in texts:
            reader.hold(len(text))
            with no_grad():
                expected = MODEL([text]).data[0, -1]
            assert (reader.logits(text) == expected).all() and reader.held == text
        assert reader.mode == arithmetic


def test_only_what_is_new_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samebits.lm.reader._CAPACITY", 8)
    monkeypatch.setattr("samebits.lm.reader._AT_ONCE", 3)
    widths: list[int] = []
    call = LanguageModel.__call__

    def counted(self: LanguageModel, ids: Any, *rest: Any, **more: Any) -> Any:
        widths.append(np.shape(ids)[1])
        return call(self, ids, *rest, **more)

    monkeypatch.setattr(LanguageModel, "__call__", counted)
    reader = Reader(MODEL)
    for text in ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6], [1, 2, 7], [1, 2, 7]):
        reader.hold(len(text))
        reader.logits(text)
    assert widths == [3, 2, 1, 1, 1]
    reader.hold(9)  # more than it has a place for: all is read again
    reader.logits([1, 2, 7])
    assert widths[5:] == [3]


@given(IDS, IDS)
def test_the_common_beginning_is_the_longest(first: list[int], second: list[int]) -> None:
    length = common_beginning(first, second)
    assert (first[:length] == second[:length] and first[: length + 1] != second[: length + 1]) or first == second
