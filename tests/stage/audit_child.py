"""A writer of the audit in a process of its own: acts on `mesh.letters`, each with its line, until it has made so many or is killed.

One JSON argument says where, under which name, and how many; each act that is durable is a line on standard output.
"""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from ops.audit.audited_log import AuditedLog
from ops.trust.audit import audit
from schemas.feed import LETTERS
from schemas.log.control.records import publish
from schemas.log.kafka import Kafka


def main() -> None:
    wanted = json.loads(sys.argv[1])
    with closing(AuditedLog(Kafka.of(wanted["kafka"]))) as log:
        for number in range(wanted["count"]):
            name = f"{wanted['name']}@{number}"
            publish(log.append, LETTERS, name, {"letter": name, "state": "dropped"})
            audit(log.append, "rehearsed", name)
            log.flush(60)
            sys.stdout.write(f"{name}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
