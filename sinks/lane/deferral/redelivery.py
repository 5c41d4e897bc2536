"""Redelivery: tries again, now and then, what waits for others, until it is taken or its time is over."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from schemas.change import Batch, Partition, Record
from schemas.errors import Rejected
from schemas.log.reader import Reader
from sinks.lane.dead_letters import Tries
from sinks.lane.deferral.bisection import RefusedRun, bisect
from sinks.lane.deferral.deferred_changes import DeferredChanges
from sinks.lane.report import LaneReport
from sinks.lane.setup import LaneSetup
from sinks.sink import LowWatermarkKeeper, NotYet, OffsetKeeper, Sink, TopicTrouble

WAITING_MAX = 1_000
WINDOW_MAX = 4


class Redelivery:
    """For one session. `write` and `dead_letter` as the deferral has them."""

    def __init__(
        self,
        setup: LaneSetup,
        *,
        reader: Reader,
        sink: Sink,
        report: LaneReport,
        write: Callable[[Sequence[Batch]], None],
        dead_letter: Callable[[Batch, Rejected, Tries], None],
    ) -> None:
        self._config = setup.config
        self._now = setup.clock
        self._unix = setup.now
        self._reader = reader
        self._sink = sink
        self._report = report
        self._write = write
        self._dead_letter = dead_letter
        self._caught_up_at = 0.0
        self._attempts = 1
        self._retry_at = 0.0
        self.changes = DeferredChanges()

    def defer(self, batch: Batch, error: NotYet) -> None:
        """Let the batch's one change wait. Raises TopicTrouble when too many do already."""
        if len(self.changes) >= WAITING_MAX:
            raise TopicTrouble(batch.topic, error)
        place = (batch.topic, batch.partition)
        if self.changes.low_watermark(place) is None:
            self._set_low_watermark(place, batch.records[0].offset)
        self.changes.add(batch, error, self._now())
        self._reader.done(*place, batch.next_offset)
        self._attempts = 1
        self._retry_at = self._now() + self._config.retry.deferred.after(self._attempts)
        self._report.waits(batch.topic, error)

    def is_due(self) -> bool:
        """Whether something waits and it is time to try again; what is no longer ours waits no more."""
        self.changes.forget([place for place in self.changes.places() if not self._reader.owns(*place)])
        return bool(self.changes) and self._now() >= self._retry_at

    def retry(self, paused: Container[str]) -> None:
        """All that waits at once; then halves; then neighbours by position, for rows that give way to each other.

        Raises TopicTrouble, and what is wrong with the whole target.
        """
        try:
            batches = self.changes.batches(paused)
            self._report.behind(batches)
            refused = self._refused_of(batches)
            if len(refused) > 1:
                refused = self._refused_neighbours(refused)
            for batch, error in refused:
                self._expire(batch, error)
            for place in self.changes.places():
                self._settle(place)
        finally:
            self._attempts += 1
            self._retry_at = self._now() + self._config.retry.deferred.after(self._attempts)

    def caught_up(self) -> None:
        """There is nothing to read: what a change waits for is not on its way."""
        self._caught_up_at = self._now()

    def _refused_of(self, batches: Sequence[Batch]) -> list[tuple[Batch, Rejected]]:
        refused = self._attempt(batches) if batches else None
        return list(bisect(refused, self._attempt)) if refused is not None else []

    def _refused_neighbours(self, refused: list[tuple[Batch, Rejected]]) -> list[tuple[Batch, Rejected]]:
        def position(each: tuple[Batch, Rejected]) -> bytes:
            moment = self._report.moment(each[0].records[0])
            return moment.token if moment else b""

        left = sorted(refused, key=position)[: WAITING_MAX // 10]
        for size in range(2, min(WINDOW_MAX, len(left)) + 1):
            start = 0
            while start + size <= len(left):
                if self._attempt([batch for batch, _ in left[start : start + size]]) is not None:
                    start += 1
                else:
                    del left[start : start + size]
        return left

    def _attempt(self, batches: Sequence[Batch]) -> RefusedRun | None:
        try:
            self._write(_by_partition(batches))
        except Rejected as error:
            return RefusedRun(batches, error)
        for batch in batches:
            self.changes.remove(batch)
        return None

    def _expire(self, batch: Batch, error: Rejected) -> None:
        """Dead-letter what waited its time, or is refused for good; only the first of its key, since the others wait for it."""
        wait = self.changes.wait_of(batch)
        if wait is None:
            return
        if isinstance(error, NotYet):
            within = min(wait.error.within_seconds, self._config.deferred_seconds_max)
            # What it waits for may still be on its way; but not for ever.
            if self._now() < wait.since + (within if self._caught_up_at > wait.since else 10 * within):
                return
        first_at = self._unix() - (self._now() - wait.since)
        self._dead_letter(batch, error, Tries(self._attempts, first_at))
        self.changes.remove(batch)
        self.changes.begin_anew(batch, self._now())

    def _settle(self, place: Partition) -> None:
        """Let the stored offset move on, as far as the first change that still waits."""
        low_watermark = self.changes.low_watermark(place)
        if low_watermark is None:
            self.changes.forget([place])
        self._set_low_watermark(place, low_watermark)
        if place[0] not in self.changes.topics():
            self._report.flows(place[0])

    def _set_low_watermark(self, place: Partition, offset: int | None) -> None:
        reached = self._reader.keep_back(*place, offset)
        if isinstance(self._sink, LowWatermarkKeeper):
            self._sink.set_low_watermark(*place, offset)
        if isinstance(self._sink, OffsetKeeper) and offset is None and reached:
            self._sink.skip(*place, reached)


def _by_partition(batches: Sequence[Batch]) -> list[Batch]:
    runs: dict[Partition, list[Record]] = {}
    for batch in batches:
        runs.setdefault((batch.topic, batch.partition), []).extend(batch.records)
    return [
        Batch(topic=topic, partition=partition, records=sorted(records, key=lambda record: record.offset))
        for (topic, partition), records in runs.items()
    ]
