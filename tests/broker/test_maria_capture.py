"""What happens to a table of MariaDB arrives in its feed: every kind of change, each once, in order, with its position."""

from __future__ import annotations

import pytest

from producers.mysql import stream
from producers.mysql.onboarding.draft import draft
from schemas.change import Op
from schemas.log.kafka import Kafka
from tests.stage import feeds
from tests.stage.maria import MariaServer, connected, run
from tests.stage.maria_capture import MariaRig
from tests.stage.maria_values import reading
from tests.stage.until import until

TABLE = "CREATE TABLE t (id bigint PRIMARY KEY, name varchar(50), amount decimal(12,2))"


@pytest.fixture
def rig(kafka: Kafka, mariadb: MariaServer, unique: str) -> MariaRig:
    return MariaRig(kafka, mariadb.create_database("captured"), unique)


def test_copy_and_stream_arrive_in_order_with_their_positions(rig: MariaRig) -> None:
    run(rig.dsn, TABLE, "INSERT INTO t VALUES (1,'one',1.5),(2,'two',-2.25),(3,NULL,NULL)")
    feed = rig.onboard("t", partitions=1)
    with rig.capturing():
        until(lambda: len(rig.changes(feed)) == 3, 60, "the copy")
        rig.until_streaming()
        with connected(rig.dsn) as connection, connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("INSERT INTO t VALUES (4,'four',4)")
            cursor.execute("UPDATE t SET amount = 5 WHERE id = 4")
            cursor.execute("COMMIT")
            cursor.execute("BEGIN")
            cursor.execute("INSERT INTO t VALUES (5,'never',4)")
            cursor.execute("ROLLBACK")
            cursor.execute("DELETE FROM t WHERE id = 1")
        until(lambda: len(rig.changes(feed)) == 6, 60, "the stream")
        run(rig.dsn, "UPDATE t SET id = 7 WHERE id = 2")
        until(lambda: len(rig.changes(feed)) == 8, 60, "the key change")
        run(rig.dsn, "TRUNCATE TABLE t", "INSERT INTO t VALUES (9,'nine',9)")
        until(lambda: set(rig.fold(feed)) == {(9,)}, 60, "the table was emptied")
    changes = rig.changes(feed)
    assert [change.op for change in changes] == list("rrrcuddctc")
    assert [change.position.minor for change in changes] == [0, 0, 0, 1, 3, 1, 1, 2, 1, 1]
    assert changes == sorted(changes, key=lambda change: change.position)
    created, updated, deleted = changes[3:6]
    assert created.after == {"id": 4, "name": "four", "amount": b"\x01\x90"}
    assert updated.before == created.after
    assert created.after
    assert updated.after == {**created.after, "amount": b"\x01\xf4"}
    assert created.transaction == updated.transaction != deleted.transaction
    assert deleted.before == {"id": 1, "name": "one", "amount": b"\x00\x96"}
    old, new = changes[6:8]
    assert (old.op, old.key, new.op, new.key) == (Op.DELETE, {"id": 2}, Op.CREATE, {"id": 7})
    assert "__debezium.newkey" in old.headers
    assert "__debezium.oldkey" in new.headers
    (messages,) = feeds.read_all(rig.kafka, [feed]).values()
    tombstones = [message.key() for message in messages if message.value() is None]
    assert len(tombstones) == 2


def test_a_backlog_of_small_transactions_is_confirmed_while_it_is_read(
    rig: MariaRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BATCH_RECORDS", 7)
    run(rig.dsn, TABLE)
    (drafted,) = draft(rig.dsn, ["t"], rig.agency, is_lossless=False).tables
    with reading(rig.dsn, drafted.contract(rig.agency)) as (_, taken, read):
        read(0)
        run(rig.dsn, *(f"INSERT INTO t VALUES ({number}, 'n', 1)" for number in range(60)))
        read(60)
    # Each batch is full behind a row and before its transaction's end: those before it are whole all the same.
    assert len(taken.log_marks) >= 60 // 7
    assert taken.log_marks == sorted(taken.log_marks)
