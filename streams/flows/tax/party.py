"""Party: who builds, holds permits, buys land or uses power, by the number that those rows name (subjects `party:<type>|<no>`).

Rules W5, W7 and W8 are judged here, for the rows are. Whom they concern comes from the crossroads: the taxpayer, if there is
one, and the entity, whose region decides who is in charge. Power use goes on to the entity (W6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from schemas.dated.configuration import midnight
from streams.flows.organisation.rules import ORG_CODE, REGISTRATION_NO, USCC
from streams.flows.tax.identity import (
    CITIZEN_ID,
    NOT_MATCHED,
    aliases,
    grouping_key,
    join,
    known,
    number_of,
    with_code,
)
from streams.flows.tax.place import region_at
from streams.flows.tax.report import Party, cause, count_rows, report
from streams.flows.tax.rules import is_month, month_after, month_of, rule_at
from streams.flows.tax.taxpayer import CANCELLED, answers, ask, question
from streams.operators.flow import Fact, Outcome, RejectedRow, Row, Subject, Tell
from streams.operators.watch import Cause, Evidence, cite

PERMIT, PARCEL, USAGE = "construction.permit", "land.parcel_sale", "utilities.usage"
LICENCES = ("fda.licence", "health.licence", "edu.licence")
PERMIT_COLUMNS = ("contractor_name", "region")
PARCEL_COLUMNS = ("grantee_name", "parcel_no", "price", "paid_amount")
LICENCE_COLUMNS = ("holder_name", "region", "status", "status_date")
USAGE_COLUMNS = ("quantity",)

_LAST_MONTH = "999912"
_REGION_DIGITS = 6


# ── which subjects ───────────────────────────────────────────────────────────────────────────────────────────────────────


def contractor(row: Row) -> list[str]:
    """The builder of a construction permit (施工许可), if registered elsewhere: who is of the city is watched by other rules."""
    rule = rule_at("W5", midnight(row["start_date"]))
    if rule is None or row["contractor_region"].startswith(rule.values["city_regions"]) or row["status"] == "REVOKED":
        return []
    return [_party(USCC, row["contractor_uscc"], "the contractor")]


def grantee(row: Row) -> list[str]:
    """Who bought a parcel of land (土地出让): a name alone is no taxpayer."""
    return [_party(USCC, row["grantee_uscc"], "the grantee")]


def holder(row: Row) -> list[str]:
    """The holder of a licence (许可证): by unified code where there is a valid one, else by the number it was issued to."""
    rule = rule_at("W7", midnight(row["issue_date"]))
    if rule is None or not any(row["licence_kind"] in kinds for kinds in rule.values["licence_kinds"].values()):
        return []
    if (found := number_of(USCC, row["uscc"])) is not None:
        return [f"party:{found}"]
    return [_party(row["holder_id_type"], row["holder_id"], "the holder")]


def user(row: Row) -> list[str]:
    """An organisation that uses power. Households' meters are nobody's business here."""
    if row["utility"] != "POWER" or row["holder_id_type"] not in {USCC, ORG_CODE, REGISTRATION_NO}:
        return []
    if not is_month(row["period"]):
        raise RejectedRow("PERIOD_INVALID", "a reading's period is no month (yyyymm)")
    return [_party(row["holder_id_type"], row["holder_id"], "the holder of a meter")]


def _party(id_type: str, text: str | None, who: str) -> str:
    found = number_of(id_type, text)
    if found is None:
        raise RejectedRow(NOT_MATCHED, f"{who} has no number that can be matched on")
    return f"party:{found}"


# ── the fold ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Matched:
    """What the crossroads know of a party."""

    def __init__(self, subject: Subject) -> None:
        self.numbers = [*with_code(subject.id), *aliases(subject)]
        self.taxpayers = known(subject, self.numbers, "taxpayers")
        is_organisation = not subject.id.startswith(CITIZEN_ID)
        self.entities = known(subject, self.numbers, "entities") if is_organisation else []
        """A person's number leads to what the person represents, and that is somebody else."""

    def party(self, name: str | None, at: int, region: str | None) -> Party:
        """Whom a warning is about: the entity's region decides where it is known, otherwise that of the row."""
        if len(self.entities) == 1:
            region = region_at(self.entities[0]["stays"], at) or region
        tax_no = self.taxpayers[0]["key"] if len(self.taxpayers) == 1 else None
        return Party(key=grouping_key(self.numbers, ""), name=name, tax_no=tax_no, region=region)


def fold(subject: Subject) -> Outcome:
    """Judge W5, W7 and W8, and pass power use on."""
    outcome = Outcome()
    matched = _Matched(subject)
    join(subject, outcome, matched.numbers)
    given = [*w5(subject, matched), *w7(subject, matched), *w8(subject, matched)]
    causes = [each for each in given if each is not None]
    for taxpayer in matched.taxpayers:
        ask(subject, outcome, taxpayer["key"], _questions(causes))
    proofs = {
        "W5": _local_record(subject, matched),
        "W7": lambda _: registered(matched.taxpayers),
        "W8": _land_use(subject, matched),
    }
    report(subject, outcome, causes, proofs)
    _pass_on(subject, outcome, matched)
    count_rows(subject, outcome, PERMIT, PARCEL, USAGE, *LICENCES)
    return outcome


def w5(subject: Subject, matched: _Matched) -> Iterable[Cause | None]:
    """W5: an out-of-city contractor starts to build here; then local tax must have a record of it."""
    for fact in subject.of(PERMIT):
        row = fact.row or {}
        party = matched.party(row["contractor_name"], fact.event_at, None)
        here = replace(party, region=row["region"])  # it owes tax where it builds
        yield cause("W5", subject, fact.row_id, fact.event_at, here, [fact])


def w7(subject: Subject, matched: _Matched) -> Iterable[Cause | None]:
    """W7: a food, medical or school licence was issued; then its holder must be known to tax."""
    for fact in subject.of(*LICENCES):
        row, rule = fact.row or {}, rule_at("W7", fact.event_at)
        if rule is None or row["licence_kind"] not in rule.values["licence_kinds"].get(fact.feed, ()):
            continue
        party = matched.party(row["holder_name"], fact.event_at, row["region"])
        event = f"{fact.feed}|{fact.row_id}"
        found = cause("W7", subject, event, fact.event_at, party, [fact])
        if found is not None and not _ended_before(fact, found.deadline):
            yield found


def w8(subject: Subject, matched: _Matched) -> Iterable[Cause | None]:
    """W8: a parcel is paid for; from the next month on land-use tax (城镇土地使用税) must be filed."""
    for fact in subject.of(PARCEL):
        paid = _paid(fact)
        row = fact.row or {}
        rule = None if paid is None else rule_at("W8", paid.event_at)
        if paid is None or rule is None:
            continue
        region = (row["parcel_no"] or "")[:_REGION_DIGITS]  # a parcel's number begins with its county
        party = matched.party(row["grantee_name"], paid.event_at, region)
        yield cause(
            "W8",
            subject,
            fact.row_id,
            paid.event_at,
            party,
            [fact],
            values={"tax_kinds": rule.values["tax_kinds"], "first": month_after(month_of(paid.event_at))},
        )


def _ended_before(fact: Fact, moment: int) -> bool:
    row = fact.row or {}
    if row["status"] == "VALID":
        return False
    return row["status_date"] is None or midnight(row["status_date"]) < moment


def _paid(fact: Fact) -> Fact | None:
    """The version of a parcel's row from which on it has been paid in full; None if it is not."""
    paid: Fact | None = None
    for version in reversed((*fact.earlier, fact)):
        row = version.row
        if (
            row is None
            or not row["price"]
            or not row["paid_amount"]
            or _amount(row, "paid_amount") < _amount(row, "price")
        ):
            break
        paid = version
    return paid


def _amount(row: Row, column: str) -> int:
    return int.from_bytes(row[column], "big", signed=True)


# ── evidence ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def registered(taxpayers: Iterable[Mapping[str, Any]], feeds: str = "") -> list[Evidence]:
    """The tax registrations of these taxpayers as evidence; `feeds` is the beginning of the feeds that count."""
    return [
        Evidence(at=registration["at"], source=registration["source"])
        for taxpayer in taxpayers
        for registration in taxpayer["registrations"]
        if registration["source"]["feed"].startswith(feeds)
    ]


def _questions(causes: Iterable[Cause]) -> list[Row]:
    found = {each.rule: [] for each in causes if each.rule in {"W5", "W8"}}
    for each in causes:
        if each.rule == "W5":
            found["W5"].append(question([], month_of(each.at), _LAST_MONTH, ["local_tax.filing"]))
        elif each.rule == "W8":
            found["W8"].append(question(each.details["tax_kinds"], each.details["first"], _LAST_MONTH))
    return [asked[0] if len(asked) == 1 else _widest(asked) for asked in found.values()]


def _widest(asked: Sequence[Row]) -> Row:
    """One question for many permits or parcels: from the earliest month on."""
    return min(asked, key=lambda row: (row["first"], row["kinds"]))


def _local_record(subject: Subject, matched: _Matched) -> Callable[[Cause], list[Evidence]]:
    def proof(each: Cause) -> list[Evidence]:
        """A registration at local tax that was not over by then, or a filing there for a month since."""
        found = [
            Evidence(at=registration["at"], source=registration["source"])
            for taxpayer in matched.taxpayers
            for registration in taxpayer["registrations"]
            if registration["source"]["feed"].startswith("local_tax.")
            and (registration["status"] != CANCELLED or registration["ended_at"] > each.at)
        ]
        filings = [filing for taxpayer in matched.taxpayers for filing in answers(subject, taxpayer["key"])]
        return found + [
            Evidence(at=filing["filed_at"], source=filing["source"])
            for filing in filings
            if filing["source"]["feed"] == "local_tax.filing" and filing["period"] >= month_of(each.at)
        ]

    return proof


def _land_use(subject: Subject, matched: _Matched) -> Callable[[Cause], list[Evidence]]:
    def proof(each: Cause) -> list[Evidence]:
        """A land-use-tax filing for the month after the payment, or a later one."""
        return [
            Evidence(at=filing["filed_at"], source=filing["source"])
            for taxpayer in matched.taxpayers
            for filing in answers(subject, taxpayer["key"])
            if filing["kind"] in each.details["tax_kinds"] and filing["period"] >= each.details["first"]
        ]

    return proof


def _pass_on(subject: Subject, outcome: Outcome, matched: _Matched) -> None:
    """Tell the entity what power it used, by month."""
    used: dict[str, int] = {}
    sources: dict[str, list[Row]] = {}
    for fact in subject.of(USAGE):
        row = fact.row or {}
        used[row["period"]] = used.get(row["period"], 0) + _amount(row, "quantity")
        sources.setdefault(row["period"], []).append(cite(fact))
    keys = [entity["key"] for entity in matched.entities if entity["key"].startswith("aic:")]
    if used and len(keys) == 1:
        months = [{"period": period, "used": used[period], "sources": sources[period]} for period in sorted(used)]
        outcome.tells.append(Tell(f"ent:{keys[0].partition(':')[2]}", "power", {"months": months}))
