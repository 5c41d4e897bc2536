"""Runner: what the worker of the flows does with a group of batches: feeds become messages, messages are folded.

The handle of a `streams.worker.app.StreamWorker` that reads the flows' input feeds and the inbox. Intake is durable before the group
is acknowledged, and each task's batch is one transaction, so a group that comes again changes nothing (invariants 1 and 7).

Event time moves by ticks alone: the newest event time seen by the intake, sent to every task, but never beyond the last
commit taken from a partition that holds more, be it read here or by another worker (streams/engine/time/clock.py). Evidence that
was committed in time is so judged in time, however far a worker is behind; and while a flow reads the past, its clock stands still.
Where rows tell of another time than that of their commits, "commit" reads "when the row was written, as it says" (Intake.reached).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import Protocol

from schemas.agreement.directory import Directory, FeedEntry
from schemas.change import Batch, Partition, Record
from schemas.errors import Rejected, Transient
from schemas.wire.envelope import unframe
from schemas.wire.schema import SchemaOf
from streams.egress.backfill import FLUSH_SECONDS
from streams.egress.route import Outlet
from streams.engine.arrival import TRUNCATE, Arrival, Arrived
from streams.engine.bundle import bundled
from streams.engine.intake import Intake, Outgoing, feeds_of
from streams.engine.message import HOLD, TICK, message_key, pack
from streams.engine.state import Changelog
from streams.engine.task import Summary, Task, Ways, Writer
from streams.engine.time.clock import Told, place_of
from streams.engine.time.past import Past, PastProgress, Replay, readers_of
from streams.engine.time.unfolded import Unfolded, is_near_end
from streams.operators.flow import Flow, in_use

MICROS = 1_000
"""In a millisecond."""
SNAPSHOT = ord("r")

_logger = logging.getLogger(__name__)


class RunnerObserver(Protocol):
    """What the runner tells whoever measures; called for what is durable."""

    def taken(self, flow: str, count: int) -> None:
        """Messages of a flow were folded."""
        ...

    def emitted(self, flow: str, feed: str, op: str, count: int, size_bytes: int) -> None:
        """Changes of one kind (c, u, d) were written to a derived feed; bytes of keys and values."""
        ...

    def queued(self, flow: str, kind: str, count: int) -> None:
        """New items are on a flow's queue."""
        ...

    def clock(self, flow: str, event_at: int) -> None:
        """A flow's event clock advanced to this time, microseconds."""
        ...

    def restored(self, partition: int, done: int, total: int) -> None:
        """How far a task's state is read back, in changelog records."""
        ...


class Runner:
    """`handle` and `idle` are called by one thread, never at once.

    `open_writer` opens and fences a task's transactional writer; `data_dir` is this worker's own. `alive`, set by
    whoever watches, is called while long work gets on.
    `is_replay`: rows tell of another time than that of their commits (see Intake). `now` is the time of day, seconds since 1970.
    `progress` keeps which flows have the past of which partitions, and `replay` reads it (streams/engine/time/past.py).
    """

    def __init__(
        self,
        *,
        flows: Sequence[Flow],
        directory: Callable[[], Directory],
        schema_of: SchemaOf,
        open_outlet: Callable[[], Outlet],
        open_writer: Callable[[str], Writer],
        changelog: Changelog,
        ways: Ways,
        data_dir: Path,
        progress: PastProgress,
        replay: Replay,
        observer: RunnerObserver,
        is_replay: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._now = now
        self._flows = flows
        self._readers: Mapping[str, Sequence[Flow]] = {}
        self._intakes = {flow.name: Intake(flow, is_replay=is_replay) for flow in flows}
        self._is_replay = is_replay
        self._stirred: set[str] = set()
        """Flows that were told something since their last tick: subjects that are folded at ticks wait for the next."""
        self._ticked = dict.fromkeys(self._intakes, 0)
        self._told = Told()
        self._heard: dict[Partition, int] = {}
        """By partition, the commit that its last record told of, milliseconds; for the inbox, when that was written."""
        self._reached: dict[tuple[str, Partition], int | None] = {}
        """By flow and partition, where a past is replayed: how far on its calendar the last record came (Intake.reached)."""
        self._unfolded = Unfolded()
        self._directory = directory
        self._open_outlet = open_outlet
        self._open_writer = open_writer
        self._changelog = changelog
        self._ways = ways
        self._data_dir = data_dir
        self._observer = observer
        self.alive: Callable[[], None] = lambda: None
        self._schema_of = schema_of
        self._arrivals: dict[tuple[str, bytes], Arrival] = {}
        self._tasks: dict[int, Task] = {}
        self._outlet: Outlet | None = None
        self._seen: Directory | None = None
        self._past = Past({}, progress, replay)

    def topics(self) -> frozenset[str]:
        """What the worker is to read: the inbox, and the input feeds that are onboarded."""
        directory = self._directory()
        read = feeds_of(in_use(self._flows, directory))
        return frozenset({self._ways.inbox, *(feed for feed in read if feed in directory.feeds)})

    def handle(self, batches: Sequence[Batch]) -> None:
        """Take a group to its effects. Raises Transient: the same group comes again."""
        directory = self._known()
        feeds = [batch for batch in batches if batch.topic != self._ways.inbox]
        if feeds:
            for batch in feeds:
                self._past.begin((batch.topic, batch.partition), batch.records[0].offset)
            self._send([message for batch in feeds for message in self._intake(batch, directory)])
        for batch in batches:
            if batch.topic == self._ways.inbox:
                self.alive()
                self._report(self._fold(batch, directory))
                self._unfolded.folded(self._now())
                self._heard[batch.topic, batch.partition] = batch.records[-1].timestamp_ms

    def idle(self, positions: Mapping[Partition, int], behind: Set[Partition]) -> None:
        """About once a second: let go of tasks that are no longer ours, and bring the clocks up to date."""
        for partition in [number for number in self._tasks if (self._ways.inbox, number) not in positions]:
            self._tasks.pop(partition).close()
        self._take_past({place: offset for place, offset in positions.items() if place[0] != self._ways.inbox})
        if self._is_replay:
            inboxes = [place for place in positions if place[0] == self._ways.inbox]
            self._unfolded.read(inboxes, self._intakes, self._now())
        self._heard = {place: moment for place, moment in self._heard.items() if place in positions}
        self._reached = {key: moment for key, moment in self._reached.items() if key[1] in positions}
        try:
            self._send(self._times(positions, behind))
        except BaseException:
            self._told.forget()
            raise

    def close(self) -> None:
        """Release every task."""
        while self._tasks:
            self._tasks.popitem()[1].close()

    def _known(self) -> Directory:
        """The directory as it is now; which flows read what changes with it."""
        directory = self._directory()
        if directory is not self._seen:
            self._arrivals.clear()
            self._readers = feeds_of(in_use(self._flows, directory))
            self._past.readers = readers_of(self._readers)
            self._seen = directory
        return directory

    # ── intake ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _take_past(self, positions: Mapping[tuple[str, int], int]) -> None:
        """A slice of what flows missed that came later than their feeds."""
        directory = self._known()
        self._past.keep_only(positions.keys())
        try:
            for place, offset in positions.items():
                if place[0] in self._readers:
                    self._past.begin(place, offset)
            for batch, flows in self._past.slices():
                if self._is_replay:
                    self._unfolded.take(*flows)
                self._send(self._intake(batch, directory, flows))
        except BaseException:
            self._past.restart()
            raise
        self._past.settle()

    def _intake(self, batch: Batch, directory: Directory, only: frozenset[str] | None = None) -> list[Outgoing]:
        """What a batch means to the flows that read its feed, or to `only` some of them."""
        entry = directory.feeds.get(batch.topic)
        if entry is None:
            if directory.left("feed", batch.topic):
                return []
            raise Transient(f"feed {batch.topic} has records but is not in the directory", fix="onboard it")
        messages: list[Outgoing] = []
        readers = (flow.name for flow in self._readers.get(batch.topic, ()))
        intakes = [self._intakes[name] for name in readers if only is None or name in only]
        contract = entry.contract
        for record in batch.records:
            arrived = self._arrived(record, entry)
            if arrived is None:
                continue
            op, before, after, position, committed_at_ms = arrived
            self._heard[batch.topic, batch.partition] = committed_at_ms
            for intake in intakes:
                if op == TRUNCATE:
                    messages.append(intake.gone(batch.topic, position))
                else:
                    messages += intake.facts(contract, before, after, position, committed_at_ms)
                    if self._is_replay:  # a table is copied in the order of its rows, not of their being written
                        reached = 0 if op == SNAPSHOT and intake.reached is not None else intake.reached
                        self._reached[intake.name, (batch.topic, batch.partition)] = reached
                        if op == SNAPSHOT:
                            self._unfolded.take(intake.name)
        return messages

    def _arrived(self, record: Record, entry: FeedEntry) -> Arrived | None:
        """What a record says; None for a tombstone, and for what the stream hop has put with the dead letters."""
        value = record.value
        if value is None:
            return None
        try:
            place = (entry.feed, value[:5])
            arrival = self._arrivals.get(place)
            if arrival is None:
                arrival = self._arrivals[place] = Arrival(unframe(value)[0], entry, self._schema_of)
            return arrival.take(value)
        except (Rejected, IndexError, UnicodeDecodeError):
            return None

    def _times(self, positions: Mapping[Partition, int], behind: Set[Partition]) -> list[Outgoing]:
        """By flow: how far time may go because of the partitions that are read here, as far as that is news; clocks that advanced."""
        messages: list[Outgoing] = []
        lacking_past = self._past.behind()
        unread = [place for place in behind if place[0] == self._ways.inbox]
        self._told.begin(time.monotonic())
        self._unfolded.look(unread, self._heard, self._now())
        for name, intake in self._intakes.items():
            key = message_key(name, "")
            bounds = self._bounds(intake, positions.keys() | behind, behind, lacking_past.get(name, frozenset()))
            if news := self._told.news(name, bounds):
                messages.append(Outgoing(key, pack([HOLD, news])))
            clock = min([intake.clock, *(bound for bound in bounds.values() if bound is not None)])
            last = self._ticked[name]
            # Once nothing comes any more, what came after the last tick is owed one, though the time is still the same.
            is_owed = last > 0 and name in self._stirred and not unread
            if (clock > last or is_owed) and name not in lacking_past:
                clock = self._ticked[name] = max(clock, last)
                self._stirred.discard(name)
                self._observer.clock(name, clock)
                messages.append(Outgoing(key, pack([TICK, clock])))
        return messages

    def _bounds(
        self, intake: Intake, places: Set[Partition], behind: Set[Partition], lacking: Set[Partition]
    ) -> Mapping[str, int | None]:
        """How far a flow's time may go because of each partition that it reads, microseconds; None: as far as it likes."""
        read, bounds = self._read_by(intake), dict[str, int | None]()
        for place in places:
            feed, partition = place
            if feed in read:
                bound = self._bound(intake, place, is_behind=place in behind)
                bounds[place_of("" if feed == self._ways.inbox else feed, partition)] = 0 if place in lacking else bound
        return bounds

    def _read_by(self, intake: Intake) -> Set[str]:
        """The topics whose records may be evidence for the flow."""
        return {self._ways.inbox, *intake.feeds}

    def _bound(self, intake: Intake, place: Partition, *, is_behind: bool) -> int | None:
        """How far a flow's time may go, where a partition holds more, because of what was heard of it; None: as far as it likes."""
        if not self._is_replay:
            return self._heard.get(place, 0) * MICROS if is_behind else None
        if place[0] == self._ways.inbox:
            return 0 if intake.name in self._unfolded else None
        is_read = not is_behind or is_near_end(self._heard.get(place, 0), self._now())
        return None if is_read else self._reached.get((intake.name, place), 0)

    def _send(self, messages: Sequence[Outgoing]) -> None:
        if not messages:
            return
        outlet = self._outlet = self._outlet or self._open_outlet()
        try:
            append = outlet.append
            for topic, key, value, partition, _ in bundled(messages, self._ways.inbox, self._ways.partitions):
                append(topic, key, value, partition=partition, headers=None)
            outlet.flush(FLUSH_SECONDS)
            self._unfolded.sent(self._now())
        except BaseException:
            self._outlet = None  # a lane that failed stays so
            outlet.settle(FLUSH_SECONDS)
            raise

    # ── folding ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _fold(self, batch: Batch, directory: Directory) -> Summary:
        try:
            task = self._tasks.get(batch.partition)
            if task is None:
                task = self._tasks[batch.partition] = Task(
                    batch.partition,
                    self._ways,
                    self._flows,
                    self._data_dir,
                    self._changelog,
                    self._open_writer,
                    self._restored,
                )
            return task.handle(batch, directory.feeds, self.alive)
        except BaseException:
            if (failed := self._tasks.pop(batch.partition, None)) is not None:
                failed.close()
            raise

    def _restored(self, partition: int, done: int, total: int) -> None:
        self.alive()
        self._observer.restored(partition, done, total)

    def _report(self, summary: Summary) -> None:
        self._stirred |= summary.taken.keys()
        for flow, count in summary.taken.items():
            self._observer.taken(flow, count)
        for (flow, feed, op), (count, size_bytes) in summary.emitted.items():
            self._observer.emitted(flow, feed, op, count, size_bytes)
        for (flow, kind), count in summary.queued.items():
            self._observer.queued(flow, kind, count)
