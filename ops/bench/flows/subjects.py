"""One task with very many subjects: `python -m ops.bench.flows.subjects FOLDER SUBJECTS CHANGES RESULT`, a program of its own.

A flow keeps each subject's newest row and publishes it (ops/bench/fold_worker.py). Its state is filled with so many subjects through
the changelog, as a worker on a new machine reads it back; then changes of random ones are folded, and what one costs is told. There
is no broker: what is read and written are lists in memory. RESULT is a JSON object.
"""

from __future__ import annotations

import gc
import json
import random
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ops.bench.stateful.worker import FROM_COLUMNS, QUEUE, flow, merged_contract
from ops.run.flow_worker import CYCLES_LOOKED_FOR
from schemas.agreement.directory import FeedEntry
from schemas.change import Batch, Record
from schemas.contract import Contract
from schemas.position import Position
from streams.engine.inbox.bundle import bundled
from streams.engine.inbox.intake import Intake
from streams.engine.inbox.message import pack
from streams.engine.state import POSITION, STATE_MEMORY_BYTES, StateMemory
from streams.engine.task import Task, TaskTopics

FEED, OUT = "bench.person", "bench.merged"
INBOX, STATE = "inbox", "state"
BATCH = 2_000
RESTORED_AT_ONCE = 5_000
SEED = 1
_COLUMNS = {
    "id": "string",
    "name": "string",
    "region": "string",
    "born": "int",
    "address": ["null", "string"],
    "phone": ["null", "string"],
    "grade": "long",
}


def person(number: int, grade: int) -> dict[str, Any]:
    """A row of the feed; all rows take as many bytes, but for their grade."""
    return {
        "id": f"{number:018d}",
        "name": f"Name {number:010d}",
        "region": f"4401{number % 12:02d}",
        "born": 10_000 + number % 10_000,
        "address": f"Tianhe Road {number % 900:03d}, Guangzhou",
        "phone": f"138{number:010d}",
        "grade": grade,
    }


class Memory:
    """The changelog and the broker of one task: what a state of so many subjects was written as, and a writer that keeps nothing."""

    def __init__(self, contract: Contract, subjects: int) -> None:
        self._intake = Intake(flow(FEED, OUT, "id"))
        self._contract = contract
        self._subjects = subjects
        self._template = [(key, value) for key, value in self._folded() if value is not None]
        self.written = 0
        self.restored_bytes = 0

    def change(self, number: int, grade: int, offset: int) -> list[Any]:
        """What a change of a person means to the flow."""
        row = person(number, grade)
        return self._intake.facts(self._contract, lambda: row, row, str(Position(1, offset + 1, 1)), 1_700_000_000_000)

    def _folded(self) -> list[tuple[bytes, bytes | None]]:
        """The entries of person 0, as a task folds them."""
        from streams.engine.folding import Folding  # noqa: PLC0415 -- once, for a template

        class Nothing:
            def get(self, _key: bytes, /) -> None:
                return None

            def scan(self, _prefix: bytes, /, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:  # noqa: ARG002
                return iter(())

        messages = [(0, message.key, message.value) for message in self.change(0, 0, 0)]
        folding = Folding([flow(FEED, OUT, "id")], Nothing())
        return [entry for effects, _ in folding.apply(messages) for entry in effects.changes.items()]

    # ── as the changelog ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def entries(self) -> int:
        """How many records the changelog has."""
        return self._subjects * len(self._template)

    def bounds(self, _partition: int) -> tuple[int, int]:
        """See Changelog."""
        return 0, self.entries + 1

    def read(self, _partition: int, start: int, _end: int) -> Iterator[Batch]:
        """See Changelog: person 0's entries under everybody's number."""
        if start:
            return
        records: list[Record] = []
        offset = 0
        old = [person(0, 0)[name].encode() for name in ("id", "name", "phone")]
        for number in range(self._subjects):
            new = [person(number, 0)[name].encode() for name in ("id", "name", "phone")]
            for key, value in self._template:
                told = key.replace(old[0], new[0]), _replaced(value, old, new)
                records.append(Record(offset, *told, None, 0))
                self.restored_bytes += len(told[0]) + len(told[1])
                offset += 1
            if len(records) >= RESTORED_AT_ONCE:
                yield Batch(topic=STATE, partition=0, records=records)
                records = []
        records.append(Record(offset, POSITION, pack(0), None, 0))
        yield Batch(topic=STATE, partition=0, records=records)

    # ── as the task's writer ─────────────────────────────────────────────────────────────────────────────────────────

    def write(self, records: Iterable[Any], _last: Any) -> int:
        """See Writer."""
        self.written += sum(1 for _ in records)
        return self.entries + self.written

    def close(self) -> None:
        """See Writer."""


def _replaced(value: bytes, old: Sequence[bytes], new: Sequence[bytes]) -> bytes:
    for before, after in zip(old, new, strict=True):
        value = value.replace(before, after)
    return value


def measure(folder: Path, subjects: int, changes: int) -> dict[str, Any]:
    """Restore, then fold; what both cost."""
    fields = [{"name": name, "type": kind} for name, kind in _COLUMNS.items()]
    record = {"type": "record", "name": "person", "fields": fields, "gov": {"key": ["id"]}}
    contract = Contract.parse(record, FEED)
    assert FROM_COLUMNS, "the merged contract has more columns"
    merged = FeedEntry(
        contract=merged_contract(contract, OUT), version=1, key_schema_id=1, value_schema_id=2, partitions=1
    )
    memory = Memory(contract, subjects)
    writer: Any = memory  # with no more of a writer's shape than is called
    gc.set_threshold(*CYCLES_LOOKED_FOR)
    started, cpu = time.monotonic(), time.process_time()
    task = Task(
        0,
        TaskTopics(1, INBOX, STATE),
        [flow(FEED, OUT, "id")],
        folder,
        memory,
        lambda _id: writer,
        lambda _partition, _done, _total: None,
        StateMemory(STATE_MEMORY_BYTES),
    )
    restored_seconds, restored_cpu = time.monotonic() - started, time.process_time() - cpu
    rng = random.Random(SEED)  # noqa: S311 -- of people, not of secrets
    feeds = {OUT: merged, QUEUE: merged}
    offset, spent = 0, 0.0
    for first in range(0, 2 * changes, BATCH):  # the first half warms up
        messages = [
            message
            for number in range(BATCH)
            for message in memory.change(rng.randrange(subjects), first + number + 1, first + number)
        ]
        records = [
            Record(offset + place, *told[1:3], None, 0) for place, told in enumerate(bundled(messages, INBOX, 1))
        ]
        offset += len(records)
        before = time.thread_time()  # not what the store tidies up behind a restore, in threads of its own
        task.handle(Batch(topic=INBOX, partition=0, records=records), feeds)
        spent += time.thread_time() - before if first >= changes else 0.0
    task.close()
    return {
        "subjects": subjects,
        "cpu_per_change_us": spent / changes * 1e6,
        "restored_per_second": memory.entries / restored_seconds,
        "restored_cpu_us": restored_cpu / memory.entries * 1e6,
        "bytes_per_subject": memory.restored_bytes / subjects,
        "disk_bytes_per_subject": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / subjects,
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    """Measure one size."""
    folder, subjects, changes, result = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    result.write_text(json.dumps(measure(folder, subjects, changes)))


if __name__ == "__main__":
    main()
