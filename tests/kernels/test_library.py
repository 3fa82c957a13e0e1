"""Loading: the level this CPU has, or the one that is forced; and NumPy, with a reason, where a library cannot be used."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from samebits import kernels
from samebits.kernels import library

COMPILED = library.HERE / "_libraries"
PROBE = "import numpy as np; from samebits import core; from samebits.core import compiled\nprint(compiled.describe())\n"
PROBE += "print(core.digest(core.exp(np.linspace(-9, 9, 1001, dtype=np.float32))))"


def probe(**settings: str) -> list[str]:
    """The lines that a new process prints: the kernels in use, and a digest of results."""
    environment = {**os.environ, **settings}
    return subprocess.run(
        [sys.executable, "-c", PROBE], check=True, capture_output=True, text=True, env=environment
    ).stdout.splitlines()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The compiled libraries, to be damaged."""
    if not COMPILED.exists():
        pytest.skip(kernels.describe())
    library.load.cache_clear()
    return Path(shutil.copytree(COMPILED, tmp_path / "libraries"))


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "libraries.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def first(folder: Path) -> Path:
    return next(path for path in folder.iterdir() if path.stem == "baseline")


@pytest.mark.skipif("SAMEBITS_CELL" not in os.environ, reason="only wheels must have libraries")
def test_the_wheel_for_this_platform_has_libraries() -> None:
    assert kernels.levels() != (), kernels.describe()


def test_the_highest_level_is_chosen(copy: Path) -> None:
    found = library.choose({}, copy)
    assert (found.level, found.reason) == (library.levels(copy)[-1], "the highest level of this CPU")


def test_every_level_can_be_forced(copy: Path) -> None:
    for level in library.levels(copy):
        assert library.choose({"SAMEBITS_KERNELS": level}, copy).level == level


@pytest.mark.once
def test_numpy_can_be_forced_and_gives_the_same_digest() -> None:
    here, numpy = probe(SAMEBITS_KERNELS=""), probe(SAMEBITS_KERNELS="none")
    assert numpy[0] == "NumPy: SAMEBITS_KERNELS=none"
    assert numpy[1] == here[1]


def test_a_level_that_does_not_exist_or_that_this_cpu_lacks_is_named(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert library.choose({"SAMEBITS_KERNELS": "sse9"}, copy).reason == (
        "SAMEBITS_KERNELS must be none, baseline, avx2 or avx512, got 'sse9'"
    )
    monkeypatch.setattr(library, "levels", lambda _: ("baseline",))
    assert library.choose({"SAMEBITS_KERNELS": "avx2"}, copy).reason == "SAMEBITS_KERNELS=avx2, but this CPU has only baseline"


def test_without_libraries_numpy_computes(tmp_path: Path) -> None:
    assert library.choose({}, tmp_path).reason == "there are no compiled libraries for this platform"


def test_a_missing_library_is_named(copy: Path) -> None:
    first(copy).unlink()
    assert library.choose({}, copy).reason == f"{first_name(copy)} is missing"


def first_name(folder: Path) -> Path:
    return folder / json.loads((folder / "libraries.json").read_text())["libraries"]["baseline"]["file"]


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_a_truncated_library_is_not_loaded(copy: Path, size: int) -> None:
    path = first(copy)
    path.write_bytes(path.read_bytes()[:size])
    assert library.choose({}, copy).reason == f"{path} is damaged"


def test_a_library_of_other_sources_is_not_loaded(copy: Path) -> None:
    edit(copy, sources="0" * 64)
    assert library.choose({}, copy).reason == f"{first(copy)} is of another version"


def test_a_library_of_another_architecture_is_not_loaded(copy: Path) -> None:
    path = first(copy)
    path.write_bytes(b"not for this machine")
    contents = json.loads((copy / "libraries.json").read_text())["libraries"]
    contents["baseline"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    edit(copy, libraries=contents)
    assert library.choose({}, copy).reason.startswith("a library cannot be loaded: ")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"libraries": 1}'])
def test_a_damaged_list_of_libraries_is_named(copy: Path, text: str) -> None:
    (copy / "libraries.json").write_text(text)
    assert library.choose({}, copy).reason.startswith(f"{copy / 'libraries.json'} is damaged: ")


@pytest.mark.once
def test_core_works_where_the_package_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['samebits.kernels'] = None\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    assert probe(PYTHONPATH=path) == ["NumPy: samebits-kernels is not installed", probe()[1]]


@pytest.mark.once
def test_threads_come_from_the_environment() -> None:
    if kernels.level() is None:
        pytest.skip(kernels.describe())
    assert probe(SAMEBITS_THREADS="3")[0].endswith("3 threads")


@pytest.mark.parametrize(("count", "error"), [(0, ValueError), (-1, ValueError), (True, TypeError), (2.0, TypeError)])
def test_threads_must_be_a_positive_int(count: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="threads: count must be"):
        kernels.threads(count)
