"""The drift map counts the results along every axis, and nothing else."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from samebits.drift import drift_map, picture
from samebits.drift.drift_map import FORMAT, DriftMap

pytestmark = pytest.mark.once

VARIANTS = {
    "base": "base",
    "cpu-v3": "cpu",
    "cpu-v2": "cpu",
    "blas-zen": "blas",
    "base again": "again",
    "kernels-none": "kernels",
}


def record(digests: str, counterparts: str = "", *, numpy: str = "2.3", python: str = "3.12", **where: Any) -> dict[str, Any]:
    """A record of one operation, ``exp``, with one letter a variant as its digest; a blank is a run that failed."""
    variants = dict(zip(VARIANTS, digests, strict=False))
    return {
        "format": FORMAT,
        "platform": where.get("platform", "linux-x86_64"),
        "python": python,
        "numpy": numpy,
        "surroundings": {
            "processor": where.get("processor", "A"),
            "cpus": where.get("cpus", 2),
            "c_library": where.get("libc", "glibc 2.36"),
            "settings": where.get("settings", {}),
        },
        "machine": {
            "system": "Linux x86_64",
            "python": f"CPython {python}.1",
            "numpy": where.get("release", f"{numpy}.1"),
            "simd": where.get("simd", ["X86_V3"]),
            "blas": {"name": where.get("blas", "b"), "version": "1", "kernel": where.get("kernel", "Zen")},
        },
        "variants": [
            {
                "name": name,
                "axis": VARIANTS[name],
                "environment": {},
                "in_effect": "",
                "error": "" if letter != " " else "crashed: SIGSEGV",
            }
            for name, letter in variants.items()
        ],
        "operations": {
            "exp": {
                "group": "functions",
                "counterpart": "exp" if counterparts else "",
                "digests": {name: letter for name, letter in variants.items() if letter != " "},
                "counterpart_digests": dict(zip(VARIANTS, counterparts, strict=False)),
                "errors": where.get("errors", []),
            }
        },
    }


def exp(*records: dict[str, Any]) -> drift_map.Row:
    return DriftMap.of(records).rows[0]


def test_axes_of_one_cell_are_told_apart() -> None:
    row = exp(record("aabca"))
    assert row.drifts == ["cpu", "blas"]
    assert (row.results["cpu"], row.results["blas"], row.results["again"], row.different) == (2, 2, 1, 3)
    assert (row.results["version"], row.results["threads"]) == (0, 0)


def test_a_result_that_does_not_repeat_is_found() -> None:
    assert exp(record("aaaab")).drifts == ["again"]


def test_a_failed_run_is_not_counted() -> None:
    row = exp(record("aa ba"))
    assert (row.results["cpu"], row.results["blas"], row.different) == (1, 2, 2)
    assert DriftMap.of([record("aa ba")]).runs == 4


def test_the_version_axis_compares_bases_on_one_machine() -> None:
    assert exp(record("aa"), record("bb", numpy="2.4"), record("cc", numpy="2.10")).results["version"] == 3
    assert exp(record("ab"), record("ac", numpy="2.4")).drifts == ["cpu"]
    assert exp(record("a"), record("b", numpy="2.4", processor="B")).results["version"] == 0
    assert exp(record("a"), record("b", numpy="2.4", libc="glibc 2.43")).drifts == []


@pytest.mark.parametrize(
    ("other", "axis"),
    [
        ({"python": "3.13"}, "python"),
        ({"processor": "B"}, "machine"),
        ({"platform": "linux-aarch64"}, "machine"),
        ({"libc": "musl"}, "libc"),
        ({"settings": {"GLIBC_TUNABLES": "x"}}, "libc"),
        ({"kernel": "Haswell"}, "blas"),
        ({"blas": "mkl"}, "blas"),
        ({"settings": {"OPENBLAS_CORETYPE": "x"}}, "blas"),
        ({"simd": []}, "cpu"),
        ({"cpus": 3}, "threads"),
        ({"settings": {"OPENBLAS_NUM_THREADS": "1"}}, "threads"),
        ({"release": "2.3.2"}, "version"),
        ({"numpy": "2.4", "kernel": "Haswell", "simd": ["AVX2"]}, "version"),
        ({"processor": "B", "kernel": "Haswell", "cpus": 8, "simd": []}, "machine"),
        ({}, "again"),
    ],
)
def test_places_that_differ_in_one_axis_are_compared(other: dict[str, Any], axis: str) -> None:
    assert exp(record("a"), record("b", **other)).drifts == [axis]
    assert exp(record("a"), record("a", **other)).drifts == []


def test_no_record_of_the_same_place_is_dropped() -> None:
    assert exp(record("a"), record("b"), record("a", numpy="2.4")).drifts == ["again"]
    assert exp(record("a"), record("b"), record("c", numpy="2.4")).results["version"] == 2
    assert exp(record("a"), record("a", kernel="Haswell"), record("b", kernel="Haswell")).drifts == ["again"]
    two = exp(record("a"), record("a", python="3.13"), record("b", python="3.14"), record("a", numpy="2.4"))
    assert two.drifts == ["python"]  # which is not taken for another NumPy


def test_another_python_is_not_taken_for_another_c_library() -> None:
    assert exp(record("a"), record("b", python="3.14", libc="glibc 2.43")).drifts == ["libc"]


def test_counterpart_results_are_counted_over_all_runs() -> None:
    assert exp(record("ab", "xx"), record("ab", "xx", numpy="2.4")).counterpart_results == 1
    assert exp(record("ab", "xx"), record("ab", "xy", numpy="2.4")).counterpart_results == 2
    assert DriftMap.of([record("ab", "xx")]).summary() == (
        "1 of 1 NumPy operations drift over 2 runs in 1 cell; none of their 1 samebits counterparts drifts"
    )
    assert exp(record("ab", "", errors=["samebits: TypeError: x"])).failures == 1


def test_records_are_read_in_the_order_of_their_versions(tmp_path: Path) -> None:
    for numpy in ("2.10", "2.9", "1.26"):
        (tmp_path / f"{numpy}.json").write_text(json.dumps(record("a", numpy=numpy)))
    assert [one["numpy"] for one in drift_map.read_records(tmp_path.glob("*.json")).records] == ["1.26", "2.9", "2.10"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1, column 2 is not JSON"),
        ("[]", r"the value must be an object, got \[\]"),
        ("[" * 100_000, "values are nested too deeply"),
        ('{"format": "x/2"}', "format must be 'samebits.drift/2', got 'x/2'"),
        ('{"format": "samebits.drift/2"}', "machine is missing"),
        (json.dumps(record("a") | {"numpy": 2.3}), r"numpy must be a string, got 2\.3"),
        (json.dumps(record("a") | {"operations": {"exp": {}}}), r"operations\.exp\.counterpart is missing"),
        (json.dumps(record("a") | {"operations": {"\x1b": {}}}), "operations must be text without control characters"),
    ],
)
def test_a_file_that_is_not_a_record_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "broken.json").write_text(text)
    with pytest.raises(ValueError, match=rf"broken\.json: {message}.*; it is not a drift record: delete it"):
        drift_map.read_records(tmp_path.glob("*.json"))
    with pytest.raises(ValueError, match="paths must name at least one file"):
        drift_map.read_records([])


def test_page_and_picture_are_written(tmp_path: Path) -> None:
    found = DriftMap.of([record("aab a", "xxx"), record("cc", "xx", numpy="2.4", errors=["AttributeError: no x**y"])])
    assert [path.name for path in picture.write_page(found, tmp_path)] == ["drift.md", "drift.svg"]
    page = (tmp_path / "drift.md").read_text(encoding="utf-8")
    assert "| exp | NumPy version (2), CPU level (2) | 3 | `exp`: one result |" in page
    assert "- Python 3.12, NumPy 2.3, blas-zen: crashed: SIGSEGV" in page
    assert "- Python 3.12, NumPy 2.4, exp: AttributeError: no x\\*\\*y" in page
    texts = [text.text for text in ET.parse(tmp_path / "drift.svg").iter() if text.text]
    assert {"functions", "exp", "2", "1", f"{found.summary()}."} <= set(texts)
    assert not list(tmp_path.glob("*.new"))


def test_operations_without_change_share_one_line_a_group() -> None:
    found = DriftMap.of([record("aaaaa")])
    assert "1 without change" in picture.svg(found)
    assert "- **functions**: exp" in picture.markdown(found)


def test_the_counterparts_are_compared_with_and_without_compiled_kernels() -> None:
    found = DriftMap.of([record("aaaaaa", "aaaaab")])
    assert (found.rows[0].counterpart_results, found.rows[0].drifts) == (2, [])
    words = "with and without compiled kernels"
    assert words in picture.markdown(found)
    assert words in picture.svg(found)
    assert words not in picture.markdown(DriftMap.of([record("aaaaa ", "aaaaa")]))
