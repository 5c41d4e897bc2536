"""The pages of one data set: what it is, its rows within bounds, a sample that anybody can draw again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from ops.console.frame.page import Pages
from ops.opendata.answers import Answers
from ops.opendata.files import FORMATS
from ops.opendata.listing import listed_of, map_of
from ops.opendata.portal import map as drawn
from ops.opendata.portal.shown import shown
from ops.opendata.query import Query
from ops.opendata.refusal import Refusal

PREVIEW_ROWS = 10
_PAGE_ROWS = 50
_NUMBER_MAX = 100


class DatasetPages:
    """All of it by the API's answers."""

    def __init__(self, pages: Pages, answers: Answers) -> None:
        self._pages = pages
        self._answers = answers

    async def page(self, request: web.Request) -> web.Response:
        """The set's own page."""
        return await asyncio.to_thread(self._page, request)

    def _page(self, request: web.Request) -> web.Response:
        code, answers = request.match_info["code"], self._answers
        told = answers.dataset(code, Query())
        listed = listed_of(code)
        heat = answers.heat(code, Query()) if map_of(listed) else None
        values: dict[str, Any] = {
            **self._told(told),
            "rows": answers.rows(code, Query([("limit", str(PREVIEW_ROWS))])).rows,
            "statistics": answers.statistics(code, Query())["columns"],
            "relations": answers.relations(Query(), code)["relations"],
            "by_name": {each["column"]: each for each in told["columns"]},
            "heat": heat,
            "shades": drawn.shades(heat["regions"]) if heat else [],
            "cells": drawn.cells(heat["cells"]) if heat else [],
            "map_size": (drawn.WIDTH, drawn.projection().height),
            "trend": _curve(told["trend"]),
            "whole": listed.whole if listed.whole is not listed else None,
        }
        return self._pages.page(request, "dataset.html", **values)

    async def rows(self, request: web.Request) -> web.Response:
        """Its rows by what a form asks for; the files of the same rows."""
        return await asyncio.to_thread(self._rows, request)

    def _rows(self, request: web.Request) -> web.Response:
        code = request.match_info["code"]
        told = self._answers.dataset(code, Query())
        given = [(name, text.strip()) for name, text in request.query.items() if text.strip()]
        asked = dict(given)
        bounds = [(name, text) for name, text in given if name not in {"limit", "after"}]
        refusal, rows, following = None, [], ""
        try:
            table = self._answers.rows(code, Query([("limit", str(_PAGE_ROWS)), *_without_limit(given)]))
            rows = table.rows
            following = urlencode({name: text for name, text in (table.next or {}).items() if name != "limit"})
        except Refusal as error:
            refusal = error
        values: dict[str, Any] = {
            **self._told(told),
            "rows": rows,
            "asked": asked,
            "refusal": refusal,
            "filter": urlencode(bounds),
            "following": following,
        }
        return self._pages.page(request, "dataset_rows.html", refusal.status if refusal else 200, **values)

    async def sample(self, request: web.Request) -> web.Response:
        """A sample by a number of the reader's own."""
        return await asyncio.to_thread(self._sample, request)

    def _sample(self, request: web.Request) -> web.Response:
        code = request.match_info["code"]
        told = self._answers.dataset(code, Query())
        number = request.query.get("number", "").strip()[:_NUMBER_MAX]
        size = request.query.get("size", "").strip() or "20"
        refusal, rows = None, []
        if number:
            try:
                rows = self._answers.sample(code, Query([("number", number), ("size", size)])).rows
            except Refusal as error:
                refusal = error
        values: dict[str, Any] = {
            **self._told(told),
            "rows": rows,
            "number": number,
            "size": size,
            "refusal": refusal,
            "filter": urlencode({"number": number, "size": size}),
        }
        return self._pages.page(request, "dataset_sample.html", refusal.status if refusal else 200, **values)

    def _told(self, told: Mapping[str, Any]) -> dict[str, Any]:
        return {"dataset": told, "terms": self._answers.terms, "formats": list(FORMATS), "shown": shown}


def _without_limit(given: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, text) for name, text in given if name != "limit"]


def _curve(trend: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """How the set grew, as points of a line 600 wide and 80 high; None where there is nothing to draw."""
    rows = [point["rows"] for point in trend]
    if len(rows) < 2:
        return None
    most = max(*rows, 1)
    corners = [(600 * number / (len(rows) - 1), 78 - 74 * value / most) for number, value in enumerate(rows)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return {"line": line, "area": f"0,80 {line} 600,80", "most": most, "since": trend[0]["at"]}
