"""PostgreSQL sink: a department's database keeps the granted rows as tables, by guarded upsert.

Options: see sinks/postgres_options.py.

One write is one or more transactions, each holding rows and offsets together (FIELD-NOTES SK-06). Statements are pipelined: while
the server works on one transaction, the next rows are read from their Avro bytes. A resend changes nothing (SK-01, invariant 2).
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from schemas.change import Batch
from schemas.codec import SchemaOf
from schemas.envelope import frame, unframe
from schemas.errors import MeshError, Misconfigured, Rejected
from sinks.postgres_fold import Fold
from sinks.postgres_options import PostgresOptions
from sinks.postgres_pipe import Gone, Pipe, Statement
from sinks.postgres_place import Place
from sinks.postgres_row import OIDS, KeyReader, Taken, cell, key_reader, row_reader, staging_type
from sinks.postgres_table import Table, move_offsets
from sinks.postgres_tables import Tables
from sinks.row import Column
from sinks.sink import Fenced, Moved, Partition, SinkKind, SinkSetup

logger = logging.getLogger(__name__)

CHUNK_ROWS = 2_000
AWAITED_MAX = 10_000
_TEXT, _BYTEA, _INT4, _INT8 = OIDS["text"], OIDS["bytea"], OIDS["integer"], OIDS["bigint"]
_HEADER = struct.Struct(">iiiii")
_NO_SCHEMA = -1


def array(cells: Sequence[bytes], oid: int) -> bytes:
    """A binary one-dimensional array (array_recv)."""
    return _HEADER.pack(1, 1, oid, len(cells), 1) + b"".join(cells)


@dataclass(slots=True)
class _Target:
    """The table that one topic's rows of one schema go to. Without a value schema only keys can be read."""

    value_head: bytes
    key_head: bytes
    table: Table
    keys: KeyReader
    read: Callable[[bytes], Taken]
    types: Mapping[str, str]
    filling: frozenset[str]
    sql: dict[object, str] = field(default_factory=dict[object, str])


@dataclass(slots=True)
class _Chunk:
    """What goes into one transaction: per topic its target and fold, and the offsets behind them."""

    work: dict[str, tuple[_Target, Fold]] = field(default_factory=dict[str, tuple[_Target, Fold]])
    offsets: dict[Partition, int] = field(default_factory=dict[Partition, int])
    count: int = 0


class PostgresSink:
    """Delivers to one database.

    Raises Transient when it does not answer, Rejected for values it refuses, ContractBroken when its tables are no longer what
    the contract needs, Misconfigured for its address, Fenced when another process took a partition over.
    """

    def __init__(
        self, *, dsn: str, subscriber: str, schema_of: SchemaOf, schema: str, tables: Mapping[str, str]
    ) -> None:
        self._pipe = Pipe(dsn, subscriber)
        self._subscriber = subscriber
        self._schema_of = schema_of
        self._schema = schema
        self._tables = tables
        self._place = Place(self._pipe, subscriber, schema)
        self._tables_made = Tables(self._pipe, subscriber, schema)
        self._targets: dict[tuple[str, int, int], _Target] = {}
        self._has_removed: set[str] = set()
        self._owners: dict[str, str] = {}
        self._awaited: dict[Partition, dict[bytes, None]] = {}
        self._move = move_offsets(schema)
        self.reasons: dict[str, str] = {}

    # -- the ports: Sink and OffsetKeeper ------------------------------------------------------------------------------

    def write(self, batches: Sequence[Batch]) -> None:
        """Upsert and delete, with the offsets, in transactions of about 2,000 changes."""
        places = [(batch.topic, batch.partition) for batch in batches]
        try:
            self._place.ensure(places)
            try:
                self._write(batches)
            except Gone:
                # A table or column went away under us: look again at what is there, once.
                self._recover()
                self._place.ensure(places)
                self._write(batches)
        except BaseException:
            # The transaction under way rolls back or has committed whole: the resend is guarded either way.
            self._recover()
            raise
        self._place.committed(places)
        for topic in self._tables_made.filled():
            self._forget([topic])

    def _write(self, batches: Sequence[Batch]) -> None:
        chunk = _Chunk()
        for batch in batches:
            start, end = 0, len(batch.records)
            while start < end:
                stop = self._fold(batch, start, min(end, start + CHUNK_ROWS - chunk.count), chunk)
                if stop > start:
                    chunk.offsets[batch.topic, batch.partition] = batch.records[stop - 1].offset + 1
                chunk.count += stop - start
                # A full chunk goes, and so does one before a record of another schema.
                if chunk.count >= CHUNK_ROWS or stop < end:
                    self._send(chunk)
                    chunk = _Chunk()
                start = stop
        if chunk.offsets:
            self._send(chunk)
        self._pipe.collect()

    def _recover(self) -> None:
        self._pipe.close()
        self._awaited.clear()
        self._targets.clear()
        self._place.doubt()

    def close(self) -> None:
        """Close the connection."""
        self._pipe.close()

    def start_offsets(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Take the partitions over and say where this database is."""
        self._place.prepare()
        topics = {topic for topic, _ in partitions}
        self.reasons.update(self._tables_made.look(topics))
        starts = self._place.take(partitions)
        for place in partitions:
            self._awaited.pop(place, None)
        # What an earlier owner of these partitions removed or altered is not known here.
        self._forget(topics)
        return starts

    def look(self) -> None:
        """See whether the database is still as it was left."""
        if not self._place.epochs:
            return
        try:
            self._place.check()
            for topic, reason in self._tables_made.look({topic for topic, _ in self._place.epochs}).items():
                raise Moved(topic, reason)
        except MeshError:
            self._place.doubt()
            raise

    def skip(self, topic: str, partition: int, next_offset: int) -> None:
        """Move past a dead letter."""
        self._place.ensure([(topic, partition)])
        self._send(_Chunk(offsets={(topic, partition): next_offset}))
        self._pipe.collect()
        self._place.committed([(topic, partition)])

    def _forget(self, topics: Collection[str]) -> None:
        self._targets = {key: target for key, target in self._targets.items() if key[0] not in topics}

    # -- from records to statements ------------------------------------------------------------------------------------

    def _fold(self, batch: Batch, start: int, stop: int, chunk: _Chunk) -> int:
        """Fold records into the chunk; where it stopped: at `stop`, or earlier at a record of another schema."""
        topic = batch.topic
        awaited = self._awaited.setdefault((topic, batch.partition), {})
        work = chunk.work.get(topic)
        for index in range(start, stop):
            _, key, value, _, _ = batch.records[index]
            if value is None:
                if key is None or key[5:] in awaited:
                    awaited.pop(key[5:] if key else b"", None)
                    continue
                if work is None:
                    work = chunk.work[topic] = self._target(topic, _NO_SCHEMA, unframe(key)[0]), Fold([])
                work[1].tombstone(key[5:])
                continue
            if work is None:
                work = chunk.work[topic] = self._begin(topic, key, value)
            target, fold = work
            if value[:5] != target.value_head or (key and key[:5] != target.key_head):
                return index
            change = target.read(value)
            fold.take(key[5:] if key else b"", change)
            if change.op == b"d" and key:
                if len(awaited) > AWAITED_MAX:
                    awaited.clear()
                awaited[key[5:]] = None
        return stop

    def _begin(self, topic: str, key: bytes | None, value: bytes) -> tuple[_Target, Fold]:
        target = self._target(topic, unframe(value)[0], unframe(key)[0] if key else _NO_SCHEMA)
        return target, Fold([column.name for column in target.table.columns])

    def _send(self, chunk: _Chunk) -> None:
        # The server worked on the transaction before while these rows were read.
        self._pipe.collect()
        self._send_offsets(chunk.offsets)
        for topic, (target, fold) in chunk.work.items():
            self._send_fold(target, topic, fold)
        self._pipe.end()

    def _send_offsets(self, offsets: Mapping[Partition, int]) -> None:
        places = sorted(offsets)
        params = [
            array([cell(topic.encode()) for topic, _ in places], _TEXT),
            array([struct.pack(">ii", 4, number) for _, number in places], _INT4),
            array([struct.pack(">iq", 8, offsets[place]) for place in places], _INT8),
            array([struct.pack(">iq", 8, self._place.epochs[place]) for place in places], _INT8),
            array([struct.pack(">iq", 8, self._place.at[place]) for place in places], _INT8),
            str(len(places)).encode(),
        ]
        self._pipe.queue(Statement("offsets", Fenced), self._move, params, arrays=5)
        self._place.at.update(offsets)

    def _send_fold(self, target: _Target, topic: str, fold: Fold) -> None:
        if not target.types:
            return  # tombstones of a table that was never made
        table, types, statement = target.table, target.types, Statement(topic)
        if fold.truncated:
            self._has_removed.add(topic)
            self._pipe.queue(statement, table.truncate(), [fold.truncated, topic.encode()], arrays=0)
        if fold.forgotten:
            self._send_keys(target, topic, table.forget(types), dict.fromkeys(fold.forgotten, b""))
        if fold.removed:
            self._has_removed.add(topic)
            self._send_keys(target, topic, table.delete(types), fold.removed)
        is_guarded = topic in self._has_removed
        for takes_equal in (False, True):
            rows = {key: row for key, row in fold.whole.items() if (row.op == b"r") is takes_equal}
            if rows:
                sql = target.sql.get((takes_equal, is_guarded))
                if sql is None:
                    sql = table.upsert(types, takes_equal=takes_equal, is_guarded=is_guarded)
                    target.sql[takes_equal, is_guarded] = sql
                self._send_rows(statement, sql, table.columns, rows)
                if anew := target.filling.intersection(column.name for column in table.columns):
                    self._send_rows(statement, table.fill(types, anew), table.columns, rows)
        if fold.partial:
            self._send_partial(target, topic, fold.partial)

    def _send_keys(self, target: _Target, topic: str, sql: str, tokens: Mapping[bytes, bytes]) -> None:
        read = target.keys.read
        rows = {key: Taken(read(b"\0\0\0\0\0" + key), b"d", token, ()) for key, token in tokens.items()}
        self._send_rows(Statement(topic), sql, target.keys.columns, rows)

    def _send_partial(self, target: _Target, topic: str, rows: Mapping[bytes, Taken]) -> None:
        groups: dict[tuple[str, ...], dict[bytes, Taken]] = {}
        for key, row in rows.items():
            groups.setdefault(tuple(sorted(row.unchanged)), {})[key] = row
        for absent, group in groups.items():
            numbers = [number for number, column in enumerate(target.table.columns) if column.name not in absent]
            columns = [target.table.columns[number] for number in numbers]
            cut = {
                key: row._replace(cells=tuple(row.cells[number] for number in numbers))
                for key, row in group.items()
                if row.cells is not None
            }
            self._send_rows(Statement(topic), target.table.update(target.types, columns), columns, cut)
            if anew := target.filling.intersection(column.name for column in columns):
                sent = replace(target.table, columns=tuple(columns))
                self._send_rows(Statement(topic), sent.fill(target.types, anew), columns, cut)
            check = target.table.check_present(target.types, columns)
            self._send_rows(Statement(topic, Rejected), check, columns, cut)

    def _send_rows(
        self, statement: Statement, sql: str, columns: Sequence[Column], rows: Mapping[bytes, Taken]
    ) -> None:
        cells = zip(*(row.cells for row in rows.values() if row.cells is not None), strict=True)
        params = [array(column, OIDS[staging_type(kind)]) for column, kind in zip(cells, columns, strict=True)]
        params.append(array([cell(row.token) for row in rows.values()], _TEXT))
        params.append(array([cell(key) for key in rows], _BYTEA))
        params.append(statement.topic.encode())
        self._pipe.queue(statement, sql, params, arrays=len(params) - 1)

    # -- tables --------------------------------------------------------------------------------------------------------

    def _target(self, topic: str, value_id: int, key_id: int) -> _Target:
        target = self._targets.get((topic, value_id, key_id))
        if target is not None:
            return target
        if key_id == _NO_SCHEMA:
            known = [key for key in self._targets if key[:2] == (topic, value_id)]
            if not known:
                raise Rejected("no_key", "the first change of a feed has no key, so its table cannot be made")
            return self._targets[known[0]]
        keys = key_reader(self._schema_of(key_id))
        reader, doc = None, ""
        if value_id != _NO_SCHEMA:
            envelope = self._schema_of(value_id)
            reader, doc = row_reader(envelope), envelope.get("doc", "").split("|", 1)[0]
        columns = reader.columns if reader else keys.columns
        table = Table(schema=self._schema, name=self._table_name(topic), columns=columns, key=keys.columns, doc=doc)
        if reader:
            types, filling = self._tables_made.settle(topic, table)
        else:
            types, filling = self._tables_made.columns(table), frozenset[str]()
        found = self._pipe.rows(f"SELECT EXISTS (SELECT FROM {table.removed} WHERE topic = %s)", (topic,))  # noqa: S608
        if found[0][0]:
            self._has_removed.add(topic)
        value_head = frame(value_id) if reader else b""
        target = _Target(value_head, frame(key_id), table, keys, reader.read if reader else _unreadable, types, filling)
        self._targets[topic, value_id, key_id] = target
        return target

    def _table_name(self, topic: str) -> str:
        feed = topic.removeprefix(f"out.{self._subscriber}.")
        name = self._tables.get(feed, feed.replace(".", "_"))
        if self._owners.setdefault(name, topic) != topic:
            raise Misconfigured(
                f"table {name}",
                f"would take the rows of {self._owners[name]} and of {topic}",
                fix="give one of them another name with the sink's option `tables: {<feed>: <name>}`",
            )
        return name


def _unreadable(_message: bytes) -> Taken:
    raise Rejected("not_decodable", "no schema is known for the message")


def build_postgres(setup: SinkSetup) -> PostgresSink:
    """The sink of kind `postgres`."""
    options = setup.options(PostgresOptions)
    return PostgresSink(
        dsn=setup.secret(options.address, setup.sink.name),
        subscriber=setup.subscriber,
        schema_of=setup.schema_of,
        schema=options.schema,
        tables=options.tables,
    )


POSTGRES = SinkKind(build=build_postgres, options=PostgresOptions, reads_headers=False)
