"""Winner (中签人): what becomes known of a winner between verdict and award is flagged before the award (E8)."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.dated.configuration import day_of, midnight
from streams.flows.quota.application import AWARD, DEATH, RESIDENT, VEHICLE, Application
from streams.flows.quota.cycle import LOTTERY
from streams.operators.flow import Fact, Outcome, Row, Subject, Tell, queue_item

ALERT, QUEUE = "quota.alert", "quota.queue"


def watch_winner(subject: Subject, application: Application, verdicts: Sequence[Row], outcome: Outcome) -> None:
    """For a case: have its winner watched until the award, and see that nobody is awarded who did not win."""
    awards = [version for fact in subject.of(AWARD) for version in (*fact.earlier, fact) if version.row is not None]
    won = subject.told("won")
    if awards and not won and application.row["method"] == LOTTERY:
        due = awards[0].event_at + application.period.grace
        if subject.now >= due:
            kind = "AWARD_WITHOUT_DRAW"
            item = queue_item(f"{subject.key}|{kind}", kind, [subject.key], awards[-1:], opened_at=awards[0].event_at)
            outcome.publish(QUEUE, item)
        else:
            outcome.wake(due)
    person = application.person
    if person is None:
        return
    decided_at = {verdict["period"]: verdict["decided_at"] for verdict in verdicts}
    for draw in won:
        row = {
            "app_code": subject.id,
            "period": draw["period"],
            "quota_kind": draw["quota_kind"],
            "decided_at": decided_at.get(draw["period"], draw["drawn_at"]),
            **_decision(application, awards),
        }
        outcome.tells.append(Tell(f"person:{person}", "won", row, id=draw["period"]))


def _decision(application: Application, awards: Sequence[Fact]) -> dict[str, int | str | None]:
    """What the transport commission did with the win: awarded, withheld, withdrawn; None while it has not said."""
    if awards and (newest := awards[-1]).row is not None:
        is_withdrawn = newest.row["status"] == "WITHDRAWN"
        return {
            "awarded_at": awards[0].event_at,
            "decision": "WITHDRAWN" if is_withdrawn else "AWARDED",
            "decision_at": newest.event_at if is_withdrawn else awards[0].event_at,
        }
    if application.row["status"] in {"NOT_VALID", "WITHDRAWN"}:
        day = application.row["status_date"]
        moment = midnight(day) if isinstance(day, int) else application.fact.committed_at_ms * 1000
        return {"awarded_at": None, "decision": "WITHHELD", "decision_at": moment}
    return {"awarded_at": None, "decision": None, "decision_at": None}


def fold_person(subject: Subject) -> Outcome:
    """The fold of `person:<citizen ID>`: deaths and new vehicles against what the person won."""
    outcome = Outcome()
    for won in subject.told("won"):
        for kind, facts in (
            ("APPLICANT_DECEASED", subject.of(RESIDENT, DEATH)),
            ("NEW_VEHICLE", subject.of(VEHICLE)),
        ):
            evidence = [fact for fact in facts if _is_between(fact, won)]
            if evidence:
                outcome.publish(ALERT, _alert(kind, won, evidence))
    return outcome


def _is_between(fact: Fact, won: Row) -> bool:
    """From the verdict's day on (registers know days, not minutes), and before the award: after it, a new car is the point."""
    if day_of(fact.event_at) < day_of(won["decided_at"]):
        return False
    return won["awarded_at"] is None or fact.event_at < won["awarded_at"]


def _alert(kind: str, won: Row, evidence: Sequence[Fact]) -> Row:
    known_at = min(fact.committed_at_ms for fact in evidence) * 1000
    return {
        "alert_id": f"{won['app_code']}|{won['period']}|{kind}",
        "kind": kind,
        "app_code": won["app_code"],
        "period": won["period"],
        "quota_kind": won["quota_kind"],
        "agency": evidence[0].feed.partition(".")[0],
        "evidence": [{"feed": fact.feed, "position": fact.position} for fact in evidence],
        "happened_at": evidence[0].event_at,
        "decided_at": won["decided_at"],
        "awarded_at": won["awarded_at"],
        "is_known_before_award": won["awarded_at"] is None or known_at < won["awarded_at"],
        "state": "OPEN" if won["decision"] is None else "DECIDED",
        "decision": won["decision"],
        "decision_at": won["decision_at"],
    }
