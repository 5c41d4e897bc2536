"""The life of open data, end to end: through the running mesh, from departments' rows to what anybody reads over HTTP."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ops.city.numbers import Numbers
from streams.flows.opendata.catalogue import DATASETS
from streams.flows.opendata.sample import draw
from tests.stage.departments import Departments, department_mesh
from tests.stage.until import until

WITHIN = 120
CHANGE_WITHIN = 60
"""A change of a source, until HTTP shows what follows from it, as the set promises."""
NUMBERS = Numbers()
FIRMS, LICENSED, TRADERS, ALONE = 40, 20, 10, 3
"""As many traders as their set asks of a group: of more, those that come after a first release would wait for as many again."""


class Town(Departments):
    """Commerce, food and drug, and the portal."""

    def register(
        self, ent_id: str, kind: str = "ENTERPRISE", established: str = "2015-01-01", uscc: str | None = None
    ) -> None:
        uscc = uscc or NUMBERS.uscc("91", NUMBERS.org_code(is_new=True))
        place = {"lon": 113.2644, "lat": 23.1291}
        self.register_firm(
            ent_id, uscc=uscc, name=f"广州{ent_id}公司", kind=kind, industry="F51", established=established, **place
        )

    def license(self, licence_no: str, uscc: str) -> None:
        self.run(
            "fda",
            "INSERT INTO licence VALUES ('DRUG', %s, 'USCC', %s, '某公司', %s, 'F001', '440106', '天河区局', '2016-01-01',"
            " '2020-12-31', 'VALID', NULL, %s, 1)",
            licence_no, uscc, uscc, self.now,
        )  # fmt: skip

    def read(self, path: str) -> Any:
        """What the portal answers."""
        with urllib.request.urlopen(f"{self.mesh.endpoints['opendata']}/datasets/{path}", timeout=10) as answer:
            return json.load(answer)

    def names(self, code: str) -> set[str]:
        return {row["name"] for row in self.read(f"{code}/rows?limit=1000")["rows"]}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    tables = {"aic": {"enterprise"}, "fda": {"licence"}}
    with department_mesh(tmp_path_factory.mktemp("open"), ["open"], tables) as (mesh, dsns):
        yield Town(mesh, dsns, datetime(2016, 11, 1, 2, 0, tzinfo=UTC))


@pytest.mark.timeout(600)
def test_rows_of_two_departments_are_a_set_with_its_sample_figures_map_and_relations(town: Town) -> None:
    codes = [NUMBERS.uscc("91", NUMBERS.org_code(is_new=True)) for _ in range(FIRMS)]
    for number, uscc in enumerate(codes):
        town.register(f"E{number}", uscc=uscc)
    for number, uscc in enumerate(codes[:LICENSED]):
        town.license(f"L{number}", uscc)
    until(lambda: len(town.names("enterprise")) == FIRMS, WITHIN, "the firms are open")
    until(lambda: len(town.read("food_licence/rows?limit=1000")["rows"]) == LICENSED, WITHIN, "the licences are open")

    sample = town.read("enterprise/sample?number=2016-11&size=8")["rows"]
    published = [
        one.value["after"] for one in town.mesh.seen("open.dataset") if one.value is not None and one.value["after"]
    ]
    assert sample == draw(published, "enterprise", "2016-11", 8), "anybody draws the same one"

    def is_counted() -> bool:
        columns = {column["column"]: column for column in town.read("enterprise/statistics")["columns"]}
        return "kind" in columns and columns["kind"]["top_values"] == [{"value": "ENTERPRISE", "rows": FIRMS}]

    until(is_counted, WITHIN, "its figures are of all firms")

    def evidence() -> list[str]:
        return [edge["evidence"] for edge in town.read("enterprise/relations")["relations"]]

    told = "50 % of enterprise.uscc occur in food_licence.uscc (20 of 40)"
    until(lambda: evidence() == [told], WITHIN, "which of its firms are licensed")

    def on_the_map() -> list[int]:
        return [place["points"] for place in town.read("enterprise/heat")["regions"]]

    heat = DATASETS["enterprise"].heat
    assert heat is not None
    # What came last is held back where it is fewer than k, however long one waits.
    least = FIRMS - heat.k + 1
    until(lambda: len(on_the_map()) == 1 and least <= on_the_map()[0] <= FIRMS, WITHIN, "the map")


@pytest.mark.timeout(600)
def test_a_change_at_the_source_is_seen_within_seconds_and_what_closes_is_gone(town: Town) -> None:
    town.now += timedelta(hours=1)
    town.register("NEW")
    until(lambda: "广州NEW公司" in town.names("enterprise"), CHANGE_WITHIN, "a new firm")
    town.now += timedelta(hours=1)
    town.run("aic", "UPDATE enterprise SET name = '广州新名公司', updated_at = %s WHERE ent_id = 'NEW'", town.now)
    until(
        lambda: {"广州新名公司"} == town.names("enterprise") & {"广州新名公司", "广州NEW公司"},
        CHANGE_WITHIN,
        "its new name",
    )
    town.now += timedelta(hours=1)
    town.run(
        "aic",
        "UPDATE enterprise SET status = 'DEREGISTERED', status_date = %s, updated_at = %s WHERE ent_id = 'NEW'",
        town.now.date(), town.now,
    )  # fmt: skip
    until(lambda: "广州新名公司" not in town.names("enterprise"), CHANGE_WITHIN, "it is deregistered")
    until(lambda: town.names("enterprise_closed") == {"广州新名公司"}, CHANGE_WITHIN, "and among those that closed")


@pytest.mark.timeout(600)
def test_a_group_of_fewer_than_its_set_allows_is_never_shown(town: Town) -> None:
    town.now += timedelta(hours=1)
    for number in range(TRADERS):
        town.register(f"T{number}", "SOLE_TRADER")
    for number in range(ALONE):
        town.register(f"A{number}", "SOLE_TRADER", "2016-01-01")
    until(lambda: len(town.read("sole_trader/rows?limit=100")["rows"]) == TRADERS, WITHIN, "a group of ten")
    town.now += timedelta(days=1)
    town.register("LATER")
    until(lambda: "广州LATER公司" in town.names("enterprise"), WITHIN, "and a day later")
    shown = [row["established"] for row in town.read("sole_trader/rows?limit=100")["rows"]]
    assert shown == ["2015"] * TRADERS
    everything = [one.value for one in town.mesh.seen("open.dataset") if one.value is not None]
    traders = [
        row
        for value in everything
        for row in (value["before"], value["after"])
        if row and row["dataset"] == "sole_trader"
    ]
    assert {json.loads(row["content"])["established"] for row in traders} == {"2015"}, "nor at any time before"
