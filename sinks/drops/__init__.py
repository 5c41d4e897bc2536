"""Drops of files by size or time, each with a manifest: one sink, and the places it writes to. Here the directory (`files`)."""
