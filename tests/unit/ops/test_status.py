from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ops.metrics.exporter import Exporter
from ops.metrics.flow_metrics import FlowMetrics
from ops.metrics.hop_metrics import CaptureMetrics, DeliveryMetrics, StreamMetrics
from ops.metrics.page import serve
from ops.watch.entity_health import entities
from ops.watch.health import DOWN, OK, STUCK
from ops.watch.lag import STREAMS_GROUP, TopicLag, delivery_group
from ops.watch.status import OFF, Status, StatusReader, groups
from ops.watch.status_table import render
from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.agreement.grant import Grant
from schemas.agreement.grant import Status as GrantStatus
from schemas.contract import Contract
from schemas.errors import Transient
from schemas.incident import Incident

FEED = "police.resident"
GRANT = "tax.police.resident"
GROUP = delivery_group("tax", "main")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()


def directory(status: GrantStatus = GrantStatus.ACTIVE) -> Directory:
    record = {
        "type": "record",
        "name": "Resident",
        "doc": "户籍人口",
        "gov": {"provider": "police", "key": ["citizen_id"]},
        "fields": [{"name": "citizen_id", "type": "string", "confluent:tags": ["PII"]}],
    }
    entry = FeedEntry(
        contract=Contract.parse(record, FEED), version=1, key_schema_id=1, value_schema_id=2, partitions=4
    )
    grant = Grant(grant_id=GRANT, subscriber="tax", feed=FEED, columns=("citizen_id",), purpose="tax", status=status)
    granted = GrantEntry(grant=grant, key_schema_id=3, value_schema_id=4, version=1)
    return Directory(feeds={FEED: entry}, grants={GRANT: granted})


def lag(records: int, seconds: float, confirmed: int = 100, *, is_passed: bool = False) -> TopicLag:
    return TopicLag(records=records, seconds=seconds, confirmed=confirmed, is_passed=is_passed)


class Mesh:
    """One process that serves real metrics; lags as the test says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.directory = directory()
        self.lags: dict[str, dict[str, TopicLag]] = {
            STREAMS_GROUP: {FEED: lag(0, 0)},
            GROUP: {f"out.{GRANT}": lag(0, 0)},
        }
        exporter = Exporter()
        self.capture = CaptureMetrics(exporter)
        self.streams = StreamMetrics(exporter)
        self.delivery = DeliveryMetrics(exporter)
        self.flows = FlowMetrics(exporter)
        self.page = serve(path, "hop", exporter)
        self.reader = StatusReader(path, lambda: self.directory, lambda _groups: dict(self.lags), lambda: NOW)

    def read(self) -> Status:
        return self.reader.read()

    def lane(self, status: Status) -> Any:
        (subscription,) = status.subscriptions
        return subscription


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Mesh]:
    mesh = Mesh(tmp_path)
    yield mesh
    mesh.page.close()


def test_counts_rates_and_latencies_come_from_the_pages(mesh: Mesh) -> None:
    mesh.capture.captured(FEED, "r", 100, 10_000)
    mesh.read()
    mesh.capture.captured(FEED, "u", 50, 5_000)
    mesh.capture.rejected(FEED, "numeric_nan", 2)
    mesh.capture.snapshot(FEED, 25, 100)
    mesh.capture.lag("police.main", 0.25)
    mesh.streams.routed(GRANT, 40, 10, 4_000)
    mesh.delivery.delivered(GRANT, 40, 4_000, [0.02] * 39 + [0.9])
    mesh.delivery.dead(GRANT, "constraint", 1)
    status = mesh.read()
    (feed,) = status.feeds
    assert (feed.captured, feed.rejected, feed.snapshot, feed.capture_lag_seconds) == (150, 2, 0.25, 0.25)
    assert feed.per_second > 0
    lane = mesh.lane(status)
    assert (lane.delivered, lane.suppressed, lane.dead) == (40, 10, 1)
    assert lane.p50_seconds == pytest.approx(0.02, abs=0.006)
    assert 0.75 < lane.p99_seconds <= 1.0
    assert status.p99_seconds == lane.p99_seconds
    assert status.is_well


def test_a_disconnected_source_is_down(mesh: Mesh) -> None:
    mesh.capture.connected("police.main", False)
    (feed,) = mesh.read().feeds
    assert feed.health == DOWN
    assert "police.main" in feed.reason


def test_a_flow_shows_its_own_time(mesh: Mesh) -> None:
    mesh.flows.lag("check", 0, 0)
    assert mesh.read().flows[0].clock is None
    moment = datetime(2016, 11, 3, 17, 20, tzinfo=UTC)
    mesh.flows.clock("check", round(moment.timestamp() * 1_000_000))
    status = mesh.read()
    assert status.flows[0].clock == status.to_json()["flows"][0]["clock"] == "2016-11-03T17:20:00+00:00"
    assert "2016-11-04 01:20" in shown(render(status)), "people read the time of Shanghai"


def test_a_live_lane_with_lag_that_does_not_move_is_stuck(mesh: Mesh) -> None:
    mesh.lags[GROUP] = {f"out.{GRANT}": lag(7, 90)}
    mesh.read()
    status = mesh.read()
    assert mesh.lane(status).health == STUCK
    assert "90 s" in mesh.lane(status).reason
    assert not status.is_well


def test_a_lane_that_lags_and_moves_is_well(mesh: Mesh) -> None:
    mesh.lags[GROUP] = {f"out.{GRANT}": lag(7000, 90, confirmed=100)}
    mesh.read()
    mesh.lags[GROUP] = {f"out.{GRANT}": lag(6000, 90, confirmed=1100)}
    status = mesh.read()
    assert (mesh.lane(status).health, mesh.lane(status).reason) == (OK, "6000 records behind")
    assert status.is_well


def test_a_parked_sink_is_down_and_retention_that_passed_a_group_is_not_silent(mesh: Mesh) -> None:
    mesh.delivery.parked("tax", "main", True)
    assert mesh.lane(mesh.read()).health == DOWN
    mesh.delivery.parked("tax", "main", False)
    mesh.lags[GROUP] = {f"out.{GRANT}": lag(7, 1, is_passed=True)}
    assert "retention" in mesh.lane(mesh.read()).reason


def test_a_revoked_grant_is_off_and_not_unwell(mesh: Mesh) -> None:
    mesh.directory = directory(GrantStatus.REVOKED)
    status = mesh.read()
    assert (mesh.lane(status).health, mesh.lane(status).reason) == (OFF, "the grant is REVOKED")
    assert status.is_well


def test_brokers_that_do_not_answer_leave_lag_open_with_a_notice(tmp_path: Path) -> None:
    def unreachable(_groups: Mapping[str, Any]) -> Mapping[str, Any]:
        raise Transient("lag: no broker answers")

    status = StatusReader(tmp_path, directory, unreachable, lambda: NOW).read()
    assert status.notices == ("lag: no broker answers",)
    assert status.feeds[0].lag_records is None
    assert status.processes == ()


def test_processes_are_up_silent_or_down(mesh: Mesh) -> None:
    run = mesh.path / "run"
    run.mkdir()
    started = datetime.fromtimestamp(NOW - 65, UTC).isoformat()
    (run / "hop.json").write_text(json.dumps({"pid": os.getpid(), "started_at": started, "restarts": 2}))
    (run / "kafka.json").write_text(json.dumps({"pid": None, "started_at": started, "restarts": 1}))
    (run / "half.json").write_text('{"pid": 1')
    states = {process.process: process for process in mesh.read().processes}
    assert set(states) == {"hop", "kafka"}
    assert (states["hop"].state, states["hop"].restarts, states["hop"].uptime_seconds) == ("up", 2, 65)
    assert (states["kafka"].state, states["kafka"].uptime_seconds) == ("down", None)
    home = mesh.path / "prometheus" / "process"
    entry = json.loads((home / "hop.json").read_text())
    (home / "deaf.json").write_text(json.dumps({**entry, "process": "deaf", "port": 1}))
    status = mesh.read()
    assert {process.process: process.state for process in status.processes}["deaf"] == "silent"
    assert not status.is_well


def test_the_report_is_json_with_stable_names(mesh: Mesh) -> None:
    report = json.loads(json.dumps(mesh.read().to_json()))
    assert report["is_well"] is True
    assert report["at"] == "2026-03-01T12:00:00+00:00"
    assert report["feeds"][0]["feed"] == FEED
    assert report["subscriptions"][0]["grant_id"] == GRANT
    assert report["processes"][0]["state"] == "up"


def test_the_table_shows_what_moves_and_what_is_unwell(mesh: Mesh) -> None:
    mesh.capture.captured(FEED, "c", 1234, 99)
    mesh.delivery.delivered(GRANT, 1200, 99, [0.02])
    mesh.delivery.parked("tax", "main", True)
    text = shown(render(mesh.read()))
    for expected in (FEED, "1,234", GRANT, "1,200", "parked", "unwell", "hop"):
        assert expected in text
    assert "all well" not in text


def test_a_short_table_shows_the_unwell_first_and_counts_the_rest(mesh: Mesh) -> None:
    base = directory()
    extra = {
        name: GrantEntry(
            grant=Grant(grant_id=name, subscriber=name.split(".")[0], feed=FEED, columns=("citizen_id",), purpose="p"),
            key_schema_id=1,
            value_schema_id=1,
            version=1,
        )
        for name in (f"a{number}.{FEED}" for number in range(5))
    }
    mesh.directory = Directory(feeds=base.feeds, grants={**extra, **base.grants})
    mesh.delivery.parked("tax", "main", True)
    text = shown(render(mesh.read(), rows_max=1))
    assert GRANT in text
    assert f"a0.{FEED}" not in text
    assert "and 5 more" in text


def test_an_incident_is_told_in_words_where_it_holds_and_in_a_table_in_the_citys_time(mesh: Mesh) -> None:
    since = datetime(2026, 3, 1, 11, 30, tzinfo=UTC)
    incident = Incident(
        kind="source", name="police.main", state="stopped", reason="slot is gone", fix="drop it", since=since
    )
    gone = Incident(kind="sink", name="gone.main", state="stopped", reason="of a grant that ended", fix="", since=since)
    present = {each.key: each for each in (incident, gone)}
    reader = StatusReader(
        mesh.path, lambda: mesh.directory, lambda _groups: dict(mesh.lags), lambda: NOW, lambda: present
    )
    status = reader.read()
    (feed,) = status.feeds
    assert (feed.health, feed.state, feed.reason, feed.fix) == (DOWN, "stopped", "slot is gone", "drop it")
    assert [entry.name for entry in status.incidents] == ["police.main"]
    assert not status.is_well
    text = shown(render(status))
    for expected in ("source police.main", "stopped", "slot is gone", "fix: drop it", "03-01 19:30:00"):
        assert expected in text
    found = {(entity.kind, entity.name): entity for entity in entities(status)}
    assert found["source", "police.main"].lines() == ["source police.main: stopped slot is gone", "  fix: drop it"]
    assert found["sink", "tax.main"].is_well


def test_groups_are_streams_on_feeds_and_one_lane_per_sink() -> None:
    assert groups(directory()) == {STREAMS_GROUP: [FEED], GROUP: [f"out.{GRANT}"]}


def shown(renderable: Any, width: int = 160) -> str:
    out = io.StringIO()
    console: Callable[..., None] = Console(file=out, width=width, color_system=None).print
    console(renderable)
    return out.getvalue()
