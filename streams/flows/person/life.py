"""Life (生存状态): alive or not, when police and health agree, and what a wrong death leaves behind (C5).

A death counts once both sides state it: the register, and medicine (a death certificate or a cremation). While only one does,
the status is UNKNOWN and the queue says so. Where the register does not keep the person, the medical side is enough.

What the archive believed in the past is not remembered but replayed: all versions of the rows in order of their commits, so
that any interleaving of the feeds gives the same deaths and restorations. Each death is a stop; its end is a restore, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

import msgspec

from schemas.dated.configuration import day_of
from streams.flows.person.evidence import died_on
from streams.flows.person.ladder import Judged
from streams.operators.flow import Fact

ALIVE, DECEASED, UNKNOWN = "ALIVE", "DECEASED", "UNKNOWN"
_KEPT = ("REGISTERED", "DECEASED")
_EPOCH = date(1970, 1, 1)


class Death(msgspec.Struct, frozen=True):
    """What rows say of a person's life. `claims` are the rows that state a death and may; `refused` those that cannot."""

    status: str
    died_on: int | None
    claims: Sequence[Fact] = ()
    refused: Sequence[tuple[str, Fact]] = ()
    methods: Mapping[tuple[str, str], str] = {}


@dataclass(slots=True)
class Span:
    """A time in which the archive held the person for dead: the changes that began and ended it."""

    began: Fact
    death: Death
    ended: Fact | None = None


def life(judged: Judged, rule: Mapping[str, Any], dates: Sequence[str], born: int | None) -> Death:
    """What the accepted rows say. `dates` are feeds in order of authority for the date of death; `born` is in days."""
    sides: Mapping[str, Sequence[str]] = rule["sides"]
    claims: list[Fact] = []
    refused: list[tuple[str, Fact]] = []
    for fact in judged.accepted:
        if fact.row is None or not any(fact.feed in feeds for feeds in sides.values()):
            continue
        day = died_on(fact.row)
        if day is None and fact.row.get("status") != DECEASED:
            continue
        why = _impossible(day, born, fact)
        if why:
            refused.append((why, fact))
        else:
            claims.append(fact)
    residents = [fact for fact in judged.accepted if fact.feed == "police.resident" and fact.row is not None]
    is_kept = any((fact.row or {})["status"] in _KEPT for fact in residents)
    stated = {side for side, feeds in sides.items() if any(fact.feed in feeds for fact in claims)}
    needed = rule["sides_needed"] if is_kept else 1
    if stated and len(stated) >= needed:
        return Death(DECEASED, _date(claims, dates), claims, refused, judged.methods)
    if stated:
        return Death(UNKNOWN, None, claims, refused, judged.methods)
    return Death(ALIVE if is_kept or _is_permitted(judged) else UNKNOWN, None, claims, refused, judged.methods)


def _impossible(day: int | None, born: int | None, fact: Fact) -> str | None:
    if day is not None and born is not None and day < born:
        return "DEATH_BEFORE_BIRTH"
    if day is not None and day > (day_of(fact.committed_at_ms * 1000) - _EPOCH).days:
        return "DEATH_IN_FUTURE"
    return None


def _is_permitted(judged: Judged) -> bool:
    return any(
        fact.feed == "police.residence_permit" and (fact.row or {})["status"] == "VALID" for fact in judged.accepted
    )


def _date(claims: Sequence[Fact], dates: Sequence[str]) -> int | None:
    for feed in dates:
        days = [day for fact in claims if fact.feed == feed and (day := died_on(fact.row or {})) is not None]
        if days:
            return min(days)
    return None


def spans(facts: Sequence[Fact], believed: Callable[[Sequence[Fact]], Death], feeds: Sequence[str]) -> list[Span]:
    """The times of supposed death, oldest first: `believed` says what the rows of one moment amount to.

    `facts` carry their older versions, deleted rows included. Changes of one commit time count as one.
    """
    if not any(_ever_stated(fact, feeds) for fact in facts):
        return []
    versions = [
        version.with_earlier(fact.earlier[:number])
        for fact in facts
        for number, version in enumerate((*fact.earlier, fact))
    ]
    versions.sort(key=lambda version: (version.committed_at_ms, version.feed, version.row_id, version.position))
    current: dict[tuple[str, str], Fact] = {}
    found: list[Span] = []
    for _, group in groupby(versions, key=lambda version: version.committed_at_ms):
        changed: list[Fact] = []
        for version in group:
            present = current.get((version.feed, version.row_id))
            if present is None or present.position < version.position:
                current[version.feed, version.row_id] = version
                changed.append(version)
        death = believed([current[place] for place in sorted(current)])
        open_span = found[-1] if found and found[-1].ended is None else None
        if death.status == DECEASED and open_span is None:
            found.append(Span(_cause(changed, feeds), death))
        elif death.status == DECEASED and open_span is not None:
            open_span.death = death
        elif open_span is not None:
            open_span.ended = _cause(changed, feeds)
    return found


def _ever_stated(fact: Fact, feeds: Sequence[str]) -> bool:
    if fact.feed not in feeds:
        return False
    return any(
        version.row is not None and (died_on(version.row) is not None or version.row.get("status") == DECEASED)
        for version in (*fact.earlier, fact)
    )


def _cause(changed: Sequence[Fact], feeds: Sequence[str]) -> Fact:
    """Of the changes of one commit time, the one that a stop or restore is ascribed to."""
    return next((fact for fact in changed if fact.feed in feeds), changed[-1])
