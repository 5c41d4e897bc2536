"""The peer: Debezium's MariaDB connector in a standalone Kafka Connect worker, tuned as its PostgreSQL connector is here.

Its place in the log and the history of the tables' shapes are files in its directory: started there again, it goes on where it was.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from ops.bench.peers import connect
from ops.bench.peers.debezium import WORKER
from ops.embedded.program import Running
from schemas.log.kafka import Kafka

LOCK_FILE = Path(__file__).with_name("debezium_mariadb.lock")

_CONNECTOR = """\
name={name}
connector.class=io.debezium.connector.mariadb.MariaDbConnector
tasks.max=1
database.hostname=127.0.0.1
database.port={port}
database.user={user}
database.password={password}
database.ssl.mode=disable
database.server.id={server_id}
topic.prefix={name}
table.include.list={table}
schema.history.internal=io.debezium.storage.file.history.FileSchemaHistory
schema.history.internal.file.filename={directory}/history
include.schema.changes=false
snapshot.mode=no_data
max.batch.size=16384
max.queue.size=65536
poll.interval.ms=50
tombstones.on.delete=true
"""


def start(directory: Path, *, name: str, kafka: Kafka, address: str, table: str) -> Running:
    """Start the connector on a `<database>.<table>`; its changes arrive on the topic `<name>.<table>`. The caller stops it.

    At its first start in a directory it streams from the present end of the log, later from where it was.
    """
    parts = urlsplit(address)
    connector = _CONNECTOR.format(
        name=name,
        port=parts.port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        server_id=5_000_000 + sum(name.encode()),
        table=table,
        directory=directory,
    )
    return connect.start(
        directory,
        name="debezium-mariadb",
        kafka=kafka,
        side="producer",
        lock_file=LOCK_FILE,
        worker=WORKER,
        connector=connector,
    )
