"""Answers: what the API says of the catalogue's data sets, as values for JSON; HTTP is the server's matter.

Columns are shown by today's catalogue: a row that was published with more of them shows those of its set and no other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from ops.opendata.changes import Moment
from ops.opendata.condition import Condition, conditions, orders, parameters
from ops.opendata.files import Described
from ops.opendata.listing import (
    columns_of,
    department,
    description,
    fields_of,
    is_found,
    listed_of,
    map_of,
    moment,
    summary,
    time_of,
)
from ops.opendata.query import Query
from ops.opendata.refusal import Refusal
from ops.opendata.store import ALL, Store
from ops.opendata.terms import Terms, read_terms
from schemas.agreement.directory import Directory
from schemas.contract import Field
from streams.flows.opendata.catalogue import DATASETS, LISTED, PUBLISHERS, Dataset, Part
from streams.flows.opendata.heat import AREA_CELLS
from streams.flows.opendata.sample import SIZE_MAX, choose

LIMIT, LIMIT_MAX = 50, 1000
TREND, TREND_MAX = 100, 1000
_FIGURES = ("distinct", "least", "greatest", "q25", "q50", "q75", "top_values", "blank_cells")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of a data set. `about` is what the answer says of them; `next` asks for those that follow, None at the end."""

    dataset: str
    columns: list[str]
    rows: list[dict[str, Any]]
    about: Mapping[str, Any]
    next: Mapping[str, str] | None = None


class Answers:
    """Answers from a store. Threads may share it. Raises Refusal for what is not there to be had."""

    def __init__(self, store: Store, directory: Callable[[], Directory], terms: Terms | None = None) -> None:
        self._store = store
        self._directory = directory
        self.terms = terms or read_terms()

    # ── the catalogue (目录) ─────────────────────────────────────────────────────────────────────────────────────────

    def catalogue(self, query: Query) -> dict[str, Any]:
        """The data sets by department, field and words, with how many each department and each field has of those found."""
        of, field = query.text("department"), query.text("field")
        words = query.text("q").casefold().split()
        limit = query.number("limit", len(LISTED), least=1, most=LIMIT_MAX)
        offset = query.number("offset", 0, least=0, most=len(LISTED))
        query.rest()
        found = [
            listed
            for listed in LISTED.values()
            if (not of or of in {listed.agency, PUBLISHERS[listed.agency].name})
            and (not field or field == listed.theme)
            and is_found(listed, words)
        ]
        departments = Counter(listed.agency for listed in found)
        profiles, counts = self.states(), self._store.counts()
        return {
            "found": len(found),
            "datasets": [summary(listed, profiles, counts) for listed in found[offset : offset + limit]],
            "departments": [{**department(code), "datasets": count} for code, count in departments.most_common()],
            "fields": [
                {"field": theme, "datasets": count}
                for theme, count in Counter(listed.theme for listed in found).most_common()
            ],
        }

    def states(self) -> Mapping[str, Mapping[str, Any]]:
        """The row of `open.profile` for each set that has published: its rows, its last change."""
        return {row["dataset"]: row for row in self._store.told("profile") if row["column"] == ALL}

    def dataset(self, code: str, query: Query) -> dict[str, Any]:
        """All about one data set but its rows: columns, owner, class, freshness, profile, trend (K7)."""
        points = query.number("trend", TREND, least=0, most=TREND_MAX)
        query.rest()
        listed = listed_of(code)
        whole, fields = listed.whole, self.fields(listed)
        profile = {row["column"]: row for row in self._store.told("profile", code)}
        state = profile.pop(ALL, None)
        entry = self._directory().feeds.get(whole.feed)
        delay_ms = self._store.delay(code)
        return {
            **summary(listed, {} if state is None else {code: state}, self._store.counts()),
            "description": description(listed, fields),
            "licence": self.terms.licence.url,
            "contact": self.terms.contact.address,
            "standing": listed.standing,
            "class": entry.contract.gov.get("class") if entry else None,
            "columns": columns_of(listed, fields),
            "least_rows_of_a_group": whole.k,
            "part": listed.shows and {"of": whole.dataset, "column": listed.shows[0], "value": listed.shows[1]},
            "freshness": {
                "promised_seconds": whole.refresh_seconds,
                "last_release_took_seconds": None if delay_ms is None else delay_ms / 1000,
                "last_change": moment(state),
            },
            "quality": {
                "groups_held_back": None if state is None else state["held_groups"],
                "null_share": {column: _share(row) for column, row in profile.items()},
            },
            "trend": [{"at": time_of(at), "rows": rows} for at, rows in self._store.trend(code, points)],
            "links": {
                name: f"/datasets/{code}/{name}"
                for name in ("rows", "download", "sample", "statistics", "relations", *map_of(listed))
            },
        }

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def rows(self, code: str, query: Query) -> Table:
        """A page of the rows that show what the query wants of their columns."""
        listed = listed_of(code)
        columns = list(listed.whole.table.columns)
        limit = query.number("limit", LIMIT, least=1, most=LIMIT_MAX)
        after = query.text("after")
        ordered = orders(listed, self.fields(listed))
        where = query.rest([*columns, *parameters(ordered)])
        found = self._store.rows(listed, conditions(where, ordered), limit=limit + 1, after=after)
        page = found[:limit]
        following = {**dict(where), "limit": str(limit), "after": page[-1][0]} if len(found) > limit else None
        rows = [_shown(content, columns) for _, content in page]
        return Table(dataset=code, columns=columns, rows=rows, about={}, next=following)

    def with_condition(self, listed: Dataset | Part, condition: Condition, limit: int) -> list[dict[str, Any]]:
        """So many rows of a set at most that fulfil a condition on one of its columns."""
        found = self._store.rows(listed, [condition], limit=limit)
        return [_shown(content, listed.whole.table.columns) for _, content in found]

    def whole(self, code: str, query: Query) -> tuple[Described, Iterable[dict[str, Any]]]:
        """All rows that show what the query wants, as of one moment, and what a file says of them; take them at once."""
        listed = listed_of(code)
        fields = self.fields(listed)
        ordered = orders(listed, fields)
        where = conditions(query.rest([*listed.whole.table.columns, *parameters(ordered)]), ordered)
        told = Described(
            dataset=code,
            title=listed.title,
            last_change=moment(self._state(code)),
            columns=columns_of(listed, fields),
            terms=self.terms,
        )
        return told, self._store.whole(listed, where)

    def sample(self, code: str, query: Query) -> Table:
        """A sample (抽样) that its stated number gives again, as long as the set's rows are the same (K3)."""
        listed = listed_of(code)
        number = query.text("number")
        size = query.number("size", 100, least=1, most=SIZE_MAX)
        query.rest()
        if not number:
            fix = "state a sampling number of your own, as in number=2016-11-A, and publish it with your result"
            raise Refusal(400, "no sampling number is given", why="by it anybody can draw the same sample", fix=fix)
        found = self._store.chosen(listed, partial(choose, dataset=code, number=number, size=size))
        columns = list(listed.whole.table.columns)
        about = {"number": number, "size": size, "last_change": moment(self._state(code))}
        return Table(
            dataset=code, columns=columns, rows=[_shown(content, columns) for _, content in found], about=about
        )

    # ── what the rows say together ───────────────────────────────────────────────────────────────────────────────────

    def statistics(self, code: str, query: Query) -> dict[str, Any]:
        """Figures of the columns that the set counts; None is blank, for fewer than k rows (K4)."""
        query.rest()
        listed = listed_of(code)
        counted = [row for row in self._store.told("profile", code) if row["column"] in listed.whole.profile]
        state = self._state(code)
        return {
            "dataset": code,
            "rows": 0 if state is None else state["rows"],
            "last_change": moment(state),
            "columns": [
                {
                    "column": row["column"],
                    "nulls": row["nulls"],
                    "null_share": _share(row),
                    **{name: row[name] for name in _FIGURES},
                }
                for row in counted
            ],
        }

    def relations(self, query: Query, code: str | None = None) -> dict[str, Any]:
        """Which columns' values occur in which others, with the evidence and the way there (K5); a part's are its whole's."""
        query.rest()
        of = None if code is None else listed_of(code).whole.dataset
        edges = [
            row
            for row in self._store.told("relation", of)
            if {row["from_dataset"], row["to_dataset"]} <= DATASETS.keys()
        ]
        return {
            **({} if of is None else {"dataset": of}),
            "relations": [_edge(row) for row in edges],
        }

    def heat(self, code: str, query: Query) -> dict[str, Any]:
        """The set's map (区位及热度): points in cells and districts, none below k (K6); without coordinates, rows by district.

        Each cell says its own size: those too small to show are told together, as the area that they lie in.
        """
        query.rest()
        listed = listed_of(code)
        heat = listed.whole.heat
        if heat is None or not map_of(listed):
            fix = (
                f"ask for /datasets/{listed.whole.dataset}/heat" if heat else "the links of a data set name what it has"
            )
            why = "a map counts the whole set" if heat else "it shows neither coordinates nor a district"
            raise Refusal(404, f"{code} has no map", why=why, fix=fix)
        rows = self._store.told("heat", code)
        side = Decimal(heat.cell_degrees)
        sides = {"CELL": side, "AREA": side * AREA_CELLS}
        return {
            "dataset": code,
            "crs": "CGCS2000" if heat.has_points else None,
            "cell_degrees": heat.cell_degrees if heat.has_points else None,
            "least_points": heat.k,
            "cells": [
                {**{name: row[name] for name in ("lon", "lat", "points")}, "degrees": str(sides[row["level"]])}
                for row in rows
                if row["level"] in sides
            ],
            "regions": [{"region": row["place"], "points": row["points"]} for row in rows if row["level"] == "REGION"],
        }

    def moments(self, code: str | None = None) -> list[Moment]:
        """When a set grew or shrank, and to how many rows; of all sets the last time each."""
        if code is not None:
            listed = listed_of(code)
            return [Moment(listed, at, rows) for at, rows in self._store.trend(code, TREND_MAX)]
        states = self.states()
        return [Moment(LISTED[code], row["last_change"], row["rows"]) for code, row in states.items() if code in LISTED]

    def fields(self, listed: Dataset | Part) -> Mapping[str, Field]:
        """The set's columns by its contract of now."""
        return fields_of(listed, self._directory())

    def _state(self, code: str) -> Mapping[str, Any] | None:
        return next((row for row in self._store.told("profile", code) if row["column"] == ALL), None)


def _edge(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `open.relation` with the way to what it names."""
    return {
        "from": {"dataset": row["from_dataset"], "column": row["from_column"]},
        "to": {"dataset": row["to_dataset"], "column": row["to_column"], "title": row["related_title"]},
        "element": row["element"],
        "matched": row["matched"],
        "total": row["total"],
        "evidence": row["evidence"],
        "links": {
            "dataset": f"/datasets/{row['to_dataset']}",
            "rows_of_a_value": f"/datasets/{row['to_dataset']}/rows?{row['to_column']}={{value}}",
        },
    }


def _shown(content: Mapping[str, Any], columns: Iterable[str]) -> dict[str, Any]:
    return {column: content.get(column) for column in columns}


def _share(row: Mapping[str, Any]) -> float | None:
    """The share of nulls; None where their number is blank."""
    return round(row["nulls"] / row["rows"], 4) if row["nulls"] is not None and row["rows"] else None
