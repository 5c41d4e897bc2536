"""Fences: a source's table as it was at one position of its log, and what the kinds of sources that have one share."""
