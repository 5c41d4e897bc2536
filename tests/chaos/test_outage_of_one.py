"""Fault 17: one subscriber's database is away while changes pile up, then back; the others notice nothing.

MESH_OUTAGE_CHANGES=180000 .venv/bin/pytest -s tests/chaos/test_outage_of_one.py

is an hour at 50 changes a second, piled up as fast as the machine can; figures are printed.
"""

from __future__ import annotations

import os
import random
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from ops.kinds.sinks import SINKS
from schemas.agreement.subscriber import SinkConfig
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from tests.chaos.test_kill_delivery import rows, seed_of_run
from tests.stage.cut_link import cut_link
from tests.stage.delivering import Desk, OutFeed, decimal, delivering, directory_of
from tests.stage.feeds import create
from tests.stage.until import until

CHANGES = int(os.environ.get("MESH_OUTAGE_CHANGES", "20000"))
KEYS = 5_000
EVERY_SECONDS = 0.1
MEMORY_MB_MAX = 250.0
"""What catching up may cost over what the process had: the lane's own bound, its reader's and the database's buffers."""
_GUARD = """
CREATE FUNCTION forward() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.name < OLD.name THEN RAISE EXCEPTION 'an older row over a newer one'; END IF; RETURN NEW; END $$;
CREATE TRIGGER forward BEFORE UPDATE ON police_person FOR EACH ROW EXECUTE FUNCTION forward()
"""


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def entered_by(address: str, port: int) -> str:
    """The address of a database, by another port of this host."""
    parts = urlsplit(address)
    login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return parts._replace(netloc=f"{login}127.0.0.1:{port}").geturl()


class Neighbour:
    """A subscriber that gets a change every tenth of a second; its latencies by phase."""

    def __init__(self, kafka: Kafka, feed: OutFeed, desk: Desk) -> None:
        self._kafka, self._feed, self._desk = kafka, feed, desk
        self._grant = feed.grant.grant.grant_id
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        with closing(Log(self._kafka, client_id="neighbour", linger_ms=0)) as log:
            number = 0
            while not self._stop.wait(EVERY_SECONDS):
                number += 1
                row = {"id": number % 50, "name": f"{number:09}", "amount": decimal("1.00")}
                self._feed.append(log, self._feed.record("u", row))
                log.flush(30)

    def mark(self) -> int:
        return len(self._desk.watch.latencies.get(self._grant, []))

    def quantiles(self, start: int, end: int | None = None) -> tuple[float, float]:
        """p50 and p99 in milliseconds, of the latencies between two marks."""
        found = sorted(self._desk.watch.latencies.get(self._grant, [])[start:end])
        assert len(found) >= 10, "the neighbour gets its changes"
        return found[len(found) // 2] * 1000, found[int(len(found) * 0.99)] * 1000

    def close(self) -> None:
        self._stop.set()
        self._thread.join(30)


@pytest.mark.timeout(3_600)
def test_fault_17_a_subscriber_that_was_away_catches_up_in_order_and_its_neighbour_notices_nothing(
    kafka: Kafka, postgres: Any, unique: str
) -> None:
    dice = random.Random(seed_of_run())
    away, near = OutFeed(f"{unique}a", "police.person"), OutFeed(f"{unique}b", "police.person")
    for feed in (away, near):
        create(kafka, feed.topic, partitions=4)
    dsn, other = postgres.create_database("away"), postgres.create_database("near")
    sinks = {feed.subscriber: SinkConfig(name="main", kind="postgres") for feed in (away, near)}
    newest: dict[int, str] = {}
    with cut_link(urlsplit(dsn).port or 5432) as link, closing(Log(kafka, client_id="test")) as log:

        def pile_up(count: int, first: int) -> None:
            for number in range(first, first + count):
                key = dice.randrange(KEYS)
                newest[key] = f"{number:09}"
                away.append(log, away.record("u", {"id": key, "name": newest[key], "amount": decimal("1.00")}))
                if number % 2_000 == 0:
                    log.flush(60)
            log.flush(60)

        addresses = {(away.subscriber, "main"): entered_by(dsn, link.port), (near.subscriber, "main"): other}
        with delivering(
            kafka, directory_of(sinks, away, near), kinds=SINKS, schemas=away.schemas, addresses=addresses
        ) as desk:
            pile_up(2_000, 0)
            until(lambda: rows(dsn) == newest, 90, "the first changes")
            with psycopg.connect(dsn, autocommit=True) as target:
                target.execute(_GUARD)
            neighbour = Neighbour(kafka, near, desk)
            try:
                until(lambda: neighbour.mark() >= 100, 60, "what is usual for the neighbour")
                had, before = resident_mb(), neighbour.mark()
                link.cut()
                began = time.monotonic()
                pile_up(CHANGES, 2_000)
                until(lambda: neighbour.mark() >= before + 100, 60, "the outage lasts a while")
                until(lambda: desk.watch.parked_lanes.get(away.subscriber), 60, "it is told")
                during, outage = neighbour.mark(), time.monotonic() - began
                held = resident_mb()
                link.mend()
                began, most = time.monotonic(), held

                def is_exact() -> bool:
                    nonlocal most
                    most = max(most, resident_mb())
                    return applied(dsn) == max(newest.values()) and rows(dsn) == newest

                until(is_exact, 1_800, "it catches up, exactly")
                took, after = time.monotonic() - began, neighbour.mark()
                until(lambda: neighbour.mark() >= after + 50, 60, "what is usual again")
                phases = {
                    "before": neighbour.quantiles(0, before),
                    "outage": neighbour.quantiles(before, during),
                    "catching up": neighbour.quantiles(during, max(after, during + 10)),
                    "after": neighbour.quantiles(after),
                }
            finally:
                neighbour.close()
    figures = ", ".join(f"{name} p50 {p50:.0f} p99 {p99:.0f} ms" for name, (p50, p99) in phases.items())
    print(  # noqa: T201 -- what the command is run for
        f"{CHANGES} changes in {outage:.0f} s of outage, caught up in {took:.1f} s ({CHANGES / took:,.0f}/s); "
        f"memory {had:.0f} MB before, {held:.0f} after the outage, {most:.0f} at most; neighbour: {figures}",
        flush=True,
    )
    assert desk.letters == [], "an outage makes no dead letter, and nothing came out of order"
    assert held - had < MEMORY_MB_MAX, "what waits, waits on its topic"
    assert most - had < MEMORY_MB_MAX
    usual = max(phases["before"][1], phases["after"][1])
    assert phases["outage"][1] < max(3 * usual, 1_000), "the neighbour's p99 does not move"


def applied(dsn: str) -> str:
    """The newest change that came, cheaply asked."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT max(name) FROM police_person").fetchone()
        return found[0] if found and found[0] else ""
