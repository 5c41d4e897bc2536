"""Folding: messages become facts of subjects, subjects are folded, and what differs from before is emitted.

Pure over a `Store`: it reads entries and hands back what is to be written, slice by slice, so that state, outputs and input
position of each can be written in one transaction (streams/engine/task.py). How entries look is in entry.py.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from schemas.trace import described
from streams.engine.changes import Changes
from streams.engine.effects import Effects
from streams.engine.entry import Live, fact_entry, fact_heard, fact_of, newer, prefix_of, restore
from streams.engine.intake import check_subject
from streams.engine.message import COUNT, FACT, GONE, HOLD, TICK, pack, split_key, unpack
from streams.engine.recent import Recent
from streams.engine.time.clock import Clock
from streams.engine.time.sweep import CURSOR, SLICE_SUBJECTS, Sweep, due, merged
from streams.operators.flow import Flow, Subject, row_id
from streams.operators.unfit import fold_of, unfolded

NEXT_TICK = 0

_logger = logging.getLogger(__name__)

Cuts = Iterable[int]
"""Where slices end, as they are reached: the input position that goes with what was gathered so far."""


class Store(Protocol):
    """What a task remembers, as it was at the end of the last batch."""

    def get(self, key: bytes, /) -> bytes | None:
        """An entry."""
        ...

    def scan(self, prefix: bytes, /, after: bytes = b"") -> Iterable[tuple[bytes, bytes]]:
        """Entries whose key starts so, in key order, from `after` on; read to its end or left at any point."""
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
        self._sweeping: Sweep | None = None
        self._sweep_now = 0
        self.feeds: frozenset[str] | None = None
        self.forget()

    def forget(self) -> None:
        """Drop what was only in memory."""
        self._recent.clear()
        self._clocks.clear()
        self._begin(0)

    def _begin(self, ordinal: int) -> None:
        self._changes = Changes(self._epoch, ordinal)
        self._dirty: dict[bytes, Live] = {}

    def apply(self, messages: Sequence[tuple[int, bytes, bytes]]) -> Iterator[tuple[Effects, int]]:
        """Take (offset, key, value) of one inbox partition, in order; yields the effects of one slice after the other.

        With each comes the input position up to which it goes. A slice must be durable, and in the store, before the next is asked
        for. There is one, but for a tick or a truncate that concerns very many subjects.
        """
        self._begin(0)
        self._recent.age()
        offset = 0
        for offset, key, value in messages:
            for position in self._take(key, unpack(value), offset):
                yield self._changes.close(), position
                self._begin(self._changes.ordinal)
                self._recent.age()
        self._fold_dirty(offset)
        yield self._changes.close(), offset + 1

    def _take(self, key: bytes, message: Sequence[Any], offset: int) -> Cuts:
        kind = message[0]
        if kind == FACT and (live := self._recent.get(b"s" + key + b"\0")) is not None:
            self._fact_of_live(live, message)
            return ()
        name, subject = split_key(key)
        flow = self._flows.get(name)
        if flow is None:
            return ()  # a flow that was taken out of the configuration: its state stays until it is dropped
        if kind == FACT:
            self._fact(flow, subject, message)
        elif kind == COUNT:
            self._count(flow, subject, message)
        elif kind == TICK:
            return self._tick(flow, message[1], offset)
        elif kind == GONE:
            return self._gone(flow, message[1], message[2], offset)
        elif kind == HOLD:
            return self._hold(flow, message[1], offset)
        else:
            raise ValueError(f"flow {name}: a message of unknown kind {kind}")
        return ()

    # ── facts ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _fact(self, flow: Flow, subject: str, message: Sequence[Any]) -> None:
        if not fold_of(flow, subject).at_tick:
            self._fact_of_live(self._live(flow, subject), message)
            return
        fact = fact_heard(message)
        prefix = prefix_of(flow.name, subject)
        key = prefix + f"f{fact.feed}\0{fact.row_id}".encode()
        known = self._read(key)
        present = fact_of(fact.feed, fact.row_id, unpack(known)) if known else None
        merged, is_news = newer(present, fact, keeps_history=message[7])
        if merged is not None:
            self._changes.put(prefix, key, fact_entry(merged), is_apart=True)
            if is_news:
                self._fold_at_next_tick(flow, subject)

    def _fact_of_live(self, live: Live, message: Sequence[Any]) -> None:
        fact = fact_heard(message)
        feed, identity = fact.feed, fact.row_id
        facts = live.subject.facts.setdefault(feed, {})
        present = facts.get(identity)
        merged, is_news = newer(present, fact, keeps_history=message[7])
        if merged is not None:
            facts[identity] = merged
            self._changes.effects.changes[live.prefix + f"f{feed}\0{identity}".encode()] = fact_entry(merged)
            if is_news:
                live.hear(fact)
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
            live.caused_ms = max(live.caused_ms, *committed, 0)
            total = live.subject.counts.get(measure, 0) + difference
            if total:
                live.subject.counts[measure] = total
            else:
                live.subject.counts.pop(measure, None)
            self._dirty[live.prefix] = live
        self._changes.put(prefix, key, pack(total) if total else None, is_apart=is_apart)

    def _counted_at(self, prefix: bytes, committed_at_ms: int, *, is_apart: bool) -> None:
        """Rows that follow from sums alone bear the newest commit that a sum is of."""
        known = self._read(prefix + b"a")
        if committed_at_ms > (unpack(known) if known else 0):
            self._changes.put(prefix, prefix + b"a", pack(committed_at_ms), is_apart=is_apart)

    def _gone(self, flow: Flow, feed: str, position: str, offset: int) -> Cuts:
        """The feed's rows up to a position are gone, all at once: look through every subject of the flow."""
        start, mark = f"s{flow.name}\0".encode(), f"f{feed}\0".encode()
        sweep = self._sweep(offset)
        taken, last = 0, b""
        changed = {key: True for key in self._changes.effects.changes if key.startswith(start)}
        walk = merged(self._store.scan(start, sweep.key), changed, sweep.key)
        while (key := next(walk, None)) is not None:
            subject, _, rest = key[len(start) :].partition(b"\0")
            if not rest.startswith(mark) or (entry := self._read(key)) is None:
                continue
            known = unpack(entry)
            if known[0] >= position or known[3] is None:
                continue
            if taken >= SLICE_SUBJECTS and subject != last:  # between subjects: each is folded once
                yield from self._cut(sweep, offset)
                taken = 0
                walk = merged(self._store.scan(start, key), {}, sweep.key)  # what was changed is in the store now
                continue
            gone = fact_of(feed, rest[len(mark) :].decode(), known)
            times = [gone.event_at, gone.caused_ms]
            by_clock = [] if gone.source_ms is None else [gone.committed_at_ms]
            message = [FACT, feed, gone.row_id, position, *times, None, bool(gone.earlier), *by_clock]
            self._fact(flow, subject.decode(), message)
            taken, last, sweep.key = taken + 1, subject, key
        self._swept(sweep)

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _clock(self, flow: Flow) -> Clock:
        if flow.name not in self._clocks:
            feeds = {entry.feed for entry in flow.inputs}
            self._clocks[flow.name] = Clock.of(self._store.get(f"k{flow.name}".encode()), feeds)
        return self._clocks[flow.name]

    def _tick(self, flow: Flow, newest: int, offset: int) -> Cuts:
        self._fold_dirty(offset)  # what came before the tick is judged before it
        clock = self._clock(flow)
        if newest > clock.newest:
            clock.newest = newest
            clock.at = clock.allowed
            self._changes.effects.changes[f"k{flow.name}".encode()] = clock.entry()
        return self._wake(flow, clock.at, self._sweep(offset))

    def _hold(self, flow: Flow, bounds: Mapping[str, int | None], offset: int) -> Cuts:
        clock, sweep = self._clock(flow), self._sweep(offset)
        clock.hold(bounds)
        is_free = clock.allowed > clock.at or bool(sweep.key)
        if is_free:
            self._fold_dirty(offset)  # what came before is judged before, as at a tick
            clock.at = clock.allowed
        self._changes.effects.changes[f"k{flow.name}".encode()] = clock.entry()
        return self._wake(flow, clock.at, sweep) if is_free else ()

    def _wake(self, flow: Flow, now: int, sweep: Sweep) -> Cuts:
        start = f"w{flow.name}\0".encode()
        while True:
            stored = self._store.scan(start, sweep.key)
            found = due(stored, self._changes.timers.get(flow.name, {}), len(start), now, sweep)
            for key in found[:SLICE_SUBJECTS]:
                live = self._live(flow, key[len(start) + 8 :].decode())
                self._dirty[live.prefix] = live
            self._sweeping, self._sweep_now = sweep, now
            self._fold_dirty(sweep.offset)
            self._sweeping = None
            if len(found) <= SLICE_SUBJECTS:
                break
            sweep.key = found[SLICE_SUBJECTS - 1]
            yield from self._cut(sweep, sweep.offset)
        self._swept(sweep)

    def _sweep(self, offset: int) -> Sweep:
        """The sweep of the message at this offset, where an earlier slice of it left it."""
        sweep = Sweep.of(self._read(CURSOR), offset)
        self._changes.ordinal = max(self._changes.ordinal, sweep.ordinal)
        return sweep

    def _cut(self, sweep: Sweep, offset: int) -> Cuts:
        """End a slice: what is durable with it is that the message at the offset is done up to here, and still to be taken."""
        self._fold_dirty(offset)
        sweep.ordinal = self._changes.ordinal
        self._changes.effects.changes[CURSOR] = sweep.entry()
        yield offset

    def _swept(self, sweep: Sweep) -> None:
        if sweep.key and self._read(CURSOR) is not None:
            self._changes.effects.changes[CURSOR] = None

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
        is_apart = fold_of(flow, subject).at_tick
        key = self._changes.header(flow, subject, prefix, memory, former, wake_at, is_apart=is_apart)
        if self._sweeping is not None and key is not None and (wake_at or 0) <= self._sweep_now:
            self._sweeping.again.add(key)  # due again at once: that is for the next tick

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
            _logger.error("flow %s: a fold of kind %s failed: %s", flow.name, subject.kind, described(error))  # noqa: TRY400
            outcome, wanted = unfolded(live, error)
        self._changes.rows(live, wanted, outcome.reasons, offset)
        self._changes.tells(live, outcome.tells, offset)
        self._changes.counts(live, outcome.counts)
        if outcome.memory != subject.memory or outcome.wake_at != live.wake_at:
            wake_at = outcome.wake_at
            self._set_header(flow, subject.key, live.prefix, outcome.memory, live.wake_at, wake_at)
            subject.memory, live.wake_at = outcome.memory, wake_at

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _read(self, key: bytes) -> bytes | None:
        """An entry as this batch has left it so far."""
        changes = self._changes.effects.changes
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
            self._changes.put(prefix, prefix + b"h", pack([{}, None]), is_apart=False)
            return
        entries = {key: value for key, value in self._store.scan(prefix)}
        if is_apart:  # facts of this batch went past memory
            for key, value in self._changes.apart.get(prefix, {}).items():
                if value is None:
                    entries.pop(key, None)
                else:
                    entries[key] = value
        for key, value in entries.items():
            restore(live, key[len(prefix) :], value)
