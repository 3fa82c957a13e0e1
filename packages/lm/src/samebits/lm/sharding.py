"""Sharding: the gradient of a step is the mean of its shards' gradients, with the same bits for any number of workers.

    shard 0, 1, ... of the batch -> gradients -> largest exponents of all shards -> sums on grids -> mean, rounded once

`samebits.core.shards` has the arithmetic, whose result does not depend on the order. Worker r has the shards r, r + n, r + 2n, ...
Workers exchange the gradients in buckets of whole parameters, the last layers first. The exchange of a bucket begins as soon as the
backward pass of the worker's last shard has computed it, and goes on during the rest of that pass.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from samebits.autograd import Tensor
from samebits.autograd.graph import Node
from samebits.core.shards import grid_sum, largest_exponents, mean_of_shards, rounded_mean
from samebits.lm.workers import Pending, Workers

__all__ = ["ShardedGradients"]

Float32 = npt.NDArray[np.float32]

BUCKET = 2**18  # elements that are exchanged together, at least


class ShardedGradients:
    """Collects the gradients of the shards that this worker computes, and replaces them by the mean over all shards.

    Args:
        parameters: The parameters by name. Every shard gives each of them a gradient.
        shards: The number of all shards, at least that of workers.
        workers: The processes that compute them.

    Example:
        >>> from samebits.lm.workers import ALONE
        >>> x = Tensor([1.0], requires_grad=True)
        >>> gradients = ShardedGradients([("x", x)], 2, ALONE)
        >>> for factor in (2.0, 4.0):
        ...     (x * factor).sum().backward()
        ...     gradients.take()
        >>> gradients.average()
        >>> x.grad
        Tensor([3.])
    """

    def __init__(self, parameters: Sequence[tuple[str, Tensor]], shards: int, workers: Workers) -> None:
        self._shards, self._alone = shards, workers.size == 1
        self._parts = [_Parts(name, parameter) for name, parameter in reversed(parameters)]
        self._by_node = {one.parameter.node: one for one in self._parts}
        self._buckets = [] if self._alone else [_Bucket(some, shards, workers) for some in _filled(self._parts)]

    def take(self) -> None:
        """Take the gradients of one shard from the parameters."""
        if self._shards > 1:
            for one in self._parts:
                one.take()

    def take_last(self, leaf: Node) -> None:
        """Take the gradient of one parameter during the backward pass of this worker's last shard; see `Tensor.backward`."""
        one = self._by_node[leaf]
        one.take()
        one.complete = True
        self._progress()

    def average(self) -> None:
        """Give the parameters the mean of all shards' gradients; with one shard, they have it.

        Raises:
            FloatingPointError: A gradient is not finite; the message names its parameter.
        """
        if self._shards == 1:
            return
        for one in self._parts if self._alone else ():
            try:
                one.parameter.grad = Tensor(mean_of_shards(one.shards))
            except FloatingPointError:
                raise one.not_finite() from None
        for bucket in self._buckets:
            bucket.begin()
        for bucket in self._buckets:
            bucket.begin_sum()
        for bucket in self._buckets:
            bucket.finish()

    def _progress(self) -> None:
        """Begin and continue exchanges, each kind in the order of the buckets, which is the same for all workers."""
        for bucket in self._buckets:
            if not bucket.begun:
                if not bucket.complete:
                    return
                bucket.begin()
        for bucket in self._buckets:
            if not bucket.ended():
                return
            bucket.begin_sum()


class _Parts:
    """A parameter, and its gradients of the shards that this worker has computed so far."""

    def __init__(self, name: str, parameter: Tensor) -> None:
        self.name, self.parameter = name, parameter
        self.shards: list[Float32] = []
        self.complete = False

    def take(self) -> None:
        if self.parameter.grad is not None:
            self.shards.append(self.parameter.grad.data)
            self.parameter.grad = None

    def not_finite(self) -> FloatingPointError:
        return FloatingPointError(f"the gradient of parameter {self.name!r} must be finite")


class _Bucket:
    """The gradients of some parameters as one array, while they are exchanged."""

    def __init__(self, parts: Sequence[_Parts], shards: int, workers: Workers) -> None:
        self._parts, self._shards, self._workers = parts, shards, workers
        sizes = [one.parameter.size for one in parts]
        self._places = [slice(sum(sizes[:i]), sum(sizes[: i + 1])) for i in range(len(sizes))]
        self._exponents = np.zeros(sum(sizes), np.uint8)
        self._sums = np.zeros(sum(sizes))
        self._largest: Pending | None = None
        self._summed: Pending | None = None

    @property
    def complete(self) -> bool:
        """Whether this worker has computed all of its gradients."""
        return all(one.complete for one in self._parts)

    @property
    def begun(self) -> bool:
        return self._largest is not None

    def begin(self) -> None:
        """Begin to exchange exponents."""
        if self._largest is None:
            for one, place in zip(self._parts, self._places, strict=True):
                self._exponents[place] = largest_exponents(one.shards).reshape(-1)
            self._largest = self._workers.maximum(self._exponents)

    def ended(self) -> bool:
        """Whether the exponents have been exchanged; the call lets both exchanges go on."""
        if self._summed is not None:
            self._summed.Test()
            return True
        return self._largest is not None and bool(self._largest.Test())

    def begin_sum(self) -> None:
        """Begin to exchange sums, once exponents have been exchanged."""
        if self._summed is not None or self._largest is None:
            return
        self._largest.Wait()
        for one, place in zip(self._parts, self._places, strict=True):
            shards = [shard.reshape(-1) for shard in one.shards]
            try:
                self._sums[place] = grid_sum(shards, self._exponents[place], self._shards)
            except FloatingPointError:
                raise one.not_finite() from None
            one.shards.clear()
        self._summed = self._workers.total(self._sums)

    def finish(self) -> None:
        """Wait for the sums, and give the parameters their gradients."""
        if self._summed is not None:
            self._summed.Wait()
        for one, place in zip(self._parts, self._places, strict=True):
            one.parameter.grad = Tensor(rounded_mean(self._sums[place], self._shards).reshape(one.parameter.shape))


def _filled(parts: Sequence[_Parts]) -> list[list[_Parts]]:
    """The parameters in groups of at least BUCKET elements, in order; the last one has what is left."""
    groups: list[list[_Parts]] = [[]]
    for one in parts:
        if sum(other.parameter.size for other in groups[-1]) >= BUCKET:
            groups.append([])
        groups[-1].append(one)
    return groups
