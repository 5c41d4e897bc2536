"""Feed rows: what stands in feeds of the running mesh, read whole from the broker, for reports that are asked for by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

from ops.proof.derived import standing
from ops.settings import Settings
from schemas.agreement.directory import FeedEntry
from schemas.change import Batch
from schemas.log.range import read_standing
from schemas.registry.client import RegistryClient
from schemas.wire.codec import Codec


def feed_rows(settings: Settings, entries: Iterable[FeedEntry]) -> Mapping[str, list[dict[str, Any]]]:
    """The rows that stand in each feed, as far as its end was when asked for; values as a database driver gives them."""
    with closing(RegistryClient(settings.registry)) as registry:
        codec = Codec(registry.schema)
        return {entry.feed: standing(entry.contract, _batches(settings, entry), codec) for entry in entries}


def _batches(settings: Settings, entry: FeedEntry) -> Iterator[Batch]:
    for partition in range(entry.partitions):
        yield from read_standing(settings.kafka, entry.feed, partition)
