"""A worker of the flows as a process of its own, for tests that kill it: `python -m tests.stage.flow_process '<json>'`."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ops.run.flow_worker import run_worker
from schemas.agreement.directory import Directory, FeedEntry
from schemas.log.kafka import Kafka
from streams.engine.task import TaskTopics
from tests.stage.demo_flow import flow
from tests.stage.rehearsal import writing


class Quiet:
    """An observer that nobody asks."""

    def taken(self, flow: str, count: int) -> None: ...
    def emitted(self, flow: str, feed: str, op: str, count: int, size_bytes: int) -> None: ...
    def queued(self, flow: str, kind: str, count: int) -> None: ...
    def clock(self, flow: str, event_at: int) -> None: ...
    def restored(self, partition: int, done: int, total: int) -> None: ...


class _Records:
    """`past.Progress` in files that the workers of a test share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)

    def load(self) -> dict[str, dict]:
        return {path.name: json.loads(path.read_text()) for path in self._folder.glob("*|*")}

    def save(self, key: str, record: Mapping[str, Any]) -> None:
        written = self._folder / f"{key}.{os.getpid()}"
        written.write_text(json.dumps(record))
        written.replace(self._folder / key)


def run(options: dict, stop: threading.Event) -> None:
    """Work until `stop`. Options: kafka, registry, prefix, partitions, group, name, data_dir, feeds."""
    prefix = options["prefix"]
    feeds = [FeedEntry.from_json(entry) for entry in options["feeds"]]
    entries = {entry.feed: entry for entry in feeds}
    directory = Directory(feeds=entries, agencies=writing(flow(prefix), entries))
    folder = Path(options["data_dir"])
    run_worker(
        [flow(prefix)],
        stop,
        kafka=Kafka.of(options["kafka"]),
        registry=options["registry"],
        directory=lambda: directory,
        topics=TaskTopics(options["partitions"], f"{prefix}inbox", f"{prefix}state", decisions=f"{prefix}decisions"),
        group=options["group"],
        instance_id=options["name"],
        folder=folder,
        progress=_Records(folder.parent / "past"),
        observer=Quiet(),
    )


if __name__ == "__main__":
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    run(json.loads(sys.argv[1]), stopping)
