"""The peer: Debezium's PostgreSQL connector in a standalone Kafka Connect worker, on the same Java runtime, broker and database.

Tuned as its users tune it for volume (large batches and queue, lz4), with JSON without schemas, its cheapest converter that
Maven Central carries. What is timed is the growth of its topic, so neither its start nor its shutdown counts.
"""

from __future__ import annotations

from pathlib import Path

from ops.bench.peers import connect
from ops.embedded.program import Running
from schemas.log.kafka import Kafka

LOCK_FILE = Path(__file__).with_name("debezium.lock")

WORKER = """\
key.converter=org.apache.kafka.connect.json.JsonConverter
key.converter.schemas.enable=false
value.converter=org.apache.kafka.connect.json.JsonConverter
value.converter.schemas.enable=false
offset.flush.interval.ms=1000
producer.linger.ms=20
producer.batch.size=524288
producer.compression.type=lz4
producer.buffer.memory=134217728
"""

_CONNECTOR = """\
name={name}
connector.class=io.debezium.connector.postgresql.PostgresConnector
tasks.max=1
database.hostname=127.0.0.1
database.port={port}
database.user={user}
database.password={password}
database.dbname={database}
topic.prefix={name}
table.include.list={table}
plugin.name=pgoutput
slot.name={slot}
publication.name={publication}
publication.autocreate.mode=disabled
slot.drop.on.stop=false
snapshot.mode={snapshot_mode}
snapshot.fetch.size=20000
max.batch.size=16384
max.queue.size=65536
poll.interval.ms=50
tombstones.on.delete=true
"""


def start(
    directory: Path,
    *,
    name: str,
    kafka: Kafka,
    database: dict[str, str],
    table: str,
    slot: str,
    publication: str,
    snapshot_mode: str,
) -> Running:
    """Start the connector; its changes arrive on the topic `<name>.<table>`.

    `database` has host, port, user, password and dbname. `snapshot_mode` is `no_data` (stream only, from the slot that exists)
    or `initial`. The caller stops what is returned.
    """
    connector = _CONNECTOR.format(
        name=name,
        port=database["port"],
        user=database["user"],
        password=database["password"],
        database=database["dbname"],
        table=table,
        slot=slot,
        publication=publication,
        snapshot_mode=snapshot_mode,
    )
    return connect.start(
        directory,
        name="debezium",
        kafka=kafka,
        side="producer",
        lock_file=LOCK_FILE,
        worker=WORKER,
        connector=connector,
    )
