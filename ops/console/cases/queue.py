"""The queue of a system: its items by cause and state, one of them with what it stands on, and what an officer decides of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from ops.cases.entries import at, item_of
from ops.cases.index import Entry, Filter
from ops.console.cases.boards import TEXT_MAX
from ops.console.cases.desk import Desk
from ops.console.cases.form import Form, columns_of
from ops.console.frame.page import SECURITY, Pages
from ops.console.frame.paging import paged
from ops.console.pages.acting import acting
from ops.queue.deciding import Chosen, decide, undo
from ops.queue.items import NAME_DIGITS, STATES, UNDER_WAY, Item
from ops.queue.shown import shown
from schemas.decision import CORRECT, OF_ROWS, OUTCOMES, UNDO
from schemas.guard.caller import agency_of
from streams.operators.flow import Flow


class QueuePages:
    """For who has the agency of the system's feeds; to decide is for its stewards."""

    def __init__(self, pages: Pages, desk: Desk) -> None:
        self._pages = pages
        self._desk = desk

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Items, those that wait first and the oldest of them on top."""
        desk, flow = self._desk, self._desk.system(request)
        now = await desk.now(flow)
        looked = await desk.look([flow.queue])
        asked = {name: request.query.get(name, "").strip()[:TEXT_MAX] for name in ("cause", "state", "found")}
        chosen = Filter(cause=asked["cause"], state=asked["state"], sought=asked["found"])
        counts, part = desk.index.counts(flow.queue), paged(request)
        entries = desk.index.page(flow.queue, chosen, start=part["start"], count=part["page_entries"])
        of_cause = [each for each in counts if each.cause == asked["cause"]]
        is_part = request.headers.get("HX-Request") == "true"
        return self._pages.page(
            request,
            "queue_found.html" if is_part else "queue.html",
            flow=flow,
            asked=asked,
            items=[(entry, self._item(flow, entry)) for entry in entries],
            found=desk.index.count(flow.queue, chosen),
            causes=sorted({each.cause for each in counts}),
            states=STATES,
            group=sum(each.count for each in of_cause if each.waits),
            outcomes=self._outcomes(entries) if asked["cause"] else (),
            cited=sorted({feed for entry in entries for feed, _ in entry.content["claims"]}),
            total=sum(each.count for each in counts),
            feeds=desk.sight.directory().feeds,
            now=now,
            at=at,
            looked=looked,
            **part,
        )

    async def item(self, request: web.Request) -> web.StreamResponse:
        """One item. Nobody is named and no value is shown."""
        return await self._shown(request, {})

    async def reveal(self, request: web.Request) -> web.StreamResponse:
        """The same with whom it is about and the values that differ; that somebody looked is in the audit."""
        flow, name = self._desk.system(request), (await self._entry(request)).name
        settings = self._desk.sight.acting
        with acting(request):
            told = await asyncio.to_thread(shown, settings, name, reveal=True, flow=flow.name)
        return await self._shown(request, told.to_json())

    async def decide(self, request: web.Request) -> web.StreamResponse:
        """Decide, upon what the item stood on when it was looked at."""
        flow, entry, form = self._desk.system(request), await self._entry(request), await Form.of(request)
        chosen = Chosen(names=[entry.name], flow=flow.name, seen={entry.name: form["basis"]})
        with acting(request):
            words, officer = form.words(), form.officer()
            await asyncio.to_thread(decide, self._desk.sight.acting, chosen, words, officer)
        return await self._done(flow, entry)

    async def undo(self, request: web.Request) -> web.StreamResponse:
        """Take back what was decided."""
        flow, entry, form = self._desk.system(request), await self._entry(request), await Form.of(request)
        with acting(request):
            officer = form.officer()
            await asyncio.to_thread(undo, self._desk.sight.acting, Chosen(names=[entry.name], flow=flow.name), officer)
        return await self._done(flow, entry)

    async def _done(self, flow: Flow, entry: Entry) -> web.Response:
        await self._desk.until_seen(flow, entry.name, entry.state)
        to = f"/cases/{flow.name}/queue/{entry.name[:NAME_DIGITS]}?done=1"
        return web.Response(status=303, headers={**SECURITY, "Location": to})

    async def _entry(self, request: web.Request) -> Entry:
        flow = self._desk.system(request)
        await self._desk.look([flow.queue])
        name = request.match_info["item"]
        found = self._desk.index.one(flow.queue, name) if len(name) >= NAME_DIGITS and name.isalnum() else None
        if found is None:
            raise web.HTTPNotFound
        return found

    async def _shown(self, request: web.Request, told: Mapping[str, Any]) -> web.StreamResponse:
        desk, flow, entry = self._desk, self._desk.system(request), await self._entry(request)
        item, directory = self._item(flow, entry), desk.sight.directory()
        may = self._pages.can(request, "POST /cases/{system}/queue/{item}/decide", agency_of(flow.queue))
        made = item.decision
        values = {claim["number"]: claim.get("value") for claim in told.get("claims", ())}
        return self._pages.page(
            request,
            "queue_item.html",
            flow=flow,
            entry=entry,
            item=item,
            made=made if made is not None and made.outcome != UNDO else None,
            outcomes=entry.content["outcomes"] if may else [],
            columns=columns_of(flow, item.feeds, directory) if CORRECT in entry.content["outcomes"] else {},
            of_rows=OF_ROWS,
            may=may,
            is_revealed=bool(told),
            values=values,
            subjects=told.get("subjects", ()),
            feeds=directory.feeds,
            under_way=UNDER_WAY,
            now=await desk.now(flow),
            at=at,
            is_done=request.query.get("done") == "1",
        )

    def _item(self, flow: Flow, entry: Entry) -> Item:
        return item_of(flow, entry, self._desk.index.decided(flow.queue, entry.name))

    def _outcomes(self, entries: Sequence[Entry]) -> list[str]:
        """What a group may be decided to be: whatever one of those on the page may be, but for a value of one row."""
        found = {outcome for entry in entries for outcome in entry.content["outcomes"]}
        return [outcome for outcome in OUTCOMES if outcome in found and outcome != CORRECT]
