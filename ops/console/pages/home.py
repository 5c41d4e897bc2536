"""The first page: health as progress. What moves and how far it is, and what stands still, since when, why, and what to do."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from ops.console.frame.page import SECURITY, Pages
from ops.console.frame.sight import Sight
from ops.console.within import within
from ops.show.overview import overview
from ops.watch.status_report import AS_IT_SHOULD
from schemas.agreement.directory import Directory
from schemas.guard.guard import Guard
from schemas.guard.middleware import CALLER, REMIT

EVERY_SECONDS = 2.0


class Home:
    """Shows it, and keeps it up to date by server-sent events while somebody looks."""

    def __init__(self, pages: Pages, sight: Sight, guard: Guard | None) -> None:
        self._pages = pages
        self._sight = sight
        self._guard = guard
        self.ending = asyncio.Event()

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The whole page."""
        return self._pages.page(request, "home.html", **await self._values(request))

    async def live(self, request: web.Request) -> web.StreamResponse:
        """Its board and its headline whenever they change; ends with the process, or when whoever looks may no longer."""
        answer = web.StreamResponse(headers={**SECURITY, "Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        answer.content_type = "text/event-stream"
        await answer.prepare(request)
        told: dict[str, str] = {}
        while not self.ending.is_set() and (self._guard is None or self._guard.is_good(request[CALLER])):
            values = await self._values(request)
            try:
                for name in ("headline", "board"):
                    text = self._pages.text(request, f"home_{name}.html", **values)
                    if told.get(name) != text:
                        await answer.write(_event(name, text))
                        told[name] = text
                await answer.write(b": still here\n\n")
            except ConnectionError:
                break  # nobody looks any more
            try:
                await asyncio.wait_for(self.ending.wait(), EVERY_SECONDS)
            except TimeoutError:
                continue
        return answer

    async def _values(self, request: web.Request) -> dict[str, Any]:
        status, directory = within(await self._sight.status(), request[REMIT]), self._sight.directory()
        is_all = request.query.get("all") == "1"
        seen = overview(status, is_all=is_all)
        return {
            "status": status,
            "directory": directory,
            "seen": seen,
            "is_all": is_all,
            "good": AS_IT_SHOULD,
            "href": lambda kind, name: href(kind, name, directory),
        }


def _event(name: str, text: str) -> bytes:
    lines = "\n".join(f"data: {line}" for line in text.splitlines())
    return f"event: {name}\n{lines}\n\n".encode()


def href(kind: str, name: str, directory: Directory) -> str | None:
    """The page where a thing is looked at."""
    if kind in {"feed", "ledger"} and name in directory.feeds:
        return f"/catalogue/{name}"
    if kind in {"grant", "request", "ledger"} and name in directory.grants:
        return f"/grants/{name}"
    if kind == "sink" and name.partition(".")[0] in directory.subscribers:
        return f"/subscriptions/{name}"
    return None
