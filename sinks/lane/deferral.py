"""Deferral: delivers a run so that what cannot be taken now holds up as little as possible, and nothing for ever.

| error        | what waits                                                                                              |
|--------------|---------------------------------------------------------------------------------------------------------|
| Rejected     | nothing: halve until the bad record is alone; it is a dead letter, the rest goes on (SK-08)               |
| NotYet       | its topic, a few seconds, while the others move on; then its key alone, until it is taken or a dead letter |
| TopicTrouble | its topic, which is tried again now and then; a table that refuses a hundred in a row is the same         |

Changes of one key stay in order throughout (invariant 4): later ones queue behind the one that waits. They are in memory only:
the stored offset stays below them, so after a restart they come again, and what came after them is guarded by its position.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from schemas.change import Batch, Partition, Record
from schemas.errors import ContractBroken, Rejected
from schemas.log.reader import Reader
from sinks.lane.report import LaneReport
from sinks.lane.retry import RetryPolicy
from sinks.lane.run import halves
from sinks.sink import LowWatermarkKeeper, NotYet, OffsetKeeper, Sink, TopicTrouble

logger = logging.getLogger(__name__)

WAITING_MAX = 1_000
REFUSED_RUN_MAX = 100
WINDOW_MAX = 4
TOPIC_TRIES = 5


@dataclass(slots=True)
class _Aside:
    """A topic that is not read for now. `tries` that failed in a row; `is_trouble` waits for a person, else for others."""

    tries: int = 0
    until: float = 0.0
    is_trouble: bool = False
    is_away: bool = False


@dataclass(slots=True)
class _Waiting:
    """The records of one partition that wait, in order, and why the first of each key does."""

    records: list[Record] = field(default_factory=list[Record])
    errors: dict[bytes, tuple[NotYet, float]] = field(default_factory=dict[bytes, tuple[NotYet, float]])


class Deferral:
    """For one life of a lane. `write` makes batches durable and says so to the reader; `dead_letter` keeps one refused record."""

    def __init__(
        self,
        *,
        reader: Reader,
        sink: Sink,
        report: LaneReport,
        retry_policy: RetryPolicy,
        now: Callable[[], float],
        write: Callable[[Sequence[Batch]], None],
        dead_letter: Callable[[Batch, Rejected], None],
    ) -> None:
        self._reader = reader
        self._sink = sink
        self._report = report
        self._retry_policy = retry_policy
        self._now = now
        self._write_all = write
        self._dead_letter_one = dead_letter
        self._aside: dict[str, _Aside] = {}
        self._waiting: dict[Partition, _Waiting] = {}
        self._refused: dict[str, int] = {}
        self._caught_up_at = 0.0
        self._retry_at = 0.0
        self._retry_seconds = 0.0

    # -- what the lane calls -------------------------------------------------------------------------------------------

    def deliver(self, batches: Sequence[Batch]) -> None:
        """Deliver a run; what cannot be taken now is kept or set aside. Raises what is wrong with the whole target."""
        batches = [batch for batch in batches if not self._is_away(batch.topic)]
        try:
            self._deliver(self._queued_behind(batches))
        except TopicTrouble as trouble:
            self._report.behind([batch for batch in batches if batch.topic == trouble.topic])
            self._set_aside(trouble)
            if others := self._reader.undone([batch for batch in batches if batch.topic != trouble.topic]):
                self.deliver(others)

    def tick(self) -> None:
        """Take topics back whose time has come, and try again what waits."""
        now = self._now()
        for topic, aside in self._aside.items():
            if aside.is_away and aside.until <= now:
                aside.is_away = False
                self._reader.take_back(topic)
        for place in [place for place in self._waiting if not self._reader.owns(*place)]:
            del self._waiting[place]
        if self._waiting and now >= self._retry_at:
            try:
                self._retry()
            except TopicTrouble as trouble:
                self._set_aside(trouble)
            self._retry_seconds = min(max(self._retry_policy.first_seconds, self._retry_seconds * 2), 5.0)
            self._retry_at = self._now() + self._retry_seconds

    def caught_up(self, *, has_partitions: bool) -> None:
        """There is nothing to read, but for what is set aside or waits."""
        self._caught_up_at = self._now()
        behind = {topic for topic, aside in self._aside.items() if aside.is_away} | {
            topic for topic, _ in self._waiting
        }
        self._report.caught_up(has_partitions=has_partitions, behind=behind)

    # -- one run -------------------------------------------------------------------------------------------------------

    def _deliver(self, batches: Sequence[Batch]) -> None:
        if not batches:
            return
        try:
            self._write(batches)
        except NotYet as error:
            self._defer(batches, error)
        except Rejected as error:
            self._bisect(batches, error)

    def _defer(self, batches: Sequence[Batch], error: NotYet) -> None:
        """Others first: the row that is missing, or in the way, may be among them."""
        others = [batch for batch in batches if batch.topic != error.topic]
        if others:
            self._deliver(others)
            self._deliver(self._reader.undone([batch for batch in batches if batch.topic == error.topic]))
            return
        aside = self._aside.setdefault(error.topic, _Aside())
        if aside.tries < TOPIC_TRIES and len(self._report.grants) > 1:
            raise TopicTrouble(error.topic, error)
        self._bisect(batches, error)

    def _bisect(self, batches: Sequence[Batch], error: Rejected) -> None:
        """Halve until the bad record is alone. Halves go in order, so order holds per key."""
        if len(batches) == 1 and len(batches[0].records) == 1:
            if isinstance(error, NotYet):
                self._wait(batches[0], error)
            else:
                self._dead_letter(batches[0], error)
            return
        for half in halves(batches):
            rest = self._queued_behind(half)
            try:
                if rest:
                    self._write(rest)
            except Rejected as worse:
                self._bisect(rest, worse)

    def _write(self, batches: Sequence[Batch]) -> None:
        self._write_all(batches)
        for batch in batches:
            self._refused.pop(batch.topic, None)
            if self._aside.pop(batch.topic, None) is not None and not self._has_waiting(batch.topic):
                self._report.flows(batch.topic)

    def _dead_letter(self, batch: Batch, error: Rejected) -> None:
        self._refused[batch.topic] = count = self._refused.get(batch.topic, 0) + 1
        if count > REFUSED_RUN_MAX:
            del self._refused[batch.topic]
            problem = f"its target refused {REFUSED_RUN_MAX} changes in a row, at last with {error.reason}"
            fix = f"mend the target, then `mesh dlq retry {self._report.grant_of(batch.topic)} --all`"
            raise TopicTrouble(batch.topic, ContractBroken(batch.topic, problem, fix=fix))
        self._dead_letter_one(batch, error)

    # -- what waits ----------------------------------------------------------------------------------------------------

    def _queued_behind(self, batches: Sequence[Batch]) -> list[Batch]:
        """The batches without the changes whose key waits: those queue behind it."""
        if not self._waiting:
            return list(batches)
        left: list[Batch] = []
        for batch in batches:
            waiting = self._waiting.get((batch.topic, batch.partition))
            if waiting is None:
                left.append(batch)
                continue
            free = [record for record in batch.records if record.key not in waiting.errors]
            waiting.records += [record for record in batch.records if record.key in waiting.errors]
            if free:
                left.append(Batch(topic=batch.topic, partition=batch.partition, records=free))
            else:
                self._reader.done(batch.topic, batch.partition, batch.next_offset)
        return left

    def _wait(self, batch: Batch, error: NotYet) -> None:
        place, record = (batch.topic, batch.partition), batch.records[0]
        if sum(len(waiting.records) for waiting in self._waiting.values()) >= WAITING_MAX:
            raise TopicTrouble(batch.topic, error)
        waiting = self._waiting.setdefault(place, _Waiting())
        if not waiting.records:
            self._set_low_watermark(place, record.offset)
        waiting.records.append(record)
        waiting.errors[record.key or b""] = (error, self._now())
        self._reader.done(batch.topic, batch.partition, batch.next_offset)
        self._retry_at, self._retry_seconds = (
            self._now() + self._retry_policy.first_seconds,
            self._retry_policy.first_seconds,
        )
        self._report.waits(batch.topic, error)

    def _retry(self) -> None:
        """All that waits at once; then halves; then neighbours by position, for rows that give way to each other."""
        batches = [
            Batch(topic=topic, partition=partition, records=list(waiting.records))
            for (topic, partition), waiting in self._waiting.items()
            if not self._is_away(topic)
        ]
        self._report.behind(batches)
        refused = self._refused_of(batches)
        if len(refused) > 1:
            refused = self._refused_neighbours(refused)
        for batch, error in refused:
            self._expire(batch, error)
        for place in list(self._waiting):
            self._settle(place)

    def _refused_of(self, batches: Sequence[Batch]) -> list[tuple[Batch, Rejected]]:
        if not batches:
            return []
        try:
            self._write_waiting(batches)
        except Rejected as error:
            if len(batches) == 1 and len(batches[0].records) == 1:
                return [(batches[0], error)]
            return [each for half in halves(batches) for each in self._refused_of(half)]
        return []

    def _refused_neighbours(self, refused: list[tuple[Batch, Rejected]]) -> list[tuple[Batch, Rejected]]:
        def position(each: tuple[Batch, Rejected]) -> bytes:
            moment = self._report.moment(each[0].records[0])
            return moment.token if moment else b""

        left = sorted(refused, key=position)[: WAITING_MAX // 10]
        for size in range(2, min(WINDOW_MAX, len(left)) + 1):
            start = 0
            while start + size <= len(left):
                window = left[start : start + size]
                try:
                    self._write_waiting([batch for batch, _ in window])
                except Rejected:
                    start += 1
                else:
                    del left[start : start + size]
        return left

    def _write_waiting(self, batches: Sequence[Batch]) -> None:
        self._write_all(_by_partition(batches))
        for batch in batches:
            self._drop(batch)

    def _expire(self, batch: Batch, error: Rejected) -> None:
        """Dead-letter what waited its time, or is refused for good; only the first of its key, since the others wait for it."""
        place, record = (batch.topic, batch.partition), batch.records[0]
        waiting = self._waiting[place]
        entry = waiting.errors.get(record.key or b"")
        is_first = next((each for each in waiting.records if each.key == record.key), None) is record
        if entry is None or not is_first:
            return
        first_error, since = entry
        if isinstance(error, NotYet):
            within = min(first_error.within_seconds, self._retry_policy.waits_seconds)
            # What it waits for may still be on its way; but not for ever.
            if self._now() < since + (within if self._caught_up_at > since else 10 * within):
                return
        self._dead_letter(batch, error)
        self._drop(batch)
        if (record.key or b"") in waiting.errors:
            waiting.errors[record.key or b""] = (first_error, self._now())

    def _drop(self, batch: Batch) -> None:
        waiting = self._waiting[batch.topic, batch.partition]
        gone = {record.offset for record in batch.records}
        waiting.records = [record for record in waiting.records if record.offset not in gone]
        keys = {record.key or b"" for record in waiting.records}
        waiting.errors = {key: entry for key, entry in waiting.errors.items() if key in keys}

    def _settle(self, place: Partition) -> None:
        """Let the stored offset move on, as far as the first record that still waits."""
        waiting = self._waiting[place]
        if waiting.records:
            self._set_low_watermark(place, waiting.records[0].offset)
            return
        del self._waiting[place]
        self._set_low_watermark(place, None)
        if not self._has_waiting(place[0]):
            self._report.flows(place[0])

    def _has_waiting(self, topic: str) -> bool:
        return any(place[0] == topic for place in self._waiting)

    def _set_low_watermark(self, place: Partition, offset: int | None) -> None:
        reached = self._reader.keep_back(*place, offset)
        if isinstance(self._sink, LowWatermarkKeeper):
            self._sink.set_low_watermark(*place, offset)
        if isinstance(self._sink, OffsetKeeper) and offset is None and reached:
            self._sink.skip(*place, reached)

    # -- topics set aside ----------------------------------------------------------------------------------------------

    def _is_away(self, topic: str) -> bool:
        aside = self._aside.get(topic)
        return aside is not None and aside.is_away

    def _set_aside(self, trouble: TopicTrouble) -> None:
        aside = self._aside.setdefault(trouble.topic, _Aside())
        aside.tries += 1
        aside.is_away, aside.is_trouble = True, not trouble.is_passing
        seconds = self._retry_policy.parked_seconds
        if not aside.is_trouble:
            seconds = min(5.0, self._retry_policy.first_seconds * 2 ** min(aside.tries, 10))
        aside.until = self._now() + seconds
        self._reader.set_aside(trouble.topic)
        if aside.is_trouble or aside.tries >= TOPIC_TRIES:
            parked = {topic for topic, each in self._aside.items() if each.is_trouble}
            self._report.stands(trouble, is_all=parked >= set(self._report.grants))


def _by_partition(batches: Sequence[Batch]) -> list[Batch]:
    runs: dict[Partition, list[Record]] = {}
    for batch in batches:
        runs.setdefault((batch.topic, batch.partition), []).extend(batch.records)
    return [
        Batch(topic=topic, partition=partition, records=sorted(records, key=lambda record: record.offset))
        for (topic, partition), records in runs.items()
    ]
