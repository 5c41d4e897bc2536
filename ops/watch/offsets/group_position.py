"""Group position: how far a consumer group has read, asked again and again by somebody who waits for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from ops.watch.offsets.confirmed import Confirmed
from schemas.change import Partition
from schemas.errors import Transient
from schemas.log.kafka import Kafka


class GroupPosition:
    """While the broker does not answer, the position is as it was; `say` is told so."""

    def __init__(self, kafka: Kafka, group: str, say: Callable[[str], None]) -> None:
        self._group = group
        self._say = say
        self._confirmed = Confirmed(kafka)
        self._read: Mapping[Partition, int] = {}

    def look(self, places: Collection[Partition]) -> Mapping[Partition, int]:
        """The next offset of those of the partitions that it has read from."""
        try:
            confirmed = self._confirmed.of([self._group])[self._group]
        except Transient as error:
            self._say(f"{error.problem}; it is asked again")
        else:
            self._read = {place: offset for place, offset in confirmed.items() if place in places}
        return self._read
