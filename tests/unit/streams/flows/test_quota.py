"""Car quota, HANDBOOK §4 E: one test per check at least, in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from schemas.decision import ANSWER, EXTEND, UNDO
from schemas.expression.identifiers import citizen_check
from streams.engine.effects import Effects
from streams.engine.folding import Folding
from streams.engine.inbox.intake import Outgoing
from streams.engine.inbox.message import FACT, message_key, pack
from streams.flows.quota import FLOW
from streams.flows.quota.cycle import find_period, period_of
from streams.flows.quota.draw import commitment, draw_order, roster_hash, verify_draw
from tests.stage.rehearsal import MemoryStore, Rehearsal, city_contracts, days, interleavings, micros

CONTRACTS = city_contracts()
AGENCIES = ("transport", "police", "hrss", "state_tax", "local_tax", "aic", "qts")
APPLICATION, REVIEW = "transport.quota_application", "transport.quota_review"
DRAW, AWARD = "transport.quota_draw", "transport.quota_award"
REQUEST, VERDICT, ROSTER = "quota.review_request", "quota.verdict", "quota.roster"
RESULT, ALERT, REFUSAL = "quota.draw_result", "quota.alert", "quota.refusal"
KEY = "a1d2198868b192dbf70635af15b3986069847f41e553727f7523bcef1349cce2"
CODE = "2016100000001"


def citizen(number: int) -> str:
    first = f"440199199001{number % 28 + 1:02}{number // 28:03}"
    return first + citizen_check(first)


@pytest.fixture
def city() -> Iterator[Rehearsal]:
    made = Rehearsal(FLOW, CONTRACTS, now="2016-10-01")
    made.tick("2016-10-01")
    yield made
    made.check_rows()


def apply(city: Rehearsal, number: int = 1, **columns: Any) -> str:
    """A person applies for the lottery of October 2016; returns the application code."""
    code = columns.pop("app_code", f"{2016100000000 + number}")
    row = {
        "applicant_kind": "PERSON",
        "id_type": "CITIZEN_ID",
        "applicant_id": citizen(number),
        "name": "张三",
        "licence_no": citizen(number),
        "licence_class": "C1",
        "quota_kind": "ORDINARY",
        "method": "LOTTERY",
        "period": "201610",
        "submitted_at": micros("2016-10-02"),
        "cutoff_at": micros("2016-10-09"),
        "status": "SUBMITTED",
        **columns,
    }
    city.insert(APPLICATION, app_code=code, **row)
    return code


def answer(
    city: Rehearsal,
    agency: str,
    verdict: str = "PASS",
    at: str = "2016-10-05",
    code: str = CODE,
    number: int = 1,
    **more: Any,
) -> None:
    city.now = max(city.now, at)
    city.insert(
        f"{agency}.quota_result",
        app_code=code,
        review_round=number,
        agency=agency,
        verdict=verdict,
        answered_at=micros(at),
        **more,
    )


def second_answer(city: Rehearsal, agency: str, verdict: str, at: str, number: int = 1) -> None:
    key = {"app_code": CODE, "review_round": number, "agency": agency}
    city.now = max(city.now, at)
    city.update(f"{agency}.quota_result", key, verdict=verdict, answered_at=micros(at))


def pass_all(city: Rehearsal, code: str = CODE, but: tuple[str, ...] = (), at: str = "2016-10-05") -> None:
    for agency in AGENCIES:
        if agency not in but:
            answer(city, agency, code=code, at=at)


def verdict_of(city: Rehearsal, code: str = CODE, period: str = "201610") -> dict[str, Any]:
    return dict(city.rows(VERDICT)[f"{code}|{period}"])


def refused(city: Rehearsal) -> list[tuple[str, str, int]]:
    return sorted((row["agency"], row["reason"], row["review_round"]) for row in city.rows(REFUSAL).values())


def kinds(city: Rehearsal) -> list[str]:
    return [item["kind"] for item in city.queue()]


def draw_row(city: Rehearsal, **columns: Any) -> None:
    row = {
        "period": "201610",
        "quota_kind": "ORDINARY",
        "key_commitment": commitment(bytes.fromhex(KEY)),
        "quota": 2,
        "algorithm": "HMAC-SHA256",
        **columns,
    }
    city.insert(DRAW, **row)


def reveal(city: Rehearsal, key: str = KEY, at: str = "2016-10-26T10:00:00+08:00", **columns: Any) -> None:
    city.now = at
    city.update(DRAW, {"period": "201610", "quota_kind": "ORDINARY"}, draw_key=key, **columns)
    city.tick(at)


def frozen_city(city: Rehearsal, count: int = 6) -> list[str]:
    """So many valid applications, a promised draw, and the clock past the freeze of October."""
    codes = [apply(city, number) for number in range(1, count + 1)]
    for code in codes:
        pass_all(city, code)
    city.now = "2016-10-10"
    draw_row(city)
    city.tick("2016-10-10")
    city.tick("2016-10-22")
    return codes


# ── E1, E2: asking ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_e1_one_application_is_seven_requests_with_each_departments_columns(city: Rehearsal) -> None:
    apply(city)
    requests = city.rows(REQUEST)
    assert [change.before for change in city.changes_of(REQUEST)] == [None] * 7, "asked once each"
    assert {row["agency"] for row in requests.values()} == set(AGENCIES)
    header = {"app_code", "review_round", "agency", "period", "asked_at", "due_at"}
    seen = {
        row["agency"]: {name for name, value in row.items() if value is not None} - header for row in requests.values()
    }
    assert seen["police"] == {"id_type", "applicant_id", "name", "licence_no", "licence_class"}
    for tax in ("state_tax", "local_tax"):
        assert seen[tax] == {"id_type", "applicant_id", "name"}, "tax never sees licence data"
    assert seen["aic"] == {"id_type", "applicant_id"}


def test_e1_an_organisation_is_asked_about_by_its_own_columns(city: Rehearsal) -> None:
    firm = {"applicant_kind": "ORGANISATION", "id_type": "USCC", "applicant_id": "91440199MA00000155"}
    apply(city, **firm, licence_no=None, licence_class=None)
    apply(city, app_code="2016100000002", **firm)
    assert len(city.rows(REQUEST)) == 14, "an organisation may apply for several cars"
    assert city.rows(REQUEST)[f"{CODE}|1|aic"]["name"] is not None


def test_e2_seven_passes_are_valid_and_one_failure_is_not(city: Rehearsal) -> None:
    apply(city)
    pass_all(city, but=("qts",))
    assert verdict_of(city)["verdict"] == "PENDING"
    assert verdict_of(city)["missing"] == ["qts"]
    answer(city, "qts")
    assert verdict_of(city)["verdict"] == "VALID"
    other = apply(city, 2)
    answer(city, "state_tax", "FAIL", code=other, reason_code="TAX_ARREARS")
    row = verdict_of(city, other)
    assert (row["verdict"], row["reason_agency"], row["reason_code"]) == ("NOT_VALID", "state_tax", "TAX_ARREARS")


def test_e2_silence_at_the_deadline_is_pending_and_escalates_to_that_department(city: Rehearsal) -> None:
    apply(city)
    pass_all(city, but=("hrss",))
    city.tick("2016-10-16")
    assert kinds(city) == [], "the grace is not over"
    city.tick("2016-10-16T00:10:00+08:00")
    assert kinds(city) == ["ANSWER_OVERDUE_HRSS"]
    assert city.queued == {"ANSWER_OVERDUE_HRSS": 1}
    assert (verdict_of(city)["verdict"], verdict_of(city)["is_overdue"]) == ("PENDING", True)
    answer(city, "hrss", at="2016-10-17")
    assert kinds(city) == []
    assert (verdict_of(city)["verdict"], verdict_of(city)["is_overdue"]) == ("VALID", False)


def test_e2_an_officer_answers_for_a_silent_department_until_it_answers_itself(city: Rehearsal) -> None:
    apply(city)
    pass_all(city, but=("hrss",))
    city.tick("2016-10-17")
    (item,) = city.queue()
    city.decide(item["conflict_id"], ANSWER, verdict="FAIL")
    row = verdict_of(city)
    assert (row["verdict"], row["reason_agency"], row["reason_code"]) == ("NOT_VALID", "hrss", "DECIDED")
    city.decide(item["conflict_id"], ANSWER, verdict="PASS")
    assert (verdict_of(city)["verdict"], verdict_of(city)["is_overdue"]) == ("VALID", False)
    assert [row["state"] for row in city.queue()] == ["RESOLVED"]
    answer(city, "hrss", "FAIL", at="2016-10-18")
    assert (verdict_of(city)["verdict"], city.queue(), refused(city)) == ("NOT_VALID", [], []), "its own word counts"


def test_e2_an_extended_deadline_escalates_again_once_it_is_over(city: Rehearsal) -> None:
    apply(city)
    pass_all(city, but=("hrss",))
    city.tick("2016-10-17")
    (item,) = city.queue()
    city.decide(item["conflict_id"], EXTEND, until=micros("2016-10-18"))
    assert ([row["state"] for row in city.queue()], verdict_of(city)["is_overdue"]) == (["RESOLVED"], False)
    due = {row["agency"]: row["due_at"] for row in city.rows(REQUEST).values()}
    assert due["hrss"] == micros("2016-10-18"), "the department is told"
    assert due["aic"] < due["hrss"]
    city.tick("2016-10-18T00:10:00+08:00")
    assert [(row["state"], row["decision"]) for row in city.queue()] == [("OPEN", "OVER extend")]
    city.decide(item["conflict_id"], ANSWER, verdict="PASS")
    assert verdict_of(city)["verdict"] == "VALID"
    city.decide(item["conflict_id"], UNDO)
    assert (verdict_of(city)["verdict"], verdict_of(city)["is_overdue"]) == ("PENDING", True)
    assert city.queue() == [item]


def test_e3_what_an_officer_answers_after_the_freeze_counts_for_the_next_period(city: Rehearsal) -> None:
    apply(city)
    pass_all(city, but=("hrss",))
    city.tick("2016-10-21T01:00:00+08:00")
    city.tick("2016-10-22")
    frozen = verdict_of(city)
    assert frozen["verdict"] == "PENDING"
    item = next(row for row in city.queue() if row["kind"] == "ANSWER_OVERDUE_HRSS")
    city.decide(item["conflict_id"], ANSWER, verdict="PASS")
    assert verdict_of(city) == frozen
    assert verdict_of(city, period="201611")["verdict"] == "VALID"
    assert refused(city) == [], "no department is told that an answer of its own came late"


def test_e2_need_info_is_neither_pass_nor_silence(city: Rehearsal) -> None:
    apply(city)
    pass_all(city, but=("aic",))
    answer(city, "aic", "NEED_INFO")
    city.tick("2016-10-17")
    assert verdict_of(city)["verdict"] == "PENDING"
    assert kinds(city) == []


# ── E3: second answers ───────────────────────────────────────────────────────────────────────────────────────────────


def test_e3_a_duplicate_answer_changes_nothing(city: Rehearsal) -> None:
    apply(city)
    pass_all(city)
    before = len(city.history)
    second_answer(city, "police", "PASS", "2016-10-06")
    assert len(city.history) == before


def test_e3_a_contradictory_answer_before_the_freeze_supersedes_and_is_recorded(city: Rehearsal) -> None:
    apply(city)
    pass_all(city)
    second_answer(city, "police", "FAIL", "2016-10-06")
    assert verdict_of(city)["verdict"] == "NOT_VALID"
    (alert,) = city.rows(ALERT).values()
    assert (alert["kind"], alert["agency"], len(alert["evidence"])) == ("ANSWER_CONTRADICTED", "police", 2)
    assert refused(city) == [("police", "ANSWER_SUPERSEDED", 1)]
    second_answer(city, "police", "PASS", "2016-10-07")
    assert verdict_of(city)["verdict"] == "VALID"
    assert len(next(iter(city.rows(ALERT).values()))["evidence"]) == 3
    assert kinds(city) == []


def test_e3_after_the_freeze_it_counts_for_the_next_period_and_goes_to_audit(city: Rehearsal) -> None:
    frozen_city(city, 1)
    second_answer(city, "police", "FAIL", "2016-10-23")
    assert verdict_of(city)["verdict"] == "VALID", "a freeze is immutable"
    assert verdict_of(city, period="201611")["verdict"] == "NOT_VALID"
    assert kinds(city) == ["ANSWER_CONTRADICTED_AFTER_FREEZE"]
    assert ("police", "ANSWER_CONTRADICTED_AFTER_FREEZE", 1) in refused(city)
    assert city.rows(ROSTER)["201610|ORDINARY|1"]["codes"] == [CODE]
    city.tick("2016-11-22")
    assert "201611|ORDINARY|1" not in city.rows(ROSTER)


def test_e3_a_backdated_answer_after_the_freeze_cannot_change_it(city: Rehearsal) -> None:
    frozen_city(city, 1)
    second_answer(city, "police", "FAIL", "2016-10-06")
    assert verdict_of(city)["verdict"] == "VALID"
    assert verdict_of(city, period="201611")["verdict"] == "NOT_VALID"
    assert kinds(city) == ["ANSWER_CONTRADICTED_AFTER_FREEZE"]


class Withheld(Rehearsal):
    """What cases tell the claims of their applicants lies in the inbox, behind much else, until it is released."""

    def __init__(self) -> None:
        super().__init__(FLOW, CONTRACTS, now="2016-10-01")
        self.withheld: list[Outgoing] = []
        self.is_withholding = True

    def deliver(self, messages: list[Outgoing]) -> None:
        super().deliver(messages)
        if not self.is_withholding:
            held, self.withheld = self.withheld, []
            super().deliver(held)

    def take_batch(self, batch: list[tuple[int, bytes, bytes]]) -> Iterator[Effects]:
        for effects in super().take_batch(batch):
            held = [each for each in effects.messages if b"\0claim:" in each.key] if self.is_withholding else []
            self.withheld += held
            yield replace(effects, messages=[each for each in effects.messages if each not in held])


def test_e3_a_verdict_freezes_once_the_applicants_place_is_known_and_not_as_pending_before() -> None:
    city = Withheld()
    city.tick("2016-10-01")
    for code in (apply(city), apply(city, 2)):
        pass_all(city, code)
    city.tick("2016-10-22")
    assert verdict_of(city)["verdict"] == "PENDING"
    city.is_withholding = False
    city.tick("2016-10-23")
    assert [verdict_of(city, code)["verdict"] for code in (CODE, "2016100000002")] == ["VALID", "VALID"]
    second_answer(city, "police", "FAIL", "2016-10-06")
    assert verdict_of(city)["verdict"] == "VALID", "and from then on it is frozen"
    city.check_rows()


def test_e3_a_frozen_verdict_stays_while_its_application_is_copied_anew() -> None:
    city = Withheld()
    city.is_withholding = False
    city.tick("2016-10-01")
    row = {"app_code": apply(city)}
    pass_all(city, CODE)
    city.tick("2016-10-22")
    city.is_withholding = True
    city.delete(APPLICATION, row)
    apply(city)
    second_answer(city, "police", "FAIL", "2016-10-06")
    assert verdict_of(city)["verdict"] == "VALID"
    city.is_withholding = False
    city.tick("2016-10-23")
    assert verdict_of(city)["verdict"] == "VALID", "whose the place is was known when it froze"


def test_e3_the_missing_answer_after_the_freeze_makes_the_case_valid_in_the_next_period(city: Rehearsal) -> None:
    apply(city)
    pass_all(city, but=("qts",))
    city.tick("2016-10-22")
    answer(city, "qts", at="2016-10-25")
    assert verdict_of(city)["verdict"] == "PENDING"
    assert verdict_of(city, period="201611")["verdict"] == "VALID"
    assert "ANSWER_AFTER_FREEZE" in kinds(city)
    assert refused(city) == [("qts", "ANSWER_AFTER_FREEZE", 1)]
    city.tick("2016-11-10")
    city.tick("2016-11-22")
    assert city.rows(ROSTER)["201611|ORDINARY|1"]["codes"] == [CODE]


# ── E4: re-review ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_e4_a_review_asks_only_the_failing_departments_in_the_next_round(city: Rehearsal) -> None:
    apply(city)
    pass_all(city, but=("police", "aic"))
    answer(city, "police", "FAIL")
    answer(city, "aic", "NEED_INFO")
    city.insert(REVIEW, app_code=CODE, review_round=2, requested_at=micros("2016-10-07"))
    second = {row["agency"] for row in city.rows(REQUEST).values() if row["review_round"] == 2}
    assert second == {"police", "aic"}
    assert verdict_of(city)["missing"] == ["police", "aic"]
    answer(city, "police", at="2016-10-08", number=2)
    answer(city, "aic", at="2016-10-08", number=2)
    row = verdict_of(city)
    assert (row["verdict"], row["review_round"]) == ("VALID", 2)
    assert {one["agency"]: one["review_round"] for one in row["answers"]}["hrss"] == 1, "kept"


def test_e4_an_answer_that_is_too_old_is_asked_again(city: Rehearsal) -> None:
    apply(city, period="201704", submitted_at=micros("2016-10-02"))
    pass_all(city, but=("police",))
    answer(city, "police", at="2017-04-02")
    city.insert(REVIEW, app_code=CODE, review_round=2, requested_at=micros("2017-04-06"))
    second = {row["agency"] for row in city.rows(REQUEST).values() if row["review_round"] == 2}
    assert second == set(AGENCIES) - {"police"}, "answers hold 180 days"


def test_e4_silence_in_the_second_round_escalates_by_its_own_deadline(city: Rehearsal) -> None:
    apply(city)
    pass_all(city, but=("police",))
    answer(city, "police", "FAIL")
    city.insert(REVIEW, app_code=CODE, review_round=2, requested_at=micros("2016-10-14"))
    city.tick("2016-10-18")
    assert kinds(city) == []
    city.tick("2016-10-19T00:10:00+08:00")
    assert [item["conflict_id"] for item in city.queue()] == [f"case:{CODE}|ANSWER_OVERDUE|police|2"]


def test_answers_to_nobodys_question_are_named(city: Rehearsal) -> None:
    apply(city)
    answer(city, "police", number=2)
    assert kinds(city) == ["ANSWER_NOT_ASKED"]
    answer(city, "police", code="2016100000009")
    city.tick("2016-10-06T00:00:01+08:00")
    assert kinds(city) == ["ANSWER_NOT_ASKED", "ANSWER_WITHOUT_APPLICATION"]
    assert refused(city) == [("police", "ANSWER_NOT_ASKED", 2), ("police", "ANSWER_WITHOUT_APPLICATION", 1)]
    apply(city, 9)
    assert kinds(city) == ["ANSWER_NOT_ASKED"]
    assert refused(city) == [("police", "ANSWER_NOT_ASKED", 2)]


def test_an_answer_for_another_department_is_refused_at_the_one_that_sent_it(city: Rehearsal) -> None:
    apply(city)
    pass_all(city, but=("aic",))
    answer = {"agency": "aic", "verdict": "PASS", "answered_at": micros("2016-10-05")}
    city.insert("police.quota_result", app_code=CODE, review_round=1, **answer)
    assert refused(city) == [("police", "ANSWER_OF_ANOTHER_AGENCY", 1)]
    assert kinds(city) == ["ANSWER_OF_ANOTHER_AGENCY"]
    assert verdict_of(city)["missing"] == ["aic"], "it answers for nobody"


def test_an_answer_outlives_its_application_without_being_a_riddle(city: Rehearsal) -> None:
    frozen_city(city, 1)
    city.delete(APPLICATION, {"app_code": CODE})
    city.tick("2016-10-24")
    assert (kinds(city), refused(city)) == ([], [])
    assert verdict_of(city)["verdict"] == "VALID"


# ── E5: one application ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("other", [{"quota_kind": "NEW_ENERGY"}, {"method": "AUCTION"}, {}])
def test_e5_a_persons_second_application_of_a_period_is_rejected(city: Rehearsal, other: dict[str, str]) -> None:
    apply(city)
    apply(city, app_code="2016100000002", submitted_at=micros("2016-10-03"), **other)
    row = verdict_of(city, "2016100000002")
    assert (row["verdict"], row["reason_code"]) == ("NOT_VALID", "DUPLICATE_APPLICATION")
    assert kinds(city) == ["DUPLICATE_APPLICATION"]
    assert {request["app_code"] for request in city.rows(REQUEST).values()} == {CODE}, "no department is asked in vain"
    third = apply(city, app_code="2016110000001", period="201611", submitted_at=micros("2016-11-02"))
    assert verdict_of(city, third, "201611")["reason_code"] is None, "another period"


def test_e5_the_earlier_application_has_the_place_whichever_arrives_first(city: Rehearsal) -> None:
    apply(city, app_code="2016100000002", submitted_at=micros("2016-10-03"))
    fifteen = "440199" + "900102" + "010"
    assert apply(city, applicant_id=citizen(1)) == CODE
    assert verdict_of(city, "2016100000002")["reason_code"] == "DUPLICATE_APPLICATION"
    city.update(APPLICATION, {"app_code": CODE}, status="WITHDRAWN", status_date=days("2016-10-04"))
    assert verdict_of(city)["reason_code"] == "APPLICATION_WITHDRAWN"
    assert verdict_of(city, "2016100000002")["reason_code"] is None, "the place is free again"
    assert {request["app_code"] for request in city.rows(REQUEST).values()} == {"2016100000002"}
    assert fifteen not in str(city.rows(VERDICT))


def test_e5_the_old_and_the_new_number_of_a_person_are_one_person(city: Rehearsal) -> None:
    fifteen = citizen(1)[:6] + citizen(1)[8:17]
    apply(city)
    apply(city, app_code="2016100000002", applicant_id=fifteen, submitted_at=micros("2016-10-03"))
    assert verdict_of(city, "2016100000002")["reason_code"] == "DUPLICATE_APPLICATION"


# ── E6: cycle ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_e6_a_cycle_of_twelve_months_has_120_000_quotas_spread_monthly() -> None:
    periods = [period_of(f"2016{month:02}") for month in range(7, 13)] + [period_of(f"2017{m:02}") for m in range(1, 7)]
    shares = (("ORDINARY", "LOTTERY"), ("NEW_ENERGY", "LOTTERY"), ("ORDINARY", "AUCTION"))
    monthly = [sum(period.allotment(*share) for share in shares) for period in periods]
    assert sum(monthly) == 120_000
    assert set(monthly) == {10_000}
    october = period_of("201610")
    assert october.available("ORDINARY", {"201607": 5000, "201608": 4000, "201606": 1}) == 5000 + 1000 + 5000
    assert period_of("201707").available("ORDINARY", {"201610": 1}) == 5000, "nothing is carried across cycles"
    assert october.after_in_cycle()[-1] == "201706"


def test_e6_the_pack_of_the_period_decides_its_days() -> None:
    assert period_of("201406").cutoff_at == micros("2014-06-09"), "the end of the eighth"
    assert period_of("201407").cutoff_at == micros("2014-07-10"), "the end of the ninth"
    assert period_of("201406").pack["award_valid_days"] == 180
    assert period_of("201610").draw_on.isoformat() == "2016-10-26"
    assert [day.isoformat() for day in period_of("201610").redraw_on] == ["2016-10-28"]
    assert find_period("201106") is None
    assert find_period("201613") is None


def test_e6_an_application_after_the_cutoff_does_not_count(city: Rehearsal) -> None:
    apply(city, submitted_at=micros("2016-10-10"))
    assert verdict_of(city)["reason_code"] == "SUBMITTED_LATE"
    assert kinds(city) == ["SUBMITTED_LATE"]
    assert not city.rows(REQUEST)


def test_e6_a_draw_of_more_than_the_cycle_has_left_is_refused(city: Rehearsal) -> None:
    frozen_city(city, 2)
    reveal(city, quota=20_001)
    assert "QUOTA_EXCEEDS_CYCLE" in kinds(city)
    assert not city.rows(RESULT)


def test_e6_what_earlier_periods_drew_is_gone(city: Rehearsal) -> None:
    frozen_city(city, 6)
    reveal(city)
    code = apply(city, 11, app_code="2016110000001", period="201611", submitted_at=micros("2016-11-02"))
    pass_all(city, code, at="2016-11-05")
    city.tick("2016-11-10")
    city.tick("2016-11-22")
    assert city.rows(ROSTER)["201611|ORDINARY|1"]["available_quota"] == 5 * 5000 - 2


def test_e6_a_draw_that_is_not_held_is_overdue_until_it_is(city: Rehearsal) -> None:
    frozen_city(city, 2)
    city.tick("2016-10-27T00:10:00+08:00")
    assert [(item["kind"], item["detail"]) for item in city.queue()] == [("DRAW_OVERDUE", "next draw day 2016-10-28")]
    city.tick("2016-10-29T00:10:00+08:00")
    assert city.queue()[0]["detail"] == "no draw day is left"
    reveal(city, at="2016-10-30T00:00:00+08:00")
    city.tick("2016-10-31")
    assert kinds(city) == []


# ── E7: roster and draw ──────────────────────────────────────────────────────────────────────────────────────────────


def test_e7_the_draw_of_the_handbook() -> None:
    key = hashlib.sha256(b"GZ-2016-10|dice:3,5,1,6|commit:demo").digest()
    codes = [f"{2016100000000 + number}" for number in range(1, 7)]
    assert key.hex() == KEY
    assert commitment(key) == "f8444f91c2624466d30b8758c42e3cd63ca52334c9ce13f05f341db3b0977cf1"
    assert roster_hash(reversed(codes)) == "5c276927ee375ecf0232975b3b03491d333b6360623889fe9c2e1bd6f346c0a0"
    assert [code[-3:] for code in draw_order(codes, key)] == ["004", "006", "005", "003", "002", "001"]
    good = {
        "published_hash": roster_hash(codes),
        "key_commitment": commitment(key),
        "draw_key": KEY,
        "quota": 2,
        "winners": [codes[3], codes[5]],
    }
    assert verify_draw(codes, **good) == []
    assert verify_draw(codes, **{**good, "winners": [codes[5], codes[3]]}) == ["WINNERS_DIFFER"]
    assert verify_draw(codes[:5], **good) == ["ROSTER_HASH_DIFFERS", "WINNERS_DIFFER"]
    assert verify_draw(codes, **{**good, "draw_key": "00" * 32}) == ["KEY_NOT_COMMITTED", "WINNERS_DIFFER"]
    assert verify_draw(codes, **{**good, "draw_key": "xyz"}) == ["KEY_NOT_HEX"]


def test_e7_roster_and_commitment_are_public_before_the_key_and_the_result_follows(city: Rehearsal) -> None:
    codes = frozen_city(city)
    (page,) = city.rows(ROSTER).values()
    assert page["roster_hash"] == "5c276927ee375ecf0232975b3b03491d333b6360623889fe9c2e1bd6f346c0a0"
    assert page["key_commitment"] == "f8444f91c2624466d30b8758c42e3cd63ca52334c9ce13f05f341db3b0977cf1"
    assert not city.rows(RESULT)
    reveal(city, roster_hash=page["roster_hash"])
    winners = sorted(city.rows(RESULT).values(), key=lambda row: row["rank"])
    assert [row["app_code"] for row in winners] == [codes[3], codes[5]]
    assert winners[0]["valid_to"] == days("2016-10-26") + 365
    problems = verify_draw(
        page["codes"],
        published_hash=page["roster_hash"],
        key_commitment=page["key_commitment"],
        draw_key=winners[0]["draw_key"],
        quota=2,
        winners=[row["app_code"] for row in winners],
    )
    assert problems == []
    reveal(city, key="00" * 32, at="2016-10-27")
    city.delete(DRAW, {"period": "201610", "quota_kind": "ORDINARY"})
    city.tick("2016-10-28")
    assert sorted(city.rows(RESULT).values(), key=lambda row: row["rank"]) == winners, "a draw stays drawn"


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"key": "00" * 32}, "KEY_NOT_COMMITTED"),
        ({"key": "dice"}, "KEY_NOT_HEX"),
        ({"at": "2016-10-15"}, "KEY_BEFORE_ROSTER"),
        ({"roster_hash": "00" * 32}, "ROSTER_HASH_DIFFERS"),
        ({"algorithm": "RANDOM"}, "ALGORITHM_UNKNOWN"),
    ],
)
def test_e7_a_draw_that_is_not_in_order_has_no_winners(city: Rehearsal, columns: dict[str, str], problem: str) -> None:
    frozen_city(city, 2)
    reveal(city, **columns)
    city.tick("2016-10-26T11:00:00+08:00")
    assert not city.rows(RESULT)
    assert kinds(city) == [problem]
    city.now = "2016-10-27"
    key = {"period": "201610", "quota_kind": "ORDINARY"}
    city.update(
        DRAW, key, draw_key=None, roster_hash=None, algorithm="HMAC-SHA256", key_commitment=commitment(b"\1" * 32)
    )
    reveal(city, key="01" * 32, at="2016-10-28")
    assert len(city.rows(RESULT)) == 2, "held again, with another key"
    assert kinds(city) == []


def test_e7_a_key_that_nobody_promised_is_refused(city: Rehearsal) -> None:
    apply(city)
    pass_all(city)
    city.tick("2016-10-10")
    city.now = "2016-10-26"
    draw_row(city, draw_key=KEY)
    city.tick("2016-10-26")
    assert kinds(city) == ["KEY_WITHOUT_COMMITMENT"]


def test_e7_a_promise_cannot_be_changed_before_it_is_kept(city: Rehearsal) -> None:
    frozen_city(city, 2)
    key = {"period": "201610", "quota_kind": "ORDINARY"}
    city.update(DRAW, key, key_commitment=commitment(b"\1" * 32))
    city.tick("2016-10-23")
    assert kinds(city) == ["COMMITMENT_CHANGED"]
    assert city.rows(ROSTER)["201610|ORDINARY|1"]["key_commitment"] == commitment(bytes.fromhex(KEY))
    reveal(city, key="01" * 32)
    assert not city.rows(RESULT)


def test_e7_the_roster_has_valid_lottery_cases_of_its_kind_only_and_never_changes(city: Rehearsal) -> None:
    apply(city)
    pass_all(city)
    auction = apply(city, 2, method="AUCTION")
    pass_all(city, auction)
    electric = apply(city, 3, quota_kind="NEW_ENERGY")
    pass_all(city, electric)
    failed = apply(city, 4)
    answer(city, "aic", "FAIL", code=failed)
    city.tick("2016-10-10")
    city.tick("2016-10-21T00:15:00+08:00")
    assert not city.rows(ROSTER), "what is on its way at the freeze may still arrive"
    city.tick("2016-10-22")
    assert {key: row["codes"] for key, row in city.rows(ROSTER).items()} == {
        "201610|NEW_ENERGY|1": [electric],
        "201610|ORDINARY|1": [CODE],
    }
    city.delete(APPLICATION, {"app_code": CODE})
    city.tick("2016-10-23")
    assert city.rows(ROSTER)["201610|ORDINARY|1"]["codes"] == [CODE]
    assert verdict_of(city)["verdict"] == "VALID", "the source forgets, a freeze does not"
    assert {row["app_code"] for row in city.rows(REQUEST).values()} == {auction, electric, failed}


def test_e7_a_case_that_comes_after_the_roster_was_taken_waits_outside(city: Rehearsal) -> None:
    frozen_city(city, 2)
    late = apply(city, 7)
    pass_all(city, late)
    city.tick("2016-10-23")
    assert len(city.rows(ROSTER)["201610|ORDINARY|1"]["codes"]) == 2
    assert kinds(city) == ["CODE_AFTER_FREEZE"]


# ── E8: between verdict and award ────────────────────────────────────────────────────────────────────────────────────


def test_e8_a_winners_death_or_new_vehicle_is_flagged_before_the_award_and_the_decision_logged(city: Rehearsal) -> None:
    codes = frozen_city(city)
    city.now = "2016-10-24"
    city.insert("health.death_certificate", cert_no="D1", citizen_id=citizen(4), died_at=micros("2016-10-23") + 1)
    car = {"owner_id_type": "CITIZEN_ID", "status": "NORMAL"}
    city.insert("police.vehicle", vin="V6", owner_id=citizen(6), first_registered=days("2016-10-24"), **car)
    city.insert("police.vehicle", vin="V0", owner_id=citizen(6), first_registered=days("2012-01-01"), **car)
    city.insert("police.vehicle", vin="V1", owner_id=citizen(1), first_registered=days("2016-10-24"), **car)
    assert not city.rows(ALERT), "nobody has won yet"
    reveal(city)
    dead, bought = codes[3], codes[5]
    alerts = {row["app_code"]: row for row in city.rows(ALERT).values()}
    assert {code: (row["kind"], row["state"]) for code, row in alerts.items()} == {
        dead: ("APPLICANT_DECEASED", "OPEN"),
        bought: ("NEW_VEHICLE", "OPEN"),
    }
    assert len(alerts[bought]["evidence"]) == 1, "an old car was the police's to judge"
    city.now = "2016-10-27"
    city.update(APPLICATION, {"app_code": dead}, status="NOT_VALID", status_date=days("2016-10-27"))
    city.insert(AWARD, quota_no="Q6", app_code=bought, valid_to=days("2017-10-26"), status="VALID")
    alerts = {row["app_code"]: row for row in city.rows(ALERT).values()}
    assert {code: row["decision"] for code, row in alerts.items()} == {dead: "WITHHELD", bought: "AWARDED"}
    assert alerts[bought]["awarded_at"] == micros("2016-10-27")
    assert alerts[bought]["is_known_before_award"]
    city.now = "2016-10-30"
    city.update(AWARD, {"quota_no": "Q6"}, status="WITHDRAWN", status_date=days("2016-10-30"))
    row = next(row for row in city.rows(ALERT).values() if row["app_code"] == bought)
    assert (row["decision"], row["decision_at"], row["awarded_at"]) == (
        "WITHDRAWN",
        micros("2016-10-30"),
        micros("2016-10-27"),
    )


def test_e8_a_car_after_the_award_is_what_the_award_is_for(city: Rehearsal) -> None:
    codes = frozen_city(city)
    reveal(city)
    city.now = "2016-10-27"
    city.insert(AWARD, quota_no="Q4", app_code=codes[3], valid_to=days("2017-10-26"), status="VALID")
    car = {"owner_id_type": "CITIZEN_ID", "owner_id": citizen(4), "status": "NORMAL"}
    city.insert("police.vehicle", vin="V4", first_registered=days("2016-10-30"), **car)
    assert not city.rows(ALERT)
    city.now = "2016-11-05"
    city.insert("police.resident", citizen_id=citizen(4), status="DECEASED", status_date=days("2016-10-25"))
    (alert,) = city.rows(ALERT).values()
    assert (alert["kind"], alert["is_known_before_award"]) == ("APPLICANT_DECEASED", False)


def test_e8_a_death_that_is_taken_back_takes_its_flag_with_it(city: Rehearsal) -> None:
    frozen_city(city)
    city.insert("police.resident", citizen_id=citizen(4), status="DECEASED", status_date=days("2016-10-23"))
    reveal(city)
    assert len(city.rows(ALERT)) == 1
    city.update("police.resident", {"citizen_id": citizen(4)}, status="REGISTERED", status_date=None)
    assert not city.rows(ALERT)


def test_an_award_that_nobody_won_is_named(city: Rehearsal) -> None:
    codes = frozen_city(city)
    reveal(city)
    city.now = "2016-10-27"
    city.insert(AWARD, quota_no="Q1", app_code=codes[0], valid_to=days("2017-10-26"), status="VALID")
    city.tick("2016-10-27T00:10:00+08:00")
    assert kinds(city) == ["AWARD_WITHOUT_DRAW"]


# ── order, and what leaves ───────────────────────────────────────────────────────────────────────────────────────────


def test_any_interleaving_ends_in_the_same_verdicts_and_roster() -> None:
    seed = 20161026
    source = Rehearsal(FLOW, CONTRACTS, now="2016-10-01")
    taken: dict[str, list[Any]] = {}

    def note(changes: Any) -> None:
        for change in changes:
            taken.setdefault(change.feed, []).append(change)

    source.take = note  # type: ignore[method-assign]
    for number in range(1, 5):
        code = apply(source, number)
        pass_all(source, code, but=("police",))
        answer(source, "police", "FAIL" if number == 2 else "PASS", code=code)
    apply(source, app_code="2016100000009", submitted_at=micros("2016-10-03"))
    second_answer(source, "aic", "FAIL", "2016-10-06")
    source.insert(REVIEW, app_code="2016100000002", review_round=2, requested_at=micros("2016-10-07"))
    answer(source, "police", at="2016-10-08", code="2016100000002", number=2)
    draw_row(source)
    first: tuple[Any, ...] | None = None
    for order in interleavings(taken.values(), seed, 8):
        run = Rehearsal(FLOW, CONTRACTS, now="2016-10-01")
        run.take(order)
        run.tick("2016-10-10")
        run.tick("2016-10-22")
        state = tuple(run.rows(feed) for feed in sorted(FLOW.outputs))
        first = first or state
        assert state == first, f"seed {seed}"
    assert first is not None
    assert [row["codes"] for row in source_roster(first)] == [["2016100000002", "2016100000003", "2016100000004"]]


def source_roster(state: tuple[Any, ...]) -> list[Any]:
    return list(state[sorted(FLOW.outputs).index(ROSTER)].values())


def test_requests_leave_the_departments_when_the_review_is_over(city: Rehearsal) -> None:
    apply(city)
    pass_all(city)
    city.tick("2016-11-19")
    assert len(city.rows(REQUEST)) == 7
    city.tick("2016-11-21T00:10:00+08:00")
    assert not city.rows(REQUEST)
    assert {change.reason for change in city.changes_of(REQUEST) if change.after is None} == {"REVIEW_CLOSED"}
    assert verdict_of(city)["verdict"] == "VALID"


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ({"period": "2016"}, "PERIOD_UNKNOWN"),
        ({"period": "201101"}, "PERIOD_UNKNOWN"),
        ({"applicant_kind": "P"}, "APPLICANT_KIND_UNKNOWN"),
        ({"quota_kind": "DIESEL"}, "QUOTA_KIND_UNKNOWN"),
        ({"method": "FAVOUR"}, "METHOD_UNKNOWN"),
        ({"applicant_id": "440199199001010018"}, "APPLICANT_ID_INVALID"),
        ({"applicant_id": "440199960229997"}, "APPLICANT_ID_AMBIGUOUS"),
        ({"id_type": "USCC"}, "ID_TYPE_UNFIT"),
        ({"app_code": "1|2"}, "APP_CODE_INVALID"),
        ({"submitted_at": None}, "SUBMITTED_AT_MISSING"),
    ],
)
def test_an_application_that_cannot_be_read_has_a_name(city: Rehearsal, columns: dict[str, Any], kind: str) -> None:
    apply(city, **columns)
    assert kinds(city) == [kind]
    assert not city.rows(REQUEST)


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ({"verdict": "YES"}, "VERDICT_UNKNOWN"),
        ({"answered_at": None}, "ANSWER_INCOMPLETE"),
    ],
)
def test_an_answer_that_cannot_be_read_has_a_name(city: Rehearsal, columns: dict[str, Any], kind: str) -> None:
    apply(city)
    row = {"agency": "police", "verdict": "PASS", "answered_at": micros("2016-10-05"), **columns}
    city.insert("police.quota_result", app_code=CODE, review_round=1, **row)
    assert kinds(city) == [kind]


# ── E9: load ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_e9_a_month_of_105_000_codes_is_one_roster_and_one_draw(city: Rehearsal) -> None:
    codes = [f"{2016100000000 + number}" for number in range(105_000)]
    key = message_key("quota", "draw:201610|ORDINARY")
    told = [
        Outgoing(key, pack([FACT, "~code", f"case:{code}|", f"{number:020}", 0, 0, {"app_code": code}, False]))
        for number, code in enumerate(codes)
    ]
    city.store = BulkStore()  # a list kept sorted would cost more than the flow
    city.folding = Folding([FLOW], city.store)
    city.deliver(told)
    city.tick("2016-10-10")
    assert not city.rows(ROSTER)
    city.now = "2016-10-10"
    draw_row(city, quota=5000)
    city.tick("2016-10-22")
    pages = list(city.rows(ROSTER).values())
    assert (len(pages), pages[0]["code_count"]) == (105, 105_000)
    assert all(len(page["codes"]) == 1000 for page in pages)
    reveal(city, quota=5000)
    winners = sorted(city.rows(RESULT).values(), key=lambda row: row["rank"])
    assert [row["app_code"] for row in winners] == draw_order(codes, bytes.fromhex(KEY))[:5000]


def test_e9_the_cutoff_peak_gives_every_application_its_verdict(city: Rehearsal) -> None:
    """A scaled peak: every application answered seven times. A rate is no matter for a unit test."""
    codes = [apply(city, number) for number in range(1, 201)]
    for agency in AGENCIES:
        for code in codes:
            answer(city, agency, code=code)
    verdicts = city.rows(VERDICT).values()
    assert (len(verdicts), {row["verdict"] for row in verdicts}) == (200, {"VALID"})
    assert len(city.rows(REQUEST)) == 1400
    assert kinds(city) == []


# the broker's own load test is tests/broker/test_flow_load.py
for load_test in (
    test_e9_a_month_of_105_000_codes_is_one_roster_and_one_draw,
    test_e9_the_cutoff_peak_gives_every_application_its_verdict,
):
    load_test.in_memory_only = True  # type: ignore[attr-defined]


class BulkStore(MemoryStore):
    """Sorts its keys when it is read, not at every write."""

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                self._entries.pop(key, None)
            else:
                self._entries[key] = value
        self._keys = sorted(self._entries)
