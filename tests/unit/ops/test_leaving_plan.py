"""What leaves with a target: exactly what is named."""

from __future__ import annotations

import pytest

from ops.offboarding.plan import Plan
from schemas.agreement.agency import Agency, SourceConfig
from schemas.agreement.directory import Directory, FeedEntry
from schemas.contract import Contract
from schemas.errors import Misconfigured

RECORD = {"type": "record", "name": "T", "gov": {"key": ["id"]}, "fields": [{"name": "id", "type": "int"}]}
FEED = FeedEntry(contract=Contract.parse(RECORD, "aic.t"), version=1, key_schema_id=1, value_schema_id=2, partitions=1)
SOURCES = (SourceConfig(name="main", kind="postgres"), SourceConfig(name="other", kind="postgres"))
TOWN = Directory(agencies={"aic": Agency(agency="aic", name="工商局", sources=SOURCES)}, feeds={"aic.t": FEED})


def test_a_source_leaves_with_its_feeds_and_the_others_stay() -> None:
    plan = Plan.of(TOWN, [("source", "aic.main")])
    assert set(plan.feeds) == {"aic.t"}
    assert set(plan.slots) == {"aic.main"}
    assert plan.agencies["aic"] is not None
    assert [source.name for source in plan.agencies["aic"].sources] == ["other"]


@pytest.mark.parametrize("name", ["aic.x.main", "aic.xmain", "main", "fda.main"])
def test_a_name_that_only_ends_like_a_source_takes_nothing(name: str) -> None:
    with pytest.raises(Misconfigured):
        Plan.of(TOWN, [("source", name)])
