"""Mutation tests: small changes of the code that the tests should notice.

    python -m tools.mutate core nn --count 100 --seed 7

Cosmic Ray's operators change one number, operator, condition, decorator or exception. The places are drawn by the seed, all with the same
probability, and then one of the changes that are possible there; type annotations are left out. A mutant is noticed when
the tests of its package, the golden digests or the examples of its module fail or take much longer than without the change.
"""

import argparse
import ast
import difflib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

import cosmic_ray.ast
import cosmic_ray.mutating
import cosmic_ray.plugins

__all__ = ["Mutant", "draw", "main", "noticed", "test_files"]

PACKAGES = ("core", "autograd", "text", "nn", "lm")
LEFT_OUT = {"packages/core/src/samebits/core/compiled.py"}  # its tests require the compiled libraries
COPIED = ("packages", "tests", "docs", "README.md", "pyproject.toml")

Place = tuple[int, int]


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    path: str
    """The file, from the folder of the repository."""
    line: int
    """The line of the change."""
    operator: str
    """Cosmic Ray's name of the change."""
    occurrence: int
    """Its number among the changes of this kind in the file."""

    @property
    def package(self) -> str:
        """The package that it is in."""
        return self.path.split("/")[1]

    @property
    def module(self) -> str:
        """The module's dotted name."""
        return ".".join(Path(self.path).with_suffix("").parts[3:]).removesuffix(".__init__")

    def code(self, source: str) -> str:
        """The file's code with the change."""
        changed: str = cosmic_ray.mutating.mutate_code(source, cosmic_ray.plugins.get_operator(self.operator)(), self.occurrence)
        return changed

    def diff(self, source: str) -> str:
        """The change as lines that were removed and added."""
        lines = difflib.unified_diff(source.splitlines(), self.code(source).splitlines(), lineterm="", n=0)
        return "\n".join(line for line in list(lines)[2:] if line[0] in "+-")


def draw(root: Path, packages: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """Mutants at ``count`` different places of some packages, the same for the same code and seed."""
    generator = random.Random(seed)
    places: list[list[Mutant]] = []
    for package in packages:
        for file in sorted((root / "packages" / package / "src").rglob("*.py")):
            if (path := file.relative_to(root).as_posix()) not in LEFT_OUT:
                places += _places(file.read_text("utf-8"), path)
    drawn: list[Mutant] = []
    for mutants in generator.sample(places, len(places)):
        mutant = generator.choice(mutants)
        if len(drawn) < count and _is_python(mutant.code((root / mutant.path).read_text("utf-8"))):
            drawn.append(mutant)
    return drawn


def _is_python(code: str) -> bool:
    """Whether it can be compiled: the slash in ``def exp(x, /)`` is no operator."""
    try:
        compile(code, "", "exec")
    except SyntaxError:
        return False
    return True


def _places(source: str, path: str) -> list[list[Mutant]]:
    """The mutants of a file, by place."""
    found: dict[tuple[Place, Place], list[Mutant]] = {}
    annotations, nodes = list(_annotations(source)), list(cosmic_ray.ast.ast_nodes(cosmic_ray.ast.get_ast(source)))
    for name in sorted(cosmic_ray.plugins.operator_names()):
        kind = cosmic_ray.plugins.get_operator(name)
        if kind.arguments():  # names of variables, which it cannot know
            continue
        operator = kind()
        positions = (position for node in nodes for position in operator.mutation_positions(node))
        for occurrence, (start, end) in enumerate(positions):
            if not any(first <= start and end <= last for first, last in annotations):
                found.setdefault((start, end), []).append(Mutant(path, start[0], name, occurrence))
    return [found[place] for place in sorted(found)]


def _annotations(source: str) -> Iterator[tuple[Place, Place]]:
    for node in ast.walk(ast.parse(source)):
        for name in ("annotation", "returns"):
            if isinstance(one := getattr(node, name, None), ast.expr):
                yield (one.lineno, one.col_offset), (one.end_lineno or 0, one.end_col_offset or 0)


def test_files(root: Path, mutant: Mutant) -> list[str]:
    """The tests that can notice a mutant, those named like its module first."""
    words = set(Path(mutant.path).stem.strip("_").split("_"))
    own = sorted((root / "tests" / mutant.package).glob("test_*.py"), key=lambda file: not words & set(file.stem.split("_")))
    named = [file for file in own if words & set(file.stem.split("_"))]
    example = f"tests/test_examples.py::test_examples_of_a_module_run[{mutant.module}]"
    order = [*named, root / "tests/test_golden.py", *own[len(named) :]]
    return [example, *(file.relative_to(root).as_posix() for file in order)]


def noticed(root: Path, mutant: Mutant, timeout: float) -> bool:
    """Whether the tests of a copy of the repository notice a mutant."""
    file = root / mutant.path
    source = file.read_text("utf-8")
    file.write_text(mutant.code(source), "utf-8")
    try:
        return not _pass(root, test_files(root, mutant), timeout)
    finally:
        file.write_text(source, "utf-8")


def _pass(root: Path, tests: Sequence[str], timeout: float) -> bool:
    sources = os.pathsep.join(str(folder) for folder in sorted(root.glob("packages/*/src")))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not variants", *tests]
    environment = {**os.environ, "PYTHONPATH": sources, "PYTHONDONTWRITEBYTECODE": "1"}
    with (root / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            command, cwd=root, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            return process.wait(timeout) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _copy(root: Path, folder: Path) -> Path:
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, folder)
    return folder


def main(arguments: Sequence[str], root: Path) -> int:
    """Run mutants and print the score and what was not noticed; returns the exit status."""
    parser = argparse.ArgumentParser(prog="./nox -s mutate --", description="Mutation tests.")
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=f"by default {', '.join(PACKAGES)}")
    parser.add_argument("--count", type=int, default=100, help="the number of mutants (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="draws the mutants (%(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="mutants at a time (%(default)s)")
    parser.add_argument("--list", action="store_true", help="show the mutants without running tests")
    options = parser.parse_args(arguments)
    mutants = draw(root, options.packages or PACKAGES, options.count, options.seed)
    if options.list:
        for mutant in mutants:
            print(f"{mutant.path}:{mutant.line}\n{mutant.diff((root / mutant.path).read_text('utf-8'))}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        copies: Queue[Path] = Queue()
        for number in range(options.workers):
            copies.put(_copy(root, Path(folder, str(number))))
        timeouts = _timeouts(copies, mutants)
        if timeouts is None:
            return 1
        return _score(copies, mutants, timeouts, options)


def _timeouts(copies: "Queue[Path]", mutants: Sequence[Mutant]) -> dict[str, float] | None:
    """How long the tests of each package may take; None if some do not pass without a change."""
    timeouts = {}
    for package, mutant in {mutant.package: mutant for mutant in mutants}.items():
        start, copy = time.perf_counter(), copies.get()
        if not _pass(copy, test_files(copy, mutant), 3600):
            print((copy / "output.txt").read_text("utf-8", "replace"))
            print(f"mutate: the tests of {package} must pass before the code is changed", file=sys.stderr)
            return None
        copies.put(copy)
        timeouts[package] = 60 + 5 * (time.perf_counter() - start)
        print(f"the tests of {package} pass in {time.perf_counter() - start:.0f} s", flush=True)
    return timeouts


def _score(copies: "Queue[Path]", mutants: Sequence[Mutant], timeouts: dict[str, float], options: argparse.Namespace) -> int:
    """Try the mutants and print those that were not noticed, and how many were."""

    def run(mutant: Mutant) -> tuple[bool, str]:
        copy = copies.get()
        try:
            return noticed(copy, mutant, timeouts[mutant.package]), mutant.diff((copy / mutant.path).read_text("utf-8"))
        finally:
            copies.put(copy)

    tried, survivors = 0, 0
    pool = ThreadPoolExecutor(options.workers)
    try:
        for mutant, (found, diff) in zip(mutants, pool.map(run, mutants), strict=True):
            tried += 1
            if not found:
                survivors += 1
                print(f"{mutant.path}:{mutant.line} was not noticed\n{diff}", flush=True)
            if sys.stderr.isatty():
                print(f"{tried} of {len(mutants)}", end="\r", file=sys.stderr, flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
        print(f"{tried - survivors} of {tried} mutants were noticed, seed {options.seed}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).parents[1]))
