"""Grants (授权): who has what, and until when an answer is due; the page of each; the steps that lead it on, with reasons."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from aiohttp import web

from ops.console.frame.page import SECURITY, Pages
from ops.console.frame.paging import paged
from ops.console.frame.sight import Sight
from ops.console.frame.trouble import Refused
from ops.console.pages.acting import acting
from ops.grants.decide import decide
from ops.grants.listing import Line, lines, provider_of
from ops.grants.preview.preview import preview
from ops.grants.shown import Shown
from ops.trust.login import login_name
from schemas.agreement.directory import GrantEntry
from schemas.agreement.grant import Status
from schemas.agreement.grant_life import WAITING, Act, next_approval
from schemas.guard.caller import Caller, Remit, Role, agency_of
from schemas.guard.middleware import CALLER, REMIT

DAYS = 30.0
WORDS_MAX = 500
GRANT_ACTS = {"refuse": Act.REFUSE, "suspend": Act.SUSPEND, "resume": Act.RESUME, "revoke": Act.REVOKE, "approve": None}
_MAY_BE = {
    "approve": frozenset({Status.SUBMITTED, Status.COMPLIANCE_OK, Status.PROVIDER_OK}),
    "refuse": frozenset({Status.SUBMITTED, Status.COMPLIANCE_OK}),
    "suspend": frozenset({Status.ACTIVE}),
    "resume": frozenset({Status.SUSPENDED}),
    "revoke": frozenset({Status.ACTIVE, Status.SUSPENDED}),
}


class GrantPages:
    """Either side of a grant looks at it; its provider, and compliance before that, decide."""

    def __init__(self, pages: Pages, sight: Sight) -> None:
        self._pages = pages
        self._sight = sight
        self._previewing = asyncio.Semaphore(2)

    def owner(self, request: web.Request) -> str:
        """Whose an address is: the subscriber of the subscription that it names, the provider of the grant."""
        if subscription := request.match_info.get("name", ""):
            return subscription.partition(".")[0]
        name = request.match_info.get("grant", "")
        entry = self._sight.directory().grants.get(name)
        return provider_of(self._sight.directory(), entry.grant.feed) if entry else agency_of(name)

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The list."""
        directory, remit = self._sight.directory(), request[REMIT]
        asked = {name: request.query.get(name, "").strip()[:100] for name in ("state", "subscriber", "provider")}
        everything = [line for line in lines(directory, datetime.now(UTC)) if _is_seen(line, remit)]
        found = [
            line
            for line in everything
            if asked["state"] in {"", line.state, line.successor}
            or (asked["state"] == "waiting" and (line.due_at or line.state in WAITING))
            or (asked["state"] == "overdue" and line.is_overdue)
        ]
        found = [
            line
            for line in found
            if asked["subscriber"] in {"", line.subscriber} and asked["provider"] in {"", line.provider}
        ]
        found.sort(key=lambda line: (not line.is_overdue, line.due_at is None, line.due_at or "", line.grant_id))
        return self._pages.page(
            request,
            "grants.html",
            asked=asked,
            found=found,
            **paged(request),
            total=len(everything),
            waiting=sum(1 for line in everything if line.due_at),
            overdue=sum(1 for line in everything if line.is_overdue),
            states=[str(state) for state in Status],
            subscribers=sorted({line.subscriber for line in everything}),
            providers=sorted({line.provider for line in everything}),
            directory=directory,
        )

    async def grant(self, request: web.Request) -> web.StreamResponse:
        """One grant."""
        entry = self._entry(request)
        directory, now = self._sight.directory(), datetime.now(UTC)
        told = Shown(entry=entry, directory=directory, at=now).to_json()
        state = entry.asked.status if entry.is_waiting else entry.state(now)
        provider = told["provider"]
        acts = [
            act
            for act, states in _MAY_BE.items()
            if state in states
            and self._pages.can(request, f"POST /grants/{{grant}}/{act}", provider)
            and (state is not Status.SUBMITTED or _is_compliance(request[CALLER]))
        ]
        return self._pages.page(
            request,
            "grant.html",
            told=told,
            entry=entry,
            state=state,
            running=entry.state(now),
            acts=acts,
            waits=next_approval(entry.asked.status),
            names={code: each.name for code, each in directory.subscribers.items()}
            | {code: each.name for code, each in directory.agencies.items()},
            feed=directory.feeds.get(entry.grant.feed),
            is_done=request.query.get("done") == "1",
        )

    async def preview(self, request: web.Request) -> web.StreamResponse:
        """What would flow by it, or flows, from its feed's last days."""
        entry = self._entry(request)
        async with self._previewing:
            found = await asyncio.to_thread(
                preview, self._sight.settings, entry.grant.grant_id, days=DAYS, only=None, say=_say_nothing
            )
        return self._pages.page(
            request,
            "grant_preview.html",
            previews=[each.to_json() for each in found],
            days=DAYS,
            grant_id=entry.grant.grant_id,
            is_part=request.headers.get("HX-Request") == "true",
        )

    async def decide(self, request: web.Request) -> web.StreamResponse:
        """Take a step, with its reason; whoever takes it stands in the history and the audit."""
        entry = self._entry(request)
        word = request.path.rpartition("/")[2]
        form = await request.post()
        reason, basis = (str(form.get(name, "")).strip()[:WORDS_MAX] for name in ("reason", "basis"))
        act, words = GRANT_ACTS[word], self._pages.words(request)
        if entry.asked.status is Status.SUBMITTED and word in {"approve", "refuse"}:
            if not _is_compliance(request[CALLER]):
                raise Refused(403, words("grant.compliance_first"), words("grant.compliance_first_fix"))
            act = act or Act.COMPLIANCE
        elif word == "approve":
            act = Act.PROVIDER if entry.asked.status is Status.COMPLIANCE_OK else None
        if word != "approve" and not reason:
            raise Refused(400, words("grant.no_reason"), words("grant.no_reason_fix"))
        settings, grant_id = self._sight.acting, entry.grant.grant_id
        with acting(request):
            await asyncio.to_thread(decide, settings, grant_id, act, by=login_name(), reason=reason, basis=basis)
        await self._sight.until(lambda directory: directory.grants.get(grant_id) != entry)
        return web.Response(status=303, headers={**SECURITY, "Location": f"/grants/{grant_id}?done=1"})

    def _entry(self, request: web.Request) -> GrantEntry:
        """The grant that the address names, if it is for who asks."""
        directory, remit = self._sight.directory(), request[REMIT]
        entry = directory.grants.get(request.match_info["grant"])
        if entry is None or not (
            remit.holds(entry.grant.subscriber) or remit.holds(provider_of(directory, entry.grant.feed))
        ):
            raise web.HTTPNotFound
        return entry


def _is_compliance(caller: Caller) -> bool:
    """Whether somebody speaks for the whole city."""
    remit = caller.remit({Role.ADMIN})
    return remit is not None and remit.is_all


def _is_seen(line: Line, remit: Remit) -> bool:
    return remit.holds(line.subscriber) or remit.holds(line.provider)


def _say_nothing(_: str) -> None:
    pass
