"""Asking for a grant on a page: a form with the feed's columns, a dry run of what would flow, and the request itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from ops.console.frame.page import SECURITY, Pages
from ops.console.frame.sight import Sight
from ops.console.frame.trouble import Refused
from ops.console.pages.acting import acting
from ops.console.pages.grants import DAYS, WORDS_MAX
from ops.grants.asking import asked_for
from ops.grants.preview.preview import preview
from ops.grants.preview.previewed import Previewed
from ops.grants.request import Requested, request
from ops.trust.login import login_name
from schemas.agreement.grant import Mask
from schemas.errors import Misconfigured
from schemas.guard.middleware import REMIT

TEXTS = ("purpose", "legal_basis", "matter_code", "row_filter", "valid_to", "sink", "at_end")


class GrantRequest:
    """Nothing flows by it before it is approved."""

    def __init__(self, pages: Pages, sight: Sight) -> None:
        self._pages = pages
        self._sight = sight
        self._working = asyncio.Semaphore(2)

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The form, empty."""
        return self._form(request, request.query.get("feed", ""), {}, {})

    async def ask(self, asking: web.Request) -> web.StreamResponse:
        """A dry run, or the request, of what was filled in; what is wrong with it is said above the form, which stays as it was."""
        form = await asking.post()
        feed, subscriber = str(form.get("feed", "")), str(form.get("subscriber", ""))
        words = self._pages.words(asking)
        if not asking[REMIT].holds(subscriber):
            raise Refused(400, words("request.not_yours"), words("request.not_yours_fix"))
        grant = _grant(feed, subscriber, form, self._sight.directory().grants.keys())
        given = {**grant, "subscriber": subscriber}
        try:
            async with self._working:
                if form.get("do") == "ask":
                    with acting(asking):
                        outcome = await asyncio.to_thread(self._ask, subscriber, grant)
                    if outcome.is_ok:
                        grant_id = next(iter(outcome.entries))
                        await self._sight.until(lambda directory: grant_id in directory.grants)
                        return web.Response(status=303, headers={**SECURITY, "Location": f"/grants/{grant_id}?done=1"})
                    problems = [(each.field, each.message, each.fix) for each in outcome.report.errors]
                    return self._form(asking, feed, given, {"problems": problems})
                found = await asyncio.to_thread(self._preview, subscriber, grant)
        except Misconfigured as error:
            return self._form(asking, feed, given, {"problems": [("", error.problem, error.fix)]})
        return self._form(asking, feed, given, {"previews": [each.to_json() for each in found]})

    def _ask(self, subscriber: str, grant: Mapping[str, Any]) -> Requested:
        settings = self._sight.acting
        with asked_for(settings, self._sight.directory(), subscriber, grant) as folder:
            return request(folder, settings, by=login_name(), say=lambda _: None)

    def _preview(self, subscriber: str, grant: Mapping[str, Any]) -> list[Previewed]:
        settings = self._sight.settings
        with asked_for(settings, self._sight.directory(), subscriber, grant) as folder:
            return preview(settings, str(folder), days=DAYS, only=None, say=lambda _: None)

    def _form(
        self, request: web.Request, feed: str, given: Mapping[str, Any], told: Mapping[str, Any]
    ) -> web.StreamResponse:
        directory, remit = self._sight.directory(), request[REMIT]
        entry = directory.feeds.get(feed)
        if entry is None:
            raise web.HTTPNotFound
        subscribers = [each for code, each in sorted(directory.subscribers.items()) if remit.holds(code)]
        return self._pages.page(
            request,
            "grant_request.html",
            400 if told.get("problems") else 200,
            feed=entry,
            contract=entry.contract,
            subscribers=subscribers,
            masks=[str(mask) for mask in Mask if mask is not Mask.DROP],
            given={**dict.fromkeys(("subscriber", *TEXTS), ""), "columns": [], "mask": {}, **given},
            problems=told.get("problems", []),
            previews=told.get("previews", []),
            days=DAYS,
        )


def _grant(feed: str, subscriber: str, form: Mapping[str, Any], taken: Any) -> dict[str, Any]:
    """The entry of a subscriber's file; another purpose of the same feed is another grant, with a number (HANDBOOK A5)."""
    columns = [name.removeprefix("column.") for name in form if name.startswith("column.")]
    masks = {name: str(form.get(f"mask.{name}", "")) for name in columns}
    first = f"{subscriber}.{feed}"
    names = [first, *(f"{first}.p{number}" for number in range(2, 100))]
    return {
        "grant_id": next((name for name in names if name not in taken), first),
        "feed": feed,
        "columns": columns,
        "mask": {name: mask for name, mask in masks.items() if mask not in {"", Mask.FULL}},
        **{name: str(form.get(name, "")).strip()[:WORDS_MAX] for name in TEXTS},
    }
