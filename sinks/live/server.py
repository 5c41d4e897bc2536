"""Live server: the feed over HTTP, one listener for each sink, with a thread and a loop of its own.

    GET  /v1/stream     server-sent events; `Last-Event-ID` resumes
    GET  /v1/changes    takes changes: ?max=&wait=; each with a receipt
    POST /v1/ack        {"receipts": […]} of what was taken, or {"position": "…"} of a stream: the subscriber has it for good

Every request has `Authorization: Bearer <token>`. Nothing of what is asked is logged.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future

from aiohttp import web

from schemas.errors import Misconfigured, Transient
from schemas.guard.allowance import Allowance, Failures
from schemas.guard.middleware import refusal
from schemas.trace import described
from sinks.live.access import LiveAccess
from sinks.live.options import LiveOptions
from sinks.live.position import TEXT_MAX
from sinks.live.refusal import LiveRefusal, busy, refused
from sinks.live.source import LiveSource
from sinks.live.stream import PositionGone
from sinks.live.streaming import Streaming
from sinks.live.taking import Taking

BODY_BYTES_MAX = 1 << 20
STOP_WITHIN_SECONDS = 2.0
_ATTEMPTS = frozenset({403, 409})
"""Refusals of what was not to be had: by no grant, or from a place in what is another's."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

logger = logging.getLogger(__name__)
_SILENT = logging.Logger("live requests", logging.CRITICAL + 1)
"""aiohttp's own words on a request that cannot be read quote it, token and all."""


class LiveServer:
    """Serves from `start` to `close`."""

    def __init__(
        self, *, source: LiveSource, options: LiveOptions, access: LiveAccess, tls: ssl.SSLContext | None = None
    ) -> None:
        self._source = source
        self._options = options
        self._access = access
        self._tls = tls
        self._allowance = Allowance(options.requests_max, 2 * options.requests_max)
        self._failures = Failures()
        self._thread = threading.Thread(target=self._run, name=f"live {source.label}", daemon=True)
        self._listening = Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, Taking]]()

    def start(self) -> None:
        """Return once it listens. Raises Misconfigured when it cannot."""
        self._thread.start()
        self._listening.result()

    def tell(self) -> None:
        """Something lies on the shelf."""
        self._listening.result()[2].tell()

    def close(self) -> None:
        """Listen no more, and end every stream."""
        loop, ended, _ = self._listening.result()
        loop.call_soon_threadsafe(ended.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            if self._listening.done():
                raise
            self._listening.set_exception(error)

    async def _serve(self) -> None:
        ended, taking = asyncio.Event(), Taking(self._source, self._options, self._access.stays)
        streaming = Streaming(self._source, self._options.streams_max, self._access.stays)
        app = web.Application(middlewares=[self._told, self._admitted], client_max_size=BODY_BYTES_MAX)
        app.router.add_get("/v1/stream", streaming.stream, allow_head=False)
        app.router.add_get("/v1/changes", taking.changes, allow_head=False)
        app.router.add_post("/v1/ack", taking.acknowledge)
        runner = web.AppRunner(
            app, access_log=None, logger=_SILENT, max_field_size=2 * TEXT_MAX, shutdown_timeout=STOP_WITHIN_SECONDS
        )
        await runner.setup()
        try:
            await self._listen(runner)
            self._listening.set_result((asyncio.get_running_loop(), ended, taking))
            await ended.wait()
        finally:
            streaming.end()
            await taking.end()
            await runner.cleanup()
            streaming.close()

    async def _listen(self, runner: web.AppRunner) -> None:
        at = self._options.listen
        try:
            await web.TCPSite(runner, at.host, at.port, ssl_context=self._tls).start()
        except OSError as error:
            fix = "end what listens there, or give the sink another address in its options"
            why = os.strerror(error.errno or 0)
            raise Misconfigured(f"{self._source.label}, listen", why, fix=fix) from error

    @web.middleware
    async def _admitted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        now = time.monotonic()
        shut = await self._access.admit(request)
        if shut is not None:
            if shut.status < 500:
                self._source.refused(shut.why, request.remote or "")
            if shut.status == 401 and (wait := self._failures.wait_seconds(request.remote or "", now)):
                return busy("too many requests without a right token", wait)
            return refusal(refused, shut)
        if wait := self._allowance.wait_seconds(now):
            return busy(f"more than {self._options.requests_max} requests a second", wait)
        return await handler(request)

    @web.middleware
    async def _told(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Say what is refused and why; what nobody foresaw is logged without the question."""
        try:
            return await handler(request)
        except LiveRefusal as refusal:
            if refusal.status in _ATTEMPTS:
                self._source.refused(refusal.why, request.remote or "")
            return refused(refusal.status, refusal.why, refusal.fix)
        except web.HTTPException as answer:
            return refused(answer.status, answer.reason, "ask GET /v1/stream, GET /v1/changes or POST /v1/ack")
        except PositionGone as error:
            fix = "begin anew: empty your copy, and ask without Last-Event-ID for everything that there is"
            return refused(410, error.problem, fix)
        except Transient as error:
            return busy(error.problem, error.retry_after_seconds or 1.0, status=503)
        except ConnectionError:
            raise  # the subscriber is gone
        except Exception as error:  # noqa: BLE001 -- answered as an error of this process
            logger.error("%s: %s", self._source.label, described(error))  # noqa: TRY400 -- its text may quote a row
            return refused(500, "an error of this process", "try again; whoever runs it finds the error in its log")
