"""Relay: what the stream worker does with a group of batches: check, cut for every live grant, and be sure.

`handle` returns only when every output of the group is durable on `out.<grant>` or `dlq.<feed>`; otherwise it raises, and
the same group comes again. Upholds invariants 1, 3, 6, 8 and 9. Nothing is read from the directory that is older than the
call, and validity is judged by the clock at each call, so that a revocation or an expiry stops a running feed at once
(HANDBOOK A6).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from schemas.agreement.directory import Directory, FeedEntry
from schemas.change import Batch, Partition
from schemas.errors import Transient
from schemas.incident import Incidents
from schemas.wire.schema import SchemaOf
from streams.egress.backfill import Backfill, Replay
from streams.egress.egress import HashKey, definition_text
from streams.egress.liveness import EgressProgress, Liveness
from streams.egress.plan import Plans, Serving
from streams.egress.route import FLUSH_SECONDS, BatchTally, Disputes, Outlet, Router
from streams.egress.scope import ReadOut

HAND_OVER_RECORDS = 40_000
HAND_OVER_SECONDS = 2.0

_logger = logging.getLogger(__name__)


class RelayObserver(Protocol):
    """What the relay tells whoever measures; called for what is durable."""

    def processed(self, feed: str, count: int, size_bytes: int) -> None:
        """Changes of a feed went through."""
        ...

    def rejected(self, feed: str, reason: str, count: int) -> None:
        """Changes of a feed were dead-lettered, for all grants or for one."""
        ...

    def routed(self, grant_id: str, delivered: int, suppressed: int, size_bytes: int) -> None:
        """What came of changes for one grant, live or of the past."""
        ...

    def backfilled(self, grant_id: str, count: int) -> None:
        """So many changes of the past went by a grant."""
        ...


class RelayLedger(Protocol):
    """Where it is accounted for what the relay reads and writes (schemas/ledger/book.py). Never blocks long, never raises."""

    def read(self, batches: Sequence[Batch]) -> None:
        """These batches were handled: what comes of them is durable."""
        ...

    def goes_on(self, place: Partition, offset: int) -> None:
        """All below this offset was handled, by this relay or another; told again and again."""
        ...

    def rejected(self, place: Partition, count: int) -> None:
        """So many changes were dead-lettered, for all grants."""
        ...

    def writes(self, places: Iterable[Partition]) -> None:
        """This relay, and no other, writes to these partitions of `out` topics."""
        ...

    def assigned(self) -> None:
        """Other workers may have had any partition meanwhile."""
        ...


class NoRelayLedger:
    """For a relay that runs by itself."""

    def read(self, batches: Sequence[Batch]) -> None:
        """Nothing."""

    def goes_on(self, place: Partition, offset: int) -> None:
        """Nothing."""

    def rejected(self, place: Partition, count: int) -> None:
        """Nothing."""

    def writes(self, places: Iterable[Partition]) -> None:
        """Nothing."""

    def assigned(self) -> None:
        """Nothing."""


class Relay:
    """The handle of a stream worker. `handle` and `idle` are called by one thread, never at once.

    `open_outlet` makes a way to the broker with a failure of its own (`schemas.log.writer.Log.lane`). `now` gives aware datetimes.
    """

    def __init__(
        self,
        *,
        directory: Callable[[], Directory],
        schema_of: SchemaOf,
        open_outlet: Callable[[], Outlet],
        observer: RelayObserver,
        replay: Replay,
        progress: EgressProgress,
        hash_key: HashKey,
        now: Callable[[], datetime],
        read_out: ReadOut,
        incidents: Incidents | None = None,
        ledger: RelayLedger | None = None,
        disputes: Disputes | None = None,
        hand_over_records: int = HAND_OVER_RECORDS,
    ) -> None:
        self._directory = directory
        self._open_outlet = open_outlet
        self._read_out = read_out
        self._observer = observer
        self._now = now
        self._ledger = ledger or NoRelayLedger()
        self._disputes = disputes
        self._plans = Plans(schema_of, hash_key, incidents)
        self._outlet: Outlet | None = None
        self._router: Router | None = None
        backfill = Backfill(
            replay=replay,
            open_outlet=open_outlet,
            new_plans=lambda: Plans(schema_of, hash_key),
            allowed=self._allowed,
            report=self._report_backfill,
            read_out=read_out,
        )
        self._liveness = Liveness(
            progress=progress,
            backfill=backfill,
            is_usable=self._plans.is_usable,
            hand_over_records=hand_over_records,
            hand_over_seconds=HAND_OVER_SECONDS,
            entered=self._forget_scopes,
        )
        self._seen: Directory | None = None

    def handle(self, batches: Sequence[Batch]) -> None:
        """Take a group of batches to their outputs. Raises Transient for a feed that is not in the directory (yet)."""
        directory = self._take_up()
        done: list[tuple[str, Sequence[Serving], BatchTally]] = []
        rejected: list[tuple[Partition, int]] = []
        router, outlet = self._way_out()
        try:
            for batch in batches:
                feed = directory.feeds.get(batch.topic)
                if feed is None:
                    if directory.left("feed", batch.topic):
                        continue  # nobody is granted any of it any more
                    raise Transient(
                        f"feed {batch.topic} has records but is not in the directory",
                        fix="onboard it: `mesh onboard <folder>`",
                    )
                first = batch.records[0].offset
                servings = self._liveness.servings(feed, batch.partition, first, self._now())
                self._ledger.writes((serving.entry.topic, batch.partition) for serving in servings)
                tally = router.route(batch, feed, servings)
                done.append((batch.topic, servings, tally))
                rejected.append(((batch.topic, batch.partition), tally.invalid))
            outlet.flush(FLUSH_SECONDS)  # Invariant 1: one wait for the whole group.
        except BaseException:
            self._outlet = None  # a lane that failed stays so; what is under way must not overtake the next try
            outlet.settle(FLUSH_SECONDS)
            raise
        for batch in batches:
            self._liveness.passed(batch.topic, batch.partition, batch.next_offset)
        self._ledger.read(batches)
        for place, count in rejected:
            self._ledger.rejected(place, count)
        self._report_group(done)

    def assigned(self) -> None:
        """The worker was given its partitions anew; called before anything of the new assignment is handled."""
        self._liveness.assigned()
        self._ledger.assigned()
        self._forget_scopes()

    def _forget_scopes(self) -> None:
        """Another worker, or a backfill, may have written to `out` topics."""
        if self._router is not None:
            self._router.scopes.forget()

    def idle(self, positions: Mapping[tuple[str, int], int], behind: Set[tuple[str, int]] = frozenset()) -> None:  # noqa: ARG002
        """Look after the partitions that this worker has, records or not: topic and partition to next offset.

        Called about once a second: it begins and ends backfills on feeds that are quiet, and drops what is no longer ours.
        A next offset may be ahead of what `handle` was given so far, never behind it.
        """
        directory = self._take_up()
        if self._plans.judge_again():
            self._liveness.take_up(directory)
        self._liveness.keep_only(positions.keys())
        for (topic, partition), offset in positions.items():
            feed = directory.feeds.get(topic)
            if feed is not None:
                standing = self._liveness.standing(topic, partition, offset)
                servings = self._liveness.servings(feed, partition, standing, self._now())
                self._ledger.writes((serving.entry.topic, partition) for serving in servings)
                self._ledger.goes_on((topic, partition), offset)

    def _take_up(self) -> Directory:
        directory = self._directory()
        self._liveness.begin()
        if directory is not self._seen:
            self._plans.clear()
            self._liveness.take_up(directory)
            self._seen = directory
        return directory

    def _way_out(self) -> tuple[Router, Outlet]:
        if self._outlet is None or self._router is None:
            self._outlet = self._open_outlet()
            self._router = Router(
                self._plans, self._outlet, is_live=True, read_out=self._read_out, disputes=self._disputes
            )
        return self._router, self._outlet

    def _allowed(self, topic: str, servings: Sequence[Serving]) -> tuple[FeedEntry | None, tuple[Serving, ...]]:
        """For the backfill's thread: what of these servings the present directory still says, at this moment."""
        directory, now = self._directory(), self._now()
        present: list[Serving] = []
        for serving in servings:
            entry = directory.grants.get(serving.entry.grant.grant_id)
            is_same = entry and definition_text(entry) == definition_text(serving.entry)
            if entry and is_same and entry.grant.is_active(now):
                present.append(replace(serving, entry=entry))
        return directory.feeds.get(topic), tuple(present)

    def _report_group(self, done: Sequence[tuple[str, Sequence[Serving], BatchTally]]) -> None:
        """Once per feed and grant, however many partitions the group has."""
        feeds: dict[str, BatchTally] = {}
        routed: dict[str, list[int]] = {}
        for topic, servings, tally in done:
            total = feeds.setdefault(topic, BatchTally())
            total.count += tally.count
            total.size_bytes += tally.size_bytes
            for reason, count in tally.rejected.items():
                total.rejected[reason] = total.rejected.get(reason, 0) + count
            for index, serving in enumerate(servings):
                sums = routed.setdefault(serving.entry.grant.grant_id, [0, 0, 0])
                sums[0] += tally.delivered[index]
                sums[1] += tally.suppressed[index]
                sums[2] += tally.sizes[index]
        for topic, total in feeds.items():
            self._observer.processed(topic, total.count, total.size_bytes)
            for reason, count in total.rejected.items():
                self._observer.rejected(topic, reason, count)
        for grant_id, (delivered, suppressed, size_bytes) in routed.items():
            self._observer.routed(grant_id, delivered, suppressed, size_bytes)

    def _report_backfill(self, topic: str, servings: Sequence[Serving], tally: BatchTally) -> None:
        for reason, count in tally.rejected.items():
            self._observer.rejected(topic, reason, count)
        for index, serving in enumerate(servings):
            grant_id = serving.entry.grant.grant_id
            self._observer.routed(grant_id, tally.delivered[index], tally.suppressed[index], tally.sizes[index])
            self._observer.backfilled(grant_id, tally.count)
