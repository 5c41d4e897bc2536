"""What a person means by the name of a subscription, why it is held, and when it may not simply go on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ops.subscription.hold import refuse_gap
from ops.subscription.named import named, subscriptions
from ops.watch.held import why_held
from schemas.agreement.directory import Directory
from schemas.agreement.pause import Pause, PausedKind, pause_key
from schemas.agreement.subscriber import SinkConfig
from schemas.errors import Misconfigured
from tests.stage.delivering import OutFeed, directory_of

NOW = datetime(2026, 11, 30, 15, 0, tzinfo=UTC)  # 23:00 in Shanghai
FEED = OutFeed("customs", "police.person")


def city(kind: PausedKind | None = None, name: str = "", **delivery: str) -> Directory:
    base = directory_of({"customs": SinkConfig(name="main", kind="webhook", delivery=delivery)}, FEED)
    pauses = {pause_key(kind, name): Pause(by="officer", since=NOW - timedelta(hours=1), reason="move")} if kind else {}
    return Directory(subscribers=base.subscribers, grants=base.grants, feeds=base.feeds, pauses=pauses)


def test_a_subscription_is_a_grant_or_a_sink_and_nearly_right_names_are_told() -> None:
    assert [(each.kind, each.name) for each in subscriptions(city())] == [
        ("sink", "customs.main"),
        ("grant", "customs.police.person"),
    ]
    assert named(city(), "customs.main").grants[0].grant.grant_id == "customs.police.person"
    with pytest.raises(Misconfigured, match=r"did you mean `customs\.main`"):
        named(city(), "customs.mian")


def test_another_mesh_that_reads_its_topics_itself_has_none() -> None:
    assert list(subscriptions(directory_of({"customs": SinkConfig(name="main", kind="mesh")}, FEED))) == []


def test_the_status_says_who_paused_since_when_in_shanghai_and_why() -> None:
    for kind, name in (("grant", "customs.police.person"), ("sink", "customs.main")):
        told = why_held(city(kind, name), FEED.grant.grant, NOW)  # pyright: ignore[reportArgumentType]
        assert told == "paused by officer since 2026-11-30 22:00:00: move"
    assert why_held(city(), FEED.grant.grant, NOW) == ""
    assert why_held(city(quiet="22:00-06:00"), FEED.grant.grant, NOW) == (
        "quiet hours 22:00-06:00: goes on at 2026-12-01 06:00"
    )
    assert why_held(city(quiet="nonsense"), FEED.grant.grant, NOW) == "", "its lane says what is wrong with it"


def test_after_a_week_a_pause_is_not_simply_over_for_removals_may_have_left_the_topic() -> None:
    directory = city("sink", "customs.main")
    found, pause = named(directory, "customs.main"), directory.pauses["sink customs.main"]
    refuse_gap(found, pause, NOW)
    refuse_gap(found, None, NOW)
    with pytest.raises(Misconfigured, match="longer than the 7 days") as refused:
        refuse_gap(found, pause, NOW + timedelta(days=7))
    assert "`mesh grant customs.police.person REVOKED`" in refused.value.fix
    assert "--accept-gap" in refused.value.fix
