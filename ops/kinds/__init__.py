"""Kinds of sources and sinks: the two tables. What a kind is stands in its room's `kind.py`; no other file names one."""
