"""Bisection: takes a refused run apart until each change that is refused is alone (SK-08). Knows no target and no broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from schemas.change import Batch
from schemas.errors import Rejected


class RefusedRun(NamedTuple):
    """What was tried together, and why it was refused."""

    batches: Sequence[Batch]
    error: Rejected


def bisect(
    refused: RefusedRun, attempt: Callable[[Sequence[Batch]], RefusedRun | None]
) -> Iterator[tuple[Batch, Rejected]]:
    """The changes that are refused alone, each as a batch of one. `attempt` tries a run, and gives what of it was refused.

    Halves go in order, and none is tried before the caller is done with what was given out before: so order holds per key.
    """
    if len(refused.batches) == 1 and len(refused.batches[0].records) == 1:
        yield refused.batches[0], refused.error
        return
    for half in halves(refused.batches):
        if (worse := attempt(half)) is not None:
            yield from bisect(worse, attempt)


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
