"""Folding: messages become facts of subjects, subjects are folded, and what differs from before is emitted.

Pure over a `Store`: it reads entries and hands back what is to be written, so that state, outputs and input position can be
written in one transaction (streams/operators/task.py). How entries look is in entry.py.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from schemas.position import Position
from streams.operators.clock import Clock
from streams.operators.effects import Effects, RowChange
from streams.operators.entry import (
    Live,
    due_of,
    fact_entry,
    fact_of,
    newer,
    newest_event,
    prefix_of,
    restore,
    timer,
    until,
)
from streams.operators.flow import Fact, Flow, Row, Subject, Tell, row_id
from streams.operators.intake import Outgoing, check_subject
from streams.operators.message import COUNT, FACT, GONE, HOLD, TICK, message_key, pack, split_key, unpack
from streams.operators.recent import Recent
from streams.operators.unfit import fold_of, unfolded

NEXT_TICK = 0

_logger = logging.getLogger(__name__)


class Store(Protocol):
    """What a task remembers, as it was at the end of the last batch."""

    def get(self, key: bytes, /) -> bytes | None:
        """An entry."""
        ...

    def scan(self, prefix: bytes, /) -> Iterable[tuple[bytes, bytes]]:
        """Entries whose key starts so, in key order; read to its end or left at any point."""
        ...


class Folding:
    """One task's folding. After a batch whose effects were not made durable, call `forget` before the next.

    `feeds`, kept up to date by whoever knows, are the onboarded feeds: see Subject.
    """

    def __init__(self, flows: Iterable[Flow], store: Store, *, epoch: int = 1) -> None:
        self._flows = {flow.name: flow for flow in flows}
        self._store = store
        self._epoch = epoch
        self._recent = Recent()
        self._clocks: dict[str, Clock] = {}
        self.feeds: frozenset[str] | None = None
        self.forget()

    def forget(self) -> None:
        """Drop what was only in memory."""
        self._recent.clear()
        self._clocks.clear()
        self._begin()

    def _begin(self) -> None:
        self._effects = Effects()
        self._dirty: dict[bytes, Live] = {}
        self._apart: dict[bytes, dict[bytes, bytes | None]] = {}
        """What this batch changed of subjects that are folded at ticks, by subject: they are not kept in memory."""
        self._timers: dict[str, dict[bytes, bool]] = {}
        """What this batch changed of a flow's timers: set or cleared."""
        self._counted: dict[tuple[str, str, str], tuple[int, int]] = {}
        """The differences that this batch makes to (flow, subject, measure), and the newest commit that makes one, ms: one message
        for all of its folds."""
        self._ordinal = 0

    def apply(self, messages: Sequence[tuple[int, bytes, bytes]]) -> Effects:
        """Take (offset, key, value) of one inbox partition, in order; returns all effects of the batch."""
        self._begin()
        self._recent.age()
        offset = 0
        for offset, key, value in messages:
            self._take(key, unpack(value), offset)
        self._fold_dirty(offset)
        for (flow, to, measure), (difference, committed_at_ms) in self._counted.items():
            if difference:
                message = Outgoing(message_key(flow, to), pack([COUNT, measure, difference, committed_at_ms]))
                self._effects.messages.append(message)
        return self._effects

    def _take(self, key: bytes, message: Sequence[Any], offset: int) -> None:
        kind = message[0]
        if kind == FACT and (live := self._recent.get(b"s" + key + b"\0")) is not None:
            self._fact_of_live(live, message)
            return
        name, subject = split_key(key)
        flow = self._flows.get(name)
        if flow is None:
            return  # a flow that was taken out of the configuration: its state stays until it is dropped
        if kind == FACT:
            self._fact(flow, subject, message)
        elif kind == COUNT:
            self._count(flow, subject, message)
        elif kind == TICK:
            self._fold_dirty(offset)  # what came before the tick is judged before it
            self._tick(flow, message[1], offset)
        elif kind == GONE:
            self._gone(flow, message[1], message[2])
        elif kind == HOLD:
            self._hold(flow, message[1], offset)
        else:
            raise ValueError(f"flow {name}: a message of unknown kind {kind}")

    # ── facts ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _fact(self, flow: Flow, subject: str, message: Sequence[Any]) -> None:
        if not fold_of(flow, subject).at_tick:
            self._fact_of_live(self._live(flow, subject), message)
            return
        _, feed, identity, position, event_at, committed_at_ms, row, keeps_history = message
        fact = Fact(feed, identity, row, position, event_at, committed_at_ms)
        prefix = prefix_of(flow.name, subject)
        key = prefix + f"f{feed}\0{identity}".encode()
        known = self._read(key)
        present = fact_of(feed, identity, unpack(known)) if known else None
        merged, is_news = newer(present, fact, keeps_history=keeps_history)
        if merged is not None:
            self._put(prefix, key, fact_entry(merged), is_apart=True)
            if is_news:
                self._fold_at_next_tick(flow, subject)

    def _fact_of_live(self, live: Live, message: Sequence[Any]) -> None:
        _, feed, identity, position, event_at, committed_at_ms, row, keeps_history = message
        fact = Fact(feed, identity, row, position, event_at, committed_at_ms)
        facts = live.subject.facts.setdefault(feed, {})
        present = facts.get(identity)
        merged, is_news = newer(present, fact, keeps_history=keeps_history)
        if merged is not None:
            facts[identity] = merged
            self._effects.changes[live.prefix + f"f{feed}\0{identity}".encode()] = fact_entry(merged)
            if is_news:
                live.committed_at_ms = max(live.committed_at_ms, committed_at_ms)
                self._dirty[live.prefix] = live

    def _count(self, flow: Flow, subject: str, message: Sequence[Any]) -> None:
        _, measure, difference, *committed = message  # no commit: a message of an earlier version
        prefix = prefix_of(flow.name, subject)
        key = prefix + f"c{measure}".encode()
        is_apart = fold_of(flow, subject).at_tick
        self._counted_at(prefix, committed[0] if committed else 0, is_apart=is_apart)
        if is_apart:
            known = self._read(key)
            total = (unpack(known) if known else 0) + difference
            self._fold_at_next_tick(flow, subject)
        else:
            live = self._live(flow, subject)
            live.committed_at_ms = max(live.committed_at_ms, *committed, 0)
            total = live.subject.counts.get(measure, 0) + difference
            if total:
                live.subject.counts[measure] = total
            else:
                live.subject.counts.pop(measure, None)
            self._dirty[live.prefix] = live
        self._put(prefix, key, pack(total) if total else None, is_apart=is_apart)

    def _counted_at(self, prefix: bytes, committed_at_ms: int, *, is_apart: bool) -> None:
        """Rows that follow from sums alone bear the newest commit that a sum is of."""
        known = self._read(prefix + b"a")
        if committed_at_ms > (unpack(known) if known else 0):
            self._put(prefix, prefix + b"a", pack(committed_at_ms), is_apart=is_apart)

    def _gone(self, flow: Flow, feed: str, position: str) -> None:
        """The feed's rows up to a position are gone, all at once: look through every subject of the flow."""
        start = f"s{flow.name}\0".encode()
        mark = f"f{feed}\0".encode()
        keys = {key for key, _ in self._store.scan(start)} | {
            key for key in self._effects.changes if key.startswith(start)
        }
        for key in sorted(keys):
            subject, _, rest = key[len(start) :].partition(b"\0")
            if not rest.startswith(mark) or (entry := self._read(key)) is None:
                continue
            known = unpack(entry)
            if known[0] < position and known[3] is not None:
                identity = rest[len(mark) :].decode()
                self._fact(
                    flow, subject.decode(), [FACT, feed, identity, position, known[1], known[2], None, bool(known[4])]
                )

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _clock(self, flow: Flow) -> Clock:
        if flow.name not in self._clocks:
            feeds = {entry.feed for entry in flow.inputs}
            self._clocks[flow.name] = Clock.of(self._store.get(f"k{flow.name}".encode()), feeds)
        return self._clocks[flow.name]

    def _tick(self, flow: Flow, newest: int, offset: int) -> None:
        clock = self._clock(flow)
        if newest > clock.newest:
            clock.newest = newest
            clock.at = clock.allowed
            self._effects.changes[f"k{flow.name}".encode()] = clock.entry()
        self._wake(flow, clock.at, offset)

    def _hold(self, flow: Flow, bounds: Mapping[str, int | None], offset: int) -> None:
        clock = self._clock(flow)
        clock.hold(bounds)
        if is_free := clock.allowed > clock.at:
            self._fold_dirty(offset)  # what came before is judged before, as at a tick
            clock.at = clock.allowed
        self._effects.changes[f"k{flow.name}".encode()] = clock.entry()
        if is_free:
            self._wake(flow, clock.at, offset)

    def _wake(self, flow: Flow, now: int, offset: int) -> None:
        start = f"w{flow.name}\0".encode()
        due = {key for key, _ in until(self._store.scan(start), len(start), now)}
        for key, is_set in self._timers.get(flow.name, {}).items():
            if not is_set:
                due.discard(key)
            elif due_of(key, len(start)) <= now:
                due.add(key)
        for key in sorted(due):
            live = self._live(flow, key[len(start) + 8 :].decode())
            self._dirty[live.prefix] = live
        self._fold_dirty(offset)

    def _fold_at_next_tick(self, flow: Flow, subject: str) -> None:
        prefix = prefix_of(flow.name, subject)
        header = self._read(prefix + b"h")
        memory, wake_at = unpack(header) if header else ({}, None)
        is_waiting = wake_at is not None and fold_of(flow, subject).is_patient
        if wake_at != NEXT_TICK and not is_waiting:
            self._set_header(flow, subject, prefix, memory, wake_at, NEXT_TICK)

    def _set_header(
        self,
        flow: Flow,
        subject: str,
        prefix: bytes,
        memory: Mapping[str, Any],
        former: int | None,
        wake_at: int | None,
    ) -> None:
        changes, timers = self._effects.changes, self._timers.setdefault(flow.name, {})
        if former is not None and former != wake_at:
            key = timer(flow.name, former, subject)
            changes[key], timers[key] = None, False
        if wake_at is not None:
            key = timer(flow.name, wake_at, subject)
            changes[key], timers[key] = b"", True
        self._put(prefix, prefix + b"h", pack([memory, wake_at]), is_apart=fold_of(flow, subject).at_tick)

    # ── folding ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _fold_dirty(self, offset: int) -> None:
        dirty, self._dirty = self._dirty, {}
        for live in dirty.values():
            self._fold(live, offset)

    def _fold(self, live: Live, offset: int) -> None:
        flow, subject = live.flow, live.subject
        subject.now, subject.feeds = self._clock(flow).at, self.feeds
        try:
            outcome = live.fold.fold(subject)
            wanted = {
                feed: {row_id(row, flow.outputs[feed]): row for row in rows}
                for feed, rows in outcome.rows.items()
                if rows
            }
            if outcome.tells or outcome.counts:
                for to in {*(tell.to for tell in outcome.tells), *(to for to, _ in outcome.counts)}:
                    check_subject(flow, to)
        except Exception as error:  # noqa: BLE001 - facts are kept: a mended fold makes up for it, and the others flow on
            _logger.error("flow %s: a fold of kind %s failed: %s", flow.name, subject.kind, type(error).__name__)  # noqa: TRY400
            outcome, wanted = unfolded(live, error)
        self._emit_rows(live, wanted, outcome.reasons, offset)
        self._emit_tells(live, outcome.tells, offset)
        self._emit_counts(live, outcome.counts)
        if outcome.memory != subject.memory or outcome.wake_at != live.wake_at:
            wake_at = outcome.wake_at
            self._set_header(flow, subject.key, live.prefix, outcome.memory, live.wake_at, wake_at)
            subject.memory, live.wake_at = outcome.memory, wake_at

    def _next_position(self, offset: int) -> Position:
        self._ordinal += 1
        return Position(self._epoch, offset + 1, self._ordinal)

    def _emit_rows(
        self, live: Live, wanted: Mapping[str, Mapping[str, Row]], reasons: Mapping[str, str], offset: int
    ) -> None:
        flow, subject = live.flow, live.subject
        for feed in sorted({*subject.published, *wanted}):
            present, future = subject.published.get(feed, {}), wanted.get(feed, {})
            for identity in sorted({*present, *future}):
                before, after = present.get(identity), future.get(identity)
                if before == after:
                    continue
                reason = reasons.get(feed) if after is None else None
                self._effects.rows.append(
                    RowChange(
                        flow.name,
                        feed,
                        identity,
                        before,
                        after,
                        self._next_position(offset),
                        live.committed_at_ms,
                        reason,
                    )
                )
                key = live.prefix + f"r{feed}\0{identity}".encode()
                self._put(live.prefix, key, None if after is None else pack(after), is_apart=live.fold.at_tick)
                if feed == flow.queue and before is None and after is not None:
                    counted = (flow.name, after["kind"])
                    self._effects.queued[counted] = self._effects.queued.get(counted, 0) + 1
        subject.published = {feed: dict(rows) for feed, rows in wanted.items()}

    def _emit_tells(self, live: Live, tells: Sequence[Tell], offset: int) -> None:
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
            value = [FACT, f"~{tag}", f"{teller}|{identity}", position, event_at, live.committed_at_ms, row, False]
            self._effects.messages.append(Outgoing(message_key(live.flow.name, to), pack(value)))
            key = live.prefix + f"t{to}\0{tag}\0{identity}".encode()
            self._put(live.prefix, key, None if row is None else pack(row), is_apart=live.fold.at_tick)
        live.tells = {place: tell.row for place, tell in wanted.items()}

    def _emit_counts(self, live: Live, wanted: Mapping[tuple[str, str], int]) -> None:
        if not wanted and not live.contributions:
            return
        for place in sorted({*live.contributions, *wanted}):
            present, future = live.contributions.get(place, 0), wanted.get(place, 0)
            if present == future:
                continue
            to, measure = place
            counted = (live.flow.name, to, measure)
            difference, committed_at_ms = self._counted.get(counted, (0, 0))
            newest = max(committed_at_ms, live.committed_at_ms)
            self._counted[counted] = (difference + future - present, newest)
            key = live.prefix + f"n{to}\0{measure}".encode()
            self._put(live.prefix, key, pack(future) if future else None, is_apart=live.fold.at_tick)
        live.contributions = {place: count for place, count in wanted.items() if count}

    def _put(self, prefix: bytes, key: bytes, value: bytes | None, *, is_apart: bool) -> None:
        self._effects.changes[key] = value
        if is_apart:
            self._apart.setdefault(prefix, {})[key] = value

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _read(self, key: bytes) -> bytes | None:
        """An entry as this batch has left it so far."""
        changes = self._effects.changes
        return changes[key] if key in changes else self._store.get(key)

    def _live(self, flow: Flow, subject: str) -> Live:
        """The subject, from memory or from its entries. One that is folded at ticks is always read anew."""
        prefix = prefix_of(flow.name, subject)
        live = self._recent.get(prefix)
        if live is None:
            live = Live(prefix, flow, fold_of(flow, subject), Subject(key=subject))
            self._load(live)
            if not live.fold.at_tick:
                self._recent.keep(live)
        return live

    def _load(self, live: Live) -> None:
        prefix, is_apart = live.prefix, live.fold.at_tick
        if not is_apart and self._store.get(prefix + b"h") is None:
            # Nobody heard of it before: most subjects while a flow reads the past. Asking for one entry costs a tenth of a scan.
            self._put(prefix, prefix + b"h", pack([{}, None]), is_apart=False)
            return
        entries = {key: value for key, value in self._store.scan(prefix)}
        if is_apart:  # facts of this batch went past memory
            for key, value in self._apart.get(prefix, {}).items():
                if value is None:
                    entries.pop(key, None)
                else:
                    entries[key] = value
        for key, value in entries.items():
            restore(live, key[len(prefix) :], value)
