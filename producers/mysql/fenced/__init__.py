"""Fences of MariaDB: a table as it was at one place of the binary log."""
