"""Checks A8 and A9: what a feed is called in the catalogue, whose code is whose, and what it needs to be published."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.city.city import GUANGZHOU
from ops.lint.check import check
from ops.lint.folder import load
from ops.show.catalogue import compile_catalogue
from schemas.agreement.agency import Agency, SourceConfig
from schemas.agreement.directory import Directory, FeedEntry
from schemas.agreement.offboarding import Offboarding, key_of
from schemas.contract import Contract
from schemas.resource.code import code_of, code_rules, codes_of
from schemas.resource.metadata import resource_of

NOW = datetime(2016, 10, 31, tzinfo=UTC)


def record(**gov: Any) -> dict[str, Any]:
    return {
        "type": "record",
        "name": "Row",
        "doc": "车辆登记|机动车登记信息",
        "gov": {"key": ["id"], "class": "UNCONDITIONAL", **gov},
        "fields": [
            {"name": "id", "type": "string", "doc": "编号"},
            {
                "name": "weight",
                "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 9}],
                "doc": "重量",
            },
        ],
    }


def folder(path: Path, contracts: dict[str, dict[str, Any]], agency: str = "") -> Path:
    path.mkdir(exist_ok=True)
    text = "agency: cars\nname: 车管所\nsources:\n  - {name: main, kind: postgres, connection: '${CARS_DSN}'}\n"
    (path / "agency.yaml").write_text(text + agency, "utf-8")
    for name, contract in contracts.items():
        (path / f"{name}.avsc").write_text(json.dumps(contract, ensure_ascii=False), "utf-8")
    return path


def running(contracts: dict[str, dict[str, Any]]) -> Directory:
    agency = Agency(agency="cars", name="车管所", sources=(SourceConfig(name="main", kind="postgres"),))
    feeds = {
        f"cars.{name}": FeedEntry(
            contract=Contract.parse(contract, f"cars.{name}"),
            version=1,
            key_schema_id=1,
            value_schema_id=2,
            partitions=1,
            published_on="2016-10-31",
        )
        for name, contract in contracts.items()
    }
    return Directory(agencies={"cars": agency}, feeds=feeds)


def problems(path: Path, directory: Directory) -> list[tuple[str, str]]:
    return [(problem.message, problem.fix) for problem in check(path, None, directory).errors]


def fixed_by(fix: str) -> str:
    """The code that a fix says to write."""
    return (
        fix.rpartition(' "')[2].rstrip('"') if "such as" in fix else fix.split('"code": "')[1].split('"', maxsplit=1)[0]
    )


def test_a8_each_feed_has_a_code_of_class_item_category_and_sequence_and_no_two_have_the_same(tmp_path: Path) -> None:
    city = load(GUANGZHOU)
    codes = {contract.feed: code_of(contract, each.agency) for each in city.agencies for contract in each.contracts}
    assert len(set(codes.values())) == len(codes) > 100
    assert all(code_rules().is_code(code) for code in codes.values())
    assert {code[0] for feed, code in codes.items() if feed.startswith("base.")} == {"1"}
    assert {codes[feed][0] for feed in ("tax.warning", "quota.verdict", "aic.enterprise")} == {"2", "3"}
    # A newcomer writes nothing of it.
    path = folder(tmp_path / "cars", {"car": record(), "owner": record()})
    assert problems(path, Directory()) == []

    path = folder(tmp_path / "cars", {"car": record(code="3/01/001/7"), "owner": record(code="3/01/001/7")})
    ((message, fix),) = problems(path, Directory())
    assert message == "resource code 3/01/001/7 is cars.car's"
    folder(path, {"owner": record(code=fixed_by(fix))})
    assert problems(path, Directory()) == []


def test_a8_a_code_is_never_used_again_after_its_resource_was_withdrawn(tmp_path: Path) -> None:
    before = running({"car": record(code="3/01/001/7"), "owner": record()})
    codes = codes_of(before, ["cars.car", "cars.owner"])
    assert codes["cars.car"] == "3/01/001/7"
    left = Offboarding(kind="feed", name="cars.car", at=NOW, done_at=NOW, codes=codes)
    assert Offboarding.from_json(json.loads(json.dumps(left.to_json()))) == left
    former = {name: value for name, value in left.to_json().items() if name != "codes"}
    assert Offboarding.from_json(former).codes == {}, "records of before it was kept are read"

    now = replace(Directory(), offboarded={key_of("feed", "cars.car"): left})
    path = folder(tmp_path / "cars", {"truck": record(code="3/01/001/7")})
    ((message, fix),) = problems(path, now)
    assert "was cars.car's" in message
    assert "never used again" in message
    folder(path, {"truck": record(code=fixed_by(fix))})
    assert problems(path, now) == []


def test_a8_a_written_code_is_for_life_and_one_that_followed_from_names_may_be_written(tmp_path: Path) -> None:
    path = folder(tmp_path / "cars", {"car": record(code="3/01/001/8")})
    assert problems(path, running({"car": record()})) == []
    ((message, fix),) = problems(path, running({"car": record(code="3/01/001/7")}))
    assert "published under the resource code 3/01/001/7" in message
    folder(path, {"car": record(code=fixed_by(fix))})
    assert problems(path, running({"car": record(code="3/01/001/7")})) == []


def test_a8_an_agency_that_is_classified_otherwise_keeps_the_codes_of_what_is_published(tmp_path: Path) -> None:
    before = running({"car": record()})
    path = folder(tmp_path / "cars", {"car": record()}, 'classification: "3/18/001"\n')
    assert problems(path, before) == [], "what followed from names may be said once"
    cars = replace(before.agencies["cars"], classification="3/17/002")
    said = replace(before, agencies={"cars": cars})
    ((message, fix),) = problems(path, said)
    assert "published under the resource code 3/17/002/" in message
    folder(path, {"car": record(code=fixed_by(fix))}, 'classification: "3/18/001"\n')
    assert problems(path, said) == []


def test_a8_an_agency_says_its_class_item_and_category_once(tmp_path: Path) -> None:
    agency = Agency(agency="cars", name="车管所", classification="3/17/002")
    assert code_of(Contract.parse(record(), "cars.car"), agency).startswith("3/17/002/")
    assert Agency.from_json(json.loads(json.dumps(agency.to_json()))) == agency
    path = folder(tmp_path / "cars", {"car": record()}, 'classification: "7/1"\n')
    ((message, fix),) = problems(path, Directory())
    assert "no class, item and category" in message
    folder(path, {}, f"classification: {fix.split(chr(96))[1].removeprefix('classification: ')}\n")
    assert problems(path, Directory()) == []


def test_a9_what_nobody_decided_is_not_published_and_all_else_follows_from_what_stands(tmp_path: Path) -> None:
    bare = record()
    del bare["gov"]["class"]
    path = folder(tmp_path / "cars", {"car": bare})
    ((message, fix),) = problems(path, Directory())
    assert "cannot be published" in message
    assert '"class"' in fix

    agency = Agency(agency="cars", name="车管所", sources=(SourceConfig(name="main", kind="postgres"),))
    found = resource_of(
        Contract.parse(record(**{"class": "CONDITIONAL", "basis": "示例依据"}), "cars.car"), agency, "2016-10-31"
    )
    values = found.to_json()
    assert set(values) == {
        "code", "classification", "name", "provider", "provider_code", "abstract", "format", "items", "share_type",
        "share_condition", "share_method", "open_attribute", "update_cycle", "published_on", "related",
    }  # fmt: skip
    assert [name for name, value in values.items() if not value] == ["related"], "of which there are none"
    assert (found.name, found.provider, found.provider_code) == ("车辆登记", "车管所", "cars")
    assert found.abstract == "机动车登记信息"
    assert found.items[1] == ("weight", "重量", "decimal")
    assert "示例依据" in found.share_condition
    assert found.open_attribute == "NOT_OPEN", "what nobody opened is not open"

    said = record(
        resource="车辆", abstract="全部", format="Avro", condition="无", method="接口", related=["3/01/001/7"]
    )
    better = resource_of(Contract.parse(said, "cars.car"), agency)
    assert (better.name, better.abstract, better.format) == ("车辆", "全部", "Avro")
    assert (better.share_condition, better.share_method, better.related) == ("无", "接口", ["3/01/001/7"])


def test_a9_every_resource_of_the_city_has_its_core_metadata() -> None:
    for each in load(GUANGZHOU).agencies:
        for contract in each.contracts:
            values = resource_of(contract, each.agency, "2016-10-31").to_json()
            assert [name for name, value in values.items() if not value] == ["related"], contract.feed


def test_a9_the_catalogue_shows_code_and_core_metadata() -> None:
    directory = running({"car": record()})
    (entry,) = compile_catalogue(directory, {}).entries
    shown = entry.to_json()["resource"]
    assert shown["code"] == codes_of(directory, ["cars.car"])["cars.car"]
    assert (shown["published_on"], shown["items"][0]) == (
        "2016-10-31",
        {"column": "id", "name": "编号", "type": "string"},
    )
    assert [each.feed for each in compile_catalogue(directory, {}, words=[shown["code"]]).entries] == ["cars.car"]
