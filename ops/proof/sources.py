"""Sources: the rows that grants are compared with, read once for all grants of a feed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ops.kinds.sources import kind_of
from ops.proof.feed_rows import feed_rows
from ops.settings import Connections, Settings
from schemas.agreement.directory import Directory

Rows = Sequence[Mapping[str, Any]]


class Sources:
    """Remembers one feed's rows at a time: ask for one feed's grants after the other's, and `forget` before a new look."""

    def __init__(self, settings: Settings, directory: Directory) -> None:
        self._settings = settings
        self.directory = directory
        self.connections = Connections(settings.directory)
        self._read: tuple[str, Rows | None] = ("", None)

    def forget(self) -> None:
        """What was read is old."""
        self._read = ("", None)

    def rows(self, feed: str) -> Rows | None:
        """The rows of the feed's source, column to value; None for one that cannot be read from here. Raises Transient."""
        if self._read[0] != feed:
            self.forget()
            self._read = feed, self._rows(feed)
        return self._read[1]

    def _rows(self, feed: str) -> Rows | None:
        entry = self.directory.feeds[feed]
        if self.directory.is_derived(feed):
            return feed_rows(self._settings, [entry])[feed]
        contract = entry.contract
        agency = self.directory.agencies[contract.agency]
        config, rows = agency.source(contract.source), kind_of(agency, contract.source).rows
        if config is None or rows is None:
            return None
        address = self.connections.sources.address_of(contract.agency, contract.source)
        return list(rows(config, address, contract))
