"""Dead letters of a lane: a refused change is kept, and awaited, before its target and its group move past it (SK-10)."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.change import Batch
from schemas.dead_letter import DeadLetter
from schemas.errors import Rejected
from schemas.log.reader import Reader
from sinks.lane.report import LaneReport
from sinks.lane.retry import RetryLoop
from sinks.lane.setup import LaneSetup
from sinks.sink import AnsweringSink, OffsetKeeper, Sink


class DeadLetters:
    """For one session."""

    def __init__(
        self, setup: LaneSetup, reader: Reader, sink: Sink | AnsweringSink, report: LaneReport, retries: RetryLoop
    ) -> None:
        self._setup = setup
        self._reader = reader
        self._sink = sink
        self._report = report
        self._retries = retries

    def keep(self, batch: Batch, error: Rejected) -> None:
        """Return once the batch's one change is among the dead letters, however often that has to be tried."""
        record = batch.records[0]
        moment = self._report.moment(record)
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
        )

        def keep() -> Sequence[Batch]:
            self._setup.dead_letter(letter)  # Invariant 3: awaited before the offset moves.
            if isinstance(self._sink, OffsetKeeper):
                self._sink.skip(batch.topic, batch.partition, batch.next_offset)
            return [batch]

        self._retries.run(self._reader, keep, [batch])
        self._setup.ledger.dead(batch)
        self._report.dead(batch, error)
