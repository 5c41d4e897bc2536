"""The peer of the PostgreSQL sink: Debezium's JDBC sink in a standalone Kafka Connect worker, reading a topic of ours as it stands.

Tuned as its users tune it for volume: upserts in batches of 5,000, of which only the newest of a key is written, multi-row inserts of
the driver, a task for each core. Our topics are Avro in the registry's framing, for which Maven Central carries one converter,
Apicurio's: it asks a registry of its own kind for schemas, so two of its answers are given here, once per schema.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ops.bench.peers import connect
from ops.embedded.program import Running
from schemas.log.kafka import Kafka

LOCK_FILE = Path(__file__).with_name("debezium_jdbc.lock")
TASKS = 2
_IDS = "/apis/registry/v2/ids/globalIds/"

_WORKER = """\
key.converter=io.apicurio.registry.utils.converter.AvroConverter
value.converter=io.apicurio.registry.utils.converter.AvroConverter
{converters}offset.flush.interval.ms=200
consumer.auto.offset.reset=earliest
consumer.max.poll.records=5000
consumer.fetch.min.bytes=262144
consumer.max.partition.fetch.bytes=8388608
"""
_CONVERTER = {
    "apicurio.registry.url": "{registry}",
    "apicurio.registry.headers.enabled": "false",
    "apicurio.registry.id-handler": "io.apicurio.registry.serde.Legacy4ByteIdHandler",
    "apicurio.registry.use-id": "globalId",
}

_CONNECTOR = """\
name={name}
connector.class=io.debezium.connector.jdbc.JdbcSinkConnector
tasks.max={tasks}
topics={topic}
connection.url=jdbc:postgresql://127.0.0.1:{port}/{database}?reWriteBatchedInserts=true
connection.username={user}
connection.password={password}
insert.mode=upsert
delete.enabled=true
primary.key.mode=record_key
schema.evolution=basic
collection.name.format={table}
batch.size=5000
use.reduction.buffer=true
"""


@contextmanager
def started(
    directory: Path, *, name: str, kafka: Kafka, dsn: str, topic: str, table: str, schemas: Mapping[int, Any]
) -> Iterator[Running]:
    """The connector at work on a topic, whose schemas are given by id; its consumer group is `connect-<name>`."""
    database = urlsplit(dsn)
    connector = _CONNECTOR.format(
        name=name,
        tasks=TASKS,
        topic=topic,
        port=database.port,
        database=database.path.lstrip("/"),
        user=unquote(database.username or ""),
        password=unquote(database.password or ""),
        table=table,
    )
    with _registry(schemas) as registry:
        converters = "".join(
            f"{side}.converter.{key}={value.format(registry=registry)}\n"
            for side in ("key", "value")
            for key, value in _CONVERTER.items()
        )
        running = connect.start(
            directory,
            name="debezium-jdbc",
            kafka=kafka,
            side="consumer",
            lock_file=LOCK_FILE,
            worker=_WORKER.format(converters=converters),
            connector=connector,
        )
        try:
            yield running
        finally:
            running.stop()


@contextmanager
def _registry(schemas: Mapping[int, Any]) -> Iterator[str]:
    """Schemas by id as Apicurio's registry answers with them; its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            number, _, rest = urlsplit(self.path).path.removeprefix(_IDS).partition("/")
            is_known = number.isdecimal() and int(number) in schemas
            body = json.dumps([] if rest == "references" else schemas[int(number)]) if is_known else "{}"
            self.send_response(200 if is_known else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, name="schemas", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/apis/registry/v2"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
