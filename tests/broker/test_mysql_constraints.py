"""What a subscriber's MariaDB has of constraints and triggers, and what became of its tables: waits, dead letters, repairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest

from schemas.agreement.subscriber import SinkConfig
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from sinks.mysql.kind import MYSQL_TABLES
from tests.stage.delivering import Desk, OutFeed, delivering, directory_of
from tests.stage.feeds import create
from tests.stage.maria import MariaServer, connected, rows_or_none, run
from tests.stage.until import until

CODED = [
    {"name": "id", "type": "int"},
    {"name": "code", "type": ["null", "string"]},
    {"name": "parent", "type": ["null", "int"]},
]


class MysqlLine:
    """A subscriber with a database and two feeds, `police.person` and `police.car`, each of them in partitions as asked."""

    def __init__(self, kafka: Kafka, mariadb: MariaServer, unique: str, log: Log) -> None:
        self.address = mariadb.create_database("target")
        self.person = OutFeed(unique, "police.person", CODED)
        self.car = OutFeed(unique, "police.car", CODED, schemas=self.person.schemas)
        self._kafka, self._log, self._subscriber = kafka, log, unique

    def delivering(self, *feeds: OutFeed, partitions: int = 1) -> Any:
        feeds = feeds or (self.person,)
        create(self._kafka, *(feed.topic for feed in feeds), partitions=partitions)
        directory = directory_of({self._subscriber: SinkConfig(name="main", kind="mysql")}, *feeds)
        addresses = {(self._subscriber, "main"): self.address}
        kinds = {"mysql": MYSQL_TABLES}
        return delivering(self._kafka, directory, kinds=kinds, schemas=self.person.schemas, addresses=addresses)

    def put(self, feed: OutFeed, *rows: tuple[int, str | None, int | None]) -> None:
        for number, code, parent in rows:
            feed.append(self._log, feed.record("u", {"id": number, "code": code, "parent": parent}))
        self._log.flush(30)

    def remove(self, feed: OutFeed, number: int) -> None:
        row = {"id": number, "code": None, "parent": None}
        feed.append(self._log, feed.record("d", row), feed.tombstone(row))
        self._log.flush(30)

    def codes(self, table: str = "police_person") -> dict[int, str | None]:
        return dict(rows_or_none(self.address, f"SELECT id, code FROM {table}"))  # pyright: ignore[reportArgumentType]

    def has(
        self, expected: Mapping[int, str | None], why: str, table: str = "police_person", within_seconds: float = 30
    ) -> None:
        until(lambda: self.codes(table) == expected, within_seconds, why)

    def told(self, desk: Desk, feed: OutFeed, part: str, again: Callable[[], None] = lambda: None) -> str:
        """What to do about a feed's trouble, once it is told with this in its reason; `again` is done until it is."""
        incident = f"grant {feed.grant.grant.grant_id}"

        def is_told() -> bool:
            again()
            return part in desk.told(feed)

        until(is_told, 40, f"{part} is told")
        return desk.incidents.present()[incident].fix

    def mend(self, fix: str) -> None:
        """Do what it says, to the letter."""
        run(self.address, *fix.split("; "))


@pytest.fixture
def line(kafka: Kafka, mariadb: MariaServer, unique: str) -> Iterator[MysqlLine]:
    with closing(Log(kafka, client_id="test")) as log:
        yield MysqlLine(kafka, mariadb, unique, log)


@pytest.mark.parametrize(("partitions", "kind"), [(1, "nullable"), (1, "required"), (4, "nullable")])
def test_rows_that_swap_a_unique_value_end_as_in_the_source(line: MysqlLine, partitions: int, kind: str) -> None:
    with line.delivering(partitions=partitions) as desk:
        line.put(line.person, *((number, f"c{number}", None) for number in range(8)))
        line.has({number: f"c{number}" for number in range(8)}, "the rows")
        # Its own idea of a code: shorter, and every one of them once.
        null = "NOT NULL" if kind == "required" else "NULL"
        run(line.address, "ALTER TABLE police_person MODIFY code VARCHAR(50) NULL, ADD UNIQUE (code)")
        if kind == "required":
            run(line.address, f"ALTER TABLE police_person MODIFY parent INT NULL, MODIFY code VARCHAR(50) {null}")
        if kind == "nullable":
            line.put(line.person, (1, "c2", None), (2, "c1", None))
            line.put(line.person, (3, "x", None), (4, "c3", None), (5, "c4", None), (3, "c5", None))
            line.remove(line.person, 6)
            line.put(line.person, (60, "c6", None), (7, "c0", None), (0, "c7", None))
            line.has({0: "c7", 1: "c2", 2: "c1", 3: "c5", 4: "c3", 5: "c4", 60: "c6", 7: "c0"}, "as in the source")
        else:
            line.put(line.person, (1, "c2", None), (2, "c1", None))
            line.mend(line.told(desk, line.person, "column code refuses null"))
            line.has({**{number: f"c{number}" for number in range(8)}, 1: "c2", 2: "c1"}, "swapped once it is mended")
        assert desk.letters == []


def test_a_strangers_row_is_never_written_into_and_a_true_conflict_waits_by_key(line: MysqlLine) -> None:
    with line.delivering() as desk:
        line.put(line.person, (1, "a", None))
        line.has({1: "a"}, "the row")
        run(
            line.address,
            "ALTER TABLE police_person MODIFY code VARCHAR(50) NULL, ADD UNIQUE own_code (code)",
            "INSERT INTO police_person VALUES (99, 'own', NULL, '')",
        )
        line.put(line.person, (2, "own", None), (3, "b", None), (2, "own", 5))
        line.has({1: "a", 3: "b", 99: "own"}, "the others flow, and the stranger is as it was")
        fix = line.told(desk, line.person, "unique index own_code")
        assert fix == "ALTER TABLE `police_person` DROP INDEX `own_code`"
        run(line.address, "DELETE FROM police_person WHERE id = 99")
        line.has({1: "a", 3: "b", 2: "own"}, "taken once the other row is gone")
        assert desk.letters == []
        until(lambda: desk.told(line.person) == "", 20, "and told no more")


def test_a_child_that_comes_before_its_parent_waits_for_it(line: MysqlLine) -> None:
    with line.delivering(line.person, line.car) as desk:
        line.put(line.person, (0, "root", None))
        line.put(line.car, (0, "first", 0))
        line.has({0: "root"}, "the parent's table")
        line.has({0: "first"}, "the child's table", "police_car")
        run(
            line.address,
            "ALTER TABLE police_car ADD CONSTRAINT of_it FOREIGN KEY (parent) REFERENCES police_person (id)",
        )
        line.put(line.car, *((number, f"car{number}", number) for number in range(1, 40)), (50, "orphan", 999))
        line.put(line.car, (51, "late", 0))
        fix = line.told(desk, line.car, "foreign key of_it")
        assert fix == "ALTER TABLE `police_car` DROP FOREIGN KEY `of_it`"
        line.put(line.person, *((number, f"p{number}", None) for number in range(1, 40)))
        expected = {0: "first", **{number: f"car{number}" for number in range(1, 40)}, 51: "late"}
        line.has(expected, "children once their parents are there, and no orphan holds others up", "police_car")
        until(
            lambda: [letter.reason for letter in desk.letters] == ["sql_1452"], 60, "only the orphan is a dead letter"
        )
        line.remove(line.person, 5)
        line.remove(line.car, 5)
        del expected[5]
        line.has(expected, "a parent's removal waits for its child's", "police_car")
        until(lambda: 5 not in line.codes(), 30, "the parent goes after it")
        until(lambda: desk.told(line.car) == "", 30, "and told no more")


@pytest.mark.parametrize("refusal", ["trigger", "check"])
def test_a_row_that_is_refused_is_a_dead_letter_alone_and_says_by_what(line: MysqlLine, refusal: str) -> None:
    with line.delivering() as desk:
        line.put(line.person, (1, "a", None))
        line.has({1: "a"}, "the row")
        if refusal == "trigger":
            signal = "IF NEW.code = 'bad secret' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'bad secret'; END IF"
            run(line.address, f"CREATE TRIGGER own BEFORE INSERT ON police_person FOR EACH ROW {signal}")
        else:
            run(line.address, "ALTER TABLE police_person ADD CONSTRAINT own CHECK (code <> 'bad secret')")
        line.put(line.person, (2, "b", None), (3, "bad secret", None), (4, "c", None))
        line.has({1: "a", 2: "b", 4: "c"}, "the rest flows")
        until(lambda: len(desk.letters) == 1, 60, "one dead letter")
        [letter] = desk.letters
        assert letter.reason == ("sql_1644" if refusal == "trigger" else "sql_4025")
        assert f"{refusal} own" in letter.detail
        assert "secret" not in letter.detail
        line.put(line.person, (3, "good", None))
        line.has({1: "a", 2: "b", 3: "good", 4: "c"}, "and its key goes on")


def test_a_row_that_is_locked_holds_up_its_key_alone(line: MysqlLine) -> None:
    with line.delivering() as desk:
        line.put(line.person, *((number, "a", None) for number in range(3)))
        line.has(dict.fromkeys(range(3), "a"), "the rows")
        with connected(line.address) as holder, holder.cursor() as cursor:
            holder.begin()
            cursor.execute("SELECT id FROM police_person WHERE id = 1 FOR UPDATE")
            line.put(line.person, *((number, "b", None) for number in range(3)))
            line.has({0: "b", 1: "a", 2: "b"}, "the others flow", within_seconds=90)
            holder.rollback()
        line.has(dict.fromkeys(range(3), "b"), "and the row once it is free", within_seconds=60)
        assert desk.letters == []


DRIFTS = [
    ("ALTER TABLE police_car MODIFY code INT NULL", "column code is int, the contract says longtext"),
    ("ALTER TABLE police_car MODIFY _mesh_token INT NOT NULL", "column _mesh_token is int"),
    ("ALTER TABLE police_car ADD own INT NOT NULL", "column own is not the mesh's, demands a value"),
    ("ALTER TABLE police_car MODIFY code LONGTEXT NOT NULL", "column code refuses null"),
    (
        "ALTER TABLE police_car DROP COLUMN code, ADD code LONGTEXT AS (CONCAT('x', id)) VIRTUAL",
        "computed by the database",
    ),
    ("ALTER TABLE police_car DROP PRIMARY KEY, ADD PRIMARY KEY (id, parent)", "has the primary key"),
    ("ALTER TABLE police_car ENGINE=MyISAM", "which has no transactions"),
    (
        "ALTER TABLE police_car MODIFY code INT NULL, MODIFY parent VARCHAR(3) NOT NULL",
        "column code is int, the contract says longtext; column parent refuses null",
    ),
]


@pytest.mark.parametrize(("harm", "said"), DRIFTS, ids=[said[:40] for _, said in DRIFTS])
def test_a_table_that_drifted_is_told_and_mended_by_the_letter_while_others_flow(
    line: MysqlLine, harm: str, said: str
) -> None:
    with line.delivering(line.person, line.car) as desk:
        line.put(line.person, (1, "a", None))
        line.has({1: "a"}, "the one table")
        line.put(line.car, (1, "7", 3))
        line.has({1: "7"}, "the other", "police_car")
        if "_mesh_token" in harm:
            run(line.address, "UPDATE police_car SET _mesh_token = '1'")
        run(line.address, harm)
        line.put(line.car, *((number, "b", 1) for number in range(2, 130)))
        fix = line.told(desk, line.car, said, lambda: line.put(line.car, (500, None, 1)))
        line.put(line.person, (2, "b", None))
        line.has({1: "a", 2: "b"}, "the other table flows")
        assert desk.watch.parked_lanes[line.person.subscriber] is False
        line.mend(fix)
        expected = {1: "7", **dict.fromkeys(range(2, 130), "b"), 500: None}
        line.has(expected, "delivered once the table is mended", "police_car", within_seconds=60)
        until(lambda: desk.told(line.car) == "" or "filled anew" in desk.told(line.car), 30, "and told no more")
        assert desk.letters == []


def test_a_right_that_was_taken_is_told_and_nothing_is_lost(line: MysqlLine, mariadb: MariaServer, unique: str) -> None:
    with connected(line.address) as admin, admin.cursor() as cursor:
        database = admin.db.decode() if isinstance(admin.db, bytes) else str(admin.db)
        cursor.execute(f"CREATE USER {unique} IDENTIFIED BY 'x'")
        cursor.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP ON {database}.* TO {unique}")
        head, _, tail = line.address.partition("@")
        line.address, whole = f"{head.partition('//')[0]}//{unique}:x@{tail}", line.address
        with line.delivering() as desk:
            line.put(line.person, (1, "a", None))
            line.has({1: "a"}, "the row")
            cursor.execute(f"REVOKE INSERT ON {database}.* FROM {unique}")
            for (number,) in rows_or_none(
                whole, f"SELECT id FROM information_schema.processlist WHERE user = '{unique}'"
            ):
                cursor.execute(f"KILL {number}")  # what a whole database gives is asked at the login alone
            line.put(line.person, (2, "b", None))
            until(lambda: desk.told(line.person) or desk.watch.parked_lanes.get(unique), 30, "it is told")
            cursor.execute(f"GRANT INSERT ON {database}.* TO {unique}")
            line.has({1: "a", 2: "b"}, "and goes on", within_seconds=60)
            assert desk.letters == []
        line.address = whole


def test_what_refuses_everything_is_told_as_trouble_of_the_table(line: MysqlLine) -> None:
    with line.delivering() as desk:
        line.put(line.person, (1, "a", None))
        line.has({1: "a"}, "the row")
        signal = "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'"
        run(line.address, f"CREATE TRIGGER own BEFORE INSERT ON police_person FOR EACH ROW {signal}")
        line.put(line.person, *((number, "b", None) for number in range(2, 150)))
        fix = line.told(desk, line.person, "trigger own")
        assert fix.startswith("DROP TRIGGER `own`; then `mesh dlq retry")
        line.mend(fix.partition("; ")[0])
        line.put(line.person, (1, "c", None))
        until(lambda: line.codes().get(1) == "c", 60, "it goes on once the trigger is gone")
        held = {number for number in range(2, 150) if number in line.codes()}
        assert len(held) + len(desk.letters) == 148, "each is there, or a dead letter that can be taken up again"
