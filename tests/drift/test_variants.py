"""Variants take effect in their processes, and a process that fails is reported."""

import json
import os
import sys
from dataclasses import replace

import pytest

from samebits.core import BLAS, describe_machine
from samebits.drift import variants
from samebits.drift.variants import BASE, VARIANT_AXES, Variant, available, in_effect, kernels, run_variants

pytestmark = pytest.mark.once

MACHINE = "import json; from samebits.core import describe_machine as d; from samebits.drift.variants import in_effect as e; "


def test_the_base_is_first_and_changes_nothing() -> None:
    assert available()[0] == BASE
    assert not BASE.environment


def test_names_differ_and_axes_are_known() -> None:
    names = [variant.name for variant in available()]
    assert len(set(names)) == len(names)
    assert {variant.axis for variant in available()[1:]} <= set(VARIANT_AXES)


def test_every_variant_sets_only_what_is_documented() -> None:
    assert {name for variant in available() for name in variant.environment} <= set(variants.SETTINGS)


@pytest.mark.variants
def test_every_variant_takes_effect_in_its_process() -> None:
    runs = run_variants(["-c", MACHINE + "m = d(); print(json.dumps([m.simd, m.blas.threads, e(m)]))"], available())
    assert [one.error for one in runs] == [""] * len(runs)
    assert runs[0].value[2] == in_effect(describe_machine())
    for one in runs:
        simd, threads, _ = one.value
        assert not set(one.variant.environment.get("NPY_DISABLE_CPU_FEATURES", "").split()) & set(simd)
        assert one.variant.environment.get("OPENBLAS_NUM_THREADS", str(threads)) == str(threads)


@pytest.mark.variants
def test_every_variant_of_the_kernels_takes_effect_in_its_process() -> None:
    describe = "import json; from samebits.core import compiled; print(json.dumps(compiled.describe()))"
    wanted = {one.name: one.environment["SAMEBITS_KERNELS"] for one in kernels()}
    found = {one.variant.name: one.value for one in run_variants(["-c", describe], kernels())}
    assert {name: text.split(" (")[0] for name, text in found.items()} == {
        name: "NumPy: SAMEBITS_KERNELS=none" if level == "none" else f"compiled, {level}" for name, level in wanted.items()
    }


def test_levels_are_cut_from_the_features_in_use() -> None:
    old = ["SSE42", "AVX", "F16C", "FMA3", "AVX2", "AVX512F", "AVX512CD", "AVX512_SKX", "AVX512_ICL"]
    assert [(one.name, one.environment["NPY_DISABLE_CPU_FEATURES"]) for one in variants._cpu_levels(old)] == [
        ("cpu-v4", "AVX512_ICL"),
        ("cpu-v3", "AVX512F AVX512CD AVX512_SKX AVX512_ICL"),
        ("cpu-v2", "AVX F16C FMA3 AVX2 AVX512F AVX512CD AVX512_SKX AVX512_ICL"),
    ]
    assert [one.name for one in variants._cpu_levels(["X86_V3", "X86_V4"])] == ["cpu-v3", "cpu-v2"]
    assert [one.name for one in variants._cpu_levels(["X86_V3"])] == ["cpu-v2"]
    assert variants._cpu_levels(["ASIMDHP", "ASIMDDP"]) == []


@pytest.mark.parametrize("name", ["mkl", "blis", "flexiblas"])
def test_kernels_and_threads_of_openblas_are_not_tried_on_another_library(name: str) -> None:
    machine = replace(describe_machine(), blas=BLAS(name, "1.0", "zen3", 4), cpus=4)
    assert {one.axis for one in available(machine)} <= {"base", "cpu", "libc"}
    openblas = replace(machine, blas=BLAS("scipy-openblas", "0.3.30", "Zen", 4))
    assert [one.name for one in available(openblas) if one.axis == "threads"] == ["threads-1", "threads-2"]


def test_a_32_bit_python_is_another_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    name = variants.this_platform().removesuffix("-32bit")
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    assert variants.this_platform() == f"{name}-32bit"


def test_settings_of_the_machine_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=1:glibc.cpu.hwcaps=-AVX512F")
    for variant in variants._c_library():
        assert variant.environment["GLIBC_TUNABLES"] == "glibc.malloc.check=1:glibc.cpu.hwcaps=-AVX2,-FMA"


def test_a_process_gets_the_environment_of_its_variant_and_keeps_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "kept")
    program = "import json, os; print(json.dumps([os.environ['MINE'], os.environ['COLOR']]))"
    runs = run_variants(["-c", program], [Variant("a", "x", {"COLOR": "red"}), Variant("b", "x", {"COLOR": "blue"})])
    assert [one.value for one in runs] == [["kept", "red"], ["kept", "blue"]]


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("raise SystemExit('no such luck')", "exited with status 1: no such luck"),
        ("raise SystemExit(3)", "exited with status 3: no message"),
        ("print('not json')", "printed b'not json"),
        ("import time; time.sleep(60)", "did not end within 0.5 s"),
    ],
)
def test_a_failed_process_gives_the_reason(program: str, error: str) -> None:
    assert run_variants(["-c", program], [BASE], timeout=0.5 if "sleep" in program else 60)[0].error.startswith(error)


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_a_crash_names_the_signal() -> None:
    program = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    assert run_variants(["-c", program], [BASE])[0].error == "crashed: SIGSEGV"


def test_results_are_reported_in_the_order_of_the_variants() -> None:
    program = "import os, time; time.sleep(float(os.environ['WAIT'])); print(os.environ['WAIT'])"
    chosen = [Variant(str(wait), "x", {"WAIT": str(wait)}) for wait in (0.3, 0.0, 0.1)]
    reported: list[float] = []
    runs = run_variants(["-c", program], chosen, done=lambda one: reported.append(one.value))
    assert reported == [one.value for one in runs] == [0.3, 0.0, 0.1]


def test_the_command_may_depend_on_the_variant() -> None:
    runs = run_variants(lambda variant: ["-c", f"print({json.dumps(json.dumps(variant.name))})"], [BASE])
    assert runs[0].value == "base"


def test_what_this_cpu_cannot_try_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = replace(describe_machine(), blas=BLAS("scipy-openblas", "0.3.30", "Haswell", 2), cpus=2)
    dispatched = ["XOP", "FMA4", "AVX2", "AVX512_KNL", "AVX512_SKX", "AVX512_ICL"]
    usable = {"SSE3": True, "SSE42": True, "AVX": True, "AVX2": True, "FMA3": True, "AVX512_SKX": False, "AVX512_ICL": False}
    monkeypatch.setattr(variants, "cpu_features", lambda: (dispatched, usable))
    monkeypatch.setattr(variants.platform, "machine", lambda: "x86_64")
    assert variants.untried(machine) == {"cpu": ["AVX512_SKX", "AVX512_ICL"], "blas": ["SkylakeX"]}
    kernels = [one.name for one in available(machine) if one.axis == "blas"]
    assert kernels == ["blas-prescott", "blas-nehalem", "blas-sandybridge", "blas-haswell", "blas-zen"]
    usable |= dict.fromkeys(dispatched, True)
    assert variants.untried(machine) == {}
    other = replace(machine, blas=BLAS("mkl", "2024.2.1", None, None), cpus=1)
    assert variants.untried(other) == {"blas": ["all but mkl"], "threads": ["all but the default"]}
