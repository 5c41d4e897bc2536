"""TableSink: a subscriber's database keeps the granted rows as tables, by guarded upsert, whatever the kind of database.

One write is one or more transactions, each holding rows and offsets together (SK-06). Statements are queued: while the server works
on one transaction, the next rows are read from their Avro bytes. A resend changes nothing (SK-01, invariant 2).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol

from schemas.agreement.ending import Ending
from schemas.change import Batch, Partition
from schemas.errors import MeshError
from schemas.wire.schema import SchemaOf
from sinks.sink import Moved, NotYet, PresentSchema, TopicTrouble
from sinks.table.chunk import Chunk, Chunks
from sinks.table.ends import TopicEnds
from sinks.table.fault import Undefined
from sinks.table.fold import RunFold
from sinks.table.narrow import Narrowed, wire_names
from sinks.table.place import OffsetPlace
from sinks.table.target import TableT, TargetTable
from sinks.table.targets import Conditions, Targets


class Transactions(Protocol):
    """The connection to one database. Everything that is queued between two calls of `end` is one transaction."""

    def end(self) -> None:
        """End the transaction: it commits once its statements are done."""
        ...

    def collect(self) -> None:
        """Wait until everything that was ended is committed; raise for the first statement that failed."""
        ...

    def abandon(self) -> None:
        """Close the connection once all transactions that were ended have been decided; what was not ended is rolled back.

        Else the server may still be committing them while the next connection reads how far it is.
        """
        ...

    def close(self) -> None:
        """Close the connection; what was not committed is rolled back."""
        ...


class Sender(Protocol[TableT]):
    """What one fold of a topic's changes comes to in statements."""

    def send(self, target: TargetTable[TableT], topic: str, fold: RunFold) -> None:
        """Queue them, in the transaction that is open."""
        ...


class DeliveredState(Protocol):
    """What became of the tables that were delivered."""

    def look(self, topics: Collection[str]) -> Mapping[str, str]:
        """See whether what we made is still there; what is not is delivered again from the beginning. Topics and reasons."""
        ...

    def stale(self) -> Collection[str]:
        """Topics whose tables are to be looked at anew: a fill came to an end, or somebody altered one, since last asked."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TableParts(Generic[TableT]):
    """What one kind of database brings to a sink. `conflicts` are the reasons by which it refuses what a unique index holds."""

    pipe: Transactions
    place: OffsetPlace
    ends: TopicEnds
    narrowed: Narrowed
    tables: DeliveredState
    sending: Sender[TableT]
    targets: Targets[TableT]
    conditions: Conditions
    conflicts: Collection[str]


class TableSink(Generic[TableT]):
    """Delivers to one database.

    Raises Transient when it does not answer, Rejected for values it refuses, ContractBroken when its tables are no longer what
    the contract needs, Misconfigured for its address, Fenced when another process took a partition over.
    """

    def __init__(self, parts: TableParts[TableT], schema_of: SchemaOf) -> None:
        self._pipe = parts.pipe
        self._place = parts.place
        self._ends = parts.ends
        self._narrowed = parts.narrowed
        self._tables = parts.tables
        self._sending = parts.sending
        self._targets = parts.targets
        self._conditions = parts.conditions
        self._conflicts = parts.conflicts
        self._schema_of = schema_of
        self._chunks = Chunks(parts.targets)
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
        self._targets.forget({*self._tables.stale(), *self._narrowed.cut_since()})

    def _attempt(self, batches: Sequence[Batch], places: Sequence[Partition]) -> None:
        """Write, and once more where that can end otherwise."""
        is_undefined = False
        giving_way = self._conditions.giving_way
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
                    if error.reason not in self._conflicts or error.topic in giving_way:
                        raise
                    giving_way.add(error.topic)
                self._recover()
        finally:
            giving_way.clear()

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
            self._targets.forget(self._tables.stale())
        except MeshError:
            self._place.doubt()
            raise

    def skip(self, topic: str, partition: int, next_offset: int) -> None:
        """Move past a dead letter."""
        self._place.ensure([(topic, partition)])
        self._send(Chunk[TableT](offsets={(topic, partition): next_offset}))
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

    def lost_ends(self, topics: Collection[str]) -> Collection[str]:
        """See Ender."""
        try:
            self._place.prepare()
            return self._ends.lost(topics)
        except MeshError:
            self._place.doubt()
            raise

    def _send(self, chunk: Chunk[TableT]) -> None:
        # The server worked on the transaction before while these rows were read.
        self._pipe.collect()
        self._place.send(chunk.offsets)
        for topic, (target, fold) in chunk.work.items():
            self._sending.send(target, topic, fold)
        self._pipe.end()


def columns_now(present_schema: PresentSchema, schema_of: SchemaOf, topic: str) -> frozenset[str] | None:
    """The columns that the topic's grant names at this moment, by their names on the wire; None without one."""
    schema_id = present_schema(topic)
    return None if schema_id is None else wire_names(schema_of(schema_id))
