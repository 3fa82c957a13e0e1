"""The floating-point environment is put back by the function that each system's C library has for it."""

import ctypes
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from samebits.core import environment

pytestmark = pytest.mark.once


class Library:
    """A C library that records the calls of its functions."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.calls.append((name, arguments))

    __getitem__ = __getattr__


@pytest.mark.parametrize(
    ("system", "library", "function", "last"),
    [
        ("win32", "ucrtbase", "_controlfp_s", 0x0300_0300),
        ("darwin", None, "fesetenv", None),
        ("linux", "libm.so.6", "fesetenv", -1),
    ],
)
def test_each_system_has_its_function(
    monkeypatch: pytest.MonkeyPatch, system: str, library: str | None, function: str, last: int | None
) -> None:
    fake, opened = Library(), []
    character = SimpleNamespace(in_dll=lambda _, name: ctypes.c_char(name[:1].encode()))
    names = {"CDLL": lambda name: (opened.append(name), fake)[1], "c_char": character}
    names |= {name: getattr(ctypes, name) for name in ("byref", "c_uint", "c_void_p")}
    monkeypatch.setattr(environment, "ctypes", SimpleNamespace(**names))
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(environment.platform, "libc_ver", lambda: ("glibc", "2.41"))
    environment.reset()
    ((called, arguments),) = fake.calls
    assert (opened, called) == ([library], function)
    if last is not None:
        assert getattr(arguments[-1], "value", arguments[-1]) in {last, 2**64 + last, 2**32 + last}


def test_an_unknown_system_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "ctypes", SimpleNamespace())
    monkeypatch.setattr(sys, "platform", "plan9")
    environment.reset()
    assert not environment.changed()
