"""What runs this repository: the matrix of cells, the locks, the tree of technologies. No wheel ships it; the sessions import it."""
