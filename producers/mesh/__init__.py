"""Source kind `mesh`: the granted feeds of another mesh, under an anchor (锚)."""
