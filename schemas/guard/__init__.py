"""Guard: who a request comes from, and what they may do at which of the mesh's servers; the same for all of them.

Without authentication (`MESH_AUTH` unset) every server answers this machine alone, and everybody on it; with it nobody is
answered who has no token, and nobody gets what the table (schemas/guard/table.py) does not name: default deny (invariant 12).
It imports no server; registry, console, open data, metrics and live feeds stand behind it.
"""
