"""Drafts: guesses of the next tokens, of which the engine checks several in one pass of the model (speculative decoding).

    text so far -> a draft of k tokens -> logits after each of them, in one pass -> those that are chosen are kept

A token is chosen from the model's own logits with the draw that it has without a draft, and is kept as long as the draft had it too. So
a draft changes no bit of a text (Leviathan et al., 2023, Fast inference from transformers via speculative decoding; here with a rule
for deterministic choices). It only decides how many tokens a pass gives.
"""

from array import array
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from samebits.lm.model import LanguageModel
from samebits.lm.reader import Reader, common_beginning
from samebits.text.tokenizer import Tokenizer

__all__ = ["Draft", "ModelDraft", "RepeatedDraft"]

_LENGTHS = range(4, 1, -1)  # of the end of a text that is looked for in it, the longest first
_TEXTS = 8  # that a draft model keeps the keys and values of
_ENDS = 16  # so many ids at the end of what it has read may differ from a text that goes on: those of drafts


class Draft(Protocol):
    """Guesses the next tokens of a text."""

    def draft(self, ids: Sequence[int], most: int) -> list[int]:
        """At most ``most`` ids of the vocabulary that may follow ``ids``, of which there is one at least; [] for no guess."""


class RepeatedDraft:
    """What followed the end of the text where it occurred before (Saxena, 2023, Prompt lookup decoding).

    Example:
        >>> RepeatedDraft().draft([1, 2, 3, 4, 5, 1, 2, 3], 4)
        [4, 5, 1, 2]
        >>> RepeatedDraft().draft([1, 2, 1, 2], 5), RepeatedDraft().draft([1, 2, 3], 5)
        ([1, 2, 1, 2, 1], [])
    """

    def draft(self, ids: Sequence[int], most: int) -> list[int]:
        """What followed the last 4 ids, or 3 or 2, where they occurred the last time; see `Draft`."""
        text = array("q", ids).tobytes()
        for length in _LENGTHS:
            place = _last(text, length)
            if place >= 0:
                period = len(ids) - length - place  # so far ahead is the text that the draft repeats
                found = list(ids[-period:])[:most]
                while len(found) < most:
                    found.append(found[-period])
                return found
        return []


def _last(text: bytes, length: int) -> int:
    """Where the last ids of a text, 8 bytes each, occurred before; -1 if they did not."""
    size, stop = 8 * length, len(text) - 8
    while (place := text.rfind(text[-size:], 0, stop)) > 0 and place % 8:
        stop = place + size - 1
    return place // 8


class ModelDraft:
    """What another, smaller model holds most likely. It reads each text once, in the arithmetic that is active at its first draft.

    Args:
        model: The model, in evaluation mode.
        tokenizer: The tokenizer of the texts, which must be that of the model.

    Raises:
        ValueError: The vocabulary sizes of model and tokenizer differ, or the model is in training mode.

    Example:
        >>> from samebits.core import Stream
        >>> from samebits.lm import ModelConfig
        >>> from samebits.text import CharacterTokenizer
        >>> config = ModelConfig(vocabulary_size=3, context=64, layers=1, heads=2, channels=16)
        >>> draft = ModelDraft(LanguageModel(config, stream=Stream(0)).eval(), CharacterTokenizer("abc"))
        >>> len(draft.draft([0, 1], 4))
        4
    """

    def __init__(self, model: LanguageModel, tokenizer: Tokenizer) -> None:
        size = model.config.vocabulary_size
        if tokenizer.vocabulary_size != size:
            raise ValueError(f"ModelDraft: model must have {tokenizer.vocabulary_size} tokens, as the tokenizer, got {size}")
        if model.training:
            raise ValueError("ModelDraft: model must be in evaluation mode, got one in training mode; call its eval()")
        self._model = model
        self._readers: list[Reader] = []  # the one that was used last is the last

    def draft(self, ids: Sequence[int], most: int) -> list[int]:
        """The likeliest ids, one after the other; none if they do not fit the model's context; see `Draft`."""
        if len(ids) + most > self._model.config.context:
            return []
        reader, found = self._reader(ids), list(ids)
        reader.hold(len(ids) + most)
        try:
            for _ in range(most):
                found.append(int(np.argmax(reader.logits(found))))
        except FloatingPointError:
            pass  # the draft ends here
        return found[len(ids) :]

    def _reader(self, ids: Sequence[int]) -> Reader:
        """The reader that has read a beginning of a text; a new one, or the one that was not used for the longest time."""
        for reader in self._readers:
            if len(reader.held) - common_beginning(reader.held, ids) <= _ENDS:
                break
        else:
            reader = Reader(self._model) if len(self._readers) < _TEXTS else self._readers[0]
        self._readers = [*(one for one in self._readers if one is not reader), reader]
        return reader
