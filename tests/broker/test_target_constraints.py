"""Constraints and triggers that a subscriber's database has: what waits, what gives way, what is a dead letter, and alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from schemas.agreement.subscriber import SinkConfig
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from sinks.postgresql.kind import POSTGRES
from tests.stage.delivering import OutFeed, delivering, directory_of
from tests.stage.feeds import create
from tests.stage.until import until

KINDS = {"postgres": POSTGRES}
CODED = [
    {"name": "id", "type": "int"},
    {"name": "code", "type": ["null", "string"]},
    {"name": "parent", "type": ["null", "int"]},
]


@pytest.fixture
def log(kafka: Kafka) -> Iterator[Log]:
    log = Log(kafka, client_id="test")
    yield log
    log.close()


def run(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def codes(dsn: str, table: str = "police_person") -> dict[int, str]:
    try:
        with psycopg.connect(dsn) as connection:
            return dict(connection.execute(f"SELECT id, code FROM {table}".encode()).fetchall())
    except psycopg.errors.UndefinedTable:
        return {}


class Line:
    """A subscriber with a database and two feeds, `police.person` and `police.car`, each of them in partitions as asked."""

    def __init__(self, kafka: Kafka, postgres: Any, unique: str, log: Log) -> None:
        self.dsn: str = postgres.create_database("target")
        self.person = OutFeed(unique, "police.person", CODED)
        self.car = OutFeed(unique, "police.car", CODED, schemas=self.person.schemas)
        self._kafka, self._log, self._subscriber = kafka, log, unique

    def delivering(self, *feeds: OutFeed, partitions: int = 1) -> Any:
        feeds = feeds or (self.person,)
        create(self._kafka, *(feed.topic for feed in feeds), partitions=partitions)
        directory = directory_of({self._subscriber: SinkConfig(name="main", kind="postgres")}, *feeds)
        addresses = {(self._subscriber, "main"): self.dsn}
        return delivering(self._kafka, directory, kinds=KINDS, schemas=self.person.schemas, addresses=addresses)

    def put(self, feed: OutFeed, *rows: tuple[int, str | None, int | None]) -> None:
        for number, code, parent in rows:
            feed.append(self._log, feed.record("u", {"id": number, "code": code, "parent": parent}))
        self._log.flush(30)

    def remove(self, feed: OutFeed, number: int) -> None:
        row = {"id": number, "code": None, "parent": None}
        feed.append(self._log, feed.record("d", row), feed.tombstone(row))
        self._log.flush(30)

    def has(self, expected: dict[int, str], why: str, table: str = "police_person", within_seconds: float = 30) -> None:
        until(lambda: codes(self.dsn, table) == expected, within_seconds, why)


@pytest.fixture
def line(kafka: Kafka, postgres: Any, unique: str, log: Log) -> Line:
    return Line(kafka, postgres, unique, log)


@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.parametrize("kind", ["nullable", "required"])
def test_rows_that_swap_a_unique_value_end_as_in_the_source(line: Line, partitions: int, kind: str) -> None:
    with line.delivering(partitions=partitions) as desk:
        line.put(line.person, *((number, f"c{number}", None) for number in range(8)))
        line.has({number: f"c{number}" for number in range(8)}, "the rows")
        run(line.dsn, "CREATE UNIQUE INDEX ON police_person (code)")
        if kind == "required":
            run(line.dsn, "ALTER TABLE police_person ALTER code SET NOT NULL")
        line.put(line.person, (1, "c2", None), (2, "c1", None))
        line.put(line.person, (3, "x", None), (4, "c3", None), (5, "c4", None), (3, "c5", None))
        line.remove(line.person, 6)
        line.put(line.person, (60, "c6", None), (7, "c0", None), (0, "c7", None))
        line.has({0: "c7", 1: "c2", 2: "c1", 3: "c5", 4: "c3", 5: "c4", 60: "c6", 7: "c0"}, "swapped as in the source")
        assert desk.letters == []


def test_a_true_conflict_waits_by_key_and_is_told(line: Line) -> None:
    with line.delivering() as desk:
        line.put(line.person, (1, "a", None))
        line.has({1: "a"}, "the row")
        run(
            line.dsn,
            "CREATE UNIQUE INDEX ON police_person (code)",
            "INSERT INTO police_person VALUES (99, 'own', NULL, '')",
        )
        line.put(line.person, (2, "own", None), (3, "b", None), (2, "own", 5))
        line.has({1: "a", 3: "b", 99: "own"}, "the others flow")
        until(lambda: "sql_23505" in desk.told(line.person) or "23505" in desk.told(line.person), 20, "it is told")
        run(line.dsn, "DELETE FROM police_person WHERE id = 99")
        line.has({1: "a", 3: "b", 2: "own"}, "taken once the other row is gone")
        assert desk.letters == []
        until(lambda: desk.told(line.person) == "", 20, "and told no more")


def test_a_child_that_comes_before_its_parent_waits_for_it(line: Line) -> None:
    with line.delivering(line.person, line.car) as desk:
        line.put(line.person, (0, "root", None))
        line.put(line.car, (0, "first", 0))
        line.has({0: "root"}, "the parent's table")
        line.has({0: "first"}, "the child's table", "police_car")
        run(line.dsn, "ALTER TABLE police_car ADD FOREIGN KEY (parent) REFERENCES police_person (id)")
        line.put(line.car, *((number, f"car{number}", number) for number in range(1, 40)), (50, "orphan", 999))
        line.put(line.car, (51, "late", 0))
        until(lambda: desk.told(line.car), 20, "it is told that the child waits")
        line.put(line.person, *((number, f"p{number}", None) for number in range(1, 40)))
        expected = {0: "first", **{number: f"car{number}" for number in range(1, 40)}, 51: "late"}
        line.has(expected, "children once their parents are there, and no orphan holds others up", "police_car")
        until(
            lambda: [letter.reason for letter in desk.letters] == ["sql_23503"], 60, "only the orphan is a dead letter"
        )
        line.remove(line.person, 5)
        line.remove(line.car, 5)
        del expected[5]
        line.has(expected, "a parent's removal waits for its child's", "police_car")
        until(lambda: 5 not in codes(line.dsn), 30, "the parent goes after it")
        until(lambda: desk.told(line.car) == "", 30, "and told no more")


RAISES = """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF NEW.code = 'bad' THEN RAISE EXCEPTION 'no' {using}; END IF; RETURN NEW; END $$"""


@pytest.mark.parametrize("state", ["P0001", "42501", "ZX001", "40001", "0A000", "55000"])
def test_a_row_that_a_trigger_refuses_is_a_dead_letter_alone(line: Line, state: str) -> None:
    with line.delivering() as desk:
        line.put(line.person, (1, "a", None))
        line.has({1: "a"}, "the row")
        run(
            line.dsn,
            RAISES.format(using=f"USING ERRCODE = '{state}'"),
            "CREATE TRIGGER r BEFORE INSERT OR UPDATE ON police_person FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        line.put(line.person, (2, "b", None), (3, "bad", None), (4, "c", None))
        line.has({1: "a", 2: "b", 4: "c"}, "the rest flows")
        until(lambda: [letter.reason for letter in desk.letters] == [f"sql_{state}"], 60, "one dead letter")
        line.put(line.person, (3, "good", None))
        line.has({1: "a", 2: "b", 3: "good", 4: "c"}, "and its key goes on")


def test_a_row_that_is_locked_holds_up_its_key_alone(line: Line) -> None:
    with line.delivering() as desk:
        line.put(line.person, *((number, "a", None) for number in range(3)))
        line.has(dict.fromkeys(range(3), "a"), "the rows")
        with psycopg.connect(line.dsn) as holder:
            holder.execute("SELECT FROM police_person WHERE id = 1 FOR UPDATE")
            line.put(line.person, *((number, "b", None) for number in range(3)))
            line.has({0: "b", 1: "a", 2: "b"}, "the others flow", within_seconds=60)
            holder.rollback()
        line.has(dict.fromkeys(range(3), "b"), "and the row once it is free")
        assert desk.letters == []


@pytest.mark.parametrize(
    ("harm", "cure"),
    [
        ("ALTER TABLE police_car ALTER code TYPE int USING NULL", "ALTER TABLE police_car ALTER code TYPE text"),
        (
            "ALTER TABLE police_car RENAME COLUMN _mesh_token TO t",
            "ALTER TABLE police_car RENAME COLUMN t TO _mesh_token",
        ),
        ("ALTER TABLE police_car ADD own int NOT NULL", "ALTER TABLE police_car DROP own"),
    ],
)
def test_one_tables_trouble_stands_one_table(line: Line, harm: str, cure: str) -> None:
    with line.delivering(line.person, line.car) as desk:
        line.put(line.person, (1, "a", None))
        line.has({1: "a"}, "the one table")
        line.put(line.car, (1, "a", None))
        line.has({1: "a"}, "the other", "police_car")
        if "NOT NULL" in harm:
            run(line.dsn, "DELETE FROM police_car")
        run(line.dsn, harm)
        line.put(line.car, *((number, "b", None) for number in range(2, 130)))
        until(lambda: desk.told(line.car), 30, "the trouble is told")
        line.put(line.person, (2, "b", None))
        line.has({1: "a", 2: "b"}, "the other table flows")
        assert desk.watch.parked_lanes[line.person.subscriber] is False
        assert "fix" not in desk.told(line.car)
        run(line.dsn, cure)
        until(lambda: codes(line.dsn, "police_car").get(129) == "b", 30, "delivered once the table is mended")
        until(lambda: desk.told(line.car) == "", 30, "and told no more")
