"""The verdict on each captured table: what the watch saw, compared with what its feed was made from, and acted on.

Every difference ends in one of three ways (invariants 9 and 10): the log has it and it is followed; the feed stops and says why;
the table is copied anew while the others flow. A stopped feed is judged again at every look: once nothing stands in its way
any more, it is copied anew by itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from producers.postgresql.admission import feed_faults
from producers.postgresql.book import Book
from producers.postgresql.captured import Captured, Difference, DifferenceOutcome, difference
from producers.postgresql.identity import usable_identity
from producers.postgresql.link.catalog import CatalogTable, SourceTypes, tables
from producers.postgresql.link.link import Locked, translated
from producers.postgresql.lookout import Lookout
from producers.postgresql.options import PostgresSourceOptions
from producers.postgresql.place import LIVE, STOPPED, TablePlace
from producers.postgresql.slot import Slot
from producers.postgresql.stream.relation import Relations
from producers.postgresql.stream.stream import Stream
from producers.postgresql.watch import Look, is_filled
from producers.source import SourceSetting
from schemas.agreement.directory import FeedEntry
from schemas.backoff import Backoff
from schemas.errors import ContractBroken

LOOK_SECONDS = 3.0
AGAIN = Backoff(first_seconds=30.0, longest_seconds=600.0)
"""How long a feed that went on by itself and stopped again stays stopped before it may do so once more."""

_logger = logging.getLogger(__name__)


class Verdicts:
    """Used by the source's own thread."""

    def __init__(
        self,
        setting: SourceSetting,
        options: PostgresSourceOptions,
        book: Book,
        slot: Slot,
        types: SourceTypes,
        relations: Relations,
        stream: Stream,
        is_carried: Callable[[str], bool],
        lookout: Lookout,
    ) -> None:
        self._setting = setting
        self._book = book
        self._slot = slot
        self._types = types
        self._relations = relations
        self._stream = stream
        self._is_carried = is_carried
        self._lookout = lookout
        self.slot_row: Mapping[str, Any] | None = None
        """What the newest look saw of the slot."""
        self._truncations: Mapping[int, set[int]] = {}
        self._copies = options.on_table_change == "copy"
        self._look: Look | None = None
        self._looked_at = 0.0
        self._resumed: dict[str, tuple[int, float]] = {}

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def tick(self, feeds: Mapping[str, FeedEntry]) -> None:
        """Have a look taken now and then, and judge what was seen once the stream has come so far."""
        now = time.monotonic()
        if self._look is None and now - self._looked_at > LOOK_SECONDS:
            self._looked_at = now
            oids = [place.captured.oid for place in self._book.place.tables.values() if place.captured]
            names = [entry.contract.table for entry in feeds.values()]
            self._lookout.ask(names, oids)
        if self._look is None and (sight := self._lookout.take()) is not None:
            self._look, self.slot_row = sight.look, sight.slot
        if self._look is None:
            return
        if self._stream.position < self._look.at:
            self._stream.ask()
            return
        seen, self._look = self._look, None
        for feed, entry in feeds.items():
            place = self._book.place.tables.get(feed)
            if place is not None and self._is_due(feed, place, seen.at):
                self._judge(entry, place, seen)
        # What was truncated after the look belongs to the next one.
        self._truncations, self._relations.truncations = self._relations.truncations, {}

    def _is_due(self, feed: str, place: TablePlace, at: int) -> bool:
        """Not while its copy has not begun, and not by an older look than that which the copy began with."""
        return place.state == STOPPED or (self._is_carried(feed) and place.seen_at < at)

    def _truncating(self, oid: int) -> set[int]:
        return self._truncations.get(oid, set()) | self._relations.truncations.get(oid, set())

    def _judge(self, entry: FeedEntry, place: TablePlace, seen: Look) -> None:
        feed, was = entry.feed, place.captured
        if was is None:
            self._first(entry, place, seen)
            return
        if was.name != entry.contract.table:
            self._book.copy_anew(feed, f"its contract names {entry.contract.table} in place of {was.name}")
            return
        now = seen.now(was.name, was.oid)
        found = difference(feed, self._setting.name, was, now, self._truncating(was.oid), self._is_filled)
        here = now.here
        is_shaped_alike = found is None and here is not None and here.is_shaped_like(was)
        if place.state == STOPPED or not is_shaped_alike:
            self._decide(entry, place, here, found, seen.at)
        elif here != was:
            self._book.set(feed, replace(place, captured=here, seen_at=seen.at))

    def _first(self, entry: FeedEntry, place: TablePlace, seen: Look) -> None:
        """A place from a record that has no table yet, or of a feed that was stopped before its first copy."""
        here = seen.by_name.get(entry.contract.table)
        if place.state == STOPPED:
            self._decide(entry, place, here, None, seen.at)
        elif here is not None and place.state == LIVE:
            self._book.set(entry.feed, replace(place, captured=here, seen_at=seen.at))

    def _decide(
        self, entry: FeedEntry, place: TablePlace, here: Captured | None, found: Difference | None, at: int
    ) -> None:
        feed = entry.feed
        outcome = found.outcome if found else None
        if outcome is DifferenceOutcome.ASK:
            outcome = DifferenceOutcome.COPY if self._copies else DifferenceOutcome.STOP
        if found is not None and outcome is DifferenceOutcome.STOP:
            self._stop(feed, found.reason, found.fix)
            return
        try:
            table = self._table(here.name) if here is not None else None
            if here is not None and table is None:
                return  # renamed or dropped since it was looked at: the next look says which
            faults = feed_faults(self._slot.statements, self._types, entry)
            if here is not None and table is not None and (fault := usable_identity(table)) is not None:
                faults = faults or (fault.message, fault.fix)
                self._let_write(feed, place, here, at)
        except Locked:
            return  # the next look comes back to it
        if faults is not None:
            self._stop(feed, *faults)
        elif place.state == STOPPED:
            self._resume(feed, found)
        elif found is not None:
            self._book.copy_anew(feed, found.reason)
        elif here is not None:
            self._book.set(feed, replace(place, captured=here, seen_at=at))

    def _let_write(self, feed: str, place: TablePlace, here: Captured, at: int) -> None:
        """A publication would make the department's own updates fail: the table leaves it (invariant 10)."""
        if here.member:
            self._slot.take_out(here.name)
            self._book.set(feed, replace(place, captured=replace(here, member=0), seen_at=at))

    def _table(self, name: str) -> CatalogTable | None:
        with translated(self._setting.name):
            return tables(self._slot.statements, self._types, [name]).get(name)

    def _is_filled(self, oid: int) -> bool:
        return is_filled(self._slot.statements, oid, source=self._setting.name)

    # ── acting ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def stopped(self, feed: str, why: ContractBroken | Difference) -> None:
        """The log shows a feed's table to be another than its contract and its copy are of."""
        if isinstance(why, ContractBroken):
            self._stop(feed, why.breach, why.fix)
        elif why.outcome is DifferenceOutcome.ASK and self._copies:
            self._book.copy_anew(feed, why.reason)
        else:
            self._stop(feed, why.reason, why.fix)

    def _stop(self, feed: str, reason: str, fix: str) -> None:
        self._book.stop(feed, reason, fix, max(self._stream.position, self._relations.passed))

    def _resume(self, feed: str, found: Difference | None) -> None:
        """Copy it anew, unless it stopped again and again right after."""
        now = time.monotonic()
        times, at = self._resumed.get(feed, (0, now))
        if now < at:
            return
        self._resumed[feed] = times + 1, now + AGAIN.after(times + 1)
        reason = self._book.table(feed).reason
        self._book.copy_anew(feed, f"what had stopped it is mended ({found.reason if found else reason})")
