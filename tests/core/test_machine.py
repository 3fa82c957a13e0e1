"""`describe_machine` reads the running process: its result changes with the environment variables that NumPy reads."""

import ctypes
import ctypes.util
import os
import platform
import struct
import subprocess
import sys
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from samebits.core import BLAS, Machine, MachineError, check_arithmetic, describe_machine


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"from samebits.core import describe_machine as d; {code}"],
        env=os.environ | environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def test_describes_this_process() -> None:
    machine = describe_machine()
    assert machine.numpy == np.__version__
    assert machine.python.endswith(sys.version.split()[0].rstrip("+"))
    assert machine.byte_order == sys.byteorder
    assert machine.cpus >= 1
    assert machine.blas.name


def test_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        describe_machine().numpy = "0"  # type: ignore[misc]


def test_reads_as_a_table_of_five_lines() -> None:
    machine = Machine(
        system="Linux x86_64",
        python="CPython 3.13.1",
        numpy="2.3.5",
        blas=BLAS("openblas", "0.3.30", "Haswell", 1),
        simd=("AVX2",),
        cpus=2,
        byte_order="little",
    )
    assert str(machine).splitlines() == [
        "system  Linux x86_64, little-endian, 2 CPUs",
        "Python  CPython 3.13.1",
        "NumPy   2.3.5",
        "SIMD    AVX2",
        "BLAS    openblas 0.3.30, kernel Haswell, 1 thread",
    ]


def test_what_the_library_does_not_report_is_left_out() -> None:
    assert str(BLAS("accelerate", None, None, None)) == "accelerate (version unknown)"


@pytest.mark.skipif(describe_machine().blas.kernel is None, reason="NumPy here does not bring its own OpenBLAS")
def test_threads_and_kernel_follow_the_environment() -> None:
    assert run("print(d().blas.threads)", OPENBLAS_NUM_THREADS="1") == "1"
    if "x86_64" in describe_machine().system:
        assert run("print(d().blas.kernel)", OPENBLAS_CORETYPE="Nehalem") == "Nehalem"


@pytest.mark.skipif(not describe_machine().simd, reason="this CPU has nothing beyond the baseline")
def test_switched_off_features_are_not_in_use() -> None:
    feature = describe_machine().simd[-1]
    assert feature not in run("print(d().simd)", NPY_DISABLE_CPU_FEATURES=feature)


def libm() -> ctypes.CDLL:
    """The C library's floating-point environment, of this thread."""
    return ctypes.CDLL(ctypes.util.find_library("m"))


GLIBC_X86 = platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc"


@pytest.mark.skipif(not GLIBC_X86, reason="the layout of glibc's fenv_t on x86-64")
def test_a_process_that_flushes_subnormal_numbers_is_refused() -> None:
    saved, changed = ctypes.create_string_buffer(32), ctypes.create_string_buffer(32)
    libm().fegetenv(saved)
    libm().fegetenv(changed)
    (mxcsr,) = struct.unpack_from("<I", changed, 28)
    struct.pack_into("<I", changed, 28, mxcsr | 0x8040)  # flush to zero, and take subnormal operands for zeros
    libm().fesetenv(changed)
    try:
        with pytest.raises(MachineError, match=r"subnormal numbers are flushed to zero.*-ffast-math"):
            check_arithmetic()
    finally:
        libm().fesetenv(saved)
    check_arithmetic()


@pytest.mark.skipif(not GLIBC_X86, reason="the numbers of glibc's rounding modes on x86-64")
@pytest.mark.parametrize("mode", [0x400, 0x800, 0xC00], ids=["down", "up", "to zero"])
def test_a_process_that_rounds_another_way_is_refused(mode: int) -> None:
    libm().fesetround(mode)
    try:
        with pytest.raises(MachineError, match=r"not rounded to the nearest number.*fesetround"):
            check_arithmetic()
    finally:
        libm().fesetround(0)
    check_arithmetic()


def test_a_library_that_does_not_multiply_exactly_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = np.array_equal
    # as if the product in float64 were off by one in the last place
    monkeypatch.setattr(np, "array_equal", lambda found, expected: exact(np.nextafter(found, np.inf), expected))
    with pytest.raises(MachineError, match=r"BLAS library .* does not multiply float64 matrices exactly"):
        check_arithmetic()


def test_the_probe_of_products_reaches_the_edge_of_53_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(np, "array_equal", lambda _, expected: seen.append(int(expected.max())) or True)
    check_arithmetic()
    assert 2**53 - 2**33 < seen[0] <= 2**53
