"""Deliveries for tests: out feeds with known schemas, and records in them as egress would write them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any

from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.agreement.grant import Grant
from schemas.agreement.subscriber import SinkConfig, Subscriber
from schemas.backoff import Backoff
from schemas.change import Batch, Record
from schemas.contract import Contract
from schemas.dead_letter import DeadLetter
from schemas.errors import Misconfigured
from schemas.feed import out_topic
from schemas.guard.guard import Guard
from schemas.incident import MemoryIncidents
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from schemas.position import Position, trace_in, trace_salt
from schemas.wire.codec import Codec
from schemas.wire.envelope import key_schema, value_schema
from sinks.deliver import Delivery, DeliveryPorts, SinkSources
from sinks.lane.retry import RetryPolicy
from sinks.lane.rewind import Replays
from sinks.lane.setup import LaneConfig
from sinks.lane.standstill import MemoryStandstills, Standstills

PERSON = [
    {"name": "id", "type": "int"},
    {"name": "name", "type": ["null", "string"], "doc": "姓名"},
    {"name": "amount", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}]},
]


def decimal(text: str) -> bytes:
    """The unscaled value of a decimal text, as Avro stores it."""
    unscaled = int(text.replace(".", ""))
    return unscaled.to_bytes(unscaled.bit_length() // 8 + 1, "big", signed=True)


@dataclass
class OutFeed:
    """One granted feed: its schemas, and a writer of its records. Position and offset count up by themselves."""

    subscriber: str
    feed: str
    fields: Sequence[Mapping[str, Any]] = field(default_factory=lambda: PERSON)
    key: Sequence[str] = ("id",)
    schemas: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    sink: str = "main"
    offset: int = 0
    ordinal: int = 0

    def __post_init__(self) -> None:
        self.use(self.fields)

    def use(self, fields: Sequence[Mapping[str, Any]]) -> None:
        """Take up a successor of the contract."""
        record = {
            "type": "record",
            "name": "row",
            "doc": "人员|test",
            "fields": list(fields),
            "gov": {"key": list(self.key)},
        }
        self.contract = Contract.parse(record, self.feed)
        self.value_id = len(self.schemas) + 1
        self.key_id = self.value_id + 1
        self.schemas[self.value_id] = value_schema(self.contract)
        self.schemas[self.key_id] = key_schema(self.contract)
        self.codec = Codec(self.schemas.__getitem__)

    @property
    def topic(self) -> str:
        return out_topic(f"{self.subscriber}.{self.feed}")

    @property
    def grant(self) -> GrantEntry:
        columns = tuple(column.name for column in self.contract.fields)
        grant = Grant(
            grant_id=f"{self.subscriber}.{self.feed}",
            subscriber=self.subscriber,
            feed=self.feed,
            columns=columns,
            purpose="test",
            sink=self.sink,
        )
        return GrantEntry(grant=grant, key_schema_id=self.key_id, value_schema_id=self.value_id, version=1)

    @property
    def entry(self) -> FeedEntry:
        return FeedEntry(
            contract=self.contract, version=1, key_schema_id=self.key_id, value_schema_id=self.value_id, partitions=4
        )

    def envelope(
        self,
        op: str,
        row: Mapping[str, Any] | None,
        *,
        before: Mapping[str, Any] | None = None,
        token: int | None = None,
        unchanged: Sequence[str] | None = None,
        committed_at_ms: int | None = None,
    ) -> dict[str, Any]:
        self.ordinal += 1
        source = {
            "version": "0.1.0",
            "connector": "postgresql",
            "name": "police.main",
            "ts_ms": int(time.time() * 1000) if committed_at_ms is None else committed_at_ms,
            "db": "police",
            "sequence": str(Position(0, self.ordinal if token is None else token, 1)),
            "schema": "public",
            "table": "person",
            "txId": self.ordinal,
            "lsn": 1000 + self.ordinal,
        }
        optional = {name: None for name in ("snapshot", "file", "pos", "gtid")}
        return {
            "before": before,
            "after": row,
            "source": {**optional, **source},
            "op": op,
            "ts_ms": source["ts_ms"],
            "transaction": {"id": f"tx{self.ordinal}", "total_order": 1, "data_collection_order": 1},
            "unchanged": list(unchanged) if unchanged else None,
            "dq": None,
        }

    def record(self, op: str, row: Mapping[str, Any], **more: Any) -> Record:
        """A change of the row; a delete or truncate has no row after it."""
        full = {name: row.get(name) for name in (column.name for column in self.contract.fields)}
        after, before = (None, full) if op == "d" else (None, None) if op == "t" else (full, None)
        value = self.codec.encode(self.value_id, self.envelope(op, after, before=before, **more))
        return self._at(None if op == "t" else self.key_of(row), value)

    def tombstone(self, row: Mapping[str, Any]) -> Record:
        return self._at(self.key_of(row), None)

    def key_of(self, row: Mapping[str, Any]) -> bytes:
        return self.codec.encode(self.key_id, {name: row[name] for name in self.key})

    def _at(self, key: bytes | None, value: bytes | None) -> Record:
        self.offset += 1
        headers = [("grant_id", f"{self.subscriber}.{self.feed}".encode()), ("purpose", b"test")]
        if value is not None:
            headers.append(trace_in(value, value.rindex(b'["0'), trace_salt(self.feed)))
        return Record(self.offset - 1, key, value, headers, 0)

    def batch(self, *records: Record, partition: int = 0) -> Batch:
        return Batch(topic=self.topic, partition=partition, records=records)

    def append(self, log: Log, *records: Record) -> None:
        """Append records to the topic, partitioned by key."""
        for record in records:
            log.append(self.topic, record.key, record.value, headers=record.headers)


class Watch:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.latencies: dict[str, list[float]] = {}
        self.dead_reasons: list[str] = []
        self.lags: dict[str, float] = {}
        self.retries: dict[str, int] = {}
        self.parked_lanes: dict[str, bool] = {}
        self.paused_grants: dict[str, str] = {}

    def delivered(self, *, grant_id: str, count: int, size_bytes: int, latencies_seconds: Sequence[float]) -> None:
        assert size_bytes > 0
        self.counts[grant_id] = self.counts.get(grant_id, 0) + count
        self.latencies.setdefault(grant_id, []).extend(latencies_seconds)

    def dead(self, *, grant_id: str, reason: str, count: int) -> None:
        self.dead_reasons += [reason] * count

    def retried(self, *, subscriber: str, sink: str) -> None:
        self.retries[subscriber] = self.retries.get(subscriber, 0) + 1

    def lag(self, *, grant_id: str, seconds: float) -> None:
        self.lags[grant_id] = seconds

    def parked(self, *, subscriber: str, sink: str, is_parked: bool) -> None:
        self.parked_lanes[subscriber] = is_parked

    def paused(self, *, grant_id: str, by: str) -> None:
        self.paused_grants[grant_id] = by


_AGAIN = Backoff(first_seconds=0.05, longest_seconds=0.3, jitter=0)
QUICK = LaneConfig(
    retry=RetryPolicy(
        backoff=_AGAIN,
        parked=Backoff(first_seconds=0.3, longest_seconds=0.3, jitter=0),
        deferred=replace(_AGAIN, longest_seconds=5.0),
        parked_after_attempts=3,
        restarts_max=3,
    ),
    check_every_seconds=0.5,
    deferred_seconds_max=6.0,
)


def directory_of(sinks: Mapping[str, SinkConfig], *feeds: OutFeed) -> Directory:
    """A directory of subscribers, each with one sink, and their feeds."""
    return Directory(
        feeds={feed.feed: feed.entry for feed in feeds},
        subscribers={name: Subscriber(subscriber=name, name=name, sinks=(config,)) for name, config in sinks.items()},
        grants={feed.grant.grant.grant_id: feed.grant for feed in feeds},
    )


@dataclass
class Desk:
    """A running delivery: set `directory` for news; `letters` are the dead letters."""

    directory: Directory
    watch: Watch
    letters: list[DeadLetter]
    stop: threading.Event
    incidents: MemoryIncidents

    def told(self, feed: OutFeed) -> str:
        """What is said of the feed's grant."""
        incident = self.incidents.present().get(f"grant {feed.grant.grant.grant_id}")
        return incident.reason if incident else ""


@contextmanager
def delivering(
    kafka: Kafka,
    directory: Directory,
    *,
    kinds: Mapping[str, Any],
    schemas: Mapping[int, Mapping[str, Any]],
    addresses: Mapping[tuple[str, str], str],
    dead_letter: Callable[[DeadLetter], None] | None = None,
    reader_settings: Mapping[str, str] | None = None,
    standstills: Standstills | None = None,
    now: Callable[[], float] = time.time,
    replays: Replays | None = None,
    guard: Guard | None = None,
) -> Iterator[Desk]:
    """Run a Delivery in a thread; it must end in time and without an error."""
    desk = Desk(directory, Watch(), [], threading.Event(), MemoryIncidents())

    def address_of(owner: str, name: str) -> str:
        if (owner, name) not in addresses:
            raise Misconfigured(f"{owner}.{name}", "has no address", fix="give it one")
        return addresses[owner, name]

    delivery = Delivery(
        directory=lambda: desk.directory,
        kafka=kafka,
        sinks=SinkSources(
            kinds=kinds,
            address_of=address_of,
            schema_of=schemas.__getitem__,
            networks=[ip_network("127.0.0.0/8")],
            guard=guard,
        ),
        ports=DeliveryPorts(
            dead_letter=dead_letter or desk.letters.append,
            observer=desk.watch,
            incidents=desk.incidents,
            standstills=standstills or MemoryStandstills(),
            replays=replays,
        ),
        now=now,
        config=replace(QUICK, reader_settings=reader_settings or {}),
    )
    failures: list[BaseException] = []

    def run() -> None:
        try:
            delivery.run(desk.stop)
        except BaseException as error:  # noqa: BLE001 -- raised below, in the test's own thread
            failures.append(error)

    thread = threading.Thread(target=run, name="delivery")
    thread.start()
    try:
        yield desk
    finally:
        desk.stop.set()
        thread.join(30)
        assert not thread.is_alive(), "delivery does not stop"
    if failures:
        raise failures[0]
