"""Past: what a feed held before a flow began to read it.

All flows of a worker read through one consumer group, whose offsets say nothing of a flow that came later. So for each
partition of a feed it is on record which flows have taken all of it; a flow that is missing there is given the past in slices,
beside what goes on live. The order does not matter to a fold (streams/operators/flow.py), and a slice that comes again after a
restart is refused by the positions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from typing import Any, Protocol

from schemas.change import Batch, Partition

SLICE_RECORDS = 20_000

Replay = Callable[[str, int, int, int], Iterator[Batch]]
"""Topic, partition, first and end offset to batches."""

_logger = logging.getLogger(__name__)


class PastProgress(Protocol):
    """Which flows have taken a partition: a JSON record each."""

    def load(self) -> Mapping[str, Mapping[str, Any]]:
        """All records."""
        ...

    def save(self, key: str, record: Mapping[str, Any]) -> None:
        """Replace a record; returns once it is durable. Raises Transient otherwise."""
        ...


class Past:
    """The past that is still to be taken.

    `readers` maps a feed to the names of the flows that read it now; it may be set anew, and a flow that comes back after others went
    on reading takes all of the past again.
    """

    def __init__(self, readers: Mapping[str, Collection[str]], progress: PastProgress, replay: Replay) -> None:
        self.readers = readers
        self._progress = progress
        self._replay = replay
        self._taken: dict[str, frozenset[str]] | None = None
        self._open: dict[Partition, tuple[frozenset[str], Iterator[Batch]]] = {}
        self._ended: set[Partition] = set()

    def begin(self, partition: Partition, next_offset: int) -> None:
        """A partition is read live from this offset on: open what its flows miss before it. Raises Transient."""
        if self._taken is None:
            taken = {key: record for key, record in self._progress.load().items() if "|" in key}
            self._taken = {key: frozenset(record["flows"]) for key, record in taken.items()}
        if partition in self._open:
            return
        taken, readers = self._taken.get(_key(partition), frozenset()), frozenset(self.readers.get(partition[0], ()))
        if taken - readers:
            self._note(partition, taken & readers)  # what comes from here on, these do not take
        missing = readers - taken
        if not missing:
            return
        if next_offset == 0:
            self._done(partition, missing)
            return
        _logger.info("%s [%d]: %s takes the past up to %d", *partition, ", ".join(sorted(missing)), next_offset)
        self._open[partition] = missing, self._replay(*partition, 0, next_offset)

    def slices(self) -> Iterator[tuple[Batch, frozenset[str]]]:
        """A bounded part of what is open, with the flows that it is for. Call `settle` once it is durable."""
        for partition, (flows, batches) in self._open.items():
            if partition in self._ended:
                continue
            records = 0
            for batch in batches:
                yield batch, flows
                records += len(batch.records)
                if records >= SLICE_RECORDS:
                    break
            else:
                self._ended.add(partition)
                continue
            return  # one giant at a time

    def settle(self) -> None:
        """What `slices` gave is durable: note which partitions are whole."""
        for partition in sorted(self._ended):
            self._done(partition, self._open.pop(partition)[0])
            self._ended.discard(partition)
            _logger.info("%s [%d]: the past is taken", *partition)

    def restart(self) -> None:
        """Something failed: what was open is opened again by `begin`."""
        self._open.clear()
        self._ended.clear()

    def behind(self) -> Mapping[str, Set[Partition]]:
        """Flows that are still taking a past, and of which partitions: their event time must wait for it."""
        lacking: dict[str, set[Partition]] = {}
        for partition, (flows, _) in self._open.items():
            for name in flows:
                lacking.setdefault(name, set()).add(partition)
        return lacking

    def keep_only(self, partitions: Collection[Partition]) -> None:
        """Forget partitions that are no longer ours."""
        for partition in [partition for partition in self._open if partition not in partitions]:
            del self._open[partition]
            self._ended.discard(partition)

    def _done(self, partition: Partition, flows: frozenset[str]) -> None:
        assert self._taken is not None, "loaded by begin"
        readers = frozenset(self.readers.get(partition[0], ()))
        self._note(partition, (self._taken.get(_key(partition), frozenset()) | flows) & readers)

    def _note(self, partition: Partition, flows: frozenset[str]) -> None:
        assert self._taken is not None, "loaded by begin"
        self._progress.save(_key(partition), {"flows": sorted(flows)})
        self._taken[_key(partition)] = flows


def _key(partition: Partition) -> str:
    return f"{partition[0]}|{partition[1]}"


def readers_of(feeds: Mapping[str, Sequence[Any]]) -> Mapping[str, Collection[str]]:
    """Names instead of flows."""
    return {feed: frozenset(flow.name for flow in flows) for feed, flows in feeds.items()}
