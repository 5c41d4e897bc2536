"""Relay books: what the relay reads of feeds and writes to `out` topics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from schemas.change import Batch, Partition
from schemas.ledger.book import LedgerBook


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayBooks:
    """`streams.egress.relay.RelayLedger` on the two books of a stream worker."""

    feeds: LedgerBook
    outs: LedgerBook

    def read(self, batches: Sequence[Batch]) -> None:
        """These batches were handled: what comes of them is durable."""
        self.feeds.read(batches)

    def goes_on(self, place: Partition, offset: int) -> None:
        """All below this offset was handled, by this worker or another."""
        self.feeds.goes_on(place, offset)

    def rejected(self, place: Partition, count: int) -> None:
        """So many changes were dead-lettered, for all grants."""
        if count:
            self.feeds[place].count("rejected", count)

    def writes(self, places: Iterable[Partition]) -> None:
        """This relay, and no other, writes to these partitions of `out` topics."""
        self.outs.expect(places)

    def assigned(self) -> None:
        """Other workers may have had any partition meanwhile."""
        self.feeds.forget()
        self.outs.forget()
