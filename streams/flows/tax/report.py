"""Report: from the causes that a subject's rules give to warnings, which go on to their own subjects (`warning:<id>`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from streams.flows.tax.place import office_of
from streams.flows.tax.rules import rule_at, settings_at
from streams.operators.flow import Fact, Outcome, Row, Subject, Tell
from streams.operators.watch import Cause, Evidence, as_row, cite, watch

Proof = Callable[[Cause], Iterable[Evidence]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Whom a warning is about, on the date of its cause event. `key` is what the inbox groups by."""

    key: str
    name: str | None
    tax_no: str | None = None
    region: str | None = None


def cause(
    rule_id: str,
    subject: Subject,
    event: str,
    at: int,
    party: Party,
    sources: Sequence[Fact | Row],
    *,
    values: Mapping[str, object] | None = None,
) -> Cause | None:
    """A cause event of a rule, with who is in charge of it; None if the rule was not in force that day."""
    rule = rule_at(rule_id, at)
    if rule is None:
        return None
    office = office_of(rule, party.region, at, subject.now)
    details = {
        "title": rule.title,
        "severity": rule.severity,
        "owner": rule.owner,
        "taxpayer": party.key,
        "name": party.name,
        "tax_no": party.tax_no,
        "region": party.region,
        "authority": None if office is None else office.code,
        "authority_name": None if office is None else office.name,
        **(values or {}),
    }
    return Cause(
        rule=rule.id,
        entity=subject.key,
        event=event,
        at=at,
        deadline=rule.deadline(at),
        due=rule.due(at),
        takes_late=rule.takes_late,
        sources=[cite(each) if isinstance(each, Fact) else each for each in sources],
        details=details,
    )


def report(subject: Subject, outcome: Outcome, causes: Iterable[Cause | None], proofs: Mapping[str, Proof]) -> None:
    """Watch the causes and tell what has fired. `proofs` maps rule to what gives evidence against its causes."""
    given = [each for each in causes if each is not None]
    settle = settings_at(subject.now).settle

    def can_judge(each: Cause) -> bool:
        rule = rule_at(each.rule, each.at)
        return rule is not None and (subject.feeds is None or subject.feeds.issuperset(rule.needs))

    found = watch(subject, outcome, given, lambda each: proofs[each.rule](each), settle=settle, can_judge=can_judge)
    for warned in found:
        outcome.tells.append(Tell(f"warning:{warned.cause.id}", "warned", as_row(warned)))


def count_rows(subject: Subject, outcome: Outcome, *feeds: str) -> None:
    """Let the board of evidence sources know how many rows of these feeds are here."""
    for feed in feeds:
        if rows := len(subject.of(feed)):
            outcome.counts[f"source:{feed}", "rows"] = rows
