"""How fast hop 3 is: one 12-column feed from Kafka into a PostgreSQL table, beside what PostgreSQL takes without us.

`measure_sink` runs a real Delivery in this process, from a topic that is already full. `measure_limit` does only the database's
part, from buffers made beforehand: COPY into a temporary table, then the guarded upsert. Both insert every row once and update it
once. The updates carry the row before, as they do under REPLICA IDENTITY FULL.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import psycopg
from confluent_kafka.admin import NewTopic  # pyright: ignore[reportPrivateImportUsage]  -- documented there

from ops.bench.growth import Drained, committed, drain
from ops.bench.peers import debezium_jdbc
from ops.bench.stage import Stage
from schemas.agreement.directory import Directory, GrantEntry
from schemas.agreement.grant import Grant
from schemas.agreement.subscriber import SinkConfig, Subscriber
from schemas.contract import Contract
from schemas.dead_letter import DeadLetter
from schemas.feed import out_topic
from schemas.log.admin import admin_client
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from schemas.position import Position
from schemas.wire.codec import Codec
from schemas.wire.envelope import key_schema, out_value_schema
from sinks.deliver import Delivery, DeliveryPorts, SinkSources
from sinks.postgresql.kind import POSTGRES
from sinks.postgresql.table.row import row_reader
from sinks.postgresql.table.table import DeliveredTable
from sinks.row import columns_of
from sinks.table.target import TOKEN

FEED = "bench.subject"
PARTITIONS = 4
LIMIT_BATCH_ROWS = 5_000
_FIELDS: Mapping[str, Any] = {
    "id": "long",
    "name": "string",
    "region": "int",
    "amount": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
    "changed_at": {"type": "long", "logicalType": "timestamp-micros"},
    "born": {"type": "int", "logicalType": "date"},
    "is_active": "boolean",
    "code": "string",
    "address": "string",
    "grade": "int",
    "phone": "long",
    "note": "string",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """One measurement; `cpu_micros` is this process's CPU time per change."""

    changes: int
    seconds: float
    cpu_micros: float

    @property
    def per_second(self) -> float:
        """Changes a second."""
        return self.changes / self.seconds


def _row(number: int, version: int) -> dict[str, Any]:
    return {
        "id": number,
        "name": f"名字 {number}",
        "region": 440_100 + number % 12,
        "amount": (number % 5000 * 137).to_bytes(4, "big"),
        "changed_at": 1_700_000_000_000_000 + version * 1_000_000 + number,
        "born": number % 25_000 - 7_000,
        "is_active": number % 7 != 0,
        "code": f"44010{number:013d}",
        "address": f"Tianhe Road {number % 900}",
        "grade": version,
        "phone": 13_800_000_000 + number,
        "note": f"note {number % 99}",
    }


class _Feed:
    """The feed's schemas under fixed ids, and its records: every row created, then updated."""

    def __init__(self) -> None:
        fields = [{"name": name, "type": kind} for name, kind in _FIELDS.items()]
        self.contract = Contract.parse(
            {"type": "record", "name": "subject", "fields": fields, "gov": {"key": ["id"]}}, FEED
        )
        self.grant = self._grant()
        self.schemas = {1: out_value_schema(self.contract, self.grant), 2: key_schema(self.contract)}
        self._codec = Codec(self.schemas.__getitem__)

    def _grant(self) -> Grant:
        subscriber = f"b{uuid4().hex[:10]}"
        return Grant(
            grant_id=f"{subscriber}.{FEED}",
            subscriber=subscriber,
            feed=FEED,
            columns=tuple(_FIELDS),
            purpose="measuring",
        )

    def messages(self, rows: int, version: int) -> list[tuple[bytes, bytes]]:
        """Key and value of one change of every row."""
        found: list[tuple[bytes, bytes]] = []
        for number in range(rows):
            position = version * rows + number
            source = {
                "version": "0.1.0",
                "connector": "postgresql",
                "name": "bench.main",
                "ts_ms": 1_700_000_000_000 + position,
                "snapshot": None,
                "db": "bench",
                "sequence": str(Position(0, 1 + position // 100, 1 + position % 100)),
                "schema": "public",
                "table": "subject",
                "txId": position // 100,
                "lsn": 1_000_000 + position,
                "file": None,
                "pos": None,
                "gtid": None,
            }
            envelope = {
                "before": _row(number, version - 1) if version else None,
                "after": _row(number, version),
                "source": source,
                "op": "u" if version else "c",
                "ts_ms": 1_700_000_000_000 + position,
                "transaction": {"id": str(position // 100), "total_order": 1, "data_collection_order": 1},
                "unchanged": None,
                "dq": None,
            }
            found.append((self._codec.encode(2, {"id": number}), self._codec.encode(1, envelope)))
        return found


class _Counter:
    """A delivery observer that ends the measurement once everything is durable."""

    def __init__(self, expected: int) -> None:
        self.left = expected
        self.began = self.ended = 0.0
        self.done = threading.Event()

    def delivered(self, *, grant_id: str, count: int, size_bytes: int, latencies_seconds: Sequence[float]) -> None:
        del grant_id, size_bytes, latencies_seconds
        self.left -= count
        if self.left <= 0:
            self.ended = time.perf_counter()
            self.done.set()

    def dead(self, *, grant_id: str, reason: str, count: int) -> None:
        raise AssertionError(f"{grant_id}: {count} dead letters: {reason}")

    def retried(self, *, subscriber: str, sink: str) -> None: ...

    def lag(self, *, grant_id: str, seconds: float) -> None: ...

    def parked(self, *, subscriber: str, sink: str, is_parked: bool) -> None:
        assert not is_parked, f"{subscriber}.{sink} is parked"

    def paused(self, *, grant_id: str, by: str) -> None:
        assert not by, f"{grant_id} is paused"


@contextmanager
def filled(kafka: Kafka, rows: int) -> Iterator[tuple[_Feed, str]]:
    """The topic of a grant with twice `rows` changes: every row created, then updated. It is gone afterwards."""
    feed = _Feed()
    topic = out_topic(feed.grant.grant_id)
    admin = admin_client(kafka)
    for created in admin.create_topics([NewTopic(topic, num_partitions=PARTITIONS, replication_factor=1)]).values():
        created.result(30)
    headers = [("grant_id", feed.grant.grant_id.encode()), ("purpose", b"measuring")]
    with closing(Log(kafka, client_id="bench")) as log:
        for version in (0, 1):
            for key, value in feed.messages(rows, version):
                log.append(topic, key, value, headers=headers)
        log.flush(120)
    try:
        yield feed, topic
    finally:
        for deleted in admin.delete_topics([topic]).values():
            deleted.result(30)


def measure_sink(kafka: Kafka, dsn: str, *, rows: int = 100_000) -> Rate:
    """Deliver twice `rows` changes from Kafka into the database: from the first record read to the last commit."""
    with filled(kafka, rows) as (feed, _):
        return _delivered(kafka, dsn, feed, rows)


def measure_debezium(stage: Stage, name: str, *, rows: int = 100_000) -> Drained:
    """The same topic into the same database by Debezium's JDBC sink, timed by what its group has committed."""
    with filled(stage.kafka, rows) as (feed, topic):
        table = f"jdbc_{feed.grant.subscriber}"
        place = stage.directory / name
        schemas = feed.schemas
        with debezium_jdbc.started(
            place, name=name, kafka=stage.kafka, dsn=stage.dsn, topic=topic, table=table, schemas=schemas
        ) as running:
            look = committed(stage.kafka, f"connect-{name}", [topic])
            drained = drain(stage.console, "Debezium's JDBC sink", look, 2 * rows, running)
        _check(stage.dsn, table, rows)
        return drained


def _delivered(kafka: Kafka, dsn: str, feed: _Feed, rows: int) -> Rate:
    counter, stop = _Counter(2 * rows), threading.Event()
    delivery = Delivery(
        directory=lambda: directory,
        kafka=kafka,
        sinks=SinkSources(
            kinds={"postgres": POSTGRES},
            address_of=lambda _owner, _name: dsn,
            schema_of=lambda number: _began(counter, feed.schemas[number]),
        ),
        ports=DeliveryPorts(dead_letter=_refuse, observer=counter),
    )
    subscriber = feed.grant.subscriber
    config = SinkConfig(name="main", kind="postgres", options={"tables": {FEED: f"subject_{subscriber}"}})
    directory = Directory(
        subscribers={subscriber: Subscriber(subscriber=subscriber, name=subscriber, sinks=(config,))},
        grants={feed.grant.grant_id: GrantEntry(grant=feed.grant, key_schema_id=2, value_schema_id=1, version=1)},
    )
    cpu = time.process_time()
    thread = threading.Thread(target=delivery.run, args=(stop,))
    thread.start()
    try:
        is_done = counter.done.wait(600)
        cpu = time.process_time() - cpu
    finally:
        stop.set()
        thread.join()
    assert is_done, f"{counter.left} changes are not delivered"
    _check(dsn, f"subject_{subscriber}", rows)
    seconds = counter.ended - counter.began
    return Rate(changes=2 * rows, seconds=seconds, cpu_micros=cpu / (2 * rows) * 1e6)


def _check(dsn: str, table: str, rows: int) -> None:
    """Every row is there, as it was updated."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute(f"SELECT count(*), min(grade) FROM {table}".encode()).fetchone()  # noqa: S608
    assert found == (rows, 1), f"the table has {found}"


def _began(counter: _Counter, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first question for a schema is the first record at the sink."""
    counter.began = counter.began or time.perf_counter()
    return schema


def _refuse(letter: DeadLetter) -> None:
    raise AssertionError(f"dead letter: {letter.reason}")


def measure_limit(dsn: str, *, rows: int = 100_000) -> Rate:
    """COPY and guarded upsert alone, by batches of 5,000 rows, from buffers in PostgreSQL's binary format."""
    feed = _Feed()
    read = row_reader(feed.schemas[1])
    table = DeliveredTable(
        schema="public", name=f"limit_{uuid4().hex[:10]}", columns=read.columns, key=columns_of(feed.schemas[2])
    )
    names = [column.name for column in table.columns]
    buffers: list[bytes] = []
    for version in (0, 1):
        lines = [read.read(value) for _, value in feed.messages(rows, version)]
        width = struct.pack(">h", len(names) + 1)
        for start in range(0, len(lines), LIMIT_BATCH_ROWS):
            parts = [
                width + b"".join(line.cells or ()) + len(line.token).to_bytes(4, "big") + line.token
                for line in lines[start : start + LIMIT_BATCH_ROWS]
            ]
            buffers.append(b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"".join(parts) + b"\xff\xff")
    sets = ", ".join(f"{name} = excluded.{name}" for name in [*names[1:], TOKEN])
    upsert = (
        f"INSERT INTO {table.path} AS t SELECT {', '.join(names)}, {TOKEN} FROM staged ON CONFLICT (id) DO UPDATE SET {sets} "  # noqa: S608
        f"WHERE t.{TOKEN} < excluded.{TOKEN}"
    )
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in table.create():
            connection.execute(statement.encode())
        connection.execute(f"CREATE TEMP TABLE staged (LIKE {table.path}) ON COMMIT DELETE ROWS".encode())
        began, cpu = time.perf_counter(), time.process_time()
        for buffer in buffers:
            with connection.transaction(), connection.cursor() as cursor:
                with cursor.copy(b"COPY staged FROM STDIN BINARY") as copy:
                    copy.write(buffer)
                cursor.execute(upsert.encode())
        seconds = time.perf_counter() - began
        return Rate(changes=2 * rows, seconds=seconds, cpu_micros=(time.process_time() - cpu) / (2 * rows) * 1e6)
