"""The life of a tax warning, end to end: through the running mesh, touching nothing but departments' and subscribers' databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from ops.city.numbers import Numbers
from tests.stage.departments import Departments, department_mesh
from tests.stage.until import until

WITHIN = 120
WAITING = {"OPEN", "DISPATCHED"}
BUREAUS = ("state_tax", "local_tax")


class Town(Departments):
    """Commerce, land, and the two tax bureaus."""

    numbers = Numbers()

    def found(self, ent_id: str, established: str) -> None:
        """A firm of Tianhe that no tax office has heard of."""
        uscc = self.numbers.uscc("91", self.numbers.org_code(True))
        self.register_firm(ent_id, uscc=uscc, established=established)

    def sell(self, contract: str, transferred: str) -> None:
        """A home changes hands."""
        self.run(
            "land",
            "INSERT INTO property_sale VALUES (%s, 'U1', '440199199001010017', '440199199001010025', 900000, %s, %s, %s, 1)",
            contract, transferred, transferred, self.now,
        )  # fmt: skip

    def warnings(self, bureau: str, rule: str) -> dict[str, tuple[Any, ...]]:
        """What stands in a bureau's inbox."""
        query = "SELECT warning_id, state, retracted_reason FROM mesh.tax_warning WHERE rule = %s"
        return {number: tuple(rest) for number, *rest in self.run(bureau, query, rule)}

    def only(self, bureau: str, rule: str) -> tuple[Any, ...] | None:
        return next(iter(self.warnings(bureau, rule).values()), None)

    def refused(self, bureau: str) -> set[tuple[Any, ...]]:
        return set(self.run(bureau, "SELECT warning_id, reason FROM mesh.tax_refusal"))


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    tables = {
        "aic": {"enterprise"},
        "land": {"property_sale"},
        "state_tax": {"registration", "filing", "warning_feedback"},
        "local_tax": {"registration", "filing", "deed_tax", "warning_feedback"},
    }
    with department_mesh(tmp_path_factory.mktemp("tax"), ["tax"], tables) as (mesh, dsns):
        yield Town(mesh, dsns, datetime(2016, 6, 1, 2, 0, tzinfo=UTC))


@pytest.mark.timeout(600)
def test_a_firm_without_registration_is_warned_of_answered_and_counted(town: Town) -> None:
    town.found("E1", "2016-06-01")
    until(lambda: town.mesh.seen("aic.enterprise"), WITHIN, "it is captured")
    assert town.only("state_tax", "W1") is None, "it has thirty days"
    town.now = datetime(2016, 7, 15, 2, 0, tzinfo=UTC)
    town.found("E2", "2016-07-15")  # moves the flow's clock past the window
    until(lambda: (town.only("state_tax", "W1") or [""])[0] in WAITING, WITHIN, "the bureau is warned")
    assert town.warnings("local_tax", "W1") == {}, "it is not theirs"
    with town.at_work(*BUREAUS):
        until(
            lambda: (town.only("state_tax", "W1") or [""])[0] in {"CONFIRMED", "FALSE_POSITIVE"}, WITHIN, "it answers"
        )
    [(outcome,)] = town.run("state_tax", "SELECT outcome FROM warning_feedback")

    def counted() -> bool:
        rows = [one.value["after"] for one in town.mesh.seen("tax.rule_precision") if one.value and one.value["after"]]
        said = "confirmed" if outcome == "CONFIRMED" else "false_positives"
        return any(row["rule"] == "W1" and row[said] == 1 for row in rows)

    until(counted, WITHIN, "the rule's precision counts it")


@pytest.mark.timeout(600)
def test_late_evidence_retracts_the_warning_where_it_was_told(town: Town) -> None:
    file_late(town)
    town.mesh.verified("tax.warning")


def file_late(town: Town) -> None:
    """A home is sold, and its deed tax comes after the warning."""
    if town.warnings("local_tax", "W3"):
        return
    town.now = max(town.now, datetime(2016, 7, 16, 2, 0, tzinfo=UTC))
    town.sell("C1", "2016-07-16")
    town.now = datetime(2016, 11, 1, 2, 0, tzinfo=UTC)
    town.found("E3", "2016-11-01")
    until(lambda: (town.only("local_tax", "W3") or [""])[0] in WAITING, WITHIN, "no deed tax has come")
    town.run("local_tax", "INSERT INTO deed_tax VALUES ('R1', 'C1', 27000, %s, %s, 1)", town.now, town.now)
    until(lambda: town.only("local_tax", "W3") == ("RETRACTED", "EVIDENCE"), WITHIN, "it is taken back")


@pytest.mark.timeout(600)
def test_an_answer_that_does_not_count_is_named_where_it_came_from(town: Town) -> None:
    answer = "INSERT INTO warning_feedback VALUES (%s, %s, NULL, %s, %s, 1) ON CONFLICT DO NOTHING"
    file_late(town)
    [theirs] = town.warnings("local_tax", "W3")
    town.run("state_tax", answer, theirs, "FALSE_POSITIVE", town.now, town.now)
    town.run("local_tax", answer, "W9-0", "CONFIRMED", town.now, town.now)
    until(lambda: (theirs, "FEEDBACK_OF_ANOTHER_OFFICE") in town.refused("state_tax"), WITHIN, "state tax is told")
    until(lambda: ("W9-0", "FEEDBACK_UNKNOWN_WARNING") in town.refused("local_tax"), WITHIN, "local tax is told")
    assert town.only("local_tax", "W3") == ("RETRACTED", "EVIDENCE"), "it counts for nobody"
