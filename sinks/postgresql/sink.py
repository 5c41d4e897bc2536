"""PostgreSQL sink: a department's database keeps the granted rows as tables, by guarded upsert.

Options: see sinks/postgresql/options.py.

One write is one or more transactions, each holding rows and offsets together (SK-06). Statements are pipelined: while
the server works on one transaction, the next rows are read from their Avro bytes. A resend changes nothing (SK-01, invariant 2).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from schemas.agreement.ending import Ending
from schemas.change import Batch, Partition
from schemas.errors import MeshError
from schemas.wire.schema import SchemaOf
from sinks.postgresql.chunk import Chunk, Chunks
from sinks.postgresql.end import Ends
from sinks.postgresql.fault import Undefined
from sinks.postgresql.options import PostgresSinkOptions
from sinks.postgresql.pipe import Pipe
from sinks.postgresql.send import Sending
from sinks.postgresql.table.names import TableNames
from sinks.postgresql.table.narrow import Narrowed, wire_names
from sinks.postgresql.table.place import OffsetPlace
from sinks.postgresql.table.tables import Tables
from sinks.postgresql.table.targets import Targets
from sinks.sink import Moved, NotYet, PresentSchema, SinkSetup, TopicTrouble, no_present_schema

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
        self._schema_of = schema_of
        self._present_schema = present_schema
        names = TableNames(subscriber, tables)
        self._place = OffsetPlace(self._pipe, subscriber, schema, beside_source=beside_source)
        self._ends = Ends(self._pipe, subscriber, schema, names.of)
        self._narrowed = Narrowed(self._pipe, subscriber, schema, self._present_columns)
        self._tables = Tables(self._pipe, subscriber, schema)
        self._sending = Sending(self._pipe)
        self._targets = Targets(
            pipe=self._pipe,
            sending=self._sending,
            schema=schema,
            schema_of=schema_of,
            names=names,
            narrowed=self._narrowed,
            tables=self._tables,
        )
        self._chunks = Chunks(self._targets)
        self.reasons: dict[str, str] = {}

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
        self._targets.forget({*self._tables.filled(), *self._narrowed.cut_since()})

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
        for chunk in self._chunks.of(batches):
            self._send(chunk)
        self._pipe.collect()

    def _recover(self) -> None:
        self._pipe.abandon()
        self._chunks.forget_all()
        self._targets.forget_all()
        self._place.doubt()

    def close(self) -> None:
        """Close the connection."""
        self._pipe.close()

    def start_offsets(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Take the partitions over and say where this database is."""
        self._place.prepare()
        topics = {topic for topic, _ in partitions}
        self._ends.take_over(topics)
        self.reasons.update(self._tables.look(topics))
        starts = self._place.take(partitions)
        self._ends.refuse_ended(topics)
        for place in partitions:
            self._chunks.forget(place)
            self._place.set_low_watermark(place, None)
        # What an earlier owner of these partitions removed or altered is not known here.
        self._targets.forget(topics)
        return starts

    def rewind(self, starts: Mapping[Partition, int]) -> None:
        """Go on from these offsets: rows that are newer stay, rows that are missing come again."""
        self._place.rewind(starts)

    def check(self) -> None:
        """See whether the database is still as it was left."""
        if not self._place.epochs:
            return
        try:
            self._place.check()
            for topic, reason in self._tables.look({topic for topic, _ in self._place.epochs}).items():
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
        self._place.set_low_watermark((topic, partition), offset)

    def end(self, ending: Ending) -> int | None:
        """See Ender."""
        self._place.prepare()
        self._place.drop(ending.topic)
        self._targets.forget([ending.topic])
        return self._ends.apply(ending)

    def narrow(self, topic: str, value_schema_id: int) -> None:
        """See Ender."""
        if self._narrowed.permit(topic, self._schema_of(value_schema_id)):
            self._targets.forget([topic])

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

    def _send(self, chunk: Chunk) -> None:
        # The server worked on the transaction before while these rows were read.
        self._pipe.collect()
        self._place.send(chunk.offsets)
        for topic, (target, fold) in chunk.work.items():
            self._sending.send(target, topic, fold)
        self._pipe.end()


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
