"""Chunk: what goes into one transaction, folded from runs of records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from schemas.change import Batch, Partition
from schemas.wire.envelope import unframe
from sinks.table.fold import RunFold
from sinks.table.reading import Taken
from sinks.table.target import TableT, TargetTable
from sinks.table.targets import NO_SCHEMA, Targets

CHUNK_ROWS = 2_000
AWAITED_MAX = 10_000


@dataclass(slots=True)
class Chunk(Generic[TableT]):
    """What goes into one transaction: per topic its target and fold, and the offsets behind them."""

    work: dict[str, tuple[TargetTable[TableT], RunFold]] = field(default_factory=dict[str, Any])
    offsets: dict[Partition, int] = field(default_factory=dict[Partition, int])
    count: int = 0


class Chunks(Generic[TableT]):
    """Folds runs into chunks. Remembers of each partition the removals whose tombstone is still to come, which says nothing new."""

    def __init__(self, targets: Targets[TableT]) -> None:
        self._targets = targets
        self._awaited: dict[Partition, dict[bytes, None]] = {}

    def of(self, batches: Sequence[Batch]) -> Iterator[Chunk[TableT]]:
        """Chunks of about CHUNK_ROWS changes, in order; each is to be sent before the next is asked for."""
        chunk = Chunk[TableT]()
        for batch in batches:
            start, end = 0, len(batch.records)
            while start < end:
                stop = self._fold(batch, start, min(end, start + CHUNK_ROWS - chunk.count), chunk)
                if stop > start:
                    chunk.offsets[batch.topic, batch.partition] = batch.records[stop - 1].offset + 1
                chunk.count += stop - start
                # A full chunk goes, and so does one before a record of another schema.
                if chunk.count >= CHUNK_ROWS or stop < end:
                    yield chunk
                    chunk = Chunk[TableT]()
                start = stop
        if chunk.offsets:
            yield chunk

    def forget(self, place: Partition) -> None:
        """The partition is read anew, from wherever the database is."""
        self._awaited.pop(place, None)

    def forget_all(self) -> None:
        """The same for every partition."""
        self._awaited.clear()

    def _fold(self, batch: Batch, start: int, stop: int, chunk: Chunk[TableT]) -> int:  # noqa: C901 -- one arm per kind of record
        """Fold records into the chunk; where it stopped: at `stop`, or earlier at a record of another schema."""
        topic = batch.topic
        awaited = self._awaited.setdefault((topic, batch.partition), {})
        work = chunk.work.get(topic)
        changes: Iterator[Taken] | None = None
        for index, (_, key, value, _, _) in enumerate(batch.records[start:stop], start):
            if value is None:
                if key is None or key[5:] in awaited:
                    awaited.pop(key[5:] if key else b"", None)
                    continue
                if work is None:
                    work = chunk.work[topic] = self._targets.of(topic, NO_SCHEMA, unframe(key)[0]), RunFold([])
                elif not work[0].key_head:
                    return index
                work[1].tombstone(key[5:])
                continue
            if work is None:
                work = chunk.work[topic] = self._begin(topic, key, value)
            target, fold = work
            if value[:5] != target.value_head or (key and key[:5] != target.key_head):
                return index
            if changes is None:
                changes = iter(target.read(_values(batch, index, stop, target.value_head)))
            change = next(changes)
            fold.take(key[5:] if key else b"", change)
            if change.op == b"d" and key:
                if len(awaited) > AWAITED_MAX:
                    awaited.clear()
                awaited[key[5:]] = None
        return stop

    def _begin(self, topic: str, key: bytes | None, value: bytes) -> tuple[TargetTable[TableT], RunFold]:
        target = self._targets.of(topic, unframe(value)[0], unframe(key)[0] if key else NO_SCHEMA)
        return target, RunFold([column.wire for column in target.table.columns])


def _values(batch: Batch, start: int, stop: int, head: bytes) -> list[bytes]:
    """The changes from `start` on, up to the first of another schema."""
    found: list[bytes] = []
    for _, _, value, _, _ in batch.records[start:stop]:
        if value is not None:
            if value[:5] != head:
                break
            found.append(value)
    return found
