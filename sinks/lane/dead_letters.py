"""Dead letters of a lane: a refused change is kept, and awaited, before its target and its group move past it (SK-10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from schemas.change import Batch, Partition, Record
from schemas.dead_letter import DeadLetter, Failure
from schemas.errors import Rejected, Transient
from schemas.log.kafka import Kafka
from schemas.log.range import GrouplessReader
from schemas.log.reader import Reader
from sinks.lane.report import LaneReport
from sinks.lane.retry import RetryLoop
from sinks.lane.setup import LaneSetup
from sinks.sink import AnsweringSink, OffsetKeeper, Sink

Headers = Sequence[tuple[str, bytes]]
AHEAD_MAX = 5_000
"""So many records are read past to the next one whose headers are wanted; further on it is looked for anew."""


class Tries(NamedTuple):
    """How often a change was tried, and when first (Unix seconds)."""

    attempts: int
    first_at: float | None = None


ONCE = Tries(1)


class DeadLetters:
    """For one session; closed with it."""

    def __init__(
        self, setup: LaneSetup, reader: Reader, sink: Sink | AnsweringSink, report: LaneReport, retries: RetryLoop
    ) -> None:
        self._setup = setup
        self._reader = reader
        self._sink = sink
        self._report = report
        self._retries = retries
        self._originals = None if setup.kind.reads_headers else _Originals(setup.kafka, f"headers {report.name}")

    def keep(self, batch: Batch, error: Rejected, tries: Tries = ONCE) -> None:
        """Return once the batch's one change is among the dead letters, however often that has to be tried."""
        record = batch.records[0]
        moment = self._report.moment(record)
        failure = Failure.of(error, at=self._setup.now(), first_at=tries.first_at, attempts=tries.attempts)

        def keep() -> Sequence[Batch]:
            headers = self._originals.headers(batch) if self._originals else record.headers
            letter = DeadLetter(
                topic=batch.topic,
                partition=batch.partition,
                offset=record.offset,
                key=record.key,
                value=record.value,
                hop="deliver",
                reason=error.reason,
                detail=str(error),
                position=moment.token.decode("ascii", "replace") if moment else "",
                subscriber=self._setup.sink.subscriber,
                taker=self._report.group,
                failure=failure,
                record_headers=headers or (),
            )
            self._setup.dead_letter(letter)  # Invariant 3: awaited before the offset moves.
            if isinstance(self._sink, OffsetKeeper):
                self._sink.skip(batch.topic, batch.partition, batch.next_offset)
            return [batch]

        self._retries.run(self._reader, keep, [batch])
        self._setup.ledger.dead(batch)
        self._report.dead(batch, error)

    def close(self) -> None:
        """Let go of connections."""
        if self._originals is not None:
            self._originals.close()


class _Originals:
    """The headers of records that a lane reads without them: few are refused, and those are looked at once more."""

    def __init__(self, kafka: Kafka, name: str) -> None:
        self._kafka = kafka
        self._name = name
        self._reader: GrouplessReader | None = None
        self._place: Partition | None = None
        self._ready: list[Record] = []
        self._next = 0

    def headers(self, batch: Batch) -> Headers:
        """Of the batch's one record; none where compaction took it meanwhile. Raises Transient."""
        place, wanted = (batch.topic, batch.partition), batch.records[0].offset
        if self._reader is None or place != self._place or not self._next <= wanted <= self._next + AHEAD_MAX:
            self.close()
            self._reader = GrouplessReader(self._kafka, self._name, {place: wanted})
            self._place, self._next = place, wanted
        while True:
            while self._ready:
                record = self._ready.pop(0)
                self._next = record.offset + 1
                if record.offset >= wanted:
                    return record.headers or () if record.offset == wanted else ()
            found = self._reader.batches(records_max=500, within_seconds=5.0)
            if not found:
                raise Transient(f"{self._name}: the broker does not give record {wanted} again")
            self._ready = [record for each in found for record in each.records]

    def close(self) -> None:
        """Let go of the connection."""
        self._ready = []
        if self._reader is not None:
            self._reader.close()
            self._reader = None
