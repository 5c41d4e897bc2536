"""Push endpoint: one listener for each source, with a thread and a loop of its own.

    POST /v1/feeds/{feed}/rows        rows as JSON Lines; ?mode=changes (as it comes) or ?mode=full
    Authorization: Bearer <token>     a `provider`'s of the feed's agency
    Idempotency-Key: <key>            1 to 100 of A-Z, a-z, 0-9 and . _ : -

| answer | what it means | what to do |
|---|---|---|
| 200 | every change of the batch is durable in Kafka; or was already, by the same request | go on |
| 400, 401, 403, 404, 409, 413, 415, 421, 422 | nothing of it was taken | see `why` and `fix` |
| 429 | nothing of it was taken up | the same again after Retry-After |
| 503, or none | it may be taken, now or later | the same again, with the same key |

Nothing of what is sent is logged.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import secrets
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from producers.pushed.address import PushAddress
from producers.pushed.answer import PushAnswer, again, refused
from producers.pushed.desk import PAUSE_SECONDS, PushDesk, PushedBatch
from producers.pushed.examination import PushExamination
from producers.pushed.options import PushOptions
from producers.pushed.register import PushRegister, answer_of
from schemas.errors import Misconfigured
from schemas.guard.caller import agency_of
from schemas.guard.entrance import Entrance
from schemas.guard.middleware import CALLER, guarded
from schemas.trace import described

ROUTE = "/v1/feeds/{feed}/rows"
BODY_SECONDS = 300.0
STOP_WITHIN_SECONDS = 2.0
PIECE = 1 << 16
_KEY = re.compile(r'"?([A-Za-z0-9._:-]{1,100})"?')
"""As the draft of the IETF has it: a quoted string; without quotes as well."""

_logger = logging.getLogger(__name__)
_SILENT = logging.Logger("push requests", logging.CRITICAL + 1)
"""aiohttp's own words on a request that cannot be read quote it, token and all."""


class _Stop(Exception):
    """A request is answered before its end."""

    def __init__(self, answer: PushAnswer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class PushServer:
    """Serves from `start` to `close`."""

    def __init__(
        self,
        *,
        name: str,
        address: PushAddress,
        entrance: Entrance,
        options: PushOptions,
        desk: PushDesk,
        register: PushRegister,
        folder: Path,
    ) -> None:
        self._name, self._address, self._entrance = name, address, entrance
        self._options, self._desk, self._register, self._folder = options, desk, register, folder
        self._examination = PushExamination(options)
        self._readers = ThreadPoolExecutor(1, thread_name_prefix=f"push rows {name}")
        self._thread = threading.Thread(target=self._run, name=f"push {name}", daemon=True)
        self._listening = Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]()

    def start(self) -> None:
        """Return once it listens. Raises Misconfigured when it cannot."""
        self._thread.start()
        try:
            self._listening.result()
        except BaseException:
            self._readers.shutdown()
            raise

    def close(self) -> None:
        """Listen no more; whoever waits has been answered by the desk."""
        loop, ended = self._listening.result()
        loop.call_soon_threadsafe(ended.set)
        self._thread.join()
        self._readers.shutdown(cancel_futures=True)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            if self._listening.done():
                raise
            self._listening.set_exception(error)

    def application(self) -> web.Application:
        """What answers; the guard is before everything."""
        guard = guarded(_explained, "push", self._entrance, owner=lambda request: agency_of(_feed(request)))
        app = web.Application(middlewares=[self._told, guard], client_max_size=self._options.bytes_max)
        app.router.add_post(ROUTE, self._push)
        return app

    async def _serve(self) -> None:
        ended = asyncio.Event()
        runner = web.AppRunner(
            self.application(), access_log=None, logger=_SILENT, shutdown_timeout=STOP_WITHIN_SECONDS
        )
        await runner.setup()
        try:
            await self._listen(runner)
            self._listening.set_result((asyncio.get_running_loop(), ended))
            await ended.wait()
        finally:
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> None:
        at = self._address
        try:
            await web.TCPSite(runner, at.host, at.port, ssl_context=self._entrance.tls).start()
        except OSError as error:
            fix = "end what listens there, or give the source another address as its connection"
            why = os.strerror(error.errno or 0)
            raise Misconfigured(f"source {self._name}, connection", why, fix=fix) from error

    @web.middleware
    async def _told(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Say what is refused and why; what nobody foresaw is logged without the question."""
        try:
            return await handler(request)
        except _Stop as stop:
            return _response(stop.answer)
        except web.HTTPException as answer:
            return _response(refused(answer.status, answer.reason, f"ask POST {ROUTE}"))
        except ConnectionError:
            raise  # the sender is gone
        except Exception as error:  # noqa: BLE001 -- answered as an error of this process
            _logger.error("%s: %s", self._name, described(error))  # noqa: TRY400 -- its text may quote a row
            why = "an error of this process"
            return _response(
                again(503, why, PAUSE_SECONDS, "send the same again; whoever runs the mesh finds it in its log")
            )

    # ── a batch ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _push(self, request: web.Request) -> web.StreamResponse:
        feed = _feed(request)
        entry = self._desk.entries.get(feed)
        if entry is None:
            known = ", ".join(sorted(self._desk.entries)) or "none yet"
            raise _Stop(refused(404, f"{feed} takes no rows here", f"push to a feed of this source: {known}"))
        key, is_whole = _key(request), _is_whole(request)
        if busy := self._desk.enter(feed, key):
            raise _Stop(busy)
        path = self._folder / f"{secrets.token_hex(8)}.jsonl"
        try:
            digest = hashlib.sha256(f"{key}\n{is_whole}\n".encode())
            await self._keep(request, path, digest)
            asked = digest.hexdigest()
            if (known := await asyncio.to_thread(self._register.find, feed, key)) is not None:
                return _response(answer_of(known, asked))
            reading = asyncio.get_running_loop().run_in_executor(
                self._readers, self._examination.faults, entry, path, is_whole
            )
            if (faults := await reading) is not None:
                return _response(faults)
            if (guard := self._entrance.guard) is not None and not guard.is_good(request[CALLER]):
                return _response(
                    refused(401, "its token was revoked meanwhile", "ask who runs the mesh for another one")
                )
            at_ms = time.time_ns() // 1_000_000
            batch = PushedBatch(feed=feed, key=key, sum=asked, is_whole=is_whole, path=path, at_ms=at_ms)
            laid = self._desk.lay(batch)
            if laid is batch:
                path = None  # whoever settles it lets it go
            elif laid.sum != asked:
                return _response(
                    refused(422, "its Idempotency-Key is another request's", "give each batch a key of its own")
                )
            return _response(await self._answered(laid))
        finally:
            self._desk.leave()
            if path is not None:
                path.unlink(missing_ok=True)

    async def _keep(self, request: web.Request, path: Path, digest: hashlib._Hash) -> None:
        """The rows on disk: none of them is held in memory longer than it takes."""
        size = 0
        try:
            with path.open("xb") as file:
                async with asyncio.timeout(BODY_SECONDS):
                    async for piece in request.content.iter_chunked(PIECE):
                        size += len(piece)
                        if size > self._options.bytes_max:
                            raise _Stop(_too_large(self._options.bytes_max))
                        digest.update(piece)
                        file.write(piece)
        except TimeoutError:
            raise _Stop(again(429, f"its rows did not come within {BODY_SECONDS:g} s", PAUSE_SECONDS)) from None
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            why = f"its rows cannot be kept on the mesh's disk ({error.strerror})"
            raise _Stop(again(429, why, 60, "tell who runs the mesh; send the same again")) from None

    async def _answered(self, batch: PushedBatch) -> PushAnswer:
        """What became of a batch, or that it is not known in time."""
        answer = asyncio.shield(asyncio.wrap_future(batch.answer))
        try:
            async with asyncio.timeout(self._options.answer_seconds):
                return await answer
        except TimeoutError:
            if self._desk.withdraw(batch) or batch.answer.done():
                return batch.answer.result()
            why = f"Kafka has not taken it within {self._options.answer_seconds:g} s; it may be taken yet"
            return again(503, why, PAUSE_SECONDS)


def _feed(request: web.Request) -> str:
    return request.match_info.get("feed", "")


def _key(request: web.Request) -> str:
    found = _KEY.fullmatch(request.headers.get("Idempotency-Key", ""))
    if found is None:
        why = "it has no Idempotency-Key of 1 to 100 letters, digits and . _ : -"
        raise _Stop(refused(400, why, "give each batch a key of its own, and send a batch again under the same one"))
    return found[1]


def _is_whole(request: web.Request) -> bool:
    mode = request.query.get("mode", "changes")
    if mode not in {"changes", "full"} or request.query.keys() - {"mode"}:
        raise _Stop(
            refused(
                400, "its mode is neither changes nor full", "leave it out, or write ?mode=full for the whole table"
            )
        )
    return mode == "full"


def _too_large(bytes_max: int) -> PushAnswer:
    return refused(413, f"it is larger than {bytes_max:,} bytes", "send it in parts, each under a key of its own")


def _explained(status: int, why: str, fix: str) -> web.StreamResponse:
    return _response(refused(status, why, fix))


def _response(answer: PushAnswer) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    if answer.wait_seconds:
        headers["Retry-After"] = f"{answer.wait_seconds:.0f}"
    return web.json_response(answer.document, status=answer.status, headers=headers)
