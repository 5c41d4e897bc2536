from __future__ import annotations

import logging
from typing import Any

import pytest

from schemas.agreement.agency import Agency, SourceConfig
from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.agreement.grant import Grant, Mask, Status
from schemas.agreement.subscriber import SinkConfig, Subscriber
from schemas.contract import Contract
from schemas.feed import AGENCIES, CONTRACTS, GRANTS, SUBSCRIBERS
from schemas.log.control.follower import DirectoryFold

RECORD = {"type": "record", "name": "T", "gov": {"key": ["id"]}, "fields": [{"name": "id", "type": "int"}]}
FEED = FeedEntry(contract=Contract.parse(RECORD, "aic.t"), version=2, key_schema_id=1, value_schema_id=2, partitions=4)
AGENCY = Agency(agency="aic", name="工商局", sources=(SourceConfig(name="main", kind="postgres"),))
SUBSCRIBER = Subscriber(subscriber="tax", name="国税", sinks=(SinkConfig(name="main", kind="postgres"),))
GRANT = GrantEntry(
    grant=Grant(
        grant_id="tax.aic.t", subscriber="tax", feed="aic.t", columns=("id",), purpose="核验", mask={"id": Mask.HASH}
    ),
    key_schema_id=3,
    value_schema_id=4,
    version=2,
)


@pytest.fixture
def fold() -> DirectoryFold:
    fold = DirectoryFold()
    fold.apply(AGENCIES, "aic", AGENCY.to_json())
    fold.apply(CONTRACTS, "aic.t", FEED.to_json())
    fold.apply(SUBSCRIBERS, "tax", SUBSCRIBER.to_json())
    fold.apply(GRANTS, "tax.aic.t", GRANT.to_json())
    return fold


def test_what_was_published_is_what_is_read(fold: DirectoryFold) -> None:
    assert fold.directory() == Directory(
        agencies={"aic": AGENCY}, feeds={"aic.t": FEED}, subscribers={"tax": SUBSCRIBER}, grants={"tax.aic.t": GRANT}
    )


def test_the_last_record_of_a_key_counts_and_a_deleted_one_is_gone(fold: DirectoryFold) -> None:
    fold.apply(GRANTS, "tax.aic.t", GRANT.to_json() | {"status": "REVOKED"})
    assert fold.directory().grants["tax.aic.t"].grant.status is Status.REVOKED
    fold.apply(GRANTS, "tax.aic.t", None)
    assert fold.directory().grants == {}
    fold.apply(GRANTS, "tax.aic.t", None)  # compaction may leave a deletion without what it deleted


@pytest.mark.parametrize(
    "change",
    [{"status": "MAYBE"}, {"purpose": ""}, {"columns": []}, {"wire": {}}, {"from_a_later_version": 1}],
    ids=lambda change: next(iter(change)),
)
def test_a_grant_that_cannot_be_read_lets_nothing_flow(
    fold: DirectoryFold, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        fold.apply(GRANTS, "tax.aic.t", {**GRANT.to_json(), **change})
    directory = fold.directory()
    assert directory.grants == {}, "its wider predecessor must not stay in force (invariant 6)"
    assert directory.feeds == {"aic.t": FEED}, "the rest stands"
    assert "tax.aic.t cannot be read" in caplog.text


def test_a_directory_does_not_change_after_it_was_given(fold: DirectoryFold) -> None:
    before = fold.directory()
    fold.apply(GRANTS, "tax.aic.t", None)
    assert before.grants == {"tax.aic.t": GRANT}
