"""Look: what there is of one row on the way from its feed to a subscriber, read from the brokers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ops.redelivery.letter import WAITING, Letter, letters
from ops.settings import Settings
from ops.watch.incidents import read as read_incidents
from ops.watch.lag import STREAMS_GROUP, delivery_group
from ops.watch.offsets.confirmed import Confirmed
from schemas.agreement.directory import FeedEntry, GrantEntry
from schemas.change import Record
from schemas.feed import EGRESS
from schemas.incident import Incident, key_of
from schemas.log.control.store import ControlReader
from schemas.log.offsets import bounds, partitions_of
from schemas.log.range import read_range
from streams.engine.inbox.bundle import partition_of

TELL_RECORDS = 500_000

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The last record of a key in a topic."""

    partition: int
    record: Record

    @property
    def is_removal(self) -> bool:
        """Whether it is a tombstone; what is removed has one."""
        return self.record.value is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The last change and the last record of a key in a topic; either may be missing. `emptied_at`: a later truncate, its offset."""

    change: Place | None = None
    last: Place | None = None
    emptied_at: int | None = None


class Look:
    """Asks the brokers about one grant. Raises Transient."""

    def __init__(self, settings: Settings, say: Say) -> None:
        self._settings = settings
        self._kafka = settings.kafka
        self._say = say

    def in_feed(self, feed: FeedEntry, key: bytes) -> Found:
        """What the feed has of the key: first where it belongs, and where nothing is, wherever else."""
        numbers = list(range(partitions_of(self._kafka, feed.feed)))
        home = partition_of(key, len(numbers)) if numbers else 0
        return self.in_topic(feed.feed, key, sorted(numbers, key=lambda number: number != home))

    def in_topic(self, topic: str, key: bytes, numbers: Iterable[int]) -> Found:
        """The first partition that has the key. The frame of a key names its schema, which may have had other ids."""
        body = key[5:]
        for number in numbers:
            found, count = Found(), 0
            start, end = bounds(self._kafka, topic, number)
            for batch in read_range(self._kafka, topic, number, start, end):
                for record in batch.records:
                    if not record.key:
                        found = Found(change=found.change, last=found.last, emptied_at=record.offset)
                    elif record.key[5:] == body:
                        place = Place(partition=number, record=record)
                        found = Found(change=found.change if record.value is None else place, last=place)
                count += len(batch.records)
                if count >= TELL_RECORDS:
                    count = 0
                    self._say(f"{topic} [{number}]: {batch.next_offset - start:,} of {end - start:,} records")
            if found.last is not None:
                return found
        return Found()

    def confirmed(self, entry: GrantEntry, partition: int) -> tuple[int, int]:
        """Up to where streams have taken the feed's partition, and the subscriber's sink has acknowledged its topic's."""
        own, confirmed = delivery_group(entry.grant.subscriber, entry.grant.sink), Confirmed(self._kafka)
        taken = confirmed(STREAMS_GROUP, (entry.grant.feed, partition))
        return max(0, taken), max(0, confirmed(own, (entry.topic, partition)))

    def letters(self, entry: GrantEntry, feed_key: bytes, out_key: bytes) -> list[Letter]:
        """The waiting dead letters of the row, in delivery or before."""
        wanted = {entry.grant.feed: feed_key[5:], entry.grant.grant_id: out_key[5:]}
        found = letters(self._settings, wanted, state=WAITING)
        return [each for each in found if (each.record.key or b"")[5:] == wanted[each.owner]]

    def incidents(self, entry: GrantEntry) -> list[Incident]:
        """What stands in the way of the grant, its sink or its feed."""
        known, grant = read_incidents(self._kafka), entry.grant
        keys = [
            key_of("sink", f"{grant.subscriber}.{grant.sink}"),
            key_of("grant", grant.grant_id),
            key_of("feed", grant.feed),
        ]
        return [known[key] for key in keys if key in known]

    def liveness(self, grant_id: str, partition: int) -> Mapping[str, Any] | None:
        """From where streams serve the grant live in a partition (streams/egress/liveness.py)."""
        return ControlReader(self._kafka, EGRESS).all().get(f"{grant_id}/{partition}")
