"""Connections to a department's MariaDB: statements, its catalog, and the end of its binary log."""
