"""Watch: whether each part of the mesh is well, and in words why not and what to do."""
