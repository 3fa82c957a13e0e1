"""`describe_blas` names the library that NumPy calls, whatever NumPy was built with."""

import ctypes
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from samebits.core import BLAS, blas, describe_machine
from samebits.core.blas import describe_blas


class Library(SimpleNamespace):
    """Stands for a shared library: its attributes are its functions."""


def functions(**results: Any) -> Library:
    return Library(**{name: (lambda *_, value=value: value) for name, value in results.items()})


def written(text: bytes) -> Any:
    def write(buffer: Any, _: Any) -> int:
        buffer.value = text
        return 0

    return write


def flexiblas_version(*parts: Any) -> int:
    for part, value in zip(parts, (3, 4, 4), strict=True):
        part._obj.value = value
    return 0


OPENBLAS = {
    "openblas_get_config": b"OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH NO_AFFINITY Haswell MAX_THREADS=64",
    "openblas_get_corename": b"Zen",
    "openblas_get_num_threads": 4,
}
MKL = b"Intel(R) oneAPI Math Kernel Library Version 2024.2.1-Product Build 20240722 for Intel(R) 64 architecture applications"


@pytest.mark.parametrize(
    ("library", "text"),
    [
        (functions(**OPENBLAS), "openblas 0.3.21, kernel Zen, 4 threads"),
        (functions(**{f"scipy_{name}64_": value for name, value in OPENBLAS.items()}), "openblas 0.3.21, kernel Zen, 4 threads"),
        (Library(MKL_Get_Version_String=written(MKL), MKL_Get_Max_Threads=lambda: 2), "mkl 2024.2.1, 2 threads"),
        (
            functions(
                bli_info_get_version_str=b"0.9.0", bli_arch_query_id=3, bli_arch_string=b"zen3", bli_thread_get_num_threads=-1
            ),
            "blis 0.9.0, kernel zen3, 1 thread",
        ),
        (
            Library(flexiblas_current_backend=written(b"OPENBLAS-OPENMP"), flexiblas_get_version=flexiblas_version),
            "flexiblas 3.4.4, kernel OPENBLAS-OPENMP",
        ),
        (functions(openblas_get_config=b"NO_LAPACKE DYNAMIC_ARCH"), "openblas (version unknown)"),
        (functions(), "None"),
    ],
)
def test_a_library_says_what_it_is(library: Any, text: str) -> None:
    assert str(blas._ask(library)) == text


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("/usr/lib/x86_64-linux-gnu/atlas/libblas.so.3.10.3", "atlas 3.10.3"),
        ("/usr/lib/x86_64-linux-gnu/blas/libblas.so.3.11.0", "blas 3.11.0"),
        ("/usr/lib/x86_64-linux-gnu/blis-pthread/libblas.so.3", "blis (version unknown)"),
        ("/home/atlas/lib/libcblas.so.3", "cblas (version unknown)"),
        (
            "/System/Library/Frameworks/Accelerate.framework/Versions/A/Frameworks/vecLib.framework/libBLAS.dylib",
            "accelerate (version unknown)",
        ),
        ("/lib/python3.13/site-packages/numpy/_core/_multiarray_umath.so", "None"),
    ],
)
def test_a_library_that_does_not_say_is_known_by_its_file(file: str, text: str) -> None:
    assert str(blas._named(Path(file))) == text


def test_the_library_called_comes_before_the_one_of_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    def built(name: str, version: str) -> None:
        found = {"Build Dependencies": {"blas": {"name": name, "version": version}}}
        monkeypatch.setattr(np, "show_config", lambda **_: found)

    monkeypatch.setattr(blas, "_libraries", lambda: iter([functions(), functions(**OPENBLAS)]))
    built("blas", "3.12.1")  # as in Debian, whichever library is chosen there
    assert describe_blas() == BLAS("openblas", "0.3.21", "Zen", 4)
    built("scipy-openblas", "0.3.21")
    assert describe_blas() == BLAS("scipy-openblas", "0.3.21", "Zen", 4)
    monkeypatch.setattr(blas, "_libraries", lambda: iter([]))
    monkeypatch.setattr(blas, "_known_by_file", lambda: BLAS("atlas", "3.10.3", None, None))
    assert describe_machine().blas.name == "atlas"
    monkeypatch.setattr(blas, "_known_by_file", lambda: None)
    assert describe_blas() == BLAS("scipy-openblas", "0.3.21", None, None)


def test_a_library_that_cannot_be_opened_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> Any:
        raise OSError("not a shared library")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert describe_blas().kernel is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows looks for a symbol in one library alone")
def test_another_copy_in_the_process_is_not_taken_for_the_one_of_numpy() -> None:
    """A process often has several: NumPy's, SciPy's, one of PyTorch."""
    found = blas._find_product()
    if found is None:
        pytest.skip("NumPy here has no BLAS library that can be found")
    library, product = found
    code = "import ctypes, numpy; from samebits.core.blas import describe_blas as d; a = d(); {}; print(a == d(), a)"
    others = sorted(Path(np.__file__).parents[1].glob("scipy*.libs/*openblas*"))
    loading = "; ".join(f"ctypes.CDLL({str(path)!r}, ctypes.RTLD_GLOBAL)" for path in others) or "pass"
    done = subprocess.run([sys.executable, "-c", code.format(loading)], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == f"True {describe_blas()}"
    assert hasattr(library, product.__name__)


def test_a_32_bit_python_is_said_on_any_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    assert describe_machine().python.endswith(" 32-bit") == (sys.maxsize < 2**32)
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    assert describe_machine().python.endswith(f"{sys.version.split()[0].rstrip('+')} 32-bit")
