"""An investigation finds what changes the bits of a function and by how much, and explains what cannot be compared."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samebits.drift import BASE, REPEAT, Variant, Verdict, compare, investigate, join_verdicts
from samebits.drift.__main__ import main
from samebits.drift.verdict import VERDICT_AXES

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
def chooses(): return {1, 2}
def deep(): return {"a": [x, iter(x)]}
def objects(): return np.array([len])
def knot():
    found = []
    found.append(found)
    return found
class Key:
    def __repr__(self): return "key"
def keys(): return {Key(): 1, Key(): 2}
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
        ("mine:chooses", "result must be an array, a number, text, None, or a tuple, .*, got set; sort a set, it has no order"),
        ("mine:deep", r"result\['a'\]\[1\] must be an array, .* got iterator"),
        ("mine:objects", r"result\[0\] must be an array, .* got builtin_function_or_method"),
        ("mine:knot", r"result\[0\] must not be a part of itself"),
        ("mine:keys", r"mine:keys must return parts of different names, got several of the name result\[key\]"),
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
    with pytest.raises(ValueError, match="must be about one function, got mine:moves in answer 1, mine:same in answer 2"):
        join_verdicts([placed(moves, {}), placed(same, {})])
    with pytest.raises(ValueError, match="verdicts must have runs, got none in answer 2"):
        join_verdicts([placed(moves, {}), placed(moves, {}) | {"runs": []}])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": True}, "status must be an integer, got True"),
        ({"runs": [{"name": 3}]}, r"runs\[0\]\.name must be a string, got 3"),
        ({"where": {}}, r"where\.machine is missing"),
        ({"format": "x"}, r"FILES must all have the format .*, got 'x' in .*broken\.json"),
        ({"format": ["x"]}, r"FILES must all have the format .*, got \['x'\] in .*broken\.json"),
        ({"function": "mine:other"}, r"about one function, got mine:same in .*good\.json, mine:other in .*broken\.json"),
        ({"runs": []}, r"must have runs, got none in .*broken\.json"),
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
    assert re.search(message if "in .*" in message else rf"broken\.json: {message}", capsys.readouterr().err)


def test_joined_verdicts_keep_the_results_within_each_place() -> None:
    moves = ask("moves")
    joined = join_verdicts([placed(moves, {"numpy": "0.1"}), placed(moves, {"numpy": "0.2"})])
    assert (joined.status, joined.drifts, joined.results("version")) == (1, ["blas"], 1)


def placed_at(answer: dict[str, Any], settings: dict[str, str] | None = None, around: Any = (), **machine: Any) -> dict[str, Any]:
    """The JSON of a verdict as if from other surroundings."""
    changed: dict[str, Any] = json.loads(json.dumps(answer))
    changed["where"]["surroundings"] |= {"settings": settings or {}} | dict(around)
    blas = {name.removeprefix("blas_"): value for name, value in machine.items() if name.startswith("blas_")}
    changed["where"]["machine"]["blas"] |= blas
    changed["where"]["machine"] |= {name: value for name, value in machine.items() if not name.startswith("blas_")}
    return changed


@pytest.mark.parametrize(
    ("other", "axis", "label"),
    [
        ({"simd": ["X86_V3"]}, "cpu", "SIMD to X86_V3"),
        ({"settings": {"NPY_DISABLE_CPU_FEATURES": "X"}}, "cpu", "SIMD to X86_V4 (NPY_DISABLE_CPU_FEATURES=X)"),
        ({"blas_kernel": "Zen"}, "blas", "openblas 1 Zen"),
        ({"blas_name": "mkl", "blas_kernel": None}, "blas", "mkl 1"),
        ({"settings": {"OPENBLAS_CORETYPE": "Zen"}, "blas_kernel": "Zen"}, "blas", "openblas 1 Zen (OPENBLAS_CORETYPE=Zen)"),
        ({"blas_threads": 1}, "threads", "threads 1, CPUs 2"),
        ({"around": {"cpus": 8}, "blas_threads": 8}, "threads", "threads 8, CPUs 8"),
        ({"around": {"c_library": "musl"}}, "libc", "musl"),
        ({"settings": {"GLIBC_TUNABLES": "a=b"}}, "libc", "glibc 2.36 (GLIBC_TUNABLES=a=b)"),
        ({"python": "CPython 3.99.0"}, "python", "CPython 3.99.0"),
        # another NumPy or machine often comes with another kernel, which is no difference of its own
        ({"numpy": "9.9.9", "simd": ["AVX2"], "blas_version": "2"}, "version", "NumPy 9.9.9"),
        ({"around": {"processor": "B", "cpus": 8}, "blas_kernel": "Zen", "simd": []}, "machine", "p, B"),
        ({"around": {"processor": "B"}, "numpy": "9.9.9"}, "place", "p, B, NumPy 9.9.9"),
        (
            {"numpy": "9.9.9", "settings": {"OPENBLAS_CORETYPE": "Zen"}},
            "place",
            "NumPy 9.9.9, openblas 1 K (OPENBLAS_CORETYPE=Zen)",
        ),
        ({}, "again", "b.json"),
    ],
)
def test_answers_are_joined_by_what_differs_and_named_by_it(other: dict[str, Any], axis: str, label: str) -> None:
    first = placed_at(
        ask("same").as_json(),
        around={"processor": "A", "cpus": 2, "c_library": "glibc 2.36"},
        simd=["X86_V4"],
        blas_name="openblas",
        blas_version="1",
        blas_kernel="K",
        blas_threads=2,
    )
    first["where"]["platform"] = "p"
    second = placed_at(first, **other)
    for run in second["runs"]:
        run["digests"]["result['n']"] = "e" * 64
    joined = join_verdicts([first, second], ["a.json", "b.json"])
    assert [one.axis for one in joined.runs if one.name == label] == [axis]
    assert [name for name in VERDICT_AXES if joined.results(name) > 1] == [axis]
    assert len({one.place for one in joined.runs}) == 2


def test_more_answers_of_the_same_place_are_told_apart() -> None:
    answer = json.loads(json.dumps(ask("same").as_json()))
    other = placed(ask("same"), {"numpy": "9.9"})
    joined = join_verdicts([answer, answer, answer, other], ["a", "b", "b", "c"])
    numpy = f"NumPy {np.__version__}"
    assert list(dict.fromkeys(one.place for one in joined.runs)) == [
        f"{numpy}, a",
        f"{numpy}, b (1)",
        f"{numpy}, b (2)",
        "NumPy 9.9",
    ]
    assert joined.sentence() == "mine:same gives the same bits in all 16 runs"


def test_a_joined_verdict_keeps_what_no_place_has_tried() -> None:
    answer = json.loads(json.dumps(ask("same").as_json()))
    first = answer | {"untried": {"cpu": ["X86_V4", "AVX512_SPR"], "blas": ["Zen"]}, "calls": ["exp"]}
    joined = join_verdicts([first, answer | {"untried": {"cpu": ["AVX512_SPR"]}, "calls": ["dot"]}])
    assert (joined.untried, joined.calls) == ({"cpu": ["AVX512_SPR"]}, ["dot", "exp"])
    del answer["untried"], answer["calls"]  # a file of an earlier version
    assert join_verdicts([first, answer]).untried == {}


def test_join_names_the_file_that_does_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = placed(ask("same"), {})
    answers = {"same": same, "moves": placed(ask("moves"), {}), "bare": same | {"runs": []}}
    answers["joined"] = json.loads(json.dumps(join_verdicts([same, same]).as_json()))
    for name, answer in answers.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(answer))
    for names, message in {
        "same": "verdicts must be two or more, got same.json",
        "same moves": "verdicts must be about one function, got mine:same in same.json, mine:moves in moves.json",
        "same bare": "verdicts must have runs, got none in bare.json",
        "joined same": "joined.json is the output of --join itself; join the files that it was made from",
    }.items():
        assert main(["--join", *(f"{name}.json" for name in names.split())]) == 2
        assert message in capsys.readouterr().err
