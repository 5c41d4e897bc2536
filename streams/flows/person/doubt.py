"""Doubt: what does not fit together about a person. Nothing is mended here: each goes to the queue, for somebody to decide."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.expression.identifiers import validate_citizen_id
from streams.flows.person.evidence import born_by_number, key_of
from streams.flows.person.ladder import Judged, own_rank
from streams.flows.person.life import DECEASED, UNKNOWN, Death
from streams.flows.person.move import Change, Gathered
from streams.flows.person.record import month_of
from streams.operators.flow import Fact, Row, Subject
from streams.operators.merge import conflict


def forks(subject: Subject, gathered: Gathered) -> Iterator[Row]:
    """Items for numbers that were changed to several others: the latest change counts, and may be the wrong one."""
    leaving: dict[str, list[Change]] = {}
    for change in gathered.changes:
        leaving.setdefault(change.old, []).append(change)
    for _, changes in sorted(leaving.items()):
        if len({change.new for change in changes}) > 1:
            yield conflict("ID_CHANGE_CONFLICT", [key_of(subject)], [change.fact for change in changes])


def doubts(subject: Subject, judged: Judged, death: Death) -> Iterator[Row]:
    """Items for the queue: one per thing that does not fit, whatever the archive then believes."""
    keys = [key_of(subject)]
    for kind, fact in death.refused:
        yield conflict(kind, keys, [fact])
    if death.status == UNKNOWN and death.claims:
        yield conflict("DEATH_UNCONFIRMED", keys, death.claims)
    for fact in judged.accepted:
        for kind in _misfits(fact, subject):
            yield conflict(kind, keys, [fact])
        if death.status == DECEASED and death.died_on is not None and _happened_after(fact, death.died_on):
            yield conflict("AFTER_DEATH", keys, [fact, *death.claims])


def _misfits(fact: Fact, subject: Subject) -> Iterator[str]:
    """What a row contradicts: the number it is registered under, or what a number must be."""
    row = fact.row or {}
    if fact.feed == "police.resident" and subject.kind == "person" and own_rank(fact, subject.id) > 0:
        if row["birth_date"] != born_by_number({"citizen_id": subject.id}):
            yield "BIRTH_DATE_MISMATCH"
        if row["sex"] in {"1", "2"} and row["sex"] != validate_citizen_id(subject.id).facts["sex"]:
            yield "SEX_MISMATCH"
    if fact.feed == "civil.marriage" and validate_citizen_id(row["partner_id"]).normalised is None:
        yield "PARTNER_ID_INVALID"


def _happened_after(fact: Fact, died_on: int) -> bool:
    """Whether a row states something that only the living do: a pension of a later month, a marriage."""
    row = fact.row or {}
    if fact.feed == "hrss.pension_payment":
        return row["status"] == "PAID" and row["period"] > month_of(died_on)
    return fact.feed == "civil.marriage" and row["kind"] in {"MARRIAGE", "DIVORCE"} and row["registered_date"] > died_on
