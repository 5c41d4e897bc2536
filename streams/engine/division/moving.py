"""Moving: subjects that belong to a new task are handed over to it, entry by entry (streams/engine/division/division.py).

What is handed over leaves the old task's state in the transaction that sends it, and enters the new task's in that which takes it.
A subject may come in several pieces: nobody folds it meanwhile, since the new task hears of it, and of time, from the old one alone,
behind all pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from streams.engine.division.division import ENTRY, Division
from streams.engine.entry import subject_of
from streams.engine.inbox.bundle import partition_of
from streams.engine.inbox.intake import Outgoing
from streams.engine.inbox.message import MOVED, pack
from streams.engine.subjects import Subjects
from streams.engine.time.sweep import Sweep, merged

PIECE_BYTES = 64 << 10
SLICE_BYTES = 4 << 20
"""About how much is handed over in one transaction."""
LOOK_ENTRIES = 200_000
"""So many entries are looked at before others hear that it gets on."""

_SUBJECTS = b"s"


class Moving:
    """One task's part in the division of subjects."""

    def __init__(self, subjects: Subjects, division: Division) -> None:
        self._subjects = subjects
        self._division = division

    def forwards(self, key: bytes, value: bytes) -> bool:
        """Send on a message to a subject that is another task's by now; whether it was."""
        division = self._division
        if not division.is_divided or key.endswith(b"\0") or (owner := division.owner(key)) == division.partition:
            return False
        self._subjects.changes.effects.onward.append((owner, Outgoing(key, value)))
        return True

    def send_on(self, key: bytes, message: Sequence[Any]) -> None:
        """Send what goes to every task to those that hear of it from here."""
        self._send(Outgoing(key, pack(message)), self._division.children())

    def hear(self, message: Sequence[Any]) -> None:
        """Take what comes from the task that had it, or by which number messages are sent from here on."""
        kind, tasks, *came = message
        if kind == MOVED:
            self._arrive(tasks, *came)
        else:
            self._division.routed = max(self._division.routed, tasks)
        self._save()

    def divide(self, tasks: int, clocks: Sequence[tuple[bytes, bytes]], sweep: Sweep) -> Iterator[None]:
        """Hand over what belongs to the new ones of so many tasks; pauses where a slice is to end, `sweep` says how far it came.

        The first that they hear is what they are, and what time it is.
        """
        if self._division.steps:
            if not sweep.key:
                self._tell(tasks, clocks)
            yield from self._move(tasks, sweep)
        self._division.grow(tasks)
        self._save()

    def _tell(self, tasks: int, clocks: Sequence[tuple[bytes, bytes]]) -> None:
        division = self._division
        entries = [part for entry in clocks for part in entry]
        # Under a flow's name: an earlier version would pass over what is of a flow that it does not know.
        message = Outgoing(clocks[0][0][1:] + b"\0", pack([MOVED, tasks, division.epoch, *entries]))
        self._send(message, division.born(division.tasks, tasks))

    def _send(self, message: Outgoing, children: Iterable[int]) -> None:
        self._subjects.changes.effects.onward += [(child, message) for child in children]

    def _move(self, tasks: int, sweep: Sweep) -> Iterator[None]:
        subjects, partition = self._subjects, self._division.partition
        pieces = _Pieces(subjects, [MOVED, tasks, self._division.epoch])
        changed = {key: True for key in subjects.changes.effects.changes if key.startswith(_SUBJECTS)}
        walk = merged(subjects.store.scan(_SUBJECTS, sweep.key), changed, sweep.key)
        looked = 0
        while (key := next(walk, None)) is not None:
            name, prefix = subject_of(key)
            owner = partition_of(name, tasks)
            if owner != partition and (value := subjects.read(key)) is not None:
                pieces.take(owner, name, key, value)
                subjects.leave(prefix, key, value)
            looked, sweep.key = looked + 1, key
            if pieces.sent_bytes >= SLICE_BYTES or looked >= LOOK_ENTRIES:
                pieces.close()
                yield
                pieces.sent_bytes = looked = 0
                walk = merged(subjects.store.scan(_SUBJECTS, key), {}, key)  # what was changed is in the store now
        pieces.close()

    def _arrive(self, tasks: int, epoch: int, *entries: bytes) -> None:
        division, subjects = self._division, self._subjects
        if not division.steps:
            division.grow(tasks)
        division.epoch = max(division.epoch, epoch + 1)
        subjects.rise(division.epoch)
        for key, value in zip(entries[::2], entries[1::2], strict=True):
            subjects.come(subject_of(key)[1] if key.startswith(_SUBJECTS) else b"", key, value)

    def _save(self) -> None:
        self._subjects.changes.effects.changes[ENTRY] = self._division.entry()


class _Pieces:
    """What is handed over of one subject after the other, as messages."""

    def __init__(self, subjects: Subjects, head: Sequence[int]) -> None:
        self._subjects = subjects
        self._head = head
        self._owner = 0
        self._name = b""
        self._entries: list[bytes] = []
        self._bytes = 0
        self.sent_bytes = 0

    def take(self, owner: int, name: bytes, key: bytes, value: bytes) -> None:
        """An entry of the subject of this message key, for that task."""
        size = len(key) + len(value)
        if name != self._name or self._bytes + size > PIECE_BYTES:
            self.close()
            self._owner, self._name = owner, name
        self._entries += (key, value)
        self._bytes += size

    def close(self) -> None:
        """Send what was taken."""
        if self._entries:
            message = Outgoing(self._name, pack([*self._head, *self._entries]))
            self._subjects.changes.effects.onward.append((self._owner, message))
            self.sent_bytes += self._bytes
            self._entries, self._bytes = [], 0
