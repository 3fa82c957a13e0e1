"""The tree as a page of Markdown, ``docs/tree.md``: every technology with its file, its tests, its coverage, and what it stands on."""

from collections.abc import Iterator
from pathlib import Path

from tools.files import replace_text
from tools.tree.coverage import percent
from tools.tree.forest import CHAPTERS, FLOORS, Tree
from tools.tree.picture import svg

__all__ = ["files", "markdown", "write"]

_HEAD = """\
# The tree of technologies

A technology may be used only once it is implemented here and tested here. This is what there is, and what stands on what: read from
the code by `./nox -s tree`.

[![The tree of technologies, from Python and NumPy up to the language model](tree.svg)](tree.svg)

A click opens the picture by itself, where a box leads to its file and a floor's name to its chapter. A technology is a module (or a
small family of modules), and its title is the first line of its docstring. It *requires* what it imports and *unlocks* what imports
it; of what it requires, only what does not follow from the rest is listed. Its tests are the test files of its floor that import it,
or those of what stands on it. *Covered* says how many of its lines and branches the tests of its floor run through, in percent.
`./nox -s tree -- attention` shows one technology and all it requires.
"""


def files(tree: Tree, suffix: str = ".md") -> dict[str, str]:
    """The text of every file that is made from the tree, by its name in ``docs/``; the picture's links to chapters end in ``suffix``."""
    return {"tree.md": markdown(tree), "tree.svg": svg(tree, suffix=suffix)}


def write(tree: Tree, folder: Path, suffix: str = ".md") -> None:
    """Write ``tree.md`` and ``tree.svg`` to ``folder``, each in one step."""
    for name, text in files(tree, suffix).items():
        replace_text(folder / name, text)


def markdown(tree: Tree) -> str:
    """The page: the classic path, the technologies floor by floor, the imports that point back, and what is planned."""
    lines = [_HEAD, "## The classic path", "", *_classic(tree)]
    for floor in FLOORS:
        if names := [name for name, one in tree.technologies.items() if one.floor == floor]:
            lines += ["", f"## {floor}", "", f"The chapter: [{CHAPTERS[floor]}]({CHAPTERS[floor]}).", "", *_table(tree, names)]
    lines += ["", "## What points back", "", "Imports that would close a circle; each has a reason.", ""]
    lines += [f"- `{low}` imports `{high}`: {why}." for (low, high), why in tree.back.items()]
    lines += ["", "## Planned", ""]
    for plan in tree.planned:
        lines.append(f"- **{plan.title}**. {plan.sentence} It will require {_names(plan.requires)}.")
    return "\n".join([*lines, ""])


def _classic(tree: Tree) -> Iterator[str]:
    yield "| technology | where |"
    yield "| --- | --- |"
    for title, place in tree.classic.items():
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
        requires = _names(tree.stands_on(tree.requires[name]))
        unlocks = _names(user for user in tree.unlocks[name] if name in tree.stands_on(tree.requires[user]))
        tests = ", ".join(f"[{Path(path).stem}](../{path})" for path in tree.tests.get(name, ())[:1])
        measured = tree.coverage.get(name)
        covered = f"{percent(measured.lines)}, {percent(measured.branches)}" if measured else ""
        title = one.title.replace("|", "\\|")
        yield f"| [`{one.label}`](../{one.path}) | {title} | {requires} | {unlocks} | {tests} | {covered} | {one.lines} |"


def _names(names: Iterator[str] | tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)
