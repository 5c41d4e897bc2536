"""A board: the cases of one feed, first those that want somebody, by their deadline; by state, late ones, or one by its number."""

from __future__ import annotations

from aiohttp import web

from ops.cases.board import Board
from ops.cases.entries import at, sought
from ops.cases.index import Filter
from ops.console.cases.desk import Desk
from ops.console.frame.page import SECURITY, Pages
from ops.console.frame.paging import paged

TEXT_MAX = 100


class BoardPages:
    """Shows what a sample would show, of every case; what is personal is found and not seen."""

    def __init__(self, pages: Pages, desk: Desk) -> None:
        self._pages = pages
        self._desk = desk

    async def page(self, request: web.Request) -> web.StreamResponse:
        """A part of the cases; for a look that renews itself, that part alone."""
        desk, board = self._desk, self._board(request)
        flow, now = desk.system(request), await desk.now(desk.system(request))
        looked = await desk.look([board.feed])
        asked = {name: request.query.get(name, "").strip()[:TEXT_MAX] for name in ("state", "late", "found")}
        late_at = int(now.timestamp() * 1_000_000)
        chosen = Filter(state=asked["state"], late_at=late_at if asked["late"] else None, sought=asked["found"])
        part = paged(request)
        entries = desk.index.page(board.feed, chosen, start=part["start"], count=part["page_entries"])
        counts = desk.index.counts(board.feed)
        is_part = request.headers.get("HX-Request") == "true"
        return self._pages.page(
            request,
            "board_found.html" if is_part else "board.html",
            flow=flow,
            board=board,
            contract=desk.sight.directory().feeds[board.feed].contract,
            asked=asked,
            entries=entries,
            found=desk.index.count(board.feed, chosen),
            states=sorted({each.state for each in counts if each.state}),
            by_state={s: sum(e.count for e in counts if e.state == s) for s in {e.state for e in counts}},
            total=sum(each.count for each in counts),
            waiting=sum(each.count for each in counts if each.waits),
            late=desk.index.count(board.feed, Filter(late_at=late_at)) if board.due and board.waits else None,
            now=now,
            at=at,
            looked=looked,
            **part,
        )

    async def find(self, request: web.Request) -> web.StreamResponse:
        """Look for a case by what it may be found by. What was asked for stands in no address: a hash of it does."""
        flow = self._desk.system(request)
        given = str((await request.post()).get("given", "")).strip()[:TEXT_MAX]
        feed = request.match_info["feed"]
        known = {flow.queue, *(board.feed for board in self._desk.boards(flow))}
        if feed not in known:
            raise web.HTTPNotFound
        to = f"/cases/{flow.name}/queue" if feed == flow.queue else f"/cases/{flow.name}/boards/{feed}"
        to = f"{to}?found={sought(self._desk.reader.key, feed, given)}" if given else to
        return web.Response(status=303, headers={**SECURITY, "Location": to})

    def _board(self, request: web.Request) -> Board:
        boards = self._desk.boards(self._desk.system(request))
        found = next((board for board in boards if board.feed == request.match_info["feed"]), None)
        if found is None:
            raise web.HTTPNotFound
        return found
