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

from collections.abc import Callable, Sequence

from schemas.change import Batch
from schemas.errors import Rejected
from schemas.log.reader import Reader
from sinks.lane.dead_letters import ONCE, Tries
from sinks.lane.deferral.bisection import RefusedRun, bisect
from sinks.lane.deferral.paused_topics import PausedTopics
from sinks.lane.deferral.redelivery import Redelivery
from sinks.lane.refusals import Refusals
from sinks.lane.report import LaneReport
from sinks.lane.setup import LaneSetup
from sinks.sink import NotYet, Sink, TopicTrouble


class Deferral:
    """For one session. `write` makes batches durable and says so to the reader; `dead_letter` keeps one refused change."""

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
        self._reader = reader
        self._report = report
        self._write_all = write
        self._keep_letter = dead_letter
        self._refusals = Refusals()
        self._paused = PausedTopics(reader=reader, report=report, policy=setup.retry, now=setup.clock)
        self._redelivery = Redelivery(
            setup, reader=reader, sink=sink, report=report, write=write, dead_letter=self._dead_letter
        )

    # -- what the session calls ----------------------------------------------------------------------------------------

    def deliver(self, batches: Sequence[Batch]) -> None:
        """Deliver a run; what cannot be taken now is kept or its topic paused. Raises what is wrong with the whole target."""
        batches = [batch for batch in batches if batch.topic not in self._paused]
        try:
            self._deliver(self._queued_behind(batches))
        except TopicTrouble as trouble:
            self._report.behind([batch for batch in batches if batch.topic == trouble.topic])
            self._paused.pause(trouble)
            if others := self._reader.undone([batch for batch in batches if batch.topic != trouble.topic]):
                self.deliver(others)

    def tick(self) -> None:
        """Take topics back whose time has come, and try again what waits."""
        self._paused.resume()
        if self._redelivery.is_due():
            try:
                self._redelivery.retry(self._paused)
            except TopicTrouble as trouble:
                self._paused.pause(trouble)

    def caught_up(self, *, has_partitions: bool) -> None:
        """There is nothing to read, but for what is paused or waits."""
        self._redelivery.caught_up()
        behind = self._paused.topics() | self._redelivery.changes.topics()
        self._report.caught_up(has_partitions=has_partitions, behind=behind)

    # -- one run -------------------------------------------------------------------------------------------------------

    def _deliver(self, batches: Sequence[Batch]) -> None:
        if not batches:
            return
        try:
            self._write(batches)
        except NotYet as error:
            self._after_others(batches, error)
        except Rejected as error:
            self._bisect(batches, error)

    def _after_others(self, batches: Sequence[Batch], error: NotYet) -> None:
        """Others first: the row that is missing, or in the way, may be among them."""
        others = [batch for batch in batches if batch.topic != error.topic]
        if others:
            self._deliver(others)
            self._deliver(self._reader.undone([batch for batch in batches if batch.topic == error.topic]))
            return
        if self._paused.may_wait(error.topic):
            raise TopicTrouble(error.topic, error)
        self._bisect(batches, error)

    def _bisect(self, batches: Sequence[Batch], error: Rejected) -> None:
        for alone, refusal in bisect(RefusedRun(batches, error), self._attempt):
            if isinstance(refusal, NotYet):
                self._redelivery.defer(alone, refusal)
            else:
                self._dead_letter(alone, refusal)

    def _attempt(self, batches: Sequence[Batch]) -> RefusedRun | None:
        rest = self._queued_behind(batches)
        try:
            if rest:
                self._write(rest)
        except Rejected as error:
            return RefusedRun(rest, error)
        return None

    def _queued_behind(self, batches: Sequence[Batch]) -> Sequence[Batch]:
        """The batches without the changes whose key waits: those queue behind it."""
        if not self._redelivery.changes:
            return batches
        left: list[Batch] = []
        for batch in batches:
            rest = self._redelivery.changes.queue_behind(batch)
            if rest is None:
                self._reader.done(batch.topic, batch.partition, batch.next_offset)
            else:
                left.append(rest)
        return left

    def _write(self, batches: Sequence[Batch]) -> None:
        self._write_all(batches)
        for batch in batches:
            self._refusals.taken(batch.topic)
            if self._paused.taken(batch.topic) and batch.topic not in self._redelivery.changes.topics():
                self._report.flows(batch.topic)

    def _dead_letter(self, batch: Batch, error: Rejected, tries: Tries = ONCE) -> None:
        broken = self._refusals.count(batch.topic, error, self._report.grant_of(batch.topic))
        if broken is not None:
            self._refusals.taken(batch.topic)
            raise TopicTrouble(batch.topic, broken)
        self._keep_letter(batch, error, tries)
