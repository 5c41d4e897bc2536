"""The three views (三系统) of one stream: public ⊂ professional ⊂ government, by field tables (fields.csv)."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Mapping
from functools import cache

from schemas.dated.configuration import Dated, dated
from schemas.errors import Misconfigured
from streams.flows.credit.sources import HERE, VIEWS
from streams.operators.flow import Row
from streams.operators.publish import FieldTable, Treatment, breaches, field_tables

FIELDS = dated(HERE / "fields.csv", ["subject", "column"])
ALWAYS = ("record_id", "disputed", "corrected")
"""Columns of every view, outside the field tables: which record it is, and whether it is doubted or was put right."""

_SHOWN = {Treatment.FULL, Treatment.MASK, Treatment.DROP}  # the others change a column's type, hence the contract


def bounds_of(pack: Dated) -> list[int]:
    """The moments at which a pack of configuration changes."""
    return sorted({at for entry in pack.entries for at in (entry.valid_from, entry.valid_to) if at is not None})


_BOUNDS = bounds_of(FIELDS)


def tables_at(now: int) -> Mapping[str, Mapping[str, FieldTable]]:
    """The field tables in force: sort of subject (person, organisation) → view → table."""
    return _tables(bisect.bisect_right(_BOUNDS, now))


def next_change(now: int, bounds: list[int] = _BOUNDS) -> int | None:
    """When the field tables change next, if they do."""
    place = bisect.bisect_right(bounds, now)
    return bounds[place] if place < len(bounds) else None


@cache
def _tables(segment: int) -> Mapping[str, Mapping[str, FieldTable]]:
    moment = _BOUNDS[segment - 1] if segment else _BOUNDS[0] - 1 if _BOUNDS else 0
    lines: dict[str, list[dict[str, str]]] = {}
    for values in FIELDS.all_at(moment):
        lines.setdefault(values["subject"], []).append({name: values[name] for name in ("column", *VIEWS)})
    tables = {subject: field_tables(part, FIELDS.name) for subject, part in lines.items()}
    for subject, views in tables.items():
        check(subject, views)
    return tables


def check(subject: str, views: Mapping[str, FieldTable]) -> None:
    """Raise Misconfigured where a narrower view shows more than a wider one, or another type than the contract's."""
    for narrow, wide in itertools.pairwise(VIEWS):
        if found := breaches(views[narrow], views[wide]):
            fix = f"show no more in {narrow} than in {wide}"
            raise Misconfigured(FIELDS.name, f"{narrow} shows more of a {subject}'s {found[0]} than {wide}", fix=fix)
    for view in views.values():
        if other := [name for name, treatment in view.columns.items() if treatment not in _SHOWN]:
            raise Misconfigured(FIELDS.name, f"{other[0]} would change its type", fix="write FULL, MASK or DROP")


VIEW_COLUMNS: Mapping[str, tuple[str, ...]] = {
    view: tuple(
        dict.fromkeys(
            column
            for segment in range(len(_BOUNDS) + 1)
            for views in _tables(segment).values()
            for column in views[view].columns
        )
    )
    for view in VIEWS
}
"""Every column that a view ever shows: what its contract has beside ALWAYS."""


def projections(record: Row, now: int) -> dict[str, Row]:
    """A record as each view shows it. What a view's table for this subject leaves out is null."""
    tables = tables_at(now)["person" if record["subject_kind"] == "PERSON" else "organisation"]
    return {
        view: {
            **{name: record[name] for name in ALWAYS},
            **dict.fromkeys(VIEW_COLUMNS[view]),
            **tables[view].project(record),
        }
        for view in VIEWS
    }
