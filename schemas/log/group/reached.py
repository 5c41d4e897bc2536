"""Reached: how far a reader's partitions are done, from where on nothing is confirmed though more is done, and what was told."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable

from schemas.change import Batch, Partition


class Reached:
    """Offsets per partition. `durable` is what may be confirmed."""

    def __init__(self) -> None:
        self.durable: dict[Partition, int] = {}
        self._reached: dict[Partition, int] = {}
        self._kept_back: dict[Partition, int] = {}
        self._told: dict[Partition, int] = {}

    def begin(self, place: Partition, start: int, told: int) -> None:
        """A partition is read from here, a negative start is Kafka's beginning; the group knows of it what was told."""
        self._reached[place] = start
        self._told[place] = told

    def of(self, place: Partition) -> int:
        """Where the partition goes on; negative for Kafka's beginning."""
        return self._reached.get(place, -2)

    def done(self, place: Partition, next_offset: int) -> None:
        """Everything below is durable downstream."""
        self._reached[place] = reached = max(next_offset, self.of(place))
        self.durable[place] = min(reached, self._kept_back.get(place, reached))

    def keep_back(self, place: Partition, offset: int | None) -> int:
        """Confirm nothing from this offset on; None: no more. Where the partition has come to."""
        self._kept_back[place] = sys.maxsize if offset is None else offset
        reached = max(0, self.of(place))
        self.done(place, reached)
        return reached

    def news(self, places: Collection[Partition]) -> dict[Partition, int]:
        """What of these places the group does not know yet; it counts as told from now on."""
        news = {
            place: offset
            for place, offset in self.durable.items()
            if place in places and self._told.get(place) != offset
        }
        self._told |= news
        return news

    def was_not_told(self, place: Partition) -> None:
        """The group did not hear of this place: it belongs to the next news."""
        self._told.pop(place, None)

    def undone(self, batches: Iterable[Batch]) -> list[Batch]:
        """Of these batches, the records that are not done."""
        left: list[Batch] = []
        for batch in batches:
            reached = self.of((batch.topic, batch.partition))
            if records := [record for record in batch.records if record.offset >= reached]:
                left.append(Batch(topic=batch.topic, partition=batch.partition, records=records))
        return left

    def forget(self, place: Partition) -> None:
        """The partition is not read any more."""
        for known in (self.durable, self._reached, self._kept_back, self._told):
            known.pop(place, None)
