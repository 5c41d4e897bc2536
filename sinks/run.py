"""Run: what a lane holds between reading and writing, one batch per partition, and how it is joined and halved."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.change import Batch


def size_of(batch: Batch) -> int:
    """Bytes of the values."""
    return sum(len(record.value or b"") for record in batch.records)


def joined(batches: Sequence[Batch]) -> list[Batch]:
    """One batch per partition, in order."""
    runs: dict[tuple[str, int], list[Batch]] = {}
    for batch in batches:
        runs.setdefault((batch.topic, batch.partition), []).append(batch)
    return [
        run[0]
        if len(run) == 1
        else Batch(topic=topic, partition=partition, records=[record for batch in run for record in batch.records])
        for (topic, partition), run in runs.items()
    ]


def halves(batches: Sequence[Batch]) -> tuple[Sequence[Batch], Sequence[Batch]]:
    """The run in two parts, in order: first by partition, then by record."""
    if len(batches) > 1:
        middle = len(batches) // 2
        return batches[:middle], batches[middle:]
    batch = batches[0]
    middle = len(batch.records) // 2
    first, second = batch.records[:middle], batch.records[middle:]
    return (
        [Batch(topic=batch.topic, partition=batch.partition, records=first)],
        [Batch(topic=batch.topic, partition=batch.partition, records=second)],
    )
