"""What a department, a person or a machine does to a captured MariaDB: nothing is lost, and what cannot go on says why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.embedded.mariadb import LOGGING_ROWS, MariaDb
from schemas.log.kafka import Kafka
from tests.stage.maria import MariaServer, connected, rows, run
from tests.stage.maria_capture import MariaRig
from tests.stage.until import until

TABLE = "CREATE TABLE {} (id int PRIMARY KEY, name varchar(50), amount int)"
ALL = "SELECT id, name, amount FROM {} ORDER BY id"


@pytest.fixture
def rig(kafka: Kafka, mariadb: MariaServer, unique: str) -> MariaRig:
    return MariaRig(kafka, mariadb.create_database("captured"), unique)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MariaDb]:
    tmp_path.chmod(0o755)
    server = MariaDb(tmp_path / "maria", is_durable=False, settings=LOGGING_ROWS)
    server.start()
    yield server
    server.stop()


def made(rig: MariaRig, name: str, count: int = 3) -> str:
    run(rig.dsn, TABLE.format(name), f"INSERT INTO {name} SELECT seq, CONCAT('n', seq), seq FROM seq_1_to_{count}")
    return rig.onboard(name)


def test_what_becomes_of_a_table_stops_its_feed_or_copies_it_and_the_others_flow(rig: MariaRig) -> None:
    other = made(rig, "other")
    feed = made(rig, "t")
    with rig.capturing():
        rig.until_streaming()
        run(rig.dsn, "ALTER TABLE t ADD COLUMN more int DEFAULT 7 FIRST", "INSERT INTO t VALUES (1, 4, 'four', 4)")
        rig.until_folds_to(feed, ALL.format("t"))
        run(rig.dsn, "ALTER TABLE t MODIFY name varchar(80)", "UPDATE t SET name = REPEAT('中', 70) WHERE id = 1")
        rig.until_folds_to(feed, ALL.format("t"))
        assert rig.incident("feed", feed) is None
        run(rig.dsn, "ALTER TABLE t MODIFY amount tinyint unsigned", "INSERT INTO t VALUES (1, 5, 'five', 200)")
        rig.until_folds_to(feed, ALL.format("t"))
        assert rig.until_incident("feed", feed, "notice").reason.startswith("columns of")
        run(rig.dsn, "RENAME TABLE t TO elsewhere", "INSERT INTO elsewhere VALUES (1, 6, 'six', 6)")
        stopped = rig.until_incident("feed", feed, "stopped")
        assert "was renamed to" in stopped.reason
        run(rig.dsn, "INSERT INTO other VALUES (9, 'nine', 9)")
        rig.until_folds_to(other, ALL.format("other"))
        back = stopped.fix.partition("name it back: ")[2].split("; then")[0]
        run(rig.dsn, back)
        rig.resync(feed)
        rig.until_streaming()
        rig.until_folds_to(feed, ALL.format("t"))
        run(rig.dsn, "ALTER TABLE t CHANGE amount sum int")
        stopped = rig.until_incident("feed", feed, "stopped")
        assert "column amount is not in the table" in stopped.reason
        run(rig.dsn, "ALTER TABLE t CHANGE sum amount int")
        rig.resync(feed)
        rig.until_streaming()
        rig.until_folds_to(feed, ALL.format("t"))
        run(rig.dsn, TABLE.format("fresh"), "INSERT INTO fresh VALUES (100, 'new', 1)")
        run(rig.dsn, "RENAME TABLE t TO old, fresh TO t")
        stopped = rig.until_incident("feed", feed, "stopped")
        assert "is another table than was captured" in stopped.reason
        rig.resync(feed)
        rig.until_streaming()
        rig.until_folds_to(feed, ALL.format("t"))
        run(rig.dsn, "DROP TABLE t")
        stopped = rig.until_incident("feed", feed, "stopped")
        assert "was dropped" in stopped.reason
        rig.until_folds_to(other, ALL.format("other"))
        assert rig.incident("feed", other) is None


def test_a_change_that_is_not_told_stops_its_feed_and_a_resync_makes_it_whole(rig: MariaRig) -> None:
    other = made(rig, "other")
    feed = made(rig, "t")
    with rig.capturing():
        rig.until_streaming()
        with connected(rig.dsn) as connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION binlog_row_image='MINIMAL'")
            cursor.execute("UPDATE t SET amount = 0 WHERE id = 1")
        assert "binlog_row_image" in rig.until_incident("feed", feed, "stopped").reason
        rig.resync(feed)
        rig.until_streaming()
        rig.until_folds_to(feed, ALL.format("t"))
        with connected(rig.dsn) as connection, connection.cursor() as cursor:
            for statement in ("XA START 'a'", "UPDATE t SET amount = 99", "XA END 'a'", "XA PREPARE 'a'"):
                cursor.execute(statement)
            run(rig.dsn, "INSERT INTO other VALUES (9, 'nine', 9)")
            rig.until_folds_to(other, ALL.format("other"))
            cursor.execute("XA COMMIT 'a'")
        rig.until_folds_to(feed, ALL.format("t"))
        assert "XA" in rig.until_incident("feed", feed, "notice").reason
        with connected(rig.dsn) as connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION binlog_format='STATEMENT'")
            cursor.execute("UPDATE t SET amount = 12")
        assert "binlog_format" in rig.until_incident("feed", feed, "stopped").reason
        assert rig.until_incident("feed", other, "stopped").fix.endswith(f"`mesh resync {rig.source}`")
        rig.resync(rig.source)
        rig.until_folds_to(feed, ALL.format("t"))
        rig.until_folds_to(other, ALL.format("other"))


def test_a_restarted_server_is_read_on_and_one_that_purged_its_log_stops_the_source(
    kafka: Kafka, server: MariaDb, unique: str
) -> None:
    address = server.create_database("d")
    rig = MariaRig(kafka, address, unique)
    feed = made(rig, "t", 500)
    run(address, "SET GLOBAL log_bin_compress=ON", "SET GLOBAL log_bin_compress_min_len=10")
    with rig.capturing():
        rig.until_streaming()
        run(address, "INSERT INTO t SELECT seq, REPEAT('long', 12), 0 FROM seq_10001_to_10600")
        run(address, "UPDATE t SET name = CONCAT(name, 'x') WHERE id > 10300", "DELETE FROM t WHERE id < 100")
        server.stop()
        until(lambda: rig.seen.connections.get(rig.source) is False, 60, "the source sees that it is gone")
        server.start()
        run(address, "INSERT INTO t VALUES (20000, 'after', 1)")
        rig.until_folds_to(feed, ALL.format("t"))
    said: dict[object, object] = {}
    for change in rig.changes(feed):  # what was under way when the server stopped comes again, as it was
        place = change.key["id"], change.position
        assert said.setdefault(place, (change.op, change.after)) == (change.op, change.after)
    run(address, "INSERT INTO t VALUES (20001, 'unseen', 1)", "FLUSH BINARY LOGS")
    (last,) = rows(address, "SHOW MASTER STATUS")
    run(address, "SET GLOBAL slave_connections_needed_for_purge = 0")

    def is_purged() -> bool:
        run(address, f"PURGE BINARY LOGS TO '{last[0]}'")
        return len(rows(address, "SHOW BINARY LOGS")) == 1

    until(is_purged, 60, "the log is purged")
    with rig.capturing():
        stopped = rig.until_incident("source", rig.source, "stopped")
        assert "does not go on where capture is" in stopped.reason
        assert f"mesh resync {rig.source}" in stopped.fix
        run(address, "DELETE FROM t WHERE id = 20000")
        rig.resync(rig.source)
        rig.until_folds_to(feed, ALL.format("t"), 120)
        rig.until_well("source", rig.source)
