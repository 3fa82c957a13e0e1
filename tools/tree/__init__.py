"""The tree of technologies: what stands on what, read from the code itself.

A technology is a module of the floors below the lab (or a small family of modules: a sub-package), and its title is the first
line of its docstring. What it requires is what it imports, what it unlocks is who imports it, and its tests are the test files
that import it: nothing of this is written twice. What is only planned, and where the technologies of the classic path have
their place, stands in ``technologies.toml``.
`code` reads one package, `forest` joins them to a `Tree`, `rules` says what is broken, `layout` and `picture` draw it, `page` writes
it down, and `terminal` prints it. All but the last use the standard library alone: the sessions import them.
"""

from tools.tree.forest import FLOORS, Technology, Tree, find_root

__all__ = ["FLOORS", "Technology", "Tree", "find_root"]
