"""What a shipped package may import: NumPy, the standard library, and the floors below it. import-linter holds the order of
the floors; this allow-list holds everything else out.
"""

import re
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
BELOW_LAB = ["samebits.core", "samebits.autograd", "samebits.text", "samebits.nn", "samebits.lm"]
MAY_IMPORT = {"numpy"} | sys.stdlib_module_names


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*BELOW_LAB, include_external_packages=True, cache_dir=None)


def test_packages_below_lab_import_numpy_and_the_standard_library_alone(graph: grimp.ImportGraph) -> None:
    foreign = [
        f"{detail['importer']}:{detail['line_number']}: {detail['line_contents']}"
        for module in sorted(graph.modules)
        if module.split(".")[0] not in MAY_IMPORT | {"samebits"}
        for importer in sorted(graph.find_modules_that_directly_import(module))
        for detail in graph.get_import_details(importer=importer, imported=module)
    ]
    assert foreign == []


def test_packages_below_lab_declare_no_other_dependency() -> None:
    for package in BELOW_LAB:
        settings = tomllib.loads((ROOT / "packages" / package.removeprefix("samebits.") / "pyproject.toml").read_text())
        names = [requirement.split(">")[0].split("=")[0] for requirement in settings["project"]["dependencies"]]
        assert set(names) <= {"numpy"} | {below.replace(".", "-") for below in BELOW_LAB}


def test_what_lab_declares_is_what_its_lock_is_made_from() -> None:
    settings = tomllib.loads((ROOT / "packages/lab/pyproject.toml").read_text())
    declared = {name for name in settings["project"]["dependencies"] if not name.startswith("samebits")}
    locked = {line.split("#")[0].strip() for line in (ROOT / "requirements/lab.in").read_text().splitlines()}
    assert locked - {"", "colorama"} == declared


def test_there_is_one_namespace_and_every_package_owns_one_room_of_it() -> None:
    assert not list(ROOT.glob("packages/*/src/samebits/__init__.py"))
    for package in ROOT.glob("packages/*/"):
        assert [path.name for path in (package / "src/samebits").iterdir() if path.name != "__pycache__"] == [package.name]


def test_links_between_pages_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("packages/*/README.md"), *ROOT.glob("benchmarks/*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))]
    assert len(links) > 20
    assert [f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()] == []
