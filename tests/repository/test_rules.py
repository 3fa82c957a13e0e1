"""The rules of the tree hold; where a copy breaks one on purpose, the failing check names the rule, the file and the line."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest
from tools.tree import Description, Tree, page, rules

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tree() -> Tree:
    return read(ROOT)


def read(root: Path) -> Tree:
    return Tree.read(Description.read(ROOT / "tools/tree/technologies.toml", root))


def test_no_rule_is_broken(tree: Tree) -> None:
    assert rules.broken(tree) == []


@pytest.mark.parametrize("name", ["tree.md", "tree.svg"])
def test_what_docs_show_is_the_tree_of_this_code(tree: Tree, name: str) -> None:
    assert (ROOT / "docs" / name).read_text("utf-8") == page.files(tree)[name], f"docs/{name} is stale: ./nox -s tree"


def test_all_technologies_of_the_classic_path_have_a_place(tree: Tree) -> None:
    assert len(tree.description.classic) == 42


def test_every_package_has_its_chapter(tree: Tree) -> None:
    assert [name for name in tree.technologies if not (ROOT / "docs" / tree.chapter(name)).is_file()] == []


def test_import_linter_knows_every_package(tree: Tree) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    assert set(settings["root_packages"]) == {f"samebits.{name}" for name in [*tree.description.packages, "cli", "drift"]}


def test_the_imports_are_those_that_grimp_finds(tree: Tree) -> None:
    packages = [f"samebits.{name}" for name in tree.description.packages]
    graph = grimp.build_graph(*packages, cache_dir=None)
    found = {(one, other) for one in graph.modules for other in graph.find_modules_directly_imported_by(one)}
    within = {tuple(map(tree.description.technology_of, pair)) for pair in found if not set(pair) & set(packages)}
    handed = {
        (tree.description.technology_of(one), other.split(".")[1]) for one, other in found if other in packages
    }  # through an __init__
    ours = {(name, one) for name, used in tree.requires.items() for one in used if "." in one}
    assert {(one, other) for one, other in within if one != other} - ours == set(tree.description.back)
    assert {(one, other) for one, other in ours - within if (one, other.split(".")[0]) not in handed} == set()


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code, its tests and what was measured."""
    root = tmp_path_factory.mktemp("repository")
    for folder in ("packages", "tests"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__", "golden"))
    (root / "docs").mkdir()
    for file in ("pyproject.toml", "docs/coverage.json"):
        shutil.copy(ROOT / file, root / file)
    return root


@pytest.fixture(scope="module")
def lines(copy: Path) -> dict[str, int]:
    """Break every rule in the copy; the last line of what was added to each module."""
    added = {
        "nn.dense": "import torch",
        "core.grid": "from samebits.core.linalg import matmul",
        "core.hashing": "def late() -> None:\n    from samebits.lm import model",
        "core.summation": "\n\nresult = np.exp(1.0)",
        "nn.orphan": '"""Without tests."""',
        "nn.nameless": "x = 1",
    }
    found = {}
    for technology, text in added.items():
        path = file_of(copy, technology)
        before = path.read_text("utf-8") if path.exists() else ""
        path.write_text(f"{before}{text}\n", "utf-8")
        found[technology] = len(f"{before}{text}".splitlines())
    tensor, coverage = file_of(copy, "autograd.tensor"), copy / "docs/coverage.json"
    tensor.write_text(
        tensor.read_text("utf-8").replace("from samebits.autograd.methods import", "from samebits.autograd.graph import")
    )
    measured = json.loads(coverage.read_text("utf-8"))
    (copy / "packages/lm/src/samebits/lm/model.py").rename(copy / "packages/lm/src/samebits/lm/mannequin.py")
    measured["core.random"] = {"digest": read(copy).digests["core.random"], "lines": [80, 100], "branches": [9, 10]}
    coverage.write_text(json.dumps(measured), "utf-8")
    return found


@pytest.fixture(scope="module")
def said(copy: Path, lines: dict[str, int]) -> list[str]:
    """What the rules report about the copy."""
    assert lines
    return rules.broken(read(copy))


def file_of(root: Path, technology: str) -> Path:
    package, _, name = technology.partition(".")
    return root / f"packages/{package}/src/samebits/{package}/{name}.py"


def test_a_foreign_import_is_refused(said: list[str], lines: dict[str, int]) -> None:
    where = f"packages/nn/src/samebits/nn/dense.py:{lines['nn.dense']}"
    assert f"only NumPy, the standard library and lower packages are imported: {where}: nn imports torch" in said


def test_an_import_of_a_higher_package_is_refused_inside_a_function_too(said: list[str], lines: dict[str, int]) -> None:
    rule = "only NumPy, the standard library and lower packages are imported"
    where = f"packages/core/src/samebits/core/hashing.py:{lines['core.hashing']}"
    assert [line for line in said if line.startswith(f"{rule}: {where}: core imports samebits.lm")]


def test_import_linter_refuses_both(copy: Path, lines: dict[str, int]) -> None:
    output = run(copy, str(Path(sys.executable).with_name("lint-imports")), "--no-cache")
    assert "No deep-learning framework is ever imported by what we ship BROKEN" in output
    assert f"samebits.nn.dense -> torch (l.{lines['nn.dense']})" in output
    assert "A module imports only from its own package and the layers below BROKEN" in output
    assert re.search(rf"samebits\.core\.hashing -> samebits\.lm.* \(l\.{lines['core.hashing']}\)", output)


def test_a_circle_is_refused(said: list[str], lines: dict[str, int]) -> None:
    where = f"packages/core/src/samebits/core/grid.py:{lines['core.grid']}"
    assert f"no circular imports: {where}: core.grid imports core.linalg, which requires core.grid" in said


def test_a_technology_without_tests_is_refused(said: list[str]) -> None:
    where = "packages/nn/src/samebits/nn/orphan.py:1"
    assert (
        f"every technology has a test file that covers it: {where}: nothing in tests/nn imports nn.orphan, or what requires it"
        in said
    )
    rule = "the tests of its package cover 90 % of a technology's lines and branches"
    assert f"{rule}: {where}: not measured for this code; run ./nox -s coverage" in said


def test_a_technology_whose_tests_miss_much_is_refused(said: list[str]) -> None:
    rule = "the tests of its package cover 90 % of a technology's lines and branches"
    where = "packages/core/src/samebits/core/random.py:1"
    assert f"{rule}: {where}: 80 %: 80 % of its lines, 90 % of its branches" in said


def test_a_technology_without_a_title_is_refused(said: list[str]) -> None:
    assert (
        "a technology has a title, the first line of its docstring: packages/nn/src/samebits/nn/nameless.py:1: no docstring"
        in said
    )


def test_what_the_description_names_must_exist(said: list[str]) -> None:
    rule = "an import that points back is named in the description, and exists"
    assert f"{rule}: autograd.tensor does not import autograd.methods" in said
    rule = "what the description names exists"
    assert f"{rule}: transformer = lm.model:LanguageModel does not exist" in said


def test_a_function_whose_bits_differ_between_machines_is_refused(copy: Path, lines: dict[str, int]) -> None:
    file = "packages/core/src/samebits/core/summation.py"
    output = run(copy, sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise", file)
    assert f"{file}:{lines['core.summation']}:" in output
    assert "`numpy.exp` is banned: differs with the SIMD level" in output
    assert "use samebits.core.exp" in output


def run(root: Path, *command: str) -> str:
    """The output of a check that fails on the copy."""
    sources = os.pathsep.join(str(path) for path in sorted(root.glob("packages/*/src")))
    environment = {**os.environ, "PYTHONPATH": sources, "COLUMNS": "300", "NO_COLOR": "1"}
    done = subprocess.run(command, check=False, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    return done.stdout
