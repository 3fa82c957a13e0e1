"""The NumPy functions in a function's code are found without running it, and the shipped map says what drifts of them."""

import functools
import math
from typing import Any

import numpy as np
import numpy.random
import pytest
from numpy import exp, linalg

from samebits.drift import calls
from samebits.drift.calls import find_calls, known_map, say_known
from samebits.drift.drift_map import MAP_AXES

pytestmark = pytest.mark.once


def helper(x: Any) -> Any:
    return np.tanh(x)


def endless(x: Any) -> Any:
    return endless(x) + np.log2(x)


@functools.cache
def cached() -> Any:
    return np.log1p(1.0)


def local() -> Any:
    import numpy.lib  # as many functions of users do

    return [numpy.sinh(x) for x in (1.0,)]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: np.exp(-x), ["exp"]),
        (lambda x: exp(-x), ["exp"]),
        (lambda x: linalg.svd(-x), ["svd"]),
        (lambda x: np.linalg.norm(np.cos(x)), ["cos", "norm"]),
        (lambda x: x @ x, ["matmul"]),
        (lambda x: x**3, ["power"]),
        (lambda x: x.dot(x).sum(), ["dot", "sum"]),
        (lambda x: [np.sin(-y) for y in x], ["sin"]),
        (lambda x: helper(-x), ["tanh"]),
        (lambda: helper, ["tanh"]),
        (lambda: numpy.random.default_rng(1).beta(1, 2), ["beta"]),
        (lambda x: math.exp(-x), []),  # of another module
        (lambda x: x + 1, []),
        (endless, ["log2"]),
        (cached, ["log1p"]),
        (local, ["sinh"]),
        (np.exp, ["exp"]),
        (np.linalg.svd, ["svd"]),  # without what NumPy calls in it
        (len, []),
        (functools.partial(helper, 1.0), []),
        (3, []),
    ],
)
def test_functions_of_numpy_are_found_in_code(function: Any, expected: list[str]) -> None:
    assert find_calls(function) == expected


def test_the_shipped_map_knows_axes_and_functions_alone() -> None:
    functions = known_map()["functions"]
    assert {axis for found in functions.values() for axes in found.values() for axis in axes} <= {*MAP_AXES, "place"}
    assert not [name for name in functions if not (hasattr(np, name) or name.isidentifier())]
    assert functions["exp2"] == {"exp2 float32": ["cpu"], "exp2 float64": ["version", "cpu"]}
    assert "sqrt" not in functions


def test_what_is_known_is_grouped_by_axes_and_leaves_out_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"exp": {"exp float32": ["cpu"], "exp float64": ["cpu", "version"]}, "tanh": {"tanh": ["cpu"]}}
    monkeypatch.setattr(calls, "known_map", lambda: {"measured": "", "functions": found})
    names = ["add", "exp", "tanh", "other"]
    assert say_known(names) == ["exp float32, tanh with the CPU level", "exp float64 with the NumPy version and the CPU level"]
    assert say_known(names, ["cpu"]) == ["exp float64 with the NumPy version"]
    assert say_known(["add"]) == []
