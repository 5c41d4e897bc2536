r"""State: what one task remembers, in a local RocksDB, with a partition of a compacted topic as the truth.

The changelog record of an entry has the entry's key; the record `@` holds the input position and is the last of every
transaction. What is local can be lost at any time: opening reads from the changelog what is newer than the local
checkpoint, or everything where there is none, where it is older than the changelog keeps deletes, or where the topic was made
anew. Timers (`w…`) are local only and come back from the headers that say them (entry.py).
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from rocksdict import BlockBasedIndexType, BlockBasedOptions, Cache, Options, Rdict, WriteBatch, WriteBufferManager

from schemas.change import Batch
from streams.engine.entry import TIMER_PREFIX, timer_of
from streams.engine.inbox.message import pack, unpack

POSITION = b"@"
CHECKPOINT = b"!"
WRITE_BUFFER_BYTES = 16 << 20
STATE_MEMORY_BYTES = 128 << 20
TRUST_SECONDS = 3 * 24 * 3600
"""How old a local checkpoint may be: below the time for which the changelog keeps deletes (schemas/log/topics.py, 7 days)."""
TELL_RECORDS = 500_000

_logger = logging.getLogger(__name__)


class Changelog(Protocol):
    """The compacted topic behind the states of all tasks."""

    def bounds(self, partition: int, /) -> tuple[int, int]:
        """The first offset that is there, and the next one to be written. Raises Transient."""
        ...

    def read(self, partition: int, start: int, end: int, /) -> Iterator[Batch]:
        """Committed records from an offset on, up to `end` or the last one. Raises Transient."""
        ...


class StateMemory:
    """What the local stores of one worker's tasks hold in memory together: blocks, indexes, filters, and what is not written yet.

    A bound, however many subjects there are: what has no room is read from the disk again.
    """

    def __init__(self, size_bytes: int = STATE_MEMORY_BYTES) -> None:
        self.cache = Cache(size_bytes)
        self.buffers = WriteBufferManager.new_write_buffer_manager_with_cache(size_bytes // 2, False, self.cache)


class State:
    """The entries of one task: a `folding.Store`. Owned by one thread.

    `restored` is told how far opening is: records read, records to read.
    """

    def __init__(
        self,
        folder: Path,
        partition: int,
        changelog: Changelog,
        *,
        memory: StateMemory | None = None,
        now: Callable[[], float] = time.time,
        restored: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        self._folder = folder
        self._partition = partition
        self._now = now
        self._memory = memory or StateMemory()
        self._store = _open(folder, self._memory)
        try:
            self._restore(changelog, restored)
        except BaseException:
            self._store.close()
            raise

    @property
    def position(self) -> int:
        """The next offset of the inbox partition: everything before it is in these entries."""
        entry = self._store.get(POSITION)
        return unpack(entry) if entry else 0

    def get(self, key: bytes, /) -> bytes | None:
        """See `folding.Store`."""
        return self._store.get(key)

    def scan(self, prefix: bytes, /, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """See `folding.Store`."""
        walk = self._store.iter()
        walk.seek(max(prefix, after))
        while walk.valid():
            key = walk.key()
            if not key.startswith(prefix):
                return
            yield key, walk.value()
            walk.next()

    def take(self, changes: Mapping[bytes, bytes | None], position: int, changelog_offset: int) -> None:
        """Take over what is committed on the changelog, in one write. `changelog_offset` is that of the position's record."""
        batch = WriteBatch(raw_mode=True)
        for key, value in changes.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(POSITION, pack(position))
        batch.put(CHECKPOINT, pack([changelog_offset + 1, self._now()]))
        self._store.write(batch)

    def close(self) -> None:
        """Release the folder."""
        self._store.close()

    def _restore(self, changelog: Changelog, restored: Callable[[int, int], None]) -> None:
        low, high = changelog.bounds(self._partition)
        entry = self._store.get(CHECKPOINT)
        start, saved_at = unpack(entry) if entry else (0, 0.0)
        if entry and not (low <= start <= high and self._now() - saved_at < TRUST_SECONDS):
            _logger.warning(
                "task %d: the local state is too old or of another changelog; it is read anew", self._partition
            )
            self._store.close()
            shutil.rmtree(self._folder)
            self._store = _open(self._folder, self._memory)
            start = 0
        start = max(start, low)
        done, told, total = 0, 0, high - start
        for records in changelog.read(self._partition, start, high):
            changes = [(record.key, record.value) for record in records.records if record.key is not None]
            self._write_restored(changes, records.next_offset)
            done = records.next_offset - start
            restored(done, total)
            if done - told >= TELL_RECORDS:
                told = done
                _logger.info("task %d: state restored up to record %d of %d", self._partition, done, total)

    def _write_restored(self, changes: Iterable[tuple[bytes, bytes | None]], next_offset: int) -> None:
        batch = WriteBatch(raw_mode=True)
        newest = dict(changes)
        for key, value in newest.items():
            if key.endswith(b"\0h"):
                present = self._store.get(key)
                former, timer = timer_of(key, present), timer_of(key, value)
                if former is not None and former != timer:
                    batch.delete(former)
                if timer is not None:
                    batch.put(timer, b"")
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(CHECKPOINT, pack([next_offset, self._now()]))
        self._store.write(batch)


def logged(changes: Mapping[bytes, bytes | None]) -> Iterator[tuple[bytes, bytes | None]]:
    """Of a batch's changes, those that belong on the changelog."""
    return ((key, value) for key, value in changes.items() if not key.startswith(TIMER_PREFIX))


def _open(folder: Path, memory: StateMemory) -> Rdict:
    folder.mkdir(parents=True, exist_ok=True)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    # Each task has two of these; by default they grow to 64 MiB each for an hour, which looks like a leak and is of no use.
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_write_buffer_manager(memory.buffers)
    table = BlockBasedOptions()
    table.set_bloom_filter(10, block_based=False)  # a subject that is new is asked for, and is nowhere
    table.set_block_cache(memory.cache)
    table.set_cache_index_and_filter_blocks(True)  # otherwise they grow with the subjects, without a bound
    table.set_index_type(BlockBasedIndexType.two_level_index_search())
    table.set_partition_filters(True)
    table.set_pin_top_level_index_and_filter(True)
    options.set_block_based_table_factory(table)
    return Rdict(str(folder), options)
