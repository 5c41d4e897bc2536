"""Ladder (匹配阶梯), tiers P0 to P3: whether rows under a subject's number are really that person's (HANDBOOK §2.5).

The name decides. The reference is the name of the best source that gives one; a row whose name is unrelated to it is P3: it
stays out of the record and goes to the queue, so nothing is overwritten (C3). A table without names has only its number to
show, and nothing against it: P0, or P1 for 15 digits. The other tiers are in name_index.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from schemas.expression.identifiers import normalise
from streams.flows.person.evidence import number_of
from streams.operators.flow import Fact
from streams.operators.merge import comparable, is_alias

SCORES: Mapping[str, int] = {"P0": 100, "P1": 99, "P2": 95, "P4": 80}
_OLD_NUMBER_LENGTH = 15


class Judged(msgspec.Struct):
    """Rows by whether they count. `methods` gives the tier of each accepted (feed, row id)."""

    reference: Fact | None = None
    accepted: list[Fact] = []
    left_out: list[Fact] = []
    methods: dict[tuple[str, str], str] = {}

    def method_of(self, fact: Fact) -> str:
        """The tier of an accepted row."""
        return self.methods.get((fact.feed, fact.row_id), "P0")


def judge(
    facts: Iterable[Fact],
    number: str,
    name_feeds: Sequence[str],
    accepted: Collection[tuple[str, str]] = (),
) -> Judged:
    """Sort rows into accepted and left out. `number` is the subject's own; `name_feeds` are in order of authority.

    Of the rows that an officer `accepted`, by feed and position, the name is taken for another of the person's (P2).
    """
    present = [fact for fact in facts if fact.row is not None]
    judged = Judged(reference=_reference(present, number, name_feeds))
    known = names_of(judged.reference) if judged.reference is not None else []
    for fact in present:
        tier = _tier(fact, known)
        if tier == "P3" and (fact.feed, fact.position) in accepted:
            tier = "P2"
        if tier == "P3":
            judged.left_out.append(fact)
        else:
            judged.accepted.append(fact)
            judged.methods[fact.feed, fact.row_id] = tier
    return judged


def own_rank(fact: Fact, number: str) -> int:
    """How directly a row names the number: 2 as it is, 1 as its old form of 15 digits, 0 by a former number."""
    text = (fact.row or {}).get("citizen_id")
    if text is None or normalise(text) == number:
        return 2
    return 1 if number_of(text) == number else 0


def names_of(fact: Fact) -> list[str]:
    """The names that a row gives or gave, the present one first."""
    found: list[str] = []
    for version in (fact, *reversed(fact.earlier)):
        for column in ("name", "former_name"):
            name = (version.row or {}).get(column)
            if name and name not in found:
                found.append(name)
    return found


def _reference(facts: Iterable[Fact], number: str, name_feeds: Sequence[str]) -> Fact | None:
    """Whose name the number carries: of the best feed, the row that names the number most directly, then the oldest."""
    named = [
        fact
        for fact in facts
        if fact.feed in name_feeds and fact.row is not None and comparable(fact.row["name"] or "")
    ]
    return min(
        named,
        key=lambda fact: (name_feeds.index(fact.feed), -own_rank(fact, number), fact.event_at, fact.row_id),
        default=None,
    )


def _tier(fact: Fact, known: Sequence[str]) -> str:
    row = fact.row or {}
    name = row.get("name")
    if name and known and comparable(name) and comparable(name) != comparable(known[0]):
        return "P2" if is_alias(name, known) else "P3"
    number = row.get("citizen_id")
    return "P1" if number is not None and len(normalise(number)) == _OLD_NUMBER_LENGTH else "P0"
