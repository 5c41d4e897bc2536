"""A name that is not there is answered with the one that was meant, never with every name that there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.known_names import did_you_mean, few
from ops.lint.check import check
from ops.offboarding.plan import Plan
from ops.onboarding.resync import target_of
from schemas.agreement.agency import Agency, SourceConfig
from schemas.agreement.directory import Directory, FeedEntry
from schemas.contract import Contract
from schemas.errors import Misconfigured
from tests.unit.ops.test_check import SUBSCRIBER, changed

RECORD = {"type": "record", "name": "T", "gov": {"key": ["id"]}, "fields": [{"name": "id", "type": "int"}]}


def feed(name: str) -> FeedEntry:
    contract = Contract.parse(RECORD, name)
    return FeedEntry(contract=contract, version=1, key_schema_id=1, value_schema_id=2, partitions=1)


CODES = ["aic", *(f"bureau{number}" for number in range(150))]
FEEDS = {name: feed(name) for name in ["aic.enterprise", *(f"{code}.permit" for code in CODES)]}
AGENCIES = {
    code: Agency(agency=code, name=code, sources=(SourceConfig(name="main", kind="postgres"),)) for code in CODES
}
CITY = Directory(agencies=AGENCIES, feeds=FEEDS)


def refused_feed(folder: Path, name: str) -> str:
    (folder / "subscriber.yaml").write_text(changed(SUBSCRIBER, "aic.enterprise", name))
    [problem] = check(folder, directory=CITY).errors
    assert "no such feed" in problem.message
    return problem.fix


def test_a_misspelt_feed_of_a_grant_is_answered_with_the_one_meant(tmp_path: Path) -> None:
    assert refused_feed(tmp_path, "aic.enterprize") == "did you mean `aic.enterprise`?"


def test_a_feed_like_no_other_is_answered_with_the_command_that_lists_them(tmp_path: Path) -> None:
    assert refused_feed(tmp_path, "zz.qqq") == "`mesh catalogue` lists them"


@pytest.mark.parametrize(
    ("name", "fix"),
    [("aic.enterprize", "did you mean `aic.enterprise`?"), ("zz.qqq", "`mesh status` lists the feeds")],
)
def test_what_cannot_be_copied_anew_is_not_answered_with_every_source(name: str, fix: str) -> None:
    with pytest.raises(Misconfigured) as raised:
        target_of(CITY, name)
    assert raised.value.fix == fix


def test_what_is_not_there_cannot_leave_and_a_few_that_can_are_named() -> None:
    with pytest.raises(Misconfigured) as raised:
        Plan.of(CITY, [("agency", "zz")])
    assert raised.value.fix.endswith(" and 139 more")
    with pytest.raises(Misconfigured, match=r"did you mean `aic\.enterprise`"):
        Plan.of(CITY, [("feed", "aic.enterprises")])


def test_few_names_are_all_named() -> None:
    assert few(["a", "b"]) == "a, b"
    assert few(map(str, range(14))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more"
    assert few([]) == ""


def test_several_that_are_close_are_named_closest_first() -> None:
    assert did_you_mean("mian", ["main", "mains", "other"]) == "did you mean `main` or `mains`?"
    assert did_you_mean("zz", ["main", "other"]) == "use one of main, other"
    assert did_you_mean("zz", []) == "there is none yet"
