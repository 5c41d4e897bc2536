"""Deferred changes: those of a lane that wait for others, and behind each the later ones of its key (invariant 4). Pure."""

from __future__ import annotations

from collections.abc import Collection, Container
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.change import Batch, Partition, Record
from sinks.sink import NotYet


class Wait(NamedTuple):
    """Why the first change of a key waits, and since when."""

    error: NotYet
    since: float


@dataclass(slots=True)
class _Waiting:
    """The changes of one partition that wait, in order, and why the first of each key does."""

    records: list[Record] = field(default_factory=list[Record])
    waits: dict[bytes, Wait] = field(default_factory=dict[bytes, Wait])


class DeferredChanges:
    """They are in memory only: `low_watermark` is what keeps the stored offsets below them."""

    def __init__(self) -> None:
        self._queues: dict[Partition, _Waiting] = {}

    def __bool__(self) -> bool:
        return bool(self._queues)

    def __len__(self) -> int:
        return sum(len(queue.records) for queue in self._queues.values())

    def places(self) -> list[Partition]:
        """The partitions that have some."""
        return list(self._queues)

    def topics(self) -> set[str]:
        """The topics that have some."""
        return {topic for topic, _ in self._queues}

    def batches(self, left_out: Container[str]) -> list[Batch]:
        """All that wait, but for those of some topics."""
        return [
            Batch(topic=topic, partition=partition, records=list(queue.records))
            for (topic, partition), queue in self._queues.items()
            if topic not in left_out
        ]

    def low_watermark(self, place: Partition) -> int | None:
        """The offset of the first change of a partition that waits."""
        queue = self._queues.get(place)
        return queue.records[0].offset if queue and queue.records else None

    def queue_behind(self, batch: Batch) -> Batch | None:
        """The batch without the changes whose key waits, which queue behind it; None when no others are left."""
        queue = self._queues.get((batch.topic, batch.partition))
        if queue is None:
            return batch
        free = [record for record in batch.records if record.key not in queue.waits]
        queue.records += [record for record in batch.records if record.key in queue.waits]
        return Batch(topic=batch.topic, partition=batch.partition, records=free) if free else None

    def add(self, batch: Batch, error: NotYet, now: float) -> None:
        """The batch's one change waits, the first of its key."""
        queue, record = self._queues.setdefault((batch.topic, batch.partition), _Waiting()), batch.records[0]
        queue.records.append(record)
        queue.waits[record.key or b""] = Wait(error, now)

    def wait_of(self, batch: Batch) -> Wait | None:
        """Why the batch's one change waits; None for one that is not the first of its key, since it waits for that one."""
        queue, record = self._queues[batch.topic, batch.partition], batch.records[0]
        first = next((each for each in queue.records if each.key == record.key), None)
        return queue.waits.get(record.key or b"") if first is record else None

    def remove(self, batch: Batch) -> None:
        """These wait no more."""
        queue = self._queues[batch.topic, batch.partition]
        gone = {record.offset for record in batch.records}
        queue.records = [record for record in queue.records if record.offset not in gone]
        keys = {record.key or b"" for record in queue.records}
        queue.waits = {key: wait for key, wait in queue.waits.items() if key in keys}

    def begin_anew(self, batch: Batch, now: float) -> None:
        """The first of a key was given up: the next one, if there is one, waits from now on."""
        waits, key = self._queues[batch.topic, batch.partition].waits, batch.records[0].key or b""
        if key in waits:
            waits[key] = waits[key]._replace(since=now)

    def forget(self, places: Collection[Partition]) -> None:
        """These partitions have none, or are not ours any more."""
        for place in places:
            del self._queues[place]
