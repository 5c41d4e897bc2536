"""A delivery process for kill tests of grants' ends: it dies by SIGKILL as soon as an end is applied, before it is confirmed.

One JSON argument says where. With `record` it lives, and writes what it confirms into that file.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from schemas.agreement.ending import Ending
from schemas.agreement.grant import Status
from schemas.agreement.subscriber import SinkConfig
from schemas.log.kafka import Kafka
from sinks.deliver import Delivery, DeliveryPorts, SinkSources
from sinks.drops.kind import FILES
from sinks.postgresql.kind import POSTGRES
from tests.stage.delivering import QUICK, OutFeed, Watch, directory_of


def main() -> None:
    wanted = json.loads(sys.argv[1])
    feed = OutFeed(wanted["subscriber"], "police.person")
    directory = directory_of({feed.subscriber: SinkConfig(name="main", kind=wanted["kind"])}, feed)
    entry = feed.grant
    ended = replace(entry, grant=replace(entry.grant, status=Status.REVOKED))
    directory = replace(directory, grants={entry.grant.grant_id: ended})

    def acknowledge(ending: Ending, removed: int | None) -> None:
        if not wanted["record"]:
            os.kill(os.getpid(), signal.SIGKILL)
        Path(wanted["record"]).write_text(json.dumps({"topic": ending.topic, "removed": removed}))

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    Delivery(
        directory=lambda: directory,
        kafka=Kafka.of(wanted["kafka"]),
        sinks=SinkSources(
            kinds={"postgres": POSTGRES, "files": FILES},
            address_of=lambda _owner, _name: wanted["address"],
            schema_of=feed.schemas.__getitem__,
        ),
        ports=DeliveryPorts(
            dead_letter=lambda letter: sys.exit(f"unexpected dead letter: {letter.reason}"),
            observer=Watch(),
            acknowledge=acknowledge,
        ),
        config=QUICK,
    ).run(stop)


if __name__ == "__main__":
    main()
