from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

import streams
from ops.city.city import City
from ops.city.firms import papers
from ops.city.opening_day import settle
from ops.city.people import names
from schemas.errors import Misconfigured
from streams.flows.opendata import FLOW
from streams.flows.opendata.catalogue import (
    DATASETS,
    HERE,
    LISTED,
    PARTS,
    PUBLISHERS,
    Dataset,
    overlaps,
    read_catalogue,
    read_parts,
    sets_of,
)
from streams.flows.opendata.parts import render
from tests.stage.rehearsal import Rehearsal, city_contracts, days, micros

CONTRACTS = city_contracts()
DAY = 86_400_000_000
RUN_BY = {"quota": "transport"}
"""The transport commission runs the quota platform (HANDBOOK §1.2)."""


def test_the_catalogue_has_the_portals_size() -> None:
    publishers = Counter(PUBLISHERS[listed.agency].level for listed in LISTED.values())
    departments = {listed.agency for listed in LISTED.values()} - {"credit", "registration"}
    assert (len(LISTED), len(departments), len({listed.theme for listed in LISTED.values()})) == (200, 46, 14)
    assert publishers["PLATFORM"] < 15, "platforms are no departments"
    assert Counter(PUBLISHERS[code].level for code in departments) == {"CITY": 35, "DISTRICT": 11}
    assert departments | {"credit", "registration"} == PUBLISHERS.keys()
    assert {"经济", "城市建设", "道路交通", "教育科技", "民生服务", "企业服务"} <= {s.theme for s in LISTED.values()}
    assert len({listed.title for listed in LISTED.values()}) == 200


def test_parts_csv_is_what_the_contracts_the_regions_and_the_departments_make_of_it() -> None:
    assert (HERE / "parts.csv").read_text(encoding="utf-8") == render(), "python -m streams.flows.opendata.parts"


def test_every_publisher_stands_where_the_data_say_so() -> None:
    flows = Path(streams.__file__).parent / "flows"
    with (flows / "registration" / "topics.csv").open(encoding="utf-8") as lines:
        topics = {line["agency"] for line in csv.DictReader(lines) if not line["feed"]}
    with (flows / "certificate" / "types.csv").open(encoding="utf-8") as lines:
        types = {line["issuer_agency"] for line in csv.DictReader(lines)}
    for listed in LISTED.values():
        provider = CONTRACTS[listed.whole.feed].agency
        match listed.standing:
            case "OWN":
                assert listed.agency == RUN_BY.get(provider, provider), listed.dataset
            case "ISSUER" if listed.whole.feed == "certs.certificate_type":
                assert listed.agency in types
                assert listed.shows == ("issuer_agency", listed.agency)
            case "ISSUER":
                assert "issuer" in listed.whole.table.columns, "each row names the office"
                assert listed.shows == ("region", listed.agency.removeprefix("district_"))
            case _:
                assert listed.agency in topics
                assert listed.agency not in {contract.agency for contract in CONTRACTS.values()}, "it has no table"


def test_licences_are_issued_by_an_office_of_the_district() -> None:
    city = City(seed=1, scale=1 / 20_000)
    settle(city)
    rows = [row for feed in papers.LICENCES for row in city.rolls[feed]]
    assert rows
    assert all(row["issuer"].startswith(f"广州市{names.REGIONS[row['region']]}区") for row in rows)
    assert names.REGIONS.keys() == {part.value for part in PARTS.values() if part.agency.startswith("district_")}


def test_k2_sets_of_one_feed_never_tell_what_another_holds_back(tmp_path: Path) -> None:
    assert overlaps(DATASETS.values()) == []
    path = tmp_path / "sets.yaml"
    entry = "- {{dataset: {0}, title: t, theme: t, agency: base, feed: base.person, groups: [sex], k: 10, {1} "
    entry += "refresh_seconds: 1, columns: {{sex: FULL}}}}\n"
    path.write_text(
        entry.format("all", "")
        + entry.format("men", "where: {sex: ['1']},")
        + entry.format("women", "where: {sex: ['2']},")
    )
    assert overlaps(read_catalogue(path).values()) == ["all and men", "all and women"]


def test_k2_a_part_has_whole_groups_and_is_published_with_its_whole() -> None:
    city = Rehearsal(FLOW, CONTRACTS)
    for number in range(24):
        city.insert(
            "base.person",
            id_type="CITIZEN_ID",
            id_no=f"P{number}",
            sex="1",
            birth_date=days("1990-03-04"),
            hukou_region="440106" if number < 12 else "440103",
            life_status="ALIVE",
            supersedes=[],
            former_names=[],
        )
    for part in range(4):
        city.tick(micros("2016-11-01") + part)
    profiles = city.rows("open.profile")
    assert profiles["population|*"]["rows"] == 24
    assert profiles["population_440106|*"]["rows"] == profiles["population_440103|*"]["rows"] == 12
    assert profiles["population_440106|*"]["title"] == "广州市天河区户籍人口结构"
    assert {row["dataset"] for row in city.rows("open.dataset").values()} == {"population"}, "one row, once"
    city.update("base.person", {"id_type": "CITIZEN_ID", "id_no": "P1"}, marital_status="MARRIED")
    for part in range(4):
        city.tick(micros("2016-11-02") + part)
    assert city.rows("open.profile")["population_440106|*"]["held_groups"] == 1
    assert city.rows("open.profile")["population_440103|*"]["held_groups"] == 0
    city.check_rows()


def test_a_group_belongs_to_its_whole_and_to_the_parts_that_show_it() -> None:
    whole = DATASETS["food_licence"]
    row = {"region": "440106", "licence_kind": "DRUG", "status": "VALID", "holder_id_type": "USCC"}
    group = json.loads(whole.group(row).partition("|")[2])
    assert sets_of(whole, group) == ["food_licence", "food_licence_440106", "food_licence_drug"]
    assert sets_of(whole, ["440300", "OTHER"]) == ["food_licence"]
    assert isinstance(PARTS["food_licence_drug"].whole, Dataset)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("food_licence,food_licence,t,民生服务,fda,OWN,region,1", "two entries"),
        ("x,nowhere,t,民生服务,fda,OWN,region,1", "no part"),
        ("x,food_licence,t,民生服务,fda,OWN,item_code,1", "no part"),
        ("x,food_licence,t,民生服务,fda,SOMEHOW,region,1", "standing"),
    ],
)
def test_a_careless_part_is_refused(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "parts.csv"
    path.write_text(f"dataset,whole,title,theme,agency,standing,column,value\n{line}\n", encoding="utf-8")
    with pytest.raises(Misconfigured, match=problem):
        read_parts(path, DATASETS)
