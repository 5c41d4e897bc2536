"""Delivery over the real broker: lanes, isolation, dead letters, grants that come and go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.agreement.grant import Status
from schemas.agreement.subscriber import SinkConfig
from schemas.log.kafka import Kafka
from schemas.log.range import read_range
from schemas.log.writer import Log
from sinks.kind import SinkKind
from sinks.postgresql.sink import build_postgres
from tests.stage.delivering import OutFeed, decimal, delivering, directory_of
from tests.stage.feeds import committed_offsets, create
from tests.stage.until import until

KINDS = {"postgres": SinkKind(build=build_postgres)}


@pytest.fixture
def log(kafka: Kafka) -> Iterator[Log]:
    log = Log(kafka, client_id="test")
    yield log
    log.close()


def person(number: int, name: str = "甲", amount: str = "1.50") -> dict[str, Any]:
    return {"id": number, "name": name, "amount": decimal(amount)}


def rows(dsn: str, table: str = "police_person") -> dict[int, str]:
    try:
        with psycopg.connect(dsn) as connection:
            return dict(connection.execute(f"SELECT id, name FROM {table}".encode()).fetchall())
    except (psycopg.errors.UndefinedTable, psycopg.OperationalError):
        return {}


def has_rows(dsn: str, expected: Mapping[int, str], within_seconds: float = 30) -> None:
    until(lambda: rows(dsn) == expected, within_seconds, f"{len(expected)} rows in the target")


def run(dsn: str, sql: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.encode())


def postgres_sink() -> SinkConfig:
    return SinkConfig(name="main", kind="postgres")


def test_changes_arrive_in_order_and_are_confirmed(kafka: Kafka, postgres: Any, unique: str, log: Log) -> None:
    dsn = postgres.create_database("target")
    feed = OutFeed(unique, "police.person")
    create(kafka, feed.topic)
    expected: dict[int, str] = {}
    for number in range(500):
        feed.append(log, feed.record("u", person(number % 50, f"n{number}")))
        expected[number % 50] = f"n{number}"
    feed.append(log, feed.record("d", person(7)), feed.tombstone(person(7)))
    del expected[7]
    log.flush(30)
    directory = directory_of({unique: postgres_sink()}, feed)
    with delivering(kafka, directory, kinds=KINDS, schemas=feed.schemas, addresses={(unique, "main"): dsn}) as desk:
        has_rows(dsn, expected)
        feed.append(log, feed.record("u", person(1, "live")))
        log.flush(30)
        has_rows(dsn, {**expected, 1: "live"})
        grant_id = feed.grant.grant.grant_id
        until(lambda: desk.watch.counts.get(grant_id) == 502, 30, "every change counted once, tombstones not")
        until(lambda: desk.watch.lags.get(grant_id) == 0.0, 30, "no lag once caught up")
        assert max(desk.watch.latencies[grant_id]) < 30
        assert desk.letters == []
    assert sum(committed_offsets(kafka, f"sub.{unique}.main").values()) == 503


def test_a_restart_continues_where_the_database_is(kafka: Kafka, postgres: Any, unique: str, log: Log) -> None:
    dsn = postgres.create_database("target")
    feed = OutFeed(unique, "police.person")
    create(kafka, feed.topic, partitions=1)
    directory = directory_of({unique: postgres_sink()}, feed)
    known = {"kinds": KINDS, "schemas": feed.schemas, "addresses": {(unique, "main"): dsn}}
    feed.append(log, feed.record("c", person(1)), feed.record("c", person(2)))
    log.flush(30)
    with delivering(kafka, directory, **known):
        has_rows(dsn, {1: "甲", 2: "甲"})
    # The database decides, not the broker's offset (SK-06): set it back, take a row out, and it comes again.
    run(dsn, "UPDATE _mesh_offsets SET next_offset = 1")
    run(dsn, "DELETE FROM police_person WHERE id = 2")
    with delivering(kafka, directory, **known):
        has_rows(dsn, {1: "甲", 2: "甲"})


def test_one_dead_database_delays_nobody_else(kafka: Kafka, postgres: Any, unique: str, log: Log) -> None:
    dsn, healthy = postgres.create_database("sick"), postgres.create_database("healthy")
    sick_feed = OutFeed(f"{unique}a", "police.person")
    feed = OutFeed(f"{unique}b", "police.person", schemas=sick_feed.schemas)
    create(kafka, sick_feed.topic, feed.topic, partitions=2)
    directory = directory_of({f"{unique}a": postgres_sink(), f"{unique}b": postgres_sink()}, sick_feed, feed)
    addresses = {(f"{unique}a", "main"): dsn, (f"{unique}b", "main"): healthy}
    with delivering(kafka, directory, kinds=KINDS, schemas=feed.schemas, addresses=addresses) as desk:
        for each in (sick_feed, feed):
            each.append(log, each.record("c", person(1)))
        log.flush(30)
        has_rows(dsn, {1: "甲"})
        has_rows(healthy, {1: "甲"})
        name = dsn.rsplit("/", 1)[1]
        run(healthy, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        run(healthy, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        expected = {1: "甲"}
        for number in range(2, 60):
            for each in (sick_feed, feed):
                each.append(log, each.record("c", person(number, f"n{number}")))
            expected[number] = f"n{number}"
        log.flush(30)
        has_rows(healthy, expected, 10)
        until(lambda: desk.watch.parked_lanes.get(f"{unique}a") is True, 20, "the sick lane is parked")
        assert desk.watch.parked_lanes[f"{unique}b"] is False
        assert max(desk.watch.latencies[feed.grant.grant.grant_id]) < 20
        run(healthy, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        has_rows(dsn, expected)
        until(lambda: desk.watch.parked_lanes[f"{unique}a"] is False, 30, "the lane healed by itself")
        assert desk.letters == [], "an outage makes no dead letters"


def test_a_poison_row_goes_alone_to_the_dead_letters(kafka: Kafka, postgres: Any, unique: str, log: Log) -> None:
    dsn = postgres.create_database("target")
    run(
        dsn,
        "CREATE TABLE police_person (id int PRIMARY KEY, name text CHECK (name <> 'poison'), amount numeric(18,2), "
        '_mesh_token text COLLATE "C" NOT NULL)',
    )
    feed = OutFeed(unique, "police.person")
    create(kafka, feed.topic, partitions=1)
    expected: dict[int, str] = {}
    for number in range(200):
        is_poison = number in {0, 77, 78, 199}
        feed.append(log, feed.record("u", person(number % 90, "poison" if is_poison else f"n{number}")))
        if not is_poison:
            expected[number % 90] = f"n{number}"
    broken = feed.record("c", person(1))
    assert broken.value is not None
    feed.append(log, broken._replace(value=broken.value[:-4]))
    feed.append(log, feed.record("c", person(999, "last")))
    log.flush(30)
    directory = directory_of({unique: postgres_sink()}, feed)
    with delivering(kafka, directory, kinds=KINDS, schemas=feed.schemas, addresses={(unique, "main"): dsn}) as desk:
        has_rows(dsn, {**expected, 999: "last"})
        until(lambda: len(desk.letters) >= 5, 30, "five dead letters")
    letters = {letter.offset: letter for letter in desk.letters}
    assert len(desk.letters) == 5, "each exactly once (invariant 3)"
    assert set(letters) == {0, 77, 78, 199, 200}
    assert {letter.reason for letter in desk.letters} == {"sql_23514", "not_decodable"}
    assert letters[77].value == next(
        record.value for record in next(read_range(kafka, feed.topic, 0, 77, 78)).records
    ), "original bytes"
    assert "poison" not in letters[77].detail
    assert letters[77].hop == "deliver"
    assert sorted(desk.watch.dead_reasons) == ["not_decodable"] + ["sql_23514"] * 4
    assert committed_offsets(kafka, f"sub.{unique}.main") == {(feed.topic, 0): 202}


def test_a_target_that_refuses_everything_parks_instead(kafka: Kafka, postgres: Any, unique: str, log: Log) -> None:
    dsn = postgres.create_database("target")
    run(
        dsn,
        "CREATE TABLE police_person (id int PRIMARY KEY, name text, amount numeric(18,2), "
        '_mesh_token text COLLATE "C" NOT NULL, own int NOT NULL)',
    )
    feed = OutFeed(unique, "police.person")
    create(kafka, feed.topic, partitions=1)
    for number in range(150):
        feed.append(log, feed.record("c", person(number)))
    log.flush(30)
    directory = directory_of({unique: postgres_sink()}, feed)
    with delivering(kafka, directory, kinds=KINDS, schemas=feed.schemas, addresses={(unique, "main"): dsn}) as desk:
        until(lambda: desk.watch.parked_lanes.get(unique) is True, 60, "the lane is parked")
        assert len(desk.letters) == 100
        run(dsn, "ALTER TABLE police_person ALTER own DROP NOT NULL")
        until(lambda: len(rows(dsn)) == 50, 30, "the rest is delivered once the table is mended")


def test_grants_come_and_go_while_it_runs(kafka: Kafka, postgres: Any, unique: str, log: Log) -> None:
    dsn = postgres.create_database("target")
    feed = OutFeed(unique, "police.person")
    later = OutFeed(unique, "police.car", schemas=feed.schemas)
    create(kafka, feed.topic, later.topic)
    sinks = {unique: postgres_sink()}
    with delivering(
        kafka, directory_of(sinks, feed), kinds=KINDS, schemas=feed.schemas, addresses={(unique, "main"): dsn}
    ) as desk:
        feed.append(log, feed.record("c", person(1)))
        later.append(log, later.record("c", person(5, "car")))
        log.flush(30)
        has_rows(dsn, {1: "甲"})
        assert rows(dsn, "police_car") == {}, "invariant 6: nothing without a grant"
        desk.directory = directory_of(sinks, feed, later)
        until(lambda: rows(dsn, "police_car") == {5: "car"}, 20, "a new grant is taken up")
        until(lambda: desk.watch.lags.get(feed.grant.grant.grant_id) == 0.0, 30, "the lane is idle")
        entry = feed.grant
        revoked = replace(entry, grant=replace(entry.grant, status=Status.REVOKED))
        directory = directory_of(sinks, feed, later)
        desk.directory = replace(directory, grants={**directory.grants, entry.grant.grant_id: revoked})
        group = f"sub.{unique}.main"
        until(lambda: held_topics(kafka, group) == {later.topic}, 5, "a revoked grant is no longer read")
        feed.append(log, feed.record("c", person(2)))
        later.append(log, later.record("c", person(6, "car")))
        log.flush(30)
        until(lambda: rows(dsn, "police_car") == {5: "car", 6: "car"}, 20, "the other grant goes on")
        assert rows(dsn) == {}, "invariant 11: what the revoked grant delivered is gone, and nothing comes"


def held_topics(kafka: Kafka, group: str) -> set[str]:
    admin = AdminClient(kafka.client({}))
    described = admin.describe_consumer_groups([group])[group].result(10)
    return {place.topic for member in described.members for place in member.assignment.topic_partitions}


def test_an_unexpected_error_parks_its_lane_only(kafka: Kafka, postgres: Any, unique: str, log: Log) -> None:
    dsn = postgres.create_database("target")
    broken = OutFeed(f"{unique}a", "police.person")
    feed = OutFeed(f"{unique}b", "police.person", schemas=broken.schemas)
    create(kafka, broken.topic, feed.topic, partitions=1)

    class BrokenSink:
        def write(self, batches: Any) -> None:
            raise ZeroDivisionError("a value")

        def close(self) -> None: ...

    kinds = {**KINDS, "broken": SinkKind(build=lambda _setup: BrokenSink())}
    sinks = {f"{unique}a": SinkConfig(name="main", kind="broken"), f"{unique}b": postgres_sink()}
    for each in (broken, feed):
        each.append(log, each.record("c", person(1)))
    log.flush(30)
    addresses = {(f"{unique}b", "main"): dsn}
    with delivering(
        kafka, directory_of(sinks, broken, feed), kinds=kinds, schemas=feed.schemas, addresses=addresses
    ) as desk:
        has_rows(dsn, {1: "甲"})
        until(lambda: desk.watch.parked_lanes.get(f"{unique}a") is True, 20, "the broken lane is parked")
        assert desk.letters == []
    assert committed_offsets(kafka, f"sub.{unique}a.main") == {}, "nothing was confirmed"


def test_retention_that_passed_a_stopped_lane_is_loud(kafka: Kafka, postgres: Any, unique: str, log: Log) -> None:
    dsn = postgres.create_database("target")
    feed = OutFeed(unique, "police.person")
    create(kafka, feed.topic, partitions=1)
    known = {"kinds": KINDS, "schemas": feed.schemas, "addresses": {(unique, "main"): dsn}}
    directory = directory_of({unique: postgres_sink()}, feed)
    feed.append(log, feed.record("c", person(1)))
    log.flush(30)
    with delivering(kafka, directory, **known):
        has_rows(dsn, {1: "甲"})
    for number in range(2, 6):
        feed.append(log, feed.record("c", person(number)))
    log.flush(30)
    admin = AdminClient(kafka.client({}))
    for deleted in admin.delete_records([TopicPartition(feed.topic, 0, 3)]).values():
        deleted.result(30)
    with delivering(kafka, directory, **known) as desk:
        until(lambda: desk.watch.parked_lanes.get(unique) is True, 30, "KF-12: parked on the gap")
        assert rows(dsn) == {1: "甲"}, "nothing is delivered past a gap in silence"
