"""Web: serve an application until told to stop, on this machine alone or through a guarded entrance."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable

from aiohttp import web

from ops.web.quiet_http import Explain, Runner
from schemas.errors import Misconfigured
from schemas.guard.entrance import LOOPBACK_ALONE, Entrance


async def serve(
    app: web.Application,
    name: str,
    port: int,
    stop: threading.Event,
    announce: Callable[[str], None],
    explain: Explain,
    entrance: Entrance = LOOPBACK_ALONE,
    *,
    takes_bodies: bool = False,
) -> None:
    """Serve until `stop`. `announce` receives the address once it answers; port 0 takes a free one.

    `explain` answers what is no request at all; nothing of it is logged. `takes_bodies`: see quiet_http.py. Raises Misconfigured
    when the port is taken, or when others would be let in without a guard.
    """
    entrance.check(name)
    runner = Runner(app, explain, takes_bodies=takes_bodies)
    await runner.setup()
    site = web.TCPSite(runner, entrance.host, port, ssl_context=entrance.tls)
    try:
        try:
            await site.start()
        except OSError as error:
            fix = "end what listens there, or choose another port; --port 0 takes a free one"
            raise Misconfigured(f"{name} on port {port}", os.strerror(error.errno or 0), fix=fix) from error
        announce(entrance.url(runner.addresses[0][1]))
        await asyncio.to_thread(stop.wait)
    finally:
        await runner.cleanup()
