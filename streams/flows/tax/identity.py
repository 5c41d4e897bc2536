"""Identity: crossroads where an entity, a taxpayer and a holder of permits meet by a valid number (subjects `id:<type>|<no>`).

    entity    ──here──▶  id:USCC|…              ──known──▶  everybody who is there: taxpayers to entities, and back
    taxpayer  ──here──▶  id:ORG_CODE|…
    permit    ──here──▶  id:REGISTRATION_NO|…   ──known──▶  and the organisation code that quality supervision knows for it

The ladder (HANDBOOK §2.6): O0 by unified social credit code, O1 by organisation code, O2 by registration number through the
registry's mapping (`qts.organisation_code`), O3 by the owner's citizen ID, name and region, which suffices to spare somebody a
warning and for nothing else. Only valid numbers meet. Each side tells once what it is and hears at most `known_max` others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from streams.flows.organisation.number import citizen_id, org_code_of, tax_numbers, valid_number
from streams.flows.organisation.rules import ORG_CODE, REGISTRATION_NO, USCC
from streams.flows.organisation.rules import rules_at as matching_at
from streams.flows.tax.place import stays
from streams.flows.tax.report import count_rows
from streams.flows.tax.rules import QUEUE, settings_at
from streams.operators.flow import Fact, Outcome, RejectedRow, Row, Subject, Tell, queue_item
from streams.operators.watch import cite

CITIZEN_ID = "CITIZEN_ID"
CODES = "qts.organisation_code"
BODIES = ("staffing.institution", "civil.social_organisation")
"""Organisations outside the register of commerce: their rows come to the crossroads themselves."""

NOT_MATCHED = "TAXPAYER_NOT_MATCHED"


def number_of(id_type: str, text: str | None) -> str | None:
    """A number as a crossroads' id, `<type>|<canonical number>`; None if it must not be matched on."""
    if id_type == CITIZEN_ID:
        found = citizen_id(text)
    elif id_type in {USCC, ORG_CODE, REGISTRATION_NO}:
        found = valid_number(id_type, text)
    else:
        found = None
    return None if found is None else f"{id_type}|{found}"


def with_code(identity: str) -> list[str]:
    """A crossroads and, for a unified code, that of the organisation code within it."""
    id_type, _, number = identity.partition("|")
    code = org_code_of(number) if id_type == USCC else None
    return [identity] if code is None else [identity, f"{ORG_CODE}|{code}"]


def organisation_numbers(row: Row) -> list[str]:
    """The crossroads of a row with the columns `uscc`, `org_code`, `registration_no`, as far as they are valid."""
    found: list[str] = []
    for id_type, column in ((USCC, "uscc"), (ORG_CODE, "org_code"), (REGISTRATION_NO, "registration_no")):
        identity = number_of(id_type, row.get(column))
        if identity is not None:
            found += with_code(identity)
    return list(dict.fromkeys(found))


def taxpayer_numbers(row: Row, now: int) -> list[str]:
    """The crossroads of a tax registration: its codes, those within its tax number, and its owner's citizen ID there."""
    own = {"tax_no": row["tax_no"], "uscc": row.get("uscc"), "org_code": row.get("org_code")}
    numbers = tax_numbers(own, matching_at(now))
    owner = tax_numbers({"tax_no": row["tax_no"], "uscc": None, "org_code": None}, matching_at(now)).owner_id
    found = [] if numbers.uscc is None else [f"{USCC}|{numbers.uscc}"]
    if numbers.org_code is not None:
        found.append(f"{ORG_CODE}|{numbers.org_code}")
    if owner is not None:
        found.append(f"{CITIZEN_ID}|{owner}")
    return found


def grouping_key(numbers: Sequence[str], otherwise: str) -> str:
    """What the inbox groups a taxpayer (纳税人) under: the organisation code where there is one, since it outlives the others."""
    order = {ORG_CODE: 0, USCC: 1, REGISTRATION_NO: 2, CITIZEN_ID: 3}
    found = sorted(numbers, key=lambda identity: (order[identity.partition("|")[0]], identity))
    return found[0].replace("|", ":", 1) if found else otherwise


# ── those who come to a crossroads ───────────────────────────────────────────────────────────────────────────────────────


def join(
    subject: Subject,
    outcome: Outcome,
    numbers: Iterable[str],
    *,
    taxpayer: Row | None = None,
    entity: Row | None = None,
) -> None:
    """Be at these crossroads: as a taxpayer, as an entity, or only to hear of both."""
    row = {"who": subject.key, "taxpayer": taxpayer, "entity": entity}
    outcome.tells += [Tell(f"id:{number}", "here", row) for number in dict.fromkeys(numbers)]


def aliases(subject: Subject) -> list[str]:
    """Organisation codes that the registry's mapping knows for the subject's registration number (O2)."""
    codes = {row["org_code"] for row in subject.told("known") if row["org_code"] is not None}
    return [f"{ORG_CODE}|{code}" for code in sorted(codes)]


def known(subject: Subject, numbers: Iterable[str], role: str) -> list[Mapping[str, Any]]:
    """The `taxpayers` or `entities` at these crossroads, each once, ordered by key."""
    wanted = set(numbers)
    found = {each["key"]: each for row in subject.told("known") if row["at"] in wanted for each in row[role]}
    return [found[key] for key in sorted(found)]


# ── the crossroads themselves ────────────────────────────────────────────────────────────────────────────────────────────


def body_subjects(row: Row) -> list[str]:
    """A social organisation or institution: its unified code is its key."""
    identity = number_of(USCC, row["uscc"])
    if identity is None:
        raise RejectedRow("USCC_INVALID", "an organisation's own code cannot be matched on")
    return [f"id:{each}" for each in with_code(identity)]


def code_subjects(row: Row) -> list[str]:
    """An organisation-code certificate (组织机构代码证) that names a registration number: the registry's mapping."""
    number = number_of(REGISTRATION_NO, row["registration_no"])
    return [] if number is None or number_of(ORG_CODE, row["org_code"]) is None else [f"id:{number}"]


def fold(subject: Subject) -> Outcome:
    """Tell everybody who is here of the others."""
    outcome = Outcome()
    most = settings_at(subject.now).known_max
    if subject.id.startswith(USCC):
        count_rows(subject, outcome, *BODIES)
    count_rows(subject, outcome, CODES)
    here = subject.told("here")
    taxpayers = _each(row["taxpayer"] for row in here)
    bodies = [_body(fact) for fact in subject.of(*BODIES)]
    entities = _each([*(row["entity"] for row in here), *bodies])
    codes = sorted({number for fact in subject.of(CODES) if (number := _code(fact)) is not None})
    code = codes[0] if len(codes) == 1 else None
    for row in here:
        told = {
            "at": subject.id,
            "org_code": code,
            "taxpayers": taxpayers[:most] if row["taxpayer"] is None else [],
            "entities": entities[:most] if row["entity"] is None else [],
        }
        if code is not None or told["taxpayers"] or told["entities"]:
            outcome.tells.append(Tell(row["who"], "known", told))
    if max(len(taxpayers), len(entities)) > most:
        _queue(subject, outcome, "IDENTIFIER_CROWDED", subject.of("~here")[:most])
    if len(codes) > 1:
        _queue(subject, outcome, "REGISTRATION_NO_AMBIGUOUS", subject.of(CODES))
    return outcome


def _queue(subject: Subject, outcome: Outcome, kind: str, facts: Sequence[Fact]) -> None:
    opened_at = max((fact.event_at for fact in facts), default=0)
    item = queue_item(f"{kind}|{subject.id}", kind, [subject.key], facts, opened_at=opened_at)
    outcome.publish(QUEUE, item)


def _each(rows: Iterable[Row | None]) -> list[Row]:
    found = {row["key"]: row for row in rows if row is not None}
    return [found[key] for key in sorted(found)]


def _body(fact: Fact) -> Row:
    row = fact.row or {}
    return {
        "key": f"{fact.feed.partition('.')[0]}:{fact.row_id}",
        "source": cite(fact),
        "name": row["name"],
        "stays": stays(fact, "region"),
    }


def _code(fact: Fact) -> str | None:
    return None if fact.row is None else valid_number(ORG_CODE, fact.row.get("org_code") or fact.row_id)
