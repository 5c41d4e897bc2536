"""A lane that is held, paced or patient: what waits is in order and in nobody's memory, and others do not notice."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ops.kinds.sinks import SINKS
from schemas.agreement.delivery_policy import SHANGHAI
from schemas.agreement.grant import Status
from schemas.agreement.pause import Pause, PausedKind, pause_key
from schemas.agreement.subscriber import SinkConfig
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from sinks.lane.standstill import MemoryStandstills
from tests.stage.delivering import Desk, OutFeed, decimal, delivering, directory_of
from tests.stage.feeds import create
from tests.stage.receivers import local
from tests.stage.until import until
from tests.stage.webhooks import SECRET, Endpoint, append, person

PAUSE = Pause(by="officer", since=datetime(2026, 11, 30, tzinfo=UTC), reason="maintenance")


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.close()


def hold(desk: Desk, kind: PausedKind, name: str) -> None:
    desk.directory = replace(desk.directory, pauses={pause_key(kind, name): PAUSE})


def release(desk: Desk) -> None:
    desk.directory = replace(desk.directory, pauses={})


def changes(feed: OutFeed, count: int, name: str = "甲") -> list[Any]:
    return [feed.record("u", person(number, name)) for number in range(count)]


@contextmanager
def hooks(
    kafka: Kafka,
    feeds: Mapping[str, OutFeed],
    endpoints: Mapping[str, Endpoint],
    delivery: Mapping[str, Mapping[str, Any]],
    **more: Any,
) -> Iterator[Desk]:
    """A webhook lane for each subscriber."""
    sinks = {
        name: SinkConfig(
            name="main",
            kind="webhook",
            options={"concurrency": 1, **more.get("options", {})},
            delivery=delivery.get(name, {}),
        )
        for name in feeds
    }
    addresses = {(name, "main"): endpoints[name].url for name in feeds}
    addresses |= {(name, "main.signing_key"): SECRET for name in feeds}
    schemas = {number: schema for feed in feeds.values() for number, schema in feed.schemas.items()}
    directory = directory_of(sinks, *feeds.values())
    with delivering(
        kafka,
        more.get("directory") or directory,
        kinds=SINKS,
        schemas=schemas,
        addresses=addresses,
        standstills=more.get("standstills"),
    ) as desk:
        yield desk


def test_a_pause_in_the_middle_of_a_backlog_holds_it_and_resume_sends_each_change_once_in_order(
    kafka: Kafka, unique: str, endpoint: Endpoint
) -> None:
    feed = OutFeed(unique, "police.person")
    create(kafka, feed.topic, partitions=1)
    append(kafka, feed, changes(feed, 2_000))
    with hooks(kafka, {unique: feed}, {unique: endpoint}, {unique: {"changes_per_second": 200}}) as desk:
        until(lambda: len(endpoint.taken) >= 100, 30, "the first changes")
        hold(desk, "sink", f"{unique}.main")
        until(lambda: desk.watch.paused_grants.get(f"{unique}.police.person") == "person", 10, "it is told")
        settled = until(lambda: still(endpoint), 20, "nothing more comes")
        assert settled < 2_000
        assert desk.incidents.present() == {}, "a pause is no incident"
    directory = desk.directory
    with hooks(kafka, {unique: feed}, {unique: endpoint}, {}, directory=directory) as desk:
        append(kafka, feed, changes(feed, 5, "乙"))
        until(lambda: desk.watch.paused_grants.get(f"{unique}.police.person") == "person", 10, "also after a restart")
        assert len(endpoint.taken) == settled, "a restart sends nothing of what is paused"
        release(desk)
        until(lambda: len(endpoint.taken) >= 2_005, 60, "all of it")
    assert endpoint.ids() == [*range(2_000), *range(5)], "each once, in order"


def still(endpoint: Endpoint) -> int:
    """How many came, once no more do for a second."""
    before = len(endpoint.came)
    threading.Event().wait(1.0)
    return before if len(endpoint.came) == before else 0


def test_one_grant_of_a_sink_is_paused_and_the_other_flows(kafka: Kafka, postgres: Any, unique: str) -> None:
    one, other = OutFeed(unique, "police.person"), OutFeed(unique, "police.house")
    for feed in (one, other):
        create(kafka, feed.topic, partitions=2)
    dsn = postgres.create_database("held")
    directory = directory_of({unique: SinkConfig(name="main", kind="postgres")}, one, other)
    with (
        closing(Log(kafka, client_id="test")) as log,
        delivering(kafka, directory, kinds=SINKS, schemas=one.schemas, addresses={(unique, "main"): dsn}) as desk,
    ):
        for feed in (one, other):
            feed.append(log, *changes(feed, 50))
        log.flush(30)
        until(
            lambda: rows(dsn, "police_person") == rows(dsn, "police_house") == dict.fromkeys(range(50), "甲"),
            60,
            "both",
        )
        hold(desk, "grant", f"{unique}.police.person")
        until(lambda: desk.watch.paused_grants.get(f"{unique}.police.person") == "person", 10, "paused")
        for feed in (one, other):
            feed.append(log, *changes(feed, 50, "乙"))
        log.flush(30)
        until(lambda: rows(dsn, "police_house") == dict.fromkeys(range(50), "乙"), 30, "the other grant flows")
        assert rows(dsn, "police_person") == dict.fromkeys(range(50), "甲")
        release(desk)
        until(lambda: rows(dsn, "police_person") == dict.fromkeys(range(50), "乙"), 30, "it goes on")
    assert desk.letters == []


def rows(dsn: str, table: str) -> dict[int, str]:
    try:
        with psycopg.connect(dsn) as connection:
            return dict(connection.execute(f"SELECT id, name FROM {table}".encode()).fetchall())
    except psycopg.errors.UndefinedTable:
        return {}


def test_a_drop_that_grows_is_not_written_while_paused_and_has_each_change_once_after(
    kafka: Kafka, unique: str, tmp_path: Path
) -> None:
    feed, receiver = OutFeed(unique, "police.person"), local(tmp_path)
    create(kafka, feed.topic, partitions=1)
    append(kafka, feed, changes(feed, 30))
    sink = SinkConfig(name="main", kind="files", options={"every_seconds": 2})
    addresses = {(unique, "main"): str(tmp_path)}
    with delivering(
        kafka, directory_of({unique: sink}, feed), kinds=SINKS, schemas=feed.schemas, addresses=addresses
    ) as desk:
        until(lambda: len(receiver.lines()) == 30, 30, "the first drop")
        append(kafka, feed, changes(feed, 30, "乙"))
        hold(desk, "sink", f"{unique}.main")
        until(lambda: desk.watch.paused_grants.get(f"{unique}.police.person") == "person", 10, "paused")
        threading.Event().wait(3.0)
        count = len(receiver.lines())
        assert count in {30, 60}, "a drop is whole or not there"
        append(kafka, feed, changes(feed, 10, "丙"))
        threading.Event().wait(3.0)
        assert len(receiver.lines()) == count
        release(desk)
        until(lambda: len(receiver.lines()) == 70, 30, "the rest")
    tokens = [line["_mesh_token"] for line in receiver.lines()]
    assert len(set(tokens)) == len(tokens) == 70


def test_a_paused_sink_is_not_called_though_its_target_is_away_and_nothing_alarms(
    kafka: Kafka, unique: str, endpoint: Endpoint
) -> None:
    feed = OutFeed(unique, "police.person")
    create(kafka, feed.topic, partitions=1)
    append(kafka, feed, changes(feed, 3))
    endpoint.answer = lambda _body: 503
    with hooks(kafka, {unique: feed}, {unique: endpoint}, {}) as desk:
        until(lambda: desk.watch.parked_lanes.get(unique), 60, "parked, for its receiver is unwell")
        hold(desk, "sink", f"{unique}.main")
        until(lambda: not desk.watch.parked_lanes.get(unique), 30, "paused, it is no alarm any more")
        until(lambda: desk.incidents.present() == {}, 10, "nor an incident")
        came = until(lambda: still(endpoint) or None, 20, "nobody calls")
        assert len(endpoint.came) == came
        ended = replace(feed.grant, grant=replace(feed.grant.grant, status=Status.REVOKED))
        endpoint.answer = lambda _body: 200
        desk.directory = replace(desk.directory, grants={f"{unique}.police.person": ended})
        until(lambda: any(body.get("reason") == "GRANT_ENDED" for body in endpoint.taken), 30, "an end does not wait")
    assert [body["op"] for body in endpoint.taken] == ["t"]


def test_quiet_hours_hold_what_comes_and_the_end_of_them_lets_it_go_in_order(
    kafka: Kafka, unique: str, endpoint: Endpoint
) -> None:
    feed = OutFeed(unique, "police.person")
    create(kafka, feed.topic, partitions=1)
    append(kafka, feed, changes(feed, 20))
    here = datetime.now(SHANGHAI)
    around = f"{here - timedelta(hours=2):%H:%M}-{here + timedelta(hours=2):%H:%M}"
    before = f"{here - timedelta(hours=4):%H:%M}-{here - timedelta(hours=2):%H:%M}"
    with hooks(kafka, {unique: feed}, {unique: endpoint}, {unique: {"quiet": around}}) as desk:
        grant = f"{unique}.police.person"
        until(lambda: desk.watch.paused_grants.get(grant) == "quiet hours", 10, "it is quiet")
        append(kafka, feed, changes(feed, 20, "乙"))
        assert still(endpoint) == 0
        assert endpoint.came == []
        one = {"concurrency": 1}
        sinks = {unique: SinkConfig(name="main", kind="webhook", options=one, delivery={"quiet": before})}
        desk.directory = directory_of(sinks, feed)
        until(lambda: len(endpoint.taken) == 40, 30, "the hours are over")
    assert endpoint.ids() == [*range(20), *range(20)]


def test_a_pace_is_kept_and_the_others_are_as_fast_as_before(kafka: Kafka, unique: str) -> None:
    slow, quick = OutFeed(f"{unique}a", "police.person"), OutFeed(f"{unique}b", "police.person")
    ends = {slow.subscriber: Endpoint(), quick.subscriber: Endpoint()}
    for feed in (slow, quick):
        create(kafka, feed.topic, partitions=1)
    try:
        policy = {slow.subscriber: {"changes_per_second": 25}}
        with hooks(kafka, {feed.subscriber: feed for feed in (slow, quick)}, ends, policy) as desk:
            append(kafka, slow, changes(slow, 300))
            until(lambda: len(ends[slow.subscriber].came) > 5, 30, "the slow one has begun")
            with closing(Log(kafka, client_id="test", linger_ms=0)) as log:
                for _ in range(50):
                    quick.append(log, quick.record("u", person(1)))
                    log.flush(30)
            until(lambda: len(ends[quick.subscriber].taken) == 50, 30, "the quick one has all of its own")
            assert len(ends[slow.subscriber].taken) < 300, "while the slow one still goes at its pace"
            until(lambda: len(ends[slow.subscriber].taken) == 300, 60, "which brings all in the end")
            came = [at for at, _ in ends[slow.subscriber].came]
            fastest = max(sum(1 for at in came if begin <= at < begin + 2.0) for begin in came)
            assert fastest <= 25 + 2 * 25 + 2, f"{fastest} in two seconds"
            latencies = sorted(desk.watch.latencies[f"{quick.subscriber}.police.person"])
            assert latencies[int(len(latencies) * 0.99)] < 2.0
        assert ends[slow.subscriber].ids() == list(range(300))
    finally:
        for end in ends.values():
            end.close()


def test_a_target_that_is_unwell_for_too_long_stops_and_is_resumed_where_it_was(
    kafka: Kafka, unique: str, endpoint: Endpoint
) -> None:
    feed = OutFeed(unique, "police.person")
    create(kafka, feed.topic, partitions=1)
    append(kafka, feed, changes(feed, 10))
    endpoint.answer = lambda _body: 500
    standstills = MemoryStandstills()
    policy = {unique: {"retry_for_seconds": 2, "retry_wait_seconds": 0.2}}
    options = {"schedule_seconds": [0.2, 0.2]}
    with hooks(kafka, {unique: feed}, {unique: endpoint}, policy, standstills=standstills, options=options) as desk:
        told = until(lambda: desk.incidents.present().get(f"sink {unique}.main"), 30, "an incident")
        until(lambda: standstills.of(f"{unique}.main"), 30, "it stands still")
        told = desk.incidents.present()[f"sink {unique}.main"]
        assert told.state == "stopped"
        assert f"`mesh subscription resume {unique}.main`" in told.fix
        endpoint.answer = lambda _body: 200
        came = until(lambda: still(endpoint) or None, 20, "nobody calls")
        assert len(endpoint.came) == came
        standstills.forget(f"{unique}.main")  # what resume does
        until(lambda: endpoint.ids() == list(range(10)), 30, "all of it, and no dead letter")
    assert desk.letters == []


def test_a_replay_beside_live_writes_never_puts_an_older_row_over_a_newer_one(
    kafka: Kafka, postgres: Any, unique: str
) -> None:
    feed = OutFeed(unique, "police.person")
    create(kafka, feed.topic, partitions=2)
    dsn = postgres.create_database("beside")
    stale: list[tuple[int, str]] = []
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
        past = [
            feed.record("u", {"id": number % 40, "name": f"n{number:05}", "amount": decimal("1.00")})
            for number in range(800)
        ]
        feed.append(log, *past)
        log.flush(30)
        until(lambda: len(rows(dsn, "police_person")) == 40, 30, "the past")
        newest = {number % 40: f"n{number:05}" for number in range(800)}
        for round_ in range(
            5
        ):  # the past comes again on the topic, as a replay of keys and letters appends it, between live changes
            feed.append(log, *past[round_ * 100 : round_ * 100 + 200])
            for number in range(800 + round_ * 40, 840 + round_ * 40):
                newest[number % 40] = f"n{number:05}"
                feed.append(
                    log, feed.record("u", {"id": number % 40, "name": newest[number % 40], "amount": decimal("1.00")})
                )
            log.flush(30)
            stale += [(key, name) for key, name in rows(dsn, "police_person").items() if name < f"n{760 + key:05}"]
        until(lambda: rows(dsn, "police_person") == newest, 30, "the newest rows")
    assert stale == [], "at no moment was an older row over a newer one"
    assert desk.letters == []
