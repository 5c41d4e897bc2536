from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from random import Random

import pytest

from ops.city.people.names import CENTRES, place
from schemas.contract import Contract
from schemas.errors import Misconfigured
from streams.flows.opendata import FLOW
from streams.flows.opendata.catalogue import DATASETS, faults, read_catalogue
from streams.flows.opendata.coordinates import (
    from_bd09,
    from_gcj02,
    gcj02_to_bd09,
    is_inside,
    to_cgcs2000,
    to_gcj02,
)
from streams.flows.opendata.heat import GUANGZHOU
from streams.flows.opendata.profile import column_profile, is_number, rounded
from streams.flows.opendata.sample import draw
from tests.stage.rehearsal import Rehearsal, cents, city_contracts, days, micros

SEED = 20161015
CONTRACTS = city_contracts()
DAY = 86_400_000_000


@pytest.fixture
def city() -> Rehearsal:
    return Rehearsal(FLOW, CONTRACTS)


def person(city: Rehearsal, number: int, born: str = "1990-03-04", sex: str = "1", **columns: object) -> None:
    row = {
        "id_type": "CITIZEN_ID",
        "id_no": f"P{number:04}",
        "name": f"某人{number}",
        "sex": sex,
        "birth_date": days(born),
        "hukou_region": "440106",
        "life_status": "ALIVE",
        "supersedes": [],
        "former_names": [],
    }
    city.insert("base.person", **(row | columns))


def change(city: Rehearsal, number: int, **columns: object) -> None:
    city.update("base.person", {"id_type": "CITIZEN_ID", "id_no": f"P{number:04}"}, **columns)


def contents(city: Rehearsal, dataset: str) -> Counter[str]:
    return Counter(row["content"] for row in city.rows("open.dataset").values() if row["dataset"] == dataset)


def tick(city: Rehearsal, day: int) -> None:
    """A day passes; what is counted from what is counted settles within it."""
    for part in range(4):
        city.tick(micros("2016-11-01") + day * DAY + part)


def firm(city: Rehearsal, number: int, **columns: object) -> None:
    row = {
        "ent_id": f"E{number}",
        "uscc": f"U{number}",
        "name": f"企业{number}",
        "kind": "ENTERPRISE",
        "industry": "F",
        "reg_region": "440106",
        "established": days("2015-01-01"),
        "capital": cents("100.00"),
        "status": "ACTIVE",
    }
    city.insert("aic.enterprise", **(row | columns))


def licence(city: Rehearsal, number: int, region: str) -> None:
    row = {"licence_kind": "DRUG", "licence_no": str(number), "holder_id_type": "USCC", "status": "VALID"}
    city.insert("fda.licence", **row, uscc=f"U{number}", region=region)


def test_k1_only_the_allow_list_leaves_and_a_new_upstream_column_stays_closed() -> None:
    record = dict(CONTRACTS["base.person"].record)
    record["fields"] = [*record["fields"], {"name": "secret", "type": ["null", "string"], "default": None}]
    city = Rehearsal(FLOW, {**CONTRACTS, "base.person": Contract.parse(record, "base.person")})
    for number in range(12):
        person(city, number, secret="x")
    tick(city, 0)
    shown = contents(city, "population")
    assert shown.total() == 12
    for content in shown:
        assert set(json.loads(content)) == {"sex", "birth_date", "hukou_region", "marital_status"}
    everything = str(city.history)
    assert "secret" not in everything
    assert "某人" not in everything
    assert "P0001" not in everything


def test_k1_no_data_set_of_the_catalogue_opens_what_its_contract_closes() -> None:
    found = {code: faults(dataset, CONTRACTS[dataset.feed]) for code, dataset in DATASETS.items()}
    assert found == {code: [] for code in DATASETS}


def test_k1_the_gate_names_what_a_careless_entry_would_open(tmp_path) -> None:
    path = tmp_path / "sets.yaml"
    path.write_text(
        "- {dataset: bad, title: t, theme: t, agency: base, feed: base.person, groups: [hukou_region], k: 1, "
        "refresh_seconds: 1, columns: {name: FULL, birth_date: DAY, hukou_region: FULL, ghost: FULL}}\n"
    )
    found = faults(read_catalogue(path)["bad"], CONTRACTS["base.person"])
    assert [fault.partition(":")[0] for fault in found] == [
        "name",
        "birth_date",
        "birth_date",
        "ghost",
        "k is 1, though rows are about people or not open one by one",
    ]
    path.write_text(path.read_text().replace("groups: [hukou_region]", "groups: [sex]"))
    with pytest.raises(Misconfigured, match="does not show"):
        read_catalogue(path)


def test_k2_a_group_below_k_and_a_difference_below_k_are_held_and_batched(city: Rehearsal) -> None:
    for number in range(9):
        person(city, number)
    tick(city, 0)
    assert not city.rows("open.dataset")
    person(city, 9)
    tick(city, 1)
    assert contents(city, "population").total() == 10
    person(city, 10)
    tick(city, 2)
    assert contents(city, "population").total() == 10, "a difference of one row identifies a person"
    for number in range(11, 20):
        person(city, number)
    tick(city, 3)
    assert contents(city, "population").total() == 20
    (delta,) = city.rows("open.delta").values()
    assert (delta["release"], delta["added"], delta["removed"], delta["rows"]) == (2, 10, 0, 20)
    change(city, 3, life_status="DECEASED")
    tick(city, 4)
    assert contents(city, "population").total() == 20, "one death is held as well"
    for number in range(4, 13):
        change(city, number, life_status="DECEASED")
    tick(city, 5)
    assert contents(city, "population").total() == 10
    change(city, 0, hukou_region="440103")
    tick(city, 6)
    assert not contents(city, "population"), "nine left: the group is withdrawn whole"
    city.check_rows()


def test_k2_whatever_happens_no_step_shows_fewer_than_k_of_a_group(city: Rehearsal) -> None:
    rng = Random(SEED)
    alive: set[int] = set()
    seen: Counter[str] = Counter()
    for day in range(40):
        for _ in range(rng.randrange(14)):
            number = rng.randrange(60)
            if number in alive and rng.random() < 0.4:
                city.delete("base.person", {"id_type": "CITIZEN_ID", "id_no": f"P{number:04}"})
                alive.discard(number)
            elif number in alive:
                change(city, number, marital_status=rng.choice(["MARRIED", "DIVORCED", None]))
            else:
                person(city, number, born=f"{1990 + number % 2}-01-01")
                alive.add(number)
        tick(city, day)
        shown = contents(city, "population")
        for year in ("1990", "1991"):
            now, before = ({c: n for c, n in rows.items() if f'"{year}"' in c} for rows in (shown, seen))
            added, removed = (Counter(now) - Counter(before)).total(), (Counter(before) - Counter(now)).total()
            assert sum(now.values()) == 0 or sum(now.values()) >= 10, f"day {day} of seed {SEED}"
            assert max(added, removed) == 0 or max(added, removed) >= 10, f"day {day} of seed {SEED}"
        seen = shown
    assert len(city.changes_of("open.delta")) > 2
    city.check_rows()


def test_k3_a_sample_is_reproducible_limited_and_of_published_rows_only(city: Rehearsal) -> None:
    for number in range(30):
        person(city, number, marital_status="MARRIED" if number % 2 else "DIVORCED")
    tick(city, 0)
    person(city, 30, marital_status="held")
    tick(city, 1)
    rows = list(city.rows("open.dataset").values())
    first = draw(rows, "population", "2016-11-A", 8)
    assert first == draw(reversed(rows), "population", "2016-11-A", 8)
    assert len(first) == 8
    assert len({json.dumps(draw(rows, "population", str(number), 8)) for number in range(20)}) > 10
    assert len(draw(rows, "population", "all", 10**6)) == 30
    assert all(row["birth_date"] == "1990" and "name" not in row for row in first)
    assert "held" not in str(draw(rows, "population", "all", 1000))


def test_k4_statistics_equal_a_batch_recount_and_small_cells_are_blank(city: Rehearsal) -> None:
    rng = Random(SEED)
    for number in range(120):
        married = rng.choice(["MARRIED", "MARRIED", "DIVORCED", None])
        person(city, number, born=f"{rng.choice([1980, 1981, 1990])}-02-01", marital_status=married)
    for number in range(120, 124):
        person(city, number, born="1980-01-01", marital_status="WIDOWED")
    tick(city, 0)
    for number in range(60):
        change(city, number, marital_status="DIVORCED")
    tick(city, 1)
    published = [json.loads(content) for content in contents(city, "population").elements()]
    for column in ("birth_date", "marital_status"):
        row = city.rows("open.profile")[f"population|{column}"]
        recount = Counter(json.dumps(each[column]) for each in published)
        expected = column_profile(recount, 10)
        assert {name: row[name] for name in expected} == expected
        assert row["rows"] == len(published)
    years = city.rows("open.profile")["population|birth_date"]
    assert (years["least"], years["greatest"], years["distinct"], years["nulls"]) == ("1980", "1990", 3, 0)
    assert sorted(each["birth_date"] for each in published)[len(published) // 2 - 1] == years["q50"]
    statuses = city.rows("open.profile")["population|marital_status"]
    assert "WIDOWED" not in str(statuses)
    assert statuses["blank_cells"] == 2, "the next smallest as well, or the blank were the total less the rest"
    total = city.rows("open.profile")["population|*"]
    assert (total["rows"], total["refresh_seconds"], total["held_groups"]) == (len(published), 86400, 0)
    city.check_rows()


def test_k4_a_rare_extreme_and_a_rare_quantile_are_blank() -> None:
    profile = column_profile({'"1900"': 1, '"1950"': 20, '"1960"': 30, '"2016"': 9, "null": 12}, 10)
    assert (profile["least"], profile["q50"], profile["greatest"], profile["nulls"]) == (None, "1960", None, 12)
    assert profile["blank_cells"] == 2
    assert profile["top_values"] == [{"value": "1960", "rows": 30}, {"value": "1950", "rows": 20}]
    numbers = column_profile({'"9.00"': 10, '"10.00"': 10}, 10)
    assert (numbers["least"], numbers["greatest"]) == ("9.00", "10.00")


def test_k5_a_relation_has_its_evidence_and_leads_to_the_related_set(city: Rehearsal) -> None:
    for number in range(40):
        firm(city, number)
    for number in range(20, 60):
        city.insert(
            "fda.licence",
            licence_kind="DRUG",
            licence_no=str(number),
            holder_id_type="USCC",
            uscc=f"U{number}",
            region="440106",
            status="VALID",
        )
    tick(city, 0)
    edges = city.rows("open.relation")
    edge = edges["enterprise|uscc|food_licence|uscc"]
    assert (edge["matched"], edge["total"], edge["element"]) == (20, 40, "uscc")
    assert edge["evidence"] == "50 % of enterprise.uscc occur in food_licence.uscc (20 of 40)"
    related = contents(city, edge["to_dataset"])
    assert sum(json.loads(content)["uscc"] in {f"U{n}" for n in range(40)} for content in related) == 20
    for number in range(20, 35):
        city.update("aic.enterprise", {"ent_id": f"E{number}"}, status="DEREGISTERED")
    tick(city, 1)
    left = {frozenset((row["from_dataset"], row["to_dataset"])) for row in city.rows("open.relation").values()}
    assert left == {frozenset(("enterprise_closed", "food_licence"))}, "five values in common could be told by name"
    city.check_rows()


GATE = (113.2644, 23.1291)


def test_k6_coordinate_systems_come_back_to_one() -> None:
    rng = Random(SEED)
    for _ in range(50):
        point = (rng.uniform(112.9, 114.1), rng.uniform(22.5, 24.0))
        for there, back in ((to_gcj02, from_gcj02), (lambda p: gcj02_to_bd09(to_gcj02(p)), from_bd09)):
            moved = there(point)
            assert 0.001 < abs(moved[0] - point[0]) < 0.03, "some hundred metres"
            assert back(moved) == pytest.approx(point, abs=1e-8)
    assert to_cgcs2000(GATE, "WGS-84") == GATE
    assert to_cgcs2000(GATE, "Beijing54") is None
    assert to_gcj02((116.404, 39.915)) == pytest.approx((116.41024449916938, 39.91640428150164), abs=1e-9)
    assert gcj02_to_bd09((116.404, 39.915)) == pytest.approx((116.41036949371029, 39.92133699351021), abs=1e-9)


def test_k6_the_city_is_where_it_is() -> None:
    inside = [GATE, (113.53, 22.80), (113.58, 23.55), (113.83, 23.29), (113.30, 23.40)]
    outside = [(114.06, 22.54), (113.12, 23.02), (113.75, 23.02), (113.55, 22.27), (0.0, 0.0), (23.13, 113.26)]
    rng = Random(SEED)
    inside += [place(rng, region) for region in CENTRES for _ in range(200)]
    assert all(is_inside(point, GUANGZHOU) for point in inside)
    assert not any(is_inside(point, GUANGZHOU) for point in outside)


def test_k6_cells_below_k_are_not_shown_strangers_are_flagged_and_regions_match_the_table(city: Rehearsal) -> None:
    for number in range(40):
        firm(city, number, lon=GATE[0] + (0.02 if number < 4 else 0.0), lat=GATE[1])
    firm(city, 40, lon=114.06, lat=22.54)
    firm(city, 41)
    tick(city, 0)
    cells = [row for row in city.rows("open.heat").values() if row["level"] == "CELL"]
    assert [row["points"] for row in cells] == [36]
    assert (cells[0]["lon"], cells[0]["lat"], cells[0]["crs"]) == (113.265, 23.125, "CGCS2000")
    assert city.rows("open.heat")["enterprise|REGION|440106"]["points"] == 40, "the small cell's points too"
    assert [item["kind"] for item in city.queue()] == ["OUTSIDE_GUANGZHOU"]
    firm(city, 42, lon=GATE[0], lat=GATE[1])
    tick(city, 1)
    assert {row["points"] for row in city.rows("open.heat").values()} == {36, 40}, "one more point is held"
    for number in range(43, 52):
        firm(city, number, lon=GATE[0], lat=GATE[1])
    tick(city, 2)
    assert {row["points"] for row in city.rows("open.heat").values()} == {46, 50}
    for number in range(4, 36):
        city.update("aic.enterprise", {"ent_id": f"E{number}"}, reg_region="440103")
    tick(city, 3)
    regions = {row["place"]: row["points"] for row in city.rows("open.heat").values() if row["level"] == "REGION"}
    assert regions == {"440106": 18, "440103": 32}
    city.check_rows()


def test_k6_cells_too_small_to_show_are_shown_together_as_the_area_that_they_lie_in(city: Rehearsal) -> None:
    def shown(level: str) -> list[int]:
        return sorted(row["points"] for row in city.rows("open.heat").values() if row["level"] == level)

    for number in range(40):  # ten cells in a row, four points in each: two areas
        firm(city, number, lon=113.255 + 0.01 * (number % 10), lat=23.125)
    tick(city, 0)
    assert (shown("CELL"), shown("AREA"), shown("REGION")) == ([], [20, 20], [40])
    area = next(row for row in city.rows("open.heat").values() if row["level"] == "AREA")
    assert (round(area["lon"], 6), round(area["lat"], 6)) == (113.275, 23.125)
    for number in range(40, 60):
        firm(city, number, lon=113.255, lat=23.125)
    tick(city, 2)
    assert (shown("CELL"), shown("REGION")) == ([24], [60])
    assert shown("AREA") == [20, 20], "four points fewer are held: they would tell of the cell that left"
    for number in range(60, 66):
        firm(city, number, lon=113.265, lat=23.125)
    tick(city, 4)
    assert shown("CELL") == [10, 24]
    for number in range(8):
        firm(city, 70 + number, lon=113.275, lat=23.125)
    tick(city, 6)
    assert shown("CELL") == [10, 12, 24]
    assert sorted(set(shown("AREA")))[0] == 8 or shown("AREA") == [20], (
        "what is left of an area is shown only from k on"
    )
    city.check_rows()


def test_k6_a_set_without_coordinates_has_a_map_of_its_districts(city: Rehearsal) -> None:
    for number in range(30):
        licence(city, number, "440106" if number < 12 else "440103" if number < 24 else "440104")
    tick(city, 0)
    regions = {
        row["place"]: row["points"] for row in city.rows("open.heat").values() if row["dataset"] == "food_licence"
    }
    assert not regions.keys() - {"440106"}, "six are below k, and could be had from the total if only they were blank"
    for number in range(30, 44):
        licence(city, number, "440104")
    tick(city, 2)
    regions = {
        row["place"]: row["points"] for row in city.rows("open.heat").values() if row["dataset"] == "food_licence"
    }
    assert regions == {"440106": 12, "440103": 12, "440104": 20}
    total = city.rows("open.profile")["food_licence|*"]["rows"]
    assert sum(regions.values()) == total, "they match the table"
    city.check_rows()


def test_k4_numbers_that_hardly_two_rows_share_have_statistics_all_the_same(city: Rehearsal) -> None:
    rng = Random(SEED)
    for number in range(400):
        firm(city, number, capital=cents(f"{rng.randrange(10, 5_000)}.{rng.randrange(100):02}"))
    tick(city, 0)
    row = city.rows("open.profile")["enterprise|capital"]
    published = [Decimal(json.loads(content)["capital"]) for content in contents(city, "enterprise").elements()]
    classes = rounded(Counter(json.dumps(str(each)) for each in published), 10)
    recount = column_profile(classes, 10)
    assert {name: row[name] for name in recount} == recount
    exact = [sorted(published)[len(published) * part // 4 - 1] for part in (1, 2, 3)]
    for name, value in zip(("q25", "q50", "q75"), exact, strict=True):
        assert 0 <= value - Decimal(row[name]) <= value / 5
        assert classes[json.dumps(row[name])] >= 10, "no figure tells of fewer than k rows"
    assert row["top_values"]
    city.check_rows()


def test_k4_numbers_are_rounded_no_further_than_k_rows_need() -> None:
    prices = {json.dumps(f"{price}.00"): 10 for price in (100, 200, 300, 400)}
    assert rounded(prices, 10) == prices, "as they are, where each is k rows' already"
    one_each = {json.dumps(f"{price}.50"): 1 for price in range(1000, 1400)}
    assert column_profile(rounded(one_each, 10), 10)["q50"] == "1190"
    assert column_profile(rounded({"null": 30, '"0.00"': 12, '"-7.25"': 3}, 10), 10)["greatest"] == "0.00"
    few = column_profile(rounded({json.dumps(f"{10**n}.00"): 1 for n in range(9)}, 10), 10)
    assert (few["q50"], few["least"], few["top_values"]) == (None, None, [])


def test_k4_a_yes_or_no_is_no_number_and_is_counted_as_it_is() -> None:
    answers = {"true": 40, "false": 30}
    assert not any(map(is_number, answers))
    assert is_number("null")
    assert is_number("3.5")
    told = column_profile(answers, 10)["top_values"]
    assert told == [{"value": "True", "rows": 40}, {"value": "False", "rows": 30}]


def test_k7_each_set_says_what_refresh_it_promises_and_when_it_last_changed(city: Rehearsal) -> None:
    firm(city, 1)
    tick(city, 0)
    first = city.rows("open.profile")["enterprise|*"]
    assert (first["title"], first["rows"], first["refresh_seconds"]) == ("广州市商事主体登记信息", 1, 60)
    assert first["last_change"] == micros("2016-11-01")
    tick(city, 1)
    assert city.rows("open.profile")["enterprise|*"] == first
    firm(city, 2, industry="A")
    tick(city, 2)
    second = city.rows("open.profile")["enterprise|*"]
    assert (second["rows"], second["last_change"]) == (2, micros("2016-11-03"))
    trend: dict[str, list[int]] = {}
    for row in (change.after for change in city.changes_of("open.profile")):
        if row and row["column"] == "*":
            trend.setdefault(row["dataset"], []).append(row["rows"])
    assert trend == {code: [1, 2] for code in ("enterprise", "enterprise_440106", "enterprise_enterprise")}


def test_a_set_that_ends_is_withdrawn_when_it_ends(city: Rehearsal, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sets.yaml"
    path.write_text(
        "- {dataset: population, title: t, theme: t, agency: base, feed: base.person, k: 10, refresh_seconds: 1, "
        "groups: [hukou_region, birth_date, sex], columns: {hukou_region: FULL, birth_date: YEAR, sex: FULL}, "
        "valid_to: 2016-11-05}\n"
    )
    monkeypatch.setitem(DATASETS, "population", read_catalogue(path)["population"])
    for number in range(10):
        person(city, number)
    tick(city, 0)
    assert contents(city, "population").total() == 10
    tick(city, 4)
    assert not contents(city, "population")
    assert city.changes_of("open.dataset")[-1].reason == "RETRACTED"
