"""Board: how good each rule is, and which departments' evidence is there (subjects `board:…`, `source:<feed>`; at ticks)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from schemas.dated.configuration import Dated, dated
from streams.flows.tax.rules import PRECISION, QUEUE, RULES, SOURCE, rule_at, settings_at
from streams.operators.flow import Outcome, Subject, queue_item
from streams.operators.watch import CONFIRMED, DISPATCHED, FALSE_POSITIVE, OPEN, RETRACTED

_TEN_THOUSAND = 10_000


@cache
def _departments() -> Dated:
    return dated(Path(__file__).parent / "departments.csv", key=["agency"])


def source(subject: Subject) -> Outcome:
    """Fold of one feed: that its rows are there; how many there are goes up in one number."""
    outcome = Outcome()
    if rows := subject.counts.get("rows", 0):
        outcome.counts["board:sources", subject.id] = rows
    return outcome


def board(subject: Subject) -> Outcome:
    """Fold of a board."""
    return rules(subject) if subject.id == "rules" else sources(subject)


def sources(subject: Subject) -> Outcome:
    """Every department that the work has: configured, and whether any evidence of it is there."""
    outcome = Outcome()
    for department in _departments().all_at(subject.now):
        feeds = [feed for feed in department["feeds"].split("|") if feed]
        active = [feed for feed in feeds if subject.counts.get(feed)]
        outcome.publish(
            SOURCE,
            {
                "agency": department["agency"],
                "name": department["name"],
                "feeds": feeds,
                "feeds_active": active,
                "rows": sum(subject.counts.get(feed, 0) for feed in feeds),
                "is_configured": True,
                "is_active": bool(active),
            },
        )
    return outcome


def rules(subject: Subject) -> Outcome:
    """Every rule in force: how many warnings, how many of those that were answered were right (F5)."""
    outcome = Outcome()
    settings = settings_at(subject.now)
    for identity in RULES:
        rule = rule_at(identity, subject.now)
        if rule is None:
            continue

        def count(measure: str, identity: str = identity) -> int:
            return subject.counts.get(f"{identity}|{measure}", 0)

        confirmed, wrong = count(f"answer:{CONFIRMED}"), count(f"answer:{FALSE_POSITIVE}")
        answered = confirmed + wrong
        is_poor = answered >= settings.answers_min and confirmed * 100 < answered * settings.precision_percent_min
        outcome.publish(
            PRECISION,
            {
                "rule": identity,
                "title": rule.title,
                "owner": rule.owner,
                "severity": rule.severity,
                "warnings": count("warnings"),
                "open": count(f"state:{OPEN}") + count(f"state:{DISPATCHED}"),
                "retracted": count(f"state:{RETRACTED}"),
                "confirmed": confirmed,
                "false_positives": wrong,
                "numerator": confirmed,
                "denominator": answered,
                "precision_per_ten_thousand": confirmed * _TEN_THOUSAND // answered if answered else None,
                "proposed_for_review": is_poor,
            },
        )
        if is_poor:
            kind = "RULE_PROPOSED_FOR_REVIEW"
            detail = f"under {settings.precision_percent_min} % of its answered warnings were confirmed"
            item = queue_item(f"{kind}|{identity}", kind, [f"rule:{identity}"], [], opened_at=0, detail=detail)
            outcome.publish(QUEUE, item)
    return outcome
