"""A table at a fence: its rows out of a snapshot that equals one place in the log, digested by the database itself (PG-24)."""
