"""Taxpayer: one tax number at both tax offices, matched to its organisation (subjects `tax:<number>`); and the last rung.

The ladder (HANDBOOK §2.6): O0 by unified social credit code, O1 by organisation code, O2 by that code's certificate and the
registration number on it. Only where a tax number holds nothing but its owner's citizen ID is O3 asked, by name, region and
owner (subjects `name:…`); what it finds is PROBABLE: a person decides, nothing is linked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from schemas.dated.calendar import day_at
from schemas.expression.identifiers import normalise
from streams.flows.organisation.identifier import brought, mapping, subject_of, unmatched
from streams.flows.organisation.number import TaxNumbers, citizen_id, tax_numbers
from streams.flows.organisation.period import committed_day, versions
from streams.flows.organisation.rules import CONFLICT, IDENTIFIER, ORG_CODE, TAX_NO, USCC, Rules, rules_at
from streams.flows.regions import city_regions
from streams.operators.flow import Fact, Outcome, RejectedRow, Row, Subject, Tell
from streams.operators.merge import IdentifierClaim, comparable, conflict, spans

REGISTRATIONS = ("state_tax.registration", "local_tax.registration")
REGISTRATION_COLUMNS = ("uscc", "org_code", "name", "region", "registered_date", "status", "status_date")


def tax_subjects(row: Row) -> Iterable[str]:
    """The subject of a tax registration (税务登记): the same at both offices if the number is."""
    number = normalise(row["tax_no"])
    if not number:
        raise RejectedRow("TAX_NO_INVALID", "the number is empty")
    return [f"tax:{number}"]


def name_subject(name: str | None, region: str | None, owner_id: str | None, day: int) -> str | None:
    """The subject where O3 meets: normalised name, region by its present code, and the owner's citizen ID."""
    owner = citizen_id(owner_id)
    if not name or not region or owner is None:
        return None
    regions = city_regions()
    now = max((*regions.changes, day))
    return f"name:{comparable(name).upper()}|{regions.translate(region, day, now) or region}|{owner}".replace("\0", "")


@dataclass(frozen=True, slots=True)
class _Match:
    """What became of one office's row. Without `org`: `candidates` of them come into question, -1 if that is said."""

    org: str | None
    candidates: int = 0
    method: str = ""


def fold(subject: Subject) -> Outcome:
    """Ask whose the registrations are, link them to the organisation, or queue them."""
    rules = rules_at(subject.now)
    outcome = Outcome()
    facts = subject.of(*REGISTRATIONS)
    answers = {(answer["ask"], answer["id_type"]): answer for answer in subject.told("answer")}
    linked: dict[str, list[tuple[Fact, str]]] = {}
    for fact in facts:
        numbers = tax_numbers(fact.row or {}, rules)
        _ask(subject, fact, numbers, rules, outcome)
        match = _match(subject, brought(fact), numbers, answers, outcome)
        if match.org is not None:
            linked.setdefault(match.org, []).append((brought(fact), match.method))
        else:
            unmatched(subject, [brought(fact)], match.candidates, rules, outcome)
    if len(linked) > 1:
        rows = [fact for found in linked.values() for fact, _ in found]
        detail = "the two offices' registrations under one number belong to different organisations"
        item = conflict("TAX_NO_CLAIMED_TWICE", [subject.key, *sorted(linked)], rows, detail=detail)
        outcome.publish(CONFLICT, item)
    for org, found in linked.items():
        if len(linked) == 1:
            _link(subject, org, found, outcome)
    return outcome


def _ask(subject: Subject, fact: Fact, numbers: TaxNumbers, rules: Rules, outcome: Outcome) -> None:
    for id_type, number in ((USCC, numbers.uscc), (ORG_CODE, numbers.org_code)):
        if number is not None:
            ask = {"asker": subject.key, "ask": fact.feed, "day": _day(fact, id_type, number, rules)}
            outcome.tells.append(Tell(subject_of(id_type, number), "ask", ask, id=fact.feed))
    row = fact.row or {}
    if (name := name_subject(row["name"], row["region"], numbers.owner_id, committed_day(fact))) is not None:
        outcome.tells.append(Tell(name, "ask", {"asker": subject.key, "ask": fact.feed}, id=fact.feed))


def _day(fact: Fact, id_type: str, number: str, rules: Rules) -> int:
    """The day from which the row has carried the number: a number may change hands."""
    column = "uscc" if id_type == USCC else "org_code"
    known = versions(fact)
    first = fact
    for version in reversed(known):
        if getattr(tax_numbers(version.row or {}, rules), column) != number:
            break
        first = version
    if first is not known[0]:
        return committed_day(first)
    registered = (fact.row or {})["registered_date"]
    begins = committed_day(first) if registered is None else registered
    return max(begins, rules.issued_since.get(id_type, begins))


def _match(
    subject: Subject,
    fact: Fact,
    numbers: TaxNumbers,
    answers: Mapping[tuple[str, str], Row],
    outcome: Outcome,
) -> _Match:
    is_told = False
    if numbers.is_mismatch:
        detail = "the organisation codes of its USCC, its tax number and its own column differ"
        outcome.publish(CONFLICT, conflict("ORG_CODE_MISMATCH", [subject.key], [fact], detail=detail))
        is_told = True
    for id_type in (USCC, ORG_CODE):
        answer = answers.get((fact.feed, id_type))
        if answer is None:
            continue
        if answer["org"] is not None:
            return _Match(answer["org"], 1, answer["match_method"])
        if answer["candidates"]:  # a lower rung does not decide what a higher one cannot
            return _Match(None, answer["candidates"])
    probable = answers.get((fact.feed, "NAME"))
    if probable is not None and probable["candidates"]:
        detail = f"tier O3: {probable['candidates']} of this name, region and owner"
        keys = [subject.key, *probable["orgs"]]
        outcome.publish(CONFLICT, conflict("PROBABLE", keys, [fact], detail=detail))
        is_told = True
    return _Match(None, -1 if is_told else 0)


def _link(subject: Subject, org: str, found: Sequence[tuple[Fact, str]], outcome: Outcome) -> None:
    claims = [IdentifierClaim(TAX_NO, subject.id, *_validity(fact), fact.feed) for fact, _ in found]
    (span,) = spans(claims)
    link = {
        "id_type": TAX_NO,
        "id_no": subject.id,
        "valid_from": span.valid_from,
        "valid_to": span.valid_to,
        "source": span.source,
        "match_method": min(method for _, method in found),
        "committed_at_ms": max(fact.committed_at_ms for fact, _ in found),
    }
    outcome.tells.append(Tell(f"org:{org}", "link", link, id=subject.id))
    outcome.publish(IDENTIFIER, mapping(TAX_NO, subject.id, org, span.valid_from, span.valid_to, span.source))


def _validity(fact: Fact) -> tuple[int | None, int | None]:
    """From the day of registration until the day of cancellation (注销); an abnormal (非正常) taxpayer still is one."""
    row = fact.row or {}
    if row["status"] != "CANCELLED":
        return row["registered_date"], None
    ended = row["status_date"]
    return row["registered_date"], day_at(fact.committed_at_ms * 1000) if ended is None else ended


def fold_name(subject: Subject) -> Outcome:
    """Who has this name, region and owner: an answer to each who asks."""
    outcome = Outcome()
    shown = rules_at(subject.now).claims_shown_max
    orgs = sorted(row["org"] for row in subject.told("named"))
    for ask in subject.told("ask"):
        row = {
            "ask": ask["ask"],
            "id_type": "NAME",
            "org": None,
            "orgs": orgs[:shown],
            "candidates": len(orgs),
        }
        outcome.tells.append(Tell(ask["asker"], "answer", row, id=f"NAME|{ask['ask']}"))
    return outcome
