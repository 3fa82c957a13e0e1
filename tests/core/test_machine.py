"""`describe_machine` reads the running process: its result changes with the environment variables that NumPy reads."""

import os
import subprocess
import sys
import timeit
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.core.float_settings import CHANGED, SETTINGS, change, kept_settings, only_where_known

from samebits import core
from samebits.core import (
    BLAS,
    Machine,
    MachineError,
    check_arithmetic,
    describe_machine,
    environment,
    require_arithmetic,
    restore_arithmetic,
)

ROOT = Path(__file__).parents[2]


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


@only_where_known
@CHANGED
def test_changed_settings_are_refused_and_put_back(bits: int) -> None:
    message = (
        r"subnormal numbers are flushed to zero.*-ffast-math"
        if bits & 0x8040
        else r"not rounded to the nearest number.*fesetround"
    )
    with kept_settings():
        change(bits)
        with pytest.raises(MachineError, match=message):
            check_arithmetic()
        with pytest.raises(MachineError, match=message):
            require_arithmetic()
        assert restore_arithmetic()
        check_arithmetic()
        require_arithmetic()
        assert not restore_arithmetic()


@only_where_known
@CHANGED
def test_errors_that_numpy_raises_do_not_hide_changed_settings(bits: int) -> None:
    with kept_settings(), np.errstate(all="raise"):
        change(bits)
        assert restore_arithmetic()
        check_arithmetic()


@only_where_known
def test_settings_that_cannot_be_put_back_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "reset", lambda: None)
    with kept_settings():
        change(0x8040)
        with pytest.raises(MachineError, match=r"flushed to zero.*samebits.core.restore_arithmetic\(\) after loading it"):
            restore_arithmetic()


_IMPORT_AFTER_CHANGE = """
import os, sys
import numpy as np
from tests.core.float_settings import change

for bits in map(int, sys.argv[1:]):
    if child := os.fork():
        os.waitpid(child, 0)
        continue
    assert "samebits.core" not in sys.modules
    change(bits)
    from samebits import core

    x = np.array([3e-39], np.float32)
    print(bits, core.digest(core.matmul(x, np.float32([0.1]) + x)), core.environment.changed(), flush=True)
    os._exit(0)
"""


@only_where_known
def test_importing_puts_changed_settings_back() -> None:
    command = [sys.executable, "-B", "-c", _IMPORT_AFTER_CHANGE, *map(str, SETTINGS.values())]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    x = np.array([3e-39], np.float32)
    right = core.digest(core.matmul(x, np.array([0.1], np.float32) + x))
    assert done.stdout.splitlines() == [f"{bits} {right} False" for bits in SETTINGS.values()], done.stderr


def test_numpy_flushing_subnormals_in_long_arrays_alone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As NumPy does on 32-bit ARM, for float32 arrays of 9 and more elements."""

    def flushing(function: np.ufunc, floats: type) -> Any:
        def call(x: Any, y: Any) -> Any:
            result = function(x, y)
            small = np.abs(result) < np.finfo(floats).tiny
            return np.where(small, floats(0), result) if x.dtype == floats and x.size >= 9 else result

        return call

    probes = environment._SUBNORMAL
    assert not environment.flushes()
    for floats in (np.float32, np.float64):
        for name in ("add", "subtract", "multiply"):
            changed = [(flushing(f, floats) if f.__name__ == name else f, x, y, expected) for f, x, y, expected in probes]
            monkeypatch.setattr(environment, "_SUBNORMAL", changed)
            assert environment.flushes()
            with pytest.raises(MachineError, match="On 32-bit ARM, NumPy itself does this"):
                restore_arithmetic()


@pytest.mark.skipif(np.finfo(np.longdouble).nmant != 63, reason="long double here is not that of x87")
def test_python_rounding_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As 32-bit Pythons on x86 do, by x87, whose registers have 64 digits."""

    class X87(float):
        def __add__(self, other: float) -> "X87":
            return X87(float(np.longdouble(self) + np.longdouble(other)))

    monkeypatch.setattr(environment, "_PYTHON", [(X87(x), X87(y), X87(total)) for x, y, total in environment._PYTHON])
    assert environment.rounds_otherwise()
    with pytest.raises(MachineError, match="On 32-bit x86, Python's own floats are rounded twice"):
        check_arithmetic()


def test_the_quick_check_takes_microseconds_at_most() -> None:
    assert min(timeit.repeat(require_arithmetic, number=1000, repeat=20)) / 1000 < 5e-6  # 0.3 µs; a step takes milliseconds


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
