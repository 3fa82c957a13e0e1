"""Both sides of a limit: what is just inside is accepted, what is just outside is refused."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

Limit = tuple[Callable[[Any], object], Sequence[Any], Sequence[Any]]
"""A call with one value, values that it accepts, and values that it refuses."""


def check_both_sides(limit: Limit, message: str = ".") -> None:
    """Try the values of a limit; the message of an error must have this pattern."""
    call, inside, outside = limit
    for value in inside:
        call(value)
    for value in outside:
        with pytest.raises((ValueError, IndexError), match=message):
            call(value)
