"""The tree of technologies, read from small houses written for the purpose, and drawn."""

import io
import json
import re
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console
from tools.tree import Tree, coverage, find_root, page, picture, terminal
from tools.tree.layout import Item, Storey, arrange, rows

pytestmark = pytest.mark.once

HOUSE = {
    "packages/core/src/samebits/core/__init__.py": '"""Numbers."""\nfrom samebits.core import exact\nfrom samebits.core.products import product\n',
    "packages/core/src/samebits/core/exact.py": '"""Exact sums.\n\nMore."""\nimport math\nimport numpy as np\n',
    "packages/core/src/samebits/core/products.py": '''
        """Products: `product`."""
        import numpy as np
        from samebits.core import exact

        __all__ = ["product"]

        def product(a, b):
            """The product of two numbers."""
            from samebits.core.late import check
        ''',
    "packages/core/src/samebits/core/late.py": '"""Checks, made late."""\n',
    "packages/autograd/src/samebits/autograd/__init__.py": "",
    "packages/autograd/src/samebits/autograd/tensor.py": '"""Tensor."""\nfrom samebits.core import product\n',
    "packages/autograd/src/samebits/autograd/ops/__init__.py": '"""Operations."""\nfrom samebits.autograd.ops.sums import sum\n',
    "packages/autograd/src/samebits/autograd/ops/sums.py": '''
        """Sums."""
        from samebits import core
        from ..tensor import Tensor

        def sum(x):
            """The sum."""
            return core.product(x, 1)
        ''',
    "tests/core/test_products.py": "from samebits.core import product\n",
    "tests/core/test_all.py": "from samebits import core\nfrom samebits.core.exact import fold\n\ncore.product\ncore.exact\ncore.exact.fold\n",
    "tests/autograd/test_ops.py": "",
}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    for name, text in HOUSE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip(), "utf-8")
    return tmp_path


@pytest.fixture
def tree(house: Path) -> Tree:
    return Tree.read(house)


def test_technologies_are_modules_and_sub_packages_in_an_order_that_stands(tree: Tree) -> None:
    assert list(tree.technologies) == [
        "python", "numpy", "core.exact", "core.late", "core.products", "autograd.tensor", "autograd.ops"
    ]  # fmt: skip


def test_titles_names_and_lines_are_read_from_the_code(tree: Tree) -> None:
    products, ops = tree.technologies["core.products"], tree.technologies["autograd.ops"]
    assert products.title == "Products: `product`"
    assert products.public == {"product": "The product of two numbers"}
    assert products.path == "packages/core/src/samebits/core/products.py"
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
    assert tree.stands_on(tree.requires["autograd.ops"]) == ("autograd.tensor",)
    assert tree.path("core.products") == ["python", "numpy", "core.exact", "core.late", "core.products"]


def test_tests_are_the_files_that_import_it_namesakes_first_or_those_of_what_stands_on_it(tree: Tree) -> None:
    assert tree.tests["core.products"] == ("tests/core/test_products.py", "tests/core/test_all.py")
    assert tree.tests["core.exact"] == ("tests/core/test_all.py",)
    assert tree.tests["core.late"] == ("tests/core/test_products.py",)
    assert tree.tests["autograd.ops"] == ("tests/autograd/test_ops.py",)
    assert tree.tests["autograd.tensor"] == ("tests/autograd/test_ops.py",)


def test_installed_packages_have_a_tree_without_tests() -> None:
    tree = Tree.read()
    assert "core.linalg" in tree.technologies
    assert not tree.tests
    assert Path(tree.technologies["core.linalg"].path).is_file()


def test_the_root_is_found_from_any_folder_inside(house: Path) -> None:
    assert find_root(house / "packages" / "core") == house
    assert find_root(Path(house.anchor)) is None


def test_coverage_of_a_family_is_the_sum_of_its_files(tmp_path: Path) -> None:
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
    measured = coverage.join([report], {"autograd.ops": "abc", "autograd.tensor": "def"})
    assert measured["autograd.ops"] == coverage.Coverage("abc", (10, 12), (3, 4))
    assert coverage.percent(measured["autograd.ops"].both) == 81
    assert coverage.percent(measured["autograd.tensor"].branches) == 100
    coverage.write(measured, tmp_path / "coverage.json")
    assert coverage.read(tmp_path / "coverage.json") == measured
    assert coverage.read(tmp_path / "nothing.json") == {}


def test_rows_stand_above_what_they_require_and_are_never_too_full() -> None:
    requires = {"a": [], "b": ["a"], "c": ["b"], "d": [], "e": [], "f": ["d"]}
    found = rows(Storey(list(requires), 2, 3), requires)
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


def test_the_picture_is_sound_and_the_same_each_time(tree: Tree, house: Path) -> None:
    first = picture.svg(tree)
    assert picture.svg(Tree.read(house)) == first
    drawn = ET.fromstring(first)
    ids = {one.get("id") for one in drawn.iter("{http://www.w3.org/2000/svg}a")} - {None}
    assert ids == set(tree.technologies) | {plan.title for plan in tree.planned}
    links = re.findall(r'data-from="(.*?)" data-to="(.*?)" d="(M.*?)"', first)
    assert ("core.exact", "core.products") in {(low, high) for low, high, _ in links}
    for _, _, path in links:
        heights = [float(number) for number in re.findall(r" ([\d.]+)(?:V|$)", path)]
        assert heights == sorted(heights, reverse=True)  # lines lead up


def test_the_page_has_a_row_for_each_technology_and_links_to_file_and_test(tree: Tree) -> None:
    text = page.markdown(tree)
    assert (
        "| [`products`](../packages/core/src/samebits/core/products.py) | Products: `product` | `core.exact`, `core.late` |"
        in text
    )
    assert "[test_products](../tests/core/test_products.py)" in text
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
    [("prodcuts", "near it: products"), ("quantization", "planned, and not there yet"), ("zzz", "shows them")],
)
def test_what_is_not_there_gets_what_is_near(tree: Tree, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        terminal.choose(tree, text)


def test_the_terminal_shows_all_or_one(tree: Tree) -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    terminal.show(tree, console)
    terminal.show_one(tree, "autograd.ops", console)
    text = console.export_text()
    assert "7 technologies, 6 planned. No cell has been tested with this code: ./nox does it." in text
    assert "its path from the ground" in text
