"""Systems: what waits in each system of the city, and in one of them by cause, beside its boards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from ops.cases.entries import at
from ops.cases.index import Count, Filter
from ops.console.cases.desk import Desk
from ops.console.frame.page import Pages
from ops.queue.items import STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Items of one cause, or of one queue: how many there are of each state, and since when the oldest of those waits that do."""

    name: str
    counts: dict[str, int]
    waits: int
    since: datetime | None

    @classmethod
    def of(cls, name: str, counts: Sequence[Count]) -> Group:
        """Add up."""
        by_state = {state: sum(each.count for each in counts if each.state == state) for state in STATES}
        waiting = [each for each in counts if each.waits]
        return cls(
            name=name,
            counts=by_state,
            waits=sum(each.count for each in waiting),
            since=at(min((each.since for each in waiting if each.since is not None), default=None)),
        )


class SystemPages:
    """For who has the agency of a system's feeds."""

    def __init__(self, pages: Pages, desk: Desk) -> None:
        self._pages = pages
        self._desk = desk

    async def page(self, request: web.Request) -> web.StreamResponse:
        """All systems of whoever looks."""
        desk, flows = self._desk, self._desk.systems(request)
        looked = await desk.look([flow.queue for flow in flows])
        groups = {flow.name: Group.of(flow.name, desk.index.counts(flow.queue)) for flow in flows}
        flows.sort(key=lambda flow: -groups[flow.name].waits)
        return self._pages.page(
            request,
            "cases.html",
            flows=flows,
            groups=groups,
            nows={flow.name: await desk.now(flow) for flow in flows},
            boards={flow.name: desk.boards(flow) for flow in flows},
            feeds=desk.sight.directory().feeds,
            looked=looked,
        )

    async def system(self, request: web.Request) -> web.StreamResponse:
        """One system: its queue by cause, and its boards."""
        desk, flow = self._desk, self._desk.system(request)
        boards, now = desk.boards(flow), await self._desk.now(flow)
        looked = await desk.look([flow.queue, *(board.feed for board in boards)])
        counts = desk.index.counts(flow.queue)
        causes = [
            Group.of(cause, [each for each in counts if each.cause == cause])
            for cause in sorted({each.cause for each in counts})
        ]
        causes.sort(key=lambda each: -each.waits)
        late_at = int(now.timestamp() * 1_000_000)
        return self._pages.page(
            request,
            "cases_system.html",
            flow=flow,
            whole=Group.of(flow.name, counts),
            causes=causes,
            boards=boards,
            totals={board.feed: desk.index.count(board.feed, Filter()) for board in boards},
            waiting={board.feed: sum(e.count for e in desk.index.counts(board.feed) if e.waits) for board in boards},
            late={board.feed: desk.index.count(board.feed, Filter(late_at=late_at)) for board in boards if board.due},
            feeds=desk.sight.directory().feeds,
            now=now,
            looked=looked,
        )
