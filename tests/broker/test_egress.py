"""The relay on a real broker, under the stream worker: what reaches `out` topics while grants come, change and go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.agreement.grant import Grant, Status
from schemas.contract import Contract
from schemas.feed import dead_letter_topic, out_topic
from schemas.log.control.store import ControlStore
from schemas.log.kafka import Kafka
from schemas.log.range import read_range
from schemas.log.writer import Log
from schemas.wire.codec import Codec
from schemas.wire.envelope import key_schema, out_key_schema, out_value_schema, value_schema
from streams.egress.relay import Relay
from streams.worker.app import StreamWorker
from tests.stage import feeds
from tests.stage.until import until

WITHIN_SECONDS = 60
PARTITIONS = 2
CONTRACT_RECORD = {
    "type": "record",
    "name": "Enterprise",
    "gov": {"key": ["ent_id"], "rules": [{"name": "named", "expr": "name != null", "onFailure": "DLQ"}]},
    "fields": [
        {"name": "ent_id", "type": "long"},
        {"name": "name", "type": ["null", "string"]},
        {"name": "region", "type": ["null", "string"]},
        {"name": "secret", "type": ["null", "string"]},
    ],
}


class City:
    """One feed on the broker, its grants, and as many stream workers as a test starts."""

    def __init__(self, kafka: Kafka, unique: str, tmp_path: Path) -> None:
        self.kafka, self.unique, self.tmp_path = kafka, unique, tmp_path
        self.name = f"{unique}.enterprise"
        self.contract = Contract.parse(CONTRACT_RECORD, self.name)
        self.schemas: dict[int, Mapping[str, Any]] = {1: key_schema(self.contract), 2: value_schema(self.contract)}
        self.codec = Codec(self.schemas.__getitem__)
        feed = FeedEntry(contract=self.contract, version=1, key_schema_id=1, value_schema_id=2, partitions=PARTITIONS)
        self.directory = Directory(feeds={self.name: feed})
        self.log = Log(kafka, client_id="tests", linger_ms=2)
        self.control = f"{unique}.control"
        feeds.create(kafka, self.name, partitions=PARTITIONS)
        feeds.create(kafka, dead_letter_topic(self.name), self.control, partitions=1)
        self.told: list[tuple[Any, ...]] = []
        self.position = 0

    def close(self) -> None:
        self.log.close()

    # --- the observer ---

    def processed(self, feed: str, count: int, size_bytes: int) -> None:
        self.told.append(("processed", count))

    def rejected(self, feed: str, reason: str, count: int) -> None:
        self.told.append(("rejected", reason, count))

    def routed(self, grant_id: str, delivered: int, suppressed: int, size_bytes: int) -> None:
        self.told.append(("routed", grant_id, delivered, suppressed))

    def backfilled(self, grant_id: str, count: int) -> None:
        self.told.append(("backfilled", grant_id, count))

    # --- the progress ---

    def load(self) -> Mapping[str, Mapping[str, Any]]:
        return self._store().all()

    def save(self, key: str, record: Mapping[str, Any]) -> None:
        self._store().save(key, record)

    def _store(self) -> ControlStore:
        return ControlStore(self.kafka, self.control, self.log)

    @contextmanager
    def worker(self, name: str = "w0") -> Iterator[Relay]:
        """A stream worker with a relay, in a thread; on the way out it is stopped in order."""
        log, stop = Log(self.kafka, client_id=f"tests-{name}"), threading.Event()
        failures: list[BaseException] = []
        relay = Relay(
            directory=lambda: self.directory,
            schema_of=self.schemas.__getitem__,
            open_outlet=log.lane,
            observer=self,
            replay=partial(read_range, self.kafka),
            progress=self,
            read_out=lambda *_: (),
            hash_key=lambda subscriber: subscriber.encode(),
            now=lambda: datetime.now(UTC),
        )

        def run() -> None:
            try:
                StreamWorker(
                    kafka=self.kafka,
                    group=self.unique,
                    topics=lambda: frozenset({self.name}),
                    handle=relay.handle,
                    idle=relay.idle,
                    assigned=relay.assigned,
                    data_dir=self.tmp_path / name,
                    instance_id=f"{self.unique}-{name}",
                    leave=lambda code: failures.append(AssertionError(f"it wanted to leave with {code}")),
                ).run(stop)
            except BaseException as error:  # noqa: BLE001 - raised below, in the test's own thread
                failures.append(error)

        thread = threading.Thread(target=run, name=f"worker-{name}")
        thread.start()
        try:
            yield relay
        finally:
            stop.set()
            thread.join(WITHIN_SECONDS)
            assert not thread.is_alive(), "the worker does not stop"
            log.close()
            if failures:
                raise failures[0]

    def grant(self, subscriber: str, **more: Any) -> str:
        """Put a grant, or another version of it, into the directory; its id."""
        options = {"columns": ("name", "region"), "purpose": "duty", **more}
        grant = Grant(grant_id=f"{subscriber}.{self.name}", subscriber=subscriber, feed=self.name, **options)
        if grant.grant_id not in self.directory.grants:
            feeds.create(self.kafka, out_topic(grant.grant_id), partitions=PARTITIONS)
        at = 10 + len(self.schemas)
        self.schemas[at] = out_key_schema(self.contract, grant)
        self.schemas[at + 1] = out_value_schema(self.contract, grant)
        entry = GrantEntry(grant=grant, key_schema_id=at, value_schema_id=at + 1, version=1)
        self.directory = Directory(feeds=self.directory.feeds, grants={**self.directory.grants, grant.grant_id: entry})
        return grant.grant_id

    def put(self, op: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> None:
        """Append a change of one enterprise to the feed."""
        self.position += 1
        source = dict.fromkeys(("snapshot", "schema", "txId", "lsn", "file", "pos", "gtid"))
        source |= {"version": "1", "connector": "postgresql", "name": "aic.main", "db": "aic", "table": "enterprise"}
        source |= {"ts_ms": 1_480_000_000_000, "sequence": f'["0001","{self.position:016X}","00000001"]'}
        envelope = {"before": before, "after": after, "source": source, "op": op, "ts_ms": 1, "transaction": None}
        key = self.codec.encode(1, {"ent_id": (after or before or {})["ent_id"]})
        self.log.append(self.name, key, self.codec.encode(2, {**envelope, "unchanged": None, "dq": None}))
        if op == "d":
            self.log.append(self.name, key, None)

    def seen(self, grant_id: str) -> dict[int, list[tuple[int, str, str]]]:
        """What a grant's topic holds, per enterprise in order: position, op, reason. Checks key, partition and columns."""
        found: dict[int, list[tuple[int, str, str]]] = {}
        fed = {
            message.key(): message.partition()
            for messages in feeds.read_all(self.kafka, [self.name]).values()
            for message in messages
        }
        for messages in feeds.read_all(self.kafka, [out_topic(grant_id)]).values():
            for message in messages:
                assert fed[message.key()] == message.partition()
                headers = dict(message.headers() or [])
                assert headers["grant_id"] == grant_id.encode()
                number = self.codec.decode(message.key())["ent_id"]
                if message.value() is None:
                    assert found[number][-1][1] == "d"
                    continue
                envelope = self.codec.decode(message.value())
                row = envelope["after"] or envelope["before"]
                assert set(row) <= {"ent_id", "name", "region"}
                position = int(envelope["source"]["sequence"].split('"')[3], 16)
                reason = headers.get("reason", b"").decode()
                found.setdefault(number, []).append((position, envelope["op"], reason))
        return found

    def live_partitions(self, grant_id: str) -> int:
        """In how many partitions a grant is served live."""
        records = self.load()
        return sum(
            bool(key.startswith(f"{grant_id}/") and record["live_from"] is not None and record["stopped_at"] is None)
            for key, record in records.items()
        )


@pytest.fixture
def city(kafka: Kafka, unique: str, tmp_path: Path) -> Iterator[City]:
    city = City(kafka, unique, tmp_path)
    yield city
    city.close()


def enterprise(number: int, **more: Any) -> dict[str, Any]:
    region = "440106" if number % 2 else "440104"
    return {"ent_id": number, "name": f"示例{number}", "region": region, "secret": "hidden", **more}


def count(seen: Mapping[int, list[Any]]) -> int:
    return sum(map(len, seen.values()))


def test_feed_reaches_each_grant_filtered_and_projected_and_rejects_go_to_dead_letters(city: City) -> None:
    whole, part = city.grant("boc"), city.grant("district_440106", row_filter="region == '440106'")
    with city.worker():
        for number in range(100):
            city.put("c", None, enterprise(number))
        city.put("u", enterprise(1), enterprise(1, region="440104"))  # moves away
        city.put("u", enterprise(2), enterprise(2, region="440106"))  # comes
        city.put("d", enterprise(3), None)
        city.put("c", None, enterprise(500, name=None))  # breaks the rule
        city.log.append(city.name, b"poison", b"\x01poison", partition=0)
        city.log.flush(30)
        until(lambda: count(city.seen(whole)) >= 103, WITHIN_SECONDS, "everything reaches the unfiltered grant")
        until(lambda: count(city.seen(part)) >= 53, WITHIN_SECONDS, "the district has its rows")
    seen = city.seen(part)
    assert [(op, reason) for _, op, reason in seen[1]] == [("c", ""), ("d", "OUT_OF_SCOPE")]
    assert [(op, reason) for _, op, reason in seen[2]] == [("c", "")]
    assert [(op, reason) for _, op, reason in seen[3]] == [("c", ""), ("d", "SOURCE_DELETED")]
    assert 4 not in seen
    dead = feeds.read_all(city.kafka, [dead_letter_topic(city.name)])[dead_letter_topic(city.name), 0]
    assert sorted(dict(message.headers() or [])["mesh.errors.reason"] for message in dead) == [
        b"bad_magic",
        b"rule_named",
    ]
    processed = sum(told[1] for told in city.told if told[0] == "processed")
    rejected = sum(told[2] for told in city.told if told[0] == "rejected")
    for grant_id in (whole, part):  # invariant 3
        assert processed == 105
        assert sum(t[2] + t[3] for t in city.told if t[0] == "routed" and t[1] == grant_id) + rejected == processed


def test_new_grant_on_a_running_feed_has_its_past_and_misses_nothing(city: City) -> None:
    old = city.grant("boc")
    stop = threading.Event()

    def flow() -> None:
        number = 0
        while not stop.is_set():
            for _ in range(200):
                city.put("c", None, enterprise(number))
                number += 1
            city.log.flush(30)

    with city.worker():
        source = threading.Thread(target=flow)
        source.start()
        try:
            until(lambda: len(city.told) > 10, WITHIN_SECONDS, "the feed flows")
            new = city.grant("customs")
            until(lambda: city.live_partitions(new) == PARTITIONS, WITHIN_SECONDS, "the new grant is live everywhere")
        finally:
            stop.set()
            source.join(30)
        total = city.position
        until(lambda: len(city.seen(new)) >= total, WITHIN_SECONDS, "the new grant has everything")
        until(lambda: len(city.seen(old)) >= total, WITHIN_SECONDS, "the old grant has everything")
    for grant_id in (old, new):
        assert {number: [entry[0] for entry in entries] for number, entries in city.seen(grant_id).items()} == {
            number: [number + 1] for number in range(total)
        }


def test_grant_on_a_quiet_feed_is_backfilled_and_a_restart_does_not_repeat_it(city: City) -> None:
    for number in range(500):
        city.put("c", None, enterprise(number))
    city.log.flush(30)
    with city.worker():
        until(lambda: sum(t[1] for t in city.told if t[0] == "processed") == 500, WITHIN_SECONDS, "all went by")
        grant_id = city.grant("customs")
        until(lambda: city.live_partitions(grant_id) == PARTITIONS, WITHIN_SECONDS, "live without a record coming")
    assert count(city.seen(grant_id)) == 500
    with city.worker():
        city.put("c", None, enterprise(500))
        city.log.flush(30)
        until(lambda: count(city.seen(grant_id)) == 501, WITHIN_SECONDS, "it goes on where it was")


def test_revocation_stops_a_running_feed_and_a_return_brings_what_was_missed(city: City) -> None:
    grant_id, other = city.grant("customs"), city.grant("boc")
    with city.worker():
        send(city, range(100), lambda: count(city.seen(grant_id)) == 100)
        city.grant("customs", status=Status.SUSPENDED)
        send(city, range(100, 200), lambda: count(city.seen(other)) == 200)
        assert count(city.seen(grant_id)) == 100
        city.grant("customs")
        until(lambda: count(city.seen(grant_id)) == 200, WITHIN_SECONDS, "what was missed has come")
        send(city, range(200, 300), lambda: count(city.seen(grant_id)) == 300)


def send(city: City, numbers: range, arrived: Callable[[], bool]) -> None:
    for number in numbers:
        city.put("c", None, enterprise(number))
    city.log.flush(30)
    until(arrived, WITHIN_SECONDS, "the changes have arrived")
