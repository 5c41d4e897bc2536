"""What delivery processes say of windows, in a process of its own, by a clock on which an hour goes by every twentieth of a second.

One JSON argument says where, whose, and since when the clock runs; it ends when it is killed.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from ops.audit.audited_log import AuditedLog
from ops.audit.windows import DeliveryWindows
from schemas.errors import Transient
from schemas.log.kafka import Kafka
from tests.stage.delivering import OutFeed, SinkConfig, directory_of


def main() -> None:
    wanted = json.loads(sys.argv[1])
    kafka, feed = Kafka.of(wanted["kafka"]), OutFeed(wanted["subscriber"], "police.person")
    directory = directory_of({feed.subscriber: SinkConfig(name="main", kind="webhook")}, feed)
    with closing(AuditedLog(kafka)) as log:
        windows = DeliveryWindows(kafka, lambda: directory, log)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            hours = (time.time() - wanted["since"]) * 20
            try:
                windows.look(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours))
            except Transient:
                time.sleep(0.05)


if __name__ == "__main__":
    main()
