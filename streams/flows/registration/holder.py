"""Holder: the number under which departments know an entity: where permits and penalties find it (HANDBOOK §2.6, O0 to O2).

One live entity under the number: its page shows them. Several, or another unified code under the same organisation code: a
conflict for a person, and nothing is shown. None: they wait, and after the configured working days a person is asked. What
names a natural person can at best be PROBABLE (O3), which a person confirms; it is never shown by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from schemas.dated.calendar import deadline
from schemas.expression.identifiers import (
    validate_citizen_id,
    validate_org_code,
    validate_registration_no,
    validate_uscc,
)
from streams.flows.registration.entity import ACTIVE, ENTERPRISE, QUEUE, WITHDRAWN
from streams.flows.registration.rules import rules_at
from streams.flows.registration.tally import IN_FLIGHT, PUBLISHED, REJECTED, Tally
from streams.operators.flow import Fact, Outcome, Row, Subject, Tell, queue_item
from streams.operators.name import comparable

LICENCES = ("edu.licence", "fda.licence", "fire.licence", "health.licence")
PENALTIES = ("aic.penalty", "fda.penalty")
SOLE_TRADER = "SOLE_TRADER"


def licence_holder(row: Row) -> list[str]:
    """The subject of a licence: its holder's number; `unfit:` where no number of it is well formed."""
    uscc = row["uscc"]
    if uscc and (found := _subject_of(uscc)):
        return [found]
    return [_subject_of(row["holder_id"] or "") or f"unfit:{row['licence_kind']}|{row['licence_no']}"]


def penalty_holder(row: Row) -> list[str]:
    """The subject of a penalty: the number of whom it was imposed on; `unfit:` where it is not well formed."""
    return [_subject_of(row["subject_id"] or "") or f"unfit:{row['decision_no']}"]


def sole_trader(row: Row) -> list[str]:
    """The natural person behind a sole trader, for a review of what names that person; no subject for any other entity."""
    if row["kind"] != SOLE_TRADER or not row["legal_rep_id"]:
        return []
    number = validate_citizen_id(row["legal_rep_id"]).normalised
    return [f"person:{number}"] if number else []


def _subject_of(number: str) -> str | None:
    if code := validate_uscc(number).normalised:
        return f"org:{code[8:17]}"
    if code := validate_org_code(number).normalised:
        return f"org:{code}"
    if found := validate_citizen_id(number).normalised:
        return f"person:{found}"  # before the registration number: a 15-digit number may pass as either
    if found := validate_registration_no(number).normalised:
        return f"reg:{found}"
    return None


def number(subject: Subject) -> Outcome:
    """Fold of a number of organisations."""
    outcome, tally = Outcome(), Tally(subject)
    entities = subject.told("entity")
    live = [row for row in entities if row["status"] == ACTIVE]
    candidates = live or entities
    for fact in subject.of(*LICENCES, *PENALTIES):
        mine = [row for row in candidates if _agrees(fact.row or {}, row)]
        if len(mine) == 1:
            _join(fact, mine[0], outcome, tally)
        elif candidates:
            tally.place(fact, REJECTED)
            keys = sorted(f"entity:{row['ent_id']}" for row in candidates)
            outcome.publish(QUEUE, _item(subject, "HOLDER_AMBIGUOUS" if mine else "HOLDER_CONFLICT", fact, keys))
        else:
            _wait(subject, fact, outcome, tally)
    tally.count_into(outcome)
    return outcome


def person(subject: Subject) -> Outcome:
    """Fold of a natural person's number: a sole trader of that person and name is probable, never certain."""
    outcome, tally = Outcome(), Tally(subject)
    tally.leave_out(ENTERPRISE)
    traders = [fact.row for fact in subject.of(ENTERPRISE) if fact.row is not None and fact.row["status"] != WITHDRAWN]
    for fact in subject.of(*LICENCES, *PENALTIES):
        row = fact.row or {}
        name = comparable(row.get("holder_name") or row.get("subject_name") or "")
        keys = sorted(f"entity:{other['ent_id']}" for other in traders if comparable(other["name"] or "") == name)
        if keys:
            outcome.publish(QUEUE, _item(subject, "PROBABLE_HOLDER", fact, keys))
        else:
            _wait(subject, fact, outcome, tally)
    tally.count_into(outcome)
    return outcome


def unfit(subject: Subject) -> Outcome:
    """Fold of a row whose holder's number is not well formed."""
    outcome, tally = Outcome(), Tally(subject)
    for fact in subject.of(*LICENCES, *PENALTIES):
        tally.place(fact, REJECTED)
        outcome.publish(QUEUE, _item(subject, "HOLDER_ID_INVALID", fact, []))
    tally.count_into(outcome)
    return outcome


def _agrees(row: Row, entity: Row) -> bool:
    """Not so where both have a valid unified code and not the same: they share an organisation code only."""
    theirs = entity["uscc"] and validate_uscc(entity["uscc"]).normalised
    ours = [validate_uscc(text).normalised for name in ("uscc", "holder_id", "subject_id") if (text := row.get(name))]
    return not theirs or all(code is None or code == theirs for code in ours)


def _join(fact: Fact, entity: Row, outcome: Outcome, tally: Tally) -> None:
    row = fact.row or {}
    if entity["status"] == WITHDRAWN or row.get("revoked_date") is not None:
        tally.place(fact, REJECTED)
        return
    tally.place(fact, PUBLISHED)
    is_licence = fact.feed in LICENCES
    hidden = {"holder_id", "holder_id_type", "holder_name", "uscc", "subject_id", "subject_name", "subject_kind"}
    shown = {name: value for name, value in row.items() if name not in hidden}
    shown |= {"agency": fact.feed.partition(".")[0], "position": fact.position}
    to = f"entity:{entity['ent_id']}"
    outcome.tells.append(Tell(to, "permit" if is_licence else "penalty", shown, id=f"{fact.feed}|{fact.row_id}"))


def _wait(subject: Subject, fact: Fact, outcome: Outcome, tally: Tally) -> None:
    rules = rules_at(fact.event_at)
    due = deadline(fact.event_at, rules.unmatched_working_days) if rules is not None else 0
    if subject.now < due:
        tally.place(fact, IN_FLIGHT)
        outcome.wake(due)
    else:
        tally.place(fact, REJECTED)
        outcome.publish(QUEUE, _item(subject, "HOLDER_UNKNOWN", fact, []))


def _item(subject: Subject, kind: str, fact: Fact, keys: Iterable[str]) -> Row:
    place = hashlib.sha256(subject.key.encode()).hexdigest()[:12]  # a row that moves on must not meet its former item
    identity = f"{kind}|{fact.feed}|{fact.row_id}|{place}"
    return queue_item(identity, kind, list(keys), [fact], opened_at=fact.event_at)
