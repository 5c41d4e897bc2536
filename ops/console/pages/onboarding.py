"""Onboarding (入网) on a page: an agency's files are given, checked with every problem and its fix, corrected, and published."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from aiohttp import web

from ops.console.frame.page import Pages
from ops.console.frame.sight import Sight
from ops.console.pages.acting import acting
from ops.console.pages.given_address import given_addresses
from ops.console.pages.given_files import agency_in, files_of, sources_of, written
from ops.lint.check import check
from ops.lint.report import Report
from ops.onboarding.onboard import onboard
from ops.onboarding.onboarded import Onboarded
from ops.settings import Connections
from schemas.errors import MeshError, Misconfigured
from schemas.guard.middleware import REMIT
from schemas.log.control.follower import read_directory
from schemas.registry.client import RegistryClient

FIRST_WITHIN_SECONDS = 60.0
ADDRESS = "address."


class OnboardingPages:
    """The files travel with the form, so that nothing is kept here between its steps; addresses do not come back to it."""

    def __init__(self, pages: Pages, sight: Sight) -> None:
        self._pages = pages
        self._sight = sight
        self._working = asyncio.Semaphore(2)

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Where files are given."""
        return self._shown(request, {}, {})

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Check what was given, or publish it; what is wrong stands above the files."""
        form = await request.post()
        try:
            files = files_of(form.items())
        except Misconfigured as error:
            return self._shown(request, {}, {"problem": error})
        agency, remit = agency_in(files), request[REMIT]
        if agency and not remit.holds(agency):
            words = self._pages.words(request)
            problem = Misconfigured(agency, words("onboarding.not_yours"), fix=words("onboarding.not_yours_fix"))
            return self._shown(request, files, {"problem": problem})
        addresses = {
            name.removeprefix(ADDRESS): value.strip()
            for name, value in form.items()
            if name.startswith(ADDRESS) and isinstance(value, str)
        }
        is_asked = form.get("do") == "publish" and bool(agency)
        try:
            async with self._working:
                if is_asked:
                    with acting(request):
                        outcome = await asyncio.to_thread(self._published, agency, files, addresses)
                    await self._sight.until(lambda directory: set(outcome.feeds) <= directory.feeds.keys())
                    return self._shown(request, files, {"outcome": outcome, "report": outcome.report})
                report = await asyncio.to_thread(self._checked, agency, files)
        except MeshError as error:
            return self._shown(request, files, {"problem": error})
        return self._shown(request, files, {"report": report})

    def _checked(self, agency: str, files: Mapping[str, str]) -> Report:
        settings = self._sight.settings
        with tempfile.TemporaryDirectory(prefix="mesh-onboard-") as place:
            folder = _folder(place, agency)
            written(files, folder, {})
            with closing(RegistryClient(settings.registry)) as registry:
                return check(folder, registry, read_directory(settings.kafka))

    def _published(self, agency: str, files: Mapping[str, str], addresses: Mapping[str, str]) -> Onboarded:
        with tempfile.TemporaryDirectory(prefix="mesh-onboard-") as place:  # its mode is 0700
            folder = _folder(place, agency)
            kept = Connections(self._sight.settings.directory).sources
            written(files, folder, given_addresses(agency, sources_of(files), addresses, kept))
            return onboard(folder, self._sight.acting, wait_seconds=FIRST_WITHIN_SECONDS, say=lambda _: None)

    def _shown(self, request: web.Request, files: Mapping[str, str], told: Mapping[str, Any]) -> web.StreamResponse:
        outcome = told.get("outcome")
        directory = self._sight.directory()
        return self._pages.page(
            request,
            "onboarding.html",
            files=files,
            sources=[source["name"] for source in sources_of(files)],
            report=told.get("report"),
            problem=told.get("problem"),
            outcome=outcome if outcome is not None and outcome.is_ok else None,
            feeds=directory.feeds,
        )


def _folder(place: str, agency: str) -> Path:
    folder = Path(place) / (agency if agency.isidentifier() else "folder")
    folder.mkdir()
    return folder
