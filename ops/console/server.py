"""The console's server: `/` the page, `/status` the report as JSON, `/health` 200 while everything moves and 503 otherwise.

`/health/<kind>/<name>` says it of one source, feed, sink, grant, flow or process, with its reason and what to do.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from ops.console.within import within
from ops.watch.entity_health import entities
from ops.watch.status_report import Status
from ops.web.web import serve
from schemas.guard.entrance import LOOPBACK_ALONE, Entrance
from schemas.guard.middleware import REMIT, guarded

PAGE = Path(__file__).with_name("page.html")
FRESH_SECONDS = 0.9
_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def _shut(status: int, why: str, fix: str) -> web.Response:
    return web.Response(status=status, text=f"refused: {why}; {fix}\n", headers=_SECURITY)


class Console:
    """Serves until stopped. `read` gives the present status; it runs in a thread.

    Nothing is read while nobody looks, and at most once a second however many do: asking for lag costs the broker.
    """

    def __init__(self, read: Callable[[], Status], port: int = 0, entrance: Entrance = LOOPBACK_ALONE) -> None:
        self._entrance = entrance
        self._read = read
        self._port = port
        self._status: Status | None = None
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()
        self.url = ""

    def run(self, stop: threading.Event, announce: Callable[[str], None] = lambda _: None) -> None:
        """Serve until `stop`. `announce` receives the address once it answers. Raises Misconfigured when the port is taken."""
        asyncio.run(self._serve(stop, announce))

    async def _serve(self, stop: threading.Event, announce: Callable[[str], None]) -> None:
        app = self.application()

        def told(url: str) -> None:
            self.url = url
            announce(url)

        await serve(app, "console", self._port, stop, told, _shut, self._entrance)

    def application(self) -> web.Application:
        """The web application."""
        app = web.Application(middlewares=[guarded(_shut, "console", self._entrance)])
        app.router.add_get("/", self._file("page.html", "text/html"))
        app.router.add_get("/console.js", self._file("console.js", "text/javascript"))
        app.router.add_get("/console.css", self._file("console.css", "text/css"))
        app.router.add_get("/status", self._report)
        app.router.add_get("/health", self._health)
        app.router.add_get("/health/{kind}/{name}", self._entity_health)
        return app

    async def _fresh(self) -> Status:
        async with self._reading:
            if self._status is None or time.monotonic() - self._read_at > FRESH_SECONDS:
                self._status = await asyncio.to_thread(self._read)
                self._read_at = time.monotonic()
            return self._status

    def _file(self, name: str, kind: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        body = PAGE.with_name(name).read_bytes()

        async def serve(_: web.Request) -> web.Response:
            return web.Response(body=body, content_type=kind, charset="utf-8", headers=_SECURITY)

        return serve

    async def _report(self, request: web.Request) -> web.Response:
        status = within(await self._fresh(), request[REMIT])
        body = json.dumps(status.to_json(), ensure_ascii=False, default=str)
        return web.Response(text=body, content_type="application/json", headers=_SECURITY)

    async def _health(self, request: web.Request) -> web.Response:
        status = within(await self._fresh(), request[REMIT])
        unwell = [line for entity in entities(status) if not entity.is_well for line in entity.lines()]
        return web.Response(status=200 if status.is_well else 503, text="\n".join(unwell or ["ok"]) + "\n")

    async def _entity_health(self, request: web.Request) -> web.Response:
        kind, name = request.match_info["kind"], request.match_info["name"]
        for entity in entities(within(await self._fresh(), request[REMIT])):
            if (entity.kind, entity.name) == (kind, name):
                text = "\n".join(entity.lines()) + "\n"
                return web.Response(status=200 if entity.is_well else 503, text=text, headers=_SECURITY)
        return web.Response(status=404, text="nothing of this kind has this name; `mesh status` lists all\n")
