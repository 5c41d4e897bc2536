"""Folding: messages become facts of subjects, subjects are folded, and what differs from before is emitted.

Pure over a `Store`: it reads entries and hands back what is to be written, slice by slice, so that state, outputs and input
position of each can be written in one transaction (streams/engine/task.py). How entries look is in entry.py.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from schemas.trace import described
from streams.engine.division.division import Division
from streams.engine.division.moving import Moving
from streams.engine.effects import Effects
from streams.engine.entry import Live, due_of, fact_of
from streams.engine.evidence import SubjectEvidence
from streams.engine.inbox.intake import check_subject
from streams.engine.inbox.message import (
    COUNT,
    DIVIDE,
    FACT,
    GONE,
    OF_DIVISION,
    TICK,
    WATERMARKS,
    split_key,
    unpack,
)
from streams.engine.subjects import Store, Subjects
from streams.engine.time.clock import Clock
from streams.engine.time.sweep import CURSOR, SLICE_SUBJECTS, Sweep, due, merged
from streams.operators.decided import fold_decided
from streams.operators.flow import DECISION, Flow, row_id
from streams.operators.rejected_row import unfolded

_logger = logging.getLogger(__name__)

Cuts = Iterable[int]
"""Where slices end, as they are reached: the input position that goes with what was gathered so far."""


class Folding:
    """One task's folding. After a batch whose effects were not made durable, call `forget` before the next.

    `feeds`, kept up to date by whoever knows, are the onboarded feeds: see Subject.
    """

    def __init__(self, flows: Iterable[Flow], store: Store, division: Division | None = None) -> None:
        self._flows = {flow.name: flow for flow in flows}
        self.division = division or Division(0, [1], 1)
        self.subjects = Subjects(store, self.division.epoch)
        self._moving = Moving(self.subjects, self.division)
        self._evidence = SubjectEvidence(self.subjects)
        self._clocks: dict[str, Clock] = {}
        self.feeds: frozenset[str] | None = None

    def forget(self) -> None:
        """Drop what was only in memory."""
        self.subjects.forget()
        self._clocks.clear()

    def apply(self, messages: Sequence[tuple[int, bytes, bytes]]) -> Iterator[tuple[Effects, int]]:
        """Take (offset, key, value) of one inbox partition, in order; yields the effects of one slice after the other.

        With each comes the input position up to which it goes. A slice must be durable, and in the store, before the next is asked
        for. There is one, but for a tick or a truncate that concerns very many subjects.
        """
        subjects = self.subjects
        subjects.begin(0)
        offset = 0
        for offset, key, value in messages:
            if self._moving.forwards(key, value):
                continue
            for position in self._take(key, unpack(value), offset):
                yield subjects.close(), position
                subjects.begin(subjects.changes.ordinal)
        self._fold_dirty(offset)
        yield subjects.close(), offset + 1

    def _take(self, key: bytes, message: Sequence[Any], offset: int) -> Cuts:
        kind = message[0]
        if kind == FACT and (live := self.subjects.recent(b"s" + key + b"\0")) is not None:
            self._evidence.fact_of_live(live, message)
            return ()
        if kind in OF_DIVISION:
            return self._divided(message, offset)
        name, subject = split_key(key)
        if not subject:
            return self._to_all(name, key, message, offset)
        flow = self._flows.get(name)
        if flow is None:
            return ()  # a flow that was taken out of the configuration: its state stays until it is dropped
        if kind == FACT:
            self._evidence.fact(flow, subject, message)
        elif kind == COUNT:
            self._evidence.count(flow, subject, message)
        else:
            raise _unknown(name, kind)
        return ()

    def _to_all(self, name: str, key: bytes, message: Sequence[Any], offset: int) -> Cuts:
        kind, flow = message[0], self._flows.get(name)
        if self.division.is_divided and not self._sweep(offset).key:  # otherwise an earlier slice has sent it on
            self._moving.send_on(key, message)
        if flow is None:
            return ()
        if kind == TICK:
            return self._tick(flow, message, offset)
        if kind == GONE:
            return self._gone(flow, message[1], message[2], offset)
        if kind == WATERMARKS:
            return self._watermarks(flow, message[1], offset)
        raise _unknown(name, kind)

    def _divided(self, message: Sequence[Any], offset: int) -> Cuts:
        kind, tasks = message[:2]
        if kind != DIVIDE:
            self._moving.hear(message)
            self._clocks.clear()
        elif tasks > self.division.tasks:  # otherwise it is told again
            self._fold_dirty(offset)
            sweep = self._sweep(offset)
            clocks = [(f"k{name}".encode(), self._clock(flow).entry()) for name, flow in self._flows.items()]
            for _ in self._moving.divide(tasks, clocks, sweep):
                yield from self._cut(sweep, offset)
            self._swept(sweep)

    def _gone(self, flow: Flow, feed: str, position: str, offset: int) -> Cuts:
        """The feed's rows up to a position are gone, all at once: look through every subject of the flow."""
        start, mark = f"s{flow.name}\0".encode(), f"f{feed}\0".encode()
        sweep = self._sweep(offset)
        taken, last = 0, b""
        changed = {key: True for key in self.subjects.changes.effects.changes if key.startswith(start)}
        walk = merged(self.subjects.store.scan(start, sweep.key), changed, sweep.key)
        while (key := next(walk, None)) is not None:
            subject, _, rest = key[len(start) :].partition(b"\0")
            if not rest.startswith(mark) or (entry := self.subjects.read(key)) is None:
                continue
            known = unpack(entry)
            if known[0] >= position or known[3] is None:
                continue
            if taken >= SLICE_SUBJECTS and subject != last:  # between subjects: each is folded once
                yield from self._cut(sweep, offset)
                taken = 0
                # What was changed is in the store now.
                walk = merged(self.subjects.store.scan(start, key), {}, sweep.key)
                continue
            gone = fact_of(feed, rest[len(mark) :].decode(), known)
            times = [gone.event_at, gone.caused_ms]
            by_clock = [] if gone.source_ms is None else [gone.committed_at_ms]
            message = [FACT, feed, gone.row_id, position, *times, None, bool(gone.earlier), *by_clock]
            self._evidence.fact(flow, subject.decode(), message)
            taken, last, sweep.key = taken + 1, subject, key
        self._swept(sweep)

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _clock(self, flow: Flow) -> Clock:
        if flow.name not in self._clocks:
            feeds = {entry.feed for entry in flow.inputs}
            self._clocks[flow.name] = Clock.of(self.subjects.read(f"k{flow.name}".encode()), feeds)
        return self._clocks[flow.name]

    def _tick(self, flow: Flow, message: Sequence[Any], offset: int) -> Cuts:
        self._fold_dirty(offset)  # what came before the tick is judged before it
        clock = self._clock(flow)
        former, newest = clock.at, message[1]
        if newest > clock.newest:
            clock.newest = newest
            clock.moved_ms = message[2] if message[2:] else 0  # none: a message of an earlier version
            clock.at = clock.allowed
            self.subjects.changes.effects.changes[f"k{flow.name}".encode()] = clock.entry()
        return self._wake(flow, clock, former, self._sweep(offset))

    def _watermarks(self, flow: Flow, bounds: Mapping[str, int | None], offset: int) -> Cuts:
        clock, sweep = self._clock(flow), self._sweep(offset)
        clock.take(bounds)
        former, is_free = clock.at, clock.allowed > clock.at or bool(sweep.key)
        if is_free:
            self._fold_dirty(offset)  # what came before is judged before, as at a tick
            clock.at = clock.allowed
        self.subjects.changes.effects.changes[f"k{flow.name}".encode()] = clock.entry()
        return self._wake(flow, clock, former, sweep) if is_free else ()

    def _wake(self, flow: Flow, clock: Clock, former: int, sweep: Sweep) -> Cuts:
        """Fold whose timers are due, now that the clock has gone on from `former`."""
        start, now = f"w{flow.name}\0".encode(), clock.at
        former = sweep.former = sweep.former if sweep.key else former
        while True:
            stored = self.subjects.store.scan(start, sweep.key)
            found = due(stored, self.subjects.changes.timers.get(flow.name, {}), len(start), now, sweep)
            for key in found[:SLICE_SUBJECTS]:
                live = self.subjects.live(flow, key[len(start) + 8 :].decode())
                if due_of(key, len(start)) > former:
                    live.woken_ms = clock.moved_ms
                self.subjects.dirty[live.prefix] = live
            self.subjects.until, self.subjects.due = (
                now,
                sweep.again,
            )  # what is due again at once is for the next tick
            self._fold_dirty(sweep.offset)
            self.subjects.until = None
            if len(found) <= SLICE_SUBJECTS:
                break
            sweep.key = found[SLICE_SUBJECTS - 1]
            yield from self._cut(sweep, sweep.offset)
        self._swept(sweep)

    def _sweep(self, offset: int) -> Sweep:
        """The sweep of the message at this offset, where an earlier slice of it left it."""
        sweep = Sweep.of(self.subjects.read(CURSOR), offset)
        self.subjects.changes.ordinal = max(self.subjects.changes.ordinal, sweep.ordinal)
        return sweep

    def _cut(self, sweep: Sweep, offset: int) -> Cuts:
        """End a slice: what is durable with it is that the message at the offset is done up to here, and still to be taken."""
        self._fold_dirty(offset)
        sweep.ordinal = self.subjects.changes.ordinal
        self.subjects.changes.effects.changes[CURSOR] = sweep.entry()
        yield offset

    def _swept(self, sweep: Sweep) -> None:
        if sweep.key and self.subjects.read(CURSOR) is not None:
            self.subjects.changes.effects.changes[CURSOR] = None

    # ── folding ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _fold_dirty(self, offset: int) -> None:
        subjects = self.subjects
        dirty, subjects.dirty = subjects.dirty, {}
        for live in dirty.values():
            self._fold(live, offset)

    def _fold(self, live: Live, offset: int) -> None:
        flow, subject = live.flow, live.subject
        subject.now, subject.feeds = self._clock(flow).at, self.feeds
        bases: Mapping[str, str] = {}
        try:
            if DECISION in subject.facts:
                outcome, bases = fold_decided(live.fold.fold, subject, flow.queue)
            else:
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
        self.subjects.changes.rows(live, wanted, outcome.reasons, offset, bases)
        self.subjects.changes.tells(live, outcome.tells, offset)
        self.subjects.changes.counts(live, outcome.counts)
        if outcome.memory != subject.memory or outcome.wake_at != live.wake_at:
            wake_at = outcome.wake_at
            self.subjects.set_header(flow, subject.key, live.prefix, outcome.memory, live.wake_at, wake_at)
            subject.memory, live.wake_at = outcome.memory, wake_at
        live.woken_ms = 0


def _unknown(flow: str, kind: int) -> ValueError:
    return ValueError(f"flow {flow}: a message of unknown kind {kind}")
