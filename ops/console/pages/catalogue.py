"""The catalogue (资源目录): what there is, found by name, pinyin, department, work and sharing class; a page for each feed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from aiohttp import web

from ops.city.city import GUANGZHOU
from ops.console.frame.page import Pages
from ops.console.frame.paging import paged
from ops.console.frame.sight import Sight
from ops.console.frame.wording import FIRST
from ops.console.pages.volume import Volume, volume
from ops.grants.listing import lines
from ops.onboarding.work import load_works
from ops.show.catalogue import Entry, compile_catalogue
from ops.show.sample import Sample, hidden_of, sample
from ops.show.versions import Version, type_text, versions
from ops.watch.status_report import FeedStatus
from schemas.agreement.directory import FeedEntry
from schemas.errors import Transient
from schemas.guard.caller import Remit
from schemas.guard.middleware import REMIT
from schemas.registry.client import RegistryClient

WORDS_MAX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Deep:
    """What Kafka and the registry tell of one feed; None where they do not answer at present, or where it is not for who looks."""

    versions: list[Version] | None
    volume: Volume | None
    sample: Sample | None


class CataloguePages:
    """What there is, is for all; rows, and who has them, for those of the feed's agency."""

    def __init__(self, pages: Pages, sight: Sight) -> None:
        self._pages = pages
        self._sight = sight
        self._works = load_works(GUANGZHOU)

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The list; of a search as somebody types it, the list alone."""
        asked = {name: request.query.get(name, "").strip()[:100] for name in ("q", "department", "work", "class")}
        newest = await self._sight.newest_at_ms()
        everything = self._entries(newest or {}, request[REMIT])
        words = asked["q"].split()[:WORDS_MAX]
        found = [
            entry
            for entry in self._entries(newest or {}, request[REMIT], words)
            if asked["department"] in {"", entry.provider} and asked["class"] in {"", entry.sharing or "-"}
            if asked["work"] in {"", *self._codes_of(entry)}
        ]
        values: dict[str, Any] = {
            "asked": asked,
            "found": found,
            **paged(request),
            "is_away": newest is None,
            "total": len(everything),
            "departments": sorted({(entry.provider, entry.owner) for entry in everything}),
            "works": self._works,
            "classes": sorted({entry.sharing or "-" for entry in everything}),
        }
        is_part = request.headers.get("HX-Request") == "true" and request.headers.get("HX-Target") == "found"
        return self._pages.page(request, "catalogue_found.html" if is_part else "catalogue.html", **values)

    async def feed(self, request: web.Request) -> web.StreamResponse:
        """One feed."""
        name, remit = request.match_info["feed"], request[REMIT]
        directory = self._sight.directory()
        entry = directory.feeds.get(name)
        if entry is None:
            raise web.HTTPNotFound
        newest = await self._sight.newest_at_ms()
        shown = next(each for each in self._entries(newest or {}, remit) if each.feed == name)
        is_own = remit.holds(entry.contract.agency)
        deep, status = await asyncio.gather(self._deep(entry, is_own), self._sight.status())
        mine = [
            line
            for line in lines(directory, datetime.now(UTC))
            if line.feed == name and (is_own or remit.holds(line.subscriber))
        ]
        agency = directory.agencies.get(entry.contract.agency)
        return self._pages.page(
            request,
            "feed.html",
            entry=shown,
            feed=entry,
            contract=entry.contract,
            agency=agency,
            is_own=is_own,
            is_away=newest is None,
            deep=deep,
            status=_status_of(status.feeds, name) if is_own else None,
            grants=mine,
            hidden=hidden_of(entry.contract),
            type_text=type_text,
            names={code: each.name for code, each in directory.subscribers.items()},
            works=[
                work.name if self._pages.words(request).language == FIRST else work.name_en
                for work in self._works
                if name in work.feeds
            ],
            freshness=_freshness(shown),
        )

    def _entries(self, newest: Any, remit: Remit, words: list[str] | None = None) -> list[Entry]:
        """The entries; who subscribes to what is nobody's but that agency's, and is not searched either."""
        directory = self._sight.directory()
        if remit.is_all:
            return list(compile_catalogue(directory, newest, words=words or (), works=self._works).entries)
        told = compile_catalogue(replace(directory, grants={}), newest, words=words or (), works=self._works).entries
        full = {entry.feed: entry for entry in compile_catalogue(directory, newest, works=self._works).entries}
        return [
            full[entry.feed]
            if remit.holds(entry.provider)
            else replace(entry, subscribers=[each for each in full[entry.feed].subscribers if remit.holds(each)])
            for entry in told
        ]

    def _codes_of(self, entry: Entry) -> list[str]:
        return [work.code for work in self._works if entry.feed in work.feeds]

    async def _deep(self, entry: FeedEntry, is_own: bool) -> Deep:
        """All at once: each waits for another server, and most for its first answer."""
        settings = self._sight.settings

        def of_registry() -> tuple[list[Version] | None, Sample | None]:
            with closing(RegistryClient(settings.registry)) as registry:
                told = _unless_away(lambda: versions(registry, entry))
                return told, _unless_away(lambda: sample(settings, registry, entry)) if is_own else None

        def of_kafka() -> Volume | None:
            return _unless_away(lambda: volume(settings.kafka, entry.feed, datetime.now(UTC)))

        (told, rows), counted = await asyncio.gather(asyncio.to_thread(of_registry), asyncio.to_thread(of_kafka))
        return Deep(versions=told, volume=counted, sample=rows)


Answer = TypeVar("Answer")


def _unless_away(ask: Callable[[], Answer]) -> Answer | None:
    """What somebody answers; None where they do not at present."""
    try:
        return ask()
    except Transient:
        return None


def _status_of(feeds: tuple[FeedStatus, ...], name: str) -> FeedStatus | None:
    return next((feed for feed in feeds if feed.feed == name), None)


def _freshness(entry: Entry) -> str:
    """What is seen beside what is promised: `kept`, `quiet` where nothing changed for longer, `none` where none is promised."""
    if entry.freshness_slo_seconds is None or entry.changed_seconds_ago is None:
        return "none"
    return (
        "kept"
        if timedelta(seconds=entry.changed_seconds_ago) <= timedelta(seconds=entry.freshness_slo_seconds)
        else "quiet"
    )
