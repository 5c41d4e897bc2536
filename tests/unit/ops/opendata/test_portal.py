"""What the portal's pages are made of, without a server: shapes of the map, values as people read them, terms that ended."""

from __future__ import annotations

from datetime import date

import pytest

from ops.opendata.answers import Answers
from ops.opendata.portal import map as drawn
from ops.opendata.portal.disclosure import is_over, named, of_business, of_licence
from ops.opendata.portal.shown import NONE, shown
from ops.opendata.query import Query
from streams.flows.opendata.coordinates import is_inside

TODAY = date(2016, 11, 30)


def test_the_map_has_the_eleven_districts_each_where_it_is() -> None:
    assert len(drawn.names()) == 11
    assert drawn.names()["440106"] == "天河区"
    for each in drawn.districts():
        corners = [tuple(map(float, corner.split(","))) for corner in each.path[1:-1].split(" ")]
        assert is_inside((each.x, each.y), [(x, y) for x, y in corners]), f"the name of {each.name} is outside of it"
        assert all(0 <= x <= drawn.WIDTH and 0 <= y <= drawn.projection().height for x, y in corners)
    assert "Copyright (c) 2017 jaska" in drawn.OUTLINES.with_name("districts.LICENSE.txt").read_text()


def test_what_is_too_small_to_show_has_no_colour() -> None:
    shades = {each.district.code: each for each in drawn.shades([{"region": "440106", "points": 400}])}
    assert (shades["440106"].points, shades["440106"].step) == (400, drawn.STEPS)
    assert {(each.points, each.step) for code, each in shades.items() if code != "440106"} == {(None, 0)}
    told = [
        {"lon": 113.3, "lat": 23.1, "points": 10, "degrees": "0.01"},
        {"lon": 113.3, "lat": 23.1, "points": 90, "degrees": "0.05"},
    ]
    large, small = drawn.cells(told)
    assert large.width > small.width > 0, "small cells lie above those that they are in"
    assert (large.step, small.step) == (5, 2)
    assert not drawn.cells([])


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ({"column": "kind", "values": {"A": "甲"}}, "A", "甲"),
        ({"column": "kind", "values": {"A": "甲"}}, "B", "B"),
        ({"column": "reg_region", "values": None}, "440106", "天河区"),
        ({"column": "name", "values": None}, None, NONE),
        ({"column": "is_public", "values": {"true": "是"}}, True, "是"),
        ({"column": "codes", "values": None}, ["1", "2"], '["1", "2"]'),
        ({"column": "name", "values": None}, "x" * 300, "x" * 200 + "…"),
    ],
)
def test_a_value_is_shown_by_its_meaning(column: dict[str, object], value: object, text: str) -> None:
    assert shown(column, value) == text


def test_a_business_and_a_licence_are_found_in_published_rows_alone(answers: Answers) -> None:
    [register] = named(answers, "企业7")
    assert [row["name"] for row in register.rows] == ["企业7"]
    told = {each.dataset: each.rows for each in of_business(answers, "U25")}
    assert told.keys() == {"enterprise", "food_licence"}
    assert "SECRET" not in str(told)
    assert named(answers, "某人") == [], "no person"
    [licence] = of_licence(answers, "25")
    assert [row["uscc"] for row in licence.rows] == ["U25"]
    assert of_licence(answers, "2") == [], "the whole number counts"
    assert named(answers, "企业")[0].is_cut
    assert answers.dataset("enterprise", Query())["licence"].startswith("https://")


@pytest.mark.parametrize(
    ("until", "over"), [("2016-11-29", True), ("2016-11-30", False), (None, False), ("2099-01-01", False)]
)
def test_a_licence_is_good_to_the_end_of_its_last_day(until: str | None, over: bool) -> None:
    assert is_over({"valid_to": until}, TODAY) is over
