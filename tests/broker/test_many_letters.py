"""Dead letters in number: one bad row among ten thousand, by cause, again by themselves, and in bulk.

MESH_LETTERS=200000 .venv/bin/pytest -s tests/broker/test_many_letters.py -k bulk measures so many, and prints what it took.
"""

from __future__ import annotations

import json
import os
import resource
import time
from contextlib import closing
from typing import Any

import psycopg
import pytest

from ops.kinds.sinks import SINKS
from ops.redelivery.again import append_again
from ops.redelivery.letter import WAITING, Choice, letters
from ops.redelivery.retry import retry
from ops.settings import load
from schemas.agreement.subscriber import SinkConfig
from schemas.dead_letter import CONNECT, OURS
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from tests.broker.test_redelivery import done, listed, onboarded, values
from tests.stage.delivering import OutFeed, decimal, delivering, directory_of
from tests.stage.feeds import create
from tests.stage.many_letters import bring_letters
from tests.stage.running_mesh import RunningMesh, database
from tests.stage.until import until

COUNT = int(os.environ.get("MESH_LETTERS", "6000"))


def test_one_bad_row_among_ten_thousand_is_alone_and_all_others_arrive(
    kafka: Kafka, postgres: Any, unique: str
) -> None:
    feed = OutFeed(unique, "police.person")
    create(kafka, feed.topic, partitions=4)
    dsn = postgres.create_database("poison")

    def row(number: int, name: str) -> Any:
        return feed.record("u", {"id": number, "name": name, "amount": decimal("1.00")})

    with (
        closing(Log(kafka, client_id="test")) as log,
        delivering(
            kafka,
            directory_of({unique: SinkConfig(name="main", kind="postgres")}, feed),
            kinds=SINKS,
            schemas=feed.schemas,
            addresses={(unique, "main"): dsn},
        ) as desk,
    ):
        feed.append(log, row(0, "first"))
        log.flush(30)
        until(lambda: count(dsn) == 1, 60, "the table is there")
        with psycopg.connect(dsn, autocommit=True) as target:
            target.execute("ALTER TABLE police_person ADD CONSTRAINT fits CHECK (name <> 'canary 张三')")
        for number in range(10_000):
            feed.append(log, row(number, "canary 张三" if number == 5_432 else "n"))
        feed.append(log, row(7_000, "later"), row(5_432, "mended"))
        log.flush(60)
        until(lambda: count(dsn) == 10_000, 90, "every other row, and the later change of that key")
    with psycopg.connect(dsn) as target:
        found = dict(target.execute("SELECT id, name FROM police_person WHERE id IN (5432, 7000)").fetchall())
    assert found == {5_432: "mended", 7_000: "later"}
    [letter] = desk.letters
    headers = dict(letter.headers())
    assert headers[f"{OURS}reason"] == b"sql_23514"
    assert headers[f"{CONNECT}connector.name"] == f"sub.{unique}.main".encode()
    assert headers[f"{OURS}attempts"] == b"1"
    assert headers[f"{OURS}first_failed_at"].startswith(b"20")
    assert headers["purpose"] == b"test", "a lane that reads no headers keeps those of what it refuses"
    assert "张三" not in b" ".join(headers.values()).decode("utf-8", "replace")


def count(dsn: str) -> int:
    try:
        with psycopg.connect(dsn) as connection:
            found = connection.execute("SELECT count(*) FROM police_person").fetchone()
            return found[0] if found else 0
    except psycopg.errors.UndefinedTable:
        return 0


def test_letters_come_again_by_themselves_once_their_cause_is_gone(mesh: RunningMesh) -> None:
    source, target, grant, table = onboarded(mesh, 12)
    written = mesh.folder / f"{mesh.unique}s" / "subscriber.yaml"
    folder = json.loads(written.read_text())
    rule = {"reasons": ["sql_23514"], "every_seconds": 3, "for_seconds": "1h"}
    folder["sinks"][0]["delivery"] = {"retry_dead_letters": rule}
    written.write_text(json.dumps(folder, ensure_ascii=False))
    checked = mesh.run("check", mesh.folder)
    assert "dead letters by sql_23514, up to 1 h old" in checked.out
    mesh.done("onboard", mesh.folder)
    with database(target) as town:
        town.execute(f"ALTER TABLE {table} ADD CONSTRAINT short CHECK (name <> 'bad')".encode())
    with database(source) as town:
        town.execute("UPDATE t SET name = 'bad'")
    until(lambda: len(listed(mesh, grant, "all")) >= 12, 60, "twelve dead letters")
    [cause] = [each for each in done(mesh, "list", grant, "--by", "cause") if each["reason"] == "sql_23514"]
    assert (cause["owner"], cause["hop"]) == (grant, "deliver")
    until(lambda: any(each["replays"] for each in listed(mesh, grant)), 60, "one was tried, and came back")
    tried = [each for each in listed(mesh, grant, "all") if each["state"] == "retried"]
    assert len(tried) < 12, "of a cause that stands one is tried, and not all"
    with database(target) as town:
        town.execute(f"ALTER TABLE {table} DROP CONSTRAINT short".encode())
    until(lambda: set(values(target, table).values()) == {"bad"}, 120, "all of them, though nobody asked")
    until(lambda: listed(mesh, grant) == [], 30, "and none waits")
    mesh.verified(grant, 12)
    lines = [json.loads(message.value() or b"{}") for message in mesh.records("mesh.audit")]
    assert any((line["what"], line["subject"]) == ("dlq rule", grant) for line in lines)


@pytest.mark.timeout(3_600)
def test_letters_in_bulk_come_back_exactly_and_are_never_all_in_memory(
    mesh: RunningMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target, grant, table = onboarded(mesh, 10)
    with database(source) as town:
        text = "repeat('x', 400) || n"
        town.execute(f"INSERT INTO t SELECT n, {text} FROM generate_series(11, {COUNT}) n".encode())
    until(lambda: len(values(target, table)) == COUNT, 900, "all rows")
    topic = f"out.{grant}"
    assert bring_letters(mesh.kafka, topic, 4) == COUNT
    with database(target) as town:
        town.execute(f"DELETE FROM {table} WHERE id % 100 <> 0".encode())
    with database(source) as town:
        town.execute("UPDATE t SET name = 'newer' WHERE id % 50 = 0")
    until(lambda: values(target, table).get(COUNT) == "newer", 300, "live changes go on")
    dry = done(mesh, "retry", grant, "--all", "--dry-run")
    assert dry["counts"] == {"retried": COUNT - COUNT // 50, "superseded": COUNT // 50}
    assert len(dry["letters"]) == min(COUNT, 1_000), "not everybody is called by name"

    steps: list[tuple[int, int]] = []
    runs: list[int] = []
    began = time.monotonic()
    if COUNT > 20_000:  # measured as a user meets it, in a process of its own
        outcome = done(mesh, "retry", grant, "--all")["counts"]
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        assert peak < 400
    else:

        def counted(log: Any, newest: Any, changes: Any) -> None:
            runs.append(len(changes))
            append_again(log, newest, changes)

        monkeypatch.setattr("ops.redelivery.retry.append_again", counted)
        choice = Choice(single=frozenset(), whole=frozenset([grant]))
        settings = load(mesh.directory)
        outcome = retry(settings, choice, dry_run=False, progress=lambda at, of: steps.append((at, of))).counts
        peak = 0.0
        assert len(steps) >= COUNT // 2_000, "it says how far it is"
        assert steps[-1] == (COUNT, COUNT)
        assert max(runs) <= 2_000, "so many letters are in memory at a time, and no more"
    seconds = time.monotonic() - began
    assert outcome == dry["counts"]
    mesh.verified(grant, COUNT)
    settled = time.monotonic() - began
    assert next(letters(load(mesh.directory), [grant], state=WAITING), None) is None
    again = done(mesh, "retry", grant, "--all")
    assert again["counts"] == {}, "whoever says it again does nothing"
    print(f"{COUNT} letters: {seconds:.1f} s to append, exact after {settled:.1f} s, {peak:.0f} MB at most", flush=True)  # noqa: T201
