"""Subscriptions (订阅): what is delivered to whom and how far it is, what could not be and why, and a subscriber's controls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from ops.console.frame.page import SECURITY, Pages
from ops.console.frame.paging import paged
from ops.console.frame.sight import Sight
from ops.console.frame.trouble import Refused
from ops.console.pages.acting import acting
from ops.console.within import within
from ops.kinds.sinks import SINKS
from ops.kits.kit import kits
from ops.kits.readable import is_readable
from ops.own_topic.rotation import rotate
from ops.redelivery.dlq import Causes, by_cause, drop
from ops.redelivery.letter import WAITING, choice, letters
from ops.redelivery.replay import moment, replay
from ops.redelivery.retry import retry
from ops.subscription.hold import pause, resume
from ops.subscription.listing import listed
from ops.subscription.named import Named, listed_as
from ops.subscription.trial import tried
from schemas.errors import Misconfigured
from schemas.guard.middleware import REMIT
from sinks.kind import is_read_itself

WORDS_MAX = 200
SUBSCRIPTION_ACTS = ("pause", "resume", "test", "replay", "retry", "drop", "rotate")
_TOLD_HERE = frozenset({"test", "rotate"})
"""Acts of which what came out is all there is to see."""


class SubscriptionPages:
    """For the subscriber's own agency, and for who has all."""

    def __init__(self, pages: Pages, sight: Sight) -> None:
        self._pages = pages
        self._sight = sight

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The list of sinks, each with its grants."""
        remit, directory = request[REMIT], self._sight.directory()
        records = [
            record
            for record in (await asyncio.to_thread(listed, self._sight.settings, [])).records
            if remit.holds(record["subscriber"])
        ]
        status = within(await self._sight.status(), remit)
        sinks = [record for record in records if record["kind"] == "sink"]
        sinks.sort(key=lambda record: (record["state"] == "active", record["name"]))
        return self._pages.page(
            request,
            "subscriptions.html",
            sinks=sinks,
            entries={
                sink["name"]: [entry for entry in status.subscriptions if entry.grant_id in sink["grants"]]
                for sink in sinks
            },
            names={code: each.name for code, each in directory.subscribers.items()},
            **paged(request),
        )

    async def subscription(self, request: web.Request) -> web.StreamResponse:
        """One sink, or one grant through it."""
        return await self._shown(request, self._named(request), {})

    async def kit(self, request: web.Request) -> web.StreamResponse:
        """The programs by which its subscriber reads it, as a zip; of a grant, those of that feed alone."""
        found = self._named(request)
        if not is_readable(found.sink) or not found.grants:
            raise web.HTTPNotFound
        feeds = [entry.grant.feed for entry in found.grants] if found.kind == "grant" else []
        (made,) = kits(
            self._sight.settings, self._sight.directory(), found.subscriber, sinks=[found.sink.name], feeds=feeds
        )
        kept = {"Content-Disposition": f'attachment; filename="{made.name}.zip"', "Cache-Control": "no-store"}
        return web.Response(body=made.archive(), content_type="application/zip", headers={**SECURITY, **kept})

    async def act(self, request: web.Request) -> web.StreamResponse:
        """Do what is asked of it. A dry run, and what is only told, stands on the page; else the page is asked for anew."""
        found = self._named(request)
        word = request.path.rpartition("/")[2]
        form = {name: str(value).strip()[:WORDS_MAX] for name, value in (await request.post()).items()}
        is_dry = form.get("do") == "preview"
        settings = self._sight.acting
        owners = [entry.grant.grant_id for entry in found.grants]
        acts: Mapping[str, Callable[[], Any]] = {
            "pause": lambda: pause(settings, [found.name], form.get("reason", "")),
            "resume": lambda: resume(settings, [found.name], form.get("reason", "")),
            "test": lambda: tried(settings, found.name),
            "replay": lambda: replay(
                settings,
                [found.name],
                since=moment(form["since"]) if form.get("since") else None,
                position=None,
                dry_run=is_dry,
            ),
            "retry": lambda: retry(settings, choice(owners, is_all=True, reason=form.get("cause")), dry_run=is_dry),
            "drop": lambda: drop(settings, choice(owners, is_all=True, reason=form.get("cause")), dry_run=is_dry),
            "rotate": lambda: rotate(settings, found.sink_name, form.get("overlap") or "24h"),
        }
        if word in {"retry", "drop"} and not form.get("cause"):
            words = self._pages.words(request)
            raise Refused(400, words("subscription.no_cause"), words("subscription.no_cause_fix"))
        with acting(request):
            outcome = await asyncio.to_thread(acts[word])
        if is_dry or word in _TOLD_HERE:
            is_ok = bool(getattr(outcome, "is_ok", True))
            return await self._shown(
                request, found, {"act": word, "lines": outcome.lines(), "ok": is_ok, "dry": is_dry}
            )
        if word in {"pause", "resume"}:
            is_held = word == "pause"
            await self._sight.until(lambda directory: (found.key in directory.pauses) == is_held)
        return web.Response(status=303, headers={**SECURITY, "Location": f"/subscriptions/{found.name}?done={word}"})

    async def _shown(self, request: web.Request, found: Named, told: Mapping[str, Any]) -> web.StreamResponse:
        directory, settings = self._sight.directory(), self._sight.settings
        status = within(await self._sight.status(), request[REMIT])
        owners = [entry.grant.grant_id for entry in found.grants]

        def waiting() -> Causes:
            return by_cause(letters(settings, owners, state=WAITING)) if owners else Causes(rows={})

        record, causes = await asyncio.gather(
            asyncio.to_thread(lambda: listed(settings, [found.name]).records[0]), asyncio.to_thread(waiting)
        )
        done = request.query.get("done", "")
        return self._pages.page(
            request,
            "subscription.html",
            record=record,
            found=found,
            is_pulled=is_read_itself(found.sink, SINKS),
            has_kit=is_readable(found.sink) and bool(found.grants),
            entries=[entry for entry in status.subscriptions if entry.grant_id in owners],
            causes=causes.to_json(),
            subscriber=directory.subscribers[found.subscriber],
            feeds=directory.feeds,
            told=told,
            done=done if done in SUBSCRIPTION_ACTS else "",
        )

    def _named(self, request: web.Request) -> Named:
        """What the address names, if it is for who asks."""
        try:
            found = listed_as(self._sight.directory(), request.match_info["name"])
        except Misconfigured:
            raise web.HTTPNotFound from None
        if not request[REMIT].holds(found.subscriber):
            raise web.HTTPNotFound
        return found
