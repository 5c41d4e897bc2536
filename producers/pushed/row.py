"""Rows of a batch: each line of JSON to its key and its Avro row, or to why not: line, column and a short code, never a value.

A row names every column of its contract, and no other: what is left out by mistake would otherwise empty the column, and what is
misspelled would be lost. A delete needs its key alone. Text is taken from JSON strings only: a number has lost its leading zeros.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any

from producers.stated.op import is_delete
from producers.stated.records import StatedRows
from schemas.agreement.directory import FeedEntry
from schemas.errors import Rejected

LINE_BYTES_MAX = 8 << 20
_NAME = re.compile(r"[A-Za-z_]\w{0,62}", re.ASCII)


class RowFault(Exception):
    """A line that is no row. `column` is empty where no single one is to blame; `why` is a short safe code."""

    def __init__(self, column: str, why: str) -> None:
        super().__init__(why)
        self.column, self.why = column, why


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a batch that hold something, with their numbers from 1. Raises OSError."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LINE_BYTES_MAX):
            number += 1
            if line.strip():
                yield number, line


def object_of(line: bytes) -> dict[str, Any]:
    """A line as a JSON object; numbers keep their digits. Raises RowFault."""
    if len(line) >= LINE_BYTES_MAX:
        raise RowFault("", "line_too_long")
    try:
        row = _DECODER.decode(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise RowFault("", "not_utf8") from None
    except (ValueError, RecursionError):
        raise RowFault("", "not_json") from None
    if not isinstance(row, dict):
        raise RowFault("", "not_an_object")
    return row


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise RowFault(next((name for name in _known(names) if names.count(name) > 1), ""), "column_twice")
    return row


def _number(_text: str) -> Any:
    raise ValueError  # NaN and Infinity are no JSON


_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_number, object_pairs_hook=_once)


def _known(names: list[str]) -> list[str]:
    """Those that may be shown: whoever sends rows without names of columns has values in their place."""
    return [name for name in names if _NAME.fullmatch(name)]


class PushedRows:
    """The rows of one feed under its contract. Used by one thread. `op_column`: None where every row is written."""

    def __init__(self, entry: FeedEntry, zone: tzinfo, op_column: str) -> None:
        self.entry = entry
        contract = entry.contract
        self._rows = StatedRows(entry, zone, is_sheet=False)
        self._op_column = op_column
        self._names = {field.column: field.name for field in contract.fields}
        self._columns = {field.name: field.column for field in contract.fields}
        self._keys = {field.column for field in contract.fields if field.is_key}
        self._texts = [field.name for field in contract.fields if field.branches[0] == "string"]

    def encoded(self, line: bytes, *, is_whole: bool) -> tuple[bytes, bytes | None]:
        """Framed key and row; no row for a delete, which no whole statement has. Raises RowFault."""
        row = object_of(line)
        op = None if is_whole else row.pop(self._op_column, None)
        is_gone = False if op is None else is_delete(op)
        if is_gone is None:
            raise RowFault(self._op_column, "unknown_op")
        self._require_columns(row, is_gone=is_gone)
        values = {self._names[column]: value for column, value in row.items()}
        try:
            self._require_texts(values)
            return (self._rows.key(values), None) if is_gone else self._rows.encoded(values)
        except Rejected as error:
            column = self._columns.get(error.problem.removeprefix("column "), "")
            raise RowFault(column, error.reason) from None

    def _require_columns(self, row: Mapping[str, Any], *, is_gone: bool) -> None:
        if unknown := row.keys() - self._names.keys():
            raise RowFault(next(iter(sorted(_known(list(unknown)))), ""), "unknown_column")
        if missing := (self._keys if is_gone else self._names.keys()) - row.keys():
            raise RowFault(min(missing), "column_missing")

    def _require_texts(self, values: Mapping[str, Any]) -> None:
        for name in self._texts:
            value = values.get(name)
            if value is not None and type(value) is not str:
                raise RowFault(self._columns[name], "not_a_text")
