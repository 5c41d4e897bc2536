"""The life of a quota application, end to end: through the running mesh, touching nothing but departments' databases.

Seven departments with a database each; what the mesh brings stands in its schema `mesh`, what a department says in its own tables.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from ops.city.office.register import REFUSALS
from schemas.expression.identifiers import citizen_check
from streams.flows.quota.draw import commitment
from tests.stage.departments import Departments, department_mesh
from tests.stage.running_mesh import database
from tests.stage.until import until

AGENCIES = tuple(REFUSALS)
ANSWERED = 120
PERIOD = "201611"


def citizen(number: int) -> str:
    first = f"44019919900101{number:03}"
    return first + citizen_check(first)


class Town(Departments):
    """Seven departments on a mesh."""

    _numbers = itertools.count(1)

    def apply(self, period: str = PERIOD) -> tuple[str, str]:
        """Somebody applies for the lottery of November, or of another period: code and identity number."""
        number = next(self._numbers)
        code, person = f"{period}{number:07}", citizen(number)
        self.run(
            "transport",
            "INSERT INTO quota_application (app_code, applicant_kind, id_type, applicant_id, name, licence_no, licence_class,"
            " quota_kind, method, period, submitted_at, cutoff_at, status, updated_at, source_row_version) VALUES"
            " (%s, 'PERSON', 'CITIZEN_ID', %s, '张三', %s, 'C1', 'ORDINARY', 'LOTTERY', %s, %s, %s, 'SUBMITTED', %s, 1)",
            code, person, person, period, self.now, datetime(int(period[:4]), int(period[4:]), 9, 16, tzinfo=UTC), self.now,
        )  # fmt: skip
        return code, person

    def answer(self, feed: str, code: str, verdict: str = "PASS", number: int = 1, agency: str = "") -> None:
        """A row in one department's register, as a clerk types it."""
        self.run(
            feed,
            "INSERT INTO quota_result (app_code, review_round, agency, verdict, answered_at, updated_at, source_row_version)"
            " VALUES (%s, %s, %s, %s, %s, %s, 1) ON CONFLICT (app_code, review_round, agency)"
            " DO UPDATE SET verdict = excluded.verdict, answered_at = excluded.answered_at",
            code, number, agency or feed, verdict, self.now, self.now,
        )  # fmt: skip

    def verdict(self, code: str) -> tuple[Any, ...] | None:
        """What transport was told of an application."""
        query = "SELECT verdict, reason_agency, reason_code, missing FROM mesh.quota_verdict WHERE app_code = %s AND period = %s"
        return next(iter(self.run("transport", query, code, code[:6])), None)

    def status(self, code: str) -> str:
        [(status,)] = self.run("transport", "SELECT status FROM quota_application WHERE app_code = %s", code)
        return status

    def refused(self, agency: str) -> set[tuple[Any, ...]]:
        """What a department was told of answers of its own that do not count."""
        return set(self.run(agency, "SELECT app_code, review_round, reason FROM mesh.quota_refusal"))

    def asked(self, agency: str, code: str) -> set[int]:
        query = "SELECT review_round FROM mesh.quota_review_request WHERE app_code = %s"
        return {number for (number,) in self.run(agency, query, code)}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    tables = {agency: {"quota_result"} for agency in AGENCIES}
    tables["police"].add("vehicle")
    tables["transport"] |= {"quota_application", "quota_review", "quota_award", "quota_draw"}
    with department_mesh(tmp_path_factory.mktemp("quota"), ["quota"], tables) as (mesh, dsns):
        yield Town(mesh, dsns, datetime(2016, 11, 1, 2, 0, tzinfo=UTC))


@pytest.mark.timeout(600)
def test_an_application_reaches_seven_departments_and_its_verdict_comes_back(town: Town) -> None:
    code, _ = town.apply()
    owner_code, owner = town.apply()
    town.run(
        "police",
        "INSERT INTO vehicle (vin, plate_no, owner_id_type, owner_id, owner_name, use_type, vehicle_class, first_registered,"
        " status, updated_at, source_row_version) VALUES ('V1', '粤A1', 'CITIZEN_ID', %s, '张三', 'PRIVATE', 'K33',"
        " '2014-01-01', 'NORMAL', now(), 1)",
        owner,
    )
    with town.at_work(*AGENCIES):
        until(lambda: (town.verdict(code) or [""])[0] == "VALID", ANSWERED, "seven departments have agreed")
        until(lambda: (town.verdict(owner_code) or [""])[0] == "NOT_VALID", ANSWERED, "the owner of a car is refused")
        assert town.verdict(owner_code) == ("NOT_VALID", "police", "HAS_VEHICLE", [])
        until(lambda: town.status(owner_code) == "NOT_VALID", ANSWERED, "transport writes down what it was told")
        # The car is sold, and the applicant asks for a re-review: of the police, and of nobody else (E4).
        town.run("police", "DELETE FROM vehicle")
        town.now = datetime(2016, 11, 3, 2, 0, tzinfo=UTC)
        town.run(
            "transport",
            "INSERT INTO quota_review VALUES (%s, 2, %s, %s, 1) ON CONFLICT DO NOTHING",
            owner_code, town.now, town.now,
        )  # fmt: skip
        until(lambda: town.status(owner_code) == "VALID", ANSWERED, "the re-review agrees")
    assert {agency for agency in AGENCIES if 2 in town.asked(agency, owner_code)} == {"police"}
    assert all(town.asked(agency, owner_code) >= {1} for agency in AGENCIES)
    for agency in ("state_tax", "local_tax"):  # E1: tax never sees licence data
        with database(town.dsns[agency]) as connection:
            cursor = connection.execute("SELECT * FROM mesh.quota_review_request")
            assert "licence_no" not in {column.name for column in cursor.description or ()}


@pytest.mark.timeout(600)
def test_what_a_department_should_not_have_sent_is_named_in_its_own_database(town: Town) -> None:
    town.now = max(town.now, datetime(2016, 11, 4, 2, 0, tzinfo=UTC))
    code, _ = town.apply()
    for agency in AGENCIES:
        if agency != "aic":
            town.answer(agency, code)
    town.answer("hrss", code, number=4)  # nobody asked
    town.answer("police", code, agency="aic")  # not its own to give
    until(lambda: (code, 4, "ANSWER_NOT_ASKED") in town.refused("hrss"), ANSWERED, "hrss is told")
    until(lambda: (code, 1, "ANSWER_OF_ANOTHER_AGENCY") in town.refused("police"), ANSWERED, "the police are told")
    assert town.verdict(code) == ("PENDING", None, None, ["aic"]), "it counts for nobody"
    town.answer("aic", code)
    until(lambda: (town.verdict(code) or [""])[0] == "VALID", ANSWERED, "aic's own answer counts")
    town.now = datetime(2016, 11, 5, 2, 0, tzinfo=UTC)
    town.answer("aic", code, verdict="FAIL")  # a second word
    until(lambda: (code, 1, "ANSWER_SUPERSEDED") in town.refused("aic"), ANSWERED, "aic is told")
    assert (town.verdict(code) or [""])[0] == "NOT_VALID"
    assert {agency: town.refused(agency) for agency in ("qts", "state_tax", "transport")} == {
        "qts": set(), "state_tax": set(), "transport": set(),
    }  # fmt: skip


@pytest.mark.timeout(600)
def test_a_request_withheld_stays_unanswered_and_escalates_until_it_is_given_back(town: Town) -> None:
    [grant] = [
        name
        for name in (entry["grant_id"] for entry in town.mesh.done("status")["subscriptions"])
        if name.startswith("qts.") and "review_request" in name
    ]
    town.now = max(town.now, datetime(2016, 11, 6, 2, 0, tzinfo=UTC))
    assert town.mesh.run("grant", grant, "SUSPENDED").status == 0
    code, _ = town.apply()
    with town.at_work(*AGENCIES):
        until(lambda: (town.verdict(code) or [None] * 4)[3] == ["qts"], ANSWERED, "all have answered but one")
        assert town.asked("qts", code) == set()
        town.now = datetime(2016, 11, 17, 2, 0, tzinfo=UTC)
        late, _ = town.apply()  # moves the flow's clock past the day by which answers are due
        until(lambda: overdue(town) == {f"case:{code}|ANSWER_OVERDUE|qts|1"}, ANSWERED, "its silence escalates, alone")
        assert (town.verdict(code) or [""])[0] == "PENDING"
        assert town.mesh.run("grant", grant, "ACTIVE").status == 0
        until(lambda: town.status(code) == "VALID", ANSWERED, "it catches up")
        until(lambda: overdue(town) == set(), ANSWERED, "and nothing is overdue any more")
    assert town.verdict(late) == ("NOT_VALID", None, "SUBMITTED_LATE", list(AGENCIES))


@pytest.mark.timeout(600)
def test_a_winner_is_awarded_buys_a_car_and_the_award_is_used(town: Town) -> None:
    town.now = max(town.now, datetime(2016, 11, 20, 2, 0, tzinfo=UTC))
    codes = dict(town.apply("201612") for _ in range(2))
    key = bytes(range(32))
    town.run(
        "transport",
        "INSERT INTO quota_draw (period, quota_kind, key_commitment, quota, algorithm, updated_at, source_row_version)"
        " VALUES ('201612', 'ORDINARY', %s, 1, 'HMAC-SHA256', %s, 1)",
        commitment(key), town.now,
    )  # fmt: skip
    with town.at_work(*AGENCIES):
        until(lambda: {town.status(code) for code in codes} == {"VALID"}, ANSWERED, "both may win")
        # Past the freeze, in two steps: the roster is taken two graces after the draw was first seen, and the flow sees a draw when
        # its clock moves, which is perhaps only now.
        town.now = datetime(2016, 12, 22, 2, 0, tzinfo=UTC)
        later, _ = town.apply("201701")
        until(lambda: town.status(later) == "VALID", ANSWERED, "the flow's clock has moved")
        town.now = datetime(2016, 12, 23, 2, 0, tzinfo=UTC)
        town.apply("201701")
        until(lambda: roster(town, "201612") == sorted(codes), ANSWERED, "the roster is frozen")
        town.now = datetime(2016, 12, 26, 2, 0, tzinfo=UTC)
        town.run("transport", "UPDATE quota_draw SET draw_key = %s, updated_at = %s", key.hex(), town.now)
        drawn = "SELECT app_code FROM mesh.quota_draw_result WHERE period = '201612'"
        [(winner,)] = until(lambda: town.run("transport", drawn), ANSWERED, "transport is told who has won")
        assert town.status(winner) == "VALID", "not yet: what is known of a winner by tomorrow is seen before the award"
        town.now = datetime(2016, 12, 28, 2, 0, tzinfo=UTC)
        until(lambda: town.status(winner) == "AWARDED", ANSWERED, "the winner is awarded")
        award = "SELECT app_code, status FROM quota_award"
        until(lambda: town.run("transport", award) == [(winner, "USED")], ANSWERED, "the car is registered: it is used")
    assert town.run("police", "SELECT owner_id FROM vehicle WHERE first_registered > '2016-12-01'") == [
        (codes[winner],)
    ]
    assert {town.status(code) for code in codes} == {"VALID", "AWARDED"}
    for feed in ("quota.review_request", "quota.verdict", "quota.refusal", "transport.quota_award"):
        town.mesh.verified(feed)


def roster(town: Town, period: str) -> list[str]:
    """The codes of a period's frozen roster."""
    pages = [one.value["after"] for one in town.mesh.seen("quota.roster") if one.value and one.value["after"]]
    return sorted(code for page in pages if page["period"] == period for code in page["codes"])


def overdue(town: Town) -> set[str]:
    """The open escalations on the flow's queue."""
    standing: dict[str, bool] = {}
    for one in town.mesh.seen("quota.queue"):
        if one.key is not None:
            standing[one.key["conflict_id"]] = bool(one.value and one.value["after"])
    return {name for name, stands in standing.items() if stands and "OVERDUE" in name}
