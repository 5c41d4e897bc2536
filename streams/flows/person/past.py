"""Past: the archive as it stood at an event time (C7).

A person's facts keep their history, but what another number hands over is told, and a tell that is withdrawn is forgotten. So
a view of the past asks again, as of then, whoever the changes of that time say has to hand over. What the name index found
(P4) is taken as it is known now: it changes nothing but a birth's line.
"""

from __future__ import annotations

from collections.abc import Callable

from schemas.errors import Misconfigured
from streams.flows.person.archive import person
from streams.flows.person.evidence import holder, number_of
from streams.flows.person.number import number
from streams.operators.flow import Fact, Outcome, RejectedRow, Subject

_HANDED_OVER = ("~moved", "~superseded")

Lookup = Callable[[str], Subject | None]
"""The present state of a subject by its key; None for one that nobody has heard of."""


def as_of(lookup: Lookup, key: str, moment: int) -> Outcome:
    """What the archive said of a subject at an event time, microseconds: equal to a rebuild from the changes until then.

    `key` is a subject's key such as `person:<18>`. Raises Misconfigured for a subject that is no person or number.
    """
    if key.partition(":")[0] not in {"person", "hmt", "passport", "number"}:
        raise Misconfigured("as_of", "the key names no person", fix="ask for person:<number>, hmt:… or passport:…")
    return _fold(lookup, key, moment, frozenset())


def _fold(lookup: Lookup, key: str, moment: int, asking: frozenset[str]) -> Outcome:
    subject = lookup(key)
    if subject is None:
        return Outcome()
    then = subject.as_of(moment)
    for tag in _HANDED_OVER:
        then.facts.pop(tag, None)
    for teller in sorted(_tellers(then) - asking - {key}):
        for tell in _fold(lookup, teller, moment, asking | {key}).tells:
            if tell.to == key and f"~{tell.tag}" in _HANDED_OVER:
                told = Fact(f"~{tell.tag}", f"{teller}|{tell.id}", tell.row, "", tell.event_at or 0, 0)
                then.facts.setdefault(told.feed, {})[told.row_id] = told
    return number(then) if then.kind == "number" else person(then)


def _tellers(subject: Subject) -> set[str]:
    """Whose number was changed to this one."""
    found: set[str] = set()
    for fact in subject.of("police.id_change"):
        if fact.row is not None and number_of(fact.row["new_id"]) == subject.id:
            try:
                found.add(holder(fact.row["old_id"]))
            except RejectedRow:
                continue  # a text that no row can be kept under
    return found
