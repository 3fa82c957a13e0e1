"""Every part of a result is compared, by its bits or as text; masks and texts count."""

import enum
from collections import UserDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from samebits.drift import REPEAT, Variant, compare, investigate
from samebits.drift.parts import flatten, save_part
from samebits.drift.variants import BASE

pytestmark = pytest.mark.once

X = np.arange(4, dtype=np.float32)


class Result(dict[str, Any]):
    """A dict whose values are attributes too, as SciPy's OptimizeResult."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


@dataclass
class Layer:
    weight: npt.NDArray[np.float32]
    name: str


@dataclass
class Fit:
    loss: float
    layer: Layer
    note: str | None = None


class Pair(NamedTuple):
    a: int
    b: str


class Operator:
    """An object that can be called, as SciPy's inverse Hessians."""

    def __init__(self, matrix: Any) -> None:
        self.matrix, self._cache = matrix, object()

    def __call__(self) -> None: ...


class Color(enum.Enum):
    RED = "red"


def parts(value: Any) -> dict[str, Any]:
    return {name: array.tolist() for name, array in flatten(value)}


def digests(value: Any, folder: Path) -> dict[str, str]:
    return {name: save_part(name, array, folder / "part.npy")["digest"] for name, array in flatten(value)}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\0é", {"result": "'a\\x00\\xe9'"}),
        (b"a", {"result": "b'a'"}),
        (None, {"result": "None"}),
        (True, {"result": True}),
        ([True, False], {"result": [True, False]}),
        ([1, 2.5], {"result[0]": 1, "result[1]": 2.5}),
        (range(3), {"result": [0, 1, 2]}),
        ({"a": (1, [True, None])}, {"result['a'][0]": 1, "result['a'][1][0]": True, "result['a'][1][1]": "None"}),
        ({np.float64(0.5): 1, "é": 2}, {"result[0.5]": 1, "result['\\xe9']": 2}),
        (UserDict({"a": 1}), {"result['a']": 1}),
        (Pair(1, "x"), {"result[0]": 1, "result[1]": "'x'"}),
        (
            Fit(0.5, Layer(X, "in")),
            {"result.loss": 0.5, "result.layer.weight": [0, 1, 2, 3], "result.layer.name": "'in'", "result.note": "None"},
        ),
        (
            Result(x=X, success=True, message="ended", hess_inv=Operator(X)),
            {
                "result['x']": [0, 1, 2, 3],
                "result['success']": True,
                "result['message']": "'ended'",
                "result['hess_inv'].matrix": [0, 1, 2, 3],
            },
        ),
        (Color.RED, {"result": "'red'"}),
        (np.dtype("f4"), {"result": "dtype('float32')"}),
        (np.ma.array(X, mask=[0, 1, 0, 0]), {"result": [0, 0, 2, 3], "result.mask": [False, True, False, False]}),
        (np.ma.masked, {"result": 0, "result.mask": True}),
        (np.array(["a", "bb"]), {"result": ["'a'", "'bb'"]}),
        (np.str_("a"), {"result": "'a'"}),
        (np.array([b"a"]), {"result": ["b'a'"]}),
        (np.array([1, None], object), {"result[0]": 1, "result[1]": "None"}),
        (np.array(["1970-01-02"], "M8[D]"), {"result.view('int64')": [1], "result.dtype": "'M8[D]'"}),
        (np.array([(1, 2.5)], [("a", "i4"), ("b", "f8")]), {"result['a']": [1], "result['b']": [2.5]}),
        (
            np.ma.array([(1, 2)], mask=[(0, 1)], dtype="i4,i4"),
            {"result['f0']": [1], "result['f0'].mask": [False], "result['f1']": [0], "result['f1'].mask": [True]},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_result_is_compared_part_by_part(value: Any, expected: dict[str, Any], tmp_path: Path) -> None:
    assert parts(value) == expected
    assert digests(value, tmp_path) == digests(value, tmp_path)


def test_python_numbers_keep_their_precision() -> None:
    ((_, array),) = flatten([1.5, 2.0])
    assert array.dtype == np.float64


def test_other_masks_and_texts_have_other_digests(tmp_path: Path) -> None:
    def different(*values: Any) -> bool:
        return len({tuple(digests(value, tmp_path).items()) for value in values}) == len(values)

    assert different(np.ma.array(X, mask=[0, 0, 0, 1]), np.ma.array(X, mask=[0, 1, 0, 0]), np.ma.array(X), X)
    assert different("a", "a\0", "b", b"a", None, "None", ["a"], np.array(["a", "b"]), np.array(["a", "c"]))
    assert different(1, True, 1.0)
    hidden = [np.ma.array([1.0, value], mask=[0, 1]) for value in (2.0, 3.0)]
    assert not different(*hidden)  # what a mask hides is no result


def test_an_array_whose_bytes_depend_on_the_platform_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"result cannot be compared: .* dtype of fixed size"):
        digests(np.longdouble(1), tmp_path)
    for value in (lambda: 1, np.add, Operator, np.random.default_rng(1), object(), {1}, iter([])):
        with pytest.raises(TypeError, match="result must be an array, a number, text, None"):
            list(flatten(value))


def test_the_difference_of_texts_is_shown() -> None:
    def texts(first: Any, second: Any) -> str:
        ((_, base),), ((_, other),) = flatten(first), flatten(second)
        return str(compare("x", base, other))

    assert texts("loss 0.5", "loss 0.25") == "x: 'loss 0.25' instead of 'loss 0.5'"
    assert texts(np.array(["a", "b"]), np.array(["a", "long"])) == "x: 1 of 2 texts differ: 'long' instead of 'b'"
    assert texts("a" * 500 + "b", "a" * 500 + "c") == f"x: …{'a' * 20}c' instead of …{'a' * 20}b'"
    assert texts("a" + "b" * 500, "a" + "c" * 500).startswith(f"x: 'a{'c' * 58}… instead of 'a")
    assert compare("x", np.array("abc"), np.array("abc", "U9")) is None


PROGRAM = """
import os
import numpy as np
mine = "MINE" in os.environ
def mask(): return np.ma.array([1.0, 2.0, 3.0], mask=[0, mine, 0])
def message(): return {"message": "0.5 reached" if mine else "0.25 reached"}
def extra(): return {"a": 1, "b": 2, "c": 3} if mine else {"c": 3, "a": 1}
def order(): return {"a": 1.0, "b": 2 + mine} if mine else {"b": 2, "a": 1.0}
"""


@pytest.mark.parametrize(
    ("name", "difference"),
    [
        ("mask", "result: 1 of 3 elements differ, by up to 2 and 4611686018427387904 ulp"),
        ("message", "result['message']: '0.5 reached' instead of '0.25 reached'"),
        ("extra", "result: other parts: result['b'] added"),
        ("order", "result['b']: 1 of 1 elements differ, by up to 1"),
    ],
)
@pytest.mark.variants
def test_an_investigation_says_which_part_differs(
    name: str, difference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "parted.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    found = investigate(f"parted:{name}", variants=[BASE, REPEAT, Variant("mine", "cpu", {"MINE": "1"})])
    assert found.drifts == ["cpu"]
    assert str(found.runs[2].differences[0]) == difference
