"""Tables of real databases by polling, each kind with its own times, numbers and rights, into the broker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text

from ops.onboarding.draft import draft
from producers.polled.kind import POLLED
from schemas.contract import Contract
from schemas.log.kafka import Kafka
from tests.stage.capturing import DECIMAL, TIMESTAMP, Rig, contract
from tests.stage.maria import MariaServer
from tests.stage.running_mesh import RunningMesh
from tests.stage.until import until

FIELDS = {"id": "long", "name": "string", "amount": DECIMAL, "updated_at": TIMESTAMP}
OPTIONS = {"poll_seconds": 0.2, "reconcile_seconds": 2, "delete_share_max": 1}
TABLE = "CREATE TABLE t (id bigint PRIMARY KEY, name varchar(40), amount numeric(12,2), updated_at timestamp)"


def polling(kafka: Kafka, address: str, agency: str, tmp_path: Path, agreed: Contract) -> Rig:
    rig = Rig(kafka, address, agency)
    rig.kinds, rig.state = {"polled": POLLED}, tmp_path / "state"
    rig.set_source(kind="polled", **OPTIONS)
    rig.add(agreed, partitions=1)
    return rig


def live(rig: Rig, feed: str, address: str) -> None:
    """Rows are written, written again and deleted, and the feed says what the table says."""
    engine = create_engine(address)

    def run(*statements: str) -> None:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    with rig.capturing():
        values = ", ".join(f"({n}, '姓名 {n}', {n}.25, TIMESTAMP '2026-11-30 10:00:00')" for n in range(1, 301))
        run(f"INSERT INTO t VALUES {values}")
        rig.until_rows(feed, 300)
        run("UPDATE t SET name = 'other', updated_at = TIMESTAMP '2026-11-30 10:00:01' WHERE id <= 10")
        until(lambda: rig.seen.events[feed, "u"] == 10, 60, "updates")
        run("DELETE FROM t WHERE id > 290", "UPDATE t SET name = 'by hand' WHERE id = 20")
        rows = rig.until_rows(feed, 290)
        until(lambda: rig.seen.events[feed, "u"] == 11, 60, "what went past the column")
        rows = rig.fold(feed)
    engine.dispose()
    assert rows[10,]["name"] == "other"
    assert rows[20,]["name"] == "by hand"
    assert rows[290,] == {
        "id": 290,
        "name": "姓名 290",
        "amount": (29025).to_bytes(2, "big"),
        "updated_at": 1_796_032_800_000_000,
    }
    assert rig.seen.events == {(feed, "r"): 300, (feed, "u"): 11, (feed, "d"): 10}


def test_postgresql_is_polled_by_an_account_that_may_only_read(
    kafka: Kafka, dsn: str, unique: str, tmp_path: Path
) -> None:
    address = dsn.replace("postgresql://", "postgresql+psycopg://")
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute(TABLE.encode())
        db.execute(b"CREATE INDEX ON t (updated_at)")
        role = f"reads_{unique}"
        db.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'p'; GRANT SELECT ON t TO {role}".encode())
    feed = f"{unique}.t"
    reader = make_url(address).set(username=role, password="p").render_as_string(hide_password=False)
    rig = polling(kafka, reader, unique, tmp_path, contract(feed, FIELDS))
    live(rig, feed, address)


def test_mariadb_is_polled(kafka: Kafka, mariadb: MariaServer, unique: str, tmp_path: Path) -> None:
    plain = mariadb.create_database(unique)
    address = "mysql+pymysql://" + plain.partition("://")[2] + "?charset=utf8mb4"
    engine = create_engine(address)
    with engine.begin() as connection:
        connection.execute(text(TABLE.replace("timestamp", "datetime")))
        connection.execute(text("CREATE INDEX t_updated ON t (updated_at)"))
    engine.dispose()
    feed, table = f"{unique}.t", f"{plain.rpartition('/')[2]}.t"
    live(polling(kafka, address, unique, tmp_path, contract(feed, FIELDS, table=table)), feed, address)


@pytest.mark.filterwarnings("ignore")  # of the dialect's own
def test_a_file_of_duckdb_is_read_whole(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    address, feed = f"duckdb:///{tmp_path / 'd.duckdb'}", f"{unique}.t"
    engine = create_engine(address)
    with engine.begin() as connection:
        connection.execute(text(TABLE))
    engine.dispose()
    live(polling(kafka, address, unique, tmp_path, contract(feed, FIELDS, table="main.t")), feed, address)


def test_a_sqlite_file_is_drafted_checked_and_onboarded_as_printed(mesh: RunningMesh, tmp_path: Path) -> None:
    agency, address = f"{mesh.unique}a", f"sqlite:///{tmp_path / 'd.db'}"
    engine = create_engine(address)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE permit (id INTEGER PRIMARY KEY, holder TEXT, fee NUMERIC(12, 2))"))
        connection.execute(text("INSERT INTO permit VALUES (1, 'a', 1.5), (2, 'b', 2)"))
    engine.dispose()
    drafted: Any = mesh.done("draft", address, "--agency", agency, "--into", mesh.folder / agency)
    variable, _, given = drafted["first"].removeprefix("export ").partition("=")
    mesh.variables[variable] = given
    mesh.done("check", mesh.folder / agency)
    mesh.done("onboard", mesh.folder / agency)

    def last() -> str:
        told = mesh.run("status", "--json").json["feeds"]
        return next((feed["last"] for feed in told if feed["feed"] == f"{agency}.permit"), "")

    until(lambda: ": 2 rows, at " in last(), 60, "the poll in `mesh status`")
    assert draft(address, ["main.permit"], tmp_path / "again", agency).first == drafted["first"]
