"""What a subscriber asks of its delivery: how fast, at which hours, for how long it is tried; and what a person holds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.agreement.delivery_policy import DeliveryPolicy
from schemas.agreement.directory import Directory
from schemas.agreement.pause import Pause, pause_key
from schemas.agreement.subscriber import SinkConfig, Subscriber
from schemas.errors import Misconfigured, Transient
from sinks.lane.pace import UNLIMITED, Pace
from sinks.lane.patience import Patience
from sinks.sink import Gone
from sinks.wanted import HOURS, PERSON, held_topics
from tests.stage.delivering import OutFeed, directory_of


def policy(**written: Any) -> DeliveryPolicy:
    return DeliveryPolicy.of(written, "sink a.main, delivery")


def shanghai(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-30T{text}+08:00").astimezone(UTC)


def test_without_a_rate_everything_may_go() -> None:
    pace = Pace(None)
    pace.spend(1_000_000)
    assert pace.allowed(1.0) == UNLIMITED
    assert pace.wait_seconds(1.0) == 0.0


def test_a_rate_lets_a_second_s_worth_go_at_once_and_no_more_in_the_long_run() -> None:
    pace, now, sent = Pace(50), 100.0, 0
    assert pace.allowed(now) == 50
    while now < 160.0:
        allowed = pace.allowed(now)
        pace.spend(allowed)
        sent += allowed
        now += max(0.001, pace.wait_seconds(now))
    assert 3_000 <= sent <= 3_051


def test_a_rate_below_one_a_second_lets_one_go_at_a_time() -> None:
    pace = Pace(0.5)
    assert pace.allowed(10.0) == 1
    pace.spend(1)
    assert pace.allowed(10.0) == 0
    assert pace.wait_seconds(10.0) == pytest.approx(2.0)
    assert pace.allowed(12.0) == 1


def test_a_clock_that_goes_back_neither_stops_a_pace_nor_lets_more_go() -> None:
    pace = Pace(10)
    pace.spend(pace.allowed(1_000.0))
    assert pace.allowed(0.0) == 0
    assert pace.allowed(0.5) == 5


@pytest.mark.parametrize(
    ("hours", "quiet", "loud"),
    [
        ("22:00-06:00", ("22:00", "23:59", "00:00", "05:59"), ("21:59", "06:00", "12:00")),
        ("12:00-13:30", ("12:00", "13:29"), ("11:59", "13:30", "00:00")),
    ],
)
def test_quiet_hours_are_those_of_shanghai_also_over_midnight(
    hours: str, quiet: tuple[str, ...], loud: tuple[str, ...]
) -> None:
    found = policy(quiet=hours).quiet
    assert found is not None
    assert all(found.covers(shanghai(at)) for at in quiet)
    assert not any(found.covers(shanghai(at)) for at in loud)
    assert not found.covers(found.until(shanghai(quiet[0])))


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"quiet": "22-6"}, "22:00-06:00"),
        ({"quiet": "08:00-08:00"}, "22:00-06:00"),
        ({"changes_per_second": 0}, "0.1 or more"),
        ({"changes_per_second": "fast"}, "a number"),
        ({"retry_for_seconds": "a week"}, "a time such as"),
        ({"speed": 3}, "use one of changes_per_second"),
        ({"retry_dead_letters": {}}, "reasons"),
        ({"retry_dead_letters": {"reasons": []}}, "one or more"),
    ],
)
def test_a_limit_that_cannot_be_is_refused_with_what_may_stand_there(written: dict[str, Any], words: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        policy(**written)
    assert words in str(refused.value)
    assert "sink a.main" in str(refused.value)


def test_every_limit_is_put_into_words() -> None:
    letters = {"reasons": ["sql_23514"], "every_seconds": "10min", "for_seconds": "7d"}
    told = " | ".join(
        policy(
            changes_per_second=50,
            quiet="22:00-06:00",
            retry_wait_seconds="5min",
            retry_for_seconds="3d",
            retry_dead_letters=letters,
        ).explained()
    )
    for words in (
        "50 changes a second",
        "22:00-06:00 of Asia/Shanghai",
        "every 5 min",
        "for 3 d",
        "by sql_23514",
        "7 d old",
    ):
        assert words in told
    assert list(policy().explained()) == []


def test_a_target_that_is_unwell_for_longer_than_it_may_be_waits_for_a_person() -> None:
    patience = Patience("a.main", 60.0)
    error = Transient("a's database does not answer")
    patience.failed(error, 0.0)
    patience.failed(error, 59.0)
    patience.succeeded()
    patience.failed(error, 61.0)
    patience.failed(error, 120.0)
    with pytest.raises(Gone) as gone:
        patience.failed(error, 121.0)
    assert "does not answer" in gone.value.problem
    assert "`mesh subscription resume a.main`" in gone.value.fix
    patience.failed(error, 500.0)  # resumed, it has as long again
    Patience("a.main", None).failed(error, 1e9)


def held(directory: Directory, feed: OutFeed, now: str, **written: Any) -> dict[str, str]:
    return held_topics(directory, {feed.topic: feed.grant.grant.grant_id}, policy(**written), shanghai(now))


def test_a_pause_holds_a_grant_or_its_whole_sink_and_nobody_else() -> None:
    feed, other = OutFeed("a", "police.person"), OutFeed("a", "police.house")
    sinks = {"a": SinkConfig(name="main", kind="files")}
    pause = Pause(by="officer", since=shanghai("09:00"), reason="maintenance")
    for kind, name, is_other_held in (("grant", "a.police.person", False), ("sink", "a.main", True)):
        base = directory_of(sinks, feed, other)
        directory = Directory(
            subscribers=base.subscribers,
            grants=base.grants,
            pauses={pause_key(kind, name): pause},  # pyright: ignore[reportArgumentType]
        )
        assert held(directory, feed, "12:00") == {feed.topic: PERSON}
        assert held(directory, other, "12:00") == ({other.topic: PERSON} if is_other_held else {})


def test_what_a_person_holds_is_told_before_quiet_hours() -> None:
    feed = OutFeed("a", "police.person")
    base = directory_of({"a": SinkConfig(name="main", kind="files")}, feed)
    assert held(base, feed, "23:00", quiet="22:00-06:00") == {feed.topic: HOURS}
    assert held(base, feed, "07:00", quiet="22:00-06:00") == {}
    pauses = {pause_key("grant", "a.police.person"): Pause(by="officer", since=shanghai("09:00"))}
    directory = Directory(subscribers=base.subscribers, grants=base.grants, pauses=pauses)
    assert held(directory, feed, "23:00", quiet="22:00-06:00") == {feed.topic: PERSON}


def test_a_policy_and_a_pause_come_back_from_their_records_as_they_were() -> None:
    sink = SinkConfig(name="main", kind="webhook", delivery={"changes_per_second": 5})
    subscriber = Subscriber(subscriber="a", name="甲", sinks=(sink, SinkConfig(name="b", kind="files")))
    assert Subscriber.from_json(subscriber.to_json()) == subscriber
    assert "delivery" not in subscriber.to_json()["sinks"][1], "records of before stay as they are"
    pause = Pause(by="officer", since=shanghai("09:00"), reason="maintenance")
    assert Pause.from_json(pause.to_json()) == pause
