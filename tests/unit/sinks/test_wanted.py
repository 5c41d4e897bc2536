"""Which lanes there should be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from schemas.agreement.ending import Ending
from schemas.agreement.grant import AtEnd, Status
from schemas.agreement.subscriber import SinkConfig
from sinks.wanted import past_endings, wanted_lanes
from tests.stage.delivering import OutFeed, directory_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SINK = SinkConfig(name="main", kind="postgres")


def test_only_active_grants_of_known_subscribers_are_delivered() -> None:
    feeds = [OutFeed("tax", "police.person"), OutFeed("tax", "police.car"), OutFeed("nobody", "police.person")]
    directory = directory_of({"tax": SINK}, *feeds)
    (key, (sink, topics)), *others = wanted_lanes(directory, NOW, {}).items()
    assert (key, sink, others) == (("tax", "main"), SINK, [])
    assert topics == {"out.tax.police.person": "tax.police.person", "out.tax.police.car": "tax.police.car"}


def test_a_grant_ends_by_status_by_time_and_by_its_sink() -> None:
    feed = OutFeed("tax", "police.person")
    for change in (
        {"status": Status.REVOKED},
        {"valid_to": NOW},
        {"valid_from": NOW + timedelta(seconds=1)},
        {"sink": "other"},
    ):
        directory = directory_of({"tax": SINK}, feed)
        entry = directory.grants["tax.police.person"]
        changed = replace(entry, grant=replace(entry.grant, **change))
        assert wanted_lanes(replace(directory, grants={"tax.police.person": changed}), NOW, {}) == {}, change


def test_confirmed_ends_are_looked_at_again_unless_their_rows_are_kept_or_delivered_anew() -> None:
    feed = OutFeed("tax", "police.person")
    directory = directory_of({"tax": SINK}, feed)
    entry = directory.grants["tax.police.person"]
    confirmed = replace(entry.ending("REVOKED"), acknowledged_at=NOW)

    def found(ending: Ending, **grant: object) -> list[Ending]:
        now = replace(entry, edition=2, grant=replace(entry.grant, **grant))
        changed = replace(directory, grants={"tax.police.person": now}, endings={ending.topic: ending})
        return past_endings(changed, NOW).get(("tax", "main"), [])

    assert found(confirmed, status=Status.REVOKED) == [confirmed]
    assert found(confirmed, sink="other") == [confirmed]
    assert found(confirmed) == [], "a later edition takes the table over"
    assert found(replace(confirmed, at_end=AtEnd.KEEP), status=Status.REVOKED) == []
    assert found(replace(confirmed, acknowledged_at=None), status=Status.REVOKED) == [], "this one is due"
