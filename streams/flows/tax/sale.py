"""Sale (房屋交易): a house's contract and its deed-tax receipts (subjects `sale:<contract>`); rule W3."""

from __future__ import annotations

from streams.flows.organisation.rules import USCC
from streams.flows.tax.identity import CITIZEN_ID, NOT_MATCHED, grouping_key, number_of, with_code
from streams.flows.tax.report import Party, cause, count_rows, report
from streams.flows.tax.rules import QUEUE
from streams.operators.flow import Outcome, RejectedRow, Row, Subject, queue_item
from streams.operators.watch import Cause, Evidence, cite

SALE, RECEIPT = "land.property_sale", "local_tax.deed_tax"
SALE_COLUMNS = ("unit_no", "buyer_id", "transferred_date")
_REGION_DIGITS = 6


def contract_subjects(row: Row) -> list[str]:
    """The subject of a sale or of a receipt for one."""
    if not row["contract_no"]:
        raise RejectedRow(
            "CONTRACT_NO_MISSING", "neither a sale nor a receipt can be told without its contract's number"
        )
    return [f"sale:{row['contract_no']}"]


def fold(subject: Subject) -> Outcome:
    """Watch a transferred sale for its receipt."""
    outcome = Outcome()
    receipts = [Evidence(at=fact.event_at, source=cite(fact)) for fact in subject.of(RECEIPT)]
    report(subject, outcome, [w3(subject, outcome)], {"W3": lambda _: receipts})
    count_rows(subject, outcome, SALE, RECEIPT)
    return outcome


def w3(subject: Subject, outcome: Outcome) -> Cause | None:
    """W3: a property was transferred (过户); then a deed-tax receipt for the contract must come. The buyer owes the tax."""
    for fact in subject.of(SALE):
        row = fact.row or {}
        if row["transferred_date"] is None:
            return None
        numbers = [found for kind in (USCC, CITIZEN_ID) if (found := number_of(kind, row["buyer_id"])) is not None]
        if not numbers:
            detail = "the buyer's number cannot be matched on"
            item = queue_item(
                f"{NOT_MATCHED}|{subject.key}",
                NOT_MATCHED,
                [subject.key],
                [fact],
                opened_at=fact.event_at,
                detail=detail,
            )
            outcome.publish(QUEUE, item)
        key = grouping_key([each for number in numbers for each in with_code(number)], f"CONTRACT:{subject.id}")
        unit_no = row["unit_no"] or ""
        party = Party(key=key, name=None, region=unit_no[:_REGION_DIGITS])  # a unit's number begins with its county
        return cause("W3", subject, "transferred", fact.event_at, party, [fact])
    return None
