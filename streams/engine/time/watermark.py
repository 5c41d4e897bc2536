"""Watermarks: how far the event time of each flow may go, as far as the partitions that this worker reads have it.

A flow's clock moves by ticks alone: the newest event time that intake has seen, sent to every task, but never beyond the watermark
of a partition that holds more (a watermark for each source partition, as stream processors know it): the last commit taken from it.
Evidence that was committed in time is so judged in time, however far a worker is behind; and while a flow reads the past, its clock
stands still. Where rows tell of another time than that of their commits, "commit" reads "when the row was written, as it says"
(Intake.reached).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set

from schemas.change import Partition
from streams.engine.inbox.intake import Intake, Outgoing
from streams.engine.inbox.message import TICK, WATERMARKS, message_key, pack
from streams.engine.time.clock import Reported, place_of
from streams.engine.time.unfolded import Unfolded, is_near_end

MICROS = 1_000
"""In a millisecond."""


class Watermarks:
    """Used by the runner's thread. `now` is the time of day, seconds since 1970; `is_replay` as in Intake."""

    def __init__(
        self, intakes: Mapping[str, Intake], inbox: str, *, is_replay: bool, now: Callable[[], float] = time.time
    ) -> None:
        self._intakes = intakes
        self._inbox = inbox
        self._is_replay = is_replay
        self._now = now
        self._dirty: set[str] = set()
        """Flows that were told something since their last tick: subjects that are folded at ticks wait for the next."""
        self._ticked = dict.fromkeys(intakes, 0)
        self._reported = Reported()
        self._heard: dict[Partition, int] = {}
        """By partition, the commit that its last record told of, milliseconds; for the inbox, when that was written."""
        self._reached: dict[tuple[str, Partition], int | None] = {}
        """By flow and partition, where a past is replayed: how far on its calendar the last record came (Intake.reached)."""
        self._unfolded = Unfolded()

    # ── what happened ────────────────────────────────────────────────────────────────────────────────────────────────

    def heard(self, place: Partition, committed_at_ms: int) -> None:
        """The last record of a partition told of this commit."""
        self._heard[place] = committed_at_ms

    def reached(self, flow: str, place: Partition, moment: int | None, *, is_copied: bool) -> None:
        """Where a past is replayed: how far a record came. A table is copied in the order of its rows, not of their being written."""
        self._reached[flow, place] = 0 if is_copied and moment is not None else moment
        if is_copied:
            self._unfolded.take(flow)

    def copied(self, flows: Iterable[str]) -> None:
        """These flows are given a past that they missed."""
        if self._is_replay:
            self._unfolded.take(*flows)

    def sent(self) -> None:
        """What intake gave lies in the inbox."""
        self._unfolded.sent(self._now())

    def folded(self, place: Partition, written_at_ms: int, flows: Collection[str]) -> None:
        """The inbox was folded up to a record of that moment, and these flows were told something."""
        self._dirty |= set(flows)
        self._unfolded.folded(self._now())
        self._heard[place] = written_at_ms

    def keep_only(self, places: Collection[Partition]) -> None:
        """These partitions are read here, and no others any more."""
        if self._is_replay:
            self._unfolded.read([place for place in places if place[0] == self._inbox], self._intakes, self._now())
        self._heard = {place: moment for place, moment in self._heard.items() if place in places}
        self._reached = {key: moment for key, moment in self._reached.items() if key[1] in places}

    def forget(self) -> None:
        """It is not certain that what was reported arrived."""
        self._reported.forget()

    # ── what follows ─────────────────────────────────────────────────────────────────────────────────────────────────

    def messages(
        self,
        places: Set[Partition],
        behind: Set[Partition],
        lacking_past: Mapping[str, Set[Partition]],
        ticked: Callable[[str, int], None],
    ) -> Iterator[Outgoing]:
        """By flow: the watermarks of the partitions read here, as far as they are news, and a tick where its clock advances."""
        unread = [place for place in behind if place[0] == self._inbox]
        self._reported.begin(time.monotonic())
        self._unfolded.look(unread, self._heard, self._now())
        for name, intake in self._intakes.items():
            key = message_key(name, "")
            bounds = self._bounds(intake, places | behind, behind, lacking_past.get(name, frozenset()))
            if news := self._reported.news(name, bounds):
                yield Outgoing(key, pack([WATERMARKS, news]))
            clock = min([intake.clock, *(bound for bound in bounds.values() if bound is not None)])
            last = self._ticked[name]
            # Once nothing comes any more, what came after the last tick is owed one, though the time is still the same.
            is_owed = last > 0 and name in self._dirty and not unread
            if (clock > last or is_owed) and name not in lacking_past:
                clock = self._ticked[name] = max(clock, last)
                self._dirty.discard(name)
                ticked(name, clock)
                yield Outgoing(key, pack([TICK, clock, intake.moved_ms]))

    def _bounds(
        self, intake: Intake, places: Set[Partition], behind: Set[Partition], lacking: Set[Partition]
    ) -> Mapping[str, int | None]:
        """The watermark of each partition that a flow reads, microseconds; None: all of it is read."""
        read, bounds = {self._inbox, *intake.feeds}, dict[str, int | None]()
        for place in places:
            feed, partition = place
            if feed in read:
                bound = self._bound(intake, place, is_behind=place in behind)
                bounds[place_of("" if feed == self._inbox else feed, partition)] = 0 if place in lacking else bound
        return bounds

    def _bound(self, intake: Intake, place: Partition, *, is_behind: bool) -> int | None:
        if not self._is_replay:
            return self._heard.get(place, 0) * MICROS if is_behind else None
        if place[0] == self._inbox:
            return 0 if intake.name in self._unfolded else None
        is_read = not is_behind or is_near_end(self._heard.get(place, 0), self._now())
        return None if is_read else self._reached.get((intake.name, place), 0)
