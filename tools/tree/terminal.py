"""The tree in the terminal: all technologies, the highest on top, or one and its path from the ground."""

import difflib
import json

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tools.tree.coverage import percent
from tools.tree.forest import FLOORS, Technology, Tree

__all__ = ["choose", "show", "show_one"]

_COLOURS = {"ground": "yellow", "core": "blue", "autograd": "green", "text": "bright_yellow", "nn": "magenta", "lm": "red"}


def show(tree: Tree, console: Console, current: str = "") -> None:
    """All technologies as a table, Python and NumPy at the bottom, what is planned at the top.

    ``current`` is the fingerprint of the tree's code: cells recorded with it are counted.
    """
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    for name, options in (
        ("technology", {"no_wrap": True}),
        ("title", {"ratio": 3}),
        ("requires", {"ratio": 2}),
        ("unlocks", {"justify": "right"}),
        ("tests", {"no_wrap": True}),
        ("covered", {"justify": "right", "no_wrap": True}),
        ("lines", {"justify": "right"}),
    ):
        table.add_column(name, **options)
    for plan in reversed(tree.planned):
        table.add_row(
            f"[dim]{escape(plan.title)}", f"[dim]{escape(plan.sentence)}", f"[dim]{', '.join(plan.requires)}", "", "[dim]planned"
        )
    for floor in [*reversed(FLOORS), "ground"]:
        names = [name for name, one in tree.technologies.items() if one.floor == floor]
        for name in reversed(names):
            table.add_row(*_row(tree, name), end_section=name == names[0])
    console.print(table)
    console.print(f"\n{len(tree.technologies)} technologies, {len(tree.planned)} planned. {_proof(tree, current)}", style="dim")


def show_one(tree: Tree, name: str, console: Console) -> None:
    """One technology: what it offers, where it is, what it requires and unlocks; and its path from the ground."""
    one = tree.technologies[name]
    console.print(f"[bold {_COLOURS[one.floor]}]{name}[/]  {escape(one.title)}\n")
    facts = {
        "classic path": ", ".join(tree.titles(name)),
        "offers": ", ".join(one.public),
        "file": f"{one.path}, {one.lines} lines" if one.digest else "",
        "tests": ", ".join(tree.tests.get(name, ())) or "none found",
        "covered": _covered(tree, name),
        "chapter": f"docs/{tree.chapter(name)}",
        "requires": ", ".join(tree.requires[name]),
        "unlocks": ", ".join(tree.unlocks[name]) if name not in {"python", "numpy"} else "everything",
    }
    table = Table.grid(padding=(0, 2))
    for fact, text in facts.items():
        if text:
            table.add_row(f"[dim]{fact}[/]", escape(text))
    console.print(table)
    console.print("\n[dim]its path from the ground[/]")
    for below in tree.path(name):
        step = tree.technologies[below]
        console.print(f"  [{_COLOURS[step.floor]}]{below:<22}[/] {escape(step.title)}", no_wrap=True, overflow="ellipsis")


def choose(tree: Tree, text: str) -> str:
    """The one technology that ``text`` means; ValueError names those that it may mean."""
    found = tree.find(text)
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"{text} may be {', '.join(found)}: say which")
    words = [*tree.technologies, *(one.label for one in tree.technologies.values()), *tree.classic]
    if text.casefold() in {plan.title.casefold() for plan in tree.planned}:
        raise ValueError(f"{text} is planned, and not there yet")
    near = ", ".join(dict.fromkeys(difflib.get_close_matches(text, words)))
    raise ValueError(
        f"no technology is called {text}" + (f"; near it: {near}" if near else "; ./nox -s tree -- --list shows them")
    )


def _row(tree: Tree, name: str) -> list[str]:
    one = tree.technologies[name]
    tests = [path.rpartition("/")[2].removesuffix(".py") for path in tree.tests.get(name, ())]
    requires = ", ".join(_short(one, below) for below in tree.stands_on(tree.requires[name]))
    unlocks = str(len(tree.unlocks[name]))
    return [
        f"[{_COLOURS[one.floor]}]{name}[/]",
        escape(one.title),
        f"[dim]{requires}[/]",
        unlocks,
        tests[0] if tests else "[red]none[/]" if tree.root else "",
        _covered(tree, name),
        str(one.lines or ""),
    ]


def _short(one: Technology, below: str) -> str:
    """A requirement's name, without the floor where that is the technology's own."""
    return below.removeprefix(f"{one.floor}.")


def _covered(tree: Tree, name: str) -> str:
    """Lines and branches in percent; a question mark where the code has changed since."""
    measured = tree.coverage.get(name)
    if measured is None:
        return ""
    stale = "" if measured.digest == tree.digests.get(name) else "?"
    return f"{percent(measured.lines)} %, {percent(measured.branches)} %{stale}"


def _proof(tree: Tree, current: str) -> str:
    """What the recorded cells say about the code that is there now."""
    if tree.root is None:
        return "Installed packages; in a checkout, tests and coverage are shown too."
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(tree.root.glob("reports/cells/*.json"))]
    tested = [record for record in records if record["fingerprint"] == current]
    passed = sum(not one["problem"] and not one["failed"] and one["passed"] > 0 for one in tested)
    if not tested:
        return "No cell has been tested with this code: ./nox does it."
    return f"Their tests passed in {passed} of the {len(tested)} cells tested with this code."
