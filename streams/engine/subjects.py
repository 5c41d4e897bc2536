"""Subjects: what a task knows of its subjects, as the slice of a batch in work has left it so far.

Entries are read from the store through what was changed since; subjects stay in memory for news of the same subject (recent.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from streams.engine.changes import Changes
from streams.engine.effects import Effects
from streams.engine.entry import Live, prefix_of, restore
from streams.engine.inbox.message import unpack
from streams.engine.recent import Recent
from streams.operators.flow import Flow, Subject
from streams.operators.rejected_row import fold_of

NEXT_TICK = 0
"""The event time of a timer that is due at the next advance of the clock, whatever that is."""


class Store(Protocol):
    """What a task remembers, as it was at the end of the last batch."""

    def get(self, key: bytes, /) -> bytes | None:
        """An entry."""
        ...

    def scan(self, prefix: bytes, /, after: bytes = b"") -> Iterable[tuple[bytes, bytes]]:
        """Entries whose key starts so, in key order, from `after` on; read to its end or left at any point."""
        ...


class Subjects:
    """One task's. `dirty` are those that a fold has to look at again, by prefix; `due` the timers set for a moment up to `until`."""

    def __init__(self, store: Store, epoch: int) -> None:
        self.store = store
        self.epoch = epoch
        self._recent = Recent()
        self._is_new_likely = True
        self.recent = self._recent.get
        """The subject of a prefix, if it is in memory."""
        self.dirty: dict[bytes, Live] = {}
        self.changes = Changes(epoch)
        self.until: int | None = None
        self.due: set[bytes] = set()

    def begin(self, ordinal: int) -> None:
        """A slice begins; what was changed before is durable, and in the store. Events are numbered from here on."""
        self.changes = Changes(self.epoch, ordinal)
        self.dirty = {}
        self._recent.age()

    def forget(self) -> None:
        """Drop what was only in memory."""
        self._recent.clear()
        self.begin(0)

    def close(self) -> Effects:
        """All effects of the slice."""
        return self.changes.close()

    def read(self, key: bytes) -> bytes | None:
        """An entry as this batch has left it so far."""
        changes = self.changes.effects.changes
        return changes[key] if key in changes else self.store.get(key)

    def is_awake(self, flow: Flow, subject: str) -> bool:
        """Whether a subject that waits to be asked was asked once."""
        return self.read(prefix_of(flow.name, subject) + b"h") is not None

    def live(self, flow: Flow, subject: str) -> Live:
        """The subject, from memory or from its entries."""
        prefix = prefix_of(flow.name, subject)
        live = self._recent.get(prefix)
        if live is None:
            live = Live(prefix, flow, fold_of(flow, subject), Subject(key=subject))
            self._recent.keep(live, self._load(live))
        return live

    def _load(self, live: Live) -> int:
        """Read a subject's entries; how many there are."""
        prefix, waits = live.prefix, live.fold.waits_for is not None
        is_apart = live.fold.at_tick or waits or prefix in self.changes.apart
        # While a flow reads the past most subjects are new, and asking for one entry costs a tenth of a scan; later few are.
        may_be_known = is_apart or not self._is_new_likely or self.store.get(prefix + b"h") is not None
        entries = {key: value for key, value in self.store.scan(prefix)} if may_be_known else {}
        self._is_new_likely = not entries
        if not is_apart and not entries:
            self._put_header(live)
            return 0
        if is_apart:  # facts of this batch went past memory, or entries came from another task
            for key, value in self.changes.apart.get(prefix, {}).items():
                if value is None:
                    entries.pop(key, None)
                else:
                    entries[key] = value
        if waits and prefix + b"h" not in entries:  # asked for the first time
            self._put_header(live)
        for key, value in entries.items():
            restore(live, key[len(prefix) :], value)
        return len(entries)

    def _put_header(self, live: Live) -> None:
        self.changes.header(live.flow, live.subject.key, live.prefix, {}, None, None, is_apart=False)

    def set_header(
        self,
        flow: Flow,
        subject: str,
        prefix: bytes,
        memory: Mapping[str, Any],
        former: int | None,
        wake_at: int | None,
    ) -> None:
        """Set what a subject's last fold asked to remember, and when it is to be folded next."""
        is_apart = fold_of(flow, subject).at_tick
        key = self.changes.header(flow, subject, prefix, memory, former, wake_at, is_apart=is_apart)
        if self.until is not None and key is not None and (wake_at or 0) <= self.until:
            self.due.add(key)

    def mark(self, live: Live, *, is_urgent: bool = False) -> None:
        """There is news of a subject in memory: it is folded with this batch, or at the next tick."""
        if live.fold.at_tick:
            self.fold_at_next_tick(live.flow, live.subject.key, is_urgent=is_urgent)
        else:
            self.dirty[live.prefix] = live

    def fold_at_next_tick(self, flow: Flow, subject: str, *, is_urgent: bool = False) -> None:
        """Set the timer of a subject that is folded at ticks, unless its fold is patient and has set one.

        What an officer decides is urgent: no fold is so patient as to let a person wait for a month.
        """
        prefix = prefix_of(flow.name, subject)
        if (live := self._recent.get(prefix)) is not None:
            memory, wake_at = live.subject.memory, live.wake_at
        else:
            header = self.read(prefix + b"h")
            memory, wake_at = unpack(header) if header else ({}, None)
        is_waiting = wake_at is not None and not is_urgent and fold_of(flow, subject).is_patient
        if wake_at != NEXT_TICK and not is_waiting:
            self.set_header(flow, subject, prefix, memory, wake_at, NEXT_TICK)
            if live is not None:
                live.wake_at = NEXT_TICK

    # ── from task to task ────────────────────────────────────────────────────────────────────────────────────────────

    def rise(self, epoch: int) -> None:
        """Positions of rows begin with this epoch from here on."""
        self.epoch = self.changes.epoch = epoch

    def leave(self, prefix: bytes, key: bytes, value: bytes) -> None:
        """An entry of the subject of this prefix goes to another task."""
        self._recent.drop(prefix)
        self.changes.move(prefix, key, value, is_here=False)

    def come(self, prefix: bytes, key: bytes, value: bytes) -> None:
        """An entry comes from another task: of the subject of this prefix, or a clock, which has none."""
        self.changes.move(prefix, key, value, is_here=True)
