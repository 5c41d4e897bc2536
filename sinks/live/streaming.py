"""Streaming: `GET /v1/stream`, for several subscribers' programs at a time.

A stream that is read slowly waits for its reader and reads nothing meanwhile; nobody else waits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from aiohttp import web

from schemas.trace import described
from sinks.live.refusal import LiveRefusal, busy
from sinks.live.source import LiveSource
from sinks.live.stream import FeedStream

HEARTBEAT_SECONDS = 15.0
GLANCE_SECONDS = 0.5
"""How often a stream looks whether it still may go on."""
RETRY_MILLISECONDS = 3_000
"""After how long a client is to come again."""
_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Streaming:
    """The streams that are open. Its broker's clients block, and have threads of their own."""

    def __init__(self, source: LiveSource, streams_max: int, stays: Callable[[web.Request], bool]) -> None:
        self._source = source
        self._stays = stays
        self._streams_max = streams_max
        self._open = 0
        self._is_over = False
        self._readers = ThreadPoolExecutor(streams_max, thread_name_prefix=f"stream {source.label}")

    def end(self) -> None:
        """Let every stream end when it looks next."""
        self._is_over = True

    def close(self) -> None:
        """Nobody is served any more."""
        self._readers.shutdown(wait=False)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, for as long as the subscriber listens and may. Raises LiveRefusal, PositionGone, Transient."""
        if self._open >= self._streams_max:
            return busy(f"{self._open} streams are open, and no more may be", GLANCE_SECONDS)
        self._open += 1
        try:
            position = self._source.position(request.headers.get("Last-Event-ID", ""))
            topics = frozenset(self._source.granted())
            if not topics and not self._source.shelf.endings():
                fix = "ask who runs the mesh: `mesh status` shows your grants"
                raise LiveRefusal(403, "nothing is granted at present", fix)
            stream = await self._read(lambda: self._source.open_stream(position))
            try:
                return await self._pump(request, stream, topics)
            finally:
                await self._read(stream.close)
        finally:
            self._open -= 1

    async def _pump(self, request: web.Request, stream: FeedStream, topics: frozenset[str]) -> web.StreamResponse:
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        # No empty line behind it, which would end an event.
        chunk, written_at = b"retry: %d\n" % RETRY_MILLISECONDS, 0.0
        while self._goes_on(request, topics):
            if not chunk and time.monotonic() - written_at >= HEARTBEAT_SECONDS:
                chunk = b":\n"
            if chunk:
                await self._write(request, response, chunk, topics)
                written_at = time.monotonic()
            endings = self._source.shelf.endings()
            try:
                chunk = await self._read(lambda: stream.events(endings, GLANCE_SECONDS, time.time()))  # noqa: B023
            except Exception as error:  # noqa: BLE001 -- its head is out, so no other answer can follow
                logger.warning("%s: a stream ends, and may come again: %s", self._source.label, described(error))
                break
        if request.transport is not None and request.transport.get_write_buffer_size():
            request.transport.abort()  # it is not read, and what waits in it is nobody's any more
        return response

    async def _write(
        self, request: web.Request, response: web.StreamResponse, chunk: bytes, topics: frozenset[str]
    ) -> None:
        writing = asyncio.ensure_future(response.write(chunk))
        while not (await asyncio.wait({writing}, timeout=GLANCE_SECONDS))[0]:
            if not self._goes_on(request, topics):
                writing.cancel()
                return
        writing.result()

    def _goes_on(self, request: web.Request, topics: frozenset[str]) -> bool:
        # Invariant 6: who has other grants now comes again, and gets those.
        is_heard = request.transport is not None and not request.transport.is_closing()
        is_let = self._stays(request) and self._source.granted().keys() == topics
        return is_heard and not self._is_over and is_let

    async def _read(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, act)
