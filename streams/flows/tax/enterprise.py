"""Enterprise (商事主体): a registered entity and what must follow from its register (subjects `ent:<ent_id>`); W1, W2, W4, W6."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from schemas.dated.configuration import midnight
from streams.flows.tax.identity import (
    CITIZEN_ID,
    aliases,
    grouping_key,
    join,
    known,
    number_of,
    organisation_numbers,
)
from streams.flows.tax.party import registered
from streams.flows.tax.place import region_at, stays
from streams.flows.tax.power import contribute, w6
from streams.flows.tax.report import Party, cause, count_rows, report
from streams.flows.tax.rules import month_after, month_of, rule_at
from streams.flows.tax.taxpayer import CANCELLED, NORMAL, agrees, answers, ask, question
from streams.operators.flow import Fact, Outcome, RejectedRow, Row, Subject
from streams.operators.watch import Cause, Evidence, cite

ENTERPRISE, CHANGE, SHAREHOLDER = "aic.enterprise", "aic.enterprise_change", "aic.shareholder"
ENTERPRISE_COLUMNS = (
    "uscc",
    "registration_no",
    "org_code",
    "name",
    "industry",
    "legal_rep_id_type",
    "legal_rep_id",
    "reg_region",
    "established",
    "status",
    "status_date",
)
CHANGE_COLUMNS = ("item", "changed_date")

_ENDED = frozenset({"DEREGISTERED", "REVOKED"})


def subjects(row: Row) -> list[str]:
    """The subject of a row of the register of commerce."""
    if not row["ent_id"]:
        raise RejectedRow("ENT_ID_MISSING", "a row of the register names no entity")
    return [f"ent:{row['ent_id']}"]


class Enterprise:
    """One entity, its numbers, and the taxpayers that it is."""

    def __init__(self, subject: Subject, fact: Fact) -> None:
        row = fact.row or {}
        self.subject, self.fact, self.row = subject, fact, row
        self.numbers = list(dict.fromkeys([*organisation_numbers(row), *aliases(subject)]))
        self.owner = number_of(row["legal_rep_id_type"], row["legal_rep_id"])
        self.stays = stays(fact, "reg_region")
        self.taxpayers = known(subject, self.numbers, "taxpayers") + self._by_owner()

    def _by_owner(self) -> list[Mapping[str, Any]]:
        """O3, for an owner's tax number: the registrations under it that have this entity's name and region."""
        if self.owner is None:
            return []
        found: list[Mapping[str, Any]] = []
        for taxpayer in known(self.subject, [self.owner], "taxpayers"):
            mine = [each for each in taxpayer["registrations"] if agrees(each, self.info)]
            if mine:
                found.append({**taxpayer, "registrations": mine})
        return found

    @property
    def info(self) -> Row:
        """What the others at a crossroads learn."""
        return {
            "key": f"aic:{self.subject.id}",
            "source": cite(self.fact),
            "name": self.row["name"],
            "stays": self.stays,
        }

    def party(self, at: int) -> Party:
        """Whom a warning is about, in charge of the region on that date (F4)."""
        tax_nos = sorted({taxpayer["key"] for taxpayer in self.taxpayers})
        return Party(
            key=grouping_key(self.numbers, f"aic:{self.subject.id}"),
            name=self.row["name"],
            tax_no=tax_nos[0] if len(tax_nos) == 1 else None,
            region=region_at(self.stays, at),
        )

    @property
    def registrations(self) -> list[Mapping[str, Any]]:
        """The tax registrations, each once."""
        found = {
            (each["source"]["feed"], each["source"]["row_id"]): each
            for taxpayer in self.taxpayers
            for each in taxpayer["registrations"]
        }
        return [found[key] for key in sorted(found)]


def fold(subject: Subject) -> Outcome:
    """Be at the crossroads, ask for filings where a cause needs them, and watch."""
    outcome = Outcome()
    count_rows(subject, outcome, ENTERPRISE, CHANGE, SHAREHOLDER)
    facts = subject.of(ENTERPRISE)
    if not facts:
        report(subject, outcome, [], {rule: lambda _: () for rule in ("W1", "W2", "W4", "W6")})
        return outcome
    entity = Enterprise(subject, facts[0])
    owners = [] if entity.owner is None else [entity.owner]
    join(subject, outcome, [*entity.numbers, *owners], entity=entity.info)
    contribute(subject, outcome, entity.row["industry"])
    left = [each for each in w4(entity) if each is not None]
    join(subject, outcome, {each.details["person"] for each in left} - set(owners))
    asked = _questions(subject, left)
    power = w6(subject, outcome, entity.party, [each["key"] for each in entity.taxpayers], entity.row["industry"])
    for tax_no, questions in power.questions.items():
        asked.setdefault(tax_no, []).extend(questions)
    for tax_no, questions in asked.items():
        ask(subject, outcome, tax_no, questions)
    proofs = {
        "W1": lambda _: registered(entity.taxpayers),
        "W2": lambda _: _cancelled(entity),
        "W4": lambda each: _income_filings(subject, each),
        "W6": power.amended,
    }
    report(subject, outcome, [w1(entity), w2(entity), *left, *power.causes], proofs)
    return outcome


def w1(entity: Enterprise) -> Cause | None:
    """W1: registered as a business; then a tax registration must be made. One that ended before its window is spared."""
    row = entity.row
    at = midnight(row["established"])
    found = cause("W1", entity.subject, "registered", at, entity.party(at), [entity.fact])
    if found is None or row["status"] == "WITHDRAWN":
        return None
    ended = None if row["status"] == "ACTIVE" else _status_at(entity.fact)
    return None if ended is not None and ended < found.deadline else found


def w2(entity: Enterprise) -> Cause | None:
    """W2: deregistered or revoked; then its tax registration must not stay normal."""
    row = entity.row
    normal = [each for each in entity.registrations if each["status"] == NORMAL]
    if row["status"] not in _ENDED or not normal:
        return None
    at = _status_at(entity.fact)
    return cause("W2", entity.subject, f"{row['status']}|{row['status_date']}", at, entity.party(at), [entity.fact])


def w4(entity: Enterprise) -> Iterable[Cause | None]:
    """W4: a natural person is a shareholder no longer; then the person must file income tax.

    The register has no status for it: the row goes. A row that is back before the filing was due was never gone.
    """
    for fact in entity.subject.facts.get(SHAREHOLDER, {}).values():
        versions = [*fact.earlier, fact]
        for before, gone, after in zip(versions, versions[1:], [*versions[2:], None], strict=False):
            if before.row is None or gone.row is not None or gone.committed_at_ms == before.committed_at_ms:
                continue  # the last: the whole table was emptied, which is the source's business and nobody's leaving
            person = number_of(before.row["holder_id_type"], before.row["holder_id"])
            if person is None or not person.startswith(CITIZEN_ID):
                continue
            yield _leave(entity, gone, person, None if after is None else after.event_at)


def _leave(entity: Enterprise, gone: Fact, person: str, back_at: int | None) -> Cause | None:
    at = _approved(entity.subject, gone.event_at)
    rule = rule_at("W4", at)
    if rule is None or (back_at is not None and back_at < rule.deadline(at)):
        return None
    party = entity.party(at)
    party = Party(key=person.replace("|", ":", 1), name=None, tax_no=None, region=party.region)
    month = month_of(at)
    values = {"person": person, "tax_kinds": rule.values["tax_kinds"], "first": month, "last": month_after(month)}
    return cause("W4", entity.subject, f"{gone.row_id}|{gone.position}", at, party, [gone], values=values)


def _approved(subject: Subject, gone_at: int) -> int:
    """The day on which the change of shareholders was approved, where the register names one shortly before the row went."""
    days = [
        fact.event_at
        for fact in subject.of(CHANGE)
        if fact.row is not None
        and fact.row["item"] == "SHAREHOLDER"
        and month_after(month_of(gone_at), -1) <= month_of(fact.event_at)
        and fact.event_at <= gone_at
    ]
    return max(days, default=gone_at)


def _status_at(fact: Fact) -> int:
    """The date of the status; where the register gives none, its commit."""
    day = (fact.row or {})["status_date"]
    return fact.committed_at_ms * 1000 if day is None else midnight(day)


# ── evidence ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _cancelled(entity: Enterprise) -> list[Evidence]:
    found: Sequence[Mapping[str, Any]] = entity.registrations
    if not found or any(each["status"] != CANCELLED for each in found):
        return []
    last = max(found, key=lambda each: each["ended_at"])
    return [Evidence(at=last["ended_at"], source=last["source"])]


def _questions(subject: Subject, left: Iterable[Cause]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for each in left:
        for taxpayer in known(subject, [each.details["person"]], "taxpayers"):
            asked = question(each.details["tax_kinds"], each.details["first"], each.details["last"])
            found.setdefault(taxpayer["key"], []).append(asked)
    return found


def _income_filings(subject: Subject, each: Cause) -> list[Evidence]:
    """Income-tax filings by the person for the month of leaving or the one after it, made since."""
    return [
        Evidence(at=filing["filed_at"], source=filing["source"])
        for taxpayer in known(subject, [each.details["person"]], "taxpayers")
        for filing in answers(subject, taxpayer["key"])
        if filing["kind"] in each.details["tax_kinds"]
        and each.details["first"] <= filing["period"] <= each.details["last"]
        and filing["filed_at"] >= each.at
    ]
