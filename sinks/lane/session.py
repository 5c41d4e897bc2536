"""Session: what a lane does from opening its sink and joining its group until it leaves both: read, write, be sure, confirm."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial

from schemas.change import Batch, Partition
from schemas.errors import Rejected
from schemas.log.reader import Reader
from sinks.lane.accumulator import BatchAccumulator
from sinks.lane.dead_letters import DeadLetters, Tries
from sinks.lane.deferral.deferral import Deferral
from sinks.lane.dispatch.dispatch import Dispatch
from sinks.lane.pace import Pace
from sinks.lane.retry import RetryLoop
from sinks.lane.rewind import REASON, Rewindable
from sinks.lane.setup import LaneParts, LaneSetup
from sinks.lane.target_check import TargetCheck
from sinks.sink import AnsweringSink, CheckableTarget, OffsetKeeper, Sink


class LaneSession:
    """One of a lane's."""

    def __init__(self, setup: LaneSetup, parts: LaneParts) -> None:
        self._setup = setup
        self._parts = parts
        self._report = parts.report
        self._retries = RetryLoop(setup.retry, parts.report, parts.patience, parts.stop)
        self._held = parts.report.held

    @property
    def has_progress(self) -> bool:
        """Whether anything was delivered, or became a dead letter."""
        return self._retries.has_progress

    def run(self) -> None:
        """Deliver until the lane is told to stop, or to hold other topics; then nothing of what is held is in memory.

        Raises LaneStoppedError, and whatever the lane cannot go on after.
        """
        setup = self._setup
        if self._is_at_rest():
            self._rest()
            return
        with closing(setup.kind.open(setup.sink)) as sink:
            self._parts.standstill.until_resumed(self._report, self._parts.stop)
            reader = Reader(
                setup.kafka,
                self._report.group,
                starts_of=partial(self._starts, sink),
                has_headers=setup.kind.reads_headers,
                extra=setup.config.reader_settings,
                ledger=setup.ledger,
            )
            with (
                closing(reader),
                closing(DeadLetters(setup, reader, sink, self._report, self._retries)) as dead_letters,
            ):
                if isinstance(sink, AnsweringSink):
                    self._dispatch(reader, sink, dead_letters)
                else:
                    self._loop(reader, sink, dead_letters)

    def _goes_on(self) -> bool:
        """Whether this is still the session that the lane needs: another one holds other topics, or rests."""
        report = self._report
        is_same = report.held is self._held or report.held.keys() == self._held.keys()
        return is_same and not self._parts.stop.is_set() and not self._is_at_rest()

    def _is_at_rest(self) -> bool:
        """Whether all is held, and nothing is to be taken back: then the target is not even called."""
        held, grants = self._report.held, self._report.grants
        return bool(held) and held.keys() >= grants.keys() and not self._parts.endings.has_work(self._setup.kind)

    def _rest(self) -> None:
        """Keep the place in the group, or Kafka would forget it after some days, and call nobody."""
        self._report.rests()
        self._parts.patience.succeeded()
        reader = Reader(
            self._setup.kafka, self._report.group, has_headers=False, extra=self._setup.config.reader_settings
        )
        with closing(reader):
            while self._is_at_rest() and not self._parts.stop.is_set():
                reader.follow(self._report.grants.keys(), self._report.held)
                reader.idle(self._setup.config.poll_seconds, self._parts.stop)

    def _starts(self, sink: Sink | AnsweringSink, places: Sequence[Partition]) -> Mapping[Partition, int]:
        """Where to continue: where the target is, or as far back as a person asked."""
        starts = dict(sink.start_offsets(places)) if isinstance(sink, OffsetKeeper) else {}
        back = self._parts.rewinds.of(places)
        if back and isinstance(sink, Rewindable):
            sink.rewind(back)
        self._parts.rewinds.done(list(back))
        if isinstance(sink, CheckableTarget):
            sink.reasons |= dict.fromkeys((topic for topic, _ in back), REASON)
        return starts | back

    def _dispatch(self, reader: Reader, sink: AnsweringSink, dead_letters: DeadLetters) -> None:
        Dispatch(
            self._setup, self._parts, reader=reader, sink=sink, dead_letters=dead_letters, retries=self._retries
        ).run(self._goes_on)

    def _loop(self, reader: Reader, sink: Sink, dead_letters: DeadLetters) -> None:
        config, now = self._setup.config, self._setup.clock
        gathered = BatchAccumulator(self._setup.batching)
        target_check = TargetCheck(sink, self._report, config.check_every_seconds)
        deferral = Deferral(
            self._setup,
            reader=reader,
            sink=sink,
            report=self._report,
            write=partial(self._write, reader, sink),
            dead_letter=partial(self._dead_letter, reader, dead_letters),
        )
        pace = Pace(self._setup.policy.changes_per_second)
        while self._goes_on():
            reader.follow(self._report.grants.keys(), self._report.held)
            self._parts.endings.look(sink, self._setup.now(), now())
            target_check.check(now())
            deferral.tick()
            within = min(gathered.wait_seconds(now()), config.poll_seconds) if gathered else config.poll_seconds
            read = self._read(reader, gathered, pace, within)
            target_check.tell(reader)
            if not read and not gathered:
                deferral.caught_up(has_partitions=reader.has_partitions)
                continue
            gathered.add(read, now())
            gathered.keep(reader.owns)
            if gathered and gathered.is_due(now()):
                deferral.deliver(gathered.take())

    def _read(self, reader: Reader, gathered: BatchAccumulator, pace: Pace, within_seconds: float) -> list[Batch]:
        """What there is, but no more than the subscriber's pace allows: that waits on its topic."""
        records_max, bytes_max = gathered.room
        allowed = pace.allowed(time.monotonic())
        if not allowed:
            self._parts.stop.wait(min(within_seconds, pace.wait_seconds(time.monotonic())))
            return []
        read = reader.batches(
            records_max=min(records_max, allowed),
            bytes_max=bytes_max,
            within_seconds=within_seconds,
            pause_seconds=self._setup.pause_seconds(),
        )
        pace.spend(sum(len(batch.records) for batch in read))
        return read

    def _write(self, reader: Reader, sink: Sink, batches: Sequence[Batch]) -> None:
        def write() -> Sequence[Batch]:
            # Partitions and grants may go while a target is unwell: what is no longer ours is not written.
            ours = [batch for batch in batches if reader.holds(batch) and batch.topic not in self._report.held]
            if ours:
                sink.write(ours)
            return ours

        written = self._retries.run(reader, write, batches)
        for batch in written:
            # Invariant 1: the subscriber has it.
            reader.done(batch.topic, batch.partition, batch.next_offset)
        self._setup.ledger.delivered(written)
        self._report.delivered(written)

    def _dead_letter(
        self, reader: Reader, dead_letters: DeadLetters, batch: Batch, error: Rejected, tries: Tries
    ) -> None:
        if reader.holds(batch):
            dead_letters.keep(batch, error, tries)
            reader.done(batch.topic, batch.partition, batch.next_offset)
