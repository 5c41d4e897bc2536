"""Source: what capture asks of a kind of database, and what it keeps of one between two runs.

A source reads committed changes in order and hands them on as batches of ready-made records. Capture appends them to the
log, and tells the source by `confirm` which marks are durable: only those may the source confirm upstream (invariant 1).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from schemas.agreement.agency import Agency, SourceConfig
from schemas.agreement.anchor import Anchor
from schemas.agreement.directory import FeedEntry
from schemas.change import Partition
from schemas.errors import Transient
from schemas.form import read
from schemas.guard.entrance import LOOPBACK_ALONE, Entrance
from schemas.incident import Incidents, MemoryIncidents
from schemas.log.lane import Outgoing
from schemas.log.writer import LogSetting

_Options = TypeVar("_Options")

TRUNCATE_KEY = b""
"""The key of a truncate: compacted topics refuse null keys, and an empty one reads as no key (KF-08)."""

Feeds = Callable[[], Mapping[str, FeedEntry]]
"""The feeds that a source is to capture now. The same object as last time says that nothing has changed."""


class StandingBy(Transient):
    """Another process captures the source; this one takes over when that ends. Nothing is unwell."""


@dataclass(slots=True)
class FeedTally:
    """What happened to one feed by one operation within a batch."""

    count: int = 0
    size_bytes: int = 0


@dataclass(slots=True)
class SourceBatch:
    """A run of records in source order, and what may be confirmed once they are durable.

    `marks` pairs a number of leading records of this batch with a token: when so many are durable, and all of earlier
    batches, the token goes to `Source.confirm`. `tallies` counts by (feed, operation), `rejected` by (feed, reason);
    `committed_at_ms` is the newest commit's time, None when the batch has none.
    """

    records: list[Outgoing] = field(default_factory=list[Outgoing])
    marks: list[tuple[int, Any]] = field(default_factory=list[tuple[int, Any]])
    tallies: dict[tuple[str, str], FeedTally] = field(default_factory=dict[tuple[str, str], FeedTally])
    rejected: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    committed_at_ms: int | None = None

    def count(self, feed: str, op: str, count: int, size_bytes: int) -> None:
        """Add to a tally."""
        tally = self.tallies.setdefault((feed, op), FeedTally())
        tally.count += count
        tally.size_bytes += size_bytes

    def reject(self, feed: str, reason: str, count: int = 1) -> None:
        """Count rows that went to the dead letters."""
        self.rejected[feed, reason] = self.rejected.get((feed, reason), 0) + count

    def add_counts(self, other: SourceBatch) -> None:
        """Add the tallies and rejections of another batch."""
        for (feed, op), tally in other.tallies.items():
            self.count(feed, op, tally.count, tally.size_bytes)
        for (feed, reason), count in other.rejected.items():
            self.reject(feed, reason, count)


class Source(Protocol):
    """One open source. Used by one thread; after any error it is closed and opened anew.

    One whose `copies_returning_feeds` is true may be left without a feed for a while: it copies a feed that comes back.
    """

    def batches(self) -> Iterator[SourceBatch]:
        """Batches without end, empty ones while nothing happens (at least every half second).

        Ends when the source is to be opened anew. Raises Transient when the database cannot be reached, ContractBroken or
        Misconfigured when a person must decide.
        """
        ...

    def confirm(self, mark: Any) -> None:
        """Take note that everything up to this mark is durable; the source tells the database when it sees fit."""
        ...

    def close(self) -> None:
        """Say goodbye: store and send what is confirmed, release connections. Never raises."""
        ...


class CaptureLedger(Protocol):
    """Where capture accounts for what it writes (schemas/ledger/book.py). Never raises."""

    def renew(self, places: Iterable[Partition]) -> None:
        """We write to these partitions from now on, and nobody else."""
        ...

    def share(self, topic: str) -> None:
        """Processes of ours write to the topic until `unshare`."""
        ...

    def unshare(self, topic: str, partitions: int) -> None:
        """They have ended."""
        ...


class NoCaptureLedger:
    """For a capture that runs by itself."""

    def renew(self, places: Iterable[Partition]) -> None:
        """Nothing."""

    def share(self, topic: str) -> None:
        """Nothing."""

    def unshare(self, topic: str, partitions: int) -> None:
        """Nothing."""


class SourceProgress(Protocol):
    """Where a source keeps its place; the record is JSON."""

    def load(self, source: str, /) -> dict[str, Any] | None:
        """The last saved record of `<agency>.<source>`, None if there is none."""
        ...

    def save(self, source: str, record: dict[str, Any] | None, /) -> None:
        """Replace the record, or forget it where it is None; returns once that is durable. Raises Transient otherwise."""
        ...


class SourceObserver(Protocol):
    """What a source reports of itself."""

    def snapshot(self, *, feed: str, done_rows: int, total_rows: int) -> None:
        """How far a table's snapshot is; `total_rows` is an estimate."""
        ...

    def retained(self, *, source: str, wal_bytes: int) -> None:
        """How much log the database holds back for us."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSetting:
    """What a source kind is built from. `name` is `<agency>.<source>`; `address` is a secret."""

    agency: Agency
    config: SourceConfig
    address: str = field(repr=False)
    feeds: Feeds
    progress: SourceProgress
    observer: SourceObserver
    pause_seconds: Callable[[], float] = lambda: 0.0
    """How long to let changes gather once the first is there: a process of many sources must not wake for each alone."""
    anchors: Callable[[], Mapping[str, Anchor]] = dict
    """The meshes that are trusted at this moment, by fingerprint."""
    incidents: Incidents = field(default_factory=MemoryIncidents)
    """Where the source says which of its feeds stand still."""
    resyncs: Callable[[], Mapping[str, str]] = dict
    """What people asked to be copied anew: a feed or a source, and which request that is (ops/onboarding/resync.py)."""
    ledger: CaptureLedger = field(default_factory=NoCaptureLedger)
    """Where it is accounted for what the source's feeds are given."""
    log: LogSetting | None = None
    """How processes of a source's own reach the log that its batches go to; None if it may have none."""
    state: Path | None = None
    """Where a source may keep rows on disk, under its own name; None if it may not."""
    entrance: Callable[[], Entrance] = lambda: LOOPBACK_ALONE
    """How others enter a server that the source opens. Raises Misconfigured."""

    @property
    def name(self) -> str:
        """The source's name in metrics, logs and progress."""
        return f"{self.agency.agency}.{self.config.name}"

    def options(self, form: type[_Options]) -> _Options:
        """The options of the source, by its kind's form. Raises Misconfigured, as `mesh check` would have said."""
        return read(form, self.config.options, f"source {self.name}")


OpenSource = Callable[[SourceSetting], Source]
"""A source kind: opens one source. Raises Transient, Misconfigured or ContractBroken."""


class MemoryProgress:
    """Progress that lives as long as the process, for tests and rehearsals."""

    def __init__(self) -> None:
        self._records: dict[str, str] = {}

    def load(self, source: str, /) -> dict[str, Any] | None:
        """See Progress."""
        text = self._records.get(source)
        return json.loads(text or "null")

    def save(self, source: str, record: dict[str, Any] | None, /) -> None:
        """See Progress."""
        self._records[source] = json.dumps(record)
