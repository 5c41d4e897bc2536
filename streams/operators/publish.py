"""Publish: what may be seen, by whom and until when; pure functions from which views, open data and statistics are made.

| part           | says                                                                                             |
|----------------|--------------------------------------------------------------------------------------------------|
| `FieldTable`   | a view is a list of columns with a treatment each; what it does not name stays closed (invariant 6) |
| `breaches`     | whether one view is contained in another: as tables, and row by row                                |
| `Term`         | when a published record leaves all views, by event time                                            |
| `release`      | groups of at least k (k-anonymity 匿名): sets *and* differences of fewer than k are held back        |
| `suppress`     | cells of a statistic below k are blank, and none can be had by subtraction                         |
| `sample`       | the same rows for the same sampling number, taken from published rows only                         |

A field table travels as data: one line for each column with a treatment for each view, such as `name,MASK,FULL,FULL`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from schemas.errors import Misconfigured
from streams.engine.inbox.intake import DAY_MICROS
from streams.operators.flow import Row

_BEIJING_MICROS = 8 * 3_600_000_000
_EPOCH = date(1970, 1, 1)


class Treatment(StrEnum):
    """How a view shows a column, from closed to open. A view may show less of a value, never something else."""

    DROP = "DROP"  # absent from the view
    MASK = "MASK"  # text keeps its first and last character, anything else becomes null: as in a grant
    YEAR = "YEAR"  # the year of a date, as text
    MONTH = "MONTH"  # year and month of a date, as text
    DAY = "DAY"  # a date as text, 2016-10-31
    AMOUNT = "AMOUNT"  # a decimal of two places as text
    REGION = "REGION"  # the first six digits of an identity number or region code: the county (GB/T 2260)
    FULL = "FULL"


_COARSER: Mapping[Treatment, frozenset[Treatment]] = {
    Treatment.DROP: frozenset(Treatment),
    Treatment.MASK: frozenset({Treatment.MASK, Treatment.FULL}),
    Treatment.YEAR: frozenset({Treatment.YEAR, Treatment.MONTH, Treatment.DAY, Treatment.FULL}),
    Treatment.MONTH: frozenset({Treatment.MONTH, Treatment.DAY, Treatment.FULL}),
    Treatment.DAY: frozenset({Treatment.DAY, Treatment.FULL}),
    Treatment.AMOUNT: frozenset({Treatment.AMOUNT, Treatment.FULL}),
    Treatment.REGION: frozenset({Treatment.REGION, Treatment.FULL}),
    Treatment.FULL: frozenset({Treatment.FULL}),
}


def mask(value: Any) -> str | None:
    """Text keeps its first and last character (of two, the first); anything else becomes null."""
    if not isinstance(value, str):
        return None
    last = value[-1] if len(value) > 2 else ""
    first = value[:1] if len(value) > 1 else ""
    return first + "*" * (len(value) - len(first) - len(last)) + last


def _day(value: Any) -> str | None:
    return (_EPOCH + timedelta(days=value)).isoformat() if isinstance(value, int) else None


def _amount(value: Any) -> str | None:
    return str(Decimal(int.from_bytes(value, "big", signed=True)).scaleb(-2)) if isinstance(value, bytes) else None


_SHOW: Mapping[Treatment, Callable[[Any], Any]] = {
    Treatment.DROP: lambda _: None,
    Treatment.MASK: mask,
    Treatment.YEAR: lambda value: day[:4] if (day := _day(value)) else None,
    Treatment.MONTH: lambda value: day[:7] if (day := _day(value)) else None,
    Treatment.DAY: _day,
    Treatment.AMOUNT: _amount,
    Treatment.REGION: lambda value: value[:6] if isinstance(value, str) else None,
    Treatment.FULL: lambda value: value,
}


def show(value: Any, treatment: Treatment) -> Any:
    """A value as a view shows it; null stays null."""
    return None if value is None else _SHOW[treatment](value)


@dataclass(frozen=True, slots=True)
class FieldTable:
    """A view's columns, in order, each with its treatment; DROP ones are left out."""

    name: str
    columns: Mapping[str, Treatment]

    def project(self, row: Row) -> dict[str, Any]:
        """What the view shows of a row: exactly its own columns. A column that the row lacks is null."""
        return {name: show(row.get(name), treatment) for name, treatment in self.columns.items()}


def field_tables(lines: Iterable[Mapping[str, str]], name: str) -> dict[str, FieldTable]:
    """Field tables by view from lines `{"column": …, "<view>": treatment, …}`; raises Misconfigured for an unknown one."""
    tables: dict[str, dict[str, Treatment]] = {}
    for line in lines:
        for view, text in line.items():
            if view == "column":
                continue
            columns = tables.setdefault(view, {})
            try:
                treatment = Treatment(text or "DROP")
            except ValueError as error:
                fix = f"write one of {', '.join(Treatment)}"
                raise Misconfigured(name, f"column {line['column']} has an unknown treatment", fix=fix) from error
            if treatment is not Treatment.DROP:
                columns[line["column"]] = treatment
    return {view: FieldTable(view, columns) for view, columns in tables.items()}


def breaches(narrow: FieldTable, wide: FieldTable) -> list[str]:
    """The columns of which the narrow view shows more than the wide one; empty: narrow ⊆ wide, whatever the rows are."""
    return [
        name
        for name, treatment in narrow.columns.items()
        if wide.columns.get(name, Treatment.DROP) not in _COARSER[treatment]
    ]


def row_breaches(
    narrow: Mapping[str, Row], wide: Mapping[str, Row], narrow_table: FieldTable, *, equal: Sequence[str] = ()
) -> list[str]:
    """Where the published rows of a narrow view are no part of those of a wide one: `<row id>` or `<row id>.<column>`.

    Every row of the narrow view must be in the wide one, and show of each column what its own treatment makes of the wide
    view's value. Columns named in `equal` are outside the field table and must be the same.
    """
    found: list[str] = []
    for identity, row in narrow.items():
        if (other := wide.get(identity)) is None:
            found.append(identity)
            continue
        for name, value in row.items():
            same = value == other.get(name)
            if name in narrow_table.columns and not same:
                same = value == show(other.get(name), narrow_table.columns[name])
            elif name not in narrow_table.columns and name not in equal:
                same = value is None
            if not same:
                found.append(f"{identity}.{name}")
    return found


@dataclass(frozen=True, slots=True)
class Term:
    """How long a record is published: from `begins` until before `ends`, event times in microseconds; None is open."""

    begins: int | None = None
    ends: int | None = None

    def is_over(self, now: int) -> bool:
        """Whether the record has left every view by now."""
        return self.ends is not None and now >= self.ends


def term_until(day: int | None) -> Term:
    """A term that ends with the first moment of a date (Avro days) in Asia/Shanghai: exclusive, as the end of a grant is."""
    return Term(ends=None if day is None else day * DAY_MICROS - _BEIJING_MICROS)


# ── groups of at least k ─────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Release:
    """What a group publishes from now on: content to number of rows, and the difference to before.

    `is_held`: something is waiting until the difference, or the group, has at least k rows.
    """

    rows: Mapping[str, int]
    added: int
    removed: int
    is_held: bool

    @property
    def is_new(self) -> bool:
        """Whether anything is published or withdrawn now."""
        return bool(self.added or self.removed)


def release(present: Mapping[str, int], published: Mapping[str, int], k: int) -> Release:
    """What a quasi-identifier group may publish: nothing under k rows, and no difference under k rows (HANDBOOK K2).

    Both are multisets: content of a row to how many rows have it. A difference counts as its larger side, the least number
    of people it can be about: five changed rows are five withdrawn and five new ones, but no more than five people. A group
    that sinks below k is withdrawn whole, which is itself a difference of at least k.
    """
    future = present if sum(present.values()) >= k else {}
    added = sum(max(count - published.get(content, 0), 0) for content, count in future.items())
    removed = sum(max(count - future.get(content, 0), 0) for content, count in published.items())
    if not added and not removed:
        return Release(published, 0, 0, is_held=future != present)
    if max(added, removed) < k:
        return Release(published, 0, 0, is_held=True)
    return Release(dict(future), added, removed, is_held=future != present)


def suppress(cells: Mapping[str, int], k: int, *, is_total_known: bool = True) -> dict[str, int | None]:
    """Counts by cell, those from 1 to k - 1 blanked to None; a true zero stays.

    Where the total is published as well, the blanked cells together must hide at least k, and be more than one: otherwise the
    smallest of the others is blanked too, since the blank would be the total less the rest.
    """
    blank = {cell for cell, count in cells.items() if 0 < count < k}
    if blank and is_total_known:
        others = sorted((count, cell) for cell, count in cells.items() if count >= k)
        hidden = sum(cells[cell] for cell in blank)
        for count, cell in others:
            if len(blank) > 1 and hidden >= k:
                break
            blank.add(cell)
            hidden += count
    return {cell: None if cell in blank else count for cell, count in cells.items()}


def sample(row_ids: Iterable[str], number: str, size: int, size_max: int = 1000) -> list[str]:
    """Row ids of a sample, reproducible from its sampling number (抽样号): the `size` smallest by SHA-256(number, id).

    Give it ids of published rows only. Adding or withdrawing rows moves the sample as little as possible.
    """
    ranked = sorted(row_ids, key=lambda identity: hashlib.sha256(f"{number}\n{identity}".encode()).digest())
    return ranked[: max(0, min(size, size_max))]
