from __future__ import annotations

import pytest

from streams.operators.flow import Flow, Fold, Input, Outcome, Subject
from streams.operators.watch import (
    CAUSE_MOVED,
    CAUSE_WITHDRAWN,
    EVIDENCE,
    Cause,
    Evidence,
    OfficeAnswer,
    Warned,
    as_row,
    cite,
    fired,
    of_row,
    state_of,
    watch,
)
from tests.stage.rehearsal import MemoryStore, Rehearsal, days, micros

DAY = 86_400_000_000


def sale(subject: Subject) -> Outcome:
    outcome = Outcome()
    causes = []
    for fact in subject.of("land.property_sale"):
        assert fact.row is not None
        if fact.row["transferred_date"] is not None:
            deadline = fact.event_at + 90 * DAY
            causes.append(
                Cause(
                    rule="W3",
                    entity=subject.key,
                    event="transfer",
                    at=fact.event_at,
                    deadline=deadline,
                    due=deadline + 5 * DAY,
                    sources=[cite(fact)],
                    takes_late=subject.id != "STRICT",
                )
            )
    receipts = [Evidence(at=fact.event_at, source=cite(fact)) for fact in subject.of("local_tax.deed_tax")]
    for warned in watch(subject, outcome, causes, lambda _: receipts):
        outcome.publish(
            "demo.warning",
            {
                "id": warned.cause.id,
                "retracted": warned.retracted,
                "settled": warned.is_settled,
                "source": warned.evidence.source["row_id"] if warned.evidence else None,
                "opened_at": warned.opened_at,
            },
        )
    return outcome


FLOW = Flow(
    name="demo",
    inputs=[
        Input(
            feed="land.property_sale",
            subjects=lambda row: [f"sale:{row['contract_no']}"],
            columns=["transferred_date"],
            event_time="transferred_date",
        ),
        Input(
            feed="local_tax.deed_tax",
            subjects=lambda row: [f"sale:{row['contract_no']}"],
            columns=["amount"],
            event_time="paid_at",
        ),
    ],
    folds={"sale": Fold(sale)},
    outputs={"demo.warning": ["id"], "demo.queue": ["conflict_id"]},
    queue="demo.queue",
)


def city(contract_no: str = "F1", store: MemoryStore | None = None) -> Rehearsal:
    rehearsal = Rehearsal(FLOW)
    if store is not None:
        rehearsal.store = store
    rehearsal.insert("land.property_sale", contract_no=contract_no, transferred_date=days("2016-01-01"))
    return rehearsal


def warning(rehearsal: Rehearsal) -> dict:
    (row,) = rehearsal.rows("demo.warning").values()
    return dict(row)


def test_absence_fires_at_window_plus_grace_once() -> None:
    rehearsal = city()
    rehearsal.tick(micros("2016-01-01") + 95 * DAY - 1)
    assert not rehearsal.rows("demo.warning")
    rehearsal.tick(micros("2016-01-01") + 95 * DAY)
    rehearsal.tick("2016-12-01")
    assert warning(rehearsal)["opened_at"] == micros("2016-01-01") + 95 * DAY
    assert len(rehearsal.changes_of("demo.warning")) == 1


def test_a_cause_told_late_is_judged_at_the_next_tick_not_before_its_evidence_had_a_chance() -> None:
    rehearsal = Rehearsal(FLOW)
    rehearsal.tick("2016-10-01")
    rehearsal.insert("land.property_sale", contract_no="F1", transferred_date=days("2016-01-01"))
    assert not rehearsal.rows("demo.warning")
    rehearsal.insert("local_tax.deed_tax", receipt_no="Q1", contract_no="F1", paid_at=micros("2016-01-02"))
    rehearsal.tick("2016-10-02")
    assert not rehearsal.rows("demo.warning")


def test_late_evidence_retracts_and_its_withdrawal_restores() -> None:
    rehearsal = city()
    rehearsal.tick("2016-10-01")
    assert warning(rehearsal)["retracted"] is None
    rehearsal.insert("local_tax.deed_tax", receipt_no="Q1", contract_no="F1", paid_at=micros("2016-10-02"))
    assert (warning(rehearsal)["retracted"], warning(rehearsal)["source"]) == (EVIDENCE, "Q1")
    rehearsal.delete("local_tax.deed_tax", {"receipt_no": "Q1"})
    assert warning(rehearsal)["retracted"] is None
    assert len(rehearsal.rows("demo.warning")) == 1


def test_evidence_dated_after_the_deadline_only_settles_where_the_rule_says_so() -> None:
    rehearsal = city("STRICT")
    rehearsal.tick("2016-10-01")
    rehearsal.insert("local_tax.deed_tax", receipt_no="Q1", contract_no="STRICT", paid_at=micros("2016-10-02"))
    assert (warning(rehearsal)["retracted"], warning(rehearsal)["settled"]) == (None, True)
    rehearsal.insert("local_tax.deed_tax", receipt_no="Q2", contract_no="STRICT", paid_at=micros("2016-03-01"))
    assert (warning(rehearsal)["retracted"], warning(rehearsal)["source"]) == (EVIDENCE, "Q2")


def test_a_cause_that_is_taken_back_or_moved_retracts_with_that_reason() -> None:
    rehearsal = city()
    rehearsal.tick("2016-10-01")
    rehearsal.update("land.property_sale", {"contract_no": "F1"}, transferred_date=days("2016-09-01"))
    assert warning(rehearsal)["retracted"] == CAUSE_MOVED
    rehearsal.tick("2016-12-31")
    assert warning(rehearsal)["retracted"] is None
    rehearsal.update("land.property_sale", {"contract_no": "F1"}, transferred_date=None)
    assert warning(rehearsal)["retracted"] == CAUSE_WITHDRAWN
    assert len(rehearsal.rows("demo.warning")) == 1


def warned(retracted: str | None = None, evidence: Evidence | None = None) -> Warned:
    cause = Cause(rule="W1", entity="e", event="v", at=0, deadline=1, due=2)
    return Warned(cause=cause, opened_at=2, fired_at=10, retracted=retracted, evidence=evidence)


LATE = Evidence(at=5, source={"feed": "f", "row_id": "r", "position": "p"})


@pytest.mark.parametrize(
    ("given", "answer", "now", "has_office", "expected"),
    [
        (warned(), None, 10, True, ("OPEN", 11)),
        (warned(), None, 11, True, ("DISPATCHED", None)),
        (warned(), None, 11, False, ("OPEN", None)),
        (warned(), OfficeAnswer(outcome="CONFIRMED", answered_at=12), 13, True, ("CONFIRMED", 32)),
        (warned(), OfficeAnswer(outcome="FALSE_POSITIVE", answered_at=12), 31, True, ("FALSE_POSITIVE", 32)),
        (warned(), OfficeAnswer(outcome="FALSE_POSITIVE", answered_at=12), 32, True, ("CLOSED", None)),
        (warned(evidence=LATE), OfficeAnswer(outcome="CONFIRMED", answered_at=12), 13, True, ("CLOSED", None)),
        (warned(evidence=LATE), None, 13, True, ("DISPATCHED", None)),
        (warned("EVIDENCE"), OfficeAnswer(outcome="CONFIRMED", answered_at=12), 13, True, ("RETRACTED", None)),
    ],
)
def test_states_follow_the_life_of_a_warning(given, answer, now, has_office, expected) -> None:
    assert state_of(given, answer, now=now, has_office=has_office, closes_after=20) == expected


def test_an_id_is_the_same_anywhere_and_shows_no_value() -> None:
    cause = Cause(rule="W1", entity="tax:440199199001010017", event="e", at=0, deadline=1, due=2)
    assert cause.id == Cause(rule="W1", entity=cause.entity, event="e", at=7, deadline=8, due=9).id
    assert "440199" not in cause.id


def owner(now: int, memory: dict, settle: int = 1) -> tuple[list[Warned], Outcome, Subject]:
    subject, outcome = Subject(key="sale:F1", now=now, memory=memory), Outcome()
    cause = Cause(rule="W3", entity="sale:F1", event="e", at=0, deadline=5, due=10, details={"office": "A"})
    return watch(subject, outcome, [cause], lambda _: (), settle=settle), outcome, subject


def test_a_cause_told_late_waits_for_evidence_as_late_as_itself() -> None:
    found, outcome, _ = owner(100, {}, settle=30)
    assert (found, outcome.wake_at) == ([], 130)
    found, outcome, _ = owner(129, outcome.memory, settle=30)
    assert (found, outcome.wake_at) == ([], 130)
    found, outcome, _ = owner(130, outcome.memory, settle=30)
    assert (len(found), outcome.wake_at) == (1, None)


def test_what_has_fired_travels_and_is_remembered_as_it_was() -> None:
    (found,), outcome, _ = owner(
        11, {"watch": {"pending": {next(iter(owner(0, {})[1].memory["watch"]["pending"])): [10, 10]}}}
    )
    assert of_row(as_row(found)) == found
    settled = Warned(cause=found.cause, opened_at=1, fired_at=2, evidence=LATE)
    assert of_row(as_row(settled)) == settled
    _, _, subject = owner(12, outcome.memory)
    assert [cause.details for cause in fired(subject, "W3")] == [{"office": "A"}]
    assert not fired(subject, "W1")
