"""Target: the table that one topic's rows of one schema go to, and how they are read for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from sinks.postgresql.table.row import KeyReader, Taken
from sinks.postgresql.table.table import DeliveredTable


@dataclass(slots=True)
class TargetTable:
    """The table, for messages that begin with these heads. Without a value schema only keys can be read."""

    value_head: bytes
    key_head: bytes
    table: DeliveredTable
    keys: KeyReader
    read: Callable[[bytes], Taken]
    types: Mapping[str, str]
    filling: frozenset[str]
    giving_way: Collection[str] | None = None
    sql: dict[object, str] = field(default_factory=dict[object, str])
