"""Batch accumulator: what a lane has read and not yet written, one batch per partition, until it is full or old enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from schemas.change import Batch, Partition, Record
from sinks.sink import BatchingPolicy


def size_of(records: Sequence[Record]) -> int:
    """Bytes of the values."""
    return sum(len(record.value or b"") for record in records)


class BatchAccumulator:
    """Totals run along: a drop that grows for a minute is not counted at each poll."""

    def __init__(self, batching: BatchingPolicy) -> None:
        self._batching = batching
        self._runs: dict[Partition, list[Record]] = {}
        self._opened_at = 0.0
        self._count = 0
        self._size_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._runs)

    @property
    def room(self) -> tuple[int, int]:
        """How many records and bytes more it takes; at least one of each."""
        return max(1, self._batching.records_max - self._count), max(1, self._batching.bytes_max - self._size_bytes)

    def add(self, batches: Sequence[Batch], now: float) -> None:
        """Take up what was read. A partition that is read anew, because it went and came back, begins anew here as well."""
        if not self._runs:
            self._opened_at = now
        for batch in batches:
            place = (batch.topic, batch.partition)
            if (run := self._runs.get(place)) and batch.records[0].offset <= run[-1].offset:
                self._drop(place)
            self._runs.setdefault(place, []).extend(batch.records)
            self._count += len(batch.records)
            self._size_bytes += size_of(batch.records)

    def keep(self, owns: Callable[[str, int], bool]) -> None:
        """Drop what is no longer ours."""
        for place in [place for place in self._runs if not owns(*place)]:
            self._drop(place)

    def wait_seconds(self, now: float) -> float:
        """How long until it is due."""
        return max(0.0, self._opened_at + self._batching.linger_seconds - now)

    def is_due(self, now: float) -> bool:
        """Whether it is time to write: full, or old enough."""
        is_full = self._count >= self._batching.records_max
        is_full = is_full or (self._batching.linger_seconds > 0 and self._size_bytes >= self._batching.bytes_max)
        return is_full or now - self._opened_at >= self._batching.linger_seconds

    def take(self) -> list[Batch]:
        """Everything, one batch per partition; it is empty then."""
        taken = [Batch(topic=place[0], partition=place[1], records=run) for place, run in self._runs.items()]
        self._runs, self._count, self._size_bytes = {}, 0, 0
        return taken

    def _drop(self, place: Partition) -> None:
        run = self._runs.pop(place)
        self._count -= len(run)
        self._size_bytes -= size_of(run)
