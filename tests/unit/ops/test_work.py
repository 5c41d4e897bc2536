"""Each of the fifteen key works that the brief names has an entry, whose template passes the check of a subscriber's folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from ops.city.city import GUANGZHOU
from ops.command.works import works
from ops.lint.check import check
from ops.lint.folder import load
from ops.onboarding.work import Work, find_work, load_works, subscriber_text, write_subscriber
from ops.show.catalogue import compile_catalogue
from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.errors import Misconfigured

WORKS = load_works(GUANGZHOU)
CITY = load(GUANGZHOU)
VALUES = {"region": "440106", "tax": "local_tax", "agency": "fda"}
NAMED = {
    "社会保障", "企业基础信息共享", "综合治税", "流动人员管理", "外籍人员管理", "限价房申购", "企业赴港澳商务报备", "土地出让金",
    "房地产预警预报", "工程建设领域", "中小客车总量调控", "商事登记改革", "行政审批", "居民家庭收入核对", "三公经费监管",
}  # fmt: skip


def directory() -> Directory:
    contracts = [contract for agency in CITY.agencies for contract in agency.contracts]
    feeds = {
        contract.feed: FeedEntry(contract=contract, version=1, key_schema_id=1, value_schema_id=2, partitions=1)
        for contract in contracts
    }
    return Directory(feeds=feeds, agencies={agency.agency.agency: agency.agency for agency in CITY.agencies})


def values(work: Work) -> dict[str, str]:
    return {name: VALUES[name] for name in work.parameters}


def test_the_fifteen_of_the_brief_have_an_entry() -> None:
    names = [name for work in WORKS for name in (work.name, *work.aliases)]
    assert len(names) == len(set(names))
    assert [sum(name in {work.name, *work.aliases} for work in WORKS) for name in sorted(NAMED)] == [1] * 15
    assert len(WORKS) == 15


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.code)
def test_a_template_is_a_subscribers_folder_without_a_fault(work: Work, tmp_path: Path) -> None:
    write_subscriber(tmp_path, "taker", subscriber_text(work, "taker", values(work)))
    report = check(tmp_path, None, directory())
    assert [(problem.field, problem.message) for problem in report.problems] == []
    [subscriber] = load(tmp_path).subscribers
    assert [grant.feed for grant in subscriber.grants] == list(work.feeds)
    for grant in subscriber.grants:
        assert grant.legal_basis
        assert grant.matter_code
        assert "<" not in (grant.row_filter or "")


def test_a_template_says_what_it_needs_and_never_writes_over_a_folder(tmp_path: Path) -> None:
    work = find_work(GUANGZHOU, "floating_population")
    for given, said in (({}, "needs region"), ({"region": "1' || true"}, "needs region"), ({**VALUES}, "no parameter")):
        with pytest.raises(Misconfigured, match=said):
            subscriber_text(work, "taker", given)
    with pytest.raises(Misconfigured, match="no code"):
        subscriber_text(work, "Taker", {"region": "440106"})
    text = subscriber_text(work, "taker", {"region": "440106"})
    path = write_subscriber(tmp_path, "taker", text)
    with pytest.raises(Misconfigured, match="there already"):
        write_subscriber(tmp_path, "taker", text)
    assert path.read_text("utf-8") == text
    with pytest.raises(Misconfigured, match="not one of the city's"):
        find_work(GUANGZHOU, "nothing")


def test_the_command_prints_or_writes(tmp_path: Path) -> None:
    arguments = ["foreigners", "--subscriber", "exit_entry", "--set", "region=440106"]
    printed = CliRunner().invoke(works, arguments)
    assert printed.exit_code == 0
    assert "residence_region == '440106'" in printed.output
    assert "${MESH_EXIT_ENTRY_DSN}" in printed.output
    written = CliRunner().invoke(works, [*arguments, "--into", str(tmp_path)])
    assert written.exit_code == 0
    assert (tmp_path / "exit_entry" / "subscriber.yaml").read_text("utf-8") == printed.output
    assert CliRunner().invoke(works, ["foreigners"]).exit_code == 2
    assert CliRunner().invoke(works, [*arguments, "--set", "region"]).exit_code == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("work: other\ngrants: [{feed: a.b}]\n", "is no work"),
        ("work: x\n", "is no work"),
        ("work: x\nspecial: 1\ngrants: [{feed: a.b}]\n", "unknown entries"),
        ("work: x\ngrants: [{feed: a.b, row_filter: \"r == '<region>'\"}]\n", "<region> open"),
        ("work: [\n", "works/x.yaml"),
    ],
)
def test_a_work_that_is_none_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "works").mkdir()
    (tmp_path / "works" / "x.yaml").write_text(text)
    with pytest.raises(Misconfigured, match=said):
        load_works(tmp_path)


def test_the_catalogue_finds_feeds_by_a_works_other_name() -> None:
    found = compile_catalogue(directory(), {}, words=["居民家庭收入核对"], works=WORKS)
    assert [entry.feed for entry in found.entries] == ["check.report", "check.statistic"]
    assert "居民家庭经济状况核对" in found.entries[0].works
    assert compile_catalogue(directory(), {}, words=["居民家庭收入核对"]).entries == []


def test_a_work_is_active_with_rows_in_every_feed_and_knows_its_subscribers() -> None:
    work = find_work(GUANGZHOU, "land_transfer_payment")
    assert work.is_active({"parcel.payment", "parcel.statistic", "aic.enterprise"})
    assert not work.is_active({"parcel.payment"})
    grants = [grant for folder in CITY.subscribers for grant in folder.grants]
    known = {grant.grant_id: GrantEntry(grant=grant, key_schema_id=1, value_schema_id=2, version=1) for grant in grants}
    assert work.subscribers(Directory(grants=known), datetime(2026, 1, 1, tzinfo=UTC)) == ["finance"]
    assert work.subscribers(Directory(grants=known), datetime(2040, 1, 1, tzinfo=UTC)) == []
