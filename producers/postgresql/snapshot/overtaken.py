"""Overtaken rows: while tables are copied beside the stream, it brings newer changes of rows that are still to be copied."""

from __future__ import annotations

from collections.abc import Iterable

from producers.source import SourceBatch
from schemas.agreement.directory import FeedEntry
from schemas.wire.envelope import frame

KEYS_MAX = 500_000
"""Keys that the stream may bring while tables are copied, some 100 MB of them, before the copy goes on with a later snapshot."""


class Overtaken:
    """Rows of tables under copy that the stream has brought since: the copied, older row must not follow them (PG-18)."""

    def __init__(self, feeds: Iterable[FeedEntry]) -> None:
        self._keys = {feed.feed: (frame(feed.value_schema_id), dict[bytes, int]()) for feed in feeds}

    def notice(self, batch: SourceBatch, read_to: int) -> None:
        """Take note of the stream's changes, of commits up to `read_to`.

        One in an older schema is from before the copied columns were there, hence from before the snapshot, which knows more.
        """
        for topic, key, value, _, _ in batch.records:
            if value is not None and key and topic in self._keys:
                head, keys = self._keys[topic]
                if value.startswith(head):
                    keys[key] = read_to

    def forget(self, position: int) -> None:
        """The snapshot turned out to have everything up to here: its rows are no older than such changes."""
        for _, keys in self._keys.values():
            for key in [key for key, read_to in keys.items() if read_to <= position]:
                del keys[key]

    @property
    def is_full(self) -> bool:
        """Whether these are as many as may be kept: a later snapshot has them all, and they can be forgotten."""
        return sum(len(keys) for _, keys in self._keys.values()) > KEYS_MAX

    def done(self, feed: str) -> None:
        """No row of its table is left to be copied."""
        self._keys.pop(feed, None)

    def leave_out(self, batch: SourceBatch, feed: str) -> None:
        """Take such rows out of a batch of a feed's copied rows."""
        _, keys = self._keys[feed]
        gone = [len(value) for _, key, value, _, _ in batch.records if key in keys and value is not None]
        if gone:
            batch.records = [record for record in batch.records if record[1] not in keys]
            batch.count(feed, "r", -len(gone), -sum(gone))
