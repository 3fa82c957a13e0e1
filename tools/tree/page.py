"""The tree as a page of Markdown: every technology with its file, its tests, its coverage, and what it requires."""

from collections.abc import Iterator
from pathlib import Path

from tools.files import replace_text
from tools.tree import overview
from tools.tree.coverage import percent
from tools.tree.graph import Tree
from tools.tree.picture import svg

__all__ = ["files", "markdown", "write"]

_HEAD = """\
# The tree of technologies

A technology is used only once it is implemented and tested here. These are the technologies and what they require, read from the
code by `./nox -s tree`.

[![The tree of technologies, from Python and NumPy up to the language model](tree.svg)](tree.svg)

Click the picture to open it by itself: there, a box is a link to its file, and the name of a package to its chapter. A technology is
a module (or a sub-package), and its title is the first line of its docstring. It *requires* what it imports and *unlocks* what
imports it; of what it requires, only what does not follow from the rest is listed. Its tests are the test files of its package that
import it, or those of what requires it. *Covered* is the percentage of its lines and of its branches that the tests of its package
run through.
`./nox -s tree -- attention` shows one technology and all it requires.
"""


def files(tree: Tree, suffix: str = ".md") -> dict[str, str]:
    """The text of every file made from the tree, by its name in the folder of pages; links to chapters end in ``suffix``."""
    return {"tree.md": markdown(tree), "tree.svg": svg(tree, suffix=suffix), "overview.svg": overview.svg(tree)}


def write(tree: Tree, folder: Path, suffix: str = ".md") -> None:
    """Write ``tree.md``, ``tree.svg`` and ``overview.svg`` to ``folder``, each atomically."""
    for name, text in files(tree, suffix).items():
        replace_text(folder / name, text)


def markdown(tree: Tree) -> str:
    """The page: the classic path, the technologies by package, the imports that point back, and what is planned."""
    description = tree.description
    lines = [_HEAD, "## The classic path", "", *_classic(tree)]
    for name, package in description.packages.items():
        chapter, members = package.chapter, [one for one in tree.technologies if tree.technologies[one].package == name]
        if members:
            lines += ["", f"## {name}", "", f"Chapter: [{chapter}]({chapter}).", "", *_table(tree, members)]
    lines += ["", "## Imports that point back", "", "Imports that close a circle inside a package; each has a reason.", ""]
    lines += [f"- `{low}` imports `{high}`: {why}." for (low, high), why in description.back.items()]
    lines += ["", "## Planned", ""]
    for plan in description.planned:
        lines.append(f"- **{plan.title}**. {plan.sentence} It will require {_names(plan.requires)}.")
    return "\n".join([*lines, ""])


def _classic(tree: Tree) -> Iterator[str]:
    yield "| technology | where |"
    yield "| --- | --- |"
    for title, place in tree.description.classic.items():
        name, _, public = place.partition(":")
        if name in tree.technologies:
            where = f"[`{public or name}`](../{tree.technologies[name].path})" + f" in `{name}`" * bool(public)
            yield f"| {title} | {where} |"
        else:
            yield f"| {title} | planned |"


def _table(tree: Tree, names: list[str]) -> Iterator[str]:
    yield "| technology | title | requires | unlocks | tests | covered | lines |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name in names:
        one = tree.technologies[name]
        requires = _names(tree.reduced(tree.requires[name]))
        unlocks = _names(user for user in tree.unlocks[name] if name in tree.reduced(tree.requires[user]))
        tests = ", ".join(f"[{Path(path).stem}](../{path})" for path in tree.tests[name][:1])
        measured = tree.coverage.get(name)
        covered = f"{percent(measured.lines)}, {percent(measured.branches)}" if measured else ""
        title = one.title.replace("|", "\\|")
        yield f"| [`{one.label}`](../{one.path}) | {title} | {requires} | {unlocks} | {tests} | {covered} | {one.lines} |"


def _names(names: Iterator[str] | tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)
