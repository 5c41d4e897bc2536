"""Lane: delivers one subscriber's grants through one of its sinks: read, write, be sure, confirm.

A lane has its own thread, consumer group, memory bound and retries, so one subscriber's trouble is not another's (invariant 8). What
an error means for it:

| error                          | the lane                                                                                     |
|--------------------------------|----------------------------------------------------------------------------------------------|
| Transient                      | stays in its group and tries again, ever more slowly; counts as parked after a while          |
| Rejected                       | halves the records until the bad one is alone; that one goes to the dead letters, the rest on |
| Rejected a hundred times in a row | parks: a target that refuses everything is unwell, not a hundred changes                   |
| ContractBroken, Misconfigured  | parks, and starts afresh now and then, so that it heals by itself once a person mended it     |
| Fenced                         | starts afresh: joins its group again                                                          |
| anything else                  | parks and starts afresh a few times; nothing was confirmed. The process and the other lanes go on |

The last row departs from "anything else crashes the process": the process holds every subscriber's lane, and a record that trips
our code for one would stop all of them again and again.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.change import Batch, Record
from schemas.dead_letter import DeadLetter
from schemas.envelope import unframe
from schemas.errors import ContractBroken, MeshError, Rejected, Transient
from schemas.incident import Incidents
from sinks.envelope_walk import Moment, moment_reader
from sinks.reader import Reader
from sinks.run import halves, joined, size_of
from sinks.sink import Fenced, OffsetKeeper, Pace, Sink, SinkKind, SinkSetup

logger = logging.getLogger(__name__)

SAMPLE_MAX = 32
REFUSED_RUN_MAX = 100


class DeliveryObserver(Protocol):
    """What delivery tells whoever measures it. Called from every lane's thread."""

    def delivered(self, *, grant_id: str, count: int, size_bytes: int, latencies_seconds: Sequence[float]) -> None:
        """Durable at the subscriber. The latencies, commit to acknowledgement, are of a sample; snapshot rows have none."""
        ...

    def dead(self, *, grant_id: str, reason: str, count: int) -> None:
        """Gone to the dead letters."""
        ...

    def retried(self, *, subscriber: str, sink: str) -> None:
        """One more attempt was needed."""
        ...

    def lag(self, *, grant_id: str, seconds: float) -> None:
        """Age of the oldest change that is not yet durable; 0 when there is none."""
        ...

    def parked(self, *, subscriber: str, sink: str, is_parked: bool) -> None:
        """Whether the lane waits for a person, or for its target to come back."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How a lane waits. Waits between attempts double from the first to the longest."""

    first_seconds: float = 0.2
    longest_seconds: float = 30.0
    parked_after_attempts: int = 5
    parked_seconds: float = 30.0
    restarts_max: int = 5
    poll_seconds: float = 0.2


class _StoppedError(Exception):
    """The lane was told to stop while it waited."""


class Lane:
    """One subscriber's deliveries through one sink.

    `now` gives Unix seconds; `jitter` spreads a wait; `pause_seconds` is how long a few records wait for company.
    """

    def __init__(
        self,
        *,
        setup: SinkSetup,
        kind: SinkKind,
        bootstrap: str,
        dead_letter: Callable[[DeadLetter], None],
        observer: DeliveryObserver,
        now: Callable[[], float],
        jitter: Callable[[float], float],
        patience: Patience,
        reader_settings: Mapping[str, str],
        pause_seconds: Callable[[], float],
        incidents: Incidents,
    ) -> None:
        self.setup = setup
        self._kind = kind
        self._bootstrap = bootstrap
        self._dead_letter = dead_letter
        self._observer = observer
        self._now = now
        self._jitter = jitter
        self._patience = patience
        self._reader_settings = reader_settings
        self._pause_seconds = pause_seconds
        self._incidents = incidents
        self._grants: Mapping[str, str] = {}
        self._stop = threading.Event()
        self._moments: dict[int, Callable[[bytes], Moment]] = {}
        self._is_parked = False
        self._refused_run = 0
        self._has_progress = False
        self._idle_reported_at = 0.0
        name = f"lane {setup.subscriber}.{setup.sink.name}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def name(self) -> str:
        """The sink's name among incidents."""
        return f"{self.setup.subscriber}.{self.setup.sink.name}"

    @property
    def group(self) -> str:
        """The consumer group."""
        return f"sub.{self.setup.subscriber}.{self.setup.sink.name}"

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def follow(self, grants: Mapping[str, str]) -> None:
        """Deliver exactly these grants from now on: `out` topic to grant id (invariant 6)."""
        self._grants = dict(grants)

    def stop(self) -> None:
        """Ask the lane to end after the write it is in."""
        self._stop.set()

    def join(self, within_seconds: float) -> bool:
        """Whether the lane has ended in time."""
        self._thread.join(within_seconds)
        return not self._thread.is_alive()

    # -- lives ---------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._incidents.end("sink", self.name)
        self._observer.parked(subscriber=self.setup.subscriber, sink=self.setup.sink.name, is_parked=False)
        failures = crashes = 0
        while not self._stop.is_set():
            self._has_progress = False
            wait = self._patience.parked_seconds
            try:
                self._live()
            except _StoppedError:
                break
            except Fenced as error:
                logger.warning("%s: starts afresh: %s", self.group, error)
                wait = self._patience.first_seconds
            except Transient as error:
                failures = 1 if self._has_progress else failures + 1
                wait = self._after_transient(error, failures)
            except MeshError as error:
                self._park(error.problem, error.fix)
            except Exception as error:  # noqa: BLE001 -- the last row of the table above
                crashes = 1 if self._has_progress else crashes + 1
                place = traceback.extract_tb(error.__traceback__)[-1]
                # Its text may quote a row: name the kind and the place only.
                self._park(f"unexpected {type(error).__name__} at {place.filename}:{place.lineno}, {crashes} in a row")
                if crashes > self._patience.restarts_max:
                    logger.critical("%s: stays parked until the process restarts or the sink changes", self.group)
                    self._stop.wait()
            else:
                break
            self._stop.wait(self._jitter(wait))

    def _live(self) -> None:
        sink = self._kind.build(self.setup)
        try:
            starts_of = sink.start_offsets if isinstance(sink, OffsetKeeper) else None
            reader = Reader(
                self._bootstrap,
                self.group,
                starts_of=starts_of,
                has_headers=self._kind.reads_headers,
                extra=self._reader_settings,
            )
            try:
                self._loop(reader, sink, self._kind.pace(self.setup))
            finally:
                reader.close()
        finally:
            sink.close()

    def _loop(self, reader: Reader, sink: Sink, pace: Pace) -> None:
        held: list[Batch] = []
        opened_at = 0.0
        while not self._stop.is_set():
            reader.follow(self._grants.keys())
            count = sum(len(batch.records) for batch in held)
            size = sum(size_of(batch) for batch in held)
            read = reader.batches(
                records_max=max(1, pace.records_max - count),
                bytes_max=max(1, pace.bytes_max - size),
                within_seconds=self._wait_seconds(pace, opened_at) if held else self._patience.poll_seconds,
                pause_seconds=self._pause_seconds(),
            )
            if not read and not held:
                self._caught_up(reader)
                continue
            if not held:
                opened_at = self._now()
            held = [batch for batch in joined([*held, *read]) if reader.holds(batch)]
            is_full = sum(len(batch.records) for batch in held) >= pace.records_max
            is_full = is_full or (pace.linger_seconds > 0 and sum(map(size_of, held)) >= pace.bytes_max)
            if is_full or self._now() - opened_at >= pace.linger_seconds:
                self._deliver(reader, sink, held)
                held = []

    def _wait_seconds(self, pace: Pace, opened_at: float) -> float:
        left = opened_at + pace.linger_seconds - self._now()
        return max(0.0, min(left, self._patience.poll_seconds))

    # -- one delivery --------------------------------------------------------------------------------------------------

    def _deliver(self, reader: Reader, sink: Sink, batches: Sequence[Batch]) -> None:
        try:
            self._write(reader, sink, batches)
        except Rejected as error:
            self._bisect(reader, sink, batches, error)

    def _write(self, reader: Reader, sink: Sink, batches: Sequence[Batch]) -> None:
        def write() -> Sequence[Batch]:
            # Partitions and grants may go while a target is unwell: what is no longer ours is not written.
            ours = [batch for batch in batches if reader.holds(batch)]
            if ours:
                sink.write(ours)
            return ours

        written = self._patiently(reader, write, batches)
        self._refused_run = 0
        for batch in written:
            # Invariant 1: the subscriber has it.
            reader.done(batch.topic, batch.partition, batch.next_offset)
        self._report(written)

    def _patiently(
        self, reader: Reader, act: Callable[[], Sequence[Batch]], pending: Sequence[Batch]
    ) -> Sequence[Batch]:
        attempts = 0
        while True:
            try:
                done = act()
            except Transient as error:
                attempts += 1
                self._observer.retried(subscriber=self.setup.subscriber, sink=self.setup.sink.name)
                self._report_waiting(pending)
                wait = self._after_transient(error, attempts)
                reader.idle(self._jitter(wait), self._stop)
                reader.follow(self._grants.keys())
                if self._stop.is_set():
                    raise _StoppedError from None
            else:
                self._has_progress = True
                self._unpark()
                return done

    def _after_transient(self, error: Transient, attempts: int) -> float:
        if attempts >= self._patience.parked_after_attempts:
            self._park(error.problem, error.fix)
        elif attempts == 1:
            logger.warning("%s: tries again: %s", self.group, error)
        backoff = min(self._patience.longest_seconds, self._patience.first_seconds * 2 ** min(attempts - 1, 20))
        return error.retry_after_seconds if error.retry_after_seconds is not None else backoff

    def _bisect(self, reader: Reader, sink: Sink, batches: Sequence[Batch], error: Rejected) -> None:
        """Halve until the bad record is alone (SK-08). Halves go in order, so order holds per key (invariant 4)."""
        if len(batches) == 1 and len(batches[0].records) == 1:
            self._bury(reader, sink, batches[0], error)
            return
        for half in halves(batches):
            try:
                self._write(reader, sink, half)
            except Rejected as worse:
                self._bisect(reader, sink, half, worse)

    def _bury(self, reader: Reader, sink: Sink, batch: Batch, error: Rejected) -> None:
        if not reader.holds(batch):
            return
        self._refused_run += 1
        if self._refused_run > REFUSED_RUN_MAX:
            raise ContractBroken(
                self.group,
                f"its target refused {REFUSED_RUN_MAX} changes in a row, at last with {error.reason}",
                fix="mend the target, then `mesh replay` the dead letters",
            )
        record = batch.records[0]
        moment = self._moment(record)
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

        def bury() -> Sequence[Batch]:
            self._dead_letter(letter)  # Invariant 3: awaited before the offset moves.
            if isinstance(sink, OffsetKeeper):
                sink.skip(batch.topic, batch.partition, batch.next_offset)
            return [batch]

        self._patiently(reader, bury, [batch])
        reader.done(batch.topic, batch.partition, batch.next_offset)
        grant_id = self._grants.get(batch.topic, batch.topic)
        self._observer.dead(grant_id=grant_id, reason=error.reason, count=1)
        logger.warning(
            "%s: %s [%d] %d is a dead letter: %s", self.group, batch.topic, batch.partition, record.offset, error.reason
        )

    # -- what others see -----------------------------------------------------------------------------------------------

    def _park(self, why: str, fix: str = "") -> None:
        self._incidents.begin("sink", self.name, state="parked", reason=why, fix=fix)
        if not self._is_parked:
            self._is_parked = True
            logger.error("%s: parked: %s%s", self.group, why, f"\n  fix: {fix}" if fix else "")
            self._observer.parked(subscriber=self.setup.subscriber, sink=self.setup.sink.name, is_parked=True)

    def _unpark(self) -> None:
        if self._is_parked:
            self._is_parked = False
            logger.info("%s: delivers again", self.group)
            self._incidents.end("sink", self.name)
            self._observer.parked(subscriber=self.setup.subscriber, sink=self.setup.sink.name, is_parked=False)

    def _report(self, batches: Sequence[Batch]) -> None:
        now = self._now()
        by_topic: dict[str, list[Batch]] = {}
        for batch in batches:
            by_topic.setdefault(batch.topic, []).append(batch)
        for topic, of_topic in by_topic.items():
            changes = [record for batch in of_topic for record in batch.records if record.value is not None]
            if not changes:
                continue
            step = -(-len(changes) // SAMPLE_MAX)
            moments = [moment for record in changes[::step] if (moment := self._moment(record)) is not None]
            latencies = [max(0.0, now - moment.committed_at_ms / 1000) for moment in moments if moment.op != b"r"]
            grant_id = self._grants.get(topic, topic.removeprefix("out."))
            size = sum(len(record.value or b"") + len(record.key or b"") for record in changes)
            self._observer.delivered(
                grant_id=grant_id, count=len(changes), size_bytes=size, latencies_seconds=latencies
            )
            if latencies:
                self._observer.lag(grant_id=grant_id, seconds=latencies[-1])

    def _report_waiting(self, batches: Sequence[Batch]) -> None:
        now = self._now()
        for batch in batches:
            first = next((record for record in batch.records if record.value is not None), None)
            if first is not None and (moment := self._moment(first)) is not None:
                grant_id = self._grants.get(batch.topic, batch.topic.removeprefix("out."))
                self._observer.lag(grant_id=grant_id, seconds=max(0.0, now - moment.committed_at_ms / 1000))

    def _caught_up(self, reader: Reader) -> None:
        if reader.has_partitions and self._is_parked:
            self._unpark()  # it could start, and there is nothing to deliver
        if (now := self._now()) - self._idle_reported_at >= 1:
            self._idle_reported_at = now
            for grant_id in self._grants.values():
                self._observer.lag(grant_id=grant_id, seconds=0.0)

    def _moment(self, record: Record) -> Moment | None:
        try:
            schema_id = unframe(record.value or b"")[0]
            read = self._moments.get(schema_id)
            if read is None:
                read = self._moments[schema_id] = moment_reader(self.setup.schema_of(schema_id))
            return read(record.value or b"")
        except (Rejected, Transient, KeyError):
            return None  # a record that cannot be read has no time; its fate is told elsewhere
