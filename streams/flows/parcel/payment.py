"""Payment (价款缴纳): one contract's standing, by event time; and what the contracts of a region sum to."""

from __future__ import annotations

from pathlib import Path

from schemas.dated.calendar import day_at
from schemas.dated.configuration import DAY_MICROS, dated, midnight
from streams.flows.inquiry.sources import cents, decimal_bytes
from streams.flows.organisation.number import valid_number
from streams.flows.organisation.rules import USCC
from streams.flows.regions import city_regions
from streams.operators.flow import Fact, Outcome, Row, Subject, queue_item
from streams.operators.watch import Cause, Evidence, cite, watch

SALE = "land.parcel_sale"
PAYMENT, STATISTIC, QUEUE = "parcel.payment", "parcel.statistic", "parcel.queue"
COLUMNS = ("grantee_uscc", "grantee_name", "parcel_no", "price", "due_date", "paid_amount")
PAID, PAID_LATE, IN_TERM, OVERDUE = "PAID", "PAID_LATE", "IN_TERM", "OVERDUE"
ALL, UNKNOWN_REGION = "ALL", "000000"
TERMS = dated(Path(__file__).parent / "terms.yaml")
_REGION_DIGITS = 6


def fold_contract(subject: Subject) -> Outcome:
    """The fold of `contract:<contract_no>`: unpaid at the end of its term, and the days of grace, is overdue."""
    outcome = Outcome(reasons={PAYMENT: "SOURCE_DELETED"})
    sales = subject.of(SALE)
    paid_at = _paid_at(sales[0]) if sales else None
    paid = [Evidence(at=paid_at, source=cite(sales[0]))] if paid_at is not None else []
    warned = watch(subject, outcome, [_due(subject, fact) for fact in sales], lambda _: paid)
    for fact in sales:
        row = fact.row or {}
        deadline = _deadline(row)
        overdue = [each for each in warned if each.retracted is None]
        unpaid = OVERDUE if overdue else IN_TERM
        state = unpaid if paid_at is None else PAID if paid_at < deadline else PAID_LATE
        since = deadline if state in {PAID_LATE, OVERDUE} else None
        outcome.publish(PAYMENT, _payment(fact, state, since, paid_at))
        _count(outcome, row, state)
        for kind in _doubts(row):
            item = queue_item(f"{kind}|{subject.id}", kind, [subject.key], [fact], opened_at=fact.event_at)
            outcome.publish(QUEUE, item)
    return outcome


def _due(subject: Subject, fact: Fact) -> Cause:
    deadline = _deadline(fact.row or {})
    due = deadline + TERMS.at(deadline)["grace_days"] * DAY_MICROS
    return Cause(
        rule=OVERDUE,
        entity=subject.key,
        event="due",
        at=fact.event_at,
        deadline=deadline,
        due=due,
        takes_late=False,  # paid late is settled, and was late all the same
        sources=[cite(fact)],
    )


def _deadline(row: Row) -> int:
    return midnight(row["due_date"] + 1)


def _paid_at(fact: Fact) -> int | None:
    """Since when the whole price is paid, by the row's versions; None while it is not."""
    since: int | None = None
    for version in (*fact.earlier, fact):
        row = version.row or {}
        if not row or cents(row["paid_amount"]) < cents(row["price"]):
            since = None
        elif since is None:
            since = version.event_at
    return since


def _payment(fact: Fact, state: str, overdue_since: int | None, paid_at: int | None) -> Row:
    row = fact.row or {}
    outstanding = max(cents(row["price"]) - cents(row["paid_amount"]), 0)
    return {
        "contract_no": fact.row_id,
        **{column: row[column] for column in COLUMNS},
        "region": _region(row),
        "region_as_of": day_at(fact.event_at),
        "outstanding_amount": decimal_bytes(outstanding),
        "state": state,
        "overdue_since": overdue_since,
        "paid_at": paid_at,
        "rule_pack": TERMS.at(_deadline(row))["version"],
    }


def _region(row: Row) -> str:
    region = (row["parcel_no"] or "")[:_REGION_DIGITS]  # a parcel's number begins with its county
    return region if region in city_regions().codes else UNKNOWN_REGION


def _doubts(row: Row) -> list[str]:
    doubts = [] if valid_number(USCC, row["grantee_uscc"]) else ["GRANTEE_UNIDENTIFIED"]
    return [*doubts, *(["PAID_ABOVE_PRICE"] if cents(row["paid_amount"]) > cents(row["price"]) else [])]


def _count(outcome: Outcome, row: Row, state: str) -> None:
    price, paid = cents(row["price"]), cents(row["paid_amount"])
    counts = {"contracts": 1, f"state:{state}": 1, "price": price, "paid": paid}
    if state == OVERDUE:
        counts["overdue"] = price - paid
    for region in (_region(row), ALL):
        outcome.counts |= {(f"region:{region}", measure): count for measure, count in counts.items()}


def fold_region(subject: Subject) -> Outcome:
    """The fold of `region:<code>`: its contracts, and their money."""
    outcome = Outcome()
    counts = subject.counts
    if counts.get("contracts"):
        amounts = {f"{name}_amount": decimal_bytes(counts.get(name, 0)) for name in ("price", "paid", "overdue")}
        states = {state.lower(): counts.get(f"state:{state}", 0) for state in (PAID, PAID_LATE, IN_TERM, OVERDUE)}
        outcome.publish(STATISTIC, {"region": subject.id, "contracts": counts["contracts"], **states, **amounts})
    return outcome
