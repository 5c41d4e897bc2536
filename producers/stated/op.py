"""What a column says of its row where changes are listed: that it is deleted, or written."""

from __future__ import annotations

from typing import Any

_DELETED = frozenset({"d", "delete", "删除"})
_WRITTEN = frozenset({"c", "u", "r", "i", "insert", "update", "新增", "修改"})


def is_delete(word: Any) -> bool | None:
    """Whether the row is gone; None for a word that says nothing of the sort."""
    text = str(word).strip().lower()
    return True if text in _DELETED else False if text in _WRITTEN else None
