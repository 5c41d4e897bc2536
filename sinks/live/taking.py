"""Taking: `GET /v1/changes` and `POST /v1/ack`: changes are taken from the shelf, and acknowledged."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from sinks.live.options import LiveOptions
from sinks.live.refusal import LiveRefusal, busy, number
from sinks.live.shelf import Laid
from sinks.live.source import LiveSource

WAIT_SECONDS_MAX = 60.0
_NAMES = {"receipts", "position"}
_FIX = 'send {"receipts": [...]} with those of /v1/changes, or {"position": "..."} with an id of /v1/stream'


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """What a subscriber has for good: receipts of what it took, everything before a position of its stream, or both."""

    receipts: Sequence[str]
    position: str

    @classmethod
    def parse(cls, body: bytes) -> Acknowledgement:
        """Read one. Raises LiveRefusal."""
        try:
            asked: Any = json.loads(body)
            receipts, position = asked.get("receipts", []), asked.get("position", "")
            is_one = isinstance(receipts, list) and isinstance(position, str) and not asked.keys() - _NAMES
        except (ValueError, AttributeError):
            raise LiveRefusal(400, "the body is no acknowledgement", _FIX) from None
        if not is_one or not all(isinstance(receipt, str) for receipt in receipts):
            raise LiveRefusal(400, "the body is no acknowledgement", _FIX)
        return cls(receipts=receipts, position=position)


class Taking:
    """Made, and called, in the server's loop; `tell` from any thread."""

    def __init__(self, source: LiveSource, options: LiveOptions, stays: Callable[[web.Request], bool]) -> None:
        self._stays = stays
        self._source = source
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Condition()
        self._waiting = 0
        self._is_over = False

    def tell(self) -> None:
        """Something lies on the shelf, for whoever waits for it."""
        if self._waiting:
            asyncio.run_coroutine_threadsafe(self._wake(), self._loop)

    async def end(self) -> None:
        """Answer all that wait."""
        self._is_over = True
        await self._wake()

    async def _wake(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def changes(self, request: web.Request) -> web.StreamResponse:
        """Take what lies there, after waiting for the first. Raises LiveRefusal."""
        shelf = self._source.shelf
        count_max = int(number(request, "max", self._options.batch_max, 1, self._options.batch_max))
        until = time.monotonic() + number(request, "wait", 0, 0, WAIT_SECONDS_MAX)
        async with self._news:
            self._waiting += 1
            try:
                while True:
                    if not self._stays(request):
                        raise LiveRefusal(401, "its token is no longer good", "ask who runs the mesh for another one")
                    if shelf.is_all_leased:
                        text = f"{self._options.leases_max} changes are out and not acknowledged"
                        return busy(text, min(shelf.due_seconds, self._options.visibility_seconds))
                    taken, left = shelf.take(count_max, self._source.granted()), until - time.monotonic()
                    if taken or left <= 0 or self._is_over:
                        return self._answer(taken)
                    await self._some_news(min(left, shelf.due_seconds))
            finally:
                self._waiting -= 1

    async def _some_news(self, within_seconds: float) -> None:
        """Return when something was laid out, or when the time is up."""
        try:
            await asyncio.wait_for(self._news.wait(), within_seconds)
        except TimeoutError:
            return

    def _answer(self, taken: Sequence[Laid]) -> web.Response:
        entries = b",".join(
            b'{"receipt":"%s","delivery":%d,"change":%s}' % (laid.receipt.encode(), laid.deliveries, laid.message.body)
            for laid in taken
        )
        visible = json.dumps(self._options.visibility_seconds).encode()
        return web.Response(
            body=b'{"changes":[%s],"visibility_seconds":%s}' % (entries, visible),
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )

    async def acknowledge(self, request: web.Request) -> web.StreamResponse:
        """Settle what the subscriber has. Raises LiveRefusal, Transient."""
        asked = Acknowledgement.parse(await request.read())
        if asked.position:
            position = self._source.position(asked.position)
            if not await asyncio.to_thread(self._source.is_there, position):
                raise LiveRefusal(409, "the position is of what is not there", "give an `id` as it came")
            self._source.shelf.confirm(position.offsets)
        unknown = self._source.shelf.acknowledge(asked.receipts)
        return web.json_response({"acknowledged": len(asked.receipts) - len(unknown), "unknown": unknown})
