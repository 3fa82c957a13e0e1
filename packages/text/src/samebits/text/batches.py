"""Batching: windows of tokens, as inputs and targets of a language model.

Causal language modeling predicts the next token at every position, so the targets are the inputs shifted by one token:

    tokens   t0 t1 t2 t3 t4        inputs  t0 t1 t2 t3
                                   targets t1 t2 t3 t4

`Batches` cuts the tokens into windows, in every epoch from another offset, and goes through them in random order. The
batch of a step is a function of the stream and the step alone: the state of a run is one integer, and a resumed run
continues with the same bytes. Tokens come from `tokens` or from a tokenizer.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core import Stream, digest
from samebits.core.arguments import integer, integer_array

__all__ = ["Batches", "evaluation_windows", "windows_at"]

Int64 = npt.NDArray[np.int64]
Ids = npt.NDArray[np.integer[Any]]
Batch = tuple[Int64, Int64]


class Batches:
    """An endless iterator of batches of random windows of tokens.

    An epoch is a random offset, the windows that start there and after every ``time`` tokens, and a permutation of them.
    Within an epoch no window repeats and no two overlap. Fewer than ``2 time`` tokens at the two ends are left out, others
    in every epoch. A batch may take its last windows from the next epoch, so all batches have the same size. (Independent
    starts, as in nanoGPT's ``get_batch``, cover 1 - 1/e = 63 % of the text after as many windows, some of it many times.)

    Args:
        tokens: Ids (N,): an array of any integer dtype, such as that of a memory-mapped `Tokens`, or a list of ints; N > T.
        batch: B, the number of windows in a batch.
        time: T, the number of tokens in a window.
        stream: The source of the random order. It is not drawn from, only split by the numbers of the epochs.
        step: The batch to start with.

    Raises:
        TypeError: ``tokens`` are not integers, an option is not an int, or ``stream`` is not a Stream.
        ValueError: ``tokens`` are not one-dimensional or too few, or an option is out of range.

    Attributes:
        step: The step of the next batch.
        batch_size: B.
        time: T.
        windows: The number of windows in an epoch.

    Example:
        >>> batches = Batches(np.arange(100), batch=2, time=4, stream=Stream(0))
        >>> inputs, targets = next(batches)
        >>> inputs.tolist(), targets.tolist()
        ([[57, 58, 59, 60], [1, 2, 3, 4]], [[58, 59, 60, 61], [2, 3, 4, 5]])
        >>> batches.step, batches.windows
        (1, 24)
        >>> again = Batches.from_state(np.arange(100), batches.state)
        >>> next(again)[0].tolist() == next(batches)[0].tolist()
        True
    """

    def __init__(self, tokens: Ids | Sequence[int], *, batch: int, time: int, stream: Stream, step: int = 0) -> None:
        if not isinstance(stream, Stream):
            raise TypeError(f"Batches: stream must be a Stream such as Stream(0), got {stream!r}")
        self._tokens, self._stream = _ids("Batches", tokens), stream
        self.batch_size = integer("Batches", "batch", batch, 1)
        self.time = integer("Batches", "time", time, 1)
        self.step = integer("Batches", "step", step, 0)
        if self._tokens.size <= self.time:
            raise ValueError(f"Batches: tokens must have more than time={time} ids, got {self._tokens.size}")
        self.windows = max(1, (self._tokens.size - self.time) // self.time)  # one fewer than fit, for the offset
        self._offsets = self._tokens.size - self.windows * self.time
        self._drawn = -1, np.empty(0, np.int64)  # the epoch used last, and its starts

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> Batch:
        """The next batch: inputs and targets, two new int64 arrays (B, T)."""
        batch = self.batch(self.step)
        self.step += 1
        return batch

    @property
    def epoch(self) -> int:
        """The number of completed epochs."""
        return self.step * self.batch_size // self.windows

    def batch(self, step: int) -> Batch:
        """The inputs and targets of any step, int64 (B, T). The iterator does not advance.

        Raises:
            TypeError: ``step`` is not an int.
            ValueError: ``step`` is negative.
        """
        first, starts = integer("batch", "step", step, 0) * self.batch_size, np.empty(self.batch_size, np.int64)
        done = 0
        while done < starts.size:
            epoch, index = divmod(first + done, self.windows)
            part = self._starts(epoch)[index : index + starts.size - done]
            starts[done : done + part.size] = part
            done += part.size
        return windows_at(self._tokens, starts, self.time)

    def _starts(self, epoch: int) -> Int64:
        """The starts of an epoch's windows, in their random order."""
        if self._drawn[0] != epoch:
            stream = self._stream.split(epoch)
            offset = stream.integers(self._offsets)
            self._drawn = epoch, stream.permutation(self.windows) * np.int64(self.time) + offset
        return self._drawn[1]

    @property
    def state(self) -> dict[str, Any]:
        """The state of the iteration as a JSON object, with the digest of the next batch."""
        return {
            "tokens": self._tokens.size,
            "step": self.step,
            "batch": self.batch_size,
            "time": self.time,
            "stream": self._stream.state,
            "next": digest(np.stack(self.batch(self.step))),
        }

    @classmethod
    def from_state(cls, tokens: Ids | Sequence[int], state: Mapping[str, Any]) -> "Batches":
        """Restore batches from their tokens and their ``state``.

        Raises:
            ValueError: ``state`` does not come from `Batches.state`, or was taken with other tokens: their number or the
                digest of the next batch differs.
        """
        try:
            stream, expected = Stream.from_state(state["stream"]), (state["tokens"], state["next"])
            batches = cls(tokens, batch=state["batch"], time=state["time"], stream=stream, step=state["step"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"from_state: state must come from Batches.state for these tokens, got {state!r}: {error!r}"
            ) from error
        found = batches.state["tokens"], batches.state["next"]
        if found != expected:
            raise ValueError(
                f"from_state: tokens must be those of the state, {expected[0]} ids with the next batch {expected[1]}, "
                f"got {found[0]} ids with the next batch {found[1]}"
            )
        return batches


def evaluation_windows(tokens: Ids | Sequence[int], *, time: int, batch: int) -> Iterator[Batch]:
    """Batches of all windows in order: every token but the first is a target exactly once.

    Args:
        tokens: Ids (N,): an array of any integer dtype or a list of ints, at least two.
        time: T, the number of tokens in a window.
        batch: B, the largest number of windows in a batch.

    Returns:
        Inputs and targets, new int64 arrays (B, T). The last batches are smaller, (fewer than B, T) and (1, fewer than T), so
        weight a mean over batches by ``targets.size``.

    Raises:
        TypeError: ``tokens`` are not integers, or an option is not an int.
        ValueError: ``tokens`` are not one-dimensional or too few, or an option is not positive.

    Example:
        >>> [targets.tolist() for _, targets in evaluation_windows(np.arange(10), time=4, batch=8)]
        [[[1, 2, 3, 4], [5, 6, 7, 8]], [[9]]]
    """
    ids = _ids("evaluation_windows", tokens)
    time, batch = integer("evaluation_windows", "time", time, 1), integer("evaluation_windows", "batch", batch, 1)
    if ids.size < 2:
        raise ValueError(f"evaluation_windows: tokens must have at least 2 ids, an input and its target, got {ids.size}")
    return _in_order(ids, time, batch)


def _in_order(tokens: Ids, time: int, batch: int) -> Iterator[Batch]:
    whole, rest = divmod(tokens.size - 1, time)
    for first in range(0, whole, batch):
        yield windows_at(tokens, np.arange(first, min(first + batch, whole), dtype=np.int64) * np.int64(time), time)
    if rest:
        yield windows_at(tokens, np.array([whole * time], np.int64), rest)


def windows_at(tokens: Ids, starts: Int64, time: int) -> Batch:
    """The windows of T = ``time`` tokens that start at ``starts`` (B,): inputs and targets, new int64 arrays (B, T).

    Example:
        >>> [part.tolist() for part in windows_at(np.arange(10), np.array([0, 4]), 3)]
        [[[0, 1, 2], [4, 5, 6]], [[1, 2, 3], [5, 6, 7]]]
    """
    windows = tokens[starts[:, None] + np.arange(time + 1, dtype=np.int64)]
    return windows[:, :-1].astype(np.int64, order="C"), windows[:, 1:].astype(np.int64, order="C")


def _ids(function: str, tokens: Ids | Sequence[int]) -> Ids:
    """The ids as an array: integers of any dtype stay as they are, since a mapped file must not be loaded."""
    mapped = isinstance(tokens, np.ndarray) and tokens.dtype.kind in "iu" and tokens.dtype != np.uint64
    ids: Ids = np.asarray(tokens) if mapped else integer_array(function, "tokens", tokens)
    if ids.ndim != 1:
        raise ValueError(f"{function}: tokens must be one-dimensional, got shape {ids.shape}")
    return ids
