"""Prefix cache: keys and values of texts that were read, so that a text with the same beginning is not read again.

    root -> the first 16 tokens -> the next 16 -> ...         a tree: texts with a common beginning share its blocks

What a `KeyValueCache` keeps of a token depends on it and on the tokens before it alone, so in exact and int16 arithmetic a copy has the
bits that reading would give. A block serves as far as its tokens agree. The blocks that were not used for the longest time are
dropped when all together are over the bound.

Each block has a key: SHA-256 of the key before and its tokens, the first key being that of the model and the arithmetic. With a folder,
each is in a file of this name too; it is read when it is first needed, and one that is damaged counts as missing.
"""

import hashlib
import json
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core import Mode
from samebits.core.arguments import integer
from samebits.lm.checkpoint import CheckpointError, load, read_header, save
from samebits.lm.reader import common_beginning
from samebits.nn.cache import KeyValueCache

__all__ = ["BLOCK", "PrefixCache"]

Array = npt.NDArray[Any]
Ids = tuple[int, ...]

BLOCK = 16
"""Tokens of a block: the places that `KeyValueCache.part` takes begin and end at multiples of it."""
_UNWRITTEN = 2**28  # bytes of blocks that wait to be written at most


@dataclass(eq=False)
class _Block:
    """Some tokens after those of its parents, and what a cache keeps of them in all layers."""

    key: str
    ids: Ids
    parent: "_Block | None"
    size: int
    arrays: list[Array] | None
    """None if they are in the file alone."""
    children: "dict[Ids, _Block]" = field(default_factory=dict)

    def nearest(self, ids: Ids) -> "tuple[_Block | None, int]":
        """The child that begins with the most of these ids, and how many."""
        if child := self.children.get(ids):
            return child, len(ids)
        pairs = ((one, common_beginning(one.ids, ids)) for one in self.children.values())
        return max(pairs, key=lambda pair: pair[1], default=(None, 0))


class PrefixCache:
    """Keys and values of the beginnings of texts.

    Args:
        model: The digest of the model.
        arithmetic: The arithmetic of the texts.
        limit: The largest number of bytes of all blocks: in memory, and in the folder.
        folder: Where blocks are written, if given, for later processes; it is created. Blocks of other models are not touched. One
            process at a time uses it.

    Raises:
        OSError: The folder cannot be created or read.
        TypeError: ``limit`` is not an int.
        ValueError: ``limit`` is negative.

    Example:
        >>> from samebits.core import numerics
        >>> prefixes = PrefixCache("0" * 64, "exact")
        >>> cache = KeyValueCache(batch=1, heads=1, capacity=32, channels=4)  # of a model with one layer
        >>> new = np.ones((1, 1, 20, 4), np.float32)
        >>> _ = cache.append(new, new)
        >>> prefixes.store(range(20), cache)
        >>> other = KeyValueCache(batch=1, heads=1, capacity=32, channels=4)
        >>> prefixes.load([*range(18), 5, 6], other)
        18
    """

    arithmetic: Mode
    """The arithmetic of the texts."""

    size: int
    """The number of bytes of all blocks."""

    def __init__(self, model: str, arithmetic: Mode, *, limit: int = 2**30, folder: Path | None = None) -> None:
        self.arithmetic, self._limit, self.size = arithmetic, integer("PrefixCache", "limit", limit, least=0), 0
        root = hashlib.sha256(f"samebits.prefix/1 {model} {arithmetic}".encode()).hexdigest()
        self._root = _Block(root, (), None, 0, [])
        self._blocks: dict[_Block, None] = {}  # the one that was not used for the longest time is the first
        self._folder = None if folder is None else folder / root
        self._files = ThreadPoolExecutor(1)  # writes and deletes one after the other; what fails will be a block that is missing
        self._writes: deque[tuple[Future[str], int]] = deque()  # and the bytes of each
        self._unwritten = 0
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._open(self._folder)
            self._shrink()

    def load(self, ids: Sequence[int], cache: KeyValueCache) -> int:
        """Copy what is kept of the beginning of these ids into a cache, without setting its lengths.

        Args:
            ids: Token ids.
            cache: A cache whose sequences are the layers, with a capacity of at least the number of ids, rounded up to 16.

        Returns:
            Of how many ids, from the first on, the cache has now the keys and values.
        """
        block, found, count = self._root, 0, BLOCK
        while count == BLOCK and found < len(ids):
            child, count = block.nearest(tuple(ids[found : found + BLOCK]))
            if child is None or not count or not self._copy(child, cache.part(found, found + BLOCK)):
                break
            found, block = found + count, child
        self._touch(block)
        return found

    def store(self, ids: Sequence[int], cache: KeyValueCache) -> None:
        """Keep a copy of what a cache has of these ids.

        Args:
            ids: Token ids, those of the cache from the first on.
            cache: As in `load`.
        """
        block = self._root
        for start in range(0, len(ids), BLOCK):
            new = tuple(ids[start : start + BLOCK])
            child, count = block.nearest(new)
            if child is None or count < len(new):
                child = self._add(block, new, [x.copy() for x in cache.part(start, start + BLOCK)])
            block = child
        self._touch(block)
        self._shrink()

    def close(self) -> None:
        """Wait until all blocks are written to the folder. Nothing is loaded or stored afterwards."""
        self._files.shutdown()

    # Blocks

    def _add(self, parent: _Block, ids: Ids, arrays: list[Array]) -> _Block:
        """Add a block. One that has a part of its ids, and so no children, is no longer needed."""
        for old in [one for one in parent.children.values() if ids[: len(one.ids)] == one.ids]:
            self._drop(old)
        block = _Block(_key(parent.key, ids), ids, parent, sum(x.nbytes for x in arrays), arrays)
        self._link(block)
        if self._folder is not None:
            self._write(block, {str(i): x for i, x in enumerate(arrays)}, {"parent": parent.key, "ids": json.dumps(ids)})
        return block

    def _write(self, block: _Block, tensors: dict[str, Array], metadata: dict[str, str]) -> None:
        """Write a block to its file; not if the disk is so slow that too many wait for it."""
        while self._writes and self._writes[0][0].done():
            self._unwritten -= self._writes.popleft()[1]
        if self._unwritten + block.size <= _UNWRITTEN:
            self._writes.append((self._files.submit(save, self._path(block), tensors, metadata), block.size))
            self._unwritten += block.size

    def _link(self, block: _Block) -> None:
        if block.parent is not None:
            block.parent.children[block.ids] = block
        self._blocks[block] = None
        self.size += block.size

    def _drop(self, block: _Block) -> None:
        """Remove a block and those that follow it."""
        if block.parent is not None:
            del block.parent.children[block.ids]
        dropped = [block]
        for one in dropped:  # which grows
            dropped += one.children.values()
            del self._blocks[one]
            self.size -= one.size
            if self._folder is not None:
                self._files.submit(_delete, self._path(one))

    def _touch(self, block: _Block) -> None:
        """Note the use of a block and of those before it."""
        while block.parent is not None:
            del self._blocks[block]
            self._blocks[block] = None
            block = block.parent

    def _shrink(self) -> None:
        """Drop blocks that no other follows until the rest is within the bound."""
        while self.size > self._limit:
            self._drop(next(one for one in self._blocks if not one.children))

    def _copy(self, block: _Block, parts: list[Array]) -> bool:
        """Copy a block into parts of a cache; drop it if its file is missing or damaged."""
        try:
            arrays = block.arrays = block.arrays or self._read(block, parts)
        except (CheckpointError, OSError):
            self._drop(block)
            return False
        for part, x in zip(parts, arrays, strict=True):
            part[...] = x
        return True

    # Files

    def _read(self, block: _Block, parts: list[Array]) -> list[Array]:
        """The arrays of a block that is in its file alone."""
        tensors = load(self._path(block), digest_required=True).tensors
        arrays = [tensors[name] for name in sorted(tensors)]
        if [(x.shape, x.dtype) for x in arrays] != [(x.shape, x.dtype) for x in parts]:
            raise CheckpointError(
                f"{self._path(block)}: must have arrays with the dtypes and shapes of {len(parts)} parts of a cache"
            )
        return arrays

    def _path(self, block: _Block) -> Path:
        return (self._folder or Path()) / f"{block.key}.safetensors"

    def _open(self, folder: Path) -> None:
        """Link the blocks whose files are in the folder, and delete those that no longer follow any."""
        for path in folder.glob(".*.new"):  # of a process that was killed while it wrote
            _delete(path)
        found: list[_Block] = []
        children: dict[str, list[_Block]] = {}
        for path in sorted(folder.glob("*.safetensors"), key=_modified):
            try:
                entries, metadata = read_header(path)
                ids = tuple(json.loads(metadata["ids"]))
                if not 1 <= len(ids) <= BLOCK or path.stem != _key(metadata["parent"], ids):
                    raise CheckpointError(f"{path}: must have the digest of its tokens as its name")
            except (ArithmeticError, KeyError, OSError, TypeError, ValueError):
                _delete(path)
                continue
            found.append(_Block(path.stem, ids, self._root, sum(one.stop - one.start for one in entries.values()), None))
            children.setdefault(metadata["parent"], []).append(found[-1])
        parents = [self._root]
        for parent in parents:  # which grows
            for block in children.pop(parent.key, []):
                block.parent = parent
                self._link(block)
                parents.append(block)
        for lost in (one for blocks in children.values() for one in blocks):
            _delete(self._path(lost))
        self._blocks = {one: None for one in found if one in self._blocks}  # in the order in which they were written


def _modified(path: Path) -> int:
    """When a file was written, in nanoseconds; 0 if it is a link to none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _delete(path: Path) -> None:
    """Delete a file; what cannot be deleted, such as a folder, is not used."""
    with suppress(OSError):
        path.unlink()


def _key(parent: str, ids: Ids) -> str:
    """The digest of a text, from that of its beginning."""
    return hashlib.sha256(bytes.fromhex(parent) + np.array(ids, "<i8").tobytes()).hexdigest()
