"""The CPU levels to test, with and without fused instructions, and a context in which one of them, or NumPy, computes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from samebits import kernels
from samebits.core import compiled
from samebits.kernels import library

Using = Callable[[str | None], Any]


@contextmanager
def _using(level: str | None) -> Iterator[None]:
    before = {pair: pair.kernel for pair in compiled.pairs()}
    compiled.use(level)
    try:
        yield
    finally:
        for pair, kernel in before.items():
            pair.kernel = kernel


@pytest.fixture
def using() -> Using:
    """``with using(level):`` computes with the kernels of that level, with None as level with NumPy."""
    return _using


HIGHEST = (kernels.levels() or kernels.LEVELS)[-1]
# no other level computes in a cell, and no bit of theirs depends on its Python or NumPy: one cell is enough
LEVELS = [pytest.param(one, marks=[] if one == HIGHEST else pytest.mark.levels) for one in kernels.LEVELS]


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest) -> str:
    """Every level of this CPU; the others, and all where nothing is compiled, are skipped."""
    wanted = str(request.param)
    if wanted not in kernels.levels():
        pytest.skip(f"this machine has no compiled kernels for {wanted}: {kernels.describe()}")
    return wanted


@pytest.fixture(params=[False, True], ids=["separate", "fused"])
def fused(request: pytest.FixtureRequest, level: str) -> Iterator[None]:
    """Whether products and sums are one instruction, where this CPU has it."""
    fuse: Callable[[int], int] = library.load(level).handle.fuse16
    if fuse(request.param) != request.param:
        pytest.skip(f"this CPU has no fused instruction for {level}")
    yield
    fuse(1)
