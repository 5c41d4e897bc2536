"""Archive: the fold of one person: record, identifiers, timeline and conflicts, from all that is known under its number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.dated.configuration import Packs, dated
from streams.flows.person.doubt import doubts, forks
from streams.flows.person.evidence import ID_TYPES, READS, born_by_number, key_of, name_key
from streams.flows.person.identifier import handed_over, identify
from streams.flows.person.ladder import Judged, judge, own_rank
from streams.flows.person.life import Death, life, spans
from streams.flows.person.move import Gathered, gather, lend, shared_with
from streams.flows.person.record import record_of
from streams.flows.person.timeline import Timeline
from streams.operators.flow import Fact, Outcome, Row, Subject, Tell
from streams.operators.merge import MergeSource, conflict, merge, sources

_NO_EVIDENCE = ("police.id_change", "health.birth_certificate")
"""Rows that speak of a number or of a child; they make nobody a person of the archive."""


@dataclass(frozen=True, slots=True)
class Rules:
    """One pack of priority.yaml, read."""

    fields: Mapping[str, Sequence[MergeSource]]
    name_feeds: Sequence[str]
    death: Mapping[str, Any]
    death_dates: Sequence[str]
    replayed: frozenset[str] = field(default_factory=frozenset[str])
    """Feeds whose past decides what was believed of a death."""


def _rules(pack: Mapping[str, Any]) -> Rules:
    names = [source.partition(":")[0] for source in pack["priority"]["name"]]
    death = pack["death"]
    dates = [source.partition(":")[0] for source in death["date"]]
    replayed = frozenset(names).union(*death["sides"].values())
    return Rules(sources(pack["priority"], READS), names, death, dates, replayed)


_PACKS = Packs(dated(Path(__file__).with_name("priority.yaml")), _rules)


def rules_at(moment: int) -> Rules:
    """The rules in force at an event time, microseconds."""
    return _PACKS.at(moment)


def person(subject: Subject) -> Outcome:
    """Fold a person. A number that went out of use hands everything over, and only says to whom."""
    gathered = gather(subject)
    if (moved := handed_over(subject, gathered)) is not None:
        return moved
    facts = [fact for fact in gathered.facts if fact.feed not in _NO_EVIDENCE]
    outcome = Outcome()
    outcome.publish("base.conflict", *forks(subject, gathered))
    if not facts:
        return outcome
    rules = rules_at(max(fact.event_at for fact in facts))
    judged = judge(facts, subject.id, rules.name_feeds, subject.accepted)
    _leave_out(outcome, subject, gathered, judged)
    _publish(outcome, subject, gathered, judged, rules)
    return outcome


def _leave_out(outcome: Outcome, subject: Subject, gathered: Gathered, judged: Judged) -> None:
    """Rows of another name: they belong to who had this number too, if the police say so; otherwise somebody must look."""
    shared = shared_with(subject, gathered)
    for fact in judged.left_out:
        tells = lend(gathered, fact, shared) if shared is not None else []
        if tells:
            outcome.tells += tells
        elif judged.reference is not None:
            claims = [judged.reference, fact]
            item = conflict(
                "NAME_CONFLICT", [key_of(subject)], claims, values=lambda fact: (fact.row or {}).get("name")
            )
            outcome.publish("base.conflict", item)


def _publish(outcome: Outcome, subject: Subject, gathered: Gathered, judged: Judged, rules: Rules) -> None:
    merged = merge(judged.accepted, rules.fields, rank=lambda fact: _rank(fact, subject.id))
    born = _born(subject, judged.accepted)

    def believed(facts: Sequence[Fact]) -> Death:
        then = judge(facts, subject.id, rules.name_feeds, subject.accepted)
        return life(then, rules.death, rules.death_dates, _born(subject, then.accepted))

    death = life(judged, rules.death, rules.death_dates, born)
    replayed = [fact for fact in gathered.facts if fact.feed in rules.replayed]
    deaths = spans(replayed, believed, rules.death_dates)
    record = record_of(subject, gathered, judged, merged, death)
    if not judged.accepted:  # nothing is left of the person, but whoever was told of a death is told of its end
        timeline = Timeline(ID_TYPES[subject.kind], subject.id, 0)
        outcome.publish("base.person_event", *timeline.lines(judged, deaths, ()))
        return
    outcome.publish("base.person", record)
    identify(outcome, subject, gathered, judged)
    identity = merged.provenance.get("name")
    version = identity["committed_at"] // 1000 if identity else record["base_version"]
    changes = [change.fact for change in gathered.changes if change.new in gathered.numbers]
    whole = Judged(judged.reference, [*judged.accepted, *changes], judged.left_out, judged.methods)
    timeline = Timeline(ID_TYPES[subject.kind], subject.id, version)
    outcome.publish("base.person_event", *timeline.lines(whole, deaths, subject.told("matched")))
    outcome.publish("base.conflict", *doubts(subject, judged, death))
    _introduce(outcome, subject, gathered, record, judged)


def _rank(fact: Fact, number: str) -> tuple[int, str]:
    return own_rank(fact, number), (fact.row or {}).get("period") or ""


def _born(subject: Subject, facts: Sequence[Fact]) -> int | None:
    residents = [
        fact for fact in facts if fact.feed in {"police.resident", "police.foreigner"} and fact.row is not None
    ]
    residents.sort(key=lambda fact: (own_rank(fact, subject.id), fact.row_id))
    if residents:
        return (residents[-1].row or {})["birth_date"]
    return born_by_number({"citizen_id": subject.id}) if subject.kind == "person" else None


# What the index is told


def _introduce(outcome: Outcome, subject: Subject, gathered: Gathered, record: Row, judged: Judged) -> None:
    """Tell the index of this person, if the register keeps it, and of the household as a parent of who was born."""
    residents = [fact for fact in judged.accepted if fact.feed == "police.resident"]
    if not residents:
        return
    since = max(fact.event_at for fact in residents)
    key = name_key(record["name"], record["birth_date"])
    if key is not None:
        resident = max(residents, key=lambda fact: _rank(fact, subject.id))
        row = {
            "key": subject.key,
            "id": subject.id,
            "sex": record["sex"],
            "household_no": record["household_no"],
            "region": record["hukou_region"],
            "mobile": (resident.row or {})["mobile"],
            "since": since,
        }
        outcome.tells.append(Tell(to=key, tag="person", row=row, event_at=since))
    for fact in gathered.of("health.birth_certificate"):
        row = fact.row or {}
        child = name_key(row["baby_name"], row["born_at"] // 86_400_000_000)
        if child is not None:
            parent = {"cert_no": fact.row_id, "household_no": record["household_no"], "since": since}
            outcome.tells.append(Tell(to=child, tag="parent", id=fact.row_id, row=parent, event_at=since))
