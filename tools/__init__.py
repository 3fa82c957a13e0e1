"""The tools of this repository: the matrix of cells, the locks, the tree of technologies. The nox sessions import them; no wheel has them."""
