"""Desk: the systems that whoever looks may see, with their feeds read on while somebody looks, and no longer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web

from ops.cases.board import Board, load_boards
from ops.cases.entries import with_board
from ops.cases.index import CaseIndex
from ops.cases.reading import CaseReader
from ops.console.frame.sight import Sight
from schemas.errors import Transient
from schemas.guard.caller import agency_of
from schemas.guard.middleware import REMIT
from streams.flows import FLOWS
from streams.operators.flow import Flow

FRESH_SECONDS = 0.5
WAIT_SECONDS = 2.0
"""So long a page waits for what is to be read; a first reading goes on behind it."""
SEEN_WITHIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """How what is shown was read: not at all at present, or so many parts in a hundred of it; and records that could not be."""

    is_away: bool
    percent: int
    unread: int


class Desk:
    """Used by the console's event loop; what reads does so in threads."""

    def __init__(self, sight: Sight) -> None:
        self.sight = sight
        self._reader: CaseReader | None = None
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._read_at: dict[str, float] = {}

    @property
    def reader(self) -> CaseReader:
        """Made when somebody looks for the first time. Raises Refused where there is no mesh."""
        if self._reader is None:
            self._reader = CaseReader(self.sight.settings, self.sight.directory)
        return self._reader

    @property
    def index(self) -> CaseIndex:
        """Where the cases are."""
        return self.reader.index

    def systems(self, request: web.Request) -> list[Flow]:
        """The systems of this mesh that are of the agencies of whoever looks."""
        remit, feeds = request[REMIT], self.sight.directory().feeds
        return [flow for flow in FLOWS if flow.queue in feeds and remit.holds(agency_of(flow.queue))]

    def system(self, request: web.Request) -> Flow:
        """The one that the address names."""
        name = request.match_info["system"]
        found = next((flow for flow in self.systems(request) if flow.name == name), None)
        if found is None:
            raise web.HTTPNotFound
        return found

    def boards(self, flow: Flow) -> Sequence[Board]:
        """Those whose feeds are here as the boards have them."""
        directory = self.sight.directory()
        return [board for board in load_boards().get(flow.name, ()) if with_board(board, directory) is not None]

    async def now(self, flow: Flow) -> datetime:
        """By the flow's own clock, by which it says that something is overdue; by ours where it is not known."""
        status = await self.sight.status()
        clock = next((each.clock for each in status.flows if each.flow == flow.name and each.clock), None)
        return datetime.fromisoformat(clock) if clock else datetime.now(UTC)

    async def look(self, feeds: Collection[str]) -> Looked:
        """Read them on, and say how far that is."""
        reader = self.reader
        tasks = [self._task(feed) for feed in feeds if self._is_due(feed)]
        is_away = False
        if tasks:
            done, _ = await asyncio.wait(tasks, timeout=WAIT_SECONDS)
            for task in done:
                if (error := task.exception()) is None:
                    continue
                if not isinstance(error, Transient):
                    raise error
                is_away = True
        progress = [reader.progress(feed) for feed in feeds]
        return Looked(
            is_away=is_away,
            percent=min((each.percent for each in progress), default=100),
            unread=sum(each.unread for each in progress),
        )

    def _is_due(self, feed: str) -> bool:
        return feed in self._reading or time.monotonic() - self._read_at.get(feed, float("-inf")) > FRESH_SECONDS

    def _task(self, feed: str) -> asyncio.Task[None]:
        if (task := self._reading.get(feed)) is None:
            task = asyncio.create_task(asyncio.to_thread(self.reader.read_on, feed))
            self._reading[feed] = task
            task.add_done_callback(lambda done: self._ended(feed, done))
        return task

    def _ended(self, feed: str, task: asyncio.Task[None]) -> None:
        self._reading.pop(feed, None)
        if not task.cancelled() and task.exception() is None:
            self._read_at[feed] = time.monotonic()

    async def until_seen(self, flow: Flow, name: str, state: str) -> None:
        """Wait until an item stands otherwise than it did, so that the next page shows it; not for ever."""
        deadline = time.monotonic() + SEEN_WITHIN_SECONDS
        while time.monotonic() < deadline:
            self._read_at.pop(flow.queue, None)
            await self.look([flow.queue])
            entry = self.index.one(flow.queue, name)
            if entry is None or entry.state != state:
                return
            await asyncio.sleep(0.2)

    async def close(self, _: web.Application) -> None:
        """With the server: what is being read is read to its end, which is soon."""
        await asyncio.gather(*self._reading.values(), return_exceptions=True)
        if self._reader is not None:
            self._reader.close()


def owner(request: web.Request) -> str:
    """The agency that a system's pages are of."""
    name = request.match_info.get("system", "")
    return agency_of(next((flow.queue for flow in FLOWS if flow.name == name), name))
