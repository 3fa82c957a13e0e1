"""Mutants are drawn by the seed alone, are valid code with one change, and are noticed where a test fails."""

from pathlib import Path

import pytest

pytest.importorskip("cosmic_ray")  # of the lock `mutate`, which `./nox -s repository` installs

from tools import mutate
from tools.mutate import Mutant, draw, main

CODE = '''"""A module."""

from typing import Optional

Number = int


def double(x: int | None, /, y: int = 2) -> int | None:
    """x and x."""
    if x is None or x > 100:
        return None
    return x * y
'''
GOOD = "from samebits.nn.double import double\n\ndef test_double() -> None:\n    assert [double(x) for x in (None, 3)] == [None, 6]\n"


PATH = "packages/nn/src/samebits/nn/double.py"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository of one module, one test and no golden digests."""
    files = {
        PATH: CODE,
        "tests/nn/test_double.py": GOOD,
        "tests/nn/test_other.py": "def test_nothing() -> None:\n    pass\n",
        "tests/test_golden.py": "def test_nothing() -> None:\n    pass\n",
        "tests/test_examples.py": (
            "import pytest\n\n@pytest.mark.parametrize('name', ['samebits.nn.double'])\n"
            "def test_examples_of_a_module_run(name: str) -> None:\n    pass\n"
        ),
        "pyproject.toml": "[tool.pytest.ini_options]\nmarkers = ['variants']\naddopts = ['--import-mode=importlib']\n",
        "README.md": "",
        "docs/a.md": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_mutants_are_drawn_by_the_seed_and_are_valid_code_with_one_change(root: Path) -> None:
    mutants = draw(root, ["nn"], 100, 0)
    assert draw(root, ["nn"], 100, 0) == mutants != draw(root, ["nn"], 100, 1)
    assert draw(root, ["nn"], 3, 0) == mutants[:3]
    for mutant in mutants:
        compile(mutant.code(CODE), "", "exec")
        assert mutant.code(CODE) != CODE
        assert (mutant.package, mutant.module) == ("nn", "samebits.nn.double")
        assert "(x: int | None, /, y: int = " in mutant.code(CODE) and ") -> int | None:" in mutant.code(CODE)
    assert {mutant.line for mutant in mutants} == {8, 10, 12}


def test_a_mutant_is_noticed_where_a_test_of_its_package_fails(root: Path) -> None:
    file = root / PATH
    assert mutate.noticed(root, Mutant(PATH, 12, "core/ReplaceBinaryOperator_Mul_Add", 0), 60)  # 3 + 2
    assert not mutate.noticed(root, Mutant(PATH, 10, "core/NumberReplacer", 2), 60)  # a limit that no test tries
    assert file.read_text() == CODE


def test_tests_named_like_the_module_come_first_then_the_golden_ones(root: Path) -> None:
    mutant = Mutant(PATH, 1, "", 0)
    example = "tests/test_examples.py::test_examples_of_a_module_run[samebits.nn.double]"
    assert mutate.test_files(root, mutant) == [
        example,
        "tests/nn/test_double.py",
        "tests/test_golden.py",
        "tests/nn/test_other.py",
    ]


def test_the_score_counts_what_was_noticed(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mutate, "_pass", lambda copy, *_: "return x * y" in (copy / PATH).read_text())
    mutants = draw(root, ["nn"], 8, 0)
    survivors = [mutant for mutant in mutants if "return x * y" in mutant.code(CODE)]
    count = len(mutants)
    assert 0 < len(survivors) < count
    assert main(["nn", "--count", str(count), "--workers", "2"], root) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("the tests of nn pass in")
    assert [line for line in lines if "was not noticed" in line] == [f"{PATH}:{one.line} was not noticed" for one in survivors]
    assert lines[-1] == f"{count - len(survivors)} of {count} mutants were noticed, seed 0"
    monkeypatch.setattr(mutate, "_pass", lambda copy, *_: bool((copy / "output.txt").write_text("1 failed")) and False)
    assert main(["nn", "--count", "1"], root) == 1
    assert "the tests of nn must pass before the code is changed" in capsys.readouterr().err
