"""Reading: from an envelope's Avro bytes straight to the cells that a database's statements take, without a dictionary between.

A cell is bytes: whatever the kind of database wants of one value. How a value becomes one, each kind says (`RowWalk.take`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from schemas.errors import Rejected
from schemas.wire.envelope_walk import BROKEN, envelope_walk
from schemas.wire.walk import AvroType, Walk
from sinks.row import WireColumn, columns_of, row_record


class Taken(NamedTuple):
    """One change, ready to be sent. `cells` is None without a row after the change; `unchanged` names absent columns."""

    cells: tuple[bytes, ...] | None
    op: bytes
    token: bytes
    unchanged: Sequence[str]


ReadRun = Callable[[Sequence[bytes]], Iterable[Taken]]


@dataclass(frozen=True, slots=True)
class RowReader:
    """Reads envelopes of one schema. `read(message)` raises Rejected for bytes that are no such envelope.

    `run` is for many, and raises the same where it comes to them; a kind of database may have a quicker way for it than one by one.
    """

    columns: tuple[WireColumn, ...]
    read: Callable[[bytes], Taken]
    run: ReadRun


@dataclass(frozen=True, slots=True)
class KeyReader:
    """Reads keys of one schema into cells."""

    columns: tuple[WireColumn, ...]
    read: Callable[[bytes], tuple[bytes, ...]]


class RowWalk(Walk):
    """Generates what fills one variable per column."""

    def row(self, record: Mapping[str, Any], columns: tuple[WireColumn, ...]) -> list[str]:
        """Lines that read a row; the variables that then hold its cells."""
        cells: list[str] = []
        for column, field in zip(columns, record["fields"], strict=True):
            name = self.fresh()
            cells.append(name)
            kind = field["type"]
            if isinstance(kind, list):
                self.union(kind, lambda _index, branch, name=name, column=column: self.take(name, branch, column))
            else:
                self.take(name, kind, column)
        return cells

    @abstractmethod
    def take(self, name: str, kind: AvroType, column: WireColumn) -> None:
        """Lines that read one value of the branch `kind`, "null" among them, into the variable `name`."""


def read_rows(envelope: Mapping[str, Any], rows: RowWalk) -> RowReader:
    """The reader of an envelope schema's rows."""
    columns = columns_of(row_record(envelope))
    walk = envelope_walk(rows, envelope, lambda record: rows.row(record, columns))

    def read(message: bytes) -> Taken:
        try:
            cells, op, token, _, unchanged, end = walk(message, 5)
        except BROKEN as error:
            raise Rejected("not_decodable", type(error).__name__) from error
        if end != len(message):
            raise Rejected("not_decodable", "the message does not end where its schema says")
        if not token:
            raise Rejected("no_position", "the envelope has no source.sequence, so nothing can guard its order")
        return Taken(cells, op, token, unchanged)

    return RowReader(columns, read, partial(map, read))


def read_keys(record: Mapping[str, Any], walk: RowWalk) -> KeyReader:
    """The reader of a key schema."""
    columns = columns_of(record)
    cells = walk.row(record, columns)
    read_cells = walk.compile("key", f"(({', '.join(cells)},), p)")

    def read(message: bytes) -> tuple[bytes, ...]:
        try:
            found, end = read_cells(message, 5)
        except BROKEN as error:
            raise Rejected("key_not_decodable", type(error).__name__) from error
        if end != len(message):
            raise Rejected("key_not_decodable", "the key does not end where its schema says")
        return found

    return KeyReader(columns, read)
