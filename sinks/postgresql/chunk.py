"""Chunk: what goes into one transaction, and the table that a topic's rows go to."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from schemas.change import Partition
from schemas.errors import Rejected
from sinks.postgresql.fold import RunFold
from sinks.postgresql.table.row import KeyReader, Taken
from sinks.postgresql.table.table import DeliveredTable

_HEADER = struct.Struct(">iiiii")


def array(cells: Sequence[bytes], oid: int) -> bytes:
    """A binary one-dimensional array (array_recv)."""
    return _HEADER.pack(1, 1, oid, len(cells), 1) + b"".join(cells)


@dataclass(slots=True)
class TargetTable:
    """The table that one topic's rows of one schema go to. Without a value schema only keys can be read."""

    value_head: bytes
    key_head: bytes
    table: DeliveredTable
    keys: KeyReader
    read: Callable[[bytes], Taken]
    types: Mapping[str, str]
    filling: frozenset[str]
    giving_way: Collection[str] | None = None
    sql: dict[object, str] = field(default_factory=dict[object, str])


@dataclass(slots=True)
class Chunk:
    """What goes into one transaction: per topic its target and fold, and the offsets behind them."""

    work: dict[str, tuple[TargetTable, RunFold]] = field(default_factory=dict[str, tuple[TargetTable, RunFold]])
    offsets: dict[Partition, int] = field(default_factory=dict[Partition, int])
    count: int = 0


def unreadable(_message: bytes) -> Taken:
    """In place of a reader where a topic has only been seen to have keys."""
    raise Rejected("not_decodable", "no schema is known for the message")
