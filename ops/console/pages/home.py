"""The first page: health as progress. What moves and how far it is, and what stands still, since when, why, and what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from ops.console.frame.page import SECURITY, Pages
from ops.console.frame.sight import Sight
from ops.console.within import within
from ops.metrics.metric import CAPTURED
from ops.watch.entity_health import EntityHealth, entities
from ops.watch.status_report import AS_IT_SHOULD, FeedStatus, Status, SubscriptionStatus
from schemas.agreement.directory import Directory
from schemas.guard.guard import Guard
from schemas.guard.middleware import CALLER, REMIT
from schemas.incident import Incident

EVERY_SECONDS = 2.0
SHOWN_FEW = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Something for a person: what, since when, why, what to do, and the page where it is looked at."""

    kind: str
    name: str
    state: str
    is_grave: bool
    reason: str
    fix: str
    since: str | None
    href: str | None


class Home:
    """Shows it, and keeps it up to date by server-sent events while somebody looks."""

    def __init__(self, pages: Pages, sight: Sight, guard: Guard | None) -> None:
        self._pages = pages
        self._sight = sight
        self._guard = guard
        self.ending = asyncio.Event()

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The whole page."""
        return self._pages.page(request, "home.html", **await self._values(request))

    async def live(self, request: web.Request) -> web.StreamResponse:
        """Its board and its headline whenever they change; ends with the process, or when whoever looks may no longer."""
        answer = web.StreamResponse(headers={**SECURITY, "Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        answer.content_type = "text/event-stream"
        await answer.prepare(request)
        told: dict[str, str] = {}
        while not self.ending.is_set() and (self._guard is None or self._guard.is_good(request[CALLER])):
            values = await self._values(request)
            try:
                for name in ("headline", "board"):
                    text = self._pages.text(request, f"home_{name}.html", **values)
                    if told.get(name) != text:
                        await answer.write(_event(name, text))
                        told[name] = text
                await answer.write(b": still here\n\n")
            except ConnectionError:
                break  # nobody looks any more
            try:
                await asyncio.wait_for(self.ending.wait(), EVERY_SECONDS)
            except TimeoutError:
                continue
        return answer

    async def _values(self, request: web.Request) -> dict[str, Any]:
        status, directory = within(await self._sight.status(), request[REMIT]), self._sight.directory()
        is_all = request.query.get("all") == "1"
        feeds, subscriptions = _first(status.feeds, is_all), _first(status.subscriptions, is_all)
        return {
            "status": status,
            "directory": directory,
            "attention": attention(status, directory),
            "volume": sum(feed.per_second for feed in status.feeds if feed.origin == CAPTURED),
            "delivered": sum(each.per_second for each in status.subscriptions),
            "is_all": is_all,
            "feeds": feeds,
            "subscriptions": subscriptions,
            "moving": sum(1 for feed in status.feeds if feed.per_second > 0),
            "caught_up": sum(
                1 for each in status.subscriptions if each.health in AS_IT_SHOULD and not each.lag_records
            ),
            "up": sum(1 for process in status.processes if process.state == "up"),
            "good": AS_IT_SHOULD,
        }


def _event(name: str, text: str) -> bytes:
    lines = "\n".join(f"data: {line}" for line in text.splitlines())
    return f"event: {name}\n{lines}\n\n".encode()


def _first(entries: Sequence[Any], is_all: bool) -> Sequence[Any]:
    """What needs a look first: what is unwell, then what is furthest behind, then what has moved most."""

    def urgency(entry: FeedStatus | SubscriptionStatus) -> tuple[bool, float, int]:
        moved = entry.captured if isinstance(entry, FeedStatus) else entry.delivered
        return entry.health in AS_IT_SHOULD, -_felt(entry.lag_seconds), -moved

    ordered = sorted(entries, key=urgency)
    return ordered if is_all else ordered[:SHOWN_FEW]


def _felt(seconds: float | None) -> float:
    """A lag of a second or two is nobody's: lines would change places with every look."""
    return seconds if seconds is not None and seconds > 5 else 0.0


def attention(status: Status, directory: Directory) -> list[Attention]:
    """What is unwell, and what is worth knowing, the gravest first; one line for each thing."""
    incidents = {(incident.kind, incident.name): incident for incident in status.incidents}
    found = [
        _unwell(entity, incidents.pop((entity.kind, entity.name), None), directory) for entity in _unwell_of(status)
    ]
    found += [
        Attention(
            kind=incident.kind,
            name=incident.name,
            state=incident.state,
            is_grave=incident.is_standstill,
            reason=incident.reason,
            fix=incident.fix,
            since=incident.since.isoformat(),
            href=href(incident.kind, incident.name, directory),
        )
        for incident in incidents.values()
    ]
    return sorted(found, key=lambda each: (not each.is_grave, each.kind, each.name))


def _unwell_of(status: Status) -> list[EntityHealth]:
    return [entity for entity in entities(status) if not entity.is_well]


def _unwell(entity: EntityHealth, incident: Incident | None, directory: Directory) -> Attention:
    return Attention(
        kind=entity.kind,
        name=entity.name,
        state=incident.state if incident else entity.state,
        is_grave=True,
        reason=entity.reason or (incident.reason if incident else ""),
        fix=entity.fix or (incident.fix if incident else ""),
        since=incident.since.isoformat() if incident else None,
        href=href(entity.kind, entity.name, directory),
    )


def href(kind: str, name: str, directory: Directory) -> str | None:
    """The page where a thing is looked at."""
    if kind in {"feed", "ledger"} and name in directory.feeds:
        return f"/catalogue/{name}"
    if kind in {"grant", "request", "ledger"} and name in directory.grants:
        return f"/grants/{name}"
    if kind == "sink" and name.partition(".")[0] in directory.subscribers:
        return f"/subscriptions/{name}"
    return None
