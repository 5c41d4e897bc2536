from __future__ import annotations

import pytest

from ops.show.catalogue import Catalogue, compile_catalogue
from schemas.agreement.agency import FLOW, Agency, SourceConfig
from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.agreement.grant import Grant, Status
from tests.stage.capturing import contract

NOW = 1_790_000_000.0


def city() -> Directory:
    governed = {"resource": "企业登记", "class": "CONDITIONAL", "open": "NOT_OPEN", "freshnessSloSeconds": 60}
    contracts = [
        contract("aic.enterprise", {"id": "long", "name": "string"}, **governed),
        contract("base.organisation", {"id": "long"}, **{**governed, "resource": "法人档案", "class": "UNCONDITIONAL"}),
    ]
    feeds = {
        agreed.feed: FeedEntry(contract=agreed, version=3, key_schema_id=1, value_schema_id=2, partitions=1)
        for agreed in contracts
    }
    agencies = {
        "aic": Agency(agency="aic", name="工商局", sources=(SourceConfig(name="main", kind="postgres"),)),
        "base": Agency(agency="base", name="共享平台", sources=(SourceConfig(name="main", kind=FLOW),)),
    }
    grants = {}
    for subscriber, status in (("tax_office", Status.ACTIVE), ("customs", Status.ACTIVE), ("bank", Status.REVOKED)):
        grant = Grant(
            grant_id=f"{subscriber}.aic.enterprise",
            subscriber=subscriber,
            feed="aic.enterprise",
            columns=("name",),
            purpose="p",
            status=status,
        )
        grants[grant.grant_id] = GrantEntry(grant=grant, key_schema_id=1, value_schema_id=2, version=3)
    return Directory(feeds=feeds, agencies=agencies, grants=grants)


def compiled(*words: str, sharing: str | None = None) -> Catalogue:
    newest = {"aic.enterprise": int(NOW * 1000) - 7_200_000}
    return compile_catalogue(city(), newest, words=words, sharing=sharing, clock=lambda: NOW)


def test_an_entry_says_whose_it_is_who_has_it_and_how_fresh_it_is() -> None:
    enterprise, organisation = compiled().entries
    assert (enterprise.owner, enterprise.origin, enterprise.sharing, enterprise.version) == (
        "工商局",
        "captured",
        "CONDITIONAL",
        3,
    )
    assert enterprise.subscribers == ["customs", "tax_office"], "an ended grant is no subscription"
    assert (enterprise.freshness_slo_seconds, enterprise.changed_seconds_ago) == (60, 7_200.0)
    assert (organisation.origin, organisation.changed_seconds_ago, organisation.subscribers) == ("derived", None, [])


@pytest.mark.parametrize(
    ("words", "sharing", "expected"),
    [
        (("企业",), None, ["aic.enterprise"]),
        (("BASE", "档案"), None, ["base.organisation"]),
        (("customs",), None, ["aic.enterprise"]),
        (("企业", "档案"), None, []),
        ((), "UNCONDITIONAL", ["base.organisation"]),
    ],
)
def test_words_and_class_narrow_it(words: tuple[str, ...], sharing: str | None, expected: list[str]) -> None:
    assert [entry.feed for entry in compiled(*words, sharing=sharing).entries] == expected


def test_it_prints_whole_names_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    compiled().render()
    said = capsys.readouterr().out
    assert "base.organisation" in said
    assert "customs, tax_office" in said
    assert "2 h" in said
    assert "2 feeds of 2 agencies" in said
