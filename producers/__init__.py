"""Hop 1: departmental databases become feeds.

A room per kind of source: a new kind is a room with its SourceKind (kind.py), one line in `ops.kinds.sources.SOURCES`, and its tests.
"""
