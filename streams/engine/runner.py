"""Runner: what the worker of the flows does with a group of batches: feeds become messages, messages are folded.

The handle of a `streams.worker.app.StreamWorker` that reads the flows' input feeds and the inbox. Intake is durable before the group
is acknowledged, and each task's batch is one transaction, so a group that comes again changes nothing (invariants 1 and 7). How event
time moves meanwhile is in streams/engine/time/watermark.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from schemas.agreement.directory import Directory, FeedEntry
from schemas.change import Batch, Partition, Record
from schemas.errors import Rejected, Transient
from schemas.wire.envelope import unframe
from schemas.wire.schema import SchemaOf
from streams.egress.backfill import FLUSH_SECONDS
from streams.egress.route import Outlet
from streams.engine.inbox.arrival import TRUNCATE, Arrival, Arrived
from streams.engine.inbox.bundle import bundled
from streams.engine.inbox.decisions import decisions
from streams.engine.inbox.intake import Intake, Outgoing, feeds_of
from streams.engine.state import Changelog, StateMemory
from streams.engine.task import Summary, Task, TaskTopics, Writer
from streams.engine.tasks import Tasks
from streams.engine.time.past import Past, PastProgress, Replay, readers_of
from streams.engine.time.watermark import Watermarks
from streams.operators.flow import Flow, in_use

SNAPSHOT = ord("r")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerSetting:
    """What a runner works with.

    `open_writer` opens and fences a task's transactional writer; `data_dir` is this worker's own. `progress` keeps which flows have
    the past of which partitions, and `replay` reads it (streams/engine/time/past.py). `is_replay`: rows tell of another time than
    that of their commits (see Intake). `now` is the time of day, seconds since 1970.
    """

    flows: Sequence[Flow]
    topics: TaskTopics
    data_dir: Path
    directory: Callable[[], Directory]
    schema_of: SchemaOf
    open_outlet: Callable[[], Outlet]
    open_writer: Callable[[str], Writer]
    changelog: Changelog
    progress: PastProgress
    replay: Replay
    observer: RunnerObserver
    is_replay: bool = False
    memory: StateMemory = field(default_factory=StateMemory)
    now: Callable[[], float] = time.time


class Runner:
    """`handle` and `idle` are called by one thread, never at once.

    `alive`, set by whoever watches, is called while long work gets on.
    """

    def __init__(self, setting: RunnerSetting) -> None:
        self._flows = setting.flows
        self._topics = setting.topics
        self._directory = setting.directory
        self._schema_of = setting.schema_of
        self._open_outlet = setting.open_outlet
        self._observer = setting.observer
        self._is_replay = setting.is_replay
        self.alive: Callable[[], None] = lambda: None
        self._intakes = {flow.name: Intake(flow, is_replay=setting.is_replay) for flow in setting.flows}
        self._watermarks = Watermarks(self._intakes, setting.topics.inbox, is_replay=setting.is_replay, now=setting.now)
        open_task = partial(
            Task,
            topics=setting.topics,
            flows=setting.flows,
            folder=setting.data_dir,
            changelog=setting.changelog,
            open_writer=setting.open_writer,
            restored=self._restored,
            memory=setting.memory,
        )
        self._tasks = Tasks(setting.topics, open_task)
        self._past = Past({}, setting.progress, setting.replay)
        self._readers: Mapping[str, Sequence[Flow]] = {}
        self._arrivals: dict[tuple[str, bytes], Arrival] = {}
        self._outlet: Outlet | None = None
        self._seen: Directory | None = None

    def topics(self) -> frozenset[str]:
        """What the worker is to read: the inbox, the input feeds that are onboarded, and what officers decide."""
        directory = self._directory()
        read = feeds_of(in_use(self._flows, directory))
        own = filter(None, (self._topics.inbox, self._topics.decisions))
        return frozenset({*own, *(feed for feed in read if feed in directory.feeds)})

    def handle(self, batches: Sequence[Batch]) -> None:
        """Take a group to its effects. Raises Transient: the same group comes again."""
        directory = self._known()
        own = {self._topics.inbox, self._topics.decisions}
        feeds = [batch for batch in batches if batch.topic not in own]
        if feeds:
            for batch in feeds:
                self._past.begin((batch.topic, batch.partition), batch.records[0].offset)
            self._send([message for batch in feeds for message in self._intake(batch, directory)])
        for batch in batches:
            if batch.topic == self._topics.decisions:
                used = {flow.name: flow for flow in in_use(self._flows, directory)}
                self._send([*decisions(batch.records, used)])
        for batch in batches:
            if batch.topic == self._topics.inbox:
                self.alive()
                summary = self._tasks.fold(batch, directory.feeds, self.alive)
                self._report(summary)
                place, written_at_ms = (batch.topic, batch.partition), batch.records[-1].timestamp_ms
                self._watermarks.folded(place, written_at_ms, summary.taken.keys())

    def idle(self, positions: Mapping[Partition, int], behind: Set[Partition]) -> None:
        """About once a second: let go of tasks that are no longer ours, and bring the clocks up to date."""
        self._tasks.keep_only(positions.keys())
        self._take_past({place: offset for place, offset in positions.items() if place[0] != self._topics.inbox})
        self._watermarks.keep_only(positions.keys())
        lacking = self._past.behind()
        try:
            self._send([*self._watermarks.messages(positions.keys(), behind, lacking, self._observer.clock)])
        except BaseException:
            self._watermarks.forget()
            raise

    def close(self) -> None:
        """Release every task."""
        self._tasks.close()

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
                self._watermarks.copied(flows)
                self._send(self._intake(batch, directory, flows))
        except BaseException:
            self._past.restart()
            raise
        self._past.settle()

    def _intake(self, batch: Batch, directory: Directory, only: frozenset[str] | None = None) -> list[Outgoing]:
        """What a batch means to the flows that read its feed, or to `only` some of them."""
        self.alive()
        entry = directory.feeds.get(batch.topic)
        if entry is None:
            if directory.left("feed", batch.topic):
                return []
            raise Transient(f"feed {batch.topic} has records but is not in the directory", fix="onboard it")
        messages: list[Outgoing] = []
        readers = (flow.name for flow in self._readers.get(batch.topic, ()))
        intakes = [self._intakes[name] for name in readers if only is None or name in only]
        contract, place = entry.contract, (batch.topic, batch.partition)
        for record in batch.records:
            arrived = self._arrived(record, entry)
            if arrived is None:
                continue
            op, before, after, position, committed_at_ms = arrived
            self._watermarks.heard(place, committed_at_ms)
            for intake in intakes:
                if op == TRUNCATE:
                    messages.append(intake.gone(batch.topic, position))
                    continue
                messages += intake.facts(contract, before, after, position, committed_at_ms)
                if self._is_replay:
                    self._watermarks.reached(intake.name, place, intake.reached, is_copied=op == SNAPSHOT)
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

    def _send(self, messages: Sequence[Outgoing]) -> None:
        if not messages:
            return
        outlet = self._outlet = self._outlet or self._open_outlet()
        try:
            append = outlet.append
            topics, routed = self._topics, self._tasks.routed
            for topic, key, value, partition, _ in bundled(messages, topics.inbox, routed, roots=topics.roots):
                append(topic, key, value, partition=partition, headers=None)
            outlet.flush(FLUSH_SECONDS)
            self._watermarks.sent()
        except BaseException:
            self._outlet = None  # a lane that failed stays so
            outlet.settle(FLUSH_SECONDS)
            raise

    # ── what is told ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _restored(self, partition: int, done: int, total: int) -> None:
        self.alive()
        self._observer.restored(partition, done, total)

    def _report(self, summary: Summary) -> None:
        for flow, count in summary.taken.items():
            self._observer.taken(flow, count)
        for (flow, feed, op), (count, size_bytes) in summary.emitted.items():
            self._observer.emitted(flow, feed, op, count, size_bytes)
        for (flow, kind), count in summary.queued.items():
            self._observer.queued(flow, kind, count)
