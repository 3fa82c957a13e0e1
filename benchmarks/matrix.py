"""Time the matrix of cells three ways, in one run: this project's ``./nox``, plain nox with pip, and tox with uv.

All three test the same wheels with the same test files and the same locks, hashes checked, in a copy of the tree; with
the files that plain nox and tox require. Each way has its own package cache and is timed

    cold    with an empty package cache and no environments,
    warm    with the cache of the cold run and new environments,
    kept    with the environments of the warm run.

Building the wheels and making ./nox's own environment are not timed. Standard library only.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TREE = ("nox", "noxfile.py", "pyproject.toml", "packages", "requirements", "tests", "tools")
RUNS = ("cold", "warm", "kept")
HASHED = ("--require-hashes", "--no-deps", "--only-binary", ":all:")
PYTEST = ("-p", "no:cacheprovider", "tests", *(f"--ignore=tests/{name}" for name in ("parity", "repository", "site", "tools")))

PLAIN_NOX = """\
import nox

@nox.session(venv_backend="virtualenv")
@nox.parametrize("python, numpy", {cells})
def tests(session, numpy):
    session.install(*{hashed}, *(f"-rrequirements/{{name}}.txt" for name in (f"numpy-{{numpy}}", "test", "cli", "corpora")))
    session.install("--no-deps", "--no-index", *{wheels})
    session.run("python", "-m", "pytest", *{pytest}, env={{"SAMEBITS_CELL": f"{{session.python}} {{numpy}}"}})
"""

TOX = """\
[tox]
no_package = true
env_list = {names}

[testenv]
pass_env = *
install_command = uv pip install {{opts}} {{packages}}
commands_pre = uv pip install --no-deps --no-index {wheels}
commands = python -m pytest {pytest}
"""

TOX_CELL = """
[testenv:{name}]
base_python = python{python}
set_env = SAMEBITS_CELL = {python} {numpy}
deps =
    -r requirements/numpy-{numpy}.txt
    -r requirements/test.txt
    -r requirements/cli.txt
    -r requirements/corpora.txt
"""

Cell = tuple[str, str]


@dataclass(frozen=True)
class Way:
    """One way to run the matrix: the command that makes new environments, and the one that keeps them."""

    title: str
    new: Sequence[str]
    kept: Sequence[str]


def launcher_path() -> str:
    """PATH with the Pythons that ./nox finds, so that all three ways find the same."""
    loader = SourceFileLoader("launcher", str(ROOT / "nox"))
    spec = spec_from_loader("launcher", loader)
    if spec is None:
        raise ImportError(f"{ROOT / 'nox'} cannot be loaded")
    module = module_from_spec(spec)
    loader.exec_module(module)
    return str(module.search_path(Path.home()))


def surroundings() -> dict[str, str]:
    """The environment variables of every run: without this machine's own settings of caches and bytecode."""
    own = {"PYTHONDONTWRITEBYTECODE", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "UV_OFFLINE", "UV_FIND_LINKS", "CI", "VIRTUAL_ENV"}
    environment = {key: value for key, value in os.environ.items() if key not in own}
    return environment | {"PIP_CONFIG_FILE": os.devnull, "PATH": launcher_path()}


def run(command: Sequence[str], tree: Path, environment: dict[str, str]) -> float:
    """Run ``command`` in ``tree``; the seconds it took. Stops the benchmark where it fails."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        text = done.stdout.decode(errors="replace")
        sys.exit(f"{text[-4000:]}\n{' '.join(command)} failed with {done.returncode}; its last lines are above")
    return seconds


def copy_tree(tree: Path) -> None:
    for name in TREE:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, tree / name)


def all_cells(tree: Path, environment: dict[str, str]) -> list[Cell]:
    """The cells of the matrix whose Python is installed here."""
    listing = subprocess.run(
        [sys.executable, "nox", "--json", "-l", "-s", "tests"], cwd=tree, env=environment, capture_output=True, check=True
    )
    cells = [(one["python"], one["call_spec"]["numpy"]) for one in json.loads(listing.stdout) if one["name"] == "tests"]
    return [cell for cell in cells if shutil.which(f"python{cell[0]}", path=environment["PATH"])]


def make_ways(tree: Path, cells: Sequence[Cell], jobs: int, tox: str | None) -> list[Way]:
    """The three ways, with the files that plain nox and tox need; tox only where it is installed."""
    wheels = sorted(str(wheel) for wheel in (tree / "dist").glob("*.whl"))
    sessions = [f"tests(python='{python}', numpy='{numpy}')" for python, numpy in cells]
    names = [f"py{python}-numpy{numpy}".replace(".", "_") for python, numpy in cells]
    plain = tree / "plain.py"
    plain.write_text(PLAIN_NOX.format(cells=list(cells), hashed=HASHED, wheels=wheels, pytest=PYTEST), encoding="utf-8")
    ini = [TOX.format(names=", ".join(names), wheels=" ".join(wheels), pytest=" ".join(PYTEST))]
    ini += [TOX_CELL.format(name=name, python=python, numpy=numpy) for name, (python, numpy) in zip(names, cells, strict=True)]
    (tree / "tox.ini").write_text("".join(ini).replace("{opts}", " ".join(HASHED) + " {opts}"), encoding="utf-8")
    nox = [str(next(tree.glob(".nox/launcher-*/*/python"))), "-m", "nox"]
    missing = "--error-on-missing-interpreters"
    ours = [sys.executable, "nox", missing, "--no-dependencies", "-j", str(jobs), "-s", *sessions]
    theirs = [*nox, missing, "--envdir", "plain", "-f", str(plain)]
    ways = [
        Way(f"`./nox`, {jobs} jobs", ours, [*ours, "-r"]),
        Way("nox, virtualenv and pip, one cell after the other", theirs, [*theirs, "-r"]),
    ]
    if tox:
        with_tox = [tox, "run-parallel", "-q", "-p", str(jobs), "--parallel-no-spinner", "--workdir", "tox"]
        ways.append(Way(f"tox, tox-uv, `-p {jobs}`", [*with_tox, "-r"], with_tox))
    return ways


def measure(ways: Sequence[Way], tree: Path, environment: dict[str, str], repeat: int) -> list[dict[str, float]]:
    """Seconds of every way and run, medians where a run can be repeated; the ways alternate."""
    seconds: list[dict[str, float]] = [{} for _ in ways]
    for kind in RUNS:
        for number, way in enumerate(ways):
            caches = {name: str(tree / "caches" / str(number) / name) for name in ("uv", "pip", "virtualenv")}
            variables = ("UV_CACHE_DIR", "PIP_CACHE_DIR", "VIRTUALENV_OVERRIDE_APP_DATA")
            own = environment | dict(zip(variables, caches.values(), strict=True))
            command = way.kept if kind == "kept" else way.new
            times = [run(command, tree, own) for _ in range(1 if kind == "cold" else repeat)]
            seconds[number][kind] = statistics.median(times)
            print(f"{kind}  {seconds[number][kind]:7.1f} s  {way.title}", file=sys.stderr, flush=True)
    return seconds


def table(ways: Sequence[Way], seconds: Sequence[dict[str, float]], count: int) -> str:
    """The Markdown table: seconds, and their ratio to those of ./nox."""
    lines = [f"| seconds for {count} cells | {' | '.join(RUNS)} |", "| --- |" + " ---: |" * len(RUNS)]
    for way, own in zip(ways, seconds, strict=True):
        texts = [f"{own[kind]:.1f} ({own[kind] / seconds[0][kind]:.1f}×)" for kind in RUNS]
        lines.append(f"| {way.title} | {' | '.join(texts)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the matrix with ./nox, plain nox and tox.")
    parser.add_argument("--cells", type=int, metavar="N", help="only N cells, spread over the matrix (default: all)")
    parser.add_argument("--jobs", type=int, default=2, help="cells at a time, for ./nox and tox (default: 2)")
    parser.add_argument("--repeat", type=int, default=1, help="take the median of N runs, except for cold (default: 1)")
    parser.add_argument("--tox", default=shutil.which("tox"), help="a tox that has tox-uv (default: the one on PATH)")
    options = parser.parse_args()
    environment = surroundings()
    with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
        tree = Path(folder).resolve()
        copy_tree(tree)
        run([sys.executable, "nox", "-s", "build"], tree, environment)
        cells = all_cells(tree, environment)
        if options.cells:
            cells = cells[:: max(1, len(cells) // options.cells)][: options.cells]
        ways = make_ways(tree, cells, options.jobs, options.tox)
        seconds = measure(ways, tree, environment, options.repeat)
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, medians of {options.repeat}\n")
    print(table(ways, seconds, len(cells)))
    if not options.tox:
        print("\ntox is not installed here and was left out.")


if __name__ == "__main__":
    main()
