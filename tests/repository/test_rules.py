"""The rules of the tree hold; and where one is broken on purpose, in a copy, the check that fails names the rule, the file and the line."""

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
from tools.tree import FLOORS, Tree, page, rules
from tools.tree.forest import technology_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tree() -> Tree:
    return Tree.read(ROOT)


def test_no_rule_is_broken(tree: Tree) -> None:
    assert rules.broken(tree) == []


@pytest.mark.parametrize("name", ["tree.md", "tree.svg"])
def test_what_docs_show_is_the_tree_of_this_code(tree: Tree, name: str) -> None:
    assert (ROOT / "docs" / name).read_text("utf-8") == page.files(tree)[name], f"docs/{name} is stale: ./nox -s tree"


def test_all_technologies_of_the_classic_path_have_a_place(tree: Tree) -> None:
    assert len(tree.classic) == 41


def test_every_floor_has_its_chapter(tree: Tree) -> None:
    assert [name for name in tree.technologies if not (ROOT / "docs" / tree.chapter(name)).is_file()] == []


def test_import_linter_knows_every_floor() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    assert set(settings["root_packages"]) == {f"samebits.{floor}" for floor in [*FLOORS, "cli", "drift"]}


def test_the_imports_are_those_that_grimp_finds(tree: Tree) -> None:
    packages = [f"samebits.{floor}" for floor in FLOORS]
    graph = grimp.build_graph(*packages, cache_dir=None)
    found = {(one, other) for one in graph.modules for other in graph.find_modules_directly_imported_by(one)}
    within = {tuple(map(technology_of, pair)) for pair in found if not set(pair) & set(packages)}
    handed = {(technology_of(one), other.split(".")[1]) for one, other in found if other in packages}  # through an __init__
    ours = {(name, one) for name, used in tree.requires.items() for one in used if "." in one}
    assert {(one, other) for one, other in within if one != other} - ours == set(tree.back)
    assert {(one, other) for one, other in ours - within if (one, other.split(".")[0]) not in handed} == set()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code, its tests and what was measured."""
    copy = tmp_path_factory.mktemp("house")
    for folder in ("packages", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "golden"))
    (copy / "docs").mkdir()
    for file in ("pyproject.toml", "docs/coverage.json"):
        shutil.copy(ROOT / file, copy / file)
    return copy


@pytest.fixture(scope="module")
def lines(house: Path) -> dict[str, int]:
    """Break every rule in the copy; what was added to which module, with the number of its line."""
    added = {
        "nn.dense": "import torch",
        "core.grid": "from samebits.core.linalg import matmul",
        "core.hashing": "def late() -> None:\n    from samebits.lm import model",
        "core.summation": "\n\nresult = np.exp(1.0)",
        "nn.orphan": '"""Nobody tests it."""',
        "nn.nameless": "x = 1",
    }
    found = {}
    for technology, text in added.items():
        path = file_of(house, technology)
        before = path.read_text("utf-8") if path.exists() else ""
        path.write_text(f"{before}{text}\n", "utf-8")
        found[technology] = len(f"{before}{text}".splitlines())
    tensor, coverage = file_of(house, "autograd.tensor"), house / "docs/coverage.json"
    tensor.write_text(
        tensor.read_text("utf-8").replace("from samebits.autograd.drawing import", "from samebits.autograd.graph import")
    )
    measured = json.loads(coverage.read_text("utf-8"))
    measured["core.random"] |= {"lines": [80, 100], "branches": [9, 10]}
    coverage.write_text(json.dumps(measured), "utf-8")
    (house / "packages/lm/src/samebits/lm/model.py").rename(house / "packages/lm/src/samebits/lm/mannequin.py")
    return found


@pytest.fixture(scope="module")
def said(house: Path, lines: dict[str, int]) -> list[str]:
    """What the rules say about the copy."""
    assert lines
    return rules.broken(Tree.read(house))


def file_of(house: Path, technology: str) -> Path:
    floor, _, name = technology.partition(".")
    return house / f"packages/{floor}/src/samebits/{floor}/{name}.py"


def test_what_is_foreign_is_refused(said: list[str], lines: dict[str, int]) -> None:
    where = f"packages/nn/src/samebits/nn/dense.py:{lines['nn.dense']}"
    assert f"below lab, only NumPy, the standard library and lower floors are imported: {where}: nn imports torch" in said


def test_a_higher_floor_is_refused_wherever_the_import_stands(said: list[str], lines: dict[str, int]) -> None:
    rule = "below lab, only NumPy, the standard library and lower floors are imported"
    where = f"packages/core/src/samebits/core/hashing.py:{lines['core.hashing']}"
    assert [line for line in said if line.startswith(f"{rule}: {where}: core imports samebits.lm")]


def test_import_linter_refuses_both(house: Path, lines: dict[str, int]) -> None:
    output = run(house, str(Path(sys.executable).with_name("lint-imports")), "--no-cache")
    assert "No deep-learning framework is ever imported by what we ship BROKEN" in output
    assert f"samebits.nn.dense -> torch (l.{lines['nn.dense']})" in output
    assert "A module imports only from its own package and the layers below BROKEN" in output
    assert re.search(rf"samebits\.core\.hashing -> samebits\.lm.* \(l\.{lines['core.hashing']}\)", output)


def test_a_circle_is_refused(said: list[str], lines: dict[str, int]) -> None:
    where = f"packages/core/src/samebits/core/grid.py:{lines['core.grid']}"
    assert f"no circles: {where}: core.grid imports core.linalg, which stands on core.grid" in said


def test_a_technology_without_tests_is_refused(said: list[str]) -> None:
    where = "packages/nn/src/samebits/nn/orphan.py:1"
    assert (
        f"every technology has a test file that covers it: {where}: nothing in tests/nn imports nn.orphan, or what stands on it"
        in said
    )
    rule = "the tests of its floor cover 90 % of a technology's lines and branches"
    assert f"{rule}: {where}: not measured on this code, ./nox -s coverage does it" in said


def test_a_technology_whose_tests_miss_much_is_refused(said: list[str]) -> None:
    rule = "the tests of its floor cover 90 % of a technology's lines and branches"
    where = "packages/core/src/samebits/core/random.py:1"
    assert f"{rule}: {where}: 80 %: 80 % of its lines, 90 % of its branches" in said


def test_a_technology_without_a_title_is_refused(said: list[str]) -> None:
    assert (
        "a technology has a title, the first line of its docstring: packages/nn/src/samebits/nn/nameless.py:1: no docstring"
        in said
    )


def test_what_the_plan_names_must_be_there(said: list[str]) -> None:
    rule = "an import that points back is named in technologies.toml, and is there"
    assert f"{rule}: technologies.toml: autograd.tensor does not import autograd.drawing" in said
    rule = "every technology of the classic path has its place, and every plan its ground"
    assert f"{rule}: technologies.toml: transformer = lm.model:LanguageModel, which is not there" in said


def test_a_function_whose_bits_drift_is_refused(house: Path, lines: dict[str, int]) -> None:
    file = "packages/core/src/samebits/core/summation.py"
    output = run(house, sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise", file)
    assert f"{file}:{lines['core.summation']}:" in output
    assert "`numpy.exp` is banned: differs with the SIMD level" in output
    assert "use samebits.core.exp" in output


def run(house: Path, *command: str) -> str:
    """What a check of the lint session says about the copy, as it fails."""
    sources = os.pathsep.join(str(path) for path in sorted(house.glob("packages/*/src")))
    environment = {**os.environ, "PYTHONPATH": sources, "COLUMNS": "300", "NO_COLOR": "1"}
    done = subprocess.run(command, check=False, cwd=house, env=environment, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    return done.stdout
