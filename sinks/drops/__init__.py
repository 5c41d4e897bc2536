"""Sink kind `files`: drops of files by size or time, each with a manifest."""
