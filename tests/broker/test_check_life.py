"""The life of a household check, end to end: through the running mesh, touching nothing but departments' databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.expression.identifiers import citizen_check
from tests.stage.departments import Departments, department_mesh
from tests.stage.running_mesh import database
from tests.stage.until import until

WITHIN = 120
ANSWERING = ("construction", "housing_fund")
ACCEPTED = datetime(2016, 10, 10, 1, 0, tzinfo=UTC)
SCOPES = ["VEHICLE", "PROPERTY", "INCOME", "INSURANCE", "TAX"]


def citizen(number: int) -> str:
    first = f"44010619800101{number:03}"
    return first + citizen_check(first)


HEAD, SPOUSE, STRANGER = citizen(1), citizen(3), citizen(5)


class Town(Departments):
    """The civil affairs bureau, two departments that answer it, and two whose registers the mesh carries."""

    def apply(self, case_no: str, accepted: datetime, *members: str) -> None:
        """A household applies for the living allowance; all of it signs."""
        self.run(
            "civil",
            "INSERT INTO check_case VALUES (%s, 'LIVING_ALLOWANCE', '440106', %s, %s, %s, 'ACCEPTED', NULL, %s, 1)",
            case_no, members[0], accepted, f"{case_no}-1", self.now,
        )  # fmt: skip
        for place, member in enumerate(members, 1):
            self.run(
                "civil",
                "INSERT INTO check_member (case_no, citizen_id, name, relation, is_supporter, updated_at, source_row_version)"
                " VALUES (%s, %s, %s, 'SELF', false, %s, 1)",
                case_no, member, f"张{member[-4:]}", self.now,
            )  # fmt: skip
            self.run(
                "civil",
                "INSERT INTO check_authorisation VALUES (%s, %s, %s, %s, %s, '2017-10-10', NULL, %s, 1)",
                f"{case_no}-{place}", case_no, member, SCOPES, accepted.date(), self.now,
            )  # fmt: skip

    def asked(self, agency: str, case_no: str) -> set[tuple[Any, ...]]:
        return set(self.run(agency, "SELECT citizen_id, source FROM mesh.check_request WHERE case_no = %s", case_no))

    def answers(self, agency: str, case_no: str) -> dict[str, tuple[str, str | None]]:
        query = "SELECT citizen_id, outcome, match_tier FROM check_answer WHERE case_no = %s"
        return {person: (outcome, tier) for person, outcome, tier in self.run(agency, query, case_no)}

    def reports(self, case_no: str) -> dict[int, str]:
        """What the bureau was told: version to finding."""
        return dict(self.run("civil", "SELECT version, finding FROM mesh.check_report WHERE case_no = %s", case_no))

    def decisions(self, case_no: str) -> list[tuple[Any, ...]]:
        query = "SELECT round, report_version, outcome FROM check_decision WHERE case_no = %s ORDER BY round"
        return self.run("civil", query, case_no)

    def refused(self, agency: str) -> set[tuple[Any, ...]]:
        return set(self.run(agency, "SELECT case_no, citizen_id, reason FROM mesh.check_refusal"))

    def report(self, case_no: str, version: int) -> dict[str, Any]:
        """A report as the flow publishes it."""
        rows = [one.value["after"] for one in self.mesh.seen("check.report") if one.value and one.value["after"]]
        return next(row for row in rows if (row["case_no"], row["version"]) == (case_no, version))


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    papers = ("case", "member", "authorisation", "declaration", "decision", "objection", "report_access")
    tables = {
        "civil": {f"check_{paper}" for paper in papers},
        "construction": {"check_answer"},
        "housing_fund": {"check_answer"},
        "hrss": {"pension_payment"},
        "police": {"vehicle"},
    }
    with department_mesh(tmp_path_factory.mktemp("check"), ["check"], tables) as (mesh, dsns):
        yield Town(mesh, dsns, ACCEPTED + timedelta(hours=1))


@pytest.mark.timeout(600)
def test_a_case_asks_is_answered_reported_decided_and_opened_again(town: Town) -> None:
    town.run(
        "construction",
        "INSERT INTO housing_application VALUES ('XJ1', %s, '李四', '440106', '2015-01-01', 'APPROVED', '2015-06-01', now(), 1)",
        SPOUSE,
    )
    town.run("construction", "INSERT INTO housing_member VALUES ('XJ1', %s, '李四', 'SELF', now(), 1)", SPOUSE)
    town.apply("HD1", ACCEPTED, HEAD, SPOUSE)
    with town.at_work("civil", *ANSWERING):
        for agency, source in (("construction", "PUBLIC_HOUSING"), ("housing_fund", "HOUSING_LOAN")):
            both = {(HEAD, source), (SPOUSE, source)}
            until(lambda agency=agency, both=both: town.asked(agency, "HD1") == both, WITHIN, f"{agency} is asked")
        answered = {HEAD: ("NO_RECORD", None), SPOUSE: ("RECORDS", "P3")}  # the register has another name
        until(lambda: town.answers("construction", "HD1") == answered, WITHIN, "construction looks it up")
        until(lambda: len(town.answers("housing_fund", "HD1")) == 2, WITHIN, "the fund answers")
        assert town.reports("HD1") == {}, "banks have fifteen working days"
        town.now = datetime(2016, 11, 7, 2, 0, tzinfo=UTC)
        town.apply("HD2", town.now, STRANGER)  # moves the flow's clock past the last deadline
        until(lambda: town.reports("HD1") == {1: "MANUAL_REVIEW"}, WITHIN, "the bureau has the report")
        until(lambda: [row[:2] for row in town.decisions("HD1")] == [(1, 1)], WITHIN, "it decides")
        status = "SELECT status FROM check_case WHERE case_no = 'HD1'"
        until(lambda: town.run("civil", status) == [("CLOSED",)], WITHIN, "the case is closed")
        report = town.report("HD1", 1)
        assert report["member_count"] == 2
        assert len(report["sources"]) == 28, "every source has a line, whether it spoke or not"
        lines = {line["source"]: line for line in report["sources"]}
        assert (lines["PUBLIC_HOUSING"]["outcome"], lines["PUBLIC_HOUSING"]["uncertain_count"]) == ("AMBIGUOUS", 1)
        assert lines["BANK_DEPOSIT"]["outcome"] == "TIMEOUT"
        # A pension that was not known: the report has a successor, and the bureau decides again.
        town.now = datetime(2016, 11, 10, 2, 0, tzinfo=UTC)
        town.run(
            "hrss",
            "INSERT INTO pension_payment VALUES (%s, '201611', 3000, %s, 'PAID', NULL, %s, 1)",
            HEAD, town.now, town.now,
        )  # fmt: skip
        until(lambda: town.reports("HD1").get(2) == "OVER_LIMITS", WITHIN, "the evidence has changed")
        until(lambda: town.decisions("HD1")[1:] == [(2, 2, "INELIGIBLE")], WITHIN, "it decides again")
        changed = "SELECT previous_finding, finding, sources FROM mesh.check_evidence_changed WHERE case_no = 'HD1'"
        assert town.run("civil", changed) == [("MANUAL_REVIEW", "OVER_LIMITS", ["PENSION"])]
    with database(town.dsns["construction"]) as connection:  # what it needs to look somebody up, and no more
        cursor = connection.execute("SELECT * FROM mesh.check_request")
        assert not {"kind", "authorisations"} & {column.name for column in cursor.description or ()}
    for feed in ("check.request", "check.report", "check.evidence_changed"):
        town.mesh.verified(feed)


@pytest.mark.timeout(600)
def test_an_answer_that_nobody_asked_for_is_named_where_it_came_from(town: Town) -> None:
    town.now = max(town.now, datetime(2016, 11, 14, 2, 0, tzinfo=UTC))
    town.apply("HD3", town.now, HEAD)
    until(lambda: town.asked("construction", "HD3"), WITHIN, "it is asked")
    answer = (
        "INSERT INTO check_answer (case_no, citizen_id, source, outcome, record_count, answered_at, updated_at,"
        " source_row_version) VALUES ('HD3', %s, %s, %s, 0, %s, %s, 1)"
    )
    town.run("construction", answer, STRANGER, "PUBLIC_HOUSING", "NO_RECORD", town.now, town.now)
    town.run("housing_fund", answer, HEAD, "HOUSING_LOAN", "没有", town.now, town.now)
    stranger, odd = ("HD3", STRANGER, "ANSWER_UNASKED"), ("HD3", HEAD, "ANSWER_NOT_UNDERSTOOD")
    until(lambda: town.refused("construction") == {stranger}, WITHIN, "construction is told")
    until(lambda: town.refused("housing_fund") == {odd}, WITHIN, "the fund is told")
    town.run(
        "housing_fund", "UPDATE check_answer SET outcome = 'NO_RECORD', answered_at = %s", town.now + timedelta(hours=1)
    )
    until(lambda: town.refused("housing_fund") == set(), WITHIN, "it has mended it")


@pytest.mark.timeout(600)
def test_nobody_is_asked_without_every_adults_authorisation(town: Town) -> None:
    town.now = max(town.now, datetime(2016, 11, 16, 2, 0, tzinfo=UTC))
    town.apply("HD4", town.now, HEAD, SPOUSE)
    town.apply("HD5", town.now, HEAD)
    until(lambda: town.asked("construction", "HD4"), WITHIN, "all have signed")
    until(lambda: town.asked("construction", "HD5"), WITHIN, "as in another case")
    town.run("civil", "UPDATE check_authorisation SET revoked_at = %s WHERE authorisation_id = 'HD4-2'", town.now)
    until(lambda: not town.asked("construction", "HD4"), WITHIN, "what was asked is withdrawn from who was asked")
    assert town.asked("construction", "HD5"), "and nothing else"
