"""The log's tuples as they come: kind and bytes of each column, and what is done to one that the transcoder does not take."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from producers.postgresql.value.type import PgType
from schemas.contract import Contract
from schemas.errors import ContractBroken

PADDING = bytes(128)
NULL, BINARY, TEXTUAL, UNCHANGED = b"nbtu"
TEXTUAL_TYPES = frozenset({"text", "varchar", "bpchar", "name", "json", "xml", "citext", "bytea"})

Former = Sequence[tuple[int, bytes] | None]
"""Kind and bytes of each column, in the relation's order; None where that is not known."""


@dataclass(frozen=True, slots=True)
class TupleColumn:
    """One column of a relation as the log announces it; `typmod` says how many digits a numeric has."""

    name: str
    type: PgType
    typmod: int = -1


class Tuples:
    """The tuples of one relation version under one contract. `key_places` are the places of the contract's key columns."""

    def __init__(self, contract: Contract, columns: Sequence[TupleColumn]) -> None:
        self._feed = contract.feed
        self._columns = columns
        self._fields = {field.column: field for field in contract.fields}
        keys = {contract.by_name[name].column for name in contract.key}
        self.key_places = [i for i, column in enumerate(columns) if column.name in keys]

    def mend(self, message: bytes, start: int, former: Former | None = None) -> tuple[bytes, list[str]]:
        """The tuple at `start` with every column in binary form, and the fields whose value was not sent at all.

        A value that the log leaves out (unchanged TOAST) is taken from `former`, if it is there; otherwise it stays out and is
        named, since "not sent" is not NULL (PG-27).
        """
        out = [message[start - 2 : start]]
        unchanged: list[str] = []
        for i, (kind, value) in enumerate(values(message, start)):
            if kind == UNCHANGED and former is not None and former[i] is not None:
                kind, value = former[i] or (NULL, b"")  # noqa: PLW2901 - it speaks for this column
            if kind == BINARY:
                out.append(b"b" + struct.pack(">i", len(value)) + value)
            elif kind == TEXTUAL:
                out.append(b"b" + struct.pack(">i", len(value)) + self._from_text(i, value))
            else:
                if kind == UNCHANGED and (field := self._fields.get(self._columns[i].name)):
                    unchanged.append(field.name)
                out.append(b"n")
        return b"".join((*out, PADDING)), unchanged

    def former(self, message: bytes, start: int, *, is_whole: bool) -> Former:
        """The values of the old tuple at `start`: all of them, or those of the identity, where the others are sent as NULL."""
        return [
            (kind, value) if is_whole or kind in (BINARY, TEXTUAL) else None for kind, value in values(message, start)
        ]

    def sent(self, message: bytes, start: int, former: Former | None) -> Former:
        """The values of the new tuple at `start`, completed from `former`; None for what is still not known and has a field."""
        found: list[tuple[int, bytes] | None] = []
        for i, (kind, value) in enumerate(values(message, start)):
            known = (kind, value) if kind != UNCHANGED else former[i] if former is not None else None
            is_carried = self._columns[i].name in self._fields
            found.append(known if known is not None or is_carried else (NULL, b""))
        return found

    def keyed(self, message: bytes, start: int) -> bytes:
        """The tuple at `start` reduced to its key, for an old row of which another column does not fit."""
        out = [message[start - 2 : start]]
        for column, (kind, value) in zip(self._columns, values(message, start), strict=True):
            field = self._fields.get(column.name)
            is_kept = field is not None and field.is_key and kind == BINARY
            out.append(b"b" + struct.pack(">i", len(value)) + value if is_kept else b"n")
        return b"".join((*out, PADDING))

    def end(self, message: bytes, start: int) -> int:
        """Where the tuple at `start` ends."""
        at = start
        for kind, value in values(message, start):
            at += 5 + len(value) if kind in (BINARY, TEXTUAL) else 1
        return at

    def _from_text(self, index: int, value: bytes) -> bytes:
        column = self._columns[index]
        if (
            self._fields.get(column.name) is None
            or column.type.name in TEXTUAL_TYPES - {"bytea"}
            or column.type.is_enum
        ):
            return value
        if column.type.has_output_only:
            return value
        raise ContractBroken(self._feed, f"column {column.name} arrived as text", fix="report this: no type should")


def values(message: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """Kind and bytes of each column of the tuple whose first column is at `start`."""
    (count,) = struct.unpack_from(">h", message, start - 2)
    at = start
    for _ in range(count):
        kind = message[at]
        at += 1
        if kind in (BINARY, TEXTUAL):
            (size,) = struct.unpack_from(">i", message, at)
            at += 4 + size
            yield kind, message[at - size : at]
        else:
            yield kind, b""
