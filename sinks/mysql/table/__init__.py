"""The delivered tables: their columns, rows and drift, and what the mesh keeps beside them."""
