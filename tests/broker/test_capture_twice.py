"""Two hosts start the same: one captures, the other waits and takes over; and what a copy has to keep of a busy table is bounded."""

from __future__ import annotations

import logging
from contextlib import ExitStack

import psycopg
import pytest

from producers.postgresql.snapshot import overtaken, table_copy
from tests.stage.captured_tables import add, make, until_equal
from tests.stage.capturing import Rig
from tests.stage.running_mesh import changing
from tests.stage.until import until

WITHIN_SECONDS = 60


def test_a_source_that_is_captured_elsewhere_waits_and_takes_over_without_a_row_lost(
    rig: Rig, dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with psycopg.connect(dsn, autocommit=True) as db:
        make(db, "t")
        (feed,) = add(rig, "t")
        with ExitStack() as first:
            first.enter_context(rig.capturing())
            until_equal(rig, db, feed)
            rig.until_streaming()
            with rig.capturing():
                until(
                    lambda: "is captured by another process" in caplog.text,
                    WITHIN_SECONDS,
                    "the second one says why it waits",
                )
                db.execute("INSERT INTO t VALUES (10, 'by the first')")
                until_equal(rig, db, feed)
                first.close()
                db.execute("INSERT INTO t VALUES (11, 'by the second')")
                until_equal(rig, db, feed)
    places = [(change.key["id"], change.position) for change in rig.changes(feed)]
    assert len(places) == len(set(places)) == 5


def test_a_table_that_changes_a_lot_while_it_is_copied_goes_on_out_of_a_later_snapshot(
    rig: Rig, dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(table_copy, "RANGE_BLOCKS", 8)
    monkeypatch.setattr(overtaken, "KEYS_MAX", 10)
    with psycopg.connect(dsn, autocommit=True) as db:
        make(db, "t")
        make(db, "busy", rows=20_000)
        add(rig, "t")
        with rig.capturing():
            rig.until_streaming()
            change = "UPDATE busy SET name = 'changed ' || %(n)s WHERE id %% 400 = %(n)s %% 400"
            with changing(dsn, change):
                (feed,) = add(rig, "busy")
                until(lambda: "out of a later snapshot" in caplog.text, WITHIN_SECONDS, "it began again")
                until(lambda: (20_000,) in rig.fold(feed), WITHIN_SECONDS, "the copy comes to its end")
            until_equal(rig, db, feed)
