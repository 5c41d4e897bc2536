"""Entity: one organisation of a home registry, and all that belongs to it (subjects `org:<home>:<key>`).

Its id is the registry's and never changes, so two registries' rows are never one entity by accident of arrival. It claims the
numbers that its own rows hold, shows those that stand (identifier.py), and those of other registers that were linked to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.dated.calendar import day_at
from schemas.expression.identifiers import validate_uscc
from streams.flows.organisation.coverage import count
from streams.flows.organisation.identifier import claim_row, subject_of
from streams.flows.organisation.number import is_unfit, org_code_of, valid_number
from streams.flows.organisation.period import Period, StatusPoint, committed_day, periods, timeline, versions
from streams.flows.organisation.rules import (
    CONFLICT,
    ORG_CODE,
    ORGANISATION,
    REGISTRATION_NO,
    STATUS_ITEMS,
    UNKNOWN,
    USCC,
    Registry,
    Rules,
    rules_at,
)
from streams.flows.organisation.taxpayer import name_subject
from streams.operators.flow import Fact, Outcome, RejectedRow, Row, Subject, Tell
from streams.operators.merge import Merged, conflict, merge, origin

CHANGES = "aic.enterprise_change"
ENTERPRISE = "aic.enterprise"
_COLUMNS = {USCC: "uscc", ORG_CODE: "org_code", REGISTRATION_NO: "registration_no"}
_ALWAYS = -(1 << 31)


def enterprise_subjects(row: Row) -> Iterable[str]:
    """The subject of a row of the commerce register (商事主体)."""
    return [f"org:aic:{row['ent_id']}"]


def change_subjects(row: Row) -> Iterable[str]:
    """The subject of a registered change of status; other changes say nothing here, and do not travel.

    A delete may know the key alone, so a row without an item may be any.
    """
    return [f"org:aic:{row['ent_id']}"] if row["item"] in {None, *STATUS_ITEMS} else []


def coded_subjects(home: str) -> Callable[[Row], Iterable[str]]:
    """The subject of a registry whose key is the unified social credit code itself."""

    def subjects(row: Row) -> Iterable[str]:
        code = valid_number(USCC, row["uscc"])
        if code is None:
            raise RejectedRow("USCC_INVALID", f"step {validate_uscc(row['uscc']).code or 'PLACEHOLDER'}")
        return [f"org:{home}:{code}"]

    return subjects


@dataclass(frozen=True, slots=True)
class _Entity:
    """A home row with its history, read."""

    org: str
    fact: Fact
    rows: Sequence[Fact]
    registry: Registry
    kind: str
    status: str
    points: Sequence[StatusPoint]
    ends: int | None
    established: int | None
    merged: Merged

    @property
    def row(self) -> Row:
        return self.fact.row or {}


def fold(subject: Subject) -> Outcome:
    """Claim the numbers, publish the organisation, count it, queue what is wrong with its rows."""
    rules = rules_at(subject.now)
    outcome = Outcome(reasons={ORGANISATION: "SOURCE_DELETED"})
    facts = subject.of(*rules.registries)
    if not facts:
        return outcome
    entity = _read(subject, facts[-1], rules)
    held = _claims(entity, rules)
    _tell(entity, held, outcome)
    _complain(subject, entity, rules, outcome)
    count(outcome, entity.registry.home, entity.kind, entity.ends is None, entity.row["uscc"], subject.now)
    standings = {(row["id_type"], row["id_no"]): row["is_held"] for row in subject.told("standing")}
    stated = [period for period in held if period.is_stated]
    is_answered = all((entry.id_type, entry.period.value) in standings for entry in stated)
    if is_answered or ORGANISATION in subject.published:  # at first wait for the answers: they are on their way
        own = [entry for entry in stated if standings.get((entry.id_type, entry.period.value))]
        outcome.publish(ORGANISATION, _organisation(entity, own, subject.told("link")))
    return outcome


def _read(subject: Subject, fact: Fact, rules: Rules) -> _Entity:
    registry = rules.registries[fact.feed]
    merged = merge([fact], rules.priority)
    rows = versions(fact)
    changes = [change for change in subject.of(CHANGES) if (change.row or {})["item"] == rules.status_item]
    established = merged.values["established"]
    points = timeline(rows, changes, registry.status, established)
    last = points[-1]
    ends = None
    if last.status in rules.ended:
        ends = committed_day(fact) if last.day is None else last.day
    kind = registry.kind.get((fact.row or {})["kind"], UNKNOWN)
    return _Entity(subject.id, fact, rows, registry, kind, last.status, points, ends, established, merged)


@dataclass(frozen=True, slots=True)
class _Held:
    id_type: str
    period: Period
    is_stated: bool


def _claims(entity: _Entity, rules: Rules) -> list[_Held]:
    """The numbers that the entity's rows hold and held, and the organisation code within its USCC where it states none."""
    found: list[_Held] = []
    for id_type, column in _COLUMNS.items():
        if column not in entity.row:
            continue
        begins = _begins(entity, id_type, rules)
        found += [
            _Held(id_type, period, True) for period in periods(entity.rows, _reader(id_type), begins, entity.ends)
        ]
    begins = _begins(entity, USCC, rules)
    found += [_Held(ORG_CODE, period, False) for period in periods(entity.rows, _inner_code, begins, entity.ends)]
    return found


def _begins(entity: _Entity, id_type: str, rules: Rules) -> int | None:
    since = rules.issued_since.get(id_type)
    if since is None or entity.established is None:
        return entity.established if since is None else since
    return max(since, entity.established)


def _reader(id_type: str) -> Callable[[Row], str | None]:
    def read(row: Row) -> str | None:
        return valid_number(id_type, row[_COLUMNS[id_type]])

    return read


def _inner_code(row: Row) -> str | None:
    """Characters 9 to 17 of the USCC; nothing where the registry states a code itself, be it the same or another."""
    if valid_number(ORG_CODE, row.get("org_code")) is not None:
        return None
    return org_code_of(valid_number(USCC, row["uscc"]))


def _tell(entity: _Entity, held: Sequence[_Held], outcome: Outcome) -> None:
    uscc = valid_number(USCC, entity.row["uscc"])
    by_number: dict[tuple[str, str], list[_Held]] = {}
    for entry in held:
        by_number.setdefault((entry.id_type, entry.period.value), []).append(entry)
    for (id_type, number), entries in by_number.items():
        times = [
            (
                entry.period.valid_from,
                entry.period.valid_to,
                entry.is_stated,
                entry.period.first.position,
                entry.period.first.committed_at_ms,
            )
            for entry in entries
        ]
        row = claim_row(entity.org, entity.fact.feed, entity.fact.row_id, uscc, times)
        outcome.tells.append(Tell(subject_of(id_type, number), "claim", row))
    if entity.kind == "SOLE_TRADER":  # whose tax number may hold nothing but the owner's citizen ID (tier O3)
        values = entity.merged.values
        name = name_subject(values["name"], values["reg_region"], values["legal_rep_id"], committed_day(entity.fact))
        if name is not None:
            outcome.tells.append(Tell(name, "named", {"org": entity.org}))


def _complain(subject: Subject, entity: _Entity, rules: Rules, outcome: Outcome) -> None:
    row = entity.row

    def complain(kind: str, *columns: str, detail: str = "") -> None:
        claim = origin(entity.fact, lambda row: [row.get(column) for column in columns])
        outcome.publish(CONFLICT, conflict(kind, [entity.org], [claim], detail=detail))

    for id_type, column in _COLUMNS.items():
        if is_unfit(id_type, row.get(column)):
            complain(f"{id_type}_INVALID", column)
    if entity.kind == UNKNOWN:
        complain("KIND_UNKNOWN", "kind")
    if entity.status == UNKNOWN:
        complain("STATUS_UNKNOWN", "status")
    stated = valid_number(ORG_CODE, row.get("org_code"))
    inner = org_code_of(valid_number(USCC, row["uscc"]))
    if stated and inner and stated != inner:
        detail = "characters 9 to 17 of the USCC are another organisation code than the row's"
        complain("ORG_CODE_MISMATCH", "org_code", "uscc", detail=detail)
    for change in subject.of(CHANGES):
        said = change.row or {}
        if said["item"] == rules.status_item and said["new_value"] not in entity.registry.status:
            detail = "a registered change to a status that is none"
            outcome.publish(CONFLICT, conflict("STATUS_UNKNOWN", [entity.org], [change], detail=detail))


def _organisation(entity: _Entity, own: Sequence[_Held], links: Sequence[Row]) -> Row:
    values, provenance = entity.merged.values, dict(entity.merged.provenance)
    region = provenance.get("reg_region")
    committed = [
        entity.merged.version,
        *(entry.period.first.committed_at_ms for entry in own),
        *(link["committed_at_ms"] for link in links),
    ]
    return {
        "organisation_id": entity.org,
        "kind": entity.kind,
        "name": values["name"],
        "identifiers": _identifiers(entity, own, links),
        "legal_rep_id": values["legal_rep_id"],
        "industry": values["industry"],
        "reg_region": values["reg_region"],
        "region_as_of": None if region is None else day_at(region["committed_at"]),
        "established": values["established"],
        "status": entity.status,
        "status_timeline": [
            {"status": point.status, "valid_from": point.day, "valid_to": follower.day if follower else None}
            for point, follower in zip(entity.points, [*entity.points[1:], None], strict=True)
        ],
        "provenance": [{"field": name, **provenance[name]} for name in sorted(provenance)],
        "base_version": max(committed),
    }


def _identifiers(entity: _Entity, own: Sequence[_Held], links: Sequence[Row]) -> list[Mapping[str, Any]]:
    """Own numbers by period, others' by link; where both speak of one number, its own register knows the dates."""
    linked = {(link["id_type"], link["id_no"]) for link in links}
    entries: list[tuple[Any, ...]] = []
    methods: dict[tuple[str, str], str] = {}
    for entry in own:
        number = (entry.id_type, entry.period.value)
        methods[number] = "HOME"
        if number not in linked:
            entries.append((*number, entry.period.valid_from, entry.period.valid_to, entity.fact.feed))
    for link in links:
        number = (link["id_type"], link["id_no"])
        entries.append((*number, link["valid_from"], link["valid_to"], link["source"]))
        methods.setdefault(number, link["match_method"])
    entries.sort(key=lambda entry: (entry[0], _ALWAYS if entry[2] is None else entry[2], entry[1]))
    return [
        {
            "type": id_type,
            "value": value,
            "valid_from": valid_from,
            "valid_to": valid_to,
            "source": source,
            "match_method": methods[id_type, value],
        }
        for id_type, value, valid_from, valid_to, source in entries
    ]
