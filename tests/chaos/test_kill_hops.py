"""SIGKILL of capture, streams and delivery in a running mesh under steady changes: every copy ends exact, and soon.

`MESH_CHAOS_ROUNDS` multiplies the kills, `MESH_CHAOS_SEED` replays an order.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time

import psycopg
import pytest

from tests.stage.running_mesh import RunningMesh, changing, contract, database
from tests.stage.until import until

ROUNDS = int(os.environ.get("MESH_CHAOS_ROUNDS", "1"))
SEED = int(os.environ.get("MESH_CHAOS_SEED", "0")) or random.randrange(1, 1 << 30)
HOPS = ("capture", "streams", "delivery")
KILLS_EACH = 3
RECOVERED_WITHIN_SECONDS = 20.0  # of a starved machine; the figures are printed

# Inserts, updates that let rows leave and enter the filter, key changes, deletes: 5 rows a transaction, 50 transactions a second.
CHANGE = """
WITH a AS (INSERT INTO t VALUES (%(n)s, 'new', %(n)s %% 2)),
     b AS (UPDATE t SET side = 1 - side, note = 'moved ' || %(n)s WHERE id IN (%(n)s - 1, %(n)s / 2)),
     c AS (UPDATE t SET id = -id WHERE id = %(n)s - 7)
DELETE FROM t WHERE id = %(n)s - 11"""


@pytest.mark.timeout(900)
def test_killed_hops_lose_nothing_and_are_soon_back(
    mesh_alone: RunningMesh, capsys: pytest.CaptureFixture[str]
) -> None:
    mesh, chance = mesh_alone, random.Random(SEED)
    agency, subscriber = f"{mesh.unique}a", f"{mesh.unique}s"
    source, target = mesh.database(agency), mesh.database(subscriber)
    feed = f"{agency}.t"
    fields = {"id": "int", "note": "string", "side": "int"}
    mesh.agency(agency, {"t": contract(["id"], fields)})
    half = {"feed": feed, "columns": ["note"], "row_filter": "side == 1", "grant_id": f"{subscriber}.{feed}.half"}
    mesh.subscriber(subscriber, {"feed": feed, "columns": ["note", "side"]}, half)
    with database(source) as town:
        town.execute("CREATE TABLE t (id int PRIMARY KEY, note text, side int); ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute("INSERT INTO t SELECT -n, 'old', n % 2 FROM generate_series(1000000, 1002000) n")
    mesh.done("onboard", mesh.folder)
    mesh.verified(feed)

    order = [*HOPS] * KILLS_EACH * ROUNDS
    chance.shuffle(order)
    told = [f"MESH_CHAOS_SEED={SEED}; from a kill to the arrival of the first change made after it:"]
    print(f"MESH_CHAOS_SEED={SEED} replays {' '.join(order)}")  # noqa: T201 -- shown when the test fails
    before = {hop: mesh.state(hop)["restarts"] for hop in (*HOPS, "registry")}
    slowest = 0.0
    with database(source) as town, database(target) as copy, changing(source, CHANGE):
        for number, hop in enumerate(order, start=1):
            time.sleep(chance.uniform(0.1, 0.8))  # somewhere in the middle of its work
            os.kill(mesh.state(hop)["pid"], signal.SIGKILL)
            killed = time.monotonic()
            seconds = arrival_seconds(town, copy, f"{agency}_t", 1_000_000_000 + number, killed)
            told.append(f"{hop} {seconds:.1f} s")
            slowest = max(slowest, seconds)
    mesh.verified(feed)
    until(lambda: ledger_of(mesh, feed) == {"balanced"}, 60, "the ledger balances, whatever was killed on the way")
    # The last that came of a quiet feed was read and confirmed, and its reader is killed before it says so.
    last = [hop for hop in ("streams", "delivery") for _ in range(2 * ROUNDS)]
    with database(source) as town, database(target) as copy:
        for number, hop in enumerate(last, start=1):
            arrival_seconds(town, copy, f"{agency}_t", 1_500_000_000 + number, time.monotonic())
            time.sleep(chance.uniform(0.6, 1.6))  # it is confirmed every half second, and said every two
            os.kill(mesh.state(hop)["pid"], signal.SIGKILL)
            until(
                lambda: ledger_of(mesh, feed) == {"balanced"}, 60, f"the ledger balances behind {hop}, and all is quiet"
            )
    with capsys.disabled():
        sys.stdout.write("\n" + " ".join(told) + "\n")
    assert slowest < RECOVERED_WITHIN_SECONDS
    after = {hop: mesh.state(hop)["restarts"] for hop in before}
    killed_of = [*order, *last]
    assert after == {hop: count + killed_of.count(hop) for hop, count in before.items()}, "nothing else ended"


def ledger_of(mesh: RunningMesh, feed: str) -> set[str]:
    """The standings of the feed's lines."""
    report = mesh.run("ledger", "--json", "--feed", feed).json
    return {line["standing"] for part in ("feeds", "subscriptions") for line in report[part].values()}


def arrival_seconds(
    town: psycopg.Connection, copy: psycopg.Connection, table: str, number: int, killed: float
) -> float:
    """How long after the kill a change that is made now is at the subscriber."""
    town.execute("INSERT INTO t VALUES (%s, 'after a kill', 0)", (number,))
    found = f"SELECT FROM {table} WHERE id = %s".encode()
    until(lambda: copy.execute(found, (number,)).fetchone() is not None, 120, "the first change after the kill")
    return time.monotonic() - killed
