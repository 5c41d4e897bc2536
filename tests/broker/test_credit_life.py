"""The life of a credit record, end to end: through the running mesh, touching nothing but departments' and subscribers' databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from ops.city.numbers import Numbers
from streams.flows.credit.record import record_id_of
from tests.stage.departments import Departments, department_mesh
from tests.stage.until import until, until_none

WITHIN = 120
NUMBERS = Numbers()
USCC = NUMBERS.uscc("91", NUMBERS.org_code(is_new=True))
DATABASES = ("enterprise", "person", "institution", "social_organisation", "government")
VIEWS = ("public", "professional", "government")


class Town(Departments):
    """Commerce, food and drug, and the credit centre with its five databases."""

    def penalise(self, decision_no: str, publish_until: str) -> str:
        """The food and drug administration punishes the firm; the record's public name."""
        self.run(
            "fda",
            "INSERT INTO penalty VALUES (%s, 'ENTERPRISE', %s, '广州甲食品有限公司', '经营过期食品', '食品安全法', '罚款', 5000,"
            " '440106', %s, %s, NULL, %s, 1)",
            decision_no, USCC, self.now.date(), publish_until, self.now,
        )  # fmt: skip
        return record_id_of("fda.penalty", decision_no)

    def held(self, record_id: str) -> dict[str, str]:
        """In which of the five databases a record stands at the centre, and in which state."""
        query = "SELECT state FROM credit_{} WHERE record_id = %s"
        found = {name: self.run("credit_centre", query.format(name), record_id) for name in DATABASES}
        return {name: rows[0][0] for name, rows in found.items() if rows}

    def shown(self, record_id: str) -> set[str]:
        """The views that show a record."""
        found: set[str] = set()
        for view in VIEWS:
            stands = False
            for one in self.mesh.seen(f"credit.view_{view}"):
                if one.key is not None and one.key["record_id"] == record_id:
                    stands = bool(one.value and one.value["after"])
            if stands:
                found.add(view)
        return found

    def punished(self) -> set[tuple[Any, ...]]:
        """What the centre holds against the firm."""
        return set(self.run("credit_centre", "SELECT measure FROM credit_joint_punishment WHERE subject_id = %s", USCC))


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    tables = {
        "aic": {"enterprise", "credit_repair", "credit_objection"},
        "fda": {"penalty"},
        "credit_centre": set[str](),
    }
    with department_mesh(tmp_path_factory.mktemp("credit"), ["credit"], tables) as (mesh, dsns):
        town = Town(mesh, dsns, datetime(2016, 11, 1, 2, 0, tzinfo=UTC))
        town.register_firm("E1", uscc=USCC, name="广州甲食品有限公司", industry="C14", established="2015-01-01")
        yield town


@pytest.mark.timeout(600)
def test_a_penalty_is_in_one_database_and_three_views_until_it_is_repaired_or_over(town: Town) -> None:
    record, brief = town.penalise("P1", "2017-11-01"), town.penalise("P2", "2016-11-20")
    until(lambda: town.held(record) == {"enterprise": "PUBLISHED"}, WITHIN, "it stands in the firms' database alone")
    until(lambda: town.shown(record) == set(VIEWS), WITHIN, "all three views show it")
    until(town.punished, WITHIN, "other departments are told what follows")
    town.now = datetime(2016, 11, 10, 2, 0, tzinfo=UTC)
    town.run(
        "aic",
        "INSERT INTO credit_repair VALUES ('R1', %s, '2016-11-10', 'GRANTED', '2016-11-10', %s, 1)",
        record, town.now,
    )  # fmt: skip
    until(lambda: town.held(record) == {"enterprise": "REPAIRED"}, WITHIN, "the repair was granted")
    until(lambda: "public" not in town.shown(record), WITHIN, "the public sees it no more")
    assert "public" in town.shown(brief)
    town.now = datetime(2016, 11, 25, 2, 0, tzinfo=UTC)
    town.penalise("P3", "2017-11-25")  # moves the flow's clock past the day
    until(lambda: town.held(brief) == {"enterprise": "EXPIRED"}, WITHIN, "its term is over, with nobody doing anything")
    until(lambda: town.shown(brief) == set(), WITHIN, "no view shows it")
    for feed in ("credit.enterprise", "credit.joint_punishment"):
        town.mesh.verified(feed)


@pytest.mark.timeout(600)
def test_a_penalty_that_is_revoked_takes_with_it_what_followed(town: Town) -> None:
    town.penalise("P4", "2018-11-01")
    until(town.punished, WITHIN, "other departments are told what follows")
    town.run("fda", "UPDATE penalty SET revoked_date = '2016-11-26'")
    until_none(town.punished, WITHIN, "nothing is held against the firm")
