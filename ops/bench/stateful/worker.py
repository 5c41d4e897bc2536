"""Our side of the stateful measurement: `mesh run flows` with one flow, `python -m ops.bench.stateful.worker JOB.json`.

The flow keeps the newest row of each key and publishes it with where it came from: what a merge does, without its rules.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ops.run.flow_worker import run_worker
from ops.run.hop import calm_collector
from schemas.agreement.agency import Agency, SourceConfig
from schemas.agreement.directory import Directory, FeedEntry
from schemas.contract import Contract
from schemas.log.kafka import Kafka
from streams.engine.task import TaskTopics
from streams.operators.flow import QUEUE_KEY, Flow, Fold, Input, Outcome, Subject

QUEUE = "bench.queue"
"""Where items that nobody can fold would go; there are none."""
FROM_COLUMNS: Mapping[str, Any] = {
    "from_feed": ["null", "string"],
    "from_position": ["null", "string"],
    "from_committed_at_ms": ["null", "long"],
}


def merged_contract(source: Contract, feed: str) -> Contract:
    """The source's columns, and where the row came from."""
    further = [{"name": name, "type": kind, "default": None} for name, kind in FROM_COLUMNS.items()]
    record = {**source.record, "fields": [*source.record["fields"], *further]}
    return Contract.parse(record, feed)


def flow(source: str, out: str, key: str) -> Flow:
    """The newest row of each key."""

    def fold(subject: Subject) -> Outcome:
        outcome = Outcome()
        for fact in subject.of(source):
            assert fact.row is not None, "`of` gives rows that exist"
            provenance = {
                "from_feed": fact.feed,
                "from_position": fact.position,
                "from_committed_at_ms": fact.committed_at_ms,
            }
            outcome.publish(out, {**fact.row, **provenance})
        return outcome

    return Flow(
        name="bench",
        inputs=[Input(feed=source, subjects=lambda row: [f"row:{row[key]}"], stays=True)],
        folds={"row": Fold(fold)},
        outputs={out: [key], QUEUE: QUEUE_KEY},
        queue=QUEUE,
    )


class _Taken:
    """How many messages were folded, in a file: the inbox's offsets count bundles. And a progress that nobody asks."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._count = 0

    def taken(self, flow: str, count: int) -> None:  # noqa: ARG002 -- the observer's shape
        """See RunnerObserver: called once it is durable."""
        self._count += count
        self._file.write_text(f"{self._count:d}")

    def emitted(self, flow: str, feed: str, op: str, count: int, size_bytes: int) -> None: ...
    def queued(self, flow: str, kind: str, count: int) -> None: ...
    def clock(self, flow: str, event_at: int) -> None: ...
    def restored(self, partition: int, done: int, total: int) -> None: ...
    def load(self) -> Mapping[str, Mapping[str, Any]]:
        return {}

    def save(self, key: str, record: Mapping[str, Any]) -> None: ...


def main() -> None:
    """Run the job until it is stopped."""
    job = json.loads(Path(sys.argv[1]).read_text())
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    logging.basicConfig(level=logging.WARNING)
    calm_collector()
    taken = _Taken(Path(job["taken"]))
    entries = [FeedEntry.from_json(entry) for entry in job["feeds"]]
    merged = next(entry.contract for entry in entries if entry.feed == job["out"])
    writer = Agency(agency=merged.agency, name=merged.agency, sources=(SourceConfig(name=merged.source, kind="flow"),))
    directory = Directory(feeds={entry.feed: entry for entry in entries}, agencies={merged.agency: writer})
    run_worker(
        [flow(job["source"], job["out"], entries[0].contract.key[0])],
        stop,
        kafka=Kafka.of(job["kafka"]),
        registry=job["registry"],
        directory=lambda: directory,
        topics=TaskTopics(job["partitions"], job["inbox"], job["state"]),
        group=job["group"],
        instance_id=None,
        folder=Path(job["folder"]),
        progress=taken,
        observer=taken,
    )


if __name__ == "__main__":
    main()
