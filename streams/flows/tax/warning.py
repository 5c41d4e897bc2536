"""Warning (税源预警): one warning, its answer and its state (subjects `warning:<id>`); and the inbox of a taxpayer.

What was fired comes as a tell from the subject whose cause it is; what the office answers comes from its own feed. An answer that
does not count (of no warning, of another office, in words of no contract) is told to the office that sent it.
"""

from __future__ import annotations

from typing import Any

from streams.flows.tax.report import count_rows
from streams.flows.tax.rules import FEEDBACK, INBOX, QUEUE, REFUSAL, WARNING, settings_at
from streams.operators.flow import Fact, Outcome, RejectedRow, Row, Subject, Tell, queue_item
from streams.operators.watch import (
    CONFIRMED,
    DISPATCHED,
    FALSE_POSITIVE,
    OPEN,
    RETRACTED,
    OfficeAnswer,
    Warned,
    of_row,
    state_of,
)

FEEDBACKS = ("state_tax.warning_feedback", "local_tax.warning_feedback")
FEEDBACK_COLUMNS = ("outcome", "amount_recovered", "answered_at")
WAITING = frozenset({OPEN, DISPATCHED})
"""States in which somebody has to do something."""

_SEVERITIES = ("HIGH", "MEDIUM", "LOW")


def feedback_subjects(row: Row) -> list[str]:
    """The warning that an answer is about."""
    if not row["warning_id"]:
        raise RejectedRow("WARNING_ID_MISSING", "an answer names no warning")
    return [f"warning:{row['warning_id']}"]


def fold(subject: Subject) -> Outcome:
    """Publish the warning as it stands, and what was answered."""
    outcome = Outcome()
    count_rows(subject, outcome, *FEEDBACKS)
    given = sorted(subject.of(*FEEDBACKS), key=lambda fact: (fact.event_at, fact.feed))
    told = subject.told("warned")
    if not told:
        _refuse(subject, outcome, "FEEDBACK_UNKNOWN_WARNING", given)
        return outcome
    warned = of_row(told[0])
    answers = _counted(subject, outcome, warned, given)
    newest = answers[-1] if answers else None
    answer = None
    if newest is not None and newest.row is not None:
        answer = OfficeAnswer(outcome=newest.row["outcome"], answered_at=newest.event_at)
    details = warned.cause.details
    state, wake_at = state_of(
        warned,
        answer,
        now=subject.now,
        has_office=details["authority"] is not None,
        closes_after=settings_at(subject.now).closes_after,
    )
    if wake_at is not None:
        outcome.wake(wake_at)
    outcome.publish(WARNING, _warning(subject, warned, state))
    if newest is not None:
        outcome.publish(FEEDBACK, _feedback(subject, warned, newest, state))
    if details["authority"] is None and state == OPEN:
        _queue(subject, outcome, "AUTHORITY_UNKNOWN", [], warned.opened_at)
    _tell_others(subject, outcome, warned, state, answer)
    return outcome


def _counted(subject: Subject, outcome: Outcome, warned: Warned, given: list[Fact]) -> list[Fact]:
    """The answers of the office that was warned, in words that its contract knows; the others are refused."""
    own = f"{warned.cause.details['owner']}.warning_feedback"
    _refuse(subject, outcome, "FEEDBACK_OF_ANOTHER_OFFICE", [fact for fact in given if fact.feed != own])
    known = {CONFIRMED, FALSE_POSITIVE}
    answers = [fact for fact in given if fact.feed == own]
    _refuse(
        subject, outcome, "OUTCOME_UNKNOWN", [fact for fact in answers if (fact.row or {}).get("outcome") not in known]
    )
    return [fact for fact in answers if (fact.row or {}).get("outcome") in known]


def _refuse(subject: Subject, outcome: Outcome, reason: str, answers: list[Fact]) -> None:
    """Name answers that do not count: for a person, and for the office that sent them."""
    if answers:
        _queue(subject, outcome, reason, answers)
    for fact in answers:
        row = {
            "refusal_id": f"{subject.id}|{reason}|{fact.feed}",
            "agency": fact.feed.partition(".")[0],
            "warning_id": subject.id,
            "outcome": (fact.row or {}).get("outcome"),
            "answered_at": fact.event_at,
            "reason": reason,
        }
        outcome.publish(REFUSAL, row)


def _warning(subject: Subject, warned: Warned, state: str) -> Row:
    cause, details = warned.cause, warned.cause.details
    evidence = warned.evidence
    return {
        "warning_id": subject.id,
        "rule": cause.rule,
        "title": details["title"],
        "severity": details["severity"],
        "taxpayer": details["taxpayer"],
        "taxpayer_name": details["name"],
        "tax_no": details["tax_no"],
        "cause_at": cause.at,
        "deadline_at": cause.deadline,
        "opened_at": warned.opened_at,
        "owner": details["owner"],
        "authority": details["authority"],
        "authority_name": details["authority_name"],
        "region": details["region"] or None,
        "region_as_of": cause.at,
        "state": state,
        "sources": [dict(source) for source in cause.sources],
        "evidence": None if evidence is None else {**evidence.source, "dated_at": evidence.at},
        "retracted_reason": warned.retracted,
        "is_settled": warned.is_settled,
    }


def _feedback(subject: Subject, warned: Warned, newest: Fact, state: str) -> Row:
    row, details = newest.row or {}, warned.cause.details
    return {
        "warning_id": subject.id,
        "rule": warned.cause.rule,
        "authority": details["authority"],
        "agency": newest.feed.partition(".")[0],
        "outcome": row["outcome"],
        "amount_recovered": row["amount_recovered"],
        "answered_at": newest.event_at,
        "state": state,
        "source": {"feed": newest.feed, "row_id": newest.row_id, "position": newest.position},
    }


def _queue(subject: Subject, outcome: Outcome, kind: str, facts: list[Fact], opened_at: int = 0) -> None:
    opened_at = max((fact.event_at for fact in facts), default=opened_at)
    item = queue_item(f"{kind}|{subject.id}", kind, [subject.key], facts, opened_at=opened_at)
    outcome.publish(QUEUE, item)


def _tell_others(subject: Subject, outcome: Outcome, warned: Warned, state: str, answer: OfficeAnswer | None) -> None:
    """The taxpayer's inbox, and the board of rules."""
    cause, details = warned.cause, warned.cause.details
    entry = {
        "warning_id": subject.id,
        "rule": cause.rule,
        "severity": details["severity"],
        "name": details["name"],
        "authority": details["authority"],
        "state": state,
        "opened_at": warned.opened_at,
    }
    outcome.tells.append(Tell(f"taxpayer:{details['taxpayer']}", "warning", entry, event_at=warned.opened_at))
    measures = ["warnings", f"state:{state}"]
    if answer is not None and state != RETRACTED:  # what was retracted says nothing about the rule: the data came late
        measures.append(f"answer:{answer.outcome}")
    for measure in measures:
        outcome.counts["board:rules", f"{cause.rule}|{measure}"] = 1


def inbox(subject: Subject) -> Outcome:
    """Fold of a taxpayer: its warnings together (F3)."""
    outcome = Outcome()
    entries = subject.told("warning")
    waiting = [entry for entry in entries if entry["state"] in WAITING]
    if entries:
        outcome.publish(INBOX, _inbox(subject, entries, waiting))
    return outcome


def _inbox(subject: Subject, entries: list[Row], waiting: list[Row]) -> Row:
    names = [entry["name"] for entry in entries if entry["name"] is not None]
    severities: list[Any] = [entry["severity"] for entry in waiting]
    return {
        "taxpayer": subject.id,
        "taxpayer_name": names[-1] if names else None,
        "open_count": len(waiting),
        "warning_count": len(entries),
        "retracted_count": sum(entry["state"] == RETRACTED for entry in entries),
        "severity": next((each for each in _SEVERITIES if each in severities), None),
        "rules": sorted({entry["rule"] for entry in waiting}),
        "authorities": sorted({entry["authority"] for entry in waiting if entry["authority"] is not None}),
        "open_warnings": sorted(entry["warning_id"] for entry in waiting),
        "oldest_opened_at": min((entry["opened_at"] for entry in waiting), default=None),
    }
