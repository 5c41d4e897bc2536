"""Targets: the tables of one sink, made what their contracts need when the first record of a schema comes."""

from __future__ import annotations

from collections.abc import Collection

from schemas.errors import ContractBroken, Misconfigured, Rejected
from schemas.wire.envelope import frame
from schemas.wire.schema import SchemaOf
from sinks.postgresql.emptying import emptying
from sinks.postgresql.fault import Undefined
from sinks.postgresql.pipe import Pipe
from sinks.postgresql.send import Sending
from sinks.postgresql.table.names import TableNames
from sinks.postgresql.table.narrow import Narrowed
from sinks.postgresql.table.row import Taken, key_reader, row_reader
from sinks.postgresql.table.table import DeliveredTable
from sinks.postgresql.table.tables import Tables
from sinks.postgresql.table.target import TargetTable
from sinks.sink import TopicTrouble

NO_SCHEMA = -1
_NONE: frozenset[str] = frozenset()


class Targets:
    """Remembered by topic and schemas until `forget`: whoever alters a table, or reads that somebody did, says so here."""

    def __init__(
        self,
        *,
        pipe: Pipe,
        sending: Sending,
        schema: str,
        schema_of: SchemaOf,
        names: TableNames,
        narrowed: Narrowed,
        tables: Tables,
    ) -> None:
        self._pipe = pipe
        self._sending = sending
        self._schema = schema
        self._schema_of = schema_of
        self._names = names
        self._narrowed = narrowed
        self._tables = tables
        self._targets: dict[tuple[str, int, int], TargetTable] = {}

    def of(self, topic: str, value_id: int, key_id: int) -> TargetTable:
        """The table for records of these schemas, NO_SCHEMA where a record has no value or no key.

        Raises TopicTrouble for a table that is not what it has to be, Moved for one that has to be filled anew.
        """
        target = self._targets.get((topic, value_id, key_id))
        if target is not None:
            return target
        if key_id == NO_SCHEMA:
            if known := [each for key, each in self._targets.items() if key[:2] == (topic, value_id)]:
                return known[0]
            return emptying(self._names.claim(topic), self._schema, value_id, self._schema_of, self._tables)
        target = self._targets[topic, value_id, key_id] = self._made(topic, value_id, key_id)
        return target

    def forget(self, topics: Collection[str]) -> None:
        """Look at their tables anew when their next records come."""
        self._targets = {key: target for key, target in self._targets.items() if key[0] not in topics}

    def forget_all(self) -> None:
        """The same for every topic: the connection was lost."""
        self._targets.clear()

    def _made(self, topic: str, value_id: int, key_id: int) -> TargetTable:
        keys = key_reader(self._schema_of(key_id))
        reader, doc = None, ""
        if value_id != NO_SCHEMA:
            envelope = self._schema_of(value_id)
            reader, doc = row_reader(envelope), envelope.get("doc", "").split("|", 1)[0]
        columns = reader.columns if reader else keys.columns
        columns, read = self._narrowed.permitted(topic, columns, reader.read if reader else _unreadable)
        try:
            table = DeliveredTable(
                schema=self._schema, name=self._names.claim(topic), columns=columns, key=keys.columns, doc=doc
            ).named_as(self._tables.columns)
        except Misconfigured as error:
            raise TopicTrouble(topic, error) from None
        try:
            types, filling = self._tables.settle(topic, table) if reader else (self._tables.columns(table), _NONE)
        except Undefined:
            raise
        except ContractBroken as error:
            raise TopicTrouble(topic, error) from None
        sql = f"SELECT EXISTS (SELECT FROM {table.removed} WHERE topic = %s)"  # noqa: S608 -- a quoted identifier
        if self._pipe.rows(sql, (topic,)) == [(True,)]:
            self._sending.has_removed.add(topic)
        target = TargetTable(frame(value_id) if reader else b"", frame(key_id), table, keys, read, types, filling)
        if topic in self._sending.giving_way:
            target.giving_way = self._tables.giving_way(table)
        return target


def _unreadable(_message: bytes) -> Taken:
    """In place of a reader where a topic has only been seen to have keys."""
    raise Rejected("not_decodable", "no schema is known for the message")
