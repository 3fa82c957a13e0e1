"""Batching: token files, and the windows of tokens a language model learns from.

Causal language modelling asks for the next token at every position, so the targets are the inputs one step further on:

    tokens   t0 t1 t2 t3 t4        inputs  t0 t1 t2 t3
                                   targets t1 t2 t3 t4

`Batches` cuts the tokens into windows, anew in every epoch from another offset, and goes through them in random order.
The batch of a step is a function of the stream and the step alone: where a run stands is one whole number, and a resumed run
goes on with the same bytes. How text becomes tokens is left to `tokenizer`.
"""

import operator
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core import Stream, digest

__all__ = ["Batches", "evaluation_windows", "windows_at"]

Int64 = npt.NDArray[np.int64]
Ids = npt.NDArray[np.integer[Any]]
Batch = tuple[Int64, Int64]


class Batches:
    """Random windows of tokens, batch after batch without end.

    An epoch is a random offset, the windows that begin there and at every ``time`` tokens from there on, and a permutation of
    them. Inside an epoch no window comes twice and no two overlap; fewer than ``2 time`` tokens at the two ends are left out,
    others in every epoch. A batch may take its last windows from the next epoch, so none is cut short. (Independent starts, as
    in nanoGPT's ``get_batch``, have seen 1 - 1/e = 63 % of the text after as many windows, some of it many times.)

    Args:
        tokens: Ids (N,) of any integer dtype, such as those of a memory-mapped `Tokens`; N is more than ``time``.
        batch: B, the number of windows in a batch.
        time: T, the number of tokens in a window.
        stream: Where the order comes from. It is not drawn from, only split by the numbers of the epochs.
        step: The batch to begin with.

    Raises:
        TypeError: ``tokens`` is not an array of integers, or a number is not whole.
        ValueError: ``tokens`` is not one-dimensional or too short, or a number is out of range.

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

    def __init__(self, tokens: Ids, *, batch: int, time: int, stream: Stream, step: int = 0) -> None:
        self._tokens, self._stream = _ids(tokens), stream
        self.batch_size, self.time = _whole("batch", batch, 1), _whole("time", time, 1)
        self.step = _whole("step", step, 0)
        if self._tokens.size <= self.time:
            raise ValueError(
                f"tokens has {self._tokens.size} ids: more than time={time} are needed, a window and the id after it"
            )
        self.windows = max(1, (self._tokens.size - self.time) // self.time)  # one less than fit: room for the offset
        self._offsets = self._tokens.size - self.windows * self.time
        self._drawn = -1, np.empty(0, np.int64)  # the last epoch that was asked for, and its starts

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> Batch:
        """The next batch, two fresh int64 arrays (B, T): the inputs, and the targets one token further on."""
        batch = self.batch(self.step)
        self.step += 1
        return batch

    @property
    def epoch(self) -> int:
        """How often all windows have been seen."""
        return self.step * self.batch_size // self.windows

    def batch(self, step: int) -> Batch:
        """The inputs and targets of a step, int64 (B, T), wherever the iteration stands.

        Raises:
            TypeError: ``step`` is not a whole number.
            ValueError: ``step`` is negative.
        """
        first, starts = _whole("step", step, 0) * self.batch_size, np.empty(self.batch_size, np.int64)
        done = 0
        while done < starts.size:
            epoch, index = divmod(first + done, self.windows)
            part = self._starts(epoch)[index : index + starts.size - done]
            starts[done : done + part.size] = part
            done += part.size
        return windows_at(self._tokens, starts, self.time)

    def _starts(self, epoch: int) -> Int64:
        """Where the windows of an epoch begin, in their order."""
        if self._drawn[0] != epoch:
            stream = self._stream.split(epoch)
            offset = stream.integers(self._offsets)
            self._drawn = epoch, stream.permutation(self.windows) * np.int64(self.time) + offset
        return self._drawn[1]

    @property
    def state(self) -> dict[str, Any]:
        """Where the iteration stands, as a JSON object; it carries the digest of the batch that comes next."""
        return {
            "tokens": self._tokens.size,
            "step": self.step,
            "batch": self.batch_size,
            "time": self.time,
            "stream": self._stream.state,
            "next": digest(np.stack(self.batch(self.step))),
        }

    @classmethod
    def from_state(cls, tokens: Ids, state: Mapping[str, Any]) -> "Batches":
        """The batches of these tokens that stood at ``state``.

        Raises:
            ValueError: ``state`` is not what `Batches.state` gives, or these are other tokens: they have another number, or
                another next batch.
        """
        try:
            stream, expected = Stream.from_state(state["stream"]), (state["tokens"], state["next"])
            batches = cls(tokens, batch=state["batch"], time=state["time"], stream=stream, step=state["step"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"state is {state!r}, not what Batches.state gives for these tokens: {error!r}") from error
        if (tokens.size, batches.state["next"]) != expected:
            raise ValueError(
                f"tokens has {tokens.size} ids, and not those that the state was taken from: "
                f"there were {expected[0]}, and the next batch had the digest {expected[1]}"
            )
        return batches


def evaluation_windows(tokens: Ids, *, time: int, batch: int) -> Iterator[Batch]:
    """All tokens once, in order and the same every time: every token but the first is a target exactly once.

    Args:
        tokens: Ids (N,) of any integer dtype, at least two.
        time: T, the number of tokens in a window.
        batch: B, the most windows in a batch.

    Returns:
        Inputs and targets, fresh int64 arrays (B, T); the last batches are smaller, (fewer, T) and (1, less than T). So weigh
        a mean over batches by ``targets.size``.

    Raises:
        TypeError: ``tokens`` is not an array of integers, or a number is not whole.
        ValueError: ``tokens`` is not one-dimensional or too short, or a number is not positive.

    Example:
        >>> [targets.tolist() for _, targets in evaluation_windows(np.arange(10), time=4, batch=8)]
        [[[1, 2, 3, 4], [5, 6, 7, 8]], [[9]]]
    """
    tokens, time, batch = _ids(tokens), _whole("time", time, 1), _whole("batch", batch, 1)
    if tokens.size < 2:
        raise ValueError(f"tokens has {tokens.size} ids: at least two are needed, an input and its target")
    return _in_order(tokens, time, batch)


def _in_order(tokens: Ids, time: int, batch: int) -> Iterator[Batch]:
    whole, rest = divmod(tokens.size - 1, time)
    for first in range(0, whole, batch):
        yield windows_at(tokens, np.arange(first, min(first + batch, whole), dtype=np.int64) * np.int64(time), time)
    if rest:
        yield windows_at(tokens, np.array([whole * time], np.int64), rest)


def windows_at(tokens: Ids, starts: Int64, time: int) -> Batch:
    """The windows that begin at ``starts``: inputs and targets int64 (starts, time), fresh arrays both.

    Example:
        >>> [part.tolist() for part in windows_at(np.arange(10), np.array([0, 4]), 3)]
        [[[0, 1, 2], [4, 5, 6]], [[1, 2, 3], [5, 6, 7]]]
    """
    windows = tokens[starts[:, None] + np.arange(time + 1, dtype=np.int64)]
    return windows[:, :-1].astype(np.int64, order="C"), windows[:, 1:].astype(np.int64, order="C")


def _ids(tokens: Ids) -> Ids:
    if not isinstance(tokens, np.ndarray) or tokens.dtype.kind not in "iu" or tokens.dtype == np.uint64:
        kind = f"an array of {tokens.dtype}" if isinstance(tokens, np.ndarray) else type(tokens).__name__
        raise TypeError(f"tokens is {kind}: an array of integers that fit int64 is needed")
    if tokens.ndim != 1:
        raise ValueError(f"tokens has shape {tokens.shape}: one dimension is needed")
    return np.asarray(tokens)


def _whole(name: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} is {value!r}: a whole number is needed")
    if value < least:
        raise ValueError(f"{name} is {value}: at least {least} is needed")
    return operator.index(value)
