"""PostgreSQL sink: a department's database keeps the granted rows as tables, by guarded upsert.

Options: see sinks/postgresql/options.py.

One write is one or more transactions, each holding rows and offsets together (SK-06). Statements are pipelined: while
the server works on one transaction, the next rows are read from their Avro bytes. A resend changes nothing (SK-01, invariant 2).
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Collection, Mapping, Sequence

from schemas.agreement.ending import Ending
from schemas.change import Batch, Partition
from schemas.errors import ContractBroken, MeshError, Misconfigured
from schemas.wire.envelope import frame, unframe
from schemas.wire.schema import SchemaOf
from sinks.postgresql.chunk import Chunk, TargetTable, array, unreadable
from sinks.postgresql.emptying import emptying
from sinks.postgresql.end import Ends
from sinks.postgresql.fault import Undefined
from sinks.postgresql.fold import RunFold
from sinks.postgresql.options import PostgresSinkOptions
from sinks.postgresql.pipe import Pipe, SqlStatement
from sinks.postgresql.send import Sending
from sinks.postgresql.table.names import TableNames
from sinks.postgresql.table.narrow import Narrowed, wire_names
from sinks.postgresql.table.place import OffsetPlace
from sinks.postgresql.table.row import OIDS, cell, key_reader, row_reader
from sinks.postgresql.table.table import DeliveredTable, move_offsets
from sinks.postgresql.table.tables import Tables
from sinks.sink import Fenced, Moved, NotYet, PresentSchema, SinkSetup, TopicTrouble, no_present_schema

logger = logging.getLogger(__name__)

CHUNK_ROWS = 2_000
AWAITED_MAX = 10_000
_TEXT, _INT4, _INT8 = OIDS["text"], OIDS["integer"], OIDS["bigint"]
_NO_SCHEMA = -1
_NONE: frozenset[str] = frozenset()
_CONFLICTS = ("sql_23505", "sql_23P01")


class PostgresSink:
    """Delivers to one database.

    Raises Transient when it does not answer, Rejected for values it refuses, ContractBroken when its tables are no longer what
    the contract needs, Misconfigured for its address, Fenced when another process took a partition over.
    """

    def __init__(
        self,
        *,
        dsn: str,
        subscriber: str,
        schema_of: SchemaOf,
        schema: str,
        tables: Mapping[str, str],
        beside_source: bool = False,
        present_schema: PresentSchema = no_present_schema,
    ) -> None:
        self._pipe = Pipe(dsn, subscriber)
        self._subscriber = subscriber
        self._schema_of = schema_of
        self._schema = schema
        self._names = TableNames(subscriber, tables)
        self._place = OffsetPlace(self._pipe, subscriber, schema, beside_source=beside_source)
        self._ends = Ends(self._pipe, subscriber, schema, self._names.of)
        self._present_schema = present_schema
        self._narrowed = Narrowed(self._pipe, subscriber, schema, self._present_columns)
        self._tables_made = Tables(self._pipe, subscriber, schema)
        self._targets: dict[tuple[str, int, int], TargetTable] = {}
        self._sending = Sending(self._pipe)
        self._awaited: dict[Partition, dict[bytes, None]] = {}
        self._move = move_offsets(schema)
        self._low_watermarks: dict[Partition, int] = {}
        self.reasons: dict[str, str] = {}

    # -- the ports: Sink and OffsetKeeper ------------------------------------------------------------------------------

    def write(self, batches: Sequence[Batch]) -> None:
        """Upsert and delete, with the offsets, in transactions of about 2,000 changes."""
        places = [(batch.topic, batch.partition) for batch in batches]
        try:
            self._attempt(batches, places)
        except BaseException:
            # The transaction under way rolls back or has committed whole: the resend is guarded either way.
            self._recover()
            raise
        self._place.committed(places)
        self._forget({*self._tables_made.filled(), *self._narrowed.cut_since()})

    def _attempt(self, batches: Sequence[Batch], places: Sequence[Partition]) -> None:
        """Write, and once more where that can end otherwise."""
        is_undefined = False
        try:
            while True:
                self._place.ensure(places)
                try:
                    return self._write(batches)
                except Undefined as error:
                    # A table or column went away under us: look again at what is there.
                    if is_undefined:
                        raise TopicTrouble(error.topic, error) if error.topic else error from None
                    is_undefined = True
                except NotYet as error:
                    # Rows that take each other's value under a unique index: have all of them let go first.
                    if error.reason not in _CONFLICTS or error.topic in self._sending.giving_way:
                        raise
                    self._sending.giving_way.add(error.topic)
                self._recover()
        finally:
            self._sending.giving_way.clear()

    def _write(self, batches: Sequence[Batch]) -> None:
        chunk = Chunk()
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
                    chunk = Chunk()
                start = stop
        if chunk.offsets:
            self._send(chunk)
        self._pipe.collect()

    def _recover(self) -> None:
        self._pipe.abandon()
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
        self._ends.take_over(topics)
        self.reasons.update(self._tables_made.look(topics))
        starts = self._place.take(partitions)
        self._ends.refuse_ended(topics)
        for place in partitions:
            self._awaited.pop(place, None)
            self._low_watermarks.pop(place, None)
        # What an earlier owner of these partitions removed or altered is not known here.
        self._forget(topics)
        return starts

    def rewind(self, starts: Mapping[Partition, int]) -> None:
        """Go on from these offsets: rows that are newer stay, rows that are missing come again."""
        self._place.rewind(starts)

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
        self._send(Chunk(offsets={(topic, partition): next_offset}))
        self._pipe.collect()
        self._place.committed([(topic, partition)])

    def set_low_watermark(self, topic: str, partition: int, offset: int | None) -> None:
        """See LowWatermarkKeeper."""
        if offset is None:
            self._low_watermarks.pop((topic, partition), None)
        else:
            self._low_watermarks[topic, partition] = offset

    def end(self, ending: Ending) -> int | None:
        """See Ender."""
        self._place.prepare()
        self._place.drop(ending.topic)
        self._forget([ending.topic])
        return self._ends.apply(ending)

    def narrow(self, topic: str, value_schema_id: int) -> None:
        """See Ender."""
        if self._narrowed.permit(topic, self._schema_of(value_schema_id)):
            self._forget([topic])

    def _present_columns(self, topic: str) -> frozenset[str] | None:
        schema_id = self._present_schema(topic)
        return None if schema_id is None else wire_names(self._schema_of(schema_id))

    def lost_ends(self, topics: Collection[str]) -> Collection[str]:
        """See Ender."""
        try:
            self._place.prepare()
            return self._ends.lost(topics)
        except MeshError:
            self._place.doubt()
            raise

    def _forget(self, topics: Collection[str]) -> None:
        self._targets = {key: target for key, target in self._targets.items() if key[0] not in topics}

    # -- from records to statements ------------------------------------------------------------------------------------

    def _fold(self, batch: Batch, start: int, stop: int, chunk: Chunk) -> int:
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
                    work = chunk.work[topic] = self._target(topic, _NO_SCHEMA, unframe(key)[0]), RunFold([])
                elif not work[0].key_head:
                    return index
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

    def _begin(self, topic: str, key: bytes | None, value: bytes) -> tuple[TargetTable, RunFold]:
        target = self._target(topic, unframe(value)[0], unframe(key)[0] if key else _NO_SCHEMA)
        return target, RunFold([column.wire for column in target.table.columns])

    def _send(self, chunk: Chunk) -> None:
        # The server worked on the transaction before while these rows were read.
        self._pipe.collect()
        self._send_offsets(chunk.offsets)
        for topic, (target, fold) in chunk.work.items():
            self._sending.send(target, topic, fold)
        self._pipe.end()

    def _send_offsets(self, offsets: Mapping[Partition, int]) -> None:
        places, at = sorted(offsets), self._place.at
        # Never back, and never past the low watermark of what still waits.
        news = {p: max(at[p], min(offsets[p], self._low_watermarks.get(p, offsets[p]))) for p in places}
        params = [
            array([cell(topic.encode()) for topic, _ in places], _TEXT),
            array([struct.pack(">ii", 4, number) for _, number in places], _INT4),
            array([struct.pack(">iq", 8, news[place]) for place in places], _INT8),
            array([struct.pack(">iq", 8, self._place.epochs[place]) for place in places], _INT8),
            array([struct.pack(">iq", 8, at[place]) for place in places], _INT8),
            str(len(places)).encode(),
        ]
        self._pipe.queue(SqlStatement("", Fenced), self._move, params, arrays=5)
        at.update(news)

    # -- tables --------------------------------------------------------------------------------------------------------

    def _target(self, topic: str, value_id: int, key_id: int) -> TargetTable:
        target = self._targets.get((topic, value_id, key_id))
        if target is not None:
            return target
        if key_id == _NO_SCHEMA:
            if known := [each for key, each in self._targets.items() if key[:2] == (topic, value_id)]:
                return known[0]
            return emptying(self._names.claim(topic), self._schema, value_id, self._schema_of, self._tables_made)
        keys = key_reader(self._schema_of(key_id))
        reader, doc = None, ""
        if value_id != _NO_SCHEMA:
            envelope = self._schema_of(value_id)
            reader, doc = row_reader(envelope), envelope.get("doc", "").split("|", 1)[0]
        columns = reader.columns if reader else keys.columns
        columns, read = self._narrowed.permitted(topic, columns, reader.read if reader else unreadable)
        try:
            table = DeliveredTable(
                schema=self._schema, name=self._names.claim(topic), columns=columns, key=keys.columns, doc=doc
            ).named_as(self._tables_made.columns)
        except Misconfigured as error:
            raise TopicTrouble(topic, error) from None
        try:
            types, filling = (
                self._tables_made.settle(topic, table) if reader else (self._tables_made.columns(table), _NONE)
            )
        except Undefined:
            raise
        except ContractBroken as error:
            raise TopicTrouble(topic, error) from None
        sql = f"SELECT EXISTS (SELECT FROM {table.removed} WHERE topic = %s)"  # noqa: S608
        if self._pipe.rows(sql, (topic,)) == [(True,)]:
            self._sending.has_removed.add(topic)
        target = TargetTable(frame(value_id) if reader else b"", frame(key_id), table, keys, read, types, filling)
        if topic in self._sending.giving_way:
            target.giving_way = self._tables_made.giving_way(table)
        self._targets[topic, value_id, key_id] = target
        return target


def build_postgres(setup: SinkSetup) -> PostgresSink:
    """The sink of kind `postgres`."""
    options = setup.options(PostgresSinkOptions)
    return PostgresSink(
        dsn=setup.secret(options.address, setup.sink.name),
        subscriber=setup.subscriber,
        schema_of=setup.schema_of,
        schema=options.schema,
        tables=options.tables,
        beside_source=options.beside_source,
        present_schema=setup.present_schema,
    )
