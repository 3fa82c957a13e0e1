"""`describe_machine` reads the running process: what it says changes with the environment that changes NumPy."""

import os
import subprocess
import sys
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from samebits.core import BLAS, Machine, describe_machine


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


def test_what_the_library_does_not_tell_is_left_out() -> None:
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
