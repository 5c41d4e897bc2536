"""Winner (中签人): what becomes known of a winner between verdict and award is flagged before the award (E8)."""

from __future__ import annotations

from collections.abc import Sequence

from streams.flows.configuration import day_of
from streams.flows.quota.application import DEATH, RESIDENT, VEHICLE
from streams.operators.flow import Fact, Outcome, Row, Subject

ALERT = "quota.alert"


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
