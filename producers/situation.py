"""The situation of a source: all that onboarding says of it at this moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from producers.setting import CaptureSetting
from schemas.agreement.agency import Agency, SourceConfig
from schemas.agreement.anchor import Anchor
from schemas.agreement.directory import Directory, FeedEntry
from schemas.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class Situation:
    """What a source is opened with. `address` is None while there is none."""

    agency: Agency
    config: SourceConfig
    address: str | None
    feeds: Mapping[str, FeedEntry]
    anchors: Mapping[str, Anchor]
    resyncs: Mapping[str, str]

    def opens_like(self, other: Situation) -> bool:
        """Whether a source that was opened in the other situation need not be opened anew."""
        return self.config == other.config and self.address == other.address


class Onboarded:
    """One source as onboarding has it; looked at by its own thread."""

    def __init__(self, setting: CaptureSetting, agency: str, source: str) -> None:
        self.name = f"{agency}.{source}"
        self._setting = setting
        self._agency = agency
        self._source = source
        self._seen: Directory | None = None
        self._feeds: Mapping[str, FeedEntry] = {}

    def situation(self) -> Situation | None:
        """The present one; None once the source is in the directory no more."""
        directory = self._setting.directory()
        agency = directory.agencies.get(self._agency)
        config = agency.source(self._source) if agency else None
        if agency is None or config is None or config.is_flow:
            return None
        try:
            address = self.address()
        except Misconfigured:
            address = None
        feeds = self.feeds()
        resyncs = {name: directory.resyncs[name] for name in (self.name, *feeds) if name in directory.resyncs}
        return Situation(agency, config, address, feeds, directory.anchors, resyncs)

    def address(self) -> str:
        """Its secret address. Raises Misconfigured where there is none."""
        return self._setting.address_of(self._agency, self._source)

    def feeds(self) -> Mapping[str, FeedEntry]:
        """The source's feeds; the same object as long as they are equal."""
        directory = self._setting.directory()
        if directory is not self._seen:
            self._seen = directory
            feeds = {
                name: entry
                for name, entry in directory.feeds.items()
                if entry.contract.agency == self._agency and entry.contract.source == self._source
            }
            if feeds != self._feeds:
                self._feeds = feeds
        return self._feeds
