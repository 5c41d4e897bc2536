"""Running: which processes a mesh is made of, and which parts each is made of. A module a hop: no process loads another's parts."""
