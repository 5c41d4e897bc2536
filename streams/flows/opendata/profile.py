"""Statistics of a data set (统计, HANDBOOK K4) and its state (K7): from published rows only, so that they tell no more than those.

Cells below k are blank. So are the least and greatest value and the quantiles where fewer than k rows have that value: the
oldest person of a district is one person. Of numbers hardly two rows have the same, so those are first rounded down, no
further than at least k rows share each quartile: then the same holds for them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from streams.flows.opendata.catalogue import LISTED
from streams.flows.opendata.heat import HEAT, districts
from streams.operators.flow import Outcome, Subject
from streams.operators.publish import Treatment, suppress

PROFILE = "open.profile"
_NULL = "null"
ALL = "*"
TOP = 10
K = 10
_PRECISIONS = ((0, 1), *((digits, multiple) for digits in (4, 3, 2) for multiple in (1, 2, 5)), (1, 1))
"""From numbers as they are to one significant digit: significant digits, and what the last of them is a multiple of."""
REMEMBERED = 1 << 14
"""How many values' forms are remembered: a profile is made anew at each tick, of the same values but for a few."""
QUANTILES = (("q25", 1, 4), ("q50", 1, 2), ("q75", 3, 4))


def fold_profile(subject: Subject) -> Outcome:
    """One row for the set (column `*`), and one for each column that its catalogue entry counts."""
    outcome = Outcome()
    listed = LISTED[subject.id]
    dataset = listed.whole
    rows = subject.counts.get("rows", 0)
    released = [row["released_at"] for row in subject.told("released")]
    if not released:
        return outcome
    cells: dict[str, dict[str, int]] = {column: {} for column in dataset.profile}
    for measure, count in subject.counts.items():
        if measure.startswith("v|"):
            _, column, value = measure.split("|", 2)
            cells[column][value] = count
    shared = {
        "dataset": listed.dataset,
        "title": listed.title,
        "theme": listed.theme,
        "rows": rows,
        "last_change": max(released),
        "refresh_seconds": dataset.refresh_seconds,
        "held_groups": subject.counts.get("held", 0),
    }
    outcome.publish(PROFILE, {**shared, "column": ALL, **column_profile({}, 0)})
    for column, values in cells.items():
        k = max(dataset.k, K)
        has_numbers = dataset.table.columns[column] is Treatment.AMOUNT or all(map(is_number, values))
        told = rounded(values, k) if has_numbers else values
        outcome.publish(PROFILE, {**shared, "column": column, **column_profile(told, k)})
    if listed is dataset and dataset.heat is not None and not dataset.heat.has_points:
        outcome.publish(HEAT, *districts(dataset, cells[dataset.heat.region]))
    return outcome


def rounded(values: Mapping[str, int], k: int) -> Mapping[str, int]:
    """A histogram of numbers (value as JSON → rows) in the finest classes of which each that has a quartile has k rows."""
    classes = values
    for digits, multiple in _PRECISIONS:
        classes = _classes(values, digits, multiple) if digits else values
        ordered = sorted((value for value in classes if value != _NULL), key=_order)
        counted = sum(classes[value] for value in ordered)
        quartiles = (_quantile(classes, ordered, counted * part, of) for _, part, of in QUANTILES)
        if all(value is None or classes[value] >= k for value in quartiles):
            break
    return classes


def _classes(values: Mapping[str, int], digits: int, multiple: int) -> Mapping[str, int]:
    classes: Counter[str] = Counter()
    for value, count in values.items():
        classes[value if value == _NULL else _floor(value, digits, multiple)] += count
    return classes


@lru_cache(maxsize=REMEMBERED)
def _floor(value: str, digits: int, multiple: int) -> str:
    number = Decimal(_text(value))
    step = Decimal(multiple).scaleb(number.adjusted() - digits + 1)
    return json.dumps(f"{(number / step).to_integral_value(ROUND_FLOOR) * step:f}")


@lru_cache(maxsize=REMEMBERED)
def is_number(value: str) -> bool:
    """Whether a value of a histogram (JSON) is a number, or none; a yes or no is not one, though Python calls it an int."""
    decoded = json.loads(value)
    return decoded is None or (isinstance(decoded, int | float) and not isinstance(decoded, bool))


def column_profile(values: Mapping[str, int], k: int) -> dict[str, Any]:
    """Figures of one column from its histogram (value as JSON → rows). Texts, or None for what is blank or does not apply."""
    shown = suppress(values, k)
    nulls = shown.get(_NULL, 0)
    ordered = sorted((value for value in values if value != _NULL), key=_order)
    safe = [value for value in ordered if values[value] >= k]
    counted = sum(values[value] for value in ordered)
    profile: dict[str, Any] = {
        "nulls": nulls if values else None,
        "distinct": len(ordered) if counted >= k and values else None,
        "least": _text(safe[0]) if safe and safe[0] == ordered[0] else None,
        "greatest": _text(safe[-1]) if safe and safe[-1] == ordered[-1] else None,
    }
    for name, part, of in QUANTILES:
        value = _quantile(values, ordered, counted * part, of)
        profile[name] = _text(value) if value is not None and values[value] >= k else None
    visible = sorted(
        ((count, value) for value, count in shown.items() if count and value != _NULL),
        key=lambda cell: (-cell[0], cell[1]),
    )
    profile["top_values"] = [{"value": _text(value), "rows": count} for count, value in visible[:TOP]]
    profile["blank_cells"] = sum(count is None for count in shown.values())
    return profile


def _quantile(values: Mapping[str, int], ordered: list[str], numerator: int, denominator: int) -> str | None:
    """The least value up to which at least this part of the rows lies: an observed value, never one in between."""
    seen = 0
    for value in ordered:
        seen += values[value]
        if seen * denominator >= numerator:
            return value
    return None


@lru_cache(maxsize=REMEMBERED)
def _order(value: str) -> tuple[int, Decimal, str]:
    """Numbers by size, before texts."""
    text = _text(value)
    try:
        return (0, Decimal(text), "")
    except InvalidOperation:
        return (1, Decimal(0), text)


@lru_cache(maxsize=REMEMBERED)
def _text(value: str) -> str:
    return str(json.loads(value))
