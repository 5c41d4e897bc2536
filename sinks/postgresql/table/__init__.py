"""The delivered tables: their names, columns and rows, and what the mesh keeps beside them."""
