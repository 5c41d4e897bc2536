"""One core folds a recording from nothing: `worker.py TREE RECORDING RESULT`, a program of its own.

It takes the flows from the tree that it is given, which may be that of an earlier revision, hence it uses nothing of the bench and
no more of the engine than both have. There is no broker: the inbox, the changelog and the derived feeds are lists in memory, so what
is timed is the flows and their engine with its local store. First the past, then what happened behind it, in slices as of a second
each at 2,000 changes a second, with the clock brought up to date after each. RESULT is a JSON object.
"""

from __future__ import annotations

import gc
import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

TREE, RECORDING, RESULT = map(Path, sys.argv[1:4])
sys.path.insert(0, str(TREE))

from schemas.agreement.agency import Agency  # noqa: E402 -- behind the choice of the tree
from schemas.agreement.directory import Directory, FeedEntry  # noqa: E402
from schemas.change import Batch, Record  # noqa: E402
from streams.engine.inbox.bundle import partition_of  # noqa: E402
from streams.engine.inbox.message import unpack  # noqa: E402
from streams.engine.runner import Runner, RunnerSetting  # noqa: E402
from streams.engine.task import TaskTopics  # noqa: E402
from streams.flows import FLOWS  # noqa: E402

TASKS, FEED_PARTITIONS = 4, 3
INBOX, STATE = "inbox", "state"
FETCH_RECORDS, GROUP_RECORDS = 400, 6_000
SLICE_RECORDS = 2_000
IDLE_SECONDS = 3.0
ENDS_AFTER = 40
"""Looks at the clock behind the last record: by then every timer that can be due is."""

Place = tuple[str, int]


class _Memory:
    """What a broker would hold, and how far the worker has read it."""

    def __init__(self) -> None:
        self.waiting: dict[Place, list[Record]] = defaultdict(list)
        self.ends: Counter[Place] = Counter()
        self.read: Counter[Place] = Counter()
        self.feeds: frozenset[str] = frozenset()
        self.now = time.time()
        self.written = 0

    def append(
        self, topic: str, key: bytes | None, value: bytes | None, *, partition: int = -1, headers: Any = None
    ) -> None:
        """A record for a topic; what nobody of the flows reads is counted alone."""
        self.written += 1
        if topic in self.feeds:
            place = topic, partition if partition >= 0 else partition_of(key or b"", FEED_PARTITIONS)
            self.put(place, Record(self.ends[place], key, value, headers, int(self.now * 1000)))

    def put(self, place: Place, record: Record) -> None:
        """A record of a recording, or one that was appended."""
        self.ends[place] = record.offset + 1
        self.waiting[place].append(record)

    def take(self, *, is_inbox: bool) -> list[Batch]:
        """What a worker that fetches would be given next, of the inbox or of feeds."""
        found: list[Batch] = []
        left = GROUP_RECORDS
        for (topic, partition), records in self.waiting.items():
            if records and (topic == INBOX) is is_inbox and left > 0:
                count = len(records) if is_inbox else FETCH_RECORDS
                taken, self.waiting[topic, partition] = records[:count], records[count:]
                found.append(Batch(topic=topic, partition=partition, records=taken))
                self.read[topic, partition] = taken[-1].offset + 1
                left -= 0 if is_inbox else len(taken)
        return found

    def flush(self, within_seconds: float) -> None:
        """See Outlet."""

    def settle(self, within_seconds: float) -> None:
        """See Outlet."""


class _Writer:
    """A task's transactions, into memory."""

    def __init__(self, memory: _Memory) -> None:
        self._memory = memory
        self._count = 0

    def write(self, records: Any, last: Any) -> int:  # noqa: ARG002 -- the port's shape
        """See the task's Writer."""
        for topic, key, value, partition, headers in records:
            self._memory.append(topic, key, value, partition=partition, headers=headers)
        self._count += 1
        return self._count

    def close(self) -> None:
        """Nothing to let go of."""


class _Nothing:
    """A changelog without records, a progress that nobody asks, and an observer that counts no more than messages."""

    messages = 0

    def bounds(self, _partition: int) -> tuple[int, int]:
        return 0, 0

    def read(self, *_: Any) -> Iterator[Batch]:
        return iter(())

    def load(self) -> dict[str, Any]:
        return {}

    def save(self, *_: Any) -> None: ...
    def taken(self, _flow: str, count: int) -> None:
        self.messages += count

    def emitted(self, *_: Any) -> None: ...
    def queued(self, *_: Any) -> None: ...
    def clock(self, *_: Any) -> None: ...
    def restored(self, *_: Any) -> None: ...


class _Folded:
    """A runner over memory, and what it cost."""

    def __init__(self, recording: dict[str, Any], folder: Path) -> None:
        self.memory, self.nothing = _Memory(), _Nothing()
        entries = [FeedEntry.from_json(entry) for entry in recording["feeds"]]
        agencies = [Agency.from_json(agency) for agency in recording["agencies"]]
        directory = Directory(
            feeds={entry.feed: entry for entry in entries}, agencies={agency.agency: agency for agency in agencies}
        )
        memory: Any = self.memory  # with no more of a port's shape than is called
        nothing: Any = self.nothing
        self.runner = Runner(
            RunnerSetting(
                flows=FLOWS,
                directory=lambda: directory,
                schema_of=dict(recording["schemas"]).__getitem__,
                open_outlet=lambda: memory,
                open_writer=lambda _id: _Writer(memory),
                changelog=nothing,
                topics=TaskTopics(TASKS, INBOX, STATE),
                data_dir=folder,
                progress=nothing,
                replay=nothing.read,
                observer=nothing,
                is_replay=True,
                now=lambda: memory.now,
            )
        )
        memory.feeds = self.runner.topics()

    def work(self) -> bool:
        """Handle a group of feeds, then what it put into the inbox. False when there was nothing."""
        feeds = self.memory.take(is_inbox=False)
        if feeds:
            self.runner.handle(feeds)
        messages = self.memory.take(is_inbox=True)
        if messages:
            self.runner.handle(messages)
        return bool(feeds or messages)

    def look(self) -> None:
        """Bring the clocks up to date, as about once a second."""
        memory = self.memory
        positions = {place: memory.read[place] for place in memory.ends}
        positions |= {(INBOX, task): memory.read[INBOX, task] for task in range(TASKS)}
        self.runner.idle(positions, {place for place, records in memory.waiting.items() if records})

    def drain(self) -> None:
        """Work until nothing is left."""
        while self.work():
            self.look()

    def digest(self) -> str:
        """The same for the same derived rows, in whatever order they came."""
        found = 0
        for task in range(TASKS):
            for key, value in self.runner._tasks._open[task]._state.scan(b"s"):
                if key.split(b"\0", 2)[2][:1] == b"r":
                    found ^= int.from_bytes(hashlib.blake2b(key + b"\0" + value, digest_size=8).digest(), "big")
        return f"{found:016x}"


def fold(recording: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The past, then the living; how many changes of each, in how much processor time, and what came of it."""
    folded = _Folded(recording, folder)
    memory = folded.memory
    records = [
        ((feed, partition), Record(offset, key, value, None, at_ms))
        for feed, partition, offset, key, value, at_ms in recording["records"]
        if feed in memory.feeds
    ]
    past = sum(feed in memory.feeds for feed, *_ in recording["records"][: recording["past"]])
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
    started = time.process_time()
    _give(memory, records[:past])
    folded.drain()
    between = time.process_time()
    for first in range(past, len(records), SLICE_RECORDS):
        _give(memory, records[first : first + SLICE_RECORDS])
        memory.now += 1.0
        folded.work()
        folded.look()
        folded.work()
    for _ in range(ENDS_AFTER):
        memory.now += IDLE_SECONDS
        folded.look()
        folded.drain()
    ended = time.process_time()
    changes = sum(record.value is not None for _, record in records)
    outcome = {
        "changes": changes,
        "cpu_seconds": ended - started,
        "past": sum(record.value is not None for _, record in records[:past]),
        "past_cpu_seconds": between - started,
        "messages": folded.nothing.messages,
        "digest": folded.digest(),
    }
    folded.runner.close()
    return outcome


def _give(memory: _Memory, records: Sequence[tuple[Place, Record]]) -> None:
    """Feeds that are derived go on behind their recorded records, of which there are none."""
    for place, record in records:
        memory.put(place, record)


def main() -> None:
    """Fold, in a folder that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="mesh-flows-"))
    try:
        RESULT.write_text(json.dumps(fold(unpack(RECORDING.read_bytes()), folder)))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
