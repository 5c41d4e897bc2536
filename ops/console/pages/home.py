"""The first page: health as progress. What moves and how far it is, and what stands still, since when, why, and what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from ops.console.frame.page import SECURITY, Pages
from ops.console.frame.sight import Sight
from ops.console.within import within
from ops.show.overview import overview
from ops.watch.status_report import AS_IT_SHOULD, Status
from schemas.agreement.directory import Directory
from schemas.guard.guard import Guard
from schemas.guard.middleware import CALLER, REMIT

EVERY_SECONDS = 2.0
LIVE = ("headline", "board")
"""The parts of the page that are kept up to date."""


class Home:
    """Shows it, and keeps it up to date by server-sent events while somebody looks.

    What is told is made once for all who may see the same in one language, however many look: a city's board takes 10 ms.
    """

    def __init__(self, pages: Pages, sight: Sight, guard: Guard | None) -> None:
        self._pages = pages
        self._sight = sight
        self._guard = guard
        self.ending = asyncio.Event()
        self._told_of: Status | None = None
        self._told: dict[tuple[Any, ...], Mapping[str, bytes]] = {}

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The whole page."""
        return self._pages.page(request, "home.html", **self._values(request, await self._sight.status()))

    async def live(self, request: web.Request) -> web.StreamResponse:
        """Its board and its headline whenever they change; ends with the process, or when whoever looks may no longer."""
        answer = web.StreamResponse(headers={**SECURITY, "Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        answer.content_type = "text/event-stream"
        await answer.prepare(request)
        told: Mapping[str, bytes] = {}
        while not self.ending.is_set() and (self._guard is None or self._guard.is_good(request[CALLER])):
            events = self._events(request, await self._sight.status())
            try:
                for name, event in events.items():
                    if told.get(name) != event:
                        await answer.write(event)
                told = events
                await answer.write(b": still here\n\n")
            except ConnectionError:
                break  # nobody looks any more
            try:
                await asyncio.wait_for(self.ending.wait(), EVERY_SECONDS)
            except TimeoutError:
                continue
        return answer

    def _events(self, request: web.Request, status: Status) -> Mapping[str, bytes]:
        """What is told of this status to whoever looks."""
        if status is not self._told_of:
            self._told_of, self._told = status, {}
        alike = (request[CALLER].rights, request[REMIT], self._pages.words(request).language, _is_all(request))
        if alike not in self._told:
            values = self._values(request, status)
            self._told[alike] = {
                name: _event(name, self._pages.text(request, f"home_{name}.html", **values)) for name in LIVE
            }
        return self._told[alike]

    def _values(self, request: web.Request, status: Status) -> dict[str, Any]:
        seen_of, directory = within(status, request[REMIT]), self._sight.directory()
        return {
            "status": seen_of,
            "directory": directory,
            "seen": overview(seen_of, is_all=_is_all(request)),
            "is_all": _is_all(request),
            "good": AS_IT_SHOULD,
            "href": lambda kind, name: href(kind, name, directory),
        }


def _is_all(request: web.Request) -> bool:
    return request.query.get("all") == "1"


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
