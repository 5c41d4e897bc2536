"""Capture from MariaDB for tests: one agency with one source, and contracts as `mesh draft` would write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from producers.kind import SourceKind
from producers.mysql.kind import MYSQL_SOURCE
from producers.mysql.onboarding.draft import draft
from schemas.agreement.directory import FeedEntry
from schemas.log.kafka import Kafka
from tests.stage.capturing import Rig
from tests.stage.maria import rows
from tests.stage.until import until


class MariaRig(Rig):
    """See Rig; its source is a MariaDB."""

    kinds: Mapping[str, SourceKind] = {"mysql": MYSQL_SOURCE}

    def __init__(self, kafka: Kafka, address: str, agency: str, **options: Any) -> None:
        super().__init__(kafka, address, agency)
        self.database = address.rsplit("/", 1)[1]
        self.set_source(kind="mysql", **options)

    def onboard(self, table: str, *, partitions: int = 2, is_lossless: bool = False) -> str:
        """Onboard a table as it is drafted; its feed."""
        (drafted,) = draft(self.dsn, [table], self.agency, is_lossless=is_lossless).tables
        return self.add(drafted.contract(self.agency), partitions=partitions).feed

    def adopt(self, table: str, feed: str, *, version: int = 2) -> FeedEntry:
        """Give a feed the contract that its table is drafted with now."""
        (drafted,) = draft(self.dsn, [table], self.agency, is_lossless=False).tables
        entry = self.schemas.entry(drafted.contract(self.agency), version=version, partitions=2)
        self.directory = self.replaced(feed, entry)
        return entry

    def replaced(self, feed: str, entry: FeedEntry) -> Any:
        from dataclasses import replace  # noqa: PLC0415

        return replace(self.directory, feeds={**self.directory.feeds, feed: entry})

    def until_streaming(self) -> None:
        """From here on a change comes out of the log: every table is copied."""

        def is_live() -> bool:
            record = self.progress.load(self.source) or {"tables": {}}
            states = {feed: table["state"] for feed, table in record["tables"].items()}
            return all(states.get(feed) == "live" for feed in self.directory.feeds)

        until(is_live, 60, "every table is copied")

    def until_folds_to(self, feed: str, select: str, within_seconds: float = 60) -> None:
        """The folded feed has exactly the rows that a query finds, by its contract's fields."""
        fields = [field.name for field in self.directory.feeds[feed].contract.fields]

        def is_equal() -> bool:
            found = {tuple(row[name] for name in fields) for row in self.fold(feed).values()}
            return found == set(rows(self.dsn, select))

        until(is_equal, within_seconds, f"{feed} folds to {select}")
