"""Looking up: a business by name or code (企业公示), a licence by its number (许可核验)."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from typing import Any

from aiohttp import web

from ops.console.frame.page import Pages
from ops.opendata.answers import Answers
from ops.opendata.portal.disclosure import NAME_LEAST, Told, is_over, named, of_business, of_licence
from ops.opendata.portal.shown import shown
from schemas.dated.configuration import SHANGHAI

_TEXT_MAX = 100
_USCC = re.compile(r"[0-9A-Z]{18}", re.ASCII)


class LookupPages:
    """What was asked for is in no log, and kept nowhere."""

    def __init__(self, pages: Pages, answers: Answers) -> None:
        self._pages = pages
        self._answers = answers

    async def businesses(self, request: web.Request) -> web.Response:
        """By part of a name: who that may be; by a code: all that open sets say of it."""
        asked = _asked(request, "q")
        code = _asked(request, "uscc") or (asked.upper() if _USCC.fullmatch(asked.upper()) else "")
        found: list[Told] = []
        if code:
            found = await asyncio.to_thread(of_business, self._answers, code)
        elif len(asked) >= NAME_LEAST:
            found = await asyncio.to_thread(named, self._answers, asked)
        is_short = bool(asked) and not code and len(asked) < NAME_LEAST
        return self._page(request, "businesses.html", asked=asked or code, code=code, found=found, is_short=is_short)

    async def licences(self, request: web.Request) -> web.Response:
        """By its number, all of it."""
        asked = _asked(request, "number")
        found = await asyncio.to_thread(of_licence, self._answers, asked) if asked else []
        today = datetime.now(SHANGHAI).date()
        over = {told.dataset for told in found if all(is_over(row, today) for row in told.rows)}
        return self._page(request, "licences.html", asked=asked, found=found, over=over)

    def _page(self, request: web.Request, template: str, **values: Any) -> web.Response:
        return self._pages.page(request, template, shown=shown, terms=self._answers.terms, **values)


def _asked(request: web.Request, name: str) -> str:
    return request.query.get(name, "").strip()[:_TEXT_MAX]
