"""The tree of technologies, read from a small repository written for the purpose, and drawn."""

import io
import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console
from tools.tree import Description, Tree, coverage, drawing, overview, page, picture, terminal
from tools.tree.description import Tile
from tools.tree.layout import Group, Item, arrange, rows

pytestmark = pytest.mark.once

DESCRIPTION = """
[repository]
namespace = "samebits"
source = "source/{package}"
tests = "checks/{package}"
pages = "pages"
coverage = "coverage.json"

[given]
tests = "checks/test_numpy.py"
chapter = "given.md"

[packages.core]
requires = []
chapter = "numbers.md"
title = "core: numbers"
in_a_row = 3
after = []
colors = ["#fff", "#eee", "#000"]

[packages.autograd]
requires = ["core"]
chapter = "autograd.md"
title = "autograd: tensors"
in_a_row = 3
after = ["core"]
colors = ["#fff", "#eee", "#000"]

[classic]
"tensor" = "autograd.tensor"
"quantization" = "planned"

[[back]]
from = "core.exact"
to = "core.products"
why = "it shows the rule"

[[planned]]
title = "quantization"
sentence = "Small weights."
requires = ["autograd.tensor"]
"""

FILES = {
    "source/core/__init__.py": '"""Numbers."""\nfrom samebits.core import exact\nfrom samebits.core.products import product\n',
    "source/core/exact.py": '"""Exact sums.\n\nMore."""\nimport math\nimport numpy as np\n',
    "source/core/products.py": '''
        """Products: `product`."""
        import numpy as np
        from samebits.core import exact

        __all__ = ["product"]

        def product(a, b):
            """The product of two numbers."""
            from samebits.core.late import check
        ''',
    "source/core/late.py": '"""Checks, made late."""\n',
    "source/autograd/__init__.py": "",
    "source/autograd/tensor.py": '"""Tensor."""\nfrom samebits.core import product\n',
    "source/autograd/ops/__init__.py": '"""Operations."""\nfrom samebits.autograd.ops.sums import sum\n',
    "source/autograd/ops/sums.py": '''
        """Sums."""
        from samebits import core
        from ..tensor import Tensor

        def sum(x):
            """The sum."""
            return core.product(x, 1)
        ''',
    "checks/core/test_products.py": "from samebits.core import product\n",
    "checks/core/test_all.py": "from samebits import core\nfrom samebits.core.exact import fold\n\ncore.product\ncore.exact\ncore.exact.fold\n",
    "checks/autograd/test_ops.py": "",
}


@pytest.fixture
def described(tmp_path: Path) -> Description:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip(), "utf-8")
    file = tmp_path / "tree.toml"
    file.write_text(DESCRIPTION, "utf-8")
    return Description.read(file, tmp_path)


@pytest.fixture
def tree(described: Description) -> Tree:
    return Tree.read(described)


def test_technologies_are_modules_and_sub_packages_in_a_valid_order(tree: Tree) -> None:
    assert list(tree.technologies) == [
        "python", "numpy", "core.exact", "core.late", "core.products", "autograd.tensor", "autograd.ops"
    ]  # fmt: skip


def test_titles_names_and_lines_are_read_from_the_code(tree: Tree) -> None:
    products, ops = tree.technologies["core.products"], tree.technologies["autograd.ops"]
    assert products.title == "Products: `product`"
    assert products.public == {"product": "The product of two numbers"}
    assert products.path == "source/core/products.py"
    assert ops.public == {"sum": "The sum"}
    assert ops.lines == 2 + 7


def test_an_import_through_a_package_leads_to_the_module_that_holds_the_name(tree: Tree) -> None:
    assert tree.requires["autograd.tensor"] == ("python", "core.products")
    assert tree.requires["autograd.ops"] == ("python", "core.products", "autograd.tensor")


def test_imports_inside_functions_count(tree: Tree) -> None:
    assert tree.requires["core.products"] == ("python", "numpy", "core.exact", "core.late")


def test_what_unlocks_is_what_imports(tree: Tree) -> None:
    assert tree.unlocks["core.products"] == ("autograd.tensor", "autograd.ops")
    assert tree.unlocks["autograd.ops"] == ()


def test_what_follows_from_the_rest_is_left_out(tree: Tree) -> None:
    assert tree.reduced(tree.requires["autograd.ops"]) == ("autograd.tensor",)
    assert tree.path("core.products") == ["python", "numpy", "core.exact", "core.late", "core.products"]


def test_tests_are_the_files_that_import_it_namesakes_first_or_those_of_what_requires_it(tree: Tree) -> None:
    assert tree.tests["core.products"] == ("checks/core/test_products.py", "checks/core/test_all.py")
    assert tree.tests["core.exact"] == ("checks/core/test_all.py",)
    assert tree.tests["core.late"] == ("checks/core/test_products.py",)
    assert tree.tests["autograd.ops"] == ("checks/autograd/test_ops.py",)
    assert tree.tests["autograd.tensor"] == ("checks/autograd/test_ops.py",)


def test_coverage_of_a_sub_package_is_the_sum_of_its_files(tmp_path: Path) -> None:
    def summary(*counts: int) -> dict[str, object]:
        return {
            "summary": dict(zip(["covered_lines", "num_statements", "covered_branches", "num_branches"], counts, strict=True))
        }

    files = {
        "lib/samebits/autograd/ops/__init__.py": summary(1, 2, 0, 0),
        "lib/samebits/autograd/ops/sums.py": summary(9, 10, 3, 4),
    }
    report = tmp_path / "autograd.json"
    report.write_text(json.dumps({"files": files | {"lib/samebits/autograd/__init__.py": summary(0, 5, 0, 0)}}), "utf-8")
    measured = coverage.join([report], {"autograd.ops": "abc", "autograd.tensor": "def"}, "samebits")
    assert measured["autograd.ops"] == coverage.Coverage("abc", (10, 12), (3, 4))
    assert coverage.percent(measured["autograd.ops"].both) == 81
    assert coverage.percent(measured["autograd.tensor"].branches) == 100
    coverage.write(measured, tmp_path / "coverage.json")
    assert coverage.read(tmp_path / "coverage.json") == measured
    assert coverage.read(tmp_path / "nothing.json") == {}


def test_rows_are_above_what_they_require_and_are_never_too_full() -> None:
    requires = {"a": [], "b": ["a"], "c": ["b"], "d": [], "e": [], "f": ["d"]}
    found = rows(Group(list(requires), 2, 3), requires)
    assert found["a"] == 3
    assert found["c"] == 5
    assert all(found[low] < found[name] for name, lows in requires.items() for low in lows)
    assert max(list(found.values()).count(row) for row in found.values()) == 2


def test_boxes_do_not_overlap_and_stay_inside() -> None:
    boxes = {name: Item(name, int(name[1]), 100.0) for name in ("a0", "b0", "c0", "a1", "b1", "c1", "d1", "a2")}
    links = [("a0", "c1"), ("b0", "a1"), ("c0", "b1"), ("a0", "a2"), ("c0", "a2"), ("d1", "a2")]
    x, ways = arrange(boxes, links, lambda _: (0.0, 500.0))
    for row in range(3):
        items = sorted((item for item in x if item.row == row), key=x.__getitem__)
        assert all(x[right] - x[left] >= (left.width + right.width) / 2 for left, right in pairwise(items))
        assert all(item.width / 2 <= x[item] <= 500 - item.width / 2 for item in items)
    assert [item.row for item in ways["a0", "a2"]] == [0, 1, 2]


def test_parallel_lines_do_not_cross() -> None:
    boxes = {name: Item(name, int(name[1]), 50.0) for name in ("a0", "b0", "c0", "x1", "y1", "z1")}
    x, _ = arrange(boxes, [("a0", "z1"), ("b0", "y1"), ("c0", "x1")], lambda _: (0.0, 300.0))
    order = sorted(["a0", "b0", "c0"], key=lambda name: x[boxes[name]])
    partners = {"a0": "z1", "b0": "y1", "c0": "x1"}
    assert sorted(partners.values(), key=lambda name: x[boxes[name]]) == [partners[name] for name in order]


def test_the_picture_is_sound_and_the_same_each_time(tree: Tree, described: Description) -> None:
    first = picture.svg(tree)
    assert picture.svg(Tree.read(described)) == first
    drawn = ET.fromstring(first)
    ids = {one.get("id") for one in drawn.iter("{http://www.w3.org/2000/svg}a")} - {None}
    assert ids == set(tree.technologies) | {"quantization"}
    links = re.findall(r'data-from="(.*?)" data-to="(.*?)" d="(M.*?)"', first)
    assert ("core.exact", "core.products") in {(low, high) for low, high, _ in links}
    for _, _, path in links:
        heights = [float(number) for number in re.findall(r" ([\d.]+)(?:V|$)", path)]
        assert heights == sorted(heights, reverse=True)  # lines lead up


def test_text_that_would_leave_its_box_is_drawn_smaller() -> None:
    assert 'font-size="10"' in drawing.text(0, 0, "short", "#000", size=10, fit=100)
    size = float(re.search(r'font-size="([\d.]+)"', drawing.text(0, 0, "w" * 20, "#000", size=10, fit=100))[1])
    assert 0 < drawing.width("w" * 20, size) <= 100


TILE = Tile("core", "core: numbers", 0, (0, 50), ("#fff", "#eee", "#ddd"), ("exact", "product"))


def test_the_overview_shows_packages_and_their_landmarks(tree: Tree) -> None:
    drawn = overview.svg(replace(tree, description=replace(tree.description, overview=(TILE,))))
    texts = [text.text for text in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["core: numbers", "exact", "product"]


@pytest.mark.parametrize(
    ("tile", "message"),
    [
        (replace(TILE, landmarks=("gone",)), "overview: core has no technology or public name 'gone'"),
        (replace(TILE, landmarks=("product",) * 40), "overview: the landmarks of core need more than 1 rows"),
    ],
)
def test_an_overview_that_cannot_be_drawn_is_an_error(tree: Tree, tile: Tile, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        overview.svg(replace(tree, description=replace(tree.description, overview=(tile,))))


def test_the_page_has_a_row_for_each_technology_and_links_to_file_and_test(tree: Tree) -> None:
    text = page.markdown(tree)
    assert "| [`products`](../source/core/products.py) | Products: `product` | `core.exact`, `core.late` |" in text
    assert "[test_products](../checks/core/test_products.py)" in text
    assert "| quantization | planned |" in text


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("core.exact", "core.exact"),
        ("exact", "core.exact"),
        ("Tensor", "autograd.tensor"),
        ("sum", "autograd.ops"),
        ("numpy", "numpy"),
    ],
)
def test_a_technology_is_found_by_name_title_or_what_it_offers(tree: Tree, text: str, name: str) -> None:
    assert terminal.choose(tree, text) == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prodcuts", "did you mean products"),
        ("quantization", "planned, but not implemented yet"),
        ("zzz", r"pages/tree\.md lists all"),
    ],
)
def test_an_unknown_name_gets_similar_names(tree: Tree, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        terminal.choose(tree, text)


def test_the_terminal_shows_one_technology_and_all_it_requires(tree: Tree) -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    terminal.show(tree, "autograd.ops", console)
    text = console.export_text()
    path = text.partition("all it requires, from Python and NumPy up")[2]
    assert path.index("core.exact ") < path.index("core.products ") < path.index("autograd.tensor ")
    assert "pages/autograd.md" in text
