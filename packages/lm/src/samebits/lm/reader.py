"""Reader: a model that reads a text once, however often its end changes.

    ids -> their longest beginning that was read before is kept -> the model reads the rest -> logits of the next id

In exact and int16 arithmetic, the logits have the bits that they have when everything is read from scratch.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from samebits.autograd import no_grad
from samebits.core import Mode, current, numerics, require_arithmetic, restore_arithmetic
from samebits.lm.model import LanguageModel
from samebits.nn.cache import KeyValueCache

__all__ = ["Reader", "common_beginning"]

_CAPACITY = 4096  # tokens that caches hold at first
_AT_ONCE = 256  # tokens that are read in one step: what is computed of them takes memory


class Reader:
    """A model that keeps the keys and values of the ids it has read, in the arithmetic that is active when it is made.

    Example:
        >>> from samebits.core import Stream
        >>> from samebits.lm import ModelConfig
        >>> config = ModelConfig(vocabulary_size=5, context=64, layers=1, heads=2, channels=16)
        >>> reader = Reader(LanguageModel(config, stream=Stream(0)).eval())
        >>> reader.hold(4)
        >>> reader.logits([1, 2, 3]).shape, reader.held
        ((5,), [1, 2, 3])
    """

    mode: Mode
    """The arithmetic."""

    context: int
    """The largest number of ids."""

    held: list[int]
    """The ids whose keys and values are kept."""

    def __init__(self, model: LanguageModel) -> None:
        self._model, self.mode, self.context = model, current().name, model.config.context
        self._caches: list[KeyValueCache] = []
        self._capacity = 0
        self.held = []

    def hold(self, tokens: int) -> None:
        """Let the caches hold so many ids. New ones hold twice as many as before, and everything is read again."""
        if tokens > self._capacity:
            self._capacity = min(self.context, max(_CAPACITY, tokens, 2 * self._capacity))
            with numerics(self.mode):
                self._caches = [block.cache(1, self._capacity) for block in self._model.blocks]
            self.held = []

    def logits(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """The logits (V,) of the id that follows; a beginning that was read before is not read again."""
        restore_arithmetic()
        del self.held[common_beginning(self.held, ids[:-1]) :]  # the last one is always read, for its logits
        while (start := len(self.held)) < len(ids):
            new = list(ids[start : start + _AT_ONCE])
            for cache in self._caches:
                cache.lengths = np.array([start], np.int64)
            with numerics(self.mode), no_grad():
                last = self._model(np.array([new], np.int64), self._caches, at=[len(new) - 1])
            logits: npt.NDArray[np.float32] = last.data[0, 0]
            self.held += new
        require_arithmetic()
        return logits


def common_beginning(first: Sequence[int], second: Sequence[int]) -> int:
    """The length of the longest common beginning.

    Example:
        >>> common_beginning([1, 2, 3], [1, 2, 4, 5])
        2
    """
    length = min(len(first), len(second))
    if first[:length] == second[:length]:
        return length
    return next(i for i in range(length) if first[i] != second[i])
