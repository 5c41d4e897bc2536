"""A stream worker as a process of its own: copies every feed to its `out` topic, `python -m tests.chaos.forwarder OPTIONS`.

OPTIONS is one JSON object: kafka, group, topics (a file with one name per line, read again and again), data_dir, instance_id,
and what shall go wrong: `fail_at` (the group that holds this record raises), `hang_at` (its handling never returns),
`stall_seconds`. Each copy carries the process id in a header. SIGTERM stops in order.
"""

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from schemas.change import Batch
from schemas.feed import out_topic
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from streams.worker.app import StreamWorker


def main(options: dict) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(name)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log = Log(Kafka.of(options["kafka"]), client_id="forwarder", linger_ms=2)
    headers = [("pid", str(os.getpid()).encode())]
    fail_at, hang_at = (options.get(name, "").encode() or None for name in ("fail_at", "hang_at"))

    def handle(batches: Sequence[Batch]) -> None:
        for batch in batches:
            for record in batch.records:
                if fail_at is not None and record.value == fail_at:
                    raise RuntimeError("asked to fail")
                if hang_at is not None and record.value == hang_at:
                    threading.Event().wait()
                log.append(out_topic(batch.topic), record.key, record.value, partition=batch.partition, headers=headers)
        log.flush(60)

    StreamWorker(
        kafka=Kafka.of(options["kafka"]),
        group=options["group"],
        topics=lambda: frozenset(Path(options["topics"]).read_text().split()),
        handle=handle,
        data_dir=Path(options["data_dir"]),
        instance_id=options.get("instance_id"),
        stall_seconds=options.get("stall_seconds", 60.0),
    ).run(stop)
    log.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
