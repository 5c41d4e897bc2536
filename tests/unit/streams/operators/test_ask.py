from __future__ import annotations

import itertools

import pytest

from streams.operators.ask import (
    NOT_VALID,
    PENDING,
    VALID,
    AnswerForm,
    AnswerTerms,
    Case,
    Round,
    audit_item,
    by_answerer,
    chase,
    escalation,
    late,
    request,
    unasked,
    without_case,
)
from streams.operators.flow import Fact, Outcome, RejectedRow, Subject, keyed

FORM = AnswerForm()
PARTS = by_answerer({"police": ["id", "licence"], "tax": ["id"], "hrss": ["id"]})
FIRST = Round(1, asked_at=0, due_at=100)


def answer(
    agency: str, verdict: str, at: int, number: int = 1, earlier: tuple[Fact, ...] = (), position: int = 0
) -> Fact:
    row = {"agency": agency, "review_round": number, "verdict": verdict, "reason_code": None}
    return Fact(f"{agency}.result", f"A|{number}|{agency}", row, f"{position or at:09}", at, at, earlier)


def test_each_answerer_sees_its_columns_and_null_in_the_others() -> None:
    row = {"id": "1", "licence": "L", "name": "甲"}
    shown = {part.answerer: request(part, row, ["id", "licence", "name"]) for part in PARTS}
    assert shown["police"] == {"id": "1", "licence": "L", "name": None}
    assert shown["tax"] == {"id": "1", "licence": None, "name": None}


def test_the_verdict_needs_every_answer_and_any_failure_decides() -> None:
    case = Case(PARTS, [FIRST])
    passed = [answer("police", "PASS", 1), answer("tax", "PASS", 2)]
    for facts, outcome, because in [
        (passed, PENDING, ["hrss"]),
        ([*passed, answer("hrss", "PASS", 3)], VALID, []),
        ([*passed, answer("hrss", "NEED_INFO", 3)], PENDING, ["hrss"]),
        ([passed[0], answer("tax", "FAIL", 2)], NOT_VALID, ["tax"]),
    ]:
        for order in itertools.permutations(facts):
            verdict = case.verdict(case.standings(FORM.answers(order), until=1000))
            assert verdict.outcome == outcome
            assert [one.part.id for one in verdict.because] == because


def test_silence_is_overdue_only_after_deadline_and_grace() -> None:
    case = Case(PARTS, [FIRST], AnswerTerms(grace_micros=10))
    standings = case.standings(FORM.answers([answer("tax", "PASS", 2)]), until=1000)
    assert not any(one.is_overdue(109, case.terms) for one in standings)
    assert case.next_due(standings, 50) == 110
    overdue = [one for one in standings if one.is_overdue(110, case.terms)]
    assert [one.part.id for one in overdue] == ["police", "hrss"]
    assert case.next_due(standings, 110) is None
    assert escalation("case:A", overdue[0])["conflict_id"] == "case:A|ANSWER_OVERDUE|police|1"


def test_a_repeated_answer_is_one_answer_and_a_contradiction_supersedes() -> None:
    case = Case(PARTS, [FIRST])
    first = answer("tax", "PASS", 5, position=1)
    repeated = answer("tax", "PASS", 7, position=2)
    second = answer("tax", "FAIL", 9, earlier=(first, repeated), position=3)
    assert len(FORM.answers([answer("tax", "PASS", 7, earlier=(first,), position=2)])) == 1
    standing = next(one for one in case.standings(FORM.answers([second]), until=1000) if one.part.id == "tax")
    assert standing.answer is not None
    assert (standing.answer.outcome, [old.outcome for old in standing.superseded]) == ("FAIL", ["PASS"])
    before = next(one for one in case.standings(FORM.answers([second]), until=9) if one.part.id == "tax")
    assert before.answer is not None
    assert before.answer.outcome == "PASS"


def test_a_second_answer_dated_before_the_first_is_still_the_later_word() -> None:
    second = answer("tax", "FAIL", 1, earlier=(answer("tax", "PASS", 5, position=1),), position=2)
    assert [(given.outcome, given.at) for given in FORM.answers([second])] == [("PASS", 5), ("FAIL", 5)]


def test_a_later_round_asks_only_what_fails_or_is_too_old() -> None:
    terms = AnswerTerms(valid_micros=50)
    case = Case(PARTS, [FIRST, Round(2, asked_at=60, due_at=160)], terms)
    facts = [answer("police", "FAIL", 20), answer("tax", "PASS", 30), answer("hrss", "PASS", 5)]
    standings = {one.part.id: one for one in case.standings(FORM.answers(facts), until=70)}
    assert {part: one.round.number for part, one in standings.items()} == {"police": 2, "tax": 1, "hrss": 2}
    facts += [answer("police", "PASS", 65, 2), answer("hrss", "PASS", 66, 2)]
    assert case.verdict(case.standings(FORM.answers(facts), until=70)).outcome == VALID
    late_verdict = case.verdict(case.standings(FORM.answers(facts), until=90))
    assert late_verdict.outcome == PENDING, "the tax answer of 30 holds until 80"
    assert late_verdict.because[0].expired is not None


def test_an_answer_to_a_question_nobody_asked_is_named() -> None:
    case = Case(PARTS, [FIRST, Round(2, asked_at=60, due_at=160)])
    facts = [
        answer("tax", "PASS", 5),
        answer("tax", "PASS", 70, 2),
        answer("aic", "PASS", 5),
        answer("police", "FAIL", 6, 3),
    ]
    answers = FORM.answers(facts)
    standings = case.standings(answers, case.end(answers, 0))
    assert [(one.part, one.round) for one in unasked(standings, answers)] == [
        ("aic", 1),
        ("police", 3),
        ("tax", 2),
    ]


def test_late_is_what_the_freeze_did_not_know() -> None:
    known = answer("tax", "PASS", 5, position=5)
    assert late(FORM.answers([known]), 100) == []
    after = answer("tax", "FAIL", 120, earlier=(known,), position=6)
    assert [one.outcome for one in late(FORM.answers([after]), 100)] == ["FAIL"]
    backdated = answer("tax", "FAIL", 6, earlier=(known,), position=6)
    assert late(FORM.answers([backdated]), 100) == []
    assert [one.outcome for one in late(FORM.answers([backdated]), 100, counted={known.position})] == ["FAIL"]
    unknown = answer("police", "PASS", 3, position=9)
    assert [one.part for one in late(FORM.answers([known, unknown]), 100, counted={known.position})] == ["police"]
    item = audit_item("case:A", "ANSWER_AFTER_FREEZE", late(FORM.answers([after]), 100)[0])
    assert item["claims"][0]["value"] == "FAIL"


def test_silence_is_looked_at_again_until_it_escalates() -> None:
    case = Case(PARTS, [FIRST], AnswerTerms(grace_micros=10))
    answers = FORM.answers([answer("tax", "PASS", 2)])
    for now, wake_at, kinds in [(50, 110, []), (110, None, ["ANSWER_OVERDUE"] * 2)]:
        subject, outcome = Subject("case:A", now=now), Outcome()
        chase(subject, outcome, case, case.standings(answers, case.end(answers, now)), "flow.queue")
        assert outcome.wake_at == wake_at
        assert [item["kind"] for item in outcome.rows.get("flow.queue", [])] == kinds


def test_papers_without_their_case_wait_a_day_and_then_for_a_person() -> None:
    day = 86_400_000_000
    facts = {"tax.result": {"A|1|tax": answer("tax", "PASS", 0)}}
    for now, wake_at, kinds in [(0, day, []), (day, None, ["CASE_UNKNOWN"])]:
        outcome = Outcome()
        without_case(Subject("case:A", now=now, facts=facts), outcome, "flow.queue")
        assert outcome.wake_at == wake_at
        assert [item["kind"] for item in outcome.rows.get("flow.queue", [])] == kinds
    empty = Outcome()
    without_case(Subject("case:A", now=day), empty, "flow.queue")
    assert (empty.wake_at, empty.rows) == (None, {})


def test_a_row_names_its_subject_by_a_column_or_is_unfit() -> None:
    subjects = keyed("case", "case_no")
    assert list(subjects({"case_no": "A"})) == ["case:A"]
    with pytest.raises(RejectedRow, match="CASE_NO_MISSING"):
        subjects({"case_no": ""})
