"""Spreadsheets run text that looks like a formula: such text gets an apostrophe before it where a file is for them.

So does text that begins with an apostrophe, so that whoever reads the file by program takes off one and has what was meant.
"""

from __future__ import annotations

from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'")


def harmless(value: Any) -> Any:
    """A value as a spreadsheet shows it and does not run it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
