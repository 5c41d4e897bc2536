"""Lane: delivers one subscriber's grants through one of its sinks: read, write, be sure, confirm.

A lane has its own thread, consumer group, memory bound and retries, so one subscriber's trouble is not another's (invariant 8). What
an error means for it:

| error                          | the lane                                                                                     |
|--------------------------------|----------------------------------------------------------------------------------------------|
| Transient                      | stays in its group and tries again, ever more slowly; counts as parked after a while          |
| Rejected, NotYet, TopicTrouble | goes on with everything else (deferral.py)                                                    |
| Gone                           | stops: only a person resumes it                                                              |
| ContractBroken, Misconfigured  | parks, and starts afresh now and then, so that it heals by itself once a person mended it     |
| Fenced                         | starts afresh: joins its group again                                                          |
| Moved                          | the same, and tells: the target went back, or a part of it is filled anew                     |
| anything else                  | parks and starts afresh a few times; nothing was confirmed. The process and the other lanes go on |

The last row departs from "anything else crashes the process": the process holds every subscriber's lane, and a record that trips
our code for one would stop all of them again and again.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from schemas.agreement.ending import Ending
from schemas.change import Batch, Partition
from schemas.dead_letter import DeadLetter
from schemas.errors import ContractBroken, MeshError, Rejected, Transient
from schemas.log.kafka import Kafka
from schemas.log.reader import Reader
from sinks.ending import Endings
from sinks.kind import SinkKind
from sinks.lane.deferral import REFUSED_RUN_MAX, Deferral
from sinks.lane.dispatch.dispatch import Dispatch
from sinks.lane.report import LaneReport
from sinks.lane.retry import RetryPolicy
from sinks.lane.rewind import REASON, Rewindable, Rewinds
from sinks.lane.run import Gathering
from sinks.lane.standstill import LOOK_SECONDS, Standstill
from sinks.lane.watchman import Watchman
from sinks.sink import AnsweringSink, BatchingPolicy, Fenced, Gone, Moved, OffsetKeeper, Sink, SinkSetup, Watchful

logger = logging.getLogger(__name__)


class _StoppedError(Exception):
    """The lane was told to stop while it waited."""


class DeliveryLane:
    """One subscriber's deliveries through one sink.

    `now` gives Unix seconds; `jitter` spreads a wait; `pause_seconds` is how long a few records wait for company.
    """

    def __init__(
        self,
        *,
        setup: SinkSetup,
        kind: SinkKind,
        kafka: Kafka,
        dead_letter: Callable[[DeadLetter], None],
        report: LaneReport,
        now: Callable[[], float],
        jitter: Callable[[float], float],
        retry_policy: RetryPolicy,
        reader_settings: Mapping[str, str],
        pause_seconds: Callable[[], float],
        rewinds: Rewinds,
        endings: Endings,
        standstill: Standstill,
    ) -> None:
        self.setup = setup
        self.rewinds = rewinds
        self._kind = kind
        self._kafka = kafka
        self._dead_letter = dead_letter
        self._report = report
        self._now = now
        self._jitter = jitter
        self._retry_policy = retry_policy
        self._reader_settings = reader_settings
        self._pause_seconds = pause_seconds
        self._endings = endings
        self._standstill = standstill
        self._stop = threading.Event()
        self._has_progress = False
        self._thread = threading.Thread(target=self._run, name=f"lane {report.name}", daemon=True)

    @property
    def group(self) -> str:
        """The consumer group."""
        return self._report.group

    @property
    def grants(self) -> Mapping[str, str]:
        """The topics that it delivers now with the ids of their grants; none where it is there for ends of grants alone."""
        return self._report.grants

    @property
    def is_started(self) -> bool:
        """Whether it has begun to deliver."""
        return self._thread.ident is not None

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def follow(
        self,
        grants: Mapping[str, str],
        endings: Sequence[Ending] = (),
        schemas: Mapping[str, int] | None = None,
        past: Sequence[Ending] = (),
    ) -> None:
        """Deliver exactly these grants from now on: `out` topic to grant id (invariant 6); take back what those delivered.

        `schemas` has the present value schema of each topic: columns that it has not are taken back as well. `past` are ends that
        were confirmed, and are taken back again where a target was restored from a backup of before.
        """
        self._report.grants = dict(grants)
        self._endings.due, self._endings.past = endings, past
        self._endings.schemas = {
            topic: (grants[topic], number) for topic, number in (schemas or {}).items() if topic in grants
        }

    def stop(self) -> None:
        """Ask the lane to end after the write it is in."""
        self._stop.set()

    def join(self, within_seconds: float) -> bool:
        """Whether the lane has ended in time."""
        self._thread.join(within_seconds)
        return not self._thread.is_alive()

    # -- lives ---------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._report.begun(stands_still=self._standstill.is_kept)
        failures = crashes = 0
        while not self._stop.is_set():
            self._has_progress = False
            wait = self._retry_policy.parked_seconds
            try:
                self._live()
            except _StoppedError:
                break
            except Fenced as error:
                logger.warning("%s: starts afresh: %s", self.group, error)
                if isinstance(error, Moved):
                    self._report.notices.say(self._report.grant_of(error.topic), str(error))
                wait = self._retry_policy.first_seconds
            except Transient as error:
                failures = 1 if self._has_progress else failures + 1
                wait = self._after_transient(error, failures)
            except MeshError as error:
                wait = self._halt(error)
            except Exception as error:  # noqa: BLE001 -- the last row of the table above
                crashes = 1 if self._has_progress else crashes + 1
                place = traceback.extract_tb(error.__traceback__)[-1]
                # Its text may quote a row: name the kind and the place only.
                self._report.park(
                    f"unexpected {type(error).__name__} at {place.filename}:{place.lineno}, {crashes} in a row"
                )
                if crashes > self._retry_policy.restarts_max:
                    logger.critical("%s: stays parked until the process restarts or the sink changes", self.group)
                    self._stop.wait()
            else:
                break
            self._stop.wait(self._jitter(wait))

    def _halt(self, error: MeshError) -> float:
        """Say that it stands still; how long to wait before it lives again."""
        if not isinstance(error, Gone):
            self._report.park(error.problem, error.fix)
            return self._retry_policy.parked_seconds
        self._standstill.begin(error.problem)
        self._stand()
        return self._retry_policy.first_seconds

    def _stand(self) -> None:
        """Return once a person resumed it, or when the lane is told to stop."""
        while reason := self._standstill.reason():
            self._report.stop(reason)
            if self._stop.wait(LOOK_SECONDS):
                return
        self._report.begun()

    def _live(self) -> None:
        sink = self._kind.open(self.setup)
        try:
            if self._standstill.is_kept:
                self._stand()
            reader = Reader(
                self._kafka,
                self.group,
                starts_of=partial(self._starts, sink),
                has_headers=self._kind.reads_headers,
                extra=self._reader_settings,
            )
            try:
                if isinstance(sink, AnsweringSink):
                    self._dispatch(reader, sink)
                else:
                    self._loop(reader, sink, self._kind.batching(self.setup))
            finally:
                reader.close()
        finally:
            sink.close()

    def _starts(self, sink: Sink | AnsweringSink, places: Sequence[Partition]) -> Mapping[Partition, int]:
        """Where to continue: where the target is, or as far back as a person asked."""
        starts = dict(sink.start_offsets(places)) if isinstance(sink, OffsetKeeper) else {}
        back = self.rewinds.of(places)
        if back and isinstance(sink, Rewindable):
            sink.rewind(back)
        self.rewinds.done(list(back))
        if isinstance(sink, Watchful):
            sink.reasons |= dict.fromkeys((topic for topic, _ in back), REASON)
        return starts | back

    def _dispatch(self, reader: Reader, sink: AnsweringSink) -> None:
        Dispatch(
            reader=reader,
            sink=sink,
            batching=self._kind.batching(self.setup),
            retry_policy=self._retry_policy,
            report=self._report,
            stop=self._stop,
            dead_letter=partial(self._keep_some, reader, sink),
            progressed=self._progressed,
            attend=lambda: self._endings.look(sink, self._now()),
        ).run()

    def _progressed(self) -> None:
        self._has_progress = True
        self._refused_run = 0

    def _loop(self, reader: Reader, sink: Sink, batching: BatchingPolicy) -> None:
        held, watchman = Gathering(batching), Watchman(sink, self._report, self._retry_policy.look_seconds)
        deferral = Deferral(
            reader=reader,
            sink=sink,
            report=self._report,
            retry_policy=self._retry_policy,
            now=self._now,
            write=partial(self._write, reader, sink),
            dead_letter=partial(self._to_dead_letters, reader, sink),
        )
        while not self._stop.is_set():
            reader.follow(self._report.grants.keys())
            self._endings.look(sink, self._now())
            watchman.look(self._now())
            deferral.tick()
            records_max, bytes_max = held.room
            poll_seconds = self._retry_policy.poll_seconds
            read = reader.batches(
                records_max=records_max,
                bytes_max=bytes_max,
                within_seconds=min(held.wait_seconds(self._now()), poll_seconds) if held else poll_seconds,
                pause_seconds=self._pause_seconds(),
            )
            watchman.tell(reader)
            if not read and not held:
                deferral.caught_up(has_partitions=reader.has_partitions)
                continue
            held.add(read, self._now())
            held.keep(reader.owns)
            if held and held.is_due(self._now()):
                deferral.deliver(held.take())

    # -- one delivery --------------------------------------------------------------------------------------------------

    def _write(self, reader: Reader, sink: Sink, batches: Sequence[Batch]) -> None:
        def write() -> Sequence[Batch]:
            # Partitions and grants may go while a target is unwell: what is no longer ours is not written.
            ours = [batch for batch in batches if reader.holds(batch)]
            if ours:
                sink.write(ours)
            return ours

        written = self._with_retries(reader, write, batches)
        for batch in written:
            # Invariant 1: the subscriber has it.
            reader.done(batch.topic, batch.partition, batch.next_offset)
        self._report.delivered(written)

    def _with_retries(
        self, reader: Reader, act: Callable[[], Sequence[Batch]], pending: Sequence[Batch]
    ) -> Sequence[Batch]:
        attempts = 0
        while True:
            try:
                done = act()
            except Transient as error:
                attempts += 1
                self._report.retried()
                self._report.behind(pending)
                wait = self._after_transient(error, attempts)
                reader.idle(self._jitter(wait), self._stop)
                reader.follow(self._report.grants.keys())
                if self._stop.is_set():
                    raise _StoppedError from None
            else:
                self._has_progress = True
                self._report.unpark()
                return done

    def _after_transient(self, error: Transient, attempts: int) -> float:
        if attempts >= self._retry_policy.parked_after_attempts:
            self._report.park(error.problem, error.fix)
        elif attempts == 1:
            logger.warning("%s: tries again: %s", self.group, error)
        return self._retry_policy.wait_seconds(error, attempts)

    def _to_dead_letters(self, reader: Reader, sink: Sink, batch: Batch, error: Rejected) -> None:
        if reader.holds(batch):
            self._keep_letter(reader, sink, batch, error)
            reader.done(batch.topic, batch.partition, batch.next_offset)

    def _keep_some(self, reader: Reader, sink: AnsweringSink, batch: Batch, error: Rejected) -> None:
        """A receiver that refuses everything is unwell, not a hundred changes."""
        self._refused_run += 1
        if self._refused_run > REFUSED_RUN_MAX:
            raise ContractBroken(
                self.group,
                f"its target refused {REFUSED_RUN_MAX} changes in a row, at last with {error.reason}",
                fix=f"mend the target, then `mesh dlq retry {self._report.grant_of(batch.topic)} --all`",
            )
        self._keep_letter(reader, sink, batch, error)

    def _keep_letter(self, reader: Reader, sink: Sink | AnsweringSink, batch: Batch, error: Rejected) -> None:
        """Return once the change is among the dead letters."""
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
            subscriber=self.setup.subscriber,
        )

        def keep() -> Sequence[Batch]:
            self._dead_letter(letter)  # Invariant 3: awaited before the offset moves.
            if isinstance(sink, OffsetKeeper):
                sink.skip(batch.topic, batch.partition, batch.next_offset)
            return [batch]

        self._with_retries(reader, keep, [batch])
        self._report.dead(batch, error)
