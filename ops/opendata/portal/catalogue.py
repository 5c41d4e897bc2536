"""The first page: the data sets by field (领域) and department (部门), found by name or pinyin as somebody types."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from ops.console.frame.page import Pages
from ops.console.frame.paging import paged
from ops.opendata.answers import Answers
from ops.opendata.query import Query
from streams.flows.opendata.catalogue import DATASETS

_TEXT_MAX = 100


class CataloguePage:
    """Found by form and without scripts; with them, the list alone is asked for again."""

    def __init__(self, pages: Pages, answers: Answers) -> None:
        self._pages = pages
        self._answers = answers

    async def page(self, request: web.Request) -> web.Response:
        """The page, or of a search as it is typed the list."""
        return await asyncio.to_thread(self._page, request)

    def _page(self, request: web.Request) -> web.Response:
        asked = {name: request.query.get(name, "").strip()[:_TEXT_MAX] for name in ("q", "department", "field")}
        part = paged(request)
        everything = self._answers.catalogue(Query())
        found = self._answers.catalogue(Query([(name, text) for name, text in asked.items() if text]))
        start = part["start"]
        values: dict[str, Any] = {
            "asked": asked,
            "found": found["found"],
            "datasets": found["datasets"][start : start + part["page_entries"]],
            "total": everything["found"],
            "rows": sum(each["rows"] for each in everything["datasets"] if each["dataset"] in DATASETS),
            "departments": sorted(everything["departments"], key=lambda each: each["department"]),
            "fields": everything["fields"],
            **part,
        }
        is_part = request.headers.get("HX-Request") == "true" and request.headers.get("HX-Target") == "found"
        return self._pages.page(request, "datasets_found.html" if is_part else "datasets.html", **values)
