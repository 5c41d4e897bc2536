"""The copy of large tables by several processes, before the stream begins.

One process of Python copies as fast as one core goes, about half of what a small machine could do. So the rows are read, transcoded
and produced by copyists (`producers/postgresql/snapshot/copyist.py`), each with a connection and a producer of its own: they see one
snapshot (PG-15) and are given one range of blocks after the other. Here is what deals the ranges and keeps the books.

A range counts once its copyist says that the broker has acknowledged all of it (invariant 1). Ranges end in any order, but the
table's place in the progress record is one block: it moves on over ranges that are done without a hole.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import IO, Any

from producers.postgresql.link.catalog import CatalogTable
from producers.postgresql.options import PostgresSourceOptions
from producers.postgresql.place import TablePlace
from producers.postgresql.snapshot import table_copy
from producers.postgresql.snapshot.copyist import SETTLE_SECONDS, error_heard
from producers.postgresql.snapshot.mark import RangeDone
from producers.postgresql.snapshot.origin import Origin
from producers.postgresql.snapshot.snapshot import Reading
from producers.source import SourceBatch, SourceSetting
from schemas.agreement.directory import FeedEntry
from schemas.errors import Transient

PROCESSES_MAX = 4
LOOK_SECONDS = 0.25

_logger = logging.getLogger(__name__)
_turn = threading.Lock()
"""Sources of one process that begin together do not multiply processes: one has them at a time, the others copy alone."""


def processes_most(options: PostgresSourceOptions) -> int:
    """How many processes a copy may use: the option, else one for each core."""
    return options.snapshot_processes or min(len(os.sched_getaffinity(0)), PROCESSES_MAX)


def processes_worth(most: int, tables: Iterable[CatalogTable]) -> int:
    """How many of them the tables are worth: starting one costs what copying a range takes."""
    return min(most, sum(table.blocks for table in tables) // table_copy.RANGE_BLOCKS)


class Front:
    """How far a table is done from its first block on, though its ranges end in any order."""

    def __init__(self, next_block: int) -> None:
        self._next_block: int | None = next_block
        self._behind: dict[int, tuple[int | None, int]] = {}

    def done(self, start: int, end: int | None, rows: int) -> list[tuple[int | None, int]]:
        """Take note of a range; (end, rows) of all by which the front moves on now, in order."""
        self._behind[start] = (end, rows)
        passed: list[tuple[int | None, int]] = []
        while self._next_block is not None and self._next_block in self._behind:
            passed.append(self._behind.pop(self._next_block))
            self._next_block = passed[-1][0]
        return passed


@dataclass(slots=True)
class _Range:
    table: str
    start: int
    end: int | None
    rows: int = 0


class _Process:
    """A copyist as its parent sees it. Started by the thread with whose end it shall die."""

    def __init__(self, source: str, job: Mapping[str, Any]) -> None:
        self._source = source
        command = [sys.executable, "-P", "-m", "producers.postgresql.snapshot.copyist", str(os.getpid())]
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        except OSError as error:
            raise Transient(f"source {source}: a copying process cannot be started: {error}") from error
        self._heard = b""
        self.range: _Range | None = None
        self.tell(job)

    @property
    def answers(self) -> IO[bytes]:
        assert self._process.stdout is not None, "asked for above"
        return self._process.stdout

    @property
    def _orders(self) -> IO[bytes]:
        assert self._process.stdin is not None, "asked for above"
        return self._process.stdin

    def tell(self, order: Mapping[str, Any]) -> None:
        left = memoryview(json.dumps(order).encode() + b"\n")
        try:
            while left:
                left = left[self._orders.write(left) :]
        except BrokenPipeError:
            raise self._ended() from None

    def begin(self, task: _Range) -> None:
        self.range = task
        self.tell({"table": task.table, "start": task.start, "end": task.end})

    def hear(self) -> Iterator[dict[str, Any]]:
        """The answers that are there; waits for some if there are none. Raises the copyist's error, Transient at its end."""
        data = self.answers.read(1 << 16)
        if not data:
            raise self._ended()
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            answer = json.loads(line)
            if "error" in answer:
                raise error_heard(answer)
            yield answer

    def _ended(self) -> Transient:
        try:
            status = self._process.wait(SETTLE_SECONDS)
        except subprocess.TimeoutExpired:
            status = None
        return Transient(f"source {self._source}: a copying process ended (status {status}) before its work was done")

    def give_up(self) -> None:
        self._orders.close()

    def join(self, deadline: float) -> None:
        """Return when it is gone, killed if need be: nothing of it may follow what comes after."""
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.answers.close()


class ParallelCopy:
    """One copy of tables under way. `entries` are the feeds by table; used by one thread, which must live as long."""

    @classmethod
    def begun(
        cls,
        setting: SourceSetting,
        origin: Origin,
        reading: Reading,
        tables: Mapping[str, CatalogTable],
        entries: Mapping[str, FeedEntry],
        most: int,
    ) -> ParallelCopy | None:
        """Start the processes; None if the tables are not worth it, or the processes are another source's now."""
        count = processes_worth(most, tables.values())
        if setting.log is None or count < 2 or not _turn.acquire(blocking=False):
            return None
        job = {
            "address": setting.address,
            "text_encoding": setting.options(PostgresSourceOptions).text_encoding,
            "origin": asdict(origin),
            "log": {**asdict(setting.log), "client_id": f"{setting.log.client_id}-copy"},
            "snapshot": reading.export(),
            "position": reading.position,
            "entries": [entries[name].to_json() for name in tables],
            "filenodes": {name: table.filenode for name, table in tables.items()},
        }
        _logger.info("%s: %d processes copy %d tables", setting.name, count, len(tables))
        copy = cls(setting, tables, entries)
        try:
            for _ in range(count):
                copy._processes.append(_Process(setting.name, job))
        except BaseException:
            copy.close()
            raise
        return copy

    def __init__(
        self, setting: SourceSetting, tables: Mapping[str, CatalogTable], entries: Mapping[str, FeedEntry]
    ) -> None:
        self._observer = setting.observer
        self._tables = tables
        self._entries = entries
        self._processes: list[_Process] = []
        self._fronts: dict[str, Front] = {}
        self._done_rows: dict[str, int] = {}
        self._copies: dict[str, int] = {}

    def batches(self, states: Mapping[str, TablePlace]) -> Iterator[SourceBatch]:
        """Batches without records, as `Source.batches`: counts, and a RangeDone for each range at a table's front.

        `states` are the feeds' in the progress record. Raises what ended a copyist.
        """
        waiting: deque[_Range] = deque()
        # Small tables first: most feeds are whole within seconds, and none waits for a giant that comes before it by name.
        for name, table in sorted(self._tables.items(), key=lambda item: item[1].blocks):
            state = states[self._entries[name].feed]
            next_block = state.next_block or 0
            self._fronts[name] = Front(next_block)
            self._done_rows[name] = state.rows
            self._copies[name] = state.copy
            waiting += (_Range(name, *span) for span in table_copy.ranges(table, next_block))
        with selectors.DefaultSelector() as selector:
            for process in self._processes:
                selector.register(process.answers, selectors.EVENT_READ, process)
            while waiting or any(process.range for process in self._processes):
                batch = SourceBatch()
                for key, _ in selector.select(LOOK_SECONDS):
                    for answer in key.data.hear():
                        self._take(key.data, answer, batch)
                        if answer["is_done"] and waiting:
                            key.data.begin(waiting.popleft())
                yield batch

    def _take(self, process: _Process, answer: Mapping[str, Any], batch: SourceBatch) -> None:
        for feed, op, count, size_bytes in answer["tallies"]:
            batch.count(feed, op, count, size_bytes)
        for feed, reason, count in answer["rejected"]:
            batch.reject(feed, reason, count)
        task = process.range
        if task is None:  # it is ready for its first
            return
        task.rows += answer["rows"]
        table = self._tables[task.table]
        done = self._done_rows[task.table] = self._done_rows[task.table] + answer["rows"]
        feed = self._entries[task.table].feed
        self._observer.snapshot(feed=feed, done_rows=done, total_rows=max(table.rows, done))
        if answer["is_done"]:
            process.range = None
            for end, rows in self._fronts[task.table].done(task.start, task.end, task.rows):
                mark = RangeDone(feed=feed, copy=self._copies[task.table], next_block=end, rows=rows)
                batch.marks.append((0, mark))

    def close(self) -> None:
        """End the processes; returns when none is left. Once."""
        for process in self._processes:
            process.give_up()
        deadline = time.monotonic() + 2 * SETTLE_SECONDS
        for process in self._processes:
            process.join(deadline)
        _turn.release()
