"""Target: the table that one topic's rows of one schema go to, and how they are read for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from sinks.row import WireColumn
from sinks.table.reading import KeyReader, ReadRun

TOKEN = "_mesh_token"  # noqa: S105 -- a column's name
"""The column of a delivered table that has the position of each row's change (SK-01)."""


class Delivered(Protocol):
    """A delivered table, whatever the kind of database."""

    @property
    def columns(self) -> tuple[WireColumn, ...]:
        """Those that the grant names, in contract order."""
        ...

    @property
    def key(self) -> tuple[WireColumn, ...]:
        """Its primary key's."""
        ...


TableT = TypeVar("TableT", bound=Delivered)


@dataclass(slots=True)
class TargetTable(Generic[TableT]):
    """The table, for messages that begin with these heads. Without a value schema only keys can be read.

    `types` are its columns' own, as the database prints them; `filling` columns that a fill under way sets in current rows too;
    `giving_way` says how rows let go of what a unique index holds; `sql` is for whoever sends.
    """

    value_head: bytes
    key_head: bytes
    table: TableT
    keys: KeyReader
    read: ReadRun
    types: Mapping[str, str]
    filling: frozenset[str]
    giving_way: Collection[str] | None = None
    sql: dict[object, Any] = field(default_factory=dict[object, Any])
