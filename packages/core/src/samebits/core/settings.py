"""Settings that hold for a ``with`` block, in one thread or task.

A plain context variable goes back to the value before the block, in whatever order blocks end. Blocks inside generators
end in any order, and where the garbage collector closes them:

    g, h = generator(), generator()     # both have a block around their ``yield``
    next(g); next(h)                    # blocks: g, h
    g.close(); h.close()                # a context variable goes back to what was before h: to the choice of g, for good

Here every choice knows whether its block has ended, and one that has no longer counts, wherever it was inherited.
"""

from contextvars import ContextVar
from typing import Generic, TypeVar

__all__ = ["Choice", "Setting"]

T = TypeVar("T")


class Choice(Generic[T]):
    """What was chosen for a block, and the choice around it; the outermost one is the default, which never ends."""

    __slots__ = ("ended", "outer", "value")

    def __init__(self, value: T, outer: "Choice[T] | None" = None) -> None:
        self.value = value
        self.outer = outer
        self.ended = False

    def current(self) -> "Choice[T]":
        """Return the innermost choice, from this one on, whose block has not ended."""
        choice = self
        while choice.ended and choice.outer is not None:
            choice = choice.outer
        return choice


class Setting(Generic[T]):
    """A value that holds for a block.

    Args:
        name: For error messages of Python.
        default: The value outside of all blocks.

    Example:
        >>> unit = Setting("unit", "meter")
        >>> choice = unit.set("foot")
        >>> unit.get()
        'foot'
        >>> unit.reset(choice)
        >>> unit.get()
        'meter'
    """

    def __init__(self, name: str, default: T) -> None:
        self._choice: ContextVar[Choice[T]] = ContextVar(name, default=Choice(default))  # noqa: B039 - the default never changes

    def get(self) -> T:
        """Return the value that holds here."""
        return self._choice.get().current().value

    def set(self, value: T) -> Choice[T]:
        """Begin a block; end it by ``reset``, in a ``finally``."""
        choice = Choice(value, self._choice.get().current())
        self._choice.set(choice)
        return choice

    def reset(self, choice: Choice[T]) -> None:
        """End a block, the innermost one or another, in this thread or task or another."""
        choice.ended = True
        choice.outer = choice.current()  # those between are no longer reachable
        self._choice.set(self._choice.get().current())
