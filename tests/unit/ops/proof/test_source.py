"""Whose table a feed is compared with: a kind of source says whether it has one, and what to do where it has none."""

from __future__ import annotations

import pytest

from ops.kinds.sources import SOURCES
from ops.proof.source.source import fenced
from ops.proof.source.spill import Spill
from schemas.agreement.agency import Agency, SourceConfig
from schemas.agreement.directory import Directory, FeedEntry
from schemas.errors import Misconfigured
from tests.stage.capturing import contract


def city(kind: str) -> Directory:
    agency = Agency(agency="tax", name="税务局", sources=(SourceConfig(name="main", kind=kind, options={}),))
    entry = FeedEntry(
        contract=contract("tax.warning", {"id": "long"}), version=1, key_schema_id=1, value_schema_id=2, partitions=1
    )
    return Directory(agencies={"tax": agency}, feeds={"tax.warning": entry})


@pytest.mark.parametrize("kind", [kind for kind, value in SOURCES.items() if value.fencing is None])
def test_a_feed_without_a_table_here_is_refused_with_what_to_do_instead(kind: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        fenced(city(kind), "tax.warning")
    assert "no table here" in refused.value.problem
    assert "`mesh " in refused.value.fix
    assert "FEED" not in refused.value.fix


def test_a_database_is_fenced_and_what_is_no_feed_gets_the_nearest_names() -> None:
    entry, source, _ = fenced(city("postgres"), "tax.warning")
    assert (entry.feed, source.name) == ("tax.warning", "main")
    with pytest.raises(Misconfigured) as refused:
        fenced(city("postgres"), "tax.warnin")
    assert "tax.warning" in refused.value.fix


def test_what_is_spilled_comes_back_part_by_part_in_its_order() -> None:
    spill = Spill(">16sQ")
    for number in range(30_000):
        spill.add(number % 2, spill.pack(bytes([number % 2]) * 16, number))
    assert [number for _, number in spill.part(0)] == list(range(0, 30_000, 2))
    spill.add(0, spill.pack(bytes(16), 1))
    assert [number for _, number in spill.part(0)][-2:] == [29_998, 1]
    assert list(spill.part(7)) == []
    spill.close()
