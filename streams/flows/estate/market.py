"""Market (市场): a unit's sales, entered month by month; and of a district's months which moved too far from those before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from schemas.dated.configuration import DAY_MICROS, dated, day_of, midnight
from streams.flows.inquiry.sources import cents, decimal_bytes
from streams.flows.regions import city_regions
from streams.flows.statistics.settings import first_day_after, month_after, months_before
from streams.operators.flow import Fact, Outcome, Row, Subject, queue_item

SALE, PROPERTY = "land.property_sale", "land.property"
INDEX, WARNING, QUEUE = "estate.index", "estate.warning", "estate.queue"
ALL, UNKNOWN_REGION, UNKNOWN = "ALL", "000000", "UNIT_UNKNOWN"
LIMITS = dated(Path(__file__).parent / "limits.yaml")


def fold_unit(subject: Subject) -> Outcome:
    """The fold of `unit:<unit_no>`: each of its sales in the month in which the contract was signed."""
    outcome = Outcome()
    properties = subject.of(PROPERTY)
    for fact in subject.of(SALE):
        pack = LIMITS.find(fact.event_at)
        if fact.event_at > subject.now:
            outcome.wake(fact.event_at)  # not signed yet, or by a slip of the pen
        elif pack is not None and not properties:
            asked_at = fact.event_at + pack["settle_days"] * DAY_MICROS
            if subject.now < asked_at:
                outcome.wake(asked_at)
            else:
                item = queue_item(f"{UNKNOWN}|{fact.row_id}", UNKNOWN, [subject.key], [fact], opened_at=asked_at)
                outcome.publish(QUEUE, item)
        elif pack is not None and (properties[0].row or {})["usage"] in pack["usages"]:
            _enter(outcome, fact, properties[0].row or {})
    return outcome


def _enter(outcome: Outcome, sale: Fact, unit: Row) -> None:
    month = f"{day_of(sale.event_at):%Y-%m}"
    counts = {"sales": 1}
    if (area := cents(unit["area_m2"])) > 0:
        counts |= {"measured": 1, "area": area, "amount": cents((sale.row or {})["price"])}
    region = unit["region"] if unit["region"] in city_regions().codes else UNKNOWN_REGION
    for place in (region, ALL):
        for measure, count in counts.items():
            entry = (f"region:{place}", f"{month}|{measure}")
            outcome.counts[entry] = outcome.counts.get(entry, 0) + count


def fold_region(subject: Subject) -> Outcome:
    """The fold of `region:<code>`: an index of each month that had a sale, and warnings about those that are over."""
    outcome = Outcome(reasons={WARNING: "RETRACTED"})
    indices = {month: _index(subject, month) for month in _months(subject)}
    for month, index in indices.items():
        judged_at = _judged_at(month)
        is_over = subject.now >= judged_at
        if not is_over:
            outcome.wake(judged_at)
        if index["sales"]:
            outcome.publish(INDEX, {"region": subject.id, "period": month, "is_over": is_over, **index})
        if is_over and subject.id != UNKNOWN_REGION:
            outcome.publish(WARNING, *_warnings(subject.id, month, indices))
    return outcome


def _months(subject: Subject) -> Iterator[str]:
    """From the first month with a sale to the last, and on while that one is a reference: sales can fall to none."""
    entered = {measure.partition("|")[0] for measure, count in subject.counts.items() if count}
    month, last, silent = min(entered, default=""), max(entered, default=""), 0
    while entered and silent <= _pack(month)["reference_months"]:
        yield month
        silent += month >= last
        month = month_after(month)


def _index(subject: Subject, month: str) -> dict[str, Any]:
    pack, measures = _pack(month), ("sales", "measured", "area", "amount")
    sales, measured, area, amount = (subject.counts.get(f"{month}|{measure}", 0) for measure in measures)
    is_shown = measured >= pack["sales_min"]  # the mean of a few would tell what each of them paid
    amounts = {"area_m2": area, "amount": amount, "mean_price": amount * 100 // max(area, 1)}
    shown = {name: decimal_bytes(value) if is_shown else None for name, value in amounts.items()}
    return {"sales": sales, "measured_sales": measured, **shown, "rule_pack": pack["version"]}


def _warnings(region: str, month: str, indices: Mapping[str, Row]) -> Iterator[Row]:
    """What of a month is beyond a limit, against the mean of the months before it that have enough sales."""
    pack = _pack(month)
    before = [months_before(month, count) for count in range(pack["reference_months"], 0, -1)]
    known = [name for name in before if name in indices and indices[name]["mean_price"] is not None]
    for kind, limit in pack["limits"].items():
        value = _measure(indices[month], limit["of"])
        reference = sum(_measure(indices[name], limit["of"]) or 0 for name in known) // max(len(known), 1)
        if value is None or not reference:
            continue
        change, bound = (value - reference) * 10_000 // reference, limit["percent"] * 100
        if change < bound if bound > 0 else change > bound:
            continue
        yield {
            "region": region,
            "period": month,
            "kind": kind,
            "value": decimal_bytes(value),
            "reference": decimal_bytes(reference),
            "reference_periods": known,
            "change_percent": decimal_bytes(change),
            "limit_percent": limit["percent"],
            "rule_pack": pack["version"],
            "opened_at": _judged_at(month),
        }


def _measure(index: Row, measure: str) -> int | None:
    """A measure in hundredths: cents a square metre, or sales."""
    price = index["mean_price"]
    return index["sales"] * 100 if measure == "sales" else None if price is None else cents(price)


def _pack(month: str) -> Mapping[str, Any]:
    return LIMITS.at(midnight(first_day_after(month)) - 1)


def _judged_at(month: str) -> int:
    return midnight(first_day_after(month)) + _pack(month)["settle_days"] * DAY_MICROS
