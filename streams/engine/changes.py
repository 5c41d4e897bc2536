"""Changes: what a slice of a batch changes, gathered until it is made durable as one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from schemas.position import Position
from streams.engine.effects import Effects, RowChange
from streams.engine.entry import Live, newest_event, timer, timer_of
from streams.engine.inbox.intake import Outgoing
from streams.engine.inbox.message import COUNT, FACT, message_key, pack
from streams.operators.decided import basis
from streams.operators.flow import Flow, Row, Tell


class Changes:
    """The effects so far, and what of them the rest of the slice must know of.

    `ordinal` numbers events within one input offset; it goes on from slice to slice.
    """

    def __init__(self, epoch: int, ordinal: int = 0) -> None:
        self.epoch = epoch
        self.ordinal = ordinal
        self.effects = Effects()
        self.apart: dict[bytes, dict[bytes, bytes | None]] = {}
        """What was changed of subjects that are folded at ticks, by subject: not all of them are in memory."""
        self.timers: dict[str, dict[bytes, bool]] = {}
        """What was changed of a flow's timers: set or cleared."""
        self._counted: dict[tuple[str, str, str], tuple[int, int]] = {}
        """The differences made to (flow, subject, measure), and the newest commit among their causes: one message for all folds."""

    def close(self) -> Effects:
        """All effects, once nothing more is added."""
        for (flow, to, measure), (difference, caused_ms) in self._counted.items():
            if difference:
                message = Outgoing(message_key(flow, to), pack([COUNT, measure, difference, caused_ms]))
                self.effects.messages.append(message)
        return self.effects

    def put(self, prefix: bytes, key: bytes, value: bytes | None, *, is_apart: bool) -> None:
        """Change an entry of a subject."""
        self.effects.changes[key] = value
        if is_apart:
            self.apart.setdefault(prefix, {})[key] = value

    def move(self, prefix: bytes, key: bytes, value: bytes, *, is_here: bool) -> None:
        """An entry came from another task, or went there; the timer that it stands for is set or cleared with it."""
        self.put(prefix, key, value if is_here else None, is_apart=True)
        if (present := timer_of(key, value)) is not None:
            self.effects.changes[present] = b"" if is_here else None
            self.timers.setdefault(key[1 : key.index(b"\0")].decode(), {})[present] = is_here

    def header(
        self,
        flow: Flow,
        subject: str,
        prefix: bytes,
        memory: Mapping[str, Any],
        former: int | None,
        wake_at: int | None,
        *,
        is_apart: bool,
    ) -> bytes | None:
        """Set a subject's memory and timer; the key of the timer that is set."""
        changes, timers = self.effects.changes, self.timers.setdefault(flow.name, {})
        if former is not None and former != wake_at:
            key = timer(flow.name, former, subject)
            changes[key], timers[key] = None, False
        present = None
        if wake_at is not None:
            present = timer(flow.name, wake_at, subject)
            changes[present], timers[present] = b"", True
        self.put(prefix, prefix + b"h", pack([memory, wake_at]), is_apart=is_apart)
        return present

    def rows(
        self,
        live: Live,
        wanted: Mapping[str, Mapping[str, Row]],
        reasons: Mapping[str, str],
        offset: int,
        bases: Mapping[str, str] = {},
    ) -> None:
        """What a subject publishes now, as differences from what it published before.

        `bases`: what items of the queue stand on, where that is not what the subject's facts alone say.
        """
        flow, subject = live.flow, live.subject
        for feed in sorted({*subject.published, *wanted}):
            present, future = subject.published.get(feed, {}), wanted.get(feed, {})
            for identity in sorted({*present, *future}):
                before, after = present.get(identity), future.get(identity)
                if before == after:
                    continue
                reason = reasons.get(feed) if after is None else None
                position, at_ms = self._next_position(offset), live.cause_ms
                about = None
                if feed == flow.queue and after is not None:
                    about = subject.key, bases.get(identity) or basis(after, subject.facts)
                change = RowChange(flow.name, feed, identity, before, after, position, at_ms, reason, about)
                self.effects.rows.append(change)
                key = live.prefix + f"r{feed}\0{identity}".encode()
                self.put(live.prefix, key, None if after is None else pack(after), is_apart=live.fold.at_tick)
                if feed == flow.queue and before is None and after is not None:
                    counted = (flow.name, after["kind"])
                    self.effects.queued[counted] = self.effects.queued.get(counted, 0) + 1
        subject.published = {feed: dict(rows) for feed, rows in wanted.items()}

    def tells(self, live: Live, tells: Sequence[Tell], offset: int) -> None:
        """What a subject tells others now, as messages where it differs from before."""
        wanted = {(tell.to, tell.tag, tell.id): tell for tell in tells}
        if not wanted and not live.tells:
            return
        teller, newest = live.subject.key, newest_event(live.subject)
        for place in sorted({*live.tells, *wanted}):
            tell, present = wanted.get(place), live.tells.get(place)
            row = tell.row if tell else None
            if row == present:
                continue
            to, tag, identity = place
            event_at = tell.event_at if tell and tell.event_at is not None else newest
            position = str(self._next_position(offset))
            value = [FACT, f"~{tag}", f"{teller}|{identity}", position, event_at, live.cause_ms, row, False]
            if (by_clock := live.committed_at_ms or live.caused_ms) != live.cause_ms:
                value.append(by_clock)
            self.effects.messages.append(Outgoing(message_key(live.flow.name, to), pack(value)))
            key = live.prefix + f"t{to}\0{tag}\0{identity}".encode()
            self.put(live.prefix, key, None if row is None else pack(row), is_apart=live.fold.at_tick)
        live.tells = {place: tell.row for place, tell in wanted.items()}

    def counts(self, live: Live, wanted: Mapping[tuple[str, str], int]) -> None:
        """What a subject contributes to others' sums now, as differences."""
        if not wanted and not live.contributions:
            return
        for place in sorted({*live.contributions, *wanted}):
            present, future = live.contributions.get(place, 0), wanted.get(place, 0)
            if present == future:
                continue
            to, measure = place
            counted = (live.flow.name, to, measure)
            difference, caused_ms = self._counted.get(counted, (0, 0))
            self._counted[counted] = difference + future - present, max(caused_ms, live.cause_ms)
            key = live.prefix + f"n{to}\0{measure}".encode()
            self.put(live.prefix, key, pack(future) if future else None, is_apart=live.fold.at_tick)
        live.contributions = {place: count for place, count in wanted.items() if count}

    def _next_position(self, offset: int) -> Position:
        self.ordinal += 1
        return Position(self.epoch, offset + 1, self.ordinal)
