"""Name index, tiers P4 to P7: rows without a usable number ask who has their name and birth date (HANDBOOK §2.5).

Every person whom the register keeps tells the index of its name and birth date. A row there is

    P4 PROBABLE    one person of that sex, and one more thing agrees: household, region, mobile or a parent's household;
                   positive service only, never a denial and never a change of life status
    P5 CANDIDATE   one person, and nothing else: a human confirms
    P6 AMBIGUOUS   several: the count, and no data
    P7 NO_MATCH    none, which is not "has nothing"

Only a birth goes on to the person (a line of the timeline); whatever else is P4 waits for a human, like P5.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from streams.flows.person.evidence import number_of
from streams.operators.flow import Fact, Outcome, Row, Subject, Tell
from streams.operators.merge import conflict

_SEXES = ("1", "2")
_CLAIMING = ("police.resident", "health.birth_certificate", "health.death_certificate")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A tier, and the persons it speaks of: one for P4 and P5."""

    tier: str
    persons: Sequence[Row]


KINDS = {"P4": "PROBABLE", "P5": "CANDIDATE", "P6": "AMBIGUOUS", "P7": "NO_MATCH"}


def name_index(subject: Subject) -> Outcome:
    """Fold one name and birth date."""
    outcome = Outcome()
    persons = subject.told("person")
    parents = subject.told("parent")
    for fact, why in _claims(subject):
        row = fact.row or {}
        mine = [
            parent for parent in parents if fact.feed == "health.birth_certificate" and parent["cert_no"] == fact.row_id
        ]
        verdict = decide(row, persons, mine, is_capped=why == "AMBIGUOUS_CENTURY")
        if verdict.tier == "P4" and fact.feed == "health.birth_certificate":
            outcome.tells.append(_matched(fact, verdict.persons[0], mine))
            continue
        outcome.publish("base.conflict", _item(subject, fact, verdict, why))
    return outcome


def decide(row: Row, persons: Sequence[Row], parents: Iterable[Row], *, is_capped: bool = False) -> Verdict:
    """The tier of a row among the persons of its name and birth date; `is_capped` allows P5 at best."""
    same_sex = [person for person in persons if row["sex"] in _SEXES and person["sex"] == row["sex"]]
    if not persons:
        return Verdict("P7", ())
    if len(same_sex) == 1 and not is_capped and _agrees(row, same_sex[0], parents):
        return Verdict("P4", same_sex)
    if len(persons) == 1:
        return Verdict("P5", persons)
    return Verdict("P6", persons)


def _agrees(row: Row, person: Row, parents: Iterable[Row]) -> bool:
    """Whether one more thing agrees. What is missing on either side agrees with nothing."""
    pairs = [(row.get(column), person[column]) for column in ("household_no", "mobile")]
    pairs.append((row.get("hukou_region") or row.get("birth_region"), person["region"]))
    pairs += [(parent["household_no"], person["household_no"]) for parent in parents]
    return any(one is not None and one == other for one, other in pairs)


def _claims(subject: Subject) -> list[tuple[Fact, str]]:
    found = [(fact, "") for fact in subject.of(*_CLAIMING)]
    for row in subject.told("claim"):
        told = Fact(row["feed"], row["row_id"], row["row"], row["position"], row["event_at"], row["committed_at_ms"])
        found.append((told, row["why"]))
    return found


def _matched(fact: Fact, person: Row, parents: Sequence[Row]) -> Tell:
    row = fact.row or {}
    return Tell(
        to=person["key"],
        tag="matched",
        id=f"{fact.feed}|{fact.row_id}",
        event_at=max([fact.event_at, person["since"], *(parent["since"] for parent in parents)]),
        row={
            "feed": fact.feed,
            "row_id": fact.row_id,
            "position": fact.position,
            "committed_at_ms": fact.committed_at_ms,
            "day": row["born_at"] // 86_400_000_000,
            "method": "P4",
        },
    )


def _item(subject: Subject, fact: Fact, verdict: Verdict, why: str) -> Row:
    kind = KINDS[verdict.tier]
    if verdict.tier == "P6":
        return conflict(
            kind, [], [fact], detail=f"{len(verdict.persons)} candidates {why}".rstrip(), within=subject.key
        )
    keys = [f"CITIZEN_ID:{number_of(person['id'])}" for person in verdict.persons]
    return conflict(kind, keys, [fact], detail=why, within=subject.key)
