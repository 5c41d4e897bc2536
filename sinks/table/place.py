"""Place: how far one subscriber's database is, by what it says itself; and whether that is still what we left there.

The offsets stand in the database beside the rows (SK-06), so a database that was restored from a backup, or replaced by an empty one,
says so: every transaction moves an offset from where we know it to be, and one that finds it elsewhere changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from schemas.change import Partition
from schemas.errors import Fenced
from sinks.sink import BEGINNING, Moved


class OffsetMove(NamedTuple):
    """One partition's offset, from where we know it to be; BEGINNING for nothing yet. The epoch is ours."""

    place: Partition
    former: int
    next_offset: int
    epoch: int


class StoredOffset(NamedTuple):
    """What a database says of a partition. BEGINNING for nothing yet."""

    next_offset: int
    epoch: int


class OffsetTable(Protocol):
    """`_mesh_offsets` of one database."""

    def make(self) -> None:
        """Have our own tables. Raises Misconfigured where that may not be."""
        ...

    def take(self, partitions: Sequence[Partition]) -> Iterable[tuple[Partition, StoredOffset]]:
        """Raise the epoch of these partitions, so that what an earlier owner holds is fenced; where each is."""
        ...

    def read(self, topics: Collection[str]) -> Mapping[Partition, StoredOffset]:
        """Where the partitions of these topics are."""
        ...

    def set(self, offsets: Mapping[Partition, StoredOffset]) -> int:
        """Set these offsets now, wherever they are, where the epoch is ours; of how many partitions it is."""
        ...

    def queue(self, moves: Sequence[OffsetMove]) -> None:
        """Move offsets in the open transaction, which ends with Fenced where one is not ours, or not where we know it to be."""
        ...


class OffsetPlace:
    """The offsets of the partitions that one sink has taken over.

    `at` is where each will be once everything queued is committed, BEGINNING for nothing yet; `epochs` fence other owners.
    """

    def __init__(self, table: OffsetTable, subscriber: str) -> None:
        self._table = table
        self._subscriber = subscriber
        self._is_ready = False
        self._is_known = True
        self._sure: dict[Partition, int] = {}
        self.at: dict[Partition, int] = {}
        self.epochs: dict[Partition, int] = {}
        self._low_watermarks: dict[Partition, int] = {}

    def take(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Take partitions over, from whoever had them; where each is."""
        self.prepare()
        starts: dict[Partition, int] = {}
        for place, stored in self._table.take(partitions):
            self.epochs[place] = stored.epoch
            starts[place] = stored.next_offset
        self.at.update(starts)
        self._sure.update(starts)
        return starts

    def rewind(self, starts: Mapping[Partition, int]) -> None:
        """Set partitions that are ours back, or on, to these offsets."""
        wanted = {place: StoredOffset(starts[place], self.epochs[place]) for place in sorted(starts)}
        if self._table.set(wanted) < len(starts):
            raise Fenced(f"{self._subscriber}: another process took a partition over")
        self.at.update(starts)
        self._sure.update(starts)

    def set_low_watermark(self, place: Partition, offset: int | None) -> None:
        """See LowWatermarkKeeper."""
        if offset is None:
            self._low_watermarks.pop(place, None)
        else:
            self._low_watermarks[place] = offset

    def send(self, offsets: Mapping[Partition, int]) -> None:
        """Queue that partitions come to these offsets, in the transaction that is open."""
        places, at = sorted(offsets), self.at
        # Never back, and never past the low watermark of what still waits.
        news = {p: max(at[p], min(offsets[p], self._low_watermarks.get(p, offsets[p]))) for p in places}
        self._table.queue([OffsetMove(place, at[place], news[place], self.epochs[place]) for place in places])
        at.update(news)

    def committed(self, places: Collection[Partition]) -> None:
        """Everything queued for these partitions is committed."""
        self._sure.update({place: self.at[place] for place in places})

    def drop(self, topic: str) -> None:
        """The topic has ended: where it was is of no concern any more."""
        for place in [place for place in self.epochs if place[0] == topic]:
            for known in (self.epochs, self.at, self._sure):
                known.pop(place, None)

    def doubt(self) -> None:
        """A transaction failed: it may be committed or not, and the database may be another one now."""
        self._is_known = self._is_ready = False

    def ensure(self, places: Collection[Partition]) -> None:
        """See that these partitions are ours, and where they are. Raises Fenced and Moved."""
        if unknown := [place for place in places if place not in self.epochs]:
            self.take(unknown)
        if not self._is_known:
            self.check()

    def check(self) -> None:
        """Read anew where the database is. Raises Fenced when another process took over, Moved when it went back."""
        self.prepare()
        found = self._table.read({topic for topic, _ in self.epochs})
        for place, epoch in self.epochs.items():
            there = found.get(place)
            if there is None or there.next_offset < self._sure[place]:
                raise Moved(place[0], f"{self._subscriber}'s database is behind what was delivered to it")
            if there.epoch != epoch:
                raise Fenced(f"{self._subscriber}: another process took a partition over")
            self.at[place] = self._sure[place] = there.next_offset
        self._is_known = True

    def prepare(self) -> None:
        """Have our own tables there. Raises Misconfigured where that may not be."""
        if not self._is_ready:
            self._table.make()
            self._is_ready = True


def stored(next_offset: int | None, epoch: int) -> StoredOffset:
    """As a database has it: null for nothing yet."""
    return StoredOffset(BEGINNING if next_offset is None else next_offset, epoch)
