"""Exports: what the mesh agreed on, in the forms that others' tools read; for `mesh export`. Open data's DCAT is `ops/opendata/`."""
