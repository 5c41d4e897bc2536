"""Web: serve an application on the loopback address until told to stop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable

from aiohttp import web

from ops.web.quiet_http import Explain, Runner
from schemas.errors import Misconfigured


async def serve(
    app: web.Application,
    name: str,
    port: int,
    stop: threading.Event,
    announce: Callable[[str], None],
    explain: Explain,
) -> None:
    """Serve until `stop`. `announce` receives the address once it answers; port 0 takes a free one.

    `explain` answers what is no request at all; nothing of it is logged. Raises Misconfigured when the port is taken.
    """
    runner = Runner(app, explain)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    try:
        try:
            await site.start()
        except OSError as error:
            fix = "end what listens there, or choose another port; --port 0 takes a free one"
            raise Misconfigured(f"{name} on port {port}", os.strerror(error.errno or 0), fix=fix) from error
        announce(f"http://127.0.0.1:{runner.addresses[0][1]}")
        await asyncio.to_thread(stop.wait)
    finally:
        await runner.cleanup()
