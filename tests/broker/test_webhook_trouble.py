"""Webhooks on an ordinary bad day: slow, revoked in the middle of a backlog, one change never taken, gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.agreement.directory import Directory
from schemas.agreement.grant import Status
from schemas.log.kafka import Kafka
from tests.stage.delivering import Desk, OutFeed
from tests.stage.until import until
from tests.stage.webhooks import Endpoint, append, hooked, person


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    yield endpoint
    endpoint.close()


@pytest.fixture
def feed(unique: str) -> OutFeed:
    return OutFeed(unique, "police.person")


def slowly(seconds: float) -> Any:
    """An answer that takes its time."""

    def answer(_body: Any) -> int:
        time.sleep(seconds)  # the receiver's own slowness, not a wait of the test
        return 200

    return answer


def with_grant(directory: Directory, feed: OutFeed, **changes: Any) -> Directory:
    entry = replace(feed.grant, grant=replace(feed.grant.grant, **changes))
    return replace(directory, grants={entry.grant.grant_id: entry})


def test_a_slow_receiver_gets_each_change_once_and_stays_in_its_group(
    kafka: Kafka, feed: OutFeed, endpoint: Endpoint
) -> None:
    endpoint.answer = slowly(0.5)
    records = [feed.record("c", person(number)) for number in range(400)]
    settings = {"max.poll.interval.ms": "10000"}
    with hooked(kafka, feed, records, url=endpoint.url, concurrency=8, reader_settings=settings) as desk:
        until(lambda: desk.watch.counts.get(feed.grant.grant.grant_id) == 400, 90, "all are delivered")
    ids = endpoint.ids()
    assert len(ids) == 400, "nothing is sent twice for slowness"
    assert sorted(ids) == list(range(400))


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_grant_that_ends_in_the_middle_of_a_backlog_stops_within_seconds(
    kafka: Kafka, feed: OutFeed, endpoint: Endpoint, how: str
) -> None:
    endpoint.answer = slowly(0.5)
    records = [feed.record("c", person(number)) for number in range(800)]
    with hooked(kafka, feed, records, url=endpoint.url, concurrency=8) as desk:
        until(lambda: len(endpoint.came) >= 16, 30, "it delivers")
        if how == "revoked":
            ended_at = time.monotonic()
            desk.directory = with_grant(desk.directory, feed, status=Status.REVOKED)
        else:
            ended_at = time.monotonic() + 2
            desk.directory = with_grant(desk.directory, feed, valid_to=datetime.now(UTC) + timedelta(seconds=2))
        until(lambda: time.monotonic() > ended_at + 10, 20, "ten seconds pass")
        late = [came - ended_at for came, _ in endpoint.came if came > ended_at + 5]
        assert late == []
        assert len(endpoint.came) < 200


def test_a_truncate_keeps_its_place(kafka: Kafka, feed: OutFeed, endpoint: Endpoint) -> None:
    before = [feed.record("c", person(number)) for number in range(30)]
    after = [feed.record("c", person(number, "乙")) for number in range(100, 130)]
    with hooked(kafka, feed, [*before, feed.record("t", person(0)), *after], url=endpoint.url):
        until(lambda: len(endpoint.taken) == 61, 30, "all are delivered")
    ops = [body["op"] for body in endpoint.taken]
    assert ops.index("t") == 30
    assert {body["key"]["id"] for body in endpoint.taken[31:]} == set(range(100, 130))


@pytest.mark.parametrize("status", [500, None, 403])
def test_one_change_that_is_never_taken_holds_up_its_key_alone(
    kafka: Kafka, feed: OutFeed, endpoint: Endpoint, status: int | None
) -> None:
    endpoint.answer = lambda body: status if body["key"]["id"] == 3 and body["after"]["name"] == "毒" else 200
    records = [feed.record("c", person(3, "毒"))]
    records += [feed.record("c", person(number)) for number in range(10, 40)]
    records += [feed.record("u", person(3, "后"))]
    with hooked(kafka, feed, records, url=endpoint.url, concurrency=2, schedule_seconds=[0.5, 1.0]) as desk:
        until(lambda: len(endpoint.taken) == 30, 10, "the others flow")
        assert 3 not in endpoint.ids(), "its key waits"
        until(lambda: len(desk.letters) == 1, 30, "its tries are used up")
        until(lambda: 3 in endpoint.ids(), 10, "its key goes on")
        append(kafka, feed, [feed.record("c", person(50))])
        until(lambda: 50 in endpoint.ids(), 10, "all goes on")
        until(lambda: desk.incidents.present() == {}, 10, "nothing waits any more")
    (letter,) = desk.letters
    assert letter.reason == "tries_used_up"
    assert "毒" not in letter.detail
    tries = [body for _, body in endpoint.came if body["key"]["id"] == 3 and body["after"]["name"] == "毒"]
    assert len(tries) in {3, 4}, "the first counts only if others were taken before its answer"


def test_a_change_that_is_refused_before_any_was_taken_is_a_dead_letter_and_parks_nobody(
    kafka: Kafka, feed: OutFeed, endpoint: Endpoint
) -> None:
    endpoint.answer = lambda body: 422 if body["key"]["id"] == 0 else 200
    records = [feed.record("c", person(number)) for number in range(5)]
    with hooked(kafka, feed, records, url=endpoint.url, concurrency=1) as desk:
        until(lambda: desk.watch.counts.get(feed.grant.grant.grant_id) == 4, 20, "the others are delivered")
        assert [letter.reason for letter in desk.letters] == ["http_422"]
        assert desk.watch.parked_lanes.get(feed.subscriber) is not True
    assert len(endpoint.came) == 5, "and was sent once"


def test_an_outage_makes_no_dead_letters_and_ends_by_itself(kafka: Kafka, feed: OutFeed, endpoint: Endpoint) -> None:
    outage = threading.Event()
    outage.set()
    endpoint.answer = lambda _body: 503 if outage.is_set() else 200
    records = [feed.record("c", person(number)) for number in range(50)]
    with hooked(kafka, feed, records, url=endpoint.url, partitions=3, schedule_seconds=[0.05, 0.1]) as desk:
        until(lambda: desk.watch.parked_lanes.get(feed.subscriber) is True, 30, "parked")
        (incident,) = desk.incidents.present().values()
        assert "503" in incident.reason
        seen = len(endpoint.came)
        until(lambda: len(endpoint.came) > seen + 20, 30, "it is asked again and again")
        outage.clear()
        until(lambda: desk.watch.counts.get(feed.grant.grant.grant_id) == 50, 30, "all are delivered")
        assert desk.watch.parked_lanes[feed.subscriber] is False
        assert desk.incidents.present() == {}
    assert desk.letters == []
    assert sorted(endpoint.ids()) == list(range(50))


def test_a_batch_with_one_bad_change_condemns_nobody_else(kafka: Kafka, feed: OutFeed, endpoint: Endpoint) -> None:
    endpoint.answer = lambda body: 500 if any(change["key"]["id"] == 7 for change in body) else 200
    records = [feed.record("c", person(number)) for number in range(40)]
    with hooked(kafka, feed, records, url=endpoint.url, batch_max=10, schedule_seconds=[0.1, 0.1]) as desk:
        until(lambda: len(desk.letters) == 1, 30, "one dead letter")
        until(lambda: desk.watch.counts.get(feed.grant.grant.grant_id) == 39, 30, "the rest is delivered")
    taken = [change["key"]["id"] for body in endpoint.taken for change in body]
    assert sorted(taken) == [number for number in range(40) if number != 7]


def test_gone_is_not_asked_again(kafka: Kafka, feed: OutFeed, endpoint: Endpoint) -> None:
    endpoint.answer = lambda _body: 410
    records = [feed.record("c", person(number)) for number in range(20)]
    with hooked(kafka, feed, records, url=endpoint.url, concurrency=1) as desk:
        until(lambda: stopped(desk), 30, "it stops")
        count = len(endpoint.came)
        began = time.monotonic()
        until(lambda: time.monotonic() > began + 2, 10, "a while passes, many times what a parked lane waits")
        assert len(endpoint.came) == count == 1
        (incident,) = desk.incidents.present().values()
        assert "mesh onboard" in incident.fix
        endpoint.answer = lambda _body: 200
        active = desk.directory
        desk.directory = with_grant(active, feed, status=Status.SUSPENDED)
        began = time.monotonic()
        until(lambda: time.monotonic() > began + 2, 10, "the lane has ended")
        desk.directory = active
        until(lambda: len(endpoint.taken) == 20, 30, "a person resumed it at the same address")
        assert desk.incidents.present() == {}


def stopped(desk: Desk) -> bool:
    return any(incident.state == "stopped" for incident in desk.incidents.present().values())
