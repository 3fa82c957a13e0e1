"""One technology in the terminal: what it offers, where it is, what it requires and unlocks, and its path."""

import difflib

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tools.tree.coverage import percent
from tools.tree.graph import GIVEN, Tree

__all__ = ["choose", "show"]


def show(tree: Tree, name: str, console: Console) -> None:
    """Print the facts about one technology, and everything that it requires, from Python and NumPy up."""
    one = tree.technologies[name]
    console.print(f"[bold]{name}[/]  {escape(one.title)}\n")
    facts = {
        "classic path": ", ".join(tree.titles(name)),
        "offers": ", ".join(one.public),
        "file": f"{one.path}, {one.lines} lines" if one.package else "",
        "tests": ", ".join(tree.tests[name]) or "none found",
        "covered": _covered(tree, name),
        "chapter": f"{tree.description.pages}/{tree.chapter(name)}",
        "requires": ", ".join(tree.requires[name]),
        "unlocks": "everything" if name in GIVEN else ", ".join(tree.unlocks[name]),
    }
    table = Table.grid(padding=(0, 2))
    for fact, text in facts.items():
        if text:
            table.add_row(f"[dim]{fact}[/]", escape(text))
    console.print(table)
    console.print("\n[dim]all it requires, from Python and NumPy up[/]")
    for below in tree.path(name):
        console.print(f"  {below:<22} {escape(tree.technologies[below].title)}", no_wrap=True, overflow="ellipsis")


def choose(tree: Tree, text: str) -> str:
    """The one technology that ``text`` means.

    Raises:
        ValueError: No technology or several have this name; the message lists similar names, or those several.
    """
    found = tree.find(text)
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"{text} is ambiguous: {', '.join(found)}")
    if text.casefold() in {plan.title.casefold() for plan in tree.description.planned}:
        raise ValueError(f"{text} is planned, but not implemented yet")
    words = [*tree.technologies, *(one.label for one in tree.technologies.values()), *tree.description.classic]
    near = ", ".join(dict.fromkeys(difflib.get_close_matches(text, words)))
    hint = f"did you mean {near}?" if near else f"{tree.description.pages}/tree.md lists all"
    raise ValueError(f"no technology is called {text}; {hint}")


def _covered(tree: Tree, name: str) -> str:
    """Lines and branches in percent; a question mark where the code has changed since."""
    measured = tree.coverage.get(name)
    if measured is None:
        return ""
    stale = "" if measured.digest == tree.digests.get(name) else "?"
    return f"{percent(measured.lines)} %, {percent(measured.branches)} %{stale}"
