"""`mesh verify --source` of MariaDB: table and feed are compared at a fence while both change, by capture's own rights, and what the
log was not told, and only that, is found.
"""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import Any

import pytest

from ops.city.beside import beside
from producers.fenced.table import RANGES, FenceSetting
from schemas.errors import Transient
from schemas.log.kafka import Kafka
from tests.broker.test_verify_source import SALT, compared, counts, fixed
from tests.stage.maria import MariaServer, connected, run
from tests.stage.maria_capture import MariaRig

TABLE = (
    "CREATE TABLE t (a varchar(40) CHARACTER SET gbk, b int, note text, amount decimal(12,2), seen timestamp(6) NULL, "
    "ratio float, day date, PRIMARY KEY (a, b))"
)
FILL = (
    "INSERT INTO t SELECT CONCAT('号', seq), seq, CONCAT('note ', seq), seq / 7, '2016-11-01 00:00:00.000001', seq / 3,"
    " '2016-11-01' FROM seq_1_to_2000"
)


@pytest.fixture
def rig(kafka: Kafka, mariadb: MariaServer, unique: str) -> MariaRig:
    return MariaRig(kafka, mariadb.create_database("fenced"), unique)


def writing(address: str, stop: threading.Event) -> None:
    """Transactions that insert, update, move keys, delete and take back, one after the other."""
    number = 10_000
    with connected(address) as connection, connection.cursor() as cursor:
        while not stop.is_set():
            number += 1
            cursor.execute("BEGIN")
            cursor.execute("INSERT INTO t (a, b, note) VALUES ('新', %s, 'x')", (number,))
            cursor.execute("UPDATE t SET amount = amount + 1, b = b + 100000 WHERE b = %s", (number - 9_990,))
            cursor.execute("DELETE FROM t WHERE b = %s", (number - 9_000,))
            cursor.execute("COMMIT" if number % 5 else "ROLLBACK")
            time.sleep(0.005)


def test_a_live_feed_equals_its_table_and_what_its_log_was_not_told_is_found(rig: MariaRig) -> None:
    run(rig.dsn, TABLE, FILL)
    feed = rig.onboard("t")
    entry = rig.directory.feeds[feed]
    user = f"reader_{rig.agency}"[:30]
    run(
        rig.dsn,
        f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY 'p'",
        f"GRANT SELECT ON `{rig.database}`.* TO {user}@'127.0.0.1'",
        f"GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO {user}@'127.0.0.1'",
    )
    theirs = f"mysql://{user}:p@{rig.dsn.rpartition('@')[2]}"
    with rig.capturing():
        rig.until_streaming()
        with beside(lambda stop: writing(rig.dsn, stop), "writer"):
            for _ in range(3):
                found = compared(rig, entry, address=theirs)
                assert (found.is_exact, counts(found), found.how, found.sent) == (True, {}, "sums", 0)
                assert found.rows == found.found > 1_000

        with connected(rig.dsn) as connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION sql_log_bin = 0")
            cursor.execute("UPDATE t SET note = 'behind' WHERE b = 1900")
            cursor.execute("DELETE FROM t WHERE b = 1901")
            cursor.execute("INSERT INTO t (a, b) VALUES ('藏', 1)")
        found = compared(rig, entry)
        assert counts(found) == {"missing": 1, "surplus": 1, "different": 1}
        assert found.ranges_differing == 3
        assert found.sent < 30
        fixed(rig, entry, found)

        with connected(rig.dsn) as connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION sql_mode = ''")
            cursor.execute("UPDATE t SET day = '0000-00-00' WHERE b = 1902")
        found = compared(rig, entry)
        assert (found.is_exact, counts(found)) == (True, {"dead_letters": 1})


def test_nobody_waits_for_a_fence_and_a_table_that_is_altered_ends_it(rig: MariaRig) -> None:
    run(rig.dsn, TABLE, FILL)
    feed = rig.onboard("t")
    (source,) = rig.directory.agencies[rig.agency].sources

    def record() -> Any:
        return rig.progress.load(rig.source)

    with rig.capturing():
        rig.until_streaming()
        setting = FenceSetting(
            entry=rig.directory.feeds[feed],
            source=source,
            address=rig.dsn,
            record=record,
            salt=SALT,
            deadline=time.monotonic() + 60,
        )
        fencing = rig.kinds["mysql"].fencing
        assert fencing is not None
        alter = "ALTER TABLE t ADD COLUMN {} int DEFAULT 7"
        with connected(rig.dsn) as connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION lock_wait_timeout = 1")
            with closing(fencing(setting)) as table:
                assert len(table.sums() or {}) > 1_000
                cursor.execute(alter.format("more"))
                assert len(list(table.rows(range(RANGES)))) == 2_000
            with closing(fencing(setting)) as table:
                cursor.execute("ALTER TABLE t FORCE")
                with pytest.raises(Transient, match="was altered"):
                    table.sums()
