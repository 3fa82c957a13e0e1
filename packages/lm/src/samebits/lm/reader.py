"""Reader: a model that reads a text once, however often its end changes.

    ids -> their longest beginning that was read before is kept -> the model reads the rest -> logits of the next id

In exact and int16 arithmetic, the logits have the bits that they have when everything is read from scratch.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from samebits.autograd import no_grad
from samebits.core import Mode, current, numerics, require_arithmetic, restore_arithmetic
from samebits.lm.model import LanguageModel
from samebits.nn.cache import KeyValueCache

__all__ = ["Reader", "common_beginning"]

Float32 = npt.NDArray[np.float32]

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

    def logits(self, ids: Sequence[int]) -> Float32:
        """The logits (V,) of the id that follows; a beginning that was read before is not read again."""
        return next(self.read(ids, [len(ids) - 1]))[1]

    def read(self, ids: Sequence[int], places: Sequence[int]) -> Iterator[tuple[int, Float32]]:
        """The logits (V,) of the id after each of some places, which ascend; what follows the last one is not read."""
        if not places:
            return
        del self.held[min(common_beginning(self.held, ids), places[0]) :]  # what stands there is read, for its logits
        while (start := len(self.held)) <= places[-1]:
            new = list(ids[start : min(start + _AT_ONCE, places[-1] + 1)])
            there = [place for place in places if start <= place < start + len(new)]
            for cache in self._caches:
                cache.lengths = np.array([start], np.int64)
            rows = [place - start for place in there] or [0]  # of no use where there are none
            restore_arithmetic()
            with numerics(self.mode), no_grad():
                logits: Float32 = self._model(np.array([new], np.int64), self._caches, at=[rows]).data[0]
            require_arithmetic()
            self.held += new
            yield from zip(there, logits, strict=False)


def common_beginning(first: Sequence[object], second: Sequence[object]) -> int:
    """The length of the longest common beginning.

    Example:
        >>> common_beginning([1, 2, 3], [1, 2, 4, 5])
        2
    """
    length = min(len(first), len(second))
    if first[:length] == second[:length]:
        return length
    return next(i for i in range(length) if first[i] != second[i])
