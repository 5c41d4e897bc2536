"""A gap in a feed: what a person is told to do, and which of his requests are the word to go on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ops.redelivery.gaps import Gaps
from schemas.agreement.agency import Agency, SourceConfig
from schemas.agreement.directory import Directory
from schemas.feed import FLOW_INBOX
from schemas.incident import MemoryIncidents
from streams.flows import FLOWS
from tests.stage.capturing import Schemas
from tests.stage.rehearsal import city_contracts

NOON = datetime(2016, 10, 1, 12, tzinfo=UTC)
MADE = "base.organisation"
SOURCES = ("aic.main", "civil.main")


def directory() -> Directory:
    contracts = city_contracts()
    feeds = {feed: Schemas().entry(contracts[feed]) for feed in ("aic.enterprise", "civil.social_organisation", MADE)}
    agencies = {
        code: Agency(agency=code, name=code, sources=(SourceConfig(name="main", kind=kind),))
        for code, kind in (("aic", "postgres"), ("civil", "postgres"), ("base", "flow"))
    }
    return Directory(agencies=agencies, feeds=feeds)


class Desk:
    def __init__(self) -> None:
        self.directory = directory()
        self.incidents = MemoryIncidents()
        self.left_at: datetime | None = None
        self.gaps = self.process()

    def process(self) -> Gaps:
        """As it is after a start."""
        return Gaps(
            "mesh.streams",
            lambda: self.directory,
            self.incidents,
            flows=lambda: FLOWS,
            told=self.incidents.present,
            written=lambda *_: self.left_at,
        )

    def ask(self, name: str, at: datetime) -> None:
        resyncs = {**self.directory.resyncs, name: f"{at.isoformat()} {len(self.directory.resyncs)}"}
        self.directory = replace(self.directory, resyncs=resyncs)

    def is_accepted(self, topic: str = MADE) -> bool:
        return self.gaps(topic, 0, 10, 20)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_derived_feed_names_the_sources_it_is_made_from_and_all_of_them_must_be_copied(desk: Desk) -> None:
    assert not desk.is_accepted()
    (incident,) = desk.incidents.present().values()
    for source in SOURCES:
        assert f"`mesh resync {source}`" in incident.fix
    assert "base.main" not in incident.fix
    now = datetime.now(UTC)
    desk.ask(SOURCES[0], now)
    assert not desk.is_accepted()
    desk.ask(SOURCES[1], now)
    assert desk.is_accepted()
    assert not desk.incidents.present()


def test_a_gap_in_the_flows_inbox_names_every_source_that_flows_read(desk: Desk) -> None:
    assert not desk.is_accepted(FLOW_INBOX)
    (incident,) = desk.incidents.present().values()
    assert all(f"`mesh resync {source}`" in incident.fix for source in SOURCES)


def test_a_request_made_while_the_process_was_down_counts_when_it_is_back(desk: Desk) -> None:
    feed = "aic.enterprise"
    assert not desk.is_accepted(feed)
    desk.ask("aic.main", datetime.now(UTC) + timedelta(seconds=1))
    desk.gaps = desk.process()
    assert desk.is_accepted(feed)
    assert not desk.incidents.present()


def test_a_request_made_before_the_gap_was_seen_counts_only_behind_what_is_left(desk: Desk) -> None:
    desk.left_at = NOON
    desk.ask("aic.main", NOON - timedelta(seconds=1))
    assert not desk.is_accepted("aic.enterprise")  # its copy may have been in the gap
    desk.gaps = desk.process()
    desk.incidents.end("feed", "aic.enterprise")
    desk.ask("aic.main", NOON + timedelta(seconds=1))
    assert desk.is_accepted("aic.enterprise")


def test_an_old_request_is_no_word_for_a_new_gap(desk: Desk) -> None:
    desk.ask("aic.main", NOON)
    assert not desk.is_accepted("aic.enterprise")
    desk.gaps = desk.process()
    assert not desk.is_accepted("aic.enterprise")
