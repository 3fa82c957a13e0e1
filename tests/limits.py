"""Checks of several packages: both sides of a limit, and objects that cannot be changed."""

import dataclasses
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


def check_frozen(kind: Any) -> None:
    """Check that instances of a dataclass cannot be changed."""
    names = [field.name for field in dataclasses.fields(kind)]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(object.__new__(kind), names[0], 0)
