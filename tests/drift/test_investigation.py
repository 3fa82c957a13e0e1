"""An investigation finds what changes the bits of a function and by how much, and explains what cannot be compared."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samebits.drift import BASE, REPEAT, Variant, Verdict, compare, investigate, join_verdicts, probe
from samebits.drift.__main__ import main

pytestmark = [pytest.mark.variants, pytest.mark.once]

THREADS, KERNEL = Variant("threads-1", "threads", {"MINE": "1"}), Variant("blas-x", "blas", {"MINE": "2"})
PROGRAM = """
import os
import random
import numpy as np
mine = os.environ.get("MINE", "0")
x = np.arange(4, dtype=np.float32)
def same(): print("noise"); return {"x": x, "parts": [1, 2.5, True], "n": 3}
def moves(): return x, np.nextafter(x, np.float32(9)) if mine == "2" else x
def chance(): return random.SystemRandom().random()
def raises(): return [][1]
def raises_once():
    if mine == "1": raise KeyError("mine")
    return x
def crashes():
    if mine == "2": os._exit(7)
    return x
def grows(): return x[: 2 + int(mine)]
def text(): return "text"
def deep(): return {"a": [x, None]}
def objects(): return np.array([None])
def empty(): return []
def huge(): return 2**80
def asks(a, b=1, *, c): return a
def leaves(): raise SystemExit("gone")
CONSTANT = 3
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(PROGRAM)
    (tmp_path / "broken.py").write_text("import no_such_package\n")
    (tmp_path / "wrong.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def ask(name: str) -> Verdict:
    return investigate(f"mine:{name}", variants=[BASE, REPEAT, THREADS, KERNEL])


def test_a_function_with_the_same_bits() -> None:
    found = ask("same")
    assert (found.status, found.drifts) == (0, [])
    assert found.sentence() == "mine:same gives the same bits in all 4 runs"
    assert set(found.runs[0].digests or {}) == {
        "result['x']",
        "result['parts'][0]",
        "result['parts'][1]",
        "result['parts'][2]",
        "result['n']",
    }


def test_a_function_that_drifts_has_its_axis_and_the_distance() -> None:
    found = ask("moves")
    assert (found.status, found.drifts) == (1, ["blas"])
    assert found.sentence() == "mine:moves drifts with the BLAS kernel: 2 different results in 4 runs"
    (difference,) = found.runs[3].differences
    assert (difference.array, difference.elements, difference.of, difference.max_ulp) == ("result[1]", 4, 4, 1)
    assert [[one.name for one in group] for group in found.groups("blas")] == [["base"], ["blas-x"]]


def test_a_function_that_is_not_deterministic_is_not_said_to_drift() -> None:
    found = investigate("mine:chance", variants=None)
    assert not found.deterministic
    assert [one.name for one in found.runs] == ["base", "base again"]
    assert found.sentence().startswith("mine:chance is not deterministic")
    assert found.status == 1


@pytest.mark.parametrize(
    ("name", "error"), [("raises_once", "KeyError: 'mine' (mine.py, line 12, in raises_once)"), ("crashes", "status 7")]
)
def test_a_failed_variant_does_not_count_as_the_same_bits(name: str, error: str) -> None:
    found = ask(name)
    assert error in found.failed[0].error
    assert found.status == 2
    assert found.sentence() == f"mine:{name} gave the same bits in 3 runs, but 1 could not be compared"


def test_another_shape_is_a_difference() -> None:
    assert str(ask("grows").runs[3].differences[0]) == "result: shape (4,) instead of (2,)"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine", r"investigate: function must be spelled module:function, got 'mine'"),
        ("mine.py:same", "no module 'mine.py'"),
        ("mine/x:same", "spelled module:function"),
        ("mine:sane", r"no function 'sane' in mine; it has same, moves"),
        ("nothere:f", "no module 'nothere' in this folder"),
        ("broken:f", r"importing broken failed: ModuleNotFoundError: No module named 'no_such_package' \(broken.py, line 1"),
        ("wrong:f", r"importing wrong failed: ZeroDivisionError: division by zero \(wrong.py, line 1"),
        ("mine:raises", r"mine:raises failed: IndexError: list index out of range \(mine.py, line 10, in raises\)"),
        ("mine:leaves", "mine:leaves failed: SystemExit: gone"),
        ("mine:asks", "must take no arguments, but requires a, c"),
        ("mine:CONSTANT", "must be a function without arguments, got int"),
        ("mine:text", "result must be an array, a number, or a tuple, list or dict of these, got str"),
        ("mine:deep", r"result\['a'\]\[1\] must be an array, .* got None"),
        ("mine:objects", "result cannot be compared: .* dtype of fixed size, got object"),
        ("mine:empty", "mine:empty must return an array, .* got nothing to compare"),
        ("mine:huge", "result must hold integers within int64"),
    ],
)
def test_a_function_that_cannot_be_compared_is_an_error(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        investigate(name, variants=[BASE])


def test_a_malformed_version_is_refused_before_anything_runs() -> None:
    with pytest.raises(
        ValueError, match=r"numpy_variant: version must be a version or series such as 2\.3\.5 or 2\.3, got 'latest'"
    ):
        investigate("mine:same", numpys=["latest"])


def test_python_numbers_keep_their_precision() -> None:
    ((_, array),) = probe.flatten([1.5, 2.0])
    assert array.dtype == np.float64
    assert [name for name, _ in probe.flatten({"a": (1, [True, False])})] == ["result['a'][0]", "result['a'][1]"]


@pytest.mark.parametrize(
    ("base", "other", "elements", "max_abs", "max_ulp"),
    [
        (np.array([1, 2], "float32"), np.array([1, 2 + 2**-22], "float32"), 1, 2**-22, 1),
        (np.array([1.0], "float64"), np.array([1 - 2**-53], "float64"), 1, 2**-53, 1),
        (
            np.array([1e308], "float64"),
            np.array([-1e308], "float64"),
            1,
            float("inf"),
            2 * int(np.float64(1e308).view(np.uint64)),
        ),
        (np.array([0.0], "float32"), np.array([-0.0], "float32"), 1, 0.0, 0),
        (np.array([np.nan], "float32"), np.array([1], "float32"), 1, None, None),
        (np.array([1.0], "float16"), np.array([1 + 2**-10], "float16"), 1, 2**-10, 1),
        (np.array([1 + 1j], "complex64"), np.array([1 + (1 + 2**-23) * 1j], "complex64"), 1, 2**-23, 1),
        (np.array([1, 5], "int64"), np.array([1, 2], "int64"), 1, 3, None),
        (np.array([True]), np.array([False]), 1, 1, None),
        (np.array([1.0], ">f4"), np.array([1 + 2**-23], ">f4"), 1, 2**-23, 1),
    ],
)
def test_distances(base: Any, other: Any, elements: int, max_abs: float | None, max_ulp: int | None) -> None:
    found = compare("x", base, other)
    assert found
    assert (found.elements, found.max_abs, found.max_ulp) == (elements, max_abs, max_ulp)


def test_equal_bits_are_no_difference_and_other_dtypes_are() -> None:
    assert compare("x", np.array([np.nan, 0], "float32"), np.array([np.nan, 0], "float32")) is None
    assert compare("x", np.zeros((0, 3)), np.zeros((0, 3))) is None
    assert str(compare("x", np.zeros(2), np.zeros(2, np.float32))) == "x: dtype float32 instead of float64"
    assert "in the sign of zero" in str(compare("x", np.zeros(2), -np.zeros(2)))


def placed(found: Verdict, where: dict[str, str], digest: str = "") -> dict[str, Any]:
    """The JSON of a verdict as if it came from a machine with something else."""
    answer: dict[str, Any] = json.loads(json.dumps(found.as_json()))
    answer["where"]["machine"].update(where)
    if digest:
        answer["runs"][0]["digests"]["result[0]"] = digest
    return answer


def test_verdicts_are_joined_along_the_axis_in_which_their_places_differ() -> None:
    moves, same = ask("moves"), ask("same")
    joined = join_verdicts([placed(moves, {"numpy": "0.1"}), placed(moves, {"numpy": "0.2"}, digest="f" * 64)])
    assert "version" in joined.drifts
    still = join_verdicts([placed(same, {"numpy": "0.1"}), placed(same, {"numpy": "0.2", "python": "CPython 3.99"})])
    assert (still.status, still.results("place"), still.sentence()) == (0, 1, "mine:same gives the same bits in all 8 runs")
    with pytest.raises(ValueError, match="two or more about one function, got 2 about mine:moves, mine:same"):
        join_verdicts([placed(moves, {}), placed(same, {})])
    with pytest.raises(ValueError, match="verdicts must have runs, got one without"):
        join_verdicts([placed(moves, {}), placed(moves, {}) | {"runs": []}])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": True}, "status must be an integer, got True"),
        ({"runs": [{"name": 3}]}, r"runs\[0\]\.name must be a string, got 3"),
        ({"where": {}}, r"where\.machine is missing"),
        ({"format": "x"}, r"FILES must all have the format .*, got 'x' in .*broken\.json"),
        ({"format": ["x"]}, r"FILES must all have the format .*, got \['x'\] in .*broken\.json"),
        (
            {"function": "mine:other"},
            r"two or more about one function, got 2 about mine:other, mine:same; FILES are .*broken\.json",
        ),
        ({"runs": []}, r"must have runs, got one without; FILES are .*broken\.json"),
        ({"function": "\x1b[2J"}, r"function must be text without control characters, got"),
    ],
)
def test_a_damaged_verdict_file_is_named_with_its_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], message: str
) -> None:
    files = [tmp_path / "good.json", tmp_path / "broken.json"]
    for file, changed in zip(files, ({}, change), strict=True):
        file.write_text(json.dumps(placed(ask("same"), {}) | changed))
    assert main(["--join", *map(str, files)]) == 2
    assert re.search(message if "FILES" in message else rf"broken\.json: {message}", capsys.readouterr().err)


def test_joined_verdicts_keep_the_results_within_each_place() -> None:
    moves = ask("moves")
    joined = join_verdicts([placed(moves, {"numpy": "0.1"}), placed(moves, {"numpy": "0.2"})])
    assert (joined.status, joined.drifts, joined.results("version")) == (1, ["blas"], 1)
