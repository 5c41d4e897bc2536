"""A delivery process for kill tests: one JSON argument says what, and at which of its writes it dies by SIGKILL, and how.

The killer is a wrapper around the sink, so product code carries no hooks.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from ops.kinds.sinks import SINKS
from schemas.agreement.subscriber import SinkConfig
from schemas.change import Batch, Partition
from schemas.errors import Misconfigured
from schemas.log.kafka import Kafka
from sinks.deliver import Delivery, DeliveryPorts, SinkSources
from sinks.drops.files import build_files, files_batching
from sinks.kind import SinkKind
from sinks.mysql.sink import build_mysql
from sinks.postgresql.sink import build_postgres
from sinks.sink import BatchingPolicy, OffsetKeeper, Sink, SinkSetup
from tests.stage.delivering import QUICK, OutFeed, Watch, directory_of


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Killer:
    """Dies before, within or after its write number `nth`: after is between the rows' commit and the broker's."""

    def __init__(self, sink: Sink, where: str, nth: int, delay_seconds: float) -> None:
        assert isinstance(sink, OffsetKeeper)
        self.sink, self.keeper = sink, sink
        self.where, self.left, self.delay_seconds = where, nth, delay_seconds

    def write(self, batches: Sequence[Batch]) -> None:
        self.left -= 1
        where = "" if self.left else self.where
        if where == "before":
            die()
        if where == "half":
            half = [
                Batch(topic=batch.topic, partition=batch.partition, records=batch.records[: len(batch.records) // 2])
                for batch in batches
            ]
            self.sink.write([batch for batch in half if batch.records])
            die()
        if where == "within":
            timer = threading.Timer(self.delay_seconds, die)
            timer.daemon = True
            timer.start()
        self.sink.write(batches)
        if where == "after":
            die()

    def start_offsets(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        return self.keeper.start_offsets(partitions)

    def skip(self, topic: str, partition: int, next_offset: int) -> None:
        self.keeper.skip(topic, partition, next_offset)

    def close(self) -> None:
        self.sink.close()


def main() -> None:
    wanted = json.loads(sys.argv[1])

    def address_of(_owner: str, name: str) -> str:
        if "." in name and name not in wanted.get("secrets", {}):
            if "secrets" in wanted:
                raise Misconfigured(name, "is not there", fix="give it")
            return wanted["address"]
        return wanted.get("secrets", {}).get(name, wanted["address"])

    feed = OutFeed(wanted["subscriber"], "police.person")

    def killing(build: object) -> object:
        def wrapped(setup: SinkSetup) -> Sink:
            sink = build(setup)  # pyright: ignore[reportCallIssue]
            return Killer(sink, **wanted["death"]) if wanted["death"] else sink

        return wrapped

    kinds = {
        "postgres": SinkKind(build=killing(build_postgres), batching=lambda _setup: BatchingPolicy(records_max=400)),
        "mysql": SinkKind(build=killing(build_mysql), batching=lambda _setup: BatchingPolicy(records_max=400)),
        "files": SinkKind(build=killing(build_files), batching=files_batching),
        "live": SINKS["live"],
        "webhook": SINKS["webhook"],
    }
    options = wanted.get("options") or ({"every_seconds": 0.1} if wanted["kind"] == "files" else {})
    directory = directory_of({feed.subscriber: SinkConfig(name="main", kind=wanted["kind"], options=options)}, feed)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    Delivery(
        directory=lambda: directory,
        kafka=Kafka.of(wanted["kafka"]),
        sinks=SinkSources(
            kinds=kinds,
            address_of=address_of,
            schema_of=feed.schemas.__getitem__,
            networks=[ip_network("127.0.0.0/8")],
        ),
        ports=DeliveryPorts(
            dead_letter=lambda letter: sys.exit(f"unexpected dead letter: {letter.reason}"), observer=Watch()
        ),
        config=QUICK,
    ).run(stop)


if __name__ == "__main__":
    main()
