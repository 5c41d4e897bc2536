"""Task: one partition of the inbox, folded exactly once.

A batch's outputs, changed entries and input position are one transaction of the broker; the local store takes
the same entries afterwards. A task that fails anywhere is closed, and opening it again fences the former writer and reads back
what was committed: so nothing is lost and nothing happens twice, whatever was killed when (invariant 7).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from schemas.agreement.directory import FeedEntry
from schemas.change import Batch, Record
from schemas.errors import Transient
from schemas.feed import FLOW_INBOX, FLOW_STATE
from streams.engine.derived import DerivedFeed, Written
from streams.engine.division.division import ENTRY as DIVISION
from streams.engine.division.division import Division
from streams.engine.effects import Effects
from streams.engine.folding import Folding
from streams.engine.inbox.bundle import bundled, unbundled
from streams.engine.inbox.message import pack
from streams.engine.state import POSITION, Changelog, State, StateMemory, logged
from streams.operators.flow import Flow

PORTION_MESSAGES = 30_000
"""About how many messages make one transaction: a broker gives one a minute (schemas/log/transaction.py)."""


@dataclass(frozen=True, slots=True)
class TaskTopics:
    """Where the tasks read and keep their state: both topics have a partition for each task.

    Messages are sent to `partitions` of them; there may be more, which are about to take over their part. `begun` is with how many
    the flows began, if that was another number (streams/engine/division/division.py). `decisions` is where officers' are read, if
    they are.
    """

    partitions: int
    inbox: str = FLOW_INBOX
    state: str = FLOW_STATE
    begun: int = 0
    decisions: str = ""

    @property
    def roots(self) -> int:
        """With how many tasks the flows began: what goes to all is sent to these, which send it on."""
        return self.begun or self.partitions


class Writer(Protocol):
    """Writes a batch as one transaction (schemas/log/transaction.py)."""

    def write(self, records: Iterable[Written], last: Written) -> int:
        """Returns the offset of `last` once all is committed. Raises Transient: then it was aborted, or nobody knows."""
        ...

    def close(self) -> None:
        """Let go of the broker."""
        ...


@dataclass(slots=True)
class Summary:
    """What a batch came to.

    Messages to subjects taken per flow, row changes and their bytes per flow, feed and op (c, u, d), new queue items per flow
    and kind.
    """

    taken: dict[str, int] = field(default_factory=dict[str, int])
    emitted: dict[tuple[str, str, str], tuple[int, int]] = field(
        default_factory=dict[tuple[str, str, str], tuple[int, int]]
    )
    queued: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])

    def take(self, messages: Iterable[tuple[int, bytes, bytes]]) -> None:
        """Count messages to subjects."""
        flows = [key.partition(b"\0")[0] for _, key, _ in messages if not key.endswith(b"\0")]
        for flow, count in Counter(flows).items():
            self.taken[flow.decode()] = self.taken.get(flow.decode(), 0) + count


class Task:
    """An open task. Opening fences the former owner, then restores. Raises Transient."""

    def __init__(
        self,
        partition: int,
        topics: TaskTopics,
        flows: Sequence[Flow],
        folder: Path,
        changelog: Changelog,
        open_writer: Callable[[str], Writer],
        restored: Callable[[int, int, int], None],
        memory: StateMemory | None = None,
    ) -> None:
        self._partition = partition
        self._topics = topics
        self._derived: dict[str, DerivedFeed] = {}
        # First fence, then read: nothing may be added behind our back.
        self._writer = open_writer(f"{topics.inbox}-{partition}")
        try:
            self._state = State(
                folder / str(partition),
                partition,
                changelog,
                memory=memory,
                restored=lambda done, total: restored(partition, done, total),
            )
        except BaseException:
            self._writer.close()
            raise
        division = Division.of(self._state.get(DIVISION), partition, topics.roots, topics.partitions)
        self._folding = Folding(flows, self._state, division)
        self._feeds: Mapping[str, FeedEntry] | None = None
        self._position = self._state.position

    def handle(self, batch: Batch, feeds: Mapping[str, FeedEntry], alive: Callable[[], None] = lambda: None) -> Summary:
        """Fold a batch of the inbox; what was folded before is passed over. Raises Transient: close the task then.

        A tick or a truncate that concerns very many subjects takes several transactions; `alive` is called after each.
        """
        if feeds is not self._feeds:
            self._feeds, self._folding.feeds = feeds, frozenset(feeds)
        summary = Summary()
        for messages in _portions(record for record in batch.records if record.offset >= self._position):
            summary.take(messages)
            for effects, position in self._folding.apply(messages):
                last: Written = (self._topics.state, POSITION, pack(position), self._partition, None)
                offset = self._writer.write(self._records(effects, feeds, summary), last)
                self._state.take(effects.changes, position, offset)
                self._position = position
                for kind, count in effects.queued.items():
                    summary.queued[kind] = summary.queued.get(kind, 0) + count
                alive()
        return summary

    @property
    def routed(self) -> int:
        """By how many messages are sent, as far as it has heard."""
        return self._folding.division.routed

    def close(self) -> None:
        """Release the local store and the broker."""
        self._writer.close()
        self._state.close()

    def _records(self, effects: Effects, feeds: Mapping[str, FeedEntry], summary: Summary) -> Iterator[Written]:
        for change in effects.rows:
            entry = feeds.get(change.feed)
            if entry is None:
                raise Transient(
                    f"flow {change.flow} writes {change.feed}, which is not in the directory",
                    fix="onboard its folder: `mesh onboard <folder>`",
                )
            feed = self._derived.get(change.feed)
            if feed is None or feed.entry is not entry:
                feed = self._derived[change.feed] = DerivedFeed(entry)
            size_bytes = 0
            for record in feed.records(change):
                size_bytes += len(record[1] or b"") + len(record[2] or b"")
                yield record
            place = (change.flow, change.feed, change.op)
            count, former_bytes = summary.emitted.get(place, (0, 0))
            summary.emitted[place] = (count + 1, former_bytes + size_bytes)
        roots, onward = self._topics.roots, effects.onward
        yield from bundled(effects.messages, self._topics.inbox, self.routed, roots=roots, onward=onward)
        for key, value in logged(effects.changes):
            yield self._topics.state, key, value, self._partition, None


def _portions(records: Iterable[Record]) -> Iterator[Sequence[tuple[int, bytes, bytes]]]:
    """The messages in records, in parts that make a transaction each."""
    messages: list[tuple[int, bytes, bytes]] = []
    for record in records:
        messages += unbundled(record)
        if len(messages) >= PORTION_MESSAGES:
            yield messages
            messages = []
    if messages:
        yield messages
