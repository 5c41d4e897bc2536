from __future__ import annotations

from pathlib import Path

import pytest

from schemas.dated.calendar import day_number
from schemas.errors import Misconfigured
from streams.flows.regions import Regions, city_regions

MADE_UP = """code,valid_from,name,parent,valid_to,successors
440198,2000-01-01,甲县,440100,2010-01-01,440199|440197
440199,2010-01-01,乙县,440100,,
440197,2010-01-01,丙县,440100,,
"""


@pytest.fixture
def made_up(tmp_path: Path) -> Regions:
    path = tmp_path / "regions.csv"
    path.write_text(MADE_UP, encoding="utf-8")
    return Regions.read(path)


def on(text: str) -> int:
    return day_number(text)


def test_eleven_districts_since_2014() -> None:
    regions = city_regions()
    districts = [code for code in regions.codes if code > "440100" and regions.is_valid(code, on("2016-10-31"))]
    assert sorted(districts) == [
        "440103",
        "440104",
        "440105",
        "440106",
        "440111",
        "440112",
        "440113",
        "440114",
        "440115",
        "440117",
        "440118",
    ]


@pytest.mark.parametrize(
    ("code", "today"),
    [("440102", "440104"), ("440107", "440103"), ("440116", "440112"), ("440183", "440118"), ("440184", "440117")],
)
def test_an_abolished_district_is_found_in_todays_boundaries(code: str, today: str) -> None:
    regions = city_regions()
    assert not regions.is_valid(code, on("2016-10-31"))
    assert regions.translate(code, on("2004-01-01"), on("2016-10-31")) == today
    assert regions.translate(code, on("2016-01-01"), on("2016-10-31")) == today, "an ID prefix is read as it last was"


def test_a_boundary_that_grew_keeps_its_code_and_is_another_version() -> None:
    regions = city_regions()
    then, now = regions.find("440112", on("2013-12-31")), regions.find("440112", on("2014-01-25"))
    assert then is not None
    assert now is not None
    assert then != now
    assert then.successors == ("440112",)


def test_backwards_only_where_there_was_one_predecessor() -> None:
    regions = city_regions()
    assert regions.translate("440118", on("2016-10-31"), on("2013-12-31")) == "440183"
    assert regions.translate("440112", on("2016-10-31"), on("2013-12-31")) is None, "it may have been 黄埔 or 萝岗"


def test_a_split_cannot_be_told_from_the_code_alone(made_up: Regions) -> None:
    assert made_up.translate("440198", on("2005-01-01"), on("2016-10-31")) is None
    assert made_up.translate("440197", on("2016-10-31"), on("2005-01-01")) == "440198"
    assert made_up.translate("999999", on("2005-01-01"), on("2016-10-31")) is None


def test_changes_are_known_ahead(made_up: Regions) -> None:
    assert made_up.next_change(on("2009-01-01")) == on("2010-01-01")
    assert made_up.next_change(on("2010-01-01")) is None
    assert city_regions().current_since(on("2016-10-31")) == on("2014-01-25")


@pytest.mark.parametrize(
    "lines",
    [
        "440198,2000-01-01,甲,,,\n440198,2005-01-01,甲,,,",
        "440198,2000-01-01,甲,,2010-01-01,440199",
        "440198,gone,甲,,,",
    ],
)
def test_a_broken_table_is_refused(tmp_path: Path, lines: str) -> None:
    path = tmp_path / "regions.csv"
    path.write_text(MADE_UP.splitlines()[0] + "\n" + lines + "\n", encoding="utf-8")
    with pytest.raises(Misconfigured):
        Regions.read(path)
