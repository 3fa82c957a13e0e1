"""What a package declares: NumPy and the packages below it. That it imports nothing else, test_rules.py and import-linter check."""

import re
import tomllib
from pathlib import Path

import pytest
from tools.tree import Description

ROOT = Path(__file__).parents[2]
PACKAGES = Description.read(ROOT / "tools/tree/technologies.toml", ROOT).packages


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_below_the_command_declare_only_numpy_and_lower_packages(package: str) -> None:
    settings = tomllib.loads((ROOT / "packages" / package / "pyproject.toml").read_text())
    names = [requirement.split(">")[0].split("=")[0] for requirement in settings["project"]["dependencies"]]
    assert set(names) <= {"numpy"} | {f"samebits-{below}" for below in PACKAGES[package].requires}


def test_what_the_command_declares_is_what_its_lock_is_compiled_from() -> None:
    settings = tomllib.loads((ROOT / "packages/cli/pyproject.toml").read_text())
    declared = {name for name in settings["project"]["dependencies"] if not name.startswith("samebits")}
    locked = {line.split("#")[0].strip() for line in (ROOT / "requirements/cli.in").read_text().splitlines()}
    assert locked - {"", "colorama"} == declared
    for extra in ("chat", "mpi", "serve"):
        declared = {line.split(";")[0] for line in settings["project"]["optional-dependencies"][extra]}
        locked = {
            line.split(";")[0] for line in (ROOT / f"requirements/{extra}.in").read_text().splitlines() if line[0] not in "#-"
        }
        assert locked == declared


def test_there_is_one_namespace_and_every_package_owns_one_name_in_it() -> None:
    assert not list(ROOT.glob("packages/*/src/samebits/__init__.py"))
    for package in ROOT.glob("packages/*/"):
        assert [path.name for path in (package / "src/samebits").iterdir() if path.name != "__pycache__"] == [package.name]


def test_links_between_pages_are_not_broken() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("packages/*/README.md"), *ROOT.glob("benchmarks/*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))]
    assert len(links) > 20
    assert [f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()] == []


def test_the_architecture_page_names_every_module() -> None:
    package, named = "", {}
    for line in (ROOT / "docs/architecture.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 3 and cells[1] not in {"modules", "---"}:
            package = cells[0] or package
            named.setdefault(package, set()).update(re.findall(r"`([a-z_0-9]+)/?`", cells[1] + cells[2]))
    assert len(named) > 6
    for package, names in named.items():
        folder = ROOT / ("tools" if package == "tools" else f"packages/{package}/src/samebits/{package}")
        modules = {path.stem for path in folder.iterdir() if (path.suffix == ".py" or path.is_dir()) and path.stem[0] not in "_."}
        assert modules - names == set(), package
