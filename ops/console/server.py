"""The console's server: pages for people, `/status` the report as JSON, `/health` 200 while everything moves and 503 otherwise.

`/health/<kind>/<name>` says it of one source, feed, sink, grant, flow or process, with its reason and what to do.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable

from aiohttp import web

from ops.console.cases.boards import BoardPages
from ops.console.cases.desk import Desk, owner
from ops.console.cases.group import GroupPages
from ops.console.cases.queue import QueuePages
from ops.console.cases.systems import SystemPages
from ops.console.frame.page import SECURITY, Pages, serve_static
from ops.console.frame.session import Sessions
from ops.console.frame.sight import Sight
from ops.console.frame.trouble import explained, proven, shut
from ops.console.pages.catalogue import CataloguePages
from ops.console.pages.entering import Entering
from ops.console.pages.given_files import BYTES_MAX
from ops.console.pages.grant_request import GrantRequest
from ops.console.pages.grants import GRANT_ACTS, GrantPages
from ops.console.pages.home import Home
from ops.console.pages.onboarding import OnboardingPages
from ops.console.pages.subscriptions import SUBSCRIPTION_ACTS, SubscriptionPages
from ops.console.within import within
from ops.watch.entity_health import entities
from ops.web.web import serve
from schemas.guard.entrance import LOOPBACK_ALONE, Entrance
from schemas.guard.middleware import REMIT, guarded


def case_routes(pages: Pages, desk: Desk, app: web.Application) -> list[web.RouteDef]:
    """The pages of cases; what they have under way is done, and what they read is let go of, when the server ends."""
    systems, boards = SystemPages(pages, desk), BoardPages(pages, desk)
    queue, group = QueuePages(pages, desk), GroupPages(pages, desk)
    app.on_cleanup.append(group.close)
    app.on_cleanup.append(desk.close)
    item, run = "/cases/{system}/queue/{item}", "/cases/{system}/runs/{run}"
    return [
        web.get("/cases", systems.page),
        web.get("/cases/{system}", systems.system),
        web.get("/cases/{system}/boards/{feed}", boards.page),
        web.post("/cases/{system}/find/{feed}", boards.find),
        web.get("/cases/{system}/queue", queue.page),
        web.get(item, queue.item),
        web.post(f"{item}/reveal", queue.reveal),
        web.post(f"{item}/decide", queue.decide),
        web.post(f"{item}/undo", queue.undo),
        web.post("/cases/{system}/group", group.try_it),
        web.get(run, group.page),
        web.post(run, group.decide),
        web.post(f"{run}/undo", group.undo),
    ]


class Console:
    """Serves until stopped what `sight` shows."""

    def __init__(self, sight: Sight, port: int = 0, entrance: Entrance = LOOPBACK_ALONE) -> None:
        self._entrance = entrance
        self._sight = sight
        self._port = port
        self.url = ""

    def run(self, stop: threading.Event, announce: Callable[[str], None] = lambda _: None) -> None:
        """Serve until `stop`. `announce` receives the address once it answers. Raises Misconfigured when the port is taken."""
        asyncio.run(self._serve(stop, announce))

    async def _serve(self, stop: threading.Event, announce: Callable[[str], None]) -> None:
        app = self.application()

        def told(url: str) -> None:
            self.url = url
            announce(url)

        try:
            await serve(app, "console", self._port, stop, told, shut, self._entrance, takes_bodies=True)
        finally:
            self._sight.close()

    def application(self) -> web.Application:
        """The web application."""
        guard, is_secure = self._entrance.guard, self._entrance.tls is not None
        pages = Pages(Sessions(), is_guarded=guard is not None, is_secure=is_secure)
        entering, home = Entering(pages, guard), Home(pages, self._sight, guard)
        catalogue = CataloguePages(pages, self._sight)
        grants, asking = GrantPages(pages, self._sight), GrantRequest(pages, self._sight)
        onboarding = OnboardingPages(pages, self._sight)
        subscriptions = SubscriptionPages(pages, self._sight)
        desk = Desk(self._sight)

        def owner_of(request: web.Request) -> str:
            return owner(request) if "system" in request.match_info else grants.owner(request)

        guarding = guarded(shut, "console", self._entrance, takes_forms=True, session=entering.session, owner=owner_of)
        app = web.Application(middlewares=[explained(pages), guarding, proven(pages)], client_max_size=2 * BYTES_MAX)

        async def end_streams(_: web.Application) -> None:
            home.ending.set()

        app.on_shutdown.append(end_streams)
        app.add_routes(
            [
                web.get("/", home.page),
                web.get("/live", home.live, allow_head=False),
                web.get("/catalogue", catalogue.page),
                web.get("/catalogue/{feed}", catalogue.feed),
                web.get("/grants", grants.page),
                web.get("/grants/new", asking.page),
                web.post("/grants/new", asking.ask),
                web.get("/grants/{grant}", grants.grant),
                web.get("/grants/{grant}/preview", grants.preview),
                *(web.post(f"/grants/{{grant}}/{act}", grants.decide) for act in GRANT_ACTS),
                web.get("/subscriptions", subscriptions.page),
                web.get("/subscriptions/{name}", subscriptions.subscription),
                web.get("/subscriptions/{name}/kit", subscriptions.kit, allow_head=False),
                *(web.post(f"/subscriptions/{{name}}/{act}", subscriptions.act) for act in SUBSCRIPTION_ACTS),
                *case_routes(pages, desk, app),
                web.get("/onboarding", onboarding.page),
                web.post("/onboarding", onboarding.take),
                web.get("/login", entering.page),
                web.post("/login", entering.enter),
                web.post("/logout", entering.leave),
                web.post("/preferences", entering.prefer),
                web.get("/static/{name}", serve_static),
                web.get("/status", self._report),
                web.get("/health", self._health),
                web.get("/health/{kind}/{name}", self._entity_health),
            ]
        )
        return app

    async def _report(self, request: web.Request) -> web.Response:
        status = within(await self._sight.status(), request[REMIT])
        body = json.dumps(status.to_json(), ensure_ascii=False, default=str)
        return web.Response(text=body, content_type="application/json", headers=SECURITY)

    async def _health(self, request: web.Request) -> web.Response:
        status = within(await self._sight.status(), request[REMIT])
        unwell = [line for entity in entities(status) if not entity.is_well for line in entity.lines()]
        code = 200 if status.is_well else 503
        return web.Response(status=code, text="\n".join(unwell or ["ok"]) + "\n", headers=SECURITY)

    async def _entity_health(self, request: web.Request) -> web.Response:
        kind, name = request.match_info["kind"], request.match_info["name"]
        for entity in entities(within(await self._sight.status(), request[REMIT])):
            if (entity.kind, entity.name) == (kind, name):
                text = "\n".join(entity.lines()) + "\n"
                return web.Response(status=200 if entity.is_well else 503, text=text, headers=SECURITY)
        text = "nothing of this kind has this name; `mesh status` lists all\n"
        return web.Response(status=404, text=text, headers=SECURITY)
