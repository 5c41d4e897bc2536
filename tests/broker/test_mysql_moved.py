"""A subscriber's MariaDB that is not where delivery left it: restored, replaced, restarted, or without a table or column it had."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pymysql.err import OperationalError

from ops.embedded.mariadb import MariaDb
from schemas.agreement.ending import Ending
from schemas.agreement.grant import AtEnd, Status
from schemas.agreement.subscriber import SinkConfig
from schemas.feed import later_edition
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from sinks.mysql.kind import MYSQL_TABLES
from sinks.mysql.sink import MysqlSink
from sinks.sink import Moved
from tests.stage.delivering import OutFeed, decimal, delivering, directory_of
from tests.stage.feeds import create
from tests.stage.maria import MariaServer, rows, rows_or_none, run
from tests.stage.until import until

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = {"mysql": MYSQL_TABLES}


def person(number: int, name: str = "甲", amount: str = "1.50") -> dict[str, Any]:
    return {"id": number, "name": name, "amount": decimal(amount)}


class MariaTarget:
    """A subscriber's database, its feed, and what it should hold."""

    def __init__(self, kafka: Kafka, address: str, unique: str, log: Log) -> None:
        self.address = address
        self.name = urlsplit(address).path[1:]
        self.server = address.removesuffix(self.name)
        self.feed = OutFeed(unique, "police.person")
        create(kafka, self.feed.topic, partitions=2)
        self.log = log
        self.expected: dict[int, tuple[str, str]] = {}
        self._kafka = kafka
        self.directory = directory_of({unique: SinkConfig(name="main", kind="mysql")}, self.feed)
        self._addresses = {(unique, "main"): self.address}

    def delivering(self) -> Any:
        schemas = self.feed.schemas
        return delivering(self._kafka, self.directory, kinds=KINDS, schemas=schemas, addresses=self._addresses)

    def put(self, numbers: range, name: str) -> None:
        for number in numbers:
            self.feed.append(self.log, self.feed.record("u", person(number, name)))
            self.expected[number] = (name, "1.50")
        self.log.flush(30)

    def remove(self, numbers: range) -> None:
        for number in numbers:
            self.feed.append(self.log, self.feed.record("d", person(number)), self.feed.tombstone(person(number)))
            del self.expected[number]
        self.log.flush(30)

    def held(self) -> dict[int, tuple[str, str]]:
        found = rows_or_none(self.address, "SELECT id, name, CAST(amount AS CHAR) FROM police_person")
        return {number: (name, amount) for number, name, amount in found}

    def is_exact(self, why: str, within_seconds: float = 40) -> None:
        until(lambda: self.held() == self.expected, within_seconds, why)

    def back_up(self) -> Callable[[], None]:
        """Copy all tables of the database; the way back to them, as from a dump."""
        tables = [name for (name,) in rows(self.address, "SHOW TABLES")]
        kept = [(f"`{self.name}`.`{name}`", f"`{self.name}_kept`.`{name}`") for name in tables]
        run(self.server, f"CREATE DATABASE {self.name}_kept")
        run(self.server, *(f"CREATE TABLE {copy} LIKE {table}" for table, copy in kept))
        run(self.server, *(f"INSERT INTO {copy} SELECT * FROM {table}" for table, copy in kept))

        def restore() -> None:
            run(self.server, f"DROP DATABASE {self.name}", f"CREATE DATABASE {self.name}")
            for table, copy in kept:  # a delivery that runs may make a table of its own in between
                until(lambda names=(table, copy): self._renamed(*names), 30, f"{table} is restored")

        return restore

    def _renamed(self, table: str, copy: str) -> bool:
        run(self.server, f"DROP TABLE IF EXISTS {table}")
        with suppress(OperationalError):
            run(self.server, f"RENAME TABLE {copy} TO {table}")
            return True
        return False


@pytest.fixture
def log(kafka: Kafka) -> Iterator[Log]:
    with closing(Log(kafka, client_id="test")) as log:
        yield log


@pytest.fixture
def target(kafka: Kafka, mariadb: MariaServer, unique: str, log: Log) -> MariaTarget:
    return MariaTarget(kafka, mariadb.create_database(unique), unique, log)


def test_a_database_restored_while_delivery_is_down_gets_what_it_lacks(target: MariaTarget) -> None:
    target.put(range(30), "yesterday")
    with target.delivering():
        target.is_exact("yesterday's rows")
    restore = target.back_up()
    target.put(range(20, 60), "today")
    target.remove(range(5))
    with target.delivering():
        target.is_exact("today's rows")
    restore()
    with target.delivering() as desk:
        target.is_exact("after the restore, without one more change in the source")
        until(lambda: "went back" in desk.told(target.feed), 20, "it is told")
        assert desk.letters == []


def test_a_database_restored_or_emptied_while_delivery_runs_gets_what_it_lacks(target: MariaTarget) -> None:
    target.put(range(30), "yesterday")
    with target.delivering() as desk:
        target.is_exact("yesterday's rows")
        restore = target.back_up()
        target.put(range(20, 60), "today")
        target.remove(range(5))
        target.is_exact("today's rows")
        restore()
        target.put(range(60, 70), "after")
        target.is_exact("what came between and what comes now")
        assert desk.told(target.feed)
        run(target.server, f"DROP DATABASE {target.name}", f"CREATE DATABASE {target.name}")
        target.is_exact("and all rows in an empty database")


def test_a_dropped_table_is_made_again_and_filled(target: MariaTarget) -> None:
    target.put(range(30), "first")
    target.remove(range(3))
    with target.delivering() as desk:
        target.is_exact("the first rows")
        run(target.address, "DROP TABLE police_person")
        target.is_exact("without one more change in the source")
        assert "filled anew" in desk.told(target.feed)
        run(target.address, "DROP TABLE police_person")
        target.put(range(30, 31), "later")
        target.is_exact("all rows, not only the one that changed")
    run(target.address, "DROP TABLE police_person")
    with target.delivering() as desk:
        target.is_exact("also when it was dropped while delivery was down")
        assert "dropped" in desk.told(target.feed)


@pytest.mark.parametrize("change", ["DROP COLUMN name", "RENAME COLUMN name TO alias"])
def test_a_dropped_or_renamed_column_is_made_again_and_filled(target: MariaTarget, change: str) -> None:
    target.put(range(30), "first")
    target.put(range(10), "second")
    with target.delivering() as desk:
        target.is_exact("the first rows")
        run(target.address, f"ALTER TABLE police_person {change}")
        target.is_exact("every row has its value again, without one more change in the source")
        assert "name" in desk.told(target.feed)
        target.put(range(5), "third")
        target.is_exact("and it goes on")
        assert desk.letters == []


def test_a_table_that_took_its_place_is_filled_anew(target: MariaTarget) -> None:
    target.put(range(30), "first")
    with target.delivering() as desk:
        target.is_exact("the first rows")
        run(target.address, "CREATE TABLE kept (PRIMARY KEY (id)) AS SELECT * FROM police_person")
        target.put(range(20, 60), "second")
        target.is_exact("the second rows")
        run(target.address, "RENAME TABLE police_person TO gone, kept TO police_person")
        target.is_exact("though the offsets did not go back with it")
        assert desk.letters == []


def test_a_column_that_a_wider_contract_brings_is_no_loss(target: MariaTarget) -> None:
    feed = target.feed
    target.put(range(3), "first")
    with target.delivering() as desk:
        target.is_exact("the first rows")
        feed.use([*feed.fields, {"name": "phone", "type": ["null", "string"]}])
        target.put(range(3, 4), "wider")
        target.is_exact("the wider row")
        assert desk.told(feed) == ""


def test_a_server_that_restarts_under_load_loses_and_repeats_nothing(
    kafka: Kafka, unique: str, log: Log, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    server = MariaDb(tmp_path / "own")
    running = server.start()
    try:
        target = MariaTarget(kafka, server.create_database(unique), unique, log)
        with target.delivering() as desk:
            for turn in range(3):
                target.put(range(turn * 40, 400 + turn * 40), f"turn {turn}")
                target.remove(range(turn * 40, turn * 40 + 20))
                until(lambda turn=turn: any(name == f"turn {turn}" for name, _ in target.held().values()), 40, "some")
                target.put(range(500, 800), f"under way {turn}")
                if turn:
                    running.kill()
                else:
                    server.stop()
                running = server.start()
            target.is_exact("all rows, as they are", within_seconds=60)
            assert desk.letters == []
        offsets = rows(target.address, "SELECT SUM(next_offset) FROM _mesh_offsets")
        assert offsets == [(target.feed.offset,)]
    finally:
        server.stop()


# -- ends of grants ----------------------------------------------------------------------------------------------------


def sink_of(target: MariaTarget, **more: Any) -> MysqlSink:
    schema_of = target.feed.schemas.__getitem__
    subscriber = target.feed.subscriber
    return MysqlSink(address=target.address, subscriber=subscriber, schema_of=schema_of, tables={}, **more)


def ending_of(target: MariaTarget, at_end: AtEnd) -> Ending:
    grant = target.feed.grant
    over = replace(grant, grant=replace(grant.grant, status=Status.REVOKED, at_end=at_end))
    return over.ending("REVOKED")


def test_rows_of_an_ended_grant_go_with_the_running_delivery_and_its_neighbours_stay(target: MariaTarget) -> None:
    other = OutFeed(target.feed.subscriber, "police.firm", schemas=target.feed.schemas)
    create(target._kafka, other.topic, partitions=2)
    sinks = {target.feed.subscriber: SinkConfig(name="main", kind="mysql")}
    target.directory = directory_of(sinks, target.feed, other)
    for number in range(10):
        other.append(target.log, other.record("c", person(number)))
    target.put(range(10), "stays")
    firms = "SELECT id FROM police_firm"
    with target.delivering() as desk:
        target.is_exact("delivered")
        until(lambda: len(rows_or_none(target.address, firms)) == 10, 40, "and what will end")
        restore = target.back_up()
        entry = replace(other.grant, grant=replace(other.grant.grant, status=Status.REVOKED))
        desk.directory = replace(target.directory, grants={**target.directory.grants, entry.grant.grant_id: entry})
        until(lambda: rows(target.address, firms) == [], 40, "its rows are gone")
        target.is_exact("and no other")
        # A backup of before has them; the end is on record as confirmed.
        restore()
        confirmed = {entry.topic: replace(entry.ending("REVOKED"), acknowledged_at=MOMENT)}
        desk.directory = replace(desk.directory, endings=confirmed)
        until(lambda: rows_or_none(target.address, firms) == [] and target.held() == target.expected, 60, "gone again")


def test_what_is_kept_at_the_end_is_fenced_and_a_later_edition_begins_empty(target: MariaTarget) -> None:
    feed = target.feed
    with closing(sink_of(target)) as sink:
        sink.start_offsets([(feed.topic, 0)])
        sink.write([feed.batch(*(feed.record("c", person(number)) for number in range(3)))])
        assert sink.end(ending_of(target, AtEnd.KEEP)) is None
        assert len(target.held()) == 3
        assert sink.end(ending_of(target, AtEnd.REMOVE)) == 3, "a mind that was changed"
        assert sink.end(ending_of(target, AtEnd.REMOVE)) == 3, "the same answer twice"
        assert target.held() == {}
        assert sink.lost_ends([feed.topic]) == set()
    again = later_edition(feed.topic, 2)
    with closing(sink_of(target)) as sink:
        sink.start_offsets([(again, 0)])
        batch = feed.batch(feed.record("c", person(7)))
        sink.write([replace(batch, topic=again)])
        assert list(target.held()) == [7]


def test_columns_that_a_grant_no_longer_names_go_and_records_of_before_bring_none_back(target: MariaTarget) -> None:
    feed = target.feed
    present = [feed.value_id]
    names = "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'police_person'"
    with closing(sink_of(target, present_schema=lambda _: present[0])) as sink:
        sink.start_offsets([(feed.topic, 0)])
        early, late = feed.record("c", person(1)), feed.record("c", person(2))
        sink.write([feed.batch(early)])
        wide = feed.value_id
        feed.use(feed.fields[:2])
        present[0] = feed.value_id
        sink.narrow(feed.topic, feed.value_id)
        sink.write([feed.batch(late)])
        assert [name for (name,) in rows(target.address, names)] == ["id", "name", "_mesh_token"]
        sink.check()
        present[0] = wide
        sink.write([feed.batch(feed.record("u", {"id": 1, "name": "乙"}))])
        assert rows(target.address, "SELECT id, name FROM police_person ORDER BY id") == [(1, "乙"), (2, "甲")]


def test_a_replay_from_an_earlier_offset_brings_rows_back_and_keeps_newer_ones(target: MariaTarget) -> None:
    feed = target.feed
    with closing(sink_of(target)) as sink:
        sink.start_offsets([(feed.topic, 0)])
        batch = feed.batch(*(feed.record("c", person(number)) for number in range(3)))
        sink.write([batch])
        sink.write([feed.batch(feed.record("u", person(1, "newer")))])
        run(target.address, "DELETE FROM police_person WHERE id = 2")
        sink.rewind({(feed.topic, 0): 0})
        sink.write([batch])
        assert {number: name for number, (name, _) in target.held().items()} == {0: "甲", 1: "newer", 2: "甲"}
        assert rows(target.address, "SELECT next_offset FROM _mesh_offsets") == [(3,)]


@pytest.mark.parametrize("killed_after", ["offsets went back", "table made"])
def test_what_is_killed_as_it_makes_a_lost_table_again_fills_it_all_the_same(
    target: MariaTarget, monkeypatch: pytest.MonkeyPatch, killed_after: str
) -> None:
    """Making a table commits by itself: whatever ends us around it, the rows come."""
    feed = target.feed
    batch = feed.batch(*(feed.record("c", person(number)) for number in range(3)))
    with closing(sink_of(target)) as sink:
        sink.start_offsets([(feed.topic, 0)])
        sink.write([batch])
    run(target.address, "DROP TABLE police_person")

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with closing(sink_of(target)) as sink, monkeypatch.context() as patch:
        tables: Any = sink._tables
        patch.setattr(tables, "look", lambda _topics: {})
        sink.start_offsets([(feed.topic, 0)])
        if killed_after == "table made":
            patch.setattr(tables._memory, "remember", die)
        else:
            patch.setattr(tables, "_make", die)
        with pytest.raises(Killed):
            sink.write([feed.batch(feed.record("u", person(9)))])
    with closing(sink_of(target)) as sink:
        assert sink.start_offsets([(feed.topic, 0)])[feed.topic, 0] < 0, "it is to be read from the beginning"
        for _ in range(2):
            try:
                sink.write([batch])
            except Moved:
                sink.start_offsets([(feed.topic, 0)])
        assert sorted(target.held()) == [0, 1, 2]
