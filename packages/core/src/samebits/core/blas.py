"""BLAS library: which one NumPy calls in this process, its version, kernel and number of threads.

NumPy's build names the library it was built with, which is not always the one it calls: Debian's alternatives and conda put another
in its place. A dynamic linker finds a symbol in a library and in those that it is linked to, so NumPy's extension module leads to the
library it calls, which says what it is (OpenBLAS, MKL, BLIS, FlexiBLAS) or is known by its file (ATLAS, the reference BLAS). Windows
looks in one library alone; there, those that the process has loaded are asked, NumPy's own first.
"""

import contextlib
import ctypes
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["BLAS", "describe_blas", "extension_module"]

# How builds spell the name of a function: SciPy's OpenBLAS, 64-bit integers, Accelerate's new interfaces
_SPELLINGS = ("scipy_{}64_", "scipy_{}", "{}64_", "{}", "{}$NEWLAPACK$ILP64", "{}$NEWLAPACK")
_NAMES = ("openblas", "flexiblas", "blis", "atlas", "mkl", "armpl", "nvpl")


@dataclass(frozen=True)
class BLAS:
    """The linear-algebra library that NumPy calls; None where the library does not say.

    Example:
        >>> print(BLAS("openblas", "0.3.30", "Haswell", threads=2))
        openblas 0.3.30, kernel Haswell, 2 threads
    """

    name: str
    version: str | None
    kernel: str | None
    threads: int | None

    def __str__(self) -> str:
        kernel = f", kernel {self.kernel}" if self.kernel else ""
        threads = f", {self.threads} thread{'s' * (self.threads != 1)}" if self.threads else ""
        return f"{self.name} {self.version or '(version unknown)'}{kernel}{threads}"


def extension_module() -> Any:
    """NumPy's extension module, whose name changed with NumPy 2."""
    return sys.modules.get("numpy._core._multiarray_umath") or sys.modules["numpy.core._multiarray_umath"]


def describe_blas() -> BLAS:
    """The library that NumPy calls in this process, or the one it was built with if the process does not show it.

    Example:
        >>> describe_blas().name != ""
        True
    """
    dependencies: Any = np.show_config(mode="dicts")
    info = dependencies.get("Build Dependencies", {}).get("blas", {})
    built = BLAS(info.get("name", "unknown"), info.get("version"), None, None)
    found = next(filter(None, map(_ask, _libraries())), None) or _known_by_file() or built
    # a build may have a name of its own for the library, such as scipy-openblas
    return replace(found, name=built.name) if found.version == built.version and found.name in built.name else found


def _libraries() -> Iterator[ctypes.CDLL]:
    """Handles in which the symbols of the library that NumPy calls can be found."""
    if sys.platform == "win32":
        own = Path(np.__file__).parents[1] / "numpy.libs"
        for path in sorted(_loaded_on_windows(), key=lambda one: one.parent != own):
            if any(name in path.name.lower() for name in _NAMES):
                with contextlib.suppress(OSError):
                    yield ctypes.CDLL(str(path))
    elif found := _find_product():
        yield found[0]


def _find_product() -> tuple[ctypes.CDLL, Any] | None:
    """A handle that leads to the matrix product NumPy calls, and that function."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        own, everything = ctypes.CDLL(extension_module().__file__), ctypes.CDLL(None)
        names = [one.format("cblas_sgemm") for one in _SPELLINGS]
        if name := next((one for one in names if hasattr(own, one)), ""):
            preloaded = "LD_PRELOAD" in os.environ and hasattr(everything, name)  # comes before what NumPy is linked to
            library = everything if preloaded else own
            return library, library[name]
    return None


def _ask(library: ctypes.CDLL) -> BLAS | None:
    """What the library says by its own functions; None if it has none of these."""

    def call(name: str, *arguments: Any, returns: Any = ctypes.c_int) -> Any:
        for spelling in _SPELLINGS:
            if function := getattr(library, spelling.format(name), None):
                function.restype = returns
                value = function(*arguments)
                return value.decode() if isinstance(value, bytes) else value
        return None

    if configuration := call("openblas_get_config", returns=ctypes.c_char_p):
        kernel = call("openblas_get_corename", returns=ctypes.c_char_p)
        return BLAS("openblas", _version(configuration), kernel, call("openblas_get_num_threads"))
    text = ctypes.create_string_buffer(200)
    if hasattr(library, "MKL_Get_Version_String"):
        call("MKL_Get_Version_String", text, 200, returns=None)
        return BLAS("mkl", _version(text.value.decode()), None, call("MKL_Get_Max_Threads"))
    if version := call("bli_info_get_version_str", returns=ctypes.c_char_p):
        kernel = call("bli_arch_string", call("bli_arch_query_id"), returns=ctypes.c_char_p)
        threads = call("bli_thread_get_num_threads", returns=ctypes.c_ssize_t)
        return BLAS("blis", version, kernel, max(threads or 1, 1))
    if hasattr(library, "flexiblas_current_backend"):
        parts = [ctypes.c_int() for _ in range(3)]
        call("flexiblas_get_version", *map(ctypes.byref, parts))
        call("flexiblas_current_backend", text, ctypes.c_size_t(200))
        return BLAS("flexiblas", ".".join(str(part.value) for part in parts), text.value.decode(), None)
    return None


def _version(text: str) -> str | None:
    """The version in a description such as ``OpenBLAS 0.3.30  USE64BITINT DYNAMIC_ARCH``."""
    found = re.search(r"(?:OpenBLAS|Version) (\d[^\s-]*)", text)
    return found[1] if found else None


class _Symbol(ctypes.Structure):
    """What `dladdr` says about an address: ``Dl_info`` of POSIX."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def _known_by_file() -> BLAS | None:
    """The library by the name of the file with the matrix product that NumPy calls."""
    found, symbol = None if sys.platform == "win32" else _find_product(), _Symbol()
    if not found or not ctypes.CDLL(None).dladdr(ctypes.cast(found[1], ctypes.c_void_p), ctypes.byref(symbol)):
        return None
    return _named(Path(os.fsdecode(symbol.file)).resolve())


def _named(file: Path) -> BLAS | None:
    """A library by its file, and by the folder that Debian has for each.

    >>> print(_named(Path("/usr/lib/x86_64-linux-gnu/atlas/libblas.so.3.10.3")))
    atlas 3.10.3
    """
    if "Accelerate.framework" in file.parts:
        return BLAS("accelerate", None, None, None)
    stem, _, version = file.name.partition(".so")
    if not stem.startswith("lib"):
        return None  # compiled into NumPy
    text = f"{file.parent.name}/{stem}".lower()
    name = next((name for name in _NAMES if name in text), stem.removeprefix("lib"))
    return BLAS(name, version[1:] if re.fullmatch(r"\.\d+(\.\d+)+", version) else None, None, None)


if sys.platform == "win32":

    def _loaded_on_windows() -> list[Path]:
        """The libraries that this process has loaded."""
        kernel = ctypes.WinDLL("kernel32")
        handles, size = (ctypes.c_void_p * 4096)(), ctypes.c_ulong()
        kernel.GetCurrentProcess.restype = ctypes.c_void_p
        process = ctypes.c_void_p(kernel.GetCurrentProcess())
        if not kernel.K32EnumProcessModules(process, handles, ctypes.sizeof(handles), ctypes.byref(size)):
            return []
        modules = handles[: size.value // ctypes.sizeof(ctypes.c_void_p)]
        text = ctypes.create_unicode_buffer(32768)
        return [Path(text.value) for one in modules if kernel.GetModuleFileNameW(ctypes.c_void_p(one), text, len(text))]
