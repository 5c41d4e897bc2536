"""Shown: a value as people read it: a code by its meaning, a district by its name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ops.opendata.portal.map import names

NONE = "\N{EN DASH}"
_TEXT_MAX = 200


def shown(column: Mapping[str, Any], value: Any) -> str:
    """Of a column as the listing has it (ops/opendata/listing.py). What is long is cut: the files have it whole."""
    if value is None or value == "":
        return NONE
    if isinstance(value, list | dict):
        return _cut(json.dumps(value, ensure_ascii=False))
    meanings = column["values"]
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if isinstance(meanings, Mapping) and text in meanings:
        return str(meanings[text])
    if column["column"].endswith("region") and text in names():
        return names()[text]
    return _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]}…"
