"""Row changes: from the images of one change to its records."""

from __future__ import annotations

from producers.mysql.binlog.event import DELETE, UPDATE, WRITE
from producers.mysql.binlog.rows import Image
from producers.mysql.maps import LogTable, Maps
from producers.mysql.value.envelope import LogMoment
from producers.rejected import rejected
from producers.source import TRUNCATE_KEY, SourceBatch
from schemas.agreement.directory import FeedEntry
from schemas.errors import Rejected
from schemas.log.lane import Headers

Images = tuple[Image, Image | None, bytes]


class RowChanges:
    """Turns changes into records. Used by the source's own thread."""

    def __init__(self, maps: Maps) -> None:
        self._maps = maps

    def change(self, batch: SourceBatch, table: LogTable, does: int, images: Images, moment: LogMoment) -> None:
        """One change; `does` is WRITE, UPDATE or DELETE."""
        first, second, raw = images
        last = self._maps.count(table, 2 if does == UPDATE else 1)
        moment.total += 1
        try:
            if does == WRITE:
                key, row = table.coder.row(first)
                self._emit(batch, table, "c", key, None, row, moment, last)
            elif does == DELETE:
                key, before = self._old(table, first)
                self._emit(batch, table, "d", key, before, None, moment, last)
            elif second is not None:
                self._update(batch, table, first, second, moment, last)
        except Rejected as error:
            # Invariant 3: a change that cannot be encoded goes to the dead letters, with the log's own bytes and its position.
            batch.records.append(rejected(table.entry.feed, raw, error, moment.position(last)))
            batch.reject(table.entry.feed, error.reason)

    def _update(
        self, batch: SourceBatch, table: LogTable, first: Image, second: Image, moment: LogMoment, last: int
    ) -> None:
        try:
            old_key, before = self._old(table, first)
        except Rejected:  # nobody has the row under a key that does not fit: as it is now, it is new to the feed
            key, row = table.coder.row(second)
            self._emit(batch, table, "c", key, None, row, moment, last)
            return
        try:
            key, row = table.coder.row(second)
        except Rejected:
            if self._key_alone(table, second) != old_key:
                self._emit(batch, table, "d", old_key, before, None, moment, last - 1)
            raise
        if key == old_key:
            self._emit(batch, table, "u", key, before, row, moment, last)
            return
        new, old = [("__debezium.newkey", key)], [("__debezium.oldkey", old_key)]
        self._emit(batch, table, "d", old_key, before, None, moment, last - 1, new)
        moment.total += 1
        self._emit(batch, table, "c", key, None, row, moment, last, old)

    @staticmethod
    def _old(table: LogTable, image: Image) -> tuple[bytes, bytes]:
        """Key and row as they were; only the key where another value fits no branch, so that a delete passes."""
        try:
            return table.coder.row(image)
        except Rejected:
            return table.coder.key(image), table.coder.keyed_row(image)

    @staticmethod
    def _key_alone(table: LogTable, image: Image) -> bytes | None:
        try:
            return table.coder.key(image)
        except Rejected:
            return None

    def emptied(self, batch: SourceBatch, entry: FeedEntry, moment: LogMoment) -> None:
        """A truncate: every partition of the feed is told."""
        value = self._maps.envelope(entry).value(b"t", None, None, moment, 1, 1)
        batch.records += [(entry.feed, TRUNCATE_KEY, value, number, None) for number in range(entry.partitions)]
        batch.count(entry.feed, "t", 1, len(value))

    @staticmethod
    def _emit(
        batch: SourceBatch,
        table: LogTable,
        op: str,
        key: bytes,
        before: bytes | None,
        after: bytes | None,
        moment: LogMoment,
        ordinal: int,
        headers: Headers | None = None,
    ) -> None:
        feed = table.entry.feed
        value = table.envelope.value(op.encode(), before, after, moment, ordinal, moment.total)
        batch.records.append((feed, key, value, -1, headers))
        if op == "d":  # the event first, then the tombstone, same key, same partition
            batch.records.append((feed, key, None, -1, None))
        batch.count(feed, op, 1, len(value))
