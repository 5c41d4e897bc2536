"""One source's trouble is that source's, and what was mended waits for no restart (invariants 8 and 10)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from producers.kind import SourceKind
from producers.postgresql.kind import POSTGRES
from producers.source import SourceBatch, SourceSetting
from schemas.log.kafka import Kafka
from tests.stage.capturing import Rig, contract
from tests.stage.until import until

FIELDS = {"id": "long", "name": "string"}
SECRET = "440106199001011234"


class _Tripping:
    """A source of a kind that has a mistake in it, until its options say that it was mended."""

    def __init__(self, setting: SourceSetting) -> None:
        self._rows: dict[str, str] = {}
        self._is_mended = bool(setting.config.options.get("mended"))

    def batches(self) -> Iterator[SourceBatch]:
        while True:
            if not self._is_mended:
                self._rows[SECRET]
            yield SourceBatch()

    def confirm(self, mark: Any) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def rig(kafka: Kafka, dsn: str, unique: str) -> Rig:
    rig = Rig(kafka, dsn, unique)
    rig.kinds = {"postgres": POSTGRES, "tripping": SourceKind(open=_Tripping)}
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute("CREATE TABLE t (id bigint PRIMARY KEY, name text)")
        db.execute("ALTER TABLE t REPLICA IDENTITY FULL")
        db.execute("INSERT INTO t VALUES (1, 'one')")
    return rig


def test_a_source_that_trips_our_code_parks_alone_and_quotes_no_row(
    rig: Rig, dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    feed, other = f"{rig.agency}.t", f"{rig.agency}.o"
    rig.set_source("odd", kind="tripping")
    rig.add(contract(feed, FIELDS))
    rig.add(contract(other, FIELDS, source="odd"))
    with rig.capturing(), psycopg.connect(dsn, autocommit=True) as db:
        parked = rig.until_incident("source", f"{rig.agency}.odd", "parked")
        assert re.match(r"KeyError at .*test_capture_isolation\.py:\d+", parked.reason)
        db.execute("INSERT INTO t VALUES (2, 'two')")
        rig.until_rows(feed, 2)
        rig.set_source("odd", kind="tripping", mended=True)
        rig.until_well("source", f"{rig.agency}.odd", 15)
        assert rig.seen.connections[f"{rig.agency}.odd"]
    assert SECRET not in caplog.text


def test_a_mended_option_is_taken_up_by_the_stopped_source(rig: Rig) -> None:
    feed = f"{rig.agency}.t"
    rig.set_source(snapshot_processes="four")
    rig.add(contract(feed, FIELDS))
    with rig.capturing():
        stopped = rig.until_incident("source", rig.source, "stopped")
        assert "snapshot_processes" in stopped.reason
        rig.set_source(snapshot_processes=1)
        rig.until_rows(feed, 1, 15)
        rig.until_well("source", rig.source)


def test_a_mended_address_is_taken_up_by_a_stopped_and_by_a_running_source(
    rig: Rig, dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    feed = f"{rig.agency}.t"
    rig.dsn = "no address at all"
    rig.add(contract(feed, FIELDS))
    with rig.capturing(), psycopg.connect(dsn, autocommit=True) as db:
        rig.until_incident("source", rig.source, "stopped")
        rig.dsn = dsn
        rig.until_rows(feed, 1, 15)
        rig.until_well("source", rig.source)
        rig.dsn = f"{dsn}?gssencmode=disable"
        until(lambda: "opened anew with what its onboarding says now" in caplog.text, 15, "the address is taken up")
        db.execute("INSERT INTO t VALUES (2, 'two')")
        rig.until_rows(feed, 2, 15)
        until(lambda: rig.seen.connections[rig.source], 15, "it is connected")


def test_a_source_without_feeds_ends_and_begins_again_with_them(rig: Rig, dsn: str) -> None:
    feed = f"{rig.agency}.t"
    rig.add(contract(feed, FIELDS))
    with rig.capturing(), psycopg.connect(dsn, autocommit=True) as db:
        until(lambda: rig.seen.connections.get(rig.source), 30, "it is connected")
        whole = rig.directory
        rig.directory = replace(whole, feeds={})
        until(lambda: rig.seen.connections[rig.source] is False, 15, "it has ended")
        db.execute("INSERT INTO t VALUES (2, 'two')")
        rig.directory = whole
        rig.until_rows(feed, 2, 30)
