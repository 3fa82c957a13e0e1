"""The tree of technologies: what requires what, read from the code itself.

A technology is a module (or a small family of modules: a sub-package), and its title is the first line of its docstring. What it
requires is what it imports, what it unlocks is what imports it, and its tests are the test files that import it: nothing of this
is written twice. What is only planned, and where the technologies of the classic path have their place, is written in the
description, ``technologies.toml``.
`code` reads one package, `graph` joins them to a `Tree`, `rules` lists what is broken, `layout` and `picture` draw it, `page` writes
it as Markdown, and `terminal` prints it. All but the last use the standard library alone: the sessions import them.
"""

from tools.tree.description import Description
from tools.tree.graph import Technology, Tree

__all__ = ["Description", "Technology", "Tree"]
