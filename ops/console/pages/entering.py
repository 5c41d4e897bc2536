"""Entering and leaving with a token, and the reader's language and look."""

from __future__ import annotations

import asyncio

from aiohttp import web

from ops.console.frame.page import BROWSER, SECURITY, Pages, within_site
from ops.console.frame.session import COOKIE
from schemas.guard.caller import NOBODY, Caller
from schemas.guard.door import Shut
from schemas.guard.guard import Guard
from schemas.guard.middleware import CALLER

TOKEN_MAX = 8_192
RENEWS_ITSELF = "renewed"
"""The id of a part of a page that asks for itself every few seconds: nobody sits there for that."""


class Entering:
    """`guard` None: everybody on this machine is in already."""

    def __init__(self, pages: Pages, guard: Guard | None) -> None:
        self._pages = pages
        self._guard = guard

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Where one enters; whoever is in already is led on."""
        wanted = within_site(request.query.get("to", "/"))
        if self._guard is None or request[CALLER] is not NOBODY:
            raise web.HTTPSeeOther(wanted, headers=SECURITY)
        return self._pages.page(request, "login.html", to=wanted, problem="", wait=0)

    async def enter(self, request: web.Request) -> web.StreamResponse:
        """Take a token: the browser has another id from now on, so that a former one opens nothing."""
        form = await request.post()
        wanted, token = within_site(_text(form.get("to"))), _text(form.get("token")).strip()[:TOKEN_MAX]
        if self._guard is None:
            raise web.HTTPSeeOther(wanted, headers=SECURITY)
        found = await asyncio.to_thread(self._guard.who, f"Bearer {token}", request.remote or "")
        if isinstance(found, Shut):
            self._guard.tell("console", found, request.remote or "")
            problem = {429: "login.busy", 503: "login.away"}.get(found.status, "login.wrong")
            return self._pages.page(
                request, "login.html", found.status, to=wanted, problem=problem, wait=round(found.wait_seconds + 1)
            )
        return self._led(wanted, self._pages.sessions.begin(found))

    async def leave(self, request: web.Request) -> web.StreamResponse:
        """End the session."""
        self._pages.sessions.end(request[BROWSER])
        return self._led("/login" if self._guard else "/", self._pages.sessions.new_id())

    async def prefer(self, request: web.Request) -> web.StreamResponse:
        """Keep a language or a look in the browser, and go back to the page."""
        form = await request.post()
        return self._pages.prefer({name: _text(value) for name, value in form.items()})

    def session(self, request: web.Request) -> Caller | None:
        """Who entered with the browser that asks."""
        browser = request.cookies.get(COOKIE)
        by_itself = request.headers.get("HX-Trigger") == RENEWS_ITSELF
        return self._pages.sessions.caller(browser, by_itself=by_itself) if browser else None

    def _led(self, to: str, browser: str) -> web.Response:
        answer = web.Response(status=303, headers={**SECURITY, "Location": to})
        self._pages.keep_browser(answer, browser)
        return answer


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
