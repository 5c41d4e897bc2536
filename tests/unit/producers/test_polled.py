"""What stands in a polled table is what its feed says, whatever committed late, was deleted, or went past the updated column."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.kinds.sources import SOURCES
from ops.onboarding.draft import draft
from producers.polled.draft import draft as drafted
from producers.polled.kind import POLLED
from producers.polled.preflight import examine
from producers.polled.table import Cursor
from schemas.agreement.agency import SourceConfig
from schemas.contract import Contract
from tests.stage.capturing import DECIMAL, TIMESTAMP, contract
from tests.stage.stating import Stating

FEED = "gov.t"
FIELDS = {"id": "long", "name": "string", "amount": DECIMAL, "updated_at": TIMESTAMP}
TABLE = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, amount NUMERIC(12,2), updated_at DATETIME)"
INDEX = "CREATE INDEX t_updated ON t (updated_at)"
ALWAYS = 1e9


@dataclass
class Department:
    path: Path

    def run(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path)) as db:
            for statement in statements:
                db.execute(statement)
            db.commit()

    def put(self, number: int, name: str, at: str = "2026-11-30 10:00:00") -> None:
        self.run(f"INSERT OR REPLACE INTO t VALUES ({number}, '{name}', 1.5, '{at}')")


@pytest.fixture
def department(tmp_path: Path) -> Department:
    made = Department(tmp_path / "d.db")
    made.run(TABLE, INDEX)
    return made


def polling(department: Department, **options: Any) -> Stating:
    given_options = {"poll_seconds": 0.1, "reconcile_seconds": ALWAYS, **options}
    rig = Stating(POLLED, f"sqlite:///{department.path}", department.path.parent / "state", **given_options)
    rig.add(contract(FEED, FIELDS, table="main.t"))
    return rig


def ops(rig: Stating) -> str:
    return "".join(change.op for change in rig.changes(FEED))


def names(rig: Stating) -> Mapping[int, str]:
    return {key: row["name"] for key, row in rig.fold(FEED).items()}


def poll(rig: Stating, changes: int) -> None:
    rig.run(lambda: len(rig.changes(FEED)) >= changes)


def test_the_first_poll_reads_all_and_the_next_ones_what_is_new(department: Department) -> None:
    rig = polling(department)
    department.put(1, "one")
    department.put(2, "two")
    poll(rig, 2)
    department.put(2, "second", "2026-11-30 10:00:01")
    department.put(3, "three", "2026-11-30 10:00:01")
    poll(rig, 4)
    assert ops(rig) == "rruc"
    updated = rig.changes(FEED)[2]
    assert updated.before is not None
    assert updated.before["name"] == "two"
    assert updated.after == {
        "id": 2,
        "name": "second",
        "amount": b"\x00\x96",
        "updated_at": (datetime(2026, 11, 30, 10, 0, 1) - datetime(1970, 1, 1)) // timedelta(microseconds=1),  # noqa: DTZ001
    }
    assert [change.position for change in rig.changes(FEED)] == sorted(
        {change.position for change in rig.changes(FEED)}
    )


def test_a_row_that_was_committed_late_is_found_and_nothing_in_the_overlap_comes_twice(department: Department) -> None:
    rig = polling(department, overlap_seconds=60)
    department.put(1, "one", "2026-11-30 10:01:00")
    poll(rig, 1)
    department.put(2, "late", "2026-11-30 10:00:30")
    poll(rig, 2)
    department.put(3, "three", "2026-11-30 10:01:00")
    poll(rig, 3)
    assert ops(rig) == "rcc"


def test_many_rows_of_one_moment_are_all_read(department: Department) -> None:
    rig = polling(department)
    department.put(1, "one")
    poll(rig, 1)
    values = ", ".join(f"({number}, 'n', 1, '2026-11-30 11:00:00')" for number in range(2, 12_002))
    department.run(f"INSERT INTO t VALUES {values}")
    rig.run(lambda: rig.place(FEED)["number"] == 2)
    assert len(rig.fold(FEED)) == 12_001


def test_the_whole_table_finds_deletes_and_writes_past_the_column(department: Department) -> None:
    rig = polling(department, reconcile_seconds=0.3)
    for number in range(1, 4):
        department.put(number, "n")
    poll(rig, 3)
    department.run("DELETE FROM t WHERE id = 1", "UPDATE t SET name = 'by hand' WHERE id = 2")
    poll(rig, 5)
    assert ops(rig) == "rrrud"
    assert names(rig) == {2: "by hand", 3: "n"}


def test_a_table_that_is_suddenly_empty_waits_for_a_person(department: Department) -> None:
    rig = polling(department, reconcile_seconds=0.3)
    for number in range(1, 4):
        department.put(number, "n")
    poll(rig, 3)
    department.run("DELETE FROM t")
    rig.run(lambda: rig.incident(FEED))
    incident = rig.incident(FEED)
    assert incident is not None
    assert "would delete 3 of 3 rows" in incident.reason
    assert len(rig.fold(FEED)) == 3
    rig.options |= {"accept": [incident.fix.split('["')[1].split('"]')[0]]}
    rig.run(lambda: not rig.fold(FEED))
    assert ops(rig) == "rrrddd"


def test_rows_newer_than_the_databases_clock_do_not_carry_the_cursor_away(department: Department) -> None:
    rig = polling(department, overlap_seconds=0)
    department.put(1, "future", "2999-01-01 00:00:00")
    poll(rig, 1)
    department.put(2, "now", f"{datetime.now() + timedelta(hours=1):%Y-%m-%d %H:%M:%S}")  # noqa: DTZ005
    poll(rig, 2)
    assert names(rig) == {1: "future", 2: "now"}


def test_killed_at_any_record_the_same_changes_come_under_the_same_positions(department: Department) -> None:
    rig = polling(department)
    for number in range(6):
        department.put(number, "n")
    for dies_after in range(1, 7):
        rig.run(lambda: len(rig.fold(FEED)) == 6 and rig.place(FEED).get("number") == 1, dies_after=dies_after)
    department.put(2, "other", "2026-11-30 10:00:01")
    poll(rig, len(rig.changes(FEED)) + 1)
    rig.run(lambda: rig.place(FEED)["number"] == 2)
    by_position = {change.position: change for change in rig.changes(FEED)}
    assert all(by_position[change.position] == change for change in rig.changes(FEED))
    assert "".join(by_position[at].op for at in sorted(by_position)) == "rrrrrru"


def test_a_value_that_the_contract_does_not_hold_is_a_dead_letter(department: Department) -> None:
    rig = polling(department, bad_share_max=1)
    department.run("INSERT INTO t VALUES (1, 'n', 1.234, '2026-11-30 10:00:00')")
    department.put(2, "good")
    rig.run(lambda: rig.letters(FEED) and rig.fold(FEED))
    [(_, headers)] = rig.letters(FEED)
    assert headers["__connect.errors.exception.message"] == "row 1: column amount"
    assert names(rig) == {2: "good"}


def test_a_table_that_lost_a_column_stops_its_feed_alone(department: Department) -> None:
    rig = polling(department)
    department.run("CREATE TABLE other (id INTEGER PRIMARY KEY, updated_at DATETIME)")
    department.put(1, "n")
    rig.add(contract("gov.other", {"id": "long", "name": "string", "updated_at": TIMESTAMP}, table="main.other"))
    rig.run(lambda: rig.changes(FEED) and rig.incident("gov.other"))
    incident = rig.incident("gov.other")
    assert incident is not None
    assert incident.state == "stopped"
    assert "has no name" in incident.reason
    department.run("ALTER TABLE other ADD COLUMN name TEXT", "INSERT INTO other VALUES (1, '2026-11-30 10:00:00', 'n')")
    rig.run(lambda: rig.changes("gov.other"))
    assert rig.fold("gov.other")[1]["name"] == "n"


@pytest.mark.parametrize(
    ("statements", "options", "message"),
    [
        ((TABLE,), {}, "no index begins with updated_at"),
        (("CREATE TABLE t (id INTEGER, name TEXT, amount NUMERIC, updated_at DATETIME)", INDEX), {}, "keeps id unique"),
        ((TABLE.replace("DATETIME", "TEXT"), INDEX), {}, "no order of time"),
        ((TABLE, INDEX), {"updated_column": "changed"}, "has no column changed"),
        (("CREATE TABLE t (id INTEGER PRIMARY KEY)",), {}, "its table has no name, amount, updated_at"),
        ((), {}, "there is no table main.t"),
        ((TABLE,), {"updated_column": ""}, ""),
        ((TABLE, INDEX), {}, ""),
    ],
)
def test_what_stands_in_the_way_is_said_before_with_its_fix(
    tmp_path: Path, statements: Sequence[str], options: Mapping[str, Any], message: str
) -> None:
    department = Department(tmp_path / "d.db")
    department.run(*statements)
    config = SourceConfig(name="main", kind="polled", options=options)
    agreed = contract(FEED, FIELDS, table="main.t")
    found, provided = examine(config, f"sqlite:///{department.path}", [agreed], name="gov.main")
    assert [finding for finding in found if message in finding.message] == found
    assert all(finding.fix for finding in found)
    assert bool(provided) == (not message)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("postgresql://u:p@h/d?sslmode=require", "postgres"),
        ("host=h dbname=d", "postgres"),
        ("postgresql+psycopg://u:p@h/d", "polled"),
        ("oracle+oracledb://u:p@h:1521/?service_name=TAX", "polled"),
        ("mssql+pyodbc://u:p@h:1433/d?driver=ODBC+Driver+18+for+SQL+Server", "polled"),
        ("dm+dmPython://u:p@h:5236/TAX", "polled"),
        ("sqlite:////srv/tax.db", "polled"),
        ("/srv/drops/day=1", "files"),
        ("./person.xlsx", "files"),
    ],
)
def test_an_address_is_drafted_by_the_kind_that_it_is_of(address: str, kind: str) -> None:
    takers = [name for name, each in SOURCES.items() if each.drafting is not None and each.drafting.takes(address)]
    assert takers[0] == kind


def test_a_database_is_drafted_with_types_and_what_it_cannot(department: Department, tmp_path: Path) -> None:
    department.run("CREATE TABLE bare (x TEXT)")
    address = f"sqlite:///{department.path}"
    found = drafted(address, [], is_lossless=False)
    [table] = found.tables
    assert {field["name"]: field["type"] for field in table.fields} == {
        "id": "long",
        "name": ["null", "string"],
        "amount": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}],
        "updated_at": ["null", {"type": "long", "logicalType": "local-timestamp-micros"}],
    }
    assert [left.table for left in found.left_out] == ["main.bare"]
    written = draft(address, [], tmp_path / "gov", "gov")
    assert written.first == f"export MESH_GOV_DSN={address}"
    agreed = Contract.parse(table.record({"table": "main.t", "key": ["id"]}), FEED)
    department.put(1, "one")
    rig = polling(department)
    rig.add(agreed)
    poll(rig, 1)
    assert names(rig) == {1: "one"}


@pytest.mark.parametrize("value", [date(2026, 11, 30), datetime(2026, 11, 30, 1, 2, 3), 17, Decimal("1.5")])  # noqa: DTZ001
def test_a_cursor_comes_back_from_disk(value: Any) -> None:
    assert Cursor.from_json(Cursor(value=value).to_json()).value == value


steps = st.lists(
    st.tuples(st.sampled_from("pdr"), st.integers(0, 5), st.sampled_from(["a", "b", "镕\n'"])), min_size=1, max_size=12
)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=steps)
def test_whatever_is_written_the_folded_feed_is_the_table(
    tmp_path_factory: pytest.TempPathFactory, steps: Sequence[tuple[str, int, str]]
) -> None:
    department = Department(tmp_path_factory.mktemp("polled") / "d.db")
    department.run(TABLE, INDEX)
    rig = polling(department, reconcile_seconds=0.1, delete_share_max=1)
    expected: dict[int, str] = {}
    for at, (step, number, name) in enumerate(steps):
        if step == "p":
            moment = f"2026-11-30 10:00:{at:02d}"
            department.put(number, name.replace("'", "''"), moment)
            expected[number] = name
        elif step == "d":
            department.run(f"DELETE FROM t WHERE id = {number}")
            expected.pop(number, None)
        else:
            rig.run(lambda: names(rig) == expected)
    rig.run(lambda: names(rig) == expected)
    assert names(rig) == expected
