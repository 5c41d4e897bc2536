"""A subscriber's database that is not where delivery left it: restored, replaced, or without a table or column it had."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from schemas.agreement.subscriber import SinkConfig
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from sinks.postgresql.kind import POSTGRES
from tests.stage.delivering import OutFeed, decimal, delivering, directory_of
from tests.stage.feeds import create
from tests.stage.until import until

KINDS = {"postgres": POSTGRES}


@pytest.fixture
def log(kafka: Kafka) -> Iterator[Log]:
    log = Log(kafka, client_id="test")
    yield log
    log.close()


def person(number: int, name: str = "甲", amount: str = "1.50") -> dict[str, Any]:
    return {"id": number, "name": name, "amount": decimal(amount)}


def run(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def rows(dsn: str, table: str = "police_person") -> dict[int, tuple[Any, ...]]:
    try:
        with psycopg.connect(dsn) as connection:
            found = connection.execute(f"SELECT id, name, amount::text FROM {table}".encode()).fetchall()
            return {number: rest for number, *rest in found}  # pyright: ignore[reportReturnType]
    except psycopg.Error:
        return {}


class Target:
    """A subscriber's database, its feed, and what it should hold."""

    def __init__(self, kafka: Kafka, postgres: Any, unique: str, log: Log) -> None:
        self.dsn: str = postgres.create_database("target")
        self.admin = urlsplit(self.dsn)._replace(path="/postgres").geturl()
        self.name = urlsplit(self.dsn).path[1:]
        self.feed = OutFeed(unique, "police.person")
        create(kafka, self.feed.topic, partitions=2)
        self.log = log
        self.expected: dict[int, list[Any]] = {}
        self._kafka = kafka
        self._directory = directory_of({unique: SinkConfig(name="main", kind="postgres")}, self.feed)
        self._addresses = {(unique, "main"): self.dsn}

    def delivering(self) -> Any:
        return delivering(
            self._kafka, self._directory, kinds=KINDS, schemas=self.feed.schemas, addresses=self._addresses
        )

    def put(self, numbers: range, name: str) -> None:
        for number in numbers:
            self.feed.append(self.log, self.feed.record("u", person(number, name)))
            self.expected[number] = [name, "1.50"]
        self.log.flush(30)

    def remove(self, numbers: range) -> None:
        for number in numbers:
            self.feed.append(self.log, self.feed.record("d", person(number)), self.feed.tombstone(person(number)))
            del self.expected[number]
        self.log.flush(30)

    def is_exact(self, why: str) -> None:
        until(lambda: rows(self.dsn) == self.expected, 40, why)

    def disconnect(self, name: str) -> None:
        run(self.admin, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

    def back_up(self) -> Callable[[], None]:
        """Copy the database; the way back to the copy, under whatever runs."""
        self.disconnect(self.name)
        run(self.admin, f"CREATE DATABASE {self.name}_backup TEMPLATE {self.name} STRATEGY file_copy")

        def restore() -> None:
            run(self.admin, f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS false")
            self.disconnect(self.name)
            run(self.admin, f"DROP DATABASE {self.name}", f"ALTER DATABASE {self.name}_backup RENAME TO {self.name}")

        return restore


@pytest.fixture
def target(kafka: Kafka, postgres: Any, unique: str, log: Log) -> Target:
    return Target(kafka, postgres, unique, log)


def test_a_database_restored_while_delivery_is_down_gets_what_it_lacks(target: Target) -> None:
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


def test_a_database_restored_while_delivery_runs_gets_what_it_lacks(target: Target) -> None:
    target.put(range(30), "yesterday")
    with target.delivering() as desk:
        target.is_exact("yesterday's rows")
        restore = target.back_up()
        target.put(range(20, 60), "today")
        target.remove(range(5))
        target.is_exact("today's rows")
        restore()
        target.is_exact("after the restore, without one more change in the source")
        assert desk.told(target.feed)
        target.put(range(60, 70), "after")
        target.is_exact("and it goes on")


def test_a_write_after_a_restore_leaves_no_gap(target: Target) -> None:
    """The lane's own epoch is in the backup: nothing but the offset says that the database is another one."""
    target.put(range(30), "yesterday")
    with target.delivering():
        target.is_exact("yesterday's rows")
        restore = target.back_up()
        target.put(range(20, 60), "today")
        target.is_exact("today's rows")
        restore()
        target.put(range(60, 70), "after")
        target.is_exact("what came between and what comes now")


def test_an_empty_database_in_its_place_is_filled(target: Target) -> None:
    target.put(range(30), "first")
    target.remove(range(3))
    with target.delivering():
        target.is_exact("the first rows")
    target.disconnect(target.name)
    run(target.admin, f"DROP DATABASE {target.name}", f"CREATE DATABASE {target.name}")
    target.put(range(30, 31), "later")
    with target.delivering() as desk:
        target.is_exact("all rows in the new database")
        until(lambda: "went back" in desk.told(target.feed), 20, "it is told")
        target.disconnect(target.name)
        run(target.admin, f"DROP DATABASE {target.name} WITH (FORCE)", f"CREATE DATABASE {target.name}")
        target.is_exact("and again while it runs")


def test_a_dropped_table_is_made_again_and_filled(target: Target) -> None:
    target.put(range(30), "first")
    target.remove(range(3))
    with target.delivering() as desk:
        target.is_exact("the first rows")
        run(target.dsn, "DROP TABLE police_person")
        target.is_exact("without one more change in the source")
        assert "filled anew" in desk.told(target.feed)
        run(target.dsn, "DROP TABLE police_person")
        target.put(range(30, 31), "later")
        target.is_exact("all rows, not only the one that changed")
    run(target.dsn, "DROP TABLE police_person")
    with target.delivering() as desk:
        target.is_exact("also when it was dropped while delivery was down")
        assert "dropped" in desk.told(target.feed)


@pytest.mark.parametrize(
    "change", ["ALTER TABLE police_person DROP COLUMN name", "ALTER TABLE police_person RENAME COLUMN name TO alias"]
)
def test_a_dropped_or_renamed_column_is_made_again_and_filled(target: Target, change: str) -> None:
    target.put(range(30), "first")
    target.put(range(10), "second")
    with target.delivering() as desk:
        target.is_exact("the first rows")
        run(target.dsn, change)
        target.is_exact("every row has its value again, without one more change in the source")
        assert "name" in desk.told(target.feed)
        target.put(range(5), "third")
        target.is_exact("and it goes on")
        assert desk.letters == []


def test_a_table_restored_alone_is_filled_anew(target: Target) -> None:
    target.put(range(30), "first")
    with target.delivering() as desk:
        target.is_exact("the first rows")
        run(target.dsn, "CREATE TABLE kept AS SELECT * FROM police_person", "ALTER TABLE kept ADD PRIMARY KEY (id)")
        target.put(range(20, 60), "second")
        target.is_exact("the second rows")
        run(target.dsn, "BEGIN; DROP TABLE police_person; ALTER TABLE kept RENAME TO police_person; COMMIT")
        target.is_exact("though the offsets did not go back with it")
        assert desk.letters == []


def test_a_column_that_a_wider_contract_brings_is_no_loss(target: Target) -> None:
    feed = target.feed
    target.put(range(3), "first")
    with target.delivering() as desk:
        target.is_exact("the first rows")
        feed.use([*feed.fields, {"name": "phone", "type": ["null", "string"]}])
        target.put(range(3, 4), "wider")
        target.is_exact("the wider row")
        assert desk.told(feed) == ""
