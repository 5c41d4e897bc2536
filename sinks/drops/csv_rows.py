"""CSV drops as a subscriber's program reads them, by what the format says of itself (sinks/drops/format.py).

An empty field is NULL and "" is empty text, which Python's own reader does not tell apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from schemas.agreement.grant import Mask
from schemas.contract import Field
from schemas.wire.name import column_name

_FIELD = re.compile(r'("(?:[^"]|"")*"|[^",\r\n]*)(,|\r\n|\Z)')
_SHOWN = {Mask.HASH, Mask.MASK}


def csv_rows(
    path: Path, fields: Sequence[Field], masks: Mapping[str, Mask], *, has_apostrophes: bool
) -> Iterator[Mapping[str, Any]]:
    """The lines of a file by the names in its header. `has_apostrophes`: text may begin with one that is not its own."""
    lines = _lines(path.read_bytes().decode("utf-8-sig"))
    header = next(lines, None)
    known = {called: field for field in fields for called in (field.name, column_name(field.name))}
    for line in lines:
        row: dict[str, Any] = {}
        for name, text in zip(header or (), line, strict=True):
            field = known.get(name or "")
            is_masked = field is not None and masks.get(field.name, Mask.FULL) in _SHOWN
            row[name or ""] = _value(field, text, is_masked=is_masked, has_apostrophes=has_apostrophes)
        yield row


def _lines(text: str) -> Iterator[list[str | None]]:
    line: list[str | None] = []
    place = 0
    while place < len(text):
        found = _FIELD.match(text, place)
        if found is None:
            raise ValueError("is no CSV as RFC 4180 has it")
        cell, end = found.groups()
        line.append(cell[1:-1].replace('""', '"') if cell.startswith('"') else cell or None)
        place = found.end()
        if end != ",":
            yield line
            line = []


def _value(field: Field | None, text: str | None, *, is_masked: bool, has_apostrophes: bool) -> Any:
    if field is None or text is None:
        return text
    branch = field.branches[0]
    kind = branch["type"] if isinstance(branch, Mapping) else branch
    if is_masked or kind in {"string", "enum"}:
        return text.removeprefix("'") if has_apostrophes else text
    if kind == "boolean":
        return text == "true"
    if kind in {"int", "long"} and field.logical_type is None:
        return int(text)
    return text
