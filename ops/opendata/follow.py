"""Follow: from the open feeds into the store, each batch with its offsets in one transaction."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

from ops.opendata.store import News, Store
from schemas.agreement.directory import Directory
from schemas.change import Batch, Partition, Record
from schemas.errors import ContractBroken, Transient
from schemas.log.kafka import Kafka
from schemas.log.reader import Reader
from schemas.wire.codec import Codec

FEEDS: Mapping[str, str] = {f"open.{kind}": kind for kind in ("dataset", "profile", "relation", "heat")}
"""What is read, and as what. The flow's queue is not among them: it is no open feed."""
_RECORDS_MAX = 5_000
_BYTES_MAX = 8 << 20
_WITHIN_SECONDS = 1.0
_RETRY_SECONDS = 2.0

_logger = logging.getLogger(__name__)


class Follow:
    """Keeps a store up to date until stopped. `feeds` maps feed to its kind."""

    def __init__(
        self,
        *,
        kafka: Kafka,
        store: Store,
        directory: Callable[[], Directory],
        schema_of: Callable[[int], Mapping[str, Any]],
        feeds: Mapping[str, str] = FEEDS,
    ) -> None:
        self._kafka = kafka
        self._store = store
        self._directory = directory
        self._codec = Codec(schema_of)
        self._feeds = feeds
        self._followed: frozenset[str] | None = None
        self.unwell = "the open feeds are being read from where this process left them"
        """Why the store may be behind the feeds; empty when it is not, by the last look."""

    def run(self, stop: threading.Event) -> None:
        """Follow until `stop`; a broker that does not answer is asked again."""
        while not stop.is_set():
            try:
                with closing(self._reader()) as reader:
                    while not stop.is_set():
                        self._step(reader)
            except Transient as error:
                self.unwell = f"the broker does not answer: {error}"
                _logger.warning("open data: %s; trying again", error)
                stop.wait(error.retry_after_seconds or _RETRY_SECONDS)
            except ContractBroken as error:
                # A topic made anew, or cut off at its beginning: what stands in it is the whole state, so no gap remains.
                self.unwell = "the open feeds were made anew and are being read from their beginning"
                _logger.warning("open data: %s; reading the feeds anew from their beginning", error)
                self._store.clear()

    def _reader(self) -> Reader:
        return Reader(self._kafka, f"mesh.opendata.{self._store.id}", starts_of=self._starts, has_headers=False)

    def _starts(self, places: Sequence[Partition]) -> Mapping[Partition, int]:
        return self._store.starts(places)

    def _topics(self) -> frozenset[str]:
        """Which of the feeds are onboarded and open by their contract: a second look before the first byte (invariant 6)."""
        entries = self._directory().feeds
        return frozenset(
            feed for feed in self._feeds if feed in entries and entries[feed].contract.gov.get("open") == "OPEN"
        )

    def _step(self, reader: Reader) -> None:
        topics = self._topics()
        if topics != self._followed:
            for feed in self._feeds.keys() - topics:
                self._store.withdraw(feed, self._feeds[feed])
            self._followed = topics
        reader.follow(topics)
        batches = reader.batches(records_max=_RECORDS_MAX, bytes_max=_BYTES_MAX, within_seconds=_WITHIN_SECONDS)
        if not batches:
            if reader.has_partitions or not topics:
                self.unwell = ""
            return
        news = [news for batch in batches for news in self._news(batch)]
        following = {(batch.topic, batch.partition): batch.next_offset for batch in batches}
        self._store.take(news, following)
        for (topic, partition), offset in following.items():
            reader.done(topic, partition, offset)  # only for whoever looks at the group's lag: the store's word counts

    def _news(self, batch: Batch) -> list[News]:
        kind = self._feeds[batch.topic]
        return [self._one(kind, record) for record in batch.records if record.key is not None]

    def _one(self, kind: str, record: Record) -> News:
        key = self._codec.decode(record.key or b"")
        if record.value is None:  # the tombstone says it too, where compaction has taken the delete
            return News(kind=kind, key=key, row=None)
        value = self._codec.decode(record.value)
        return News(
            kind=kind,
            key=key,
            row=value["after"],
            committed_ms=value["source"]["ts_ms"],
            published_ms=value["ts_ms"] or record.timestamp_ms,
        )
