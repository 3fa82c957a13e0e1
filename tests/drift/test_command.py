"""`python -m samebits.drift` prints the answer, returns its status, and refuses options that do not fit together."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from samebits.core import describe_machine
from samebits.drift import BASE, Variant, command, investigation
from samebits.drift.__main__ import main

pytestmark = [pytest.mark.variants, pytest.mark.once]

PROGRAM = """
import os
import numpy as np
x = np.arange(4, dtype=np.float32)
def same(): return x
def moves(): return x, np.nextafter(x, np.float32(9)) if "MINE" in os.environ else x
def raises(): return [][1]
def chance(): return np.frombuffer(os.urandom(8), np.uint8)
def rounds(): return {"loss": 1.0 + 2.0**-52 * (os.getpid() % 1000), "n": 3}
def exponential(): return np.exp(np.zeros(4))
"""
PIP = "ERROR: Could not find a version that satisfies the requirement numpy==9.9.*"
KERNEL = Variant("blas-x", "blas", {"MINE": "2"})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    for module in (investigation, command):
        monkeypatch.setattr(module, "available", lambda: [BASE, KERNEL])
    return tmp_path


def test_the_command_prints_the_verdict_and_returns_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mine:moves"]) == 1
    printed = capsys.readouterr()
    assert "    blas-x  result[1]: 4 of 4 elements differ, by up to 2.38e-07 and 1 ulp\n" in printed.out
    assert "mine:moves drifts with the BLAS kernel: 2 different results in 3 runs.\n" in printed.out
    assert printed.err == "mine:moves: 1 of 3, base\nmine:moves: 2 of 3, base again\nmine:moves: 3 of 3, blas-x\n"
    assert main(["mine:same"]) == 0
    assert "BLAS kernel             same bits  blas-x\n" in capsys.readouterr().out


def test_an_error_is_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mine:raises"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-1].startswith("error: mine:raises failed: IndexError")


def test_json_output_can_be_joined(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mine:moves", "--json"]) == 1
    text = capsys.readouterr().out
    (folder / "a.json").write_text(text)
    assert json.loads(text)["results"] == {"blas": 2, "again": 1}
    assert main(["--join", "a.json", "a.json"]) == 1
    assert "drifts with the BLAS kernel" in capsys.readouterr().out


def test_a_function_that_is_not_deterministic_says_what_differed_and_gets_advice(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mine:chance"]) == 1
    printed = capsys.readouterr().out
    assert re.search(r"    base again  result: [1-8] of 8 elements differ, by up to \d+\n", printed)
    assert "Seed its random numbers" in printed
    assert main(["mine:rounds"]) == 1
    printed = capsys.readouterr().out
    assert re.search(r"    base again  result\['loss'\]: 1 of 1 elements differ, by up to \S+ and \d+ ulp\n", printed)
    assert "The difference is that of rounding" in printed
    assert "OPENBLAS_NUM_THREADS=1" in printed
    assert "Seed" not in printed


def test_the_verdict_lists_what_was_not_tried_and_what_the_map_knows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NPY_DISABLE_CPU_FEATURES", " ".join(describe_machine().simd))  # as on a CPU without them
    assert main(["mine:exponential"]) == 0
    printed = capsys.readouterr().out
    if missing := describe_machine().simd:
        listed = re.search(r"Not tried, as this CPU or its BLAS library cannot: CPU level ([^;]*)[;.]", printed)
        assert listed
        assert set(missing) <= set(listed[1].split(", "))
    assert "gives the same bits in all 3 runs.\n" in printed
    assert "knows that these drift:\n    exp float32, exp float16 with the CPU level\n" in printed
    assert "    exp float64 with the NumPy version and the CPU level\n" in printed
    assert main(["mine:exponential", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["calls"] == ["exp"]
    assert set(found["untried"].get("cpu", ())) >= set(missing)
    assert main(["numpy:exp"]) == 2
    assert (
        "requires x; write a function that calls it. The drift map knows that these drift: exp float32" in capsys.readouterr().err
    )


def test_another_numpy_is_advised_only_if_this_python_has_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    numpy = ".".join(describe_machine().numpy.split(".")[:2])
    minor = sys.version_info.minor
    wheels = {"0.1": (0, 5), "0.2": (minor, minor), "0.3": (minor, minor), numpy: (minor, minor)}
    monkeypatch.setattr(investigation, "_WHEELS", wheels)
    main(["mine:same"])
    assert " only: --numpy 0.2 adds another; --json and --join compare machines." in capsys.readouterr().out
    assert main(["mine:same", "--numpy", "0.1"]) == 2
    printed = capsys.readouterr()
    assert f"NumPy 0.1 has no wheel for Python 3.{minor}, which has 0.2, 0.3, {numpy}; run it with --json" in printed.err
    assert "1 of" not in printed.err  # before anything runs
    monkeypatch.setattr(investigation, "_WHEELS", {numpy: (minor, minor)})
    main(["mine:same"])
    assert " only: --json and --join compare machines." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        (
            f"{PIP} (from versions: 1.26.0, 2.0.0)\nERROR: No matching distribution found for numpy==9.9.*",
            "there is no such version, or no wheel of it for this Python and platform",
        ),
        (
            "  × No solution found when resolving dependencies:\n  ╰─▶ Because only numpy<=2.5 is available",
            "there is no such version, or no wheel of it for this Python and platform",
        ),
        (
            f"{PIP} (from versions: none)\nERROR: No matching distribution found for numpy==9.9.*",
            "no package index was reachable, or it has no NumPy",
        ),
        ("note: x\nNo space left on \x1b[31mdevice\n", r"No space left on \x1b[31mdevice"),
        ("", "no message"),
    ],
)
def test_an_installer_s_error_has_no_list_of_versions(
    errors: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failed = subprocess.CompletedProcess([], 1, "", errors)
    monkeypatch.setattr(investigation.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(RuntimeError) as raised:
        investigation.numpy_variant("9.9", tmp_path)
    start = (
        f"NumPy 9.9 could not be installed for Python 3.{sys.version_info.minor}: {message}; run it with --json in an environment"
    )
    assert str(raised.value).startswith(start)


def test_the_map_is_recorded_drawn_and_joined(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(**_: Any) -> dict[str, Any]:
        return {
            "format": "samebits.drift/2",
            "platform": "linux-x86_64",
            "python": "3.13",
            "numpy": "2.5",
            "surroundings": {"processor": "A", "cpus": 2, "c_library": "glibc 2.36", "settings": {}},
            "machine": {
                "system": "Linux x86_64",
                "python": "CPython 3.13.0",
                "numpy": "2.5.5",
                "blas": {"name": "b", "version": "1", "kernel": "Zen"},
            },
            "variants": [
                {"name": "base", "axis": "base", "environment": {}, "in_effect": "", "error": ""},
                {"name": "blas-x", "axis": "blas", "environment": {}, "in_effect": "", "error": ""},
                {"name": "blas-y", "axis": "blas", "environment": {}, "in_effect": "", "error": "crashed: SIGSEGV"},
            ],
            "operations": {
                "A @ B": {
                    "group": "products",
                    "counterpart": "matmul",
                    "digests": {"base": "a", "blas-x": "b"},
                    "counterpart_digests": {"base": "c", "blas-x": counterpart},
                    "errors": [],
                }
            },
        }

    monkeypatch.setattr(command, "measure_cell", measured)
    counterpart = "c"
    assert main([]) == 0
    text = capsys.readouterr().out
    assert "operation  BLAS kernel  samebits counterpart\nA @ B      2            matmul: same bits\n" in text
    assert "not measured  blas-y: crashed: SIGSEGV\n" in text
    assert main(["--record", "records", "--render", "page"]) == 0
    assert "operation  BLAS" not in capsys.readouterr().out
    assert {path.name for path in folder.glob("page/*")} == {"drift.md", "drift.svg"}
    counterpart = "d"
    assert main(["--record", "others"]) == 1
    assert "samebits.core.matmul (A @ B): 2 results\n" in capsys.readouterr().out
    assert main(["--join", "--json", *map(str, folder.glob("*/*.json"))]) == 1
    assert json.loads(capsys.readouterr().out)["operations"][0]["counterpart_results"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a:b", "c:d"], "MODULE:FUNCTION must be one function, got 2: a:b c:d"),
        (["--join"], "--join requires the files to join"),
        (["--join", "nowhere.json"], "nowhere.json"),
        (["--join", "mine.py"], "--join: FILES must be written by --record or --json"),
        (["--numpy", "2.3"], "--numpy requires a function"),
        (["mine:same", "--record", "x"], "use --json"),
        (["--join", "x", "--record", "y"], "--join runs nothing"),
        (["mine:same", "--timeout", "0"], "--timeout must be positive, got 0"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_it_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "samebits.drift", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: python -m samebits.drift")


def test_a_public_function_has_an_example() -> None:
    import samebits.drift as package

    public = [getattr(package, name) for name in package.__all__]
    assert [
        one.__name__
        for one in public
        if callable(one) and one.__module__.startswith("samebits") and ">>>" not in (one.__doc__ or "")
    ] == []
