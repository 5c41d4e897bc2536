"""Targets: the tables of one sink, made what their contracts need when the first record of a schema comes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol

from schemas.errors import ContractBroken, Misconfigured, Rejected
from schemas.wire.envelope import frame
from schemas.wire.schema import SchemaOf
from sinks.row import WireColumn
from sinks.sink import TopicTrouble
from sinks.table.fault import Undefined
from sinks.table.names import TableNames
from sinks.table.narrow import Narrowed
from sinks.table.reading import KeyReader, RowReader, Taken
from sinks.table.target import TOKEN, TableT, TargetTable

NO_SCHEMA = -1
_NONE: frozenset[str] = frozenset()


@dataclass(slots=True)
class Conditions:
    """What holds for the statements of one sink's topics, beside their tables.

    `has_removed`: topics of which removals are remembered, so that rows are guarded by them. `giving_way`: topics whose rows first
    let go of what a unique index holds.
    """

    has_removed: set[str] = field(default_factory=set[str])
    giving_way: set[str] = field(default_factory=set[str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """How a kind of database reads envelopes and keys, by their schemas."""

    rows: Callable[[Mapping[str, Any]], RowReader]
    keys: Callable[[Mapping[str, Any]], KeyReader]


class TableKeeper(Protocol[TableT]):
    """Makes the tables of one sink, and knows what there is of them."""

    def named(self, name: str, columns: Sequence[WireColumn], key: Sequence[WireColumn] = (), doc: str = "") -> TableT:
        """The table of that name, its columns called as they are there. Raises Misconfigured for names that cannot be."""
        ...

    def settle(self, topic: str, table: TableT) -> tuple[Mapping[str, str], frozenset[str]]:
        """Make the table what its contract needs; its columns' types, and the columns that a fill under way sets.

        Raises Moved when it has to be filled anew, ContractBroken when it is not what it has to be.
        """
        ...

    def columns(self, table: TableT) -> Mapping[str, str]:
        """The table's columns and their types, as the database prints them; none without a table."""
        ...

    def giving_way(self, table: TableT) -> Collection[str] | None:
        """How rows can let go of what a unique index holds, before others take it in the same transaction.

        These columns can be set to null; none: the rows can be deleted, since nothing hangs on them and all of each is ours.
        None: in neither way.
        """
        ...

    def has_removed(self, topic: str) -> bool:
        """Whether removals of the topic are remembered."""
        ...


class Targets(Generic[TableT]):
    """Remembered by topic and schemas until `forget`: whoever alters a table, or reads that somebody did, says so here."""

    def __init__(
        self,
        *,
        tables: TableKeeper[TableT],
        readers: Readers,
        schema_of: SchemaOf,
        names: TableNames,
        narrowed: Narrowed,
        conditions: Conditions,
    ) -> None:
        self._tables = tables
        self._readers = readers
        self._schema_of = schema_of
        self._names = names
        self._narrowed = narrowed
        self._conditions = conditions
        self._targets: dict[tuple[str, int, int], TargetTable[TableT]] = {}

    def of(self, topic: str, value_id: int, key_id: int) -> TargetTable[TableT]:
        """The table for records of these schemas, NO_SCHEMA where a record has no value or no key.

        Raises TopicTrouble for a table that is not what it has to be, Moved for one that has to be filled anew.
        """
        target = self._targets.get((topic, value_id, key_id))
        if target is not None:
            return target
        if key_id == NO_SCHEMA:
            if known := [each for key, each in self._targets.items() if key[:2] == (topic, value_id)]:
                return known[0]
            return self._emptying(topic, value_id)
        target = self._targets[topic, value_id, key_id] = self._made(topic, value_id, key_id)
        return target

    def forget(self, topics: Collection[str]) -> None:
        """Look at their tables anew when their next records come."""
        self._targets = {key: target for key, target in self._targets.items() if key[0] not in topics}

    def forget_all(self) -> None:
        """The same for every topic: the connection was lost."""
        self._targets.clear()

    def _emptying(self, topic: str, value_id: int) -> TargetTable[TableT]:
        """For a truncate that comes before any row of its topic: right after a start, or as the first record of all.

        It has no key, so the table is not known as its rows will show it. What there is of it is emptied; where there is none,
        nothing is. It takes truncates alone: no record with a key has its `key_head`.
        """
        reader = self._readers.rows(self._schema_of(value_id))
        table = self._tables.named(self._names.claim(topic), reader.columns)
        found = self._tables.columns(table)
        keys = KeyReader(columns=(), read=lambda _: ())
        return TargetTable(frame(value_id), b"", table, keys, reader.run, found if TOKEN in found else {}, _NONE)

    def _made(self, topic: str, value_id: int, key_id: int) -> TargetTable[TableT]:
        keys = self._readers.keys(self._schema_of(key_id))
        reader, doc = None, ""
        if value_id != NO_SCHEMA:
            envelope = self._schema_of(value_id)
            reader, doc = self._readers.rows(envelope), envelope.get("doc", "").split("|", 1)[0]
        columns = reader.columns if reader else keys.columns
        columns, read = self._narrowed.permitted(topic, columns, reader.run if reader else _unreadable)
        try:
            table = self._tables.named(self._names.claim(topic), columns, keys.columns, doc)
        except Misconfigured as error:
            raise TopicTrouble(topic, error) from None
        try:
            types, filling = self._tables.settle(topic, table) if reader else (self._tables.columns(table), _NONE)
        except Undefined:
            raise
        except ContractBroken as error:
            raise TopicTrouble(topic, error) from None
        if self._tables.has_removed(topic):
            self._conditions.has_removed.add(topic)
        target = TargetTable(frame(value_id) if reader else b"", frame(key_id), table, keys, read, types, filling)
        if topic in self._conditions.giving_way:
            target.giving_way = self._tables.giving_way(table)
        return target


def _unreadable(_messages: Sequence[bytes]) -> Iterable[Taken]:
    """In place of a reader where a topic has only been seen to have keys."""
    raise Rejected("not_decodable", "no schema is known for the message")
